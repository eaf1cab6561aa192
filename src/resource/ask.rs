//! The questions that a probe can carry. Roles and kinds collect them; [`super::probe`] turns them into one script.

use std::collections::{BTreeMap, BTreeSet};

/// A set of questions for one host; asking the same thing twice asks it once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Type, owner, mode, size, time, target and (regular files) SHA-256 of a path.
    pub paths: BTreeSet<String>,
    /// Content of a small file (at most [`super::probe::CONTENT_LIMIT`]).
    pub contents: BTreeSet<String>,
    /// First line of a file.
    pub lines: BTreeSet<String>,
    /// Debian packages.
    pub packages: BTreeSet<String>,
    /// passwd entries and group memberships.
    pub users: BTreeSet<String>,
    /// group entries.
    pub groups: BTreeSet<String>,
    /// systemd units.
    pub units: BTreeSet<String>,
    /// What a service has loaded: stamps under `/run/hactl/loaded/`.
    pub loaded: BTreeSet<String>,
    /// Kernel settings, dotted names.
    pub sysctls: BTreeSet<String>,
    /// Whether supervisord's processes are asked for.
    pub programs: bool,
    /// SQL by key, run as the database's root over its unix socket.
    pub sql: BTreeMap<String, String>,
    /// Shell tests by key: exit status and output (first 4 KiB).
    pub tests: BTreeMap<String, String>,
}

impl Ask {
    /// Whether every question of `self` is in `other`.
    pub fn is_covered_by(&self, other: &Ask) -> bool {
        let has = |mine: &BTreeSet<String>, theirs: &BTreeSet<String>| mine.is_subset(theirs);
        let same = |mine: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>| {
            mine.iter().all(|(key, question)| theirs.get(key) == Some(question))
        };
        has(&self.paths, &other.paths)
            && has(&self.contents, &other.contents)
            && has(&self.lines, &other.lines)
            && has(&self.packages, &other.packages)
            && has(&self.users, &other.users)
            && has(&self.groups, &other.groups)
            && has(&self.units, &other.units)
            && has(&self.loaded, &other.loaded)
            && has(&self.sysctls, &other.sysctls)
            && (!self.programs || other.programs)
            && same(&self.sql, &other.sql)
            && same(&self.tests, &other.tests)
    }

    /// Adds the questions of another set.
    pub fn extend(&mut self, other: &Ask) {
        let add = |mine: &mut BTreeSet<String>, theirs: &BTreeSet<String>| mine.extend(theirs.iter().cloned());
        add(&mut self.paths, &other.paths);
        add(&mut self.contents, &other.contents);
        add(&mut self.lines, &other.lines);
        add(&mut self.packages, &other.packages);
        add(&mut self.users, &other.users);
        add(&mut self.groups, &other.groups);
        add(&mut self.units, &other.units);
        add(&mut self.loaded, &other.loaded);
        add(&mut self.sysctls, &other.sysctls);
        self.programs |= other.programs;
        self.sql.extend(other.sql.clone());
        self.tests.extend(other.tests.clone());
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Ask::default()
    }

    /// Asks about a path.
    pub fn path(&mut self, path: &str) {
        self.paths.insert(path.to_owned());
    }

    /// Asks for a shell test.
    pub fn test(&mut self, key: &str, shell: &str) {
        self.tests.insert(key.to_owned(), shell.to_owned());
    }

    /// Asks a SQL question.
    pub fn sql(&mut self, key: &str, query: &str) {
        self.sql.insert(key.to_owned(), query.to_owned());
    }
}
