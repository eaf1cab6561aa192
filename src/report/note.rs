//! What verbs say in JSON beside the engine's events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::StepOutcome;
use crate::engine::history::Outcome;
use crate::error::Error;
use crate::role::health::Certificate;

/// A part of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrillPart {
    /// What was done.
    pub part: String,
    /// How long it took.
    pub ms: u64,
}

/// One line of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Note {
    /// The verb failed. The summary follows.
    Error {
        /// Stable word for the kind of failure, e.g. `usage`, `refused`; see docs/exit-codes.md.
        kind: String,
        /// Exit code of the process.
        exit_code: u8,
        /// What, where and why.
        message: String,
        /// What to run or change next.
        hints: Vec<String>,
    },
    /// Something is possible but unwise.
    Warning {
        /// What and where.
        message: String,
    },
    /// `check`: one thing that was looked at.
    Check {
        /// The host; absent for the inventory itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// What was looked at, e.g. `disk`.
        subject: String,
        /// What was found.
        verdict: Verdict,
        /// The finding in words.
        detail: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// `status`: the health of one thing on a host.
    Health {
        /// The host's name.
        host: String,
        /// What was looked at, e.g. `nginx`.
        subject: String,
        /// How it is.
        verdict: Verdict,
        /// In words.
        detail: String,
        /// For a certificate that could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<Certificate>,
    },
    /// `backup`, `backup list`: a copy that is good.
    Backup {
        /// Where it is.
        target: String,
        /// The host whose data these are.
        host: String,
        /// `full`, `incremental`, `binlog` or `files`.
        kind: String,
        /// Its name; absent for binary logs and files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
        /// Bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// When it ended, or until when the binary logs go; absent for one that was just taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<String>,
    },
    /// `restore --drill`, `backup verify`: a backup was restored beside the live data and found to be right.
    Restored {
        /// Where it is.
        target: String,
        /// The host that did it.
        host: String,
        /// Its name.
        run: String,
        /// The last transaction of each domain that is in it, binary logs included.
        position: String,
        /// Milliseconds it took.
        ms: u64,
    },
    /// `crashplan`: what a host says of the primary.
    Vote {
        /// The host that says it.
        voter: String,
        /// The primary that it is about.
        primary: String,
        /// Whether it is alive; absent: it cannot tell, or did not answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alive: Option<bool>,
        /// Why, in words.
        why: String,
    },
    /// `crashplan`: a database that may take over, or not.
    Contender {
        /// The host's name.
        host: String,
        /// The highest transactions that it received.
        position: String,
        /// Why it may not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        excluded: Option<String>,
    },
    /// `crashplan`: how it went.
    Failover {
        /// Who took the writes before.
        old: String,
        /// Who does now.
        new: String,
        /// Milliseconds of the survey.
        survey_ms: u64,
        /// Milliseconds from the agreement until the new primary took writes.
        writable_ms: u64,
        /// Milliseconds from the agreement until all that follows from it was done.
        finished_ms: u64,
        /// Milliseconds that nobody could write, as far as known: from when a host's endpoint lost the old primary, else from
        /// the command.
        outage_ms: u64,
        /// Why it cannot be said that nothing is lost; absent: nothing that was acknowledged is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_unknown: Option<String>,
        /// Databases that take writes now.
        writers: Vec<String>,
        /// Databases that follow the new primary.
        followers: Vec<String>,
        /// Whether commits wait for one of them.
        semi_sync: bool,
        /// Whether all that follows from it is done, too.
        complete: bool,
    },
    /// `crashplan --drill`: how the rehearsal went.
    Drill {
        /// The lab that it was in.
        lab: String,
        /// Whose power was taken away.
        old: String,
        /// Who took the writes then.
        new: String,
        /// Milliseconds from the start of the crash plan until the first write of a client was acknowledged.
        command_to_commit_ms: u64,
        /// Milliseconds in which no write was acknowledged.
        outage_ms: u64,
        /// Writes that were acknowledged.
        acknowledged: u64,
        /// Those of them that are not there afterwards.
        lost: u64,
        /// Whether all that follows from it was done, too: not with two databases, of which no replica is left.
        complete: bool,
        /// Milliseconds of each part, in order.
        parts: Vec<DrillPart>,
    },
    /// `render`: a file was written.
    Rendered {
        /// The host it is for.
        host: String,
        /// Its path on the host.
        path: String,
        /// Whether secrets in it are masked.
        masked: bool,
    },
    /// `init`: a file was written.
    Written {
        /// Its path on this machine.
        path: String,
        /// What it is.
        what: String,
    },
    /// `history`: a run that was recorded.
    RecordedRun {
        /// Its id.
        run: String,
        /// Who: `user@machine`; empty when unknown.
        by: String,
        /// The verb; empty when unknown.
        verb: String,
        /// When it began, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<String>,
        /// Milliseconds until it ended or was last heard of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
        /// How it ended.
        outcome: Outcome,
        /// Whether this machine has a record of it.
        here: bool,
        /// The hosts that took part.
        hosts: Vec<RunOnHost>,
    },
    /// `history show`: a step of that run.
    RunStep {
        /// The run's id.
        run: String,
        /// The host's name.
        host: String,
        /// The step's id.
        step: String,
        /// How it ended; absent when nobody saw the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<StepOutcome>,
        /// When it began, RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<String>,
        /// Milliseconds it took; whole seconds when only the host knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
        /// For a failure: what it printed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// `app list`: a release that is built on a host.
    Release {
        /// The host's name.
        host: String,
        /// Its id, the name of its folder.
        release: String,
        /// Whether it is the one that serves.
        serves: bool,
        /// When it was built, RFC 3339.
        built: String,
        /// What it was built from: name, ref and commit of each app.
        refs: String,
    },
    /// `app jobs`: a background job that nobody will run any more.
    DeadJob {
        /// Its id.
        job: String,
        /// The queue that it was in.
        queue: String,
        /// `cut off` or `stranded`.
        found: String,
        /// When it began, or was queued; RFC 3339.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// What it does, in a word.
        what: String,
    },
    /// `exec`: a line that the command printed.
    Output {
        /// The host's name.
        host: String,
        /// The line.
        line: String,
    },
    /// `exec`: the command ended.
    Exited {
        /// The host's name.
        host: String,
        /// Its exit status.
        status: i32,
        /// Milliseconds, connection included.
        ms: u64,
    },
    /// `site list`: a site on a host, or one of the inventory that no host has.
    Site {
        /// Its name.
        site: String,
        /// The host; absent when no host has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Whether the inventory has it.
        in_inventory: bool,
        /// Its database.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// Apps in it.
        apps: Vec<SiteApp>,
        /// Whether it is in maintenance mode; absent where there is no such thing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maintenance: Option<bool>,
        /// Whether its scheduler runs jobs; absent when that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduler: Option<bool>,
        /// Bytes of its database.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database_bytes: Option<u64>,
        /// Bytes of its files; absent when counting took too long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files_bytes: Option<u64>,
        /// What is wrong with it; empty: nothing.
        remark: String,
    },
    /// `site drop`: where a dropped site is kept.
    Archived {
        /// The host.
        host: String,
        /// The site.
        site: String,
        /// The folder on the host.
        path: String,
    },
    /// `secrets show-names`: a secret, without its value.
    Secret {
        /// Its name.
        name: String,
        /// Where it comes from, e.g. `generated`, `env:NAME`.
        origin: String,
        /// What should be known about it; empty: nothing.
        remark: String,
    },
    /// `secrets init`: a public key of the operator.
    Recipient {
        /// The key, for `secrets.recipients`.
        recipient: String,
    },
    /// `secrets`: the secrets file was written.
    SecretsWritten {
        /// The file.
        path: String,
        /// Names of the secrets that have new values, as far as they are known.
        names: Vec<String>,
    },
    /// `dns show`: what a name server, or the provider, says of a record.
    DnsAnswer {
        /// The name.
        name: String,
        /// `A` or `AAAA`.
        record: String,
        /// Who says it.
        server: String,
        /// How that is.
        verdict: Verdict,
        /// The addresses.
        addresses: Vec<String>,
        /// Hosts of the inventory that these stand for.
        hosts: Vec<String>,
        /// Seconds that resolvers may keep the answer; absent: unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<u32>,
        /// In words.
        detail: String,
    },
    /// `dns switch`: what becomes of a record.
    DnsPlanned {
        /// The name.
        name: String,
        /// `A` or `AAAA`.
        record: String,
        /// The address it leads to.
        from: String,
        /// The address it is to lead to.
        to: String,
        /// The host with that.
        host: String,
        /// Whether anything is to be written.
        change: bool,
    },
    /// `lab`: something was done.
    Lab {
        /// The host it was done to, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// What, in words.
        did: String,
    },
    /// `lab status`: a host of the lab.
    LabHost {
        /// Its name.
        host: String,
        /// Its address.
        address: String,
        /// Whether it runs.
        running: bool,
        /// Whether its sshd answers.
        ssh: bool,
        /// Whether it is plugged in.
        connected: bool,
        /// Bytes of memory its processes hold.
        memory: u64,
    },
}

/// An app in a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteApp {
    /// Its name.
    pub name: String,
    /// Its version, or the commit; empty when it is not noted.
    pub version: String,
}

/// A recorded run on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunOnHost {
    /// The host's name.
    pub host: String,
    /// How it ended there.
    pub outcome: Outcome,
    /// Resources changed.
    pub changed: usize,
    /// Whether the host has a record of it.
    pub there: bool,
}

/// How something that was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, but deserves a look.
    Warning,
    /// It does not do.
    Bad,
}

impl From<&Error> for Note {
    fn from(error: &Error) -> Self {
        let plain = super::Paint::default();
        Note::Error {
            kind: error.kind.word().to_owned(),
            exit_code: error.kind.exit_code(),
            message: plain.safe(&error.message),
            hints: error.hints.iter().map(|hint| plain.safe(hint)).collect(),
        }
    }
}
