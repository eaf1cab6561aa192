//! What a run says while it runs: typed events on one channel, read by reporters and the journal.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::journal::Recorder;
use crate::plan::Plan;

/// Where events go: to the reporter and into the journal on this machine.
#[derive(Clone)]
pub struct Events {
    reporter: mpsc::UnboundedSender<Event>,
    journal: Option<Arc<Recorder>>,
}

impl Events {
    /// Events for a reporter, recorded when there is a journal.
    pub fn new(reporter: mpsc::UnboundedSender<Event>, journal: Option<Arc<Recorder>>) -> Self {
        Events { reporter, journal }
    }

    /// Only for the journal: what the user is told in another way.
    pub fn record_only(&self, event: &Event) {
        if let Some(journal) = &self.journal {
            journal.record(event);
        }
    }

    /// Tells everybody. Never blocks on a reporter.
    pub fn send(&self, event: Event) {
        if let Some(journal) = &self.journal {
            journal.record(&event);
        }
        // A reporter that is gone (closed pipe) does not stop a run.
        let _ = self.reporter.send(event);
    }
}

/// One thing that happened. In JSON: one object a line, `event` says which; the last line is `summary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run began.
    RunStarted {
        /// Its id, unique and sortable by time.
        run: String,
        /// The verb, e.g. `apply`.
        verb: String,
        /// The inventory's cluster.
        cluster: String,
        /// Hosts it is about.
        hosts: Vec<String>,
        /// Version of hactl.
        version: String,
        /// When, RFC 3339.
        time: String,
        /// Who: `user@machine`.
        #[serde(default)]
        by: String,
    },
    /// A host is connected.
    HostConnected {
        /// Its name.
        host: String,
        /// `native`, `openssh`, `local`, `fake`.
        backend: String,
        /// Milliseconds since the run began to connect.
        ms: u64,
    },
    /// A host answered what it was asked, or nobody waits for its answer any more.
    HostHeard {
        /// Its name.
        host: String,
        /// Whether it answered.
        answered: bool,
        /// Milliseconds since the run began to ask.
        ms: u64,
    },
    /// A host answered the probe and has its plan.
    HostProbed {
        /// Its name.
        host: String,
        /// Resources it should have.
        resources: usize,
        /// Changes planned.
        changes: usize,
        /// Milliseconds for the probe.
        ms: u64,
    },
    /// A host is out of this run.
    HostFailed {
        /// Its name.
        host: String,
        /// Kind of failure: `unreachable`, `locked`, `refused`, `host_failed`.
        kind: String,
        /// What failed and why.
        message: String,
        /// What to run next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The whole plan, after all hosts answered.
    Planned {
        /// The plan, without secrets.
        plan: Plan,
    },
    /// A host waits: for another run's leftovers, or for other hosts at a barrier.
    HostWaits {
        /// Its name.
        host: String,
        /// What for.
        reason: String,
    },
    /// A host is left as it is, with what was planned for it not done.
    HostSkipped {
        /// Its name.
        host: String,
        /// Why.
        reason: String,
    },
    /// A step began on a host.
    StepStarted {
        /// The host's name.
        host: String,
        /// The step's id.
        step: String,
        /// Its role.
        role: String,
        /// Number in this run on this host, from 1.
        number: usize,
        /// Steps in this run on this host.
        of: usize,
    },
    /// A line that a running step printed.
    StepOutput {
        /// The host's name.
        host: String,
        /// The step's id.
        step: String,
        /// The line, safe for a terminal, at most 500 characters.
        line: String,
    },
    /// A step ended.
    StepFinished {
        /// The host's name.
        host: String,
        /// The step's id.
        step: String,
        /// How.
        outcome: StepOutcome,
        /// Changes in it.
        changes: usize,
        /// Milliseconds it took.
        ms: u64,
        /// For a failure: the last lines it printed, with template lines explained.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// For a failure: what to run next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A line that a hook of the inventory printed.
    HookOutput {
        /// Which, e.g. `before_apply 1`.
        hook: String,
        /// The line, safe for a terminal, at most 500 characters.
        line: String,
    },
    /// A hook of the inventory ended.
    HookFinished {
        /// Which, e.g. `before_apply 1`.
        hook: String,
        /// Milliseconds it took.
        ms: u64,
        /// Why it counts as failed, e.g. `exit status 3`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// A switch of DNS waits for a server that does not say the new address yet.
    DnsWaits {
        /// The name.
        name: String,
        /// `A` or `AAAA`.
        record: String,
        /// Who.
        server: String,
        /// What it says, or why it says nothing.
        says: String,
    },
    /// A record of DNS is as a switch wants it.
    DnsSwitched {
        /// The name.
        name: String,
        /// `A` or `AAAA`.
        record: String,
        /// The address that it led to.
        from: String,
        /// The address that it leads to.
        to: String,
        /// The host with that.
        host: String,
        /// Whether this run changed it.
        changed: bool,
        /// Seconds that resolvers may keep the new answer; absent: unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<u32>,
        /// Seconds that they may keep the old one; absent: unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        old_ttl: Option<u32>,
    },
    /// A server does not say the new address, and is not waited for any longer.
    DnsUnverified {
        /// The name.
        name: String,
        /// `A` or `AAAA`.
        record: String,
        /// Who.
        server: String,
        /// What it says, or why it says nothing.
        says: String,
    },
    /// The user asked to stop.
    Interrupted {
        /// Whether running steps are ended too (second Ctrl-C).
        now: bool,
    },
    /// The run ended. Always the last event.
    Summary(Summary),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It changed the host.
    Changed,
    /// A step that could only be judged now found nothing to do.
    Unchanged,
    /// It failed; what it promises to keep is kept.
    Failed,
    /// It ran past its deadline and was ended.
    TimedOut,
    /// The connection was lost while it ran: its result is unknown until the next probe.
    Unknown,
}

/// The end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The run's id.
    pub run: String,
    /// Exit code of the process.
    pub exit_code: u8,
    /// Resources changed, all hosts.
    pub changed: usize,
    /// Resources already as wanted, all hosts.
    pub unchanged: usize,
    /// Steps failed.
    pub failed: usize,
    /// Changes planned but not reached.
    pub skipped: usize,
    /// Milliseconds from start to end.
    pub ms: u64,
    /// Per host.
    pub hosts: Vec<HostSummary>,
}

/// The end of a run on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSummary {
    /// Its name.
    pub host: String,
    /// `ok`, `unreachable`, `locked`, `refused`, `failed`, `skipped`, `interrupted`.
    pub outcome: String,
    /// Why its turn did not come, for one that was skipped because another failed before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Resources changed.
    pub changed: usize,
    /// Resources already as wanted.
    pub unchanged: usize,
    /// Steps failed.
    pub failed: usize,
    /// Changes planned but not reached.
    pub skipped: usize,
    /// Round trips on top of the connection.
    pub round_trips: u32,
    /// Milliseconds on this host.
    pub ms: u64,
}
