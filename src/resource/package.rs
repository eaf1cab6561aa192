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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    #[test]
    fn a_pinned_package_is_known_by_its_name() {
        let package = |name: &str| Package { name: name.into() };
        let mut seen = Observed::bare(Facts::assumed());
        seen.packages.insert("libfoo".into(), "1.2-3".into());
        let summary = |name: &str, seen: &Observed| package(name).compare(seen).map(|change| change.summary);
        assert_eq!(summary("libfoo", &seen), None);
        assert_eq!(summary("libfoo:amd64=1.2-3", &seen), None);
        assert_eq!(summary("libfoo=2.0", &seen).as_deref(), Some("1.2-3 → 2.0"));
        assert_eq!(summary("libbar=1", &seen).as_deref(), Some("install"));
        for name in ["libfoo=2.0", "libbar=1"] {
            package(name).project(&mut seen);
            assert_eq!(summary(name, &seen), None);
        }
        assert!(seen.fresh.contains("libbar") && !seen.fresh.contains("libfoo"));
    }
}
