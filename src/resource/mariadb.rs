//! The MariaDB server as a service: some of its settings are taken up while it runs, and a replica is back only when it
//! follows again.

use std::time::Duration;

use super::observed::Observed;
use super::service::stale;
use super::{Action, Ask, Change, Kind, OnChange, Script, Service};
use crate::quote::sh;

/// MariaDB, running with its files as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseServer {
    /// Its unit, which restarts for all files but one.
    pub service: Service,
    /// The one of the watched files whose variables are set while the server runs.
    pub live: Option<String>,
    /// Whether it is a replica: when it followed before a restart, it is healthy when it has caught up again.
    pub follows: bool,
}

impl DatabaseServer {
    /// The service, as far as it has to be restarted now.
    fn now(&self, seen: &Observed) -> Service {
        let unit = seen.units.get(&self.service.unit);
        let stale = unit.map(|unit| {
            let watches = &self.service.watches;
            stale(seen, watches, &self.service.unit, &unit.invocation, unit.since)
        });
        let live = |stale: Vec<String>| !stale.is_empty() && stale.iter().all(|path| Some(path) == self.live.as_ref());
        Service {
            on_change: match stale.is_some_and(live) {
                true => OnChange::Reload,
                false => OnChange::Restart,
            },
            ..self.service.clone()
        }
    }
}

impl Kind for DatabaseServer {
    fn id(&self) -> String {
        self.service.id()
    }

    fn ask(&self, ask: &mut Ask) {
        self.service.ask(ask);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let change = self.now(seen).compare(seen)?;
        Some(match change.action {
            Action::Reload => Change {
                summary: format!("{}: set while it runs", change.summary),
                ..change
            },
            _ => change,
        })
    }

    fn project(&self, seen: &mut Observed) {
        self.now(seen).project(seen);
    }

    fn converge(&self, change: &Change, seen: &Observed) -> Script {
        let mut script = Script::default();
        if self.follows {
            script.line(include_str!("follows.sh"));
        }
        if let Some(live) = &self.live {
            script.line(format!("LIVE={}\n{}", sh(live), include_str!("mariadb.sh")));
        }
        let mut service = self.now(seen);
        if self.follows {
            service.health = format!("{} || exit 1\n{CAUGHT_UP}", service.health);
        }
        let rest = service.converge(change, seen);
        script.blobs = rest.blobs;
        script.line(rest.body);
        script
    }

    fn is_felt(&self, change: &Change) -> bool {
        change.action == Action::Restart
    }

    fn deadline(&self) -> Duration {
        self.service.deadline()
    }
}

/// What `follows.sh` found before is what must be again.
const CAUGHT_UP: &str = "[ \"$FOLLOWED\" = yes ] || exit 0\n\
    mariadb --no-defaults --skip-ssl --connect-timeout=5 -E -e 'SHOW SLAVE STATUS' >\"$R/link\" || exit 1\n\
    if grep -q 'Slave_IO_Running: Yes' \"$R/link\" && grep -q 'Slave_SQL_Running: Yes' \"$R/link\" &&\n\
    \x20   grep -q 'Seconds_Behind_Master: 0$' \"$R/link\"; then exit 0; fi\n\
    echo 'it followed before, and has not caught up:'\n\
    grep -E '(Slave_(IO|SQL)_Running|Seconds_Behind_Master|Last_(IO|SQL)_Error): .' \"$R/link\"\n\
    exit 1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::{Loaded, PathState, UnitState};

    #[test]
    fn only_what_cannot_be_set_while_it_runs_restarts_it() {
        let (config, live) = ("/etc/mysql/60.cnf".to_owned(), "/etc/mysql/61.cnf".to_owned());
        let server = DatabaseServer {
            service: Service {
                unit: "mariadb.service".into(),
                watches: vec![config.clone(), live.clone()],
                on_change: OnChange::Restart,
                health: "true".into(),
                patience: Duration::from_secs(1),
                forgets: vec!["open".into()],
            },
            live: Some(live.clone()),
            follows: false,
        };
        let file = |sha: &str| PathState {
            sha256: Some(sha.into()),
            ..PathState::foretold()
        };
        for (changed, action) in [
            (vec![], None),
            (vec![&live], Some(Action::Reload)),
            (vec![&config], Some(Action::Restart)),
            (vec![&config, &live], Some(Action::Restart)),
        ] {
            let mut seen = Observed::bare(Facts::assumed());
            let unit = UnitState {
                active: "active".into(),
                enabled: "enabled".into(),
                invocation: "1".into(),
                since: 5,
            };
            seen.units.insert("mariadb.service".into(), unit);
            let files = [(config.clone(), "a".to_owned()), (live.clone(), "b".to_owned())].into();
            let invocation = "1".to_owned();
            seen.loaded
                .insert("mariadb.service".into(), Loaded { invocation, files });
            seen.paths.insert(config.clone(), file("a"));
            seen.paths.insert(live.clone(), file("b"));
            seen.sql = Ok([("open".to_owned(), "0".to_owned())].into());
            for path in &changed {
                seen.paths.insert((*path).clone(), file("new"));
            }
            let change = server.compare(&seen);
            assert_eq!(change.as_ref().map(|change| change.action), action, "{changed:?}");
            assert_eq!(
                change.is_some_and(|change| server.is_felt(&change)),
                action == Some(Action::Restart)
            );
            server.project(&mut seen);
            assert_eq!(server.compare(&seen), None);
            // What was set at run time is lost by a restart only.
            let open = seen.sql.unwrap().contains_key("open");
            assert_eq!(open, action != Some(Action::Restart), "{changed:?}");
        }
    }
}
