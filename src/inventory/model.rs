//! The inventory as the rest of hactl sees it: typed, complete (every default filled in), already validated.
//!
//! `inventory::load` makes it from YAML. Nothing here does I/O.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::backup::Backup;
use super::diagnostics::{Source, Span};
use super::dns::Dns;
use super::roles::{Use, UserRole};
use crate::secret::Secret;

/// A whole inventory.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Names markers, journals, the lab. `[a-z][a-z0-9-]{0,31}`.
    pub cluster: String,
    /// How hosts are reached unless a host says otherwise (each [`Host`] carries its own merged copy).
    pub ssh: Ssh,
    /// In the order written; the key is the host's name.
    pub hosts: IndexMap<String, Host>,
    /// VIPs by name.
    pub vip: IndexMap<String, Vip>,
    /// Names that lead to the host that serves.
    pub dns: Option<Dns>,
    /// Copies of the data.
    pub backup: Option<Backup>,
    /// What runs.
    pub app: App,
    /// Sites served.
    pub sites: Vec<Site>,
    /// Database knobs.
    pub mariadb: MariaDb,
    /// Redis knobs.
    pub redis: Redis,
    /// memcached knobs.
    pub memcached: Memcached,
    /// Web server knobs.
    pub nginx: Nginx,
    /// How files of sites are shared.
    pub files: Files,
    /// Operating system knobs.
    pub system: System,
    /// How changes go over hosts that serve together.
    pub rolling: Rolling,
    /// Folder with template overrides, absolute.
    pub templates: Option<PathBuf>,
    /// Where secrets are kept.
    pub secrets: SecretsFile,
    /// Where roles of the user are used, for all hosts first.
    pub uses: Vec<Use>,
    /// Those roles by name; [`super::load`] reads them, [`super::parse`] leaves them out.
    pub roles: IndexMap<String, UserRole>,
    /// Commands on this machine around an apply.
    pub hooks: Hooks,
    /// How a crash plan takes the power of a host away.
    pub power: Option<Power>,
    /// The file this came from, absolute; and the folder that relative paths refer to is its parent.
    pub path: PathBuf,
    /// sudo's password for hosts with [`Become::SudoPassword`]; `None`: asked once. Resolved as `become_password`.
    pub become_password: Option<SecretRef>,
    /// The text this came from, for errors that are found later (a secret that does not exist).
    pub source: Source,
    /// Where the inventory names a secret, by the name it is resolved under.
    pub secret_spans: BTreeMap<String, Span>,
}

impl Inventory {
    /// Whether sentinels promote a replica of Redis: a majority of two would need both.
    pub fn has_sentinels(&self) -> bool {
        let redis = |host: &&Host| host.roles.contains(&HostRole::Redis);
        self.hosts.values().filter(redis).count() > 2
    }
}

/// How to reach a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Login user; `root` unless said.
    pub user: String,
    /// 22 unless said.
    pub port: u16,
    /// Private key; `~` and paths relative to the inventory are already expanded. `None`: agent and the usual keys.
    pub identity_file: Option<PathBuf>,
    /// known_hosts file used instead of the user's own ones.
    pub known_hosts: Option<PathBuf>,
    /// A jump host, `[user@]host[:port]`.
    pub jump: Option<String>,
    /// How to become root when `user` is not root.
    pub become_root: Become,
    /// Which transport.
    pub transport: TransportKind,
    /// Seconds to wait for a connection.
    pub connect_timeout: u64,
}

/// How a normal user becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Become {
    /// Already root; no elevation.
    None,
    /// `sudo -n`.
    Sudo,
    /// `sudo -S` with a password that is asked once, or read from the secret `become_password`.
    SudoPassword,
}

/// Which transport carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// Native when the host's ssh configuration asks for nothing it lacks, else openssh.
    Auto,
    /// russh.
    Native,
    /// The system's ssh with all of `~/.ssh/config`.
    OpenSsh,
    /// This machine, no ssh.
    Local,
}

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostRole {
    /// Load balancer.
    Lb,
    /// Web processes.
    App,
    /// Background workers.
    Worker,
    /// MariaDB.
    Db,
    /// Redis.
    Redis,
    /// memcached, for applications that want it.
    Memcached,
}

