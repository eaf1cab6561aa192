//! Runs as they were recorded: by the machine that ran them and by the hosts that they changed.
//!
//! Neither record is the whole truth. This machine knows failures before a host was reached, and what steps printed; a
//! host knows the runs of other operators, and how a step ended whose run was killed. [`join`] makes one of both.

pub mod local;
pub mod remote;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StepOutcome;
use crate::error::Kind;

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub run: String,
    /// Who: `user@machine`; empty when nobody knows.
    pub by: String,
    /// The verb, e.g. `apply`; empty when nobody knows.
    pub verb: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended, or was last heard of.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether this machine has a record of it.
    pub here: bool,
    /// The hosts that took part, as far as known.
    pub hosts: Vec<OnHost>,
    /// Names that it led to another host, e.g. `erp.example.com A to srv2`.
    pub names: Vec<String>,
}

/// One run on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnHost {
    /// The host's name.
    pub host: String,
    /// How it ended there.
    pub outcome: Outcome,
    /// Resources changed.
    pub changed: usize,
    /// Whether the host has a record of it.
    pub there: bool,
    /// What failed, when that was no step.
    pub message: Option<String>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its id.
    pub step: String,
    /// How it ended; `None`: nobody saw the end.
    pub outcome: Option<StepOutcome>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Milliseconds it took; of a host's record whole seconds.
    pub ms: Option<u64>,
    /// Changes in it.
    pub changes: usize,
    /// For a failure: what it printed.
    pub message: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was done; perhaps there was nothing to do.
    Done,
    /// Something failed.
    Failed,
    /// A host could not be reached; nothing was changed.
    Unreachable,
    /// Another run held the host.
    Locked,
    /// A guard refused.
    Refused,
    /// The operator stopped it.
    Interrupted,
    /// It ended without a word: killed, or its machine or connection died.
    CutOff,
    /// It goes on now.
    Running,
}

impl Outcome {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Unreachable => "unreachable",
            Outcome::Locked => "locked",
            Outcome::Refused => "refused",
            Outcome::Interrupted => "interrupted",
            Outcome::CutOff => "cut off",
            Outcome::Running => "running",
        }
    }

    /// Of an exit code.
    fn of_code(code: u8) -> Self {
        let is = |kind: Kind| kind.exit_code() == code;
        match code {
            0 => Outcome::Done,
            _ if is(Kind::Unreachable) => Outcome::Unreachable,
            _ if is(Kind::Locked) => Outcome::Locked,
            _ if is(Kind::Refused) => Outcome::Refused,
            _ if is(Kind::Interrupted) => Outcome::Interrupted,
            _ => Outcome::Failed,
        }
    }
}

/// Runs of this machine and of the hosts, newest first.
pub fn join(here: Vec<Run>, there: Vec<(String, Vec<remote::Record>)>) -> Vec<Run> {
    let mut runs: BTreeMap<String, Run> = here.into_iter().map(|run| (run.run.clone(), run)).collect();
    for (host, records) in there {
        for record in records {
            let run = runs.entry(record.run.clone()).or_insert_with(|| record.unknown_run());
            run.learn(&host, record);
        }
    }
    runs.into_values().rev().collect()
}

impl Run {
    /// Takes over what a host knows.
    fn learn(&mut self, host: &str, record: remote::Record) {
        if self.by.is_empty() {
            self.by.clone_from(&record.by);
        }
        self.started = self.started.or(record.started);
        if !self.here || self.outcome == Outcome::CutOff {
            self.ended = self.ended.max(record.ended);
        }
        let theirs = record.on_host(host);
        if !self.here || (self.outcome == Outcome::CutOff && theirs.outcome == Outcome::Running) {
            self.outcome = worse(self.outcome, theirs.outcome);
        }
        match self.hosts.iter_mut().find(|known| known.host == host) {
            Some(known) => known.learn(theirs),
            None => self.hosts.push(theirs),
        }
    }
}

impl OnHost {
    fn learn(&mut self, theirs: OnHost) {
        self.there = true;
        // Of a run that was cut off here, the host knows more.
        if self.outcome == Outcome::CutOff {
            self.outcome = theirs.outcome;
            self.changed = self.changed.max(theirs.changed);
        }
        for (index, step) in theirs.steps.into_iter().enumerate() {
            match self.steps.iter_mut().find(|known| known.step == step.step) {
                Some(known) => {
                    if matches!(known.outcome, None | Some(StepOutcome::Unknown)) {
                        known.outcome = step.outcome.or(known.outcome);
                        known.ms = step.ms.or(known.ms);
                    }
                    known.started = known.started.or(step.started);
                }
                None => self.steps.insert(index.min(self.steps.len()), step),
            }
        }
    }
}

