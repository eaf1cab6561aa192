//! systemd services. A reload is a state, not an event: what the process has loaded is compared with what is on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use super::observed::{Loaded, Observed, PathKind, PathState, UnitState};
use super::{Action, Ask, Change, Kind, Script};
use crate::quote::{sh, sh_words};

/// What a service does when files it reads have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// `systemctl reload`.
    Reload,
    /// `systemctl restart`.
    Restart,
    /// Nothing but systemd's own rereading: for drop-ins that only tell systemd how to treat the unit.
    Reread,
}

/// A service that must be enabled and running with its files as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Full unit name, e.g. `nginx.service`.
    pub unit: String,
    /// Files (or links) it reads; a difference between them and what it has loaded is a change.
    pub watches: Vec<String>,
    /// How it takes up changed files.
    pub on_change: OnChange,
    /// Shell test that passes when it serves; its output explains a failure.
    pub health: String,
    /// How long it may take to become healthy.
    pub patience: Duration,
    /// Keys of answers (of tests and SQL) that are good for one start of the unit only: what was set at run time.
    pub forgets: Vec<String>,
}

/// What stands for a watched path: the hash of a file, the target of a link, nothing when absent, `?` when a step of the
/// plan writes something that cannot be foretold.
fn digest(seen: &Observed, path: &str) -> Option<String> {
    let state = seen.paths.get(path)?;
    Some(match state.kind {
        PathKind::Link => format!("link:{}", state.target.as_deref().unwrap_or("?")),
        _ => state.sha256.clone().unwrap_or_else(|| "?".into()),
    })
}

/// What would be loaded now.
pub(super) fn digests(seen: &Observed, watches: &[String]) -> BTreeMap<String, String> {
    watches
        .iter()
        .filter_map(|path| Some((path.clone(), digest(seen, path)?)))
        .collect()
}

/// The watched paths that differ from what was loaded by the start `invocation` of a unit, which began at `since`.
///
/// Without a stamp of this very start (booted since, restarted by hand, never touched by hactl) the files' times decide:
/// what was last written before the start has been read by it. The same second counts as after.
pub(super) fn stale(seen: &Observed, watches: &[String], stamp: &str, invocation: &str, since: u64) -> Vec<String> {
    let now = digests(seen, watches);
    match seen.loaded.get(stamp).filter(|loaded| loaded.invocation == invocation) {
        Some(loaded) => watches
            .iter()
            .filter(|path| loaded.files.get(*path) != now.get(*path))
            .cloned()
            .collect(),
        None => {
            let newer = |path: &&String| seen.paths.get(*path).is_some_and(|state| state.mtime >= since);
            watches.iter().filter(newer).cloned().collect()
        }
    }
}

/// Names files in a few words.
pub(super) fn changed(paths: &[String]) -> String {
    let name = |path: &String| path.rsplit('/').next().unwrap_or(path).to_owned();
    match paths {
        [one] => format!("{} changed", name(one)),
        [one, two] => format!("{} and {} changed", name(one), name(two)),
        [one, rest @ ..] => format!("{} and {} more changed", name(one), rest.len()),
        [] => String::new(),
    }
}

impl Kind for Service {
    fn id(&self) -> String {
        format!("service {}", self.unit)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.units.insert(self.unit.clone());
        ask.loaded.insert(self.unit.clone());
        for path in &self.watches {
            ask.path(path);
        }
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let Some(unit) = seen.units.get(&self.unit) else {
            return Some(Change::new(Action::Start, "enable and start"));
        };
        let enabled = matches!(
            unit.enabled.as_str(),
            "enabled" | "static" | "alias" | "generated" | "indirect"
        );
        if unit.active != "active" {
            let what = if enabled { "start" } else { "enable and start" };
            return Some(Change::new(Action::Start, format!("is {}: {what}", unit.active)));
        }
        let stale = stale(seen, &self.watches, &self.unit, &unit.invocation, unit.since);
        if stale.is_empty() {
            return (!enabled).then(|| Change::new(Action::Update, format!("is {}: enable", unit.enabled)));
        }
        Some(match self.on_change {
            OnChange::Reload | OnChange::Reread => Change::new(Action::Reload, changed(&stale)),
            OnChange::Restart => Change::new(Action::Restart, changed(&stale)),
        })
    }

