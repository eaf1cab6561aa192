//! The records of a host: `/var/lib/hactl/journal/RUN.log`, as `apply.sh` writes them.

use jiff::Timestamp;

use super::{OnHost, Outcome, Run, Step};
use crate::engine::StepOutcome;
use crate::quote::sh;
use crate::resource::probe::Section;
use crate::resource::script::SAME;

/// Which records are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The newest ones.
    Newest(usize),
    /// The one of this id.
    Run(&'a str),
}

/// The question, for the session's shell; answered in sections that [`read`] takes.
pub fn script(wanted: Wanted) -> String {
    let files = match wanted {
        Wanted::Newest(count) => format!("ls -1r | head -n {count}"),
        Wanted::Run(id) => format!("ls -1 -- {} 2>/dev/null", sh(&format!("{id}.log"))),
    };
    // A run goes on when its folder is there and so is the shell that holds the lock.
    format!(
        "( cd /var/lib/hactl/journal 2>/dev/null || exit 0\n\
         pid=\n\
         [ ! -r /run/hactl/holder ] || read -r pid </run/hactl/holder\n\
         if [ -n \"$pid\" ] && [ -d \"/proc/$pid\" ]; then\n\
         \x20   for run in /run/hactl/runs/*; do [ ! -d \"$run\" ] || mark running \"${{run##*/}}\"; done\n\
         fi\n\
         {files} | while IFS= read -r file; do\n\
         \x20   case $file in *[!A-Za-z0-9.-]*) continue ;; *.log) ;; *) continue ;; esac\n\
         \x20   mark journal \"${{file%.log}}\"\n\
         \x20   head -c 262144 -- \"$file\"\n\
         done ) </dev/null\n"
    )
}

/// Reads the answer.
pub fn read(sections: &[Section]) -> Vec<Record> {
    let named = |section: &Section, name: &str| -> Option<String> {
        let [first, second] = section.words.as_slice() else {
            return None;
        };
        (first == name).then(|| second.clone())
    };
    let running: Vec<String> = sections
        .iter()
        .filter_map(|section| named(section, "running"))
        .collect();
    sections
        .iter()
        .filter_map(|section| {
            let id = named(section, "journal")?;
            let text = String::from_utf8_lossy(&section.body);
            Some(Record::parse(&id, &text, running.contains(&id)))
        })
        .collect()
}

/// What a host recorded of a run. All of it is the host's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Id of the run.
    pub run: String,
    /// Who.
    pub by: String,
    /// The command line in short, e.g. `apply /home/ada/inventory.yml`.
    pub doing: String,
    /// When the run began, on the operator's clock.
    pub started: Option<Timestamp>,
    /// When it was last heard of, on the host's clock.
    pub ended: Option<Timestamp>,
    outcome: Outcome,
    steps: Vec<Step>,
}

impl Record {
    /// Reads a record; the last line may be half.
    pub fn parse(run: &str, text: &str, running: bool) -> Self {
        let mut record = Record {
            run: run.to_owned(),
            by: String::new(),
            doing: String::new(),
            started: None,
            ended: None,
            outcome: if running { Outcome::Running } else { Outcome::CutOff },
            steps: Vec::new(),
        };
        // Without its end a line may say anything.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            record.line(line);
        }
        record
    }

    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "by" => self.by = rest.to_owned(),
            "doing" => self.doing = rest.to_owned(),
            "since" => self.started = rest.parse().ok().or(self.started),
            "begin" => {
                let (time, step) = rest.split_once(' ').unwrap_or((rest, ""));
                let started = second(time);
                self.ended = started.or(self.ended);
                self.steps.push(Step {
                    step: step.to_owned(),
                    outcome: None,
                    started,
                    ms: None,
                    changes: 0,
                    message: None,
                });
            }
            "end" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let ended = words.first().and_then(|time| second(time));
                self.ended = ended.or(self.ended);
                let Some(step) = self.steps.last_mut() else { return };
                let status: i32 = words.get(1).and_then(|status| status.parse().ok()).unwrap_or(1);
                step.outcome = Some(match status {
                    0 => StepOutcome::Changed,
                    SAME => StepOutcome::Unchanged,
                    124 | 137 => StepOutcome::TimedOut,
                    _ => StepOutcome::Failed,
                });
                step.changes = words.get(2).and_then(|changes| changes.parse().ok()).unwrap_or(1);
                step.ms = match (step.started, ended) {
                    (Some(began), Some(ended)) => {
                        let seconds = ended.as_second().saturating_sub(began.as_second());
                        u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(1000))
                    }
                    _ => None,
                };
            }
            "left" => {
                let (time, status) = rest.split_once(' ').unwrap_or((rest, "1"));
                self.ended = second(time).or(self.ended);
                // The statuses of `apply.sh`.
                self.outcome = match status {
                    "0" => Outcome::Done,
                    "5" => Outcome::Interrupted,
                    "6" => Outcome::Locked,
                    "7" => Outcome::Refused,
                    _ => Outcome::Failed,
                };
            }
            _ => {}
        }
    }

    /// A run of which only this host knows.
    pub(super) fn unknown_run(&self) -> Run {
        let verb = self.doing.split(' ').next().unwrap_or_default();
        Run {
            run: self.run.clone(),
            by: self.by.clone(),
            verb: verb.to_owned(),
            started: self.started,
            ended: self.ended,
            outcome: Outcome::Done,
            here: false,
            hosts: Vec::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn on_host(self, host: &str) -> OnHost {
        let changed = |step: &Step| match step.outcome {
            Some(StepOutcome::Changed) => step.changes,
            _ => 0,
        };
        OnHost {
            host: host.to_owned(),
            outcome: self.outcome,
            changed: self.steps.iter().map(changed).fold(0, usize::saturating_add),
            there: true,
            message: None,
            steps: self.steps,
        }
    }
}

fn second(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.parse().ok()?).ok()
}
