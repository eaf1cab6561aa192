//! System users and groups.

use super::change::update_for;
use super::observed::{GroupState, UserState};
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;

/// A group with a fixed id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number, the same on every host.
    pub gid: u32,
}

/// A user with a fixed id, its primary group of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name of user and primary group.
    pub name: String,
    /// Number of user and primary group.
    pub uid: u32,
    /// Home directory (declare it as a directory to have it made).
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Every supplementary group it is in, no others; `None`: whichever it is in.
    pub groups: Option<Vec<String>>,
}

impl Kind for Group {
    fn id(&self) -> String {
        format!("group {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.groups.insert(self.name.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        match seen.groups.get(&self.name) {
            None => Some(Change::new(Action::Create, format!("gid {}", self.gid))),
            Some(state) if state.gid != self.gid => {
                Some(Change::new(Action::Update, format!("gid {} → {}", state.gid, self.gid)))
            }
            Some(_) => None,
        }
    }

    fn project(&self, seen: &mut Observed) {
        seen.groups.insert(self.name.clone(), GroupState { gid: self.gid });
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let name = sh(&self.name);
        match change.action {
            Action::Create => Script::new(format!(
                "getent group {name} >/dev/null || groupadd -g {} -- {name} || fail 'cannot add the group'\n",
                self.gid
            )),
            // Files keep the old number: changing it under running services would lock the app out of its own data.
            _ => Script::new(format!(
                "fail \"group \"{name}\" exists with another id; set app.uid in the inventory to it, or renumber the group and its files by hand\"\n"
            )),
        }
    }
}

impl Kind for User {
    fn id(&self) -> String {
        format!("user {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.users.insert(self.name.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let Some(state) = seen.users.get(&self.name) else {
            return Some(Change::new(
                Action::Create,
                format!("uid {}, home {}", self.uid, self.home),
            ));
        };
        let mut reasons = Vec::new();
        if state.uid != self.uid {
            reasons.push(format!("uid {} → {}", state.uid, self.uid));
        }
        if state.home != self.home {
            reasons.push(format!("home {} → {}", state.home, self.home));
        }
        if state.shell != self.shell {
            reasons.push(format!("shell {} → {}", state.shell, self.shell));
        }
        if let Some(wanted) = &self.groups
            && state.groups != wanted.iter().cloned().collect()
        {
            let list = |groups: &std::collections::BTreeSet<String>| {
                if groups.is_empty() {
                    "none".into()
                } else {
                    groups.iter().cloned().collect::<Vec<_>>().join(",")
                }
            };
            reasons.push(format!(
                "groups {} → {}",
                list(&state.groups),
                list(&wanted.iter().cloned().collect())
            ));
        }
        update_for(reasons)
    }

    fn project(&self, seen: &mut Observed) {
        let now = seen.users.get(&self.name).map(|state| state.groups.clone());
        let state = UserState {
            uid: self.uid,
            gid: self.uid,
            home: self.home.clone(),
            shell: self.shell.clone(),
            groups: match &self.groups {
                Some(groups) => groups.iter().cloned().collect(),
                None => now.unwrap_or_default(),
            },
        };
        seen.users.insert(self.name.clone(), state);
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let (name, home, shell) = (sh(&self.name), sh(&self.home), sh(&self.shell));
        let groups = self.groups.as_ref();
        let groups = groups.map_or(String::new(), |groups| format!(" -G {}", sh(&groups.join(","))));
        let mut script = Script::default();
        if change.action == Action::Create {
            script.line(format!(
                "getent passwd {name} >/dev/null || useradd -u {} -g {name} -d {home} -M -s {shell} -- {name} || fail 'cannot add the user'",
                self.uid
            ));
        }
        script.line(format!(
            "[ \"$(id -u {name})\" = {} ] || fail \"user \"{name}\" exists with another id; set app.uid in the inventory to it\"",
            self.uid
        ));
        script.line(format!(
            "usermod -d {home} -s {shell}{groups} -- {name} || fail 'cannot change the user'"
        ));
        script
    }
}
