//! Kernel settings as they are now; a file under `/etc/sysctl.d` keeps them over a boot.

use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;

/// A kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Dotted name, e.g. `vm.overcommit_memory`.
    pub key: String,
    /// Value, words separated by single blanks.
    pub value: String,
}

impl Sysctl {
    fn path(&self) -> String {
        format!("/proc/sys/{}", self.key.replace('.', "/"))
    }
}

impl Kind for Sysctl {
    fn id(&self) -> String {
        format!("sysctl {}", self.key)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.sysctls.insert(self.key.clone());
    }

    /// A setting that is not there, or that this host may not write (a container shares its kernel), is not ours.
    fn compare(&self, seen: &Observed) -> Option<Change> {
        let now = seen.sysctls.get(&self.key)?;
        (*now != self.value).then(|| Change::new(Action::Update, format!("{now} → {}", self.value)))
    }

    fn project(&self, seen: &mut Observed) {
        if let Some(value) = seen.sysctls.get_mut(&self.key) {
            value.clone_from(&self.value);
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let path = sh(&self.path());
        Script::new(format!(
            "printf '%s\\n' {} >{path} || fail \"cannot write \"{path}\n",
            sh(&self.value)
        ))
    }
}
