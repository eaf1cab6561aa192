//! What a host answered. Also the projected host of a plan: the same structure after the steps so far.

use std::collections::{BTreeMap, BTreeSet};

use super::Facts;

/// A host as it is (or will be).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What it is.
    pub facts: Facts,
    /// Paths that exist.
    pub paths: BTreeMap<String, PathState>,
    /// Contents asked for, of files that exist and are small enough. May hold secrets: never print.
    pub contents: BTreeMap<String, Vec<u8>>,
    /// First lines of files that exist.
    pub lines: BTreeMap<String, String>,
    /// Installed packages and their versions.
    pub packages: BTreeMap<String, String>,
    /// Whether the package manager was interrupted in the middle of something.
    pub packages_broken: bool,
    /// Users by name.
    pub users: BTreeMap<String, UserState>,
    /// Groups by name.
    pub groups: BTreeMap<String, GroupState>,
    /// Units that are loaded, by name.
    pub units: BTreeMap<String, UnitState>,
    /// What services have loaded, by stamp name.
    pub loaded: BTreeMap<String, Loaded>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// supervisord's processes by `group:name`; `None` when it does not answer.
    pub programs: Option<BTreeMap<String, ProgramState>>,
    /// Answers of the database by key (rows joined by newlines); `Err` holds why it could not be asked.
    pub sql: Result<BTreeMap<String, String>, String>,
    /// Answers of shell tests by key.
    pub tests: BTreeMap<String, TestState>,
    /// Packages that the plan itself installs: what they bring starts from nothing.
    pub fresh: BTreeSet<String>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// A path that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    /// File, directory, link.
    pub kind: PathKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner's name (number when it has none).
    pub owner: String,
    /// Group's name (number when it has none).
    pub group: String,
    /// Modification time, seconds since the epoch; [`PathState::LATER`] when a step of the plan writes it.
    pub mtime: u64,
    /// SHA-256 of a regular file, lower-case hex; `None` when unknown (a step will write what cannot be foretold).
    pub sha256: Option<String>,
    /// Target of a link.
    pub target: Option<String>,
}

impl PathState {
    /// The time of things that have not happened yet.
    pub const LATER: u64 = u64::MAX;

    /// A file whose content is not known yet.
    pub fn foretold() -> Self {
        PathState {
            kind: PathKind::File,
            mode: 0o600,
            owner: "root".into(),
            group: "root".into(),
            mtime: Self::LATER,
            sha256: None,
            target: None,
        }
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// Numeric id.
    pub uid: u32,
    /// Numeric id of the primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Supplementary groups.
    pub groups: BTreeSet<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// Numeric id.
    pub gid: u32,
}

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, ...
    pub active: String,
    /// `enabled`, `disabled`, `static`, `masked`, ...
    pub enabled: String,
    /// Id of this start of the unit.
    pub invocation: String,
    /// When it became active, seconds since the epoch; 0 when unknown.
    pub since: u64,
}

/// What a service had read when it was last seen healthy after a load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The start of the unit that it belongs to.
    pub invocation: String,
    /// SHA-256 by path.
    pub files: BTreeMap<String, String>,
}

/// A supervised process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramState {
    /// `RUNNING`, `STOPPED`, `FATAL`, `BACKOFF`, ...
    pub state: String,
    /// When it started, seconds since the epoch.
    pub start: u64,
}

/// The answer of a shell test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestState {
    /// Exit status.
    pub code: i32,
    /// Output, both streams, without the trailing newline.
    pub output: String,
}

impl Observed {
    /// A host that answered nothing but its facts: bare.
    pub fn bare(facts: Facts) -> Self {
        Observed {
            facts,
            paths: BTreeMap::new(),
            contents: BTreeMap::new(),
            lines: BTreeMap::new(),
            packages: BTreeMap::new(),
            packages_broken: false,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            units: BTreeMap::new(),
            loaded: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            programs: None,
            sql: Err("MariaDB is not installed".into()),
            tests: BTreeMap::new(),
            fresh: BTreeSet::new(),
        }
    }

    /// Takes over the answers of a later, additional probe.
    pub fn merge(&mut self, later: Observed) {
        self.paths.extend(later.paths);
        self.contents.extend(later.contents);
        self.lines.extend(later.lines);
        self.packages.extend(later.packages);
        self.users.extend(later.users);
        self.groups.extend(later.groups);
        self.units.extend(later.units);
        self.loaded.extend(later.loaded);
        self.sysctls.extend(later.sysctls);
        self.tests.extend(later.tests);
        if later.programs.is_some() {
            self.programs = later.programs;
        }
        if let Ok(answers) = later.sql {
            match &mut self.sql {
                Ok(mine) => mine.extend(answers),
                Err(_) => self.sql = Ok(answers),
            }
        }
    }

    /// SHA-256 of a path as far as it is known.
    pub fn sha256(&self, path: &str) -> Option<&str> {
        self.paths.get(path)?.sha256.as_deref()
    }
}
