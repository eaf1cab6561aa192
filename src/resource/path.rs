//! Directories, links, and paths that must not exist.

use super::change::update_for;
use super::observed::{PathKind, PathState};
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;

/// A directory with its owner and mode; parents must be declared or exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path.
    pub path: String,
    /// Owner's name.
    pub owner: String,
    /// Group's name.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Absolute path of the link.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// A file or link that must not exist. A directory in its place is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Absolute path.
    pub path: String,
}

/// Differences in owner, group and mode, in words.
pub(super) fn ownership(state: &PathState, owner: &str, group: &str, mode: u32) -> Vec<String> {
    let mut reasons = Vec::new();
    if state.owner != owner || state.group != group {
        reasons.push(format!("owner {}:{} → {owner}:{group}", state.owner, state.group));
    }
    if state.mode != mode {
        reasons.push(format!("mode {:04o} → {mode:04o}", state.mode));
    }
    reasons
}

impl Kind for Directory {
    fn id(&self) -> String {
        format!("directory {}", self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let summary = format!("{}:{} {:04o}", self.owner, self.group, self.mode);
        match seen.paths.get(&self.path) {
            None => Some(Change::new(Action::Create, summary)),
            Some(state) if state.kind != PathKind::Directory => Some(Change::new(
                Action::Update,
                "something that is no directory is in its place",
            )),
            Some(state) => update_for(ownership(state, &self.owner, &self.group, self.mode)),
        }
    }

    fn project(&self, seen: &mut Observed) {
        seen.paths.insert(
            self.path.clone(),
            PathState {
                kind: PathKind::Directory,
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
                mtime: PathState::LATER,
                sha256: None,
                target: None,
            },
        );
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let path = sh(&self.path);
        Script::new(format!(
            "[ ! -L {path} ] || fail 'a link is in its place: remove it by hand'\n\
             [ -d {path} ] || mkdir -- {path} || fail 'cannot make the directory'\n\
             chown -h -- {} {path} && chmod -- {:04o} {path} || fail 'cannot set its owner and mode'\n",
            sh(&format!("{}:{}", self.owner, self.group)),
            self.mode,
        ))
    }
}

impl Kind for Link {
    fn id(&self) -> String {
        format!("link {}", self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        match seen.paths.get(&self.path) {
            None => Some(Change::new(Action::Create, format!("→ {}", self.target))),
            Some(state) => match &state.target {
                Some(target) if *target == self.target => None,
                Some(target) => Some(Change::new(Action::Update, format!("{target} → {}", self.target))),
                None => Some(Change::new(Action::Update, format!("no link → {}", self.target))),
            },
        }
    }

    fn project(&self, seen: &mut Observed) {
        let state = PathState {
            kind: PathKind::Link,
            target: Some(self.target.clone()),
            mode: 0o777,
            ..PathState::foretold()
        };
        seen.paths.insert(self.path.clone(), state);
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let (path, target) = (sh(&self.path), sh(&self.target));
        // ln -sfn is not atomic; a rename is. A real directory in its place is refused rather than emptied.
        Script::new(format!(
            "[ -L {path} ] || [ ! -d {path} ] || fail 'a directory is in its place'\n\
             keep {path} || fail 'cannot keep the old link'\n\
             ln -sfn -- {target} {path}.hactl~ && mv -fT -- {path}.hactl~ {path} || fail 'cannot make the link'\n"
        ))
    }
}

impl Kind for Absent {
    fn id(&self) -> String {
        format!("absent {}", self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        match seen.paths.get(&self.path) {
            Some(state) if state.kind != PathKind::Directory => Some(Change::new(Action::Remove, "is not wanted")),
            _ => None,
        }
    }

    fn project(&self, seen: &mut Observed) {
        seen.paths.remove(&self.path);
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let path = sh(&self.path);
        Script::new(format!(
            "keep {path} || fail 'cannot keep a copy'\nrm -f -- {path} || fail 'cannot remove it'\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::script::PRELUDE;

    /// A release that does not become healthy gives way to the one before, which only the link names.
    #[test]
    fn a_link_is_put_back_like_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let link = Link {
            path: format!("{root}/current"),
            target: "releases/new".into(),
        };
        let seen = Observed::bare(Facts::assumed());
        let change = link.compare(&seen).unwrap();
        let script = format!(
            "{PRELUDE}\nKEEP={root}/keep\nln -s releases/old {root}/current\n{}readlink {root}/current\n\
             {}putback {root}/current && readlink {root}/current\nputback {root}/current || echo nothing\n",
            link.converge(&change, &seen).body,
            link.converge(&change, &seen).body,
        );
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stderr), "");
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            "releases/new\nreleases/old\nnothing\n"
        );
    }
}
