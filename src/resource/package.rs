//! Debian packages.

use std::time::Duration;

use super::{Action, Ask, Batch, Change, Kind, Observed, Script};
use crate::quote::sh_words;

/// A package that must be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
}

impl Kind for Package {
    fn id(&self) -> String {
        format!("package {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.packages.insert(self.name.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        if !seen.packages.contains_key(&self.name) {
            return Some(Change::new(Action::Create, "install"));
        }
        seen.packages_broken
            .then(|| Change::new(Action::Update, "finish an interrupted installation"))
    }

    fn project(&self, seen: &mut Observed) {
        if seen.packages.insert(self.name.clone(), String::new()).is_none() {
            seen.fresh.insert(self.name.clone());
        }
        seen.packages_broken = false;
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        install(&[self.name.as_str()])
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(1200)
    }

    fn batch(&self) -> Option<Batch> {
        Some(Batch::Packages)
    }
}

/// One transaction for all of them. Services stay stopped (`policy-rc.d`): they start later, with their configuration.
pub(super) fn install(names: &[&str]) -> Script {
    let mut script = Script::new(include_str!("package.sh"));
    script.line(format!("install_packages {}", sh_words(names)));
    script
}
