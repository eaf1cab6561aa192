//! Debian packages.

use std::time::Duration;

use super::{Action, Ask, Batch, Change, Kind, Observed, Script};
use crate::quote::sh_words;

/// A package that must be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What `apt-get install` takes: `name[:arch][=version]`.
    pub name: String,
}

impl Package {
    /// The name alone, as dpkg answers it, and the version that is wanted.
    fn parts(&self) -> (&str, Option<&str>) {
        let (name, version) = match self.name.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (self.name.as_str(), None),
        };
        (name.split(':').next().unwrap_or(name), version)
    }
}

impl Kind for Package {
    fn id(&self) -> String {
        format!("package {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.packages.insert(self.parts().0.to_owned());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let (name, wanted) = self.parts();
        match (seen.packages.get(name), wanted) {
            (None, _) => return Some(Change::new(Action::Create, "install")),
            (Some(now), Some(wanted)) if now != wanted => {
                return Some(Change::new(Action::Update, format!("{now} → {wanted}")));
            }
            _ => {}
        }
        seen.packages_broken
            .then(|| Change::new(Action::Update, "finish an interrupted installation"))
    }

    fn project(&self, seen: &mut Observed) {
        let (name, wanted) = self.parts();
        let version = wanted.unwrap_or_default().to_owned();
        if seen.packages.insert(name.to_owned(), version).is_none() {
            seen.fresh.insert(name.to_owned());
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