    fn project(&self, seen: &mut Observed) {
        if let Some(change) = self.compare(seen)
            && matches!(change.action, Action::Start | Action::Restart)
        {
            for key in &self.forgets {
                seen.tests.remove(key);
                if let Ok(answers) = &mut seen.sql {
                    answers.remove(key);
                }
            }
        }
        let files = digests(seen, &self.watches);
        let unit = seen.units.entry(self.unit.clone()).or_insert_with(|| UnitState {
            active: String::new(),
            enabled: String::new(),
            invocation: "projected".into(),
            since: 0,
        });
        unit.active = "active".into();
        unit.enabled = "enabled".into();
        let invocation = unit.invocation.clone();
        seen.loaded.insert(self.unit.clone(), Loaded { invocation, files });
        if self.unit == "supervisor.service" {
            seen.programs.get_or_insert_with(BTreeMap::new);
        }
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        let unit = sh(&self.unit);
        let health = script.blob(self.health.clone());
        script.line(format!(
            "systemctl daemon-reload && systemctl unmask {unit} >/dev/null 2>&1"
        ));
        script.line(format!("systemctl -q enable {unit} || fail 'cannot enable it'"));
        let how = match change.action {
            Action::Update => return script,
            // systemd has read its files again by then.
            Action::Reload if self.on_change == OnChange::Reread => "is-active",
            Action::Reload => "reload",
            Action::Restart => "restart",
            _ => "start",
        };
        script.line(format!(
            "load {unit} {how} {health} {} {}",
            self.patience.as_secs(),
            sh_words(&self.watches)
        ));
        script
    }

    fn is_felt(&self, change: &Change) -> bool {
        matches!(change.action, Action::Reload | Action::Restart) && self.on_change != OnChange::Reread
    }

    fn deadline(&self) -> Duration {
        // Once for the new files, once for the old ones put back, and systemd's own patience with a stop.
        self.patience * 2 + Duration::from_secs(120)
    }
}

/// A service that must be neither running nor started at boot, e.g. the one that a package brings beside ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Full unit name, e.g. `redis-server.service`.
    pub unit: String,
    /// The package that brings it; installing that enables it.
    pub package: String,
}

impl Kind for Stopped {
    fn id(&self) -> String {
        format!("stopped {}", self.unit)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.units.insert(self.unit.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let Some(unit) = seen.units.get(&self.unit) else {
            let coming = seen.fresh.contains(&self.package);
            return coming.then(|| Change::new(Action::Update, "disable"));
        };
        let enabled = matches!(unit.enabled.as_str(), "enabled" | "enabled-runtime");
        let running = !matches!(unit.active.as_str(), "inactive" | "failed");
        match (running, enabled) {
            // An installation that was cut off leaves the unit's file before the package has enabled it; it will.
            (false, false)
                if seen.fresh.contains(&self.package) && unit.enabled != "masked" && unit.since != PathState::LATER =>
            {
                Some(Change::new(Action::Update, "disable"))
            }
            (false, false) => None,
            (false, true) => Some(Change::new(Action::Update, "disable")),
            (true, false) => Some(Change::new(Action::Update, "stop")),
            (true, true) => Some(Change::new(Action::Update, "stop and disable")),
        }
    }

    fn project(&self, seen: &mut Observed) {
        let unit = seen.units.entry(self.unit.clone()).or_insert_with(|| UnitState {
            active: String::new(),
            enabled: String::new(),
            invocation: String::new(),
            since: 0,
        });
        unit.active = "inactive".into();
        unit.enabled = "disabled".into();
        unit.since = PathState::LATER;
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let unit = sh(&self.unit);
        Script::new(format!(
            "systemctl -q disable --now {unit} || fail 'cannot stop and disable it'\n"
        ))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(180)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    #[test]
    fn what_a_package_brings_is_stopped_in_the_same_plan() {
        let stopped = Stopped {
            unit: "redis-server.service".into(),
            package: "redis-server".into(),
        };
        let mut seen = Observed::bare(Facts::assumed());
        assert_eq!(stopped.compare(&seen), None, "nobody brings it");
        seen.fresh.insert("redis-server".into());
        assert_eq!(stopped.compare(&seen).unwrap().summary, "disable");
        for (active, enabled, summary) in [
            ("active", "enabled", Some("stop and disable")),
            ("activating", "disabled", Some("stop")),
            ("inactive", "enabled", Some("disable")),
            // Its package is about to be configured, which enables it.
            ("failed", "disabled", Some("disable")),
            ("inactive", "masked", None),
        ] {
            let unit = UnitState {
                active: active.into(),
                enabled: enabled.into(),
                invocation: String::new(),
                since: 0,
            };
            seen.units.insert(stopped.unit.clone(), unit);
            let change = stopped.compare(&seen).map(|change| change.summary);
            assert_eq!(change.as_deref(), summary, "{active} {enabled}");
        }
        stopped.project(&mut seen);
        assert_eq!(stopped.compare(&seen), None);
        seen.fresh.clear();
        assert_eq!(stopped.compare(&seen), None);
    }
}
