//! What the events so far mean: which host does what since when, and which lines are worth keeping.

use std::collections::HashMap;
use std::time::Duration;

use indexmap::IndexMap;

use super::paint::Paint;
use crate::engine::{Event, StepOutcome};
use crate::plan::{Plan, Step};
use crate::quote::terminal;

/// A run as a reader sees it.
#[derive(Debug, Default)]
pub struct Progress {
    /// In the order in which they were named.
    pub hosts: IndexMap<String, HostProgress>,
    labels: HashMap<(String, String), String>,
}

/// A host as a reader sees it.
#[derive(Debug, Clone, Default)]
pub struct HostProgress {
    /// What it does now.
    pub phase: Phase,
    /// Since when.
    pub since: Duration,
    /// Last line of the running step's output.
    pub tail: Option<String>,
}

/// What a host does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not connected yet.
    #[default]
    Connecting,
    /// Asked what it has.
    Probing,
    /// Runs a step.
    Running {
        /// The step in words.
        label: String,
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
    },
    /// Waits for something.
    Waiting(String),
    /// Nothing at the moment.
    Idle,
    /// It is out of this run.
    Out,
}

/// A line worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is painted.
    pub tone: Tone,
    /// Text, safe for a terminal; further lines are indented.
    pub text: String,
    /// Whether it is shown only with `--verbose`.
    pub detail: bool,
}

/// How a line is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something went well.
    Good,
    /// Something failed.
    Bad,
    /// Look here.
    Warn,
    /// Just so.
    Quiet,
}

impl Line {
    fn new(tone: Tone, text: String) -> Self {
        Line {
            tone,
            text,
            detail: false,
        }
    }

    fn detail(text: String) -> Self {
        Line {
            tone: Tone::Quiet,
            text,
            detail: true,
        }
    }

    /// For a terminal or a pipe.
    pub fn painted(&self, paint: Paint) -> String {
        match self.tone {
            Tone::Good => paint.good(&self.text),
            Tone::Bad => paint.bad(&self.text),
            Tone::Warn => paint.warn(&self.text),
            Tone::Quiet => paint.dim(&self.text),
        }
    }
}

impl HostProgress {
    /// What it does, in words; `None` when there is nothing to wait for.
    pub fn doing(&self) -> Option<String> {
        match &self.phase {
            Phase::Connecting => Some("connecting".into()),
            Phase::Probing => Some("asking what it has".into()),
            Phase::Running { label, number, of } => Some(format!("[{number}/{of}] {label}")),
            Phase::Waiting(reason) => Some(format!("waiting: {reason}")),
            Phase::Idle | Phase::Out => None,
        }
    }
}

impl Progress {
    /// Takes an event that came `at` after the start; gives the lines worth keeping.
    pub fn take(&mut self, at: Duration, event: &Event) -> Vec<Line> {
        match event {
            Event::RunStarted {
                run,
                verb,
                cluster,
                hosts,
                ..
            } => {
                for host in hosts {
                    self.enter(host, Phase::Connecting, at);
                }
                let (verb, cluster, run) = (terminal(verb), terminal(cluster), terminal(run));
                vec![Line::detail(format!("{verb} {cluster}: run {run}"))]
            }
            Event::HostConnected { host, backend, ms } => {
                self.enter(host, Phase::Probing, at);
                let text = format!("connected by {} in {}", terminal(backend), duration(*ms));
                vec![Line::detail(on(host, &text))]
            }
            Event::HostHeard { host, answered, ms } => {
                let (phase, word) = match answered {
                    true => (Phase::Idle, "answered"),
                    false => (Phase::Out, "given up"),
                };
                self.enter(host, phase, at);
                vec![Line::detail(on(host, &format!("{word} ({})", duration(*ms))))]
            }
            Event::HostProbed {
                host,
                resources,
                changes,
                ms,
            } => {
                self.enter(host, Phase::Idle, at);
                let text = format!("{changes} of {resources} resources to change ({})", duration(*ms));
                vec![Line::new(Tone::Quiet, on(host, &text))]
            }
            Event::HostFailed {
                host,
                kind,
                message,
                hint,
            } => {
                self.enter(host, Phase::Out, at);
                // Most messages name the host, since they are read alone elsewhere.
                let message = message.strip_prefix(&format!("{host}: ")).unwrap_or(message);
                let kind = terminal(kind).replace('_', " ");
                let mut text = on(host, &format!("{kind}: {}", indented(message)));
                push_hint(&mut text, hint.as_deref());
                vec![Line::new(Tone::Bad, text)]
            }
            Event::Planned { plan } => {
                self.learn(plan);
                Vec::new()
            }
            Event::HostWaits { host, reason } => {
                let reason = terminal(reason);
                let line = Line::new(Tone::Warn, on(host, &format!("waiting: {reason}")));
                self.enter(host, Phase::Waiting(reason), at);
                vec![line]
            }
            Event::HostSkipped { host, reason } => {
                self.enter(host, Phase::Out, at);
                vec![Line::new(
                    Tone::Warn,
                    on(host, &format!("skipped: {}", terminal(reason))),
                )]
            }
            Event::StepStarted {
                host, step, number, of, ..
            } => {
                let label = self.label(host, step);
                let line = Line::detail(on(host, &format!("[{number}/{of}] {label} ...")));
                let phase = Phase::Running {
                    label,
                    number: *number,
                    of: *of,
                };
                self.enter(host, phase, at);
                vec![line]
            }
            Event::StepOutput { host, line, .. } => {
                let line = terminal(line);
                let detail = Line::detail(on(host, &format!("  {line}")));
                self.hosts.entry(host.clone()).or_default().tail = Some(line);
                vec![detail]
            }
            Event::StepFinished {
                host,
                step,
                outcome,
                ms,
                message,
                hint,
                ..
            } => {
                let line = self.finished(host, step, *outcome, *ms, message.as_deref(), hint.as_deref());
                self.enter(host, Phase::Idle, at);
                vec![line]
            }
            Event::HookOutput { hook, line } => {
                vec![Line::new(
                    Tone::Quiet,
                    format!("{} | {}", terminal(hook), terminal(line)),
                )]
            }
            Event::HookFinished { hook, ms, failure } => vec![match failure {
                None => Line::detail(format!("{}: done ({})", terminal(hook), duration(*ms))),
                Some(why) => Line::new(
                    Tone::Bad,
                    format!("{} FAILED: {} ({})", terminal(hook), terminal(why), duration(*ms)),
                ),
            }],
            Event::DnsWaits {
                name,
                record,
                server,
                says,
            } => {
                let text = format!("{name} {record}: waiting for {server}, which {says}");
                vec![Line::new(Tone::Quiet, terminal(&text))]
            }
            Event::DnsSwitched {
                name,
                record,
                to,
                host,
                changed,
                ..
            } => {
                let now = if *changed { "now" } else { "already" };
                let text = format!("{name} {record} leads to {host} ({to}) {now}");
                vec![Line::detail(terminal(&text))]
            }
            Event::DnsUnverified {
                name,
                record,
                server,
                says,
            } => {
                let text = format!("{name} {record}: {server} {says}");
                vec![Line::new(Tone::Bad, terminal(&text))]
            }
            Event::Interrupted { now: false } => {
                let running = |host: &HostProgress| matches!(host.phase, Phase::Running { .. });
                let text = match self.hosts.values().any(running) {
                    true => "stopping when the running steps are done; Ctrl-C again stops now",
                    false => "stopping",
                };
                vec![Line::new(Tone::Warn, text.into())]
            }
            Event::Interrupted { now: true } => vec![Line::new(Tone::Warn, "stopping now".into())],
            Event::Summary(_) => Vec::new(),
        }
    }

