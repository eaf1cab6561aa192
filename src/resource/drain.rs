//! Leading visitors past a host while it changes.

use std::time::Duration;

use super::observed::TestState;
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;

/// How visitors of a host behind a load balancer are kept away while what serves them is interrupted. The step that
/// interrupts does that itself, and lets them in again when it ended: see `drain.sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Ports that they come to.
    pub ports: Vec<u16>,
    /// Port of gunicorn, where it is seen which requests are under way.
    pub app_port: u16,
    /// Shell tests, one for each other host: it serves the site. When none does, nobody is led away.
    pub others: Vec<String>,
    /// Shell test: this host serves the site.
    pub serves: String,
    /// Longest time that a request may take.
    pub patience: Duration,
}

impl Drain {
    /// What a plan says about a change with it.
    pub(super) fn told(&self, change: Change) -> Change {
        Change {
            summary: format!("{}; visitors are led to other hosts meanwhile", change.summary),
            ..change
        }
    }

    /// The shell that comes before what interrupts.
    pub(super) fn begin(&self, script: &mut Script) {
        let ports: Vec<_> = self.ports.iter().map(u16::to_string).collect();
        let others: Vec<_> = self.others.iter().map(|test| format!("( {test} )")).collect();
        script.line(format!(
            "PORTS={} APP={} PATIENCE_OUT={}\nanother_serves() {{\n{}\n}}\nserves() {{\n{}\n}}\n{}",
            sh(&ports.join(" ")),
            self.app_port,
            self.patience.as_secs(),
            others.join(" ||\n"),
            self.serves,
            include_str!("drain.sh")
        ));
    }
}

/// That nothing keeps visitors away: a step that led them past the host and was cut off leaves its rules behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitors;

const KEY: &str = "drain";

impl Kind for Visitors {
    fn id(&self) -> String {
        "visitors".into()
    }

    fn ask(&self, ask: &mut Ask) {
        ask.test(KEY, "nft list table inet hactl_drain >/dev/null 2>&1");
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let away = seen.tests.get(KEY).is_some_and(|test| test.code == 0);
        away.then(|| {
            Change::new(
                Action::Remove,
                "what keeps them away since a change that failed or was cut off",
            )
        })
    }

    fn project(&self, seen: &mut Observed) {
        let gone = TestState {
            code: 1,
            output: String::new(),
        };
        seen.tests.insert(KEY.into(), gone);
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        Script::new(
            "nft delete table inet hactl_drain || ! nft list table inet hactl_drain >/dev/null 2>&1 || fail 'nft refused'\n",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    #[test]
    fn what_a_cut_left_is_taken_away_once() {
        let mut seen = Observed::bare(Facts::assumed());
        for (code, left) in [(127, false), (1, false), (0, true)] {
            let output = String::new();
            seen.tests.insert(KEY.into(), TestState { code, output });
            assert_eq!(Visitors.compare(&seen).is_some(), left, "{code}");
        }
        Visitors.project(&mut seen);
        assert_eq!(Visitors.compare(&seen), None);
    }
}