/// What is said of a run that went differently on its hosts.
fn worse(a: Outcome, b: Outcome) -> Outcome {
    let weight = |outcome: Outcome| match outcome {
        Outcome::Done => 0,
        Outcome::Unreachable => 1,
        Outcome::Locked => 2,
        Outcome::Refused => 3,
        Outcome::Interrupted => 4,
        Outcome::CutOff => 5,
        Outcome::Failed => 6,
        Outcome::Running => 7,
    };
    if weight(a) >= weight(b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = r#"{"time":"2026-11-21T09:00:00Z","event":"run_started","run":"r1","verb":"apply","cluster":"demo","hosts":["srv1"],"version":"0.1.0","by":"ada@laptop"}
{"time":"2026-11-21T09:00:01Z","event":"step_started","host":"srv1","step":"file /a","role":"base","number":1,"of":3}
{"time":"2026-11-21T09:00:02Z","event":"step_finished","host":"srv1","step":"file /a","outcome":"changed","changes":1,"ms":900}
{"time":"2026-11-21T09:00:03Z","event":"step_started","host":"srv1","step":"packages","role":"base","number":2,"of":3}
{"time":"2026-11-21T09:00:03Z","event":"something_of_a_later_version","host":"srv1"}
{"time":"2026-11-21T09:00:0"#;

    const HOST: &str = "run r1\nby ada@laptop\nsince 2026-11-21T09:00:00Z\ndoing apply /i/inventory.yml\n\
        begin 1795251601 file /a\nend 1795251602 0 1\nbegin 1795251603 packages\nend 1795251640 0 7\n";

    fn remote(text: &str, running: bool) -> remote::Record {
        remote::Record::parse("r1", text, running)
    }

    #[test]
    fn a_killed_run_is_cut_off_and_the_host_knows_how_its_last_step_ended() {
        let local = local::parse("r1", LOCAL, false);
        assert_eq!(local.outcome, Outcome::CutOff);
        assert_eq!(local.hosts[0].steps[1].outcome, None);
        let runs = join(vec![local.clone()], vec![("srv1".into(), vec![remote(HOST, false)])]);
        let host = &runs[0].hosts[0];
        assert_eq!(
            (runs[0].outcome, host.outcome, host.changed),
            (Outcome::CutOff, Outcome::CutOff, 8)
        );
        let steps: Vec<_> = host
            .steps
            .iter()
            .map(|step| (step.step.as_str(), step.outcome))
            .collect();
        assert_eq!(
            steps,
            [
                ("file /a", Some(StepOutcome::Changed)),
                ("packages", Some(StepOutcome::Changed))
            ]
        );
        assert_eq!(host.steps[1].ms, Some(37_000));
        // As long as the host works on it, it is not over.
        let runs = join(vec![local], vec![("srv1".into(), vec![remote(HOST, true)])]);
        assert_eq!(runs[0].outcome, Outcome::Running);
    }

    #[test]
    fn runs_that_only_a_host_knows() {
        for (end, outcome) in [
            ("left 1795251650 0\n", Outcome::Done),
            ("left 1795251650 4\n", Outcome::Failed),
            ("left 1795251650 5\n", Outcome::Interrupted),
            ("left 1795251650 6\n", Outcome::Locked),
            ("left 1795251650 7\n", Outcome::Refused),
            ("", Outcome::CutOff),
            ("left 17", Outcome::CutOff),
        ] {
            let runs = join(
                vec![],
                vec![("srv1".into(), vec![remote(&format!("{HOST}{end}"), false)])],
            );
            let run = &runs[0];
            assert_eq!(run.outcome, outcome, "{end}");
            assert_eq!(
                (run.by.as_str(), run.verb.as_str(), run.here),
                ("ada@laptop", "apply", false)
            );
            assert_eq!(run.hosts[0].changed, 8);
        }
    }

    #[test]
    fn what_this_machine_saw_to_its_end_is_not_overruled() {
        let text = format!(
            "{}\n{}",
            LOCAL.lines().take(3).collect::<Vec<_>>().join("\n"),
            r#"{"time":"2026-11-21T09:00:09Z","event":"summary","run":"r1","exit_code":4,"changed":1,"unchanged":0,"failed":1,"skipped":0,"ms":9000,"hosts":[{"host":"srv1","outcome":"failed","changed":1,"unchanged":0,"failed":1,"skipped":0,"round_trips":2,"ms":9}]}"#
        );
        let runs = join(
            vec![local::parse("r1", &text, false)],
            vec![("srv1".into(), vec![remote(HOST, false)]), ("srv2".into(), vec![])],
        );
        assert_eq!(runs.len(), 1);
        assert_eq!(
            (runs[0].outcome, runs[0].hosts[0].outcome),
            (Outcome::Failed, Outcome::Failed)
        );
        assert_eq!(runs[0].ended.unwrap().to_string(), "2026-11-21T09:00:09Z");
    }

    /// A journal is a host's word.
    #[test]
    fn any_journal_is_read() {
        for text in [
            "",
            "left 1 0\n",
            "begin\nend\nleft\nrun\n",
            "begin x y\nend z 0\n",
            "end 99999999999999999999 -1 -1\n",
            "begin 9223372036854775807 a\nend -9223372036854775808 0 18446744073709551615\nbegin 1 b\nend 2 0 18446744073709551615\n",
        ] {
            let _ = join(vec![], vec![("srv1".into(), vec![remote(text, false)])]);
        }
    }
}
