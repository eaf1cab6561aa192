//! The vocabulary: what a host can have. Each kind says what to ask a host about it, how to compare the answer with what
//! is wanted, what the host looks like afterwards (projection), and the shell that brings it there.
//!
//! Everything here is pure: asking and converging are texts that the engine carries.

pub mod ask;
pub mod change;
pub mod clock;
mod command;
mod database;
mod drain;
mod facts;
pub(crate) mod file;
pub mod gtid;
mod json;
mod left;
mod mariadb;
pub mod observed;
mod package;
mod path;
pub mod probe;
mod program;
pub mod redis;
mod redis_replica;
pub mod redis_set;
mod release;
pub mod replica;
pub mod replication;
pub mod script;
mod sentinel;
mod service;
mod sysctl;
mod system;
mod user;

use std::time::Duration;

pub use ask::Ask;
pub use change::{Action, Change};
pub use command::{Command, Guard};
pub use database::{Database, DatabaseOldPasswords, DatabaseUser};
pub use drain::{Drain, Visitors};
pub use facts::Facts;
pub use file::{Block, File, Source, Validator};
pub use json::JsonKeys;
pub use left::{DatabaseAddresses, OnlyBlocks};
pub use mariadb::DatabaseServer;
pub use observed::{Observed, PathKind};
pub use package::Package;
pub use path::{Absent, Directory, Link};
pub use program::{Program, Reloads};
pub use redis::{RedisOldPasswords, RedisPassword};
pub use redis_replica::RedisReplica;
pub use release::{Mark, Migration, Peer, Release, ReleaseDatabase, TOGETHER, Together, gate};
pub use replica::{DataDirectory, Holds, Replica, SemiSync, Writer};
pub use script::Script;
pub use sentinel::SentinelWatch;
pub use service::{OnChange, Service, Stopped};
pub use sysctl::Sysctl;
pub use system::{SYSTEMS, System};
pub use user::{Group, User};

/// How the ids begin of resources that take old passwords away. Others may still use those, so a run over a part of the
/// steps or hosts leaves them alone.
pub const OLD_PASSWORDS: &str = "old passwords of ";

/// One thing a host should have, and who wants it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The role that declared it, e.g. `nginx`.
    pub role: &'static str,
    /// Steps of a higher stage start on any host only after all hosts finished the lower ones: this is the barrier
    /// between hosts. One server needs none.
    pub stage: u8,
    /// What it is.
    pub spec: Spec,
}

/// Every kind there is.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is documented on the type it holds")]
pub enum Spec {
    Absent(Absent),
    Block(Block),
    Command(Command),
    DataDirectory(DataDirectory),
    Database(Database),
    DatabaseAddresses(DatabaseAddresses),
    DatabaseOldPasswords(DatabaseOldPasswords),
    DatabaseServer(DatabaseServer),
    DatabaseUser(DatabaseUser),
    Directory(Directory),
    File(File),
    Group(Group),
    JsonKeys(JsonKeys),
    Link(Link),
    OnlyBlocks(OnlyBlocks),
    Package(Package),
    Program(Program),
    RedisOldPasswords(RedisOldPasswords),
    RedisPassword(RedisPassword),
    RedisReplica(RedisReplica),
    Release(Box<Release>),
    Replica(Replica),
    SemiSync(SemiSync),
    SentinelWatch(SentinelWatch),
    Service(Service),
    Stopped(Stopped),
    Sysctl(Sysctl),
    User(User),
    Visitors(Visitors),
    Writer(Writer),
}

/// What a kind must be able to say.
pub trait Kind {
    /// Unique within a host and stable across runs, e.g. `file /etc/nginx/nginx.conf`.
    fn id(&self) -> String;

    /// What to ask the host.
    fn ask(&self, ask: &mut Ask);

    /// What would have to change; `None` when the host already is as wanted.
    fn compare(&self, seen: &Observed) -> Option<Change>;

    /// Makes `seen` look as if [`Kind::converge`] had run.
    fn project(&self, seen: &mut Observed);

    /// The shell that brings the host there. Runs as root under `sh` with the prelude; must be idempotent.
    /// `seen` is the host as the plan projects it right before this step.
    fn converge(&self, change: &Change, seen: &Observed) -> Script;

    /// How long converging may take at most.
    fn deadline(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Whether those whom the host serves may feel it while it is carried out: hosts that serve together take turns then.
    fn is_felt(&self, _: &Change) -> bool {
        false
    }

    /// Neighbours of the same batch converge as one step: packages in one transaction of the package manager, files of
    /// one configuration tree in one validated swap.
    fn batch(&self) -> Option<Batch> {
        None
    }
}

/// What may be converged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// One `apt-get install`.
    Packages,
    /// Files that the named validator judges as a whole.
    Validated(String),
}

impl Spec {
    /// The kind's behaviour.
    pub fn kind(&self) -> &dyn Kind {
        match self {
            Spec::Absent(k) => k,
            Spec::Block(k) => k,
            Spec::Command(k) => k,
            Spec::DataDirectory(k) => k,
            Spec::Database(k) => k,
            Spec::DatabaseAddresses(k) => k,
            Spec::DatabaseOldPasswords(k) => k,
            Spec::DatabaseServer(k) => k,
            Spec::DatabaseUser(k) => k,
            Spec::Directory(k) => k,
            Spec::File(k) => k,
            Spec::Group(k) => k,
            Spec::JsonKeys(k) => k,
            Spec::Link(k) => k,
            Spec::OnlyBlocks(k) => k,
            Spec::Package(k) => k,
            Spec::Program(k) => k,
            Spec::RedisOldPasswords(k) => k,
            Spec::RedisPassword(k) => k,
            Spec::RedisReplica(k) => k,
            Spec::Release(k) => k.as_ref(),
            Spec::Replica(k) => k,
            Spec::SemiSync(k) => k,
            Spec::SentinelWatch(k) => k,
            Spec::Service(k) => k,
            Spec::Stopped(k) => k,
            Spec::Sysctl(k) => k,
            Spec::User(k) => k,
            Spec::Visitors(k) => k,
            Spec::Writer(k) => k,
        }
    }
}

macro_rules! into_spec {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Spec {
            fn from(kind: $kind) -> Spec {
                Spec::$kind(kind)
            }
        }
    )*};
}
into_spec!(
    Absent,
    Block,
    Command,
    DataDirectory,
    Database,
    DatabaseAddresses,
    DatabaseOldPasswords,
    DatabaseServer,
    DatabaseUser,
    Directory,
    File,
    Group,
    JsonKeys,
    Link,
    OnlyBlocks,
    Package,
    Program,
    RedisOldPasswords,
    RedisPassword,
    RedisReplica,
    Replica,
    SemiSync,
    SentinelWatch,
    Service,
    Stopped,
    Sysctl,
    User,
    Visitors,
    Writer
);

impl From<Release> for Spec {
    fn from(release: Release) -> Spec {
        Spec::Release(Box::new(release))
    }
}

/// The shell of several changes that converge together.
pub fn converge_batch(batch: &Batch, members: &[(&Spec, &Change)]) -> Script {
    match batch {
        Batch::Packages => {
            let names: Vec<_> = members
                .iter()
                .filter_map(|(spec, _)| match spec {
                    Spec::Package(package) => Some(package.name.as_str()),
                    _ => None,
                })
                .collect();
            package::install(&names)
        }
        Batch::Validated(_) => {
            let files: Vec<_> = members
                .iter()
                .filter_map(|(spec, change)| match spec {
                    Spec::File(file) => Some((file, *change)),
                    _ => None,
                })
                .collect();
            file::swap(&files)
        }
    }
}