impl HostRole {
    /// All roles in their natural order; a host without `roles` is a full server (app, worker, db, redis).
    pub const ALL: [HostRole; 6] = [
        HostRole::Lb,
        HostRole::App,
        HostRole::Worker,
        HostRole::Db,
        HostRole::Redis,
        HostRole::Memcached,
    ];

    /// The word in the inventory.
    pub const fn word(self) -> &'static str {
        match self {
            HostRole::Lb => "lb",
            HostRole::App => "app",
            HostRole::Worker => "worker",
            HostRole::Db => "db",
            HostRole::Redis => "redis",
            HostRole::Memcached => "memcached",
        }
    }
}

/// One machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name in the inventory; also its host name.
    pub name: String,
    /// Where it is reached, and where its peers reach it.
    pub address: IpAddr,
    /// Where the world reaches it, one of a family; empty: not said.
    pub public_address: Vec<IpAddr>,
    /// Never empty: a host without `roles` is a full server (app, worker, db, redis).
    pub roles: Vec<HostRole>,
    /// MariaDB primary at birth.
    pub primary: bool,
    /// The server of a pair that waits at birth.
    pub standby: bool,
    /// Frappe's workers on this host, where they differ from the application's.
    pub workers: Option<Vec<QueueWorker>>,
    /// Group of app hosts that only routed requests go to.
    pub group: Option<String>,
    /// `ssh` of the inventory with the host's own entries over it.
    pub ssh: Ssh,
}

/// A virtual address.
#[derive(Debug, Clone)]
pub struct Vip {
    /// Its name, e.g. `web`.
    pub name: String,
    /// Address with prefix length.
    pub address: ipnet::IpNet,
    /// Number of its VRRP router.
    pub virtual_router_id: u8,
    /// Interface that carries it; `None`: derived from the host's facts.
    pub interface: Option<String>,
}

/// What runs on the app hosts.
#[derive(Debug, Clone)]
pub enum App {
    /// Frappe and its apps.
    Frappe(Frappe),
    /// Any WSGI application from a git URL.
    Wsgi(Wsgi),
}

impl App {
    /// The knobs that both kinds share.
    pub fn process(&self) -> &Process {
        match self {
            App::Frappe(frappe) => &frappe.process,
            App::Wsgi(wsgi) => &wsgi.process,
        }
    }

    /// Its folder on the hosts.
    pub fn path(&self) -> &str {
        match self {
            App::Frappe(frappe) => &frappe.path,
            App::Wsgi(wsgi) => &wsgi.path,
        }
    }

    /// Its name: supervisor group and log folder.
    pub fn name(&self) -> &str {
        match self {
            App::Frappe(_) => "frappe",
            App::Wsgi(wsgi) => &wsgi.name,
        }
    }
}

/// Knobs shared by both kinds of app.
#[derive(Debug, Clone)]
pub struct Process {
    /// System user that owns and runs the app; `frappe` / `app` unless said.
    pub user: String,
    /// Its fixed uid and gid (the same on every host, which shared files need); 1990 unless said.
    pub uid: u32,
    /// gunicorn workers; `None` = 2 x cores + 1.
    pub web_workers: Option<u32>,
    /// gunicorn threads per worker; more than 1 selects gthread. Default 1.
    pub web_threads: u32,
    /// Seconds a request may take. Default 120.
    pub http_timeout: u32,
    /// Local port of gunicorn. Default 8000.
    pub web_port: u16,
    /// Python executable on the host, e.g. `python3.11`. Default `python3`.
    pub python: String,
    /// Debian packages the app needs besides hactl's own list.
    pub packages: Vec<String>,
}

/// `app: { kind: frappe }`.
#[derive(Debug, Clone)]
pub struct Frappe {
    /// Shared knobs.
    pub process: Process,
    /// Frappe first, then the others, in install order.
    pub apps: Vec<GitApp>,
    /// Absolute bench path, the same on all hosts. Default `/srv/frappe/bench`.
    pub path: String,
    /// Workers by name; default short (short,default) x1 and long (long,default,short) x1.
    pub workers: Vec<QueueWorker>,
    /// Port of the socket.io server. Default 9000.
    pub socketio_port: u16,
    /// Whether queries that Frappe marks as read-only go to a replica of the database. Default false.
    pub read_from_replica: bool,
    /// Extra keys of common_site_config.json.
    pub config: Map<String, Value>,
    /// The bench that the server had before.
    pub adopted: Option<Adopted>,
}