    fn enter(&mut self, host: &str, phase: Phase, at: Duration) {
        let entry = HostProgress {
            phase,
            since: at,
            tail: None,
        };
        self.hosts.insert(host.to_owned(), entry);
    }

    fn learn(&mut self, plan: &Plan) {
        for host in &plan.hosts {
            for step in &host.steps {
                self.labels.insert((host.host.clone(), step.id.clone()), label(step));
            }
        }
    }

    fn label(&self, host: &str, step: &str) -> String {
        let known = self.labels.get(&(host.to_owned(), step.to_owned()));
        known.cloned().unwrap_or_else(|| terminal(step))
    }

    fn finished(
        &self,
        host: &str,
        step: &str,
        outcome: StepOutcome,
        ms: u64,
        message: Option<&str>,
        hint: Option<&str>,
    ) -> Line {
        let place = match self.hosts.get(host).map(|host| &host.phase) {
            Some(Phase::Running { number, of, .. }) => format!("[{number}/{of}] "),
            _ => String::new(),
        };
        let (tone, word) = match outcome {
            StepOutcome::Changed => (Tone::Good, "changed"),
            StepOutcome::Unchanged => (Tone::Quiet, "unchanged"),
            StepOutcome::Failed => (Tone::Bad, "FAILED"),
            StepOutcome::TimedOut => (Tone::Bad, "TIMED OUT"),
            StepOutcome::Unknown => (Tone::Bad, "UNKNOWN, the connection was lost"),
        };
        let label = self.label(host, step);
        let mut text = on(host, &format!("{place}{word}: {label} ({})", duration(ms)));
        if let Some(message) = message {
            text.push_str("\n    ");
            text.push_str(&indented(message));
        }
        push_hint(&mut text, hint);
        Line::new(tone, text)
    }
}

/// A step in words: its first change, and how many more.
fn label(step: &Step) -> String {
    match step.changes.len() {
        0 | 1 => terminal(&step.id),
        many => format!("{} and {} more", terminal(&step.id), many - 1),
    }
}

fn on(host: &str, text: &str) -> String {
    format!("{}: {text}", terminal(host))
}

fn indented(text: &str) -> String {
    terminal(text.trim_end()).replace('\n', "\n    ")
}

fn push_hint(text: &mut String, hint: Option<&str>) {
    if let Some(hint) = hint {
        text.push_str("\n    next: ");
        text.push_str(&indented(hint));
    }
}

/// Milliseconds for people.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..60_000 => format!("{} s", ms / 1_000),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_short() {
        let cases = [
            (35, "35 ms"),
            (1_250, "1.2 s"),
            (41_900, "41 s"),
            (72_000, "1 min 12 s"),
            (3_725_000, "1 h 2 min"),
        ];
        for (ms, words) in cases {
            assert_eq!(super::duration(ms), words);
        }
    }
}
