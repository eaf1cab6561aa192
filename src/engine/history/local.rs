//! The records of this machine (see [`journal`](crate::engine::journal)).

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::{OnHost, Outcome, Run, Step};
use crate::engine::{Event, HostSummary, Summary, journal};
use crate::error::{Error, Result};

/// Bytes of one record that are looked at: a plan with its diffs is in it.
const LIMIT: u64 = 64 << 20;

/// Ids of the recorded runs, newest first.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn ids(folder: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| Error::internal(format!("cannot read {}: {error}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if let Some(id) = name.strip_suffix(".jsonl") {
            ids.push(id.to_owned());
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    Ok(ids)
}

/// One recorded run; `None` when there is none of that id.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(folder: &Path, id: &str) -> Result<Option<Run>> {
    use std::io::Read;
    let path = folder.join(format!("{id}.jsonl"));
    let failed = |error: std::io::Error| Error::internal(format!("cannot read {}: {error}", path.display()));
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Asked first: a run that ends in between has written its end by the time it is read.
    let running = journal::is_held(&file);
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(parse(id, &String::from_utf8_lossy(&bytes), running)))
}

/// Reads a record. Lines that are no events, or of a later version, are skipped; the last one may be half.
pub fn parse(id: &str, text: &str, running: bool) -> Run {
    let mut run = Run {
        run: id.to_owned(),
        by: String::new(),
        verb: String::new(),
        started: None,
        ended: None,
        outcome: if running { Outcome::Running } else { Outcome::CutOff },
        here: true,
        hosts: Vec::new(),
        names: Vec::new(),
    };
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let time = value["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let Ok(event) = serde_json::from_value::<Event>(value) else {
            continue;
        };
        run.ended = time.or(run.ended);
        run.take(event, time);
    }
    run
}

impl Run {
    fn take(&mut self, event: Event, time: Option<Timestamp>) {
        match event {
            Event::RunStarted { by, verb, hosts, .. } => {
                self.by = by;
                self.verb = verb;
                self.started = time;
                for host in hosts {
                    let _ = self.host(&host);
                }
            }
            Event::HostFailed {
                host, kind, message, ..
            } => {
                let on = self.host(&host);
                on.outcome = Outcome::of_word(&kind);
                on.message = Some(message);
            }
            Event::StepStarted { host, step, .. } => self.host(&host).steps.push(Step {
                step,
                outcome: None,
                started: time,
                ms: None,
                changes: 0,
                message: None,
            }),
            Event::StepFinished {
                host,
                step,
                outcome,
                changes,
                ms,
                message,
                ..
            } => {
                let on = self.host(&host);
                if outcome == crate::engine::StepOutcome::Changed {
                    on.changed = on.changed.saturating_add(changes);
                }
                if let Some(known) = on.steps.iter_mut().rev().find(|known| known.step == step) {
                    known.outcome = Some(outcome);
                    known.ms = Some(ms);
                    known.changes = changes;
                    known.message = message;
                }
            }
            Event::DnsSwitched {
                name,
                record,
                host,
                changed: true,
                ..
            } => self.names.push(format!("{name} {record} to {host}")),
            Event::Summary(summary) => self.end(summary),
            _ => {}
        }
    }

    fn end(&mut self, summary: Summary) {
        self.outcome = Outcome::of_code(summary.exit_code);
        for HostSummary {
            host, outcome, changed, ..
        } in summary.hosts
        {
            let on = self.host(&host);
            on.outcome = Outcome::of_word(&outcome);
            on.changed = changed;
        }
        // Hosts that the summary does not name took no part.
        let all = self.outcome;
        for host in &mut self.hosts {
            if matches!(host.outcome, Outcome::CutOff | Outcome::Running) {
                host.outcome = all;
            }
        }
    }

    fn host(&mut self, name: &str) -> &mut OnHost {
        let at = match self.hosts.iter().position(|host| host.host == name) {
            Some(at) => at,
            None => {
                self.hosts.push(OnHost {
                    host: name.to_owned(),
                    outcome: self.outcome,
                    changed: 0,
                    there: false,
                    message: None,
                    steps: Vec::new(),
                });
                self.hosts.len() - 1
            }
        };
        &mut self.hosts[at]
    }
}

impl Outcome {
    /// Of the words of a host's summary and of a failure's kind.
    fn of_word(word: &str) -> Self {
        match word {
            "ok" => Outcome::Done,
            "unreachable" => Outcome::Unreachable,
            "locked" => Outcome::Locked,
            "refused" => Outcome::Refused,
            // Not reached: another host failed before.
            "interrupted" | "skipped" => Outcome::Interrupted,
            _ => Outcome::Failed,
        }
    }
}