/// A bench that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its folder.
    pub from: String,
    /// Refs of the apps that ran there, by the app's name.
    pub refs: BTreeMap<String, String>,
    /// Its configuration of supervisord.
    pub supervisor: String,
    /// Its configuration of nginx.
    pub nginx: String,
}

/// An app from git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitApp {
    /// Python package and folder name.
    pub name: String,
    /// Anything `git clone` takes over https, http, git, ssh, or file.
    pub url: String,
    /// Tag, branch or commit.
    pub git_ref: String,
}

/// Workers of a set of queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueWorker {
    /// Name of the supervisor program, e.g. `short`.
    pub name: String,
    /// Queues in order of preference.
    pub queues: Vec<String>,
    /// Processes.
    pub count: u32,
    /// Seconds a job of its longest queue may take (facts/frappe.md 1.1: short/default 300, long 1500); stopwaitsecs is
    /// this plus 60.
    pub timeout: u32,
}

/// `app: { kind: wsgi }`.
#[derive(Debug, Clone)]
pub struct Wsgi {
    /// Shared knobs.
    pub process: Process,
    /// Name of the app: folder, supervisor group, database. Default the last part of the URL.
    pub name: String,
    /// Git URL.
    pub url: String,
    /// Tag, branch or commit.
    pub git_ref: String,
    /// `package:callable`.
    pub module: String,
    /// Absolute path of the installation. Default `/srv/NAME`.
    pub path: String,
    /// Background processes.
    pub workers: Vec<WsgiWorker>,
    /// Command run once per deployed version, after install and before the web processes start (e.g. migrations).
    pub migrate: Option<String>,
    /// Extra environment. hactl itself sets DATABASE_URL parts (DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD),
    /// REDIS_CACHE_URL and REDIS_QUEUE_URL.
    pub env: BTreeMap<String, String>,
    /// Path that answers 2xx/3xx when healthy. Default `/`.
    pub health: String,
    /// Folder inside the repository served under /static, if any.
    pub static_dir: Option<String>,
}

/// A background process of a WSGI app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsgiWorker {
    /// Program name.
    pub name: String,
    /// Command line, run by `sh` in the app's folder with the venv first in PATH.
    pub command: String,
    /// Processes.
    pub count: u32,
}

/// A site.
#[derive(Debug, Clone)]
pub struct Site {
    /// Host name it answers to; also Frappe's site directory.
    pub name: String,
    /// More host names.
    pub aliases: Vec<String>,
    /// Password of Frappe's Administrator. `None`: generated under the name `site/NAME/admin`.
    pub admin_password: Option<SecretRef>,
    /// Apps to install besides frappe; default all of `app.apps`.
    pub apps: Vec<String>,
    /// Database name (and user); default derived from the site name, at most 32 characters.
    pub db_name: String,
    /// TLS of this site.
    pub tls: Tls,
    /// Extra keys of site_config.json.
    pub config: Map<String, Value>,
}

/// Where a site's certificate comes from.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Plain HTTP only.
    None,
    /// Made on the host; for labs and behind a terminating proxy. The default.
    SelfSigned,
    /// Files on the operator's machine (absolute paths).
    Files {
        /// PEM chain.
        certificate: PathBuf,
        /// PEM key.
        key: PathBuf,
    },
    /// Files on the server, kept by somebody else (absolute paths there).
    OnServer {
        /// PEM chain.
        certificate: String,
        /// PEM key.
        key: String,
    },
    /// From a certificate authority, by certbot and HTTP-01.
    Certbot(Certbot),
}

/// How certbot gets certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certbot {
    /// Whom the authority writes to.
    pub email: String,
    /// ACME directory, an https URL.
    pub server: String,
    /// Whether each name is asked for over DNS and HTTP before the authority is.
    pub self_check: bool,
}

impl Certbot {
    /// The directory of Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
}

/// A secret as the inventory names it.
#[derive(Debug, Clone)]
pub enum SecretRef {
    /// Written in clear in the inventory (allowed, warned about).
    Literal(Secret),
    /// `!secret NAME` in the encrypted file.
    Stored(String),
    /// `!secret env:NAME`.
    Env(String),
    /// `!secret file:PATH` (absolute; trailing newline dropped).
    File(PathBuf),
    /// `!secret exec:COMMAND` (run by `sh -c`, first line of stdout).
    Exec(String),
}

