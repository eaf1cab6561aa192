//! Turns what a host reports into events, and explains failures.

use std::collections::VecDeque;
use std::time::Instant;

use super::link::Progress;
use super::survey::millis;
use super::{Event, Events, StepOutcome};
use crate::plan::Step;
use crate::quote::terminal;
use crate::resource::Spec;
use crate::resource::script::{MOVED, SAME};
use crate::secret::Secret;

/// Longest line passed on, characters.
const LINE_LIMIT: usize = 500;
/// Lines kept to explain a failure.
const TAIL: usize = 40;
/// Lines of one order that are passed on; a host that prints without end must not fill this machine's journal.
const LINES: usize = 50_000;

/// What came of an order.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Steps that began.
    pub reached: usize,
    /// Resources changed.
    pub changed: usize,
    /// Resources that turned out to need nothing.
    pub unchanged: usize,
    /// Steps failed.
    pub failed: usize,
    /// Whether a step found the host changed since the plan.
    pub moved: bool,
}

/// Follows one order on one host.
pub struct Narrator<'a> {
    events: &'a Events,
    host: &'a str,
    steps: &'a [Step],
    first: usize,
    of: usize,
    running: Option<(usize, Instant)>,
    partial: Vec<u8>,
    /// As they came.
    tail: VecDeque<Vec<u8>>,
    /// Lines passed on.
    lines: usize,
    secrets: &'a [Secret],
    counts: Counts,
}

impl<'a> Narrator<'a> {
    /// `first` and `of` place the order's steps among all of the run's on this host.
    pub fn new(events: &'a Events, host: &'a str, steps: &'a [Step], first: usize, of: usize) -> Self {
        Narrator {
            events,
            host,
            steps,
            first,
            of,
            running: None,
            partial: Vec::new(),
            tail: VecDeque::new(),
            lines: 0,
            secrets: &[],
            counts: Counts::default(),
        }
    }

    /// Values that a host was given and may print, by mistake or malice: they are masked.
    #[must_use]
    pub fn masking(mut self, secrets: &'a [Secret]) -> Self {
        self.secrets = secrets;
        self
    }

    /// Takes what the host reports. Indices come from the host and may be lies.
    pub fn take(&mut self, progress: Progress) {
        match progress {
            Progress::Waits(reason) => self.events.send(Event::HostWaits {
                host: self.host.into(),
                reason,
            }),
            Progress::Began(index) => {
                let Some(step) = self.steps.get(index) else { return };
                self.running = Some((index, Instant::now()));
                self.tail.clear();
                self.partial.clear();
                self.counts.reached = index + 1;
                self.events.send(Event::StepStarted {
                    host: self.host.into(),
                    step: step.id.clone(),
                    role: step.role.clone(),
                    number: self.first + index + 1,
                    of: self.of,
                });
            }
            Progress::Output(bytes) => {
                let mut pieces = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).peekable();
                while let Some(piece) = pieces.next() {
                    let ended = pieces.peek().is_some();
                    self.partial.extend_from_slice(piece);
                    if ended || self.partial.len() > 4 * LINE_LIMIT {
                        let line = std::mem::take(&mut self.partial);
                        self.line(&line);
                    }
                }
            }
            Progress::Ended(index, status) => {
                let line = std::mem::take(&mut self.partial);
                self.line(&line);
                if self.running.is_some_and(|(running, _)| running == index) {
                    self.counts.moved |= status == MOVED;
                    self.end(match status {
                        0 => StepOutcome::Changed,
                        SAME => StepOutcome::Unchanged,
                        // 124: by `timeout`'s TERM; 137: by its KILL.
                        124 | 137 => StepOutcome::TimedOut,
                        _ => StepOutcome::Failed,
                    });
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some((index, _)) = self.running else { return };
        if line.trim_ascii().is_empty() {
            return;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line[..line.len().min(4 * LINE_LIMIT)].to_vec());
        self.lines += 1;
        let line = match self.lines {
            ..LINES => self.clean(line),
            LINES => "(the host prints more than is shown)".into(),
            _ => return,
        };
        self.events.send(Event::StepOutput {
            host: self.host.into(),
            step: self.steps[index].id.clone(),
            line,
        });
    }

    /// A line as it may be shown.
    fn clean(&self, line: &[u8]) -> String {
        let line = crate::secret::masked(&String::from_utf8_lossy(line), self.secrets);
        terminal(&line).chars().take(LINE_LIMIT).collect()
    }

    fn end(&mut self, outcome: StepOutcome) {
        let Some((index, began)) = self.running.take() else {
            return;
        };
        let step = &self.steps[index];
        let changes = step.changes.len();
        let (message, hint) = match outcome {
            StepOutcome::Changed => {
                self.counts.changed += changes;
                (None, None)
            }
            StepOutcome::Unchanged => {
                self.counts.unchanged += changes;
                (None, None)
            }
            StepOutcome::Failed | StepOutcome::TimedOut | StepOutcome::Unknown => {
                self.counts.failed += 1;
                let said: Vec<_> = self.tail.iter().map(|line| self.clean(line)).collect();
                let mut message = explain(&said.join("\n"), step);
                if message.is_empty() {
                    message = "it said nothing about the reason".into();
                }
                let hint = match outcome {
                    StepOutcome::TimedOut => {
                        message = format!("took longer than {} s and was ended\n{message}", step.deadline);
                        "look at the host, then run hactl apply again".to_owned()
                    }
                    StepOutcome::Unknown => {
                        "run hactl apply again: it looks at the host first and continues from there".to_owned()
                    }
                    _ if self.counts.moved => "look again: hactl plan".to_owned(),
                    _ => "mend the cause and run hactl apply again: it continues where this ended".to_owned(),
                };
                (Some(message.trim_end().to_owned()), Some(hint))
            }
        };
        self.events.send(Event::StepFinished {
            host: self.host.into(),
            step: step.id.clone(),
            outcome,
            changes,
            ms: millis(began),
            message,
            hint,
        });
    }

    /// The order is over; a step that is still running has an unknown result when the connection was lost.
    pub fn finish(mut self, orderly: bool) -> Counts {
        if !orderly && self.running.is_some() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line);
            self.end(StepOutcome::Unknown);
        }
        self.counts
    }
}

/// Adds, for each `PATH:LINE` of a rendered file in a daemon's message, the template line it came from.
fn explain(said: &str, step: &Step) -> String {
    let mut out = said.to_owned();
    for resource in &step.resources {
        let Spec::File(file) = &resource.spec else { continue };
        let Some(source) = &file.source else { continue };
        let Some(number) = line_in(said, &file.path) else {
            continue;
        };
        let rendered = file
            .text
            .shown()
            .and_then(|text| text.lines().nth(number.saturating_sub(1)));
        if let Some(text) = rendered {
            out.push_str(&format!("\n{}:{number} is: {}", file.path, terminal(text.trim())));
        }
        match source.lines.get(number.saturating_sub(1)) {
            Some(line) => out.push_str(&format!("\nwhich comes from {}, line {line}", source.template)),
            None => out.push_str(&format!("\nwhich comes from {}", source.template)),
        }
    }
    out
}

/// The first line number after `path` in a message: `path:12` or `path at line 12`.
fn line_in(said: &str, path: &str) -> Option<usize> {
    said.match_indices(path).find_map(|(at, _)| {
        let rest = &said[at + path.len()..];
        let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix(" at line "))?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}
