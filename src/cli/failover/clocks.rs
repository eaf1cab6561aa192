//! How long the parts of a crash plan took, by this machine's record of the run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::run::Run;
use crate::engine::history::{self, Step};
use crate::engine::journal;
use crate::failover::{Decision, Fence, Said, steps};

/// How long its parts took.
#[derive(Debug, Clone, Default)]
pub(super) struct Clocks {
    /// Asking everybody.
    pub survey: Duration,
    /// From the agreement until the new primary took writes.
    pub writable: Duration,
    /// From the agreement until all that follows from it was done.
    pub finished: Duration,
    /// How long nobody could write.
    pub outage: Outage,
}

/// How long nobody could write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outage {
    /// So long.
    pub time: Duration,
    /// By whose word.
    pub seen: Seen,
}

/// Who saw an outage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// This run, from its beginning: nobody knows how long it had lasted.
    #[default]
    Here,
    /// The endpoint of that host, through which its application writes; whole seconds of it before the run asked.
    Endpoint(String),
    /// This run, which caused it.
    Caused,
}

/// When a plan began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The command was typed.
    pub started: Instant,
    /// Everybody was asked: who answers does so at once.
    pub asked: Instant,
    /// It was agreed to.
    pub begun: Instant,
    /// The same, by the clock of the record.
    pub at: jiff::Timestamp,
}

impl Clocks {
    /// After the plan was carried out; `survey`: what asking took.
    pub fn read(
        run: &Run,
        decision: &Decision,
        said: &BTreeMap<String, Said>,
        survey: Duration,
        times: Times,
    ) -> Clocks {
        let folder = journal::folder(&run.engine.inventory.cluster);
        let record = history::local::read(&folder, &run.engine.run).ok().flatten();
        let step = |host: &str, name: &str| -> Option<&Step> {
            let on = record.as_ref()?.hosts.iter().find(|on| on.host == host)?;
            on.steps.iter().rev().find(|step| step.step.ends_with(name))
        };
        let began = |step: &Step| Duration::try_from(step.started?.duration_since(times.at)).ok();
        let takes = step(&decision.candidate, steps::TAKES);
        let took = takes.and_then(|step| Some(began(step)? + Duration::from_millis(step.ms?)));
        let writable = took.unwrap_or_else(|| times.begun.elapsed());
        let stops = step(&decision.primary, steps::HANDS_OVER).and_then(began);
        let outage = match stops {
            Some(stops) if decision.fence == Fence::HandsOver => Outage {
                time: writable.saturating_sub(stops),
                seen: Seen::Caused,
            },
            _ => Outage::of(said, times, times.begun + writable),
        };
        Clocks {
            survey,
            writable,
            finished: Duration::default(),
            outage,
        }
    }
}

impl Outage {
    /// Of a primary that was dead before anybody asked.
    fn of(said: &BTreeMap<String, Said>, times: Times, taken: Instant) -> Outage {
        let endpoints = said.iter().filter_map(|(name, said)| Some((said.nobody_writes?, name)));
        match endpoints.max_by_key(|(seconds, _)| *seconds) {
            Some((seconds, name)) => Outage {
                time: taken.saturating_duration_since(times.asked) + Duration::from_secs(seconds),
                seen: Seen::Endpoint(name.clone()),
            },
            None => Outage {
                time: taken.saturating_duration_since(times.started),
                seen: Seen::Here,
            },
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let seconds = self.time.as_secs_f64();
        match &self.seen {
            Seen::Caused => format!("{seconds:.2} s"),
            Seen::Endpoint(host) => format!("about {seconds:.0} s, as {host} saw it"),
            Seen::Here => format!("at least {seconds:.2} s: it was not known before it was asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_that_an_endpoint_saw_counts() {
        let started = Instant::now();
        let times = Times {
            started,
            asked: started + Duration::from_millis(200),
            begun: started + Duration::from_secs(10),
            at: jiff::Timestamp::now(),
        };
        let taken = started + Duration::from_millis(10_700);
        let saw = |seconds| Said {
            nobody_writes: seconds,
            ..Said::default()
        };
        let cases = [
            (
                vec![("app1", None)],
                "at least 10.70 s: it was not known before it was asked",
            ),
            (
                vec![("app1", Some(30)), ("app2", Some(31)), ("db2", None)],
                "about 42 s, as app2 saw it",
            ),
        ];
        for (hosts, wanted) in cases {
            let said = hosts.into_iter().map(|(name, seconds)| (name.to_owned(), saw(seconds)));
            assert_eq!(Outage::of(&said.collect(), times, taken).text(), wanted);
        }
    }
}