/// Where secrets are kept.
#[derive(Debug, Clone)]
pub struct SecretsFile {
    /// The age file; default `secrets.age` beside the inventory.
    pub path: PathBuf,
    /// Who can read it: age x25519 recipients or ssh public keys. Empty: the operator's own identity only.
    pub recipients: Vec<String>,
}

/// How hosts that run Frappe share the files of its sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Each has its own, or the operator has mounted something.
    Local,
    /// Each takes what the others have.
    Rsync,
    /// All have the same, on a volume of GlusterFS that the first three of them keep.
    Gluster,
}

/// Database knobs. `None` means "derived from the host's facts".
#[derive(Debug, Clone, Default)]
pub struct MariaDb {
    /// 3306.
    pub port: u16,
    /// MiB; `None` = a share of memory that leaves room for what else runs on the host.
    pub buffer_pool_mb: Option<u64>,
    /// Default 200.
    pub max_connections: u32,
    /// Semi-synchronous replication (topologies with replicas). Default true.
    pub semi_sync: bool,
    /// Whether the server's configuration is somebody else's.
    pub keep_config: bool,
    /// Extra lines for `[mariadbd]`.
    pub settings: BTreeMap<String, Value>,
}

/// Redis knobs.
#[derive(Debug, Clone, Default)]
pub struct Redis {
    /// 13000.
    pub cache_port: u16,
    /// 11000.
    pub queue_port: u16,
    /// MiB; `None` = 5 % of memory, at least 50.
    pub cache_maxmemory_mb: Option<u64>,
    /// Sentinels that must agree. `None`: a majority.
    pub quorum: Option<u32>,
}

/// memcached knobs.
#[derive(Debug, Clone, Default)]
pub struct Memcached {
    /// 11211.
    pub port: u16,
    /// MiB for what it keeps; 64.
    pub memory_mb: u32,
}

/// Web server knobs.
#[derive(Debug, Clone, Default)]
pub struct Nginx {
    /// MiB of a request body. Default 50.
    pub client_max_body_mb: u32,
    /// 80.
    pub http_port: u16,
    /// 443.
    pub https_port: u16,
    /// Where app hosts answer load balancers: 8080.
    pub app_port: u16,
    /// Which requests go to which group, in order.
    pub routes: Vec<Route>,
}

/// A request that fits any of the conditions goes to a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The group.
    pub to: String,
    /// Beginnings of paths.
    pub paths: Vec<String>,
    /// Frappe's methods; `*` at the end stands for anything.
    pub cmds: Vec<String>,
    /// Document types.
    pub doctypes: Vec<String>,
    /// Headers with their values.
    pub headers: Vec<(String, String)>,
}

/// How changes go over hosts that serve together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    /// Hosts of a group that change at once. Default 1.
    pub batch: u32,
}

/// Operating system knobs.
#[derive(Debug, Clone, Default)]
pub struct System {
    /// Extra Debian packages on every host.
    pub packages: Vec<String>,
    /// Extra sysctls on every host.
    pub sysctl: BTreeMap<String, String>,
    /// Time zone, e.g. `Europe/Vienna`; `None` leaves it.
    pub timezone: Option<String>,
    /// Package names, by hand: mirrors and proxies are the host's own business.
    pub apt_update_max_age_hours: u32,
}

/// Commands on this machine around an apply, each list in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before anything is changed.
    pub before_apply: Vec<Hook>,
    /// When everything was done.
    pub after_apply: Vec<Hook>,
    /// When it failed.
    pub on_failure: Vec<Hook>,
}

/// A command on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Run by `sh -c` in the inventory's folder.
    pub run: String,
    /// How long it may take. Default 60 s.
    pub timeout: std::time::Duration,
}

/// Commands on this machine that take a host's power away; each is a program and its words, without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// Switches it off.
    pub off: Vec<String>,
    /// Prints whether it is off; empty: it is looked whether the host is silent.
    pub status: Vec<String>,
    /// How long each may take, and how long is waited until it is off.
    pub timeout: std::time::Duration,
}
