//! The inventory's hooks: commands on this machine before and after an apply.
//!
//! A hook gets what happens as one JSON object on its standard input; what it prints is shown behind its name. It has a
//! deadline, a process group of its own, and is ended with all of that group when the time is up or the user stops.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::survey::millis;
use super::{Event, Events, Interrupt, Summary, Urgency};
use crate::inventory::Hook;
use crate::plan::Plan;
use crate::quote::terminal;

/// Longest line that is passed on, characters.
const LINE_LIMIT: usize = 500;
/// How long a hook gets to end after it was told to.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
/// How long is waited for the output of what a hook left behind.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The plan is agreed to; nothing has been changed.
    BeforeApply,
    /// Everything was done.
    AfterApply,
    /// The apply ended with another exit code than 0.
    OnFailure,
}

impl Moment {
    /// The key in the inventory.
    pub const fn word(self) -> &'static str {
        match self {
            Moment::BeforeApply => "before_apply",
            Moment::AfterApply => "after_apply",
            Moment::OnFailure => "on_failure",
        }
    }
}

/// What a hook reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookEvent {
    /// Which hook this is.
    pub hook: Moment,
    /// The run's id.
    pub run: String,
    /// The verb: `apply`, `site create`, ...
    pub verb: String,
    /// The inventory's cluster.
    pub cluster: String,
    /// The inventory's file.
    pub inventory: String,
    /// Who: `user@machine`.
    pub by: String,
    /// Hosts that the run is about.
    pub hosts: Vec<String>,
    /// What was planned; absent when the run ended before there was a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<HookPlan>,
    /// How the run ended; absent in `before_apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// A plan in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookPlan {
    /// Changes on all hosts.
    pub changes: usize,
    /// Per host.
    pub hosts: Vec<HookHostPlan>,
}

/// A host's plan in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookHostPlan {
    /// The host's name.
    pub host: String,
    /// Changes.
    pub changes: usize,
    /// Ids of the steps, in order.
    pub steps: Vec<String>,
}

impl From<&Plan> for HookPlan {
    fn from(plan: &Plan) -> Self {
        let host = |host: &crate::plan::HostPlan| HookHostPlan {
            host: host.host.clone(),
            changes: host.changes(),
            steps: host.steps.iter().map(|step| step.id.clone()).collect(),
        };
        HookPlan {
            changes: plan.changes(),
            hosts: plan.hosts.iter().map(host).collect(),
        }
    }
}

/// A hook that did not end with status 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFailure {
    /// `before_apply 1`.
    pub name: String,
    /// Why, e.g. `exit status 3`.
    pub why: String,
    /// Whether the user stopped it.
    pub interrupted: bool,
}

/// Runs the hooks of a moment in `folder`, one after the other, until one fails (`before_apply`) or all were run. `stop`:
/// from when on the user's wish to stop ends them.
pub async fn run(
    hooks: &[Hook],
    event: &HookEvent,
    folder: &Path,
    events: &Events,
    interrupt: &Interrupt,
    stop: Urgency,
) -> Vec<HookFailure> {
    let mut failures = Vec::new();
    // Serialising these structures cannot fail: no maps with odd keys, no floats.
    let input = serde_json::to_vec(event).unwrap_or_default();
    for (index, hook) in hooks.iter().enumerate() {
        let name = format!("{} {}", event.hook.word(), index + 1);
        let began = Instant::now();
        let mut interrupt = interrupt.clone();
        let result = one(hook, &name, &input, folder, events, &mut interrupt, stop).await;
        events.send(Event::HookFinished {
            hook: name.clone(),
            ms: millis(began),
            failure: result.as_ref().err().map(|(why, _)| why.clone()),
        });
        if let Err((why, interrupted)) = result {
            failures.push(HookFailure { name, why, interrupted });
            if event.hook == Moment::BeforeApply || interrupted {
                break;
            }
        }
    }
    failures
}

async fn one(
    hook: &Hook,
    name: &str,
    input: &[u8],
    folder: &Path,
    events: &Events,
    interrupt: &mut Interrupt,
    stop: Urgency,
) -> Result<(), (String, bool)> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(&hook.run)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for hactl, which tells its hooks.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| (format!("cannot start sh: {error}"), false))?;
    let (lines, mut heard) = mpsc::channel(64);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(listen(out, lines.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(listen(err, lines.clone()));
    }
    drop(lines);
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A hook that does not read is none the worse.
        tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
            let _ = stdin.write_all(b"\n").await;
        });
    }
    let tell = |line: String| {
        events.send(Event::HookOutput {
            hook: name.to_owned(),
            line,
        });
    };
    let mut deadline = std::pin::pin!(tokio::time::sleep(hook.timeout));
    let mut open = true;
    let status = loop {
        tokio::select! {
            line = heard.recv(), if open => match line {
                Some(line) => tell(line),
                None => open = false,
            },
            status = child.wait() => break status.map_err(|error| (format!("cannot wait for it: {error}"), false)),
            () = &mut deadline => {
                end(&mut child).await;
                break Err((format!("took longer than {} s and was ended", hook.timeout.as_secs()), false));
            }
            () = interrupt.reaches(stop) => {
                end(&mut child).await;
                break Err(("interrupted".into(), true));
            }
        }
    };
    // What it left running may hold the pipes for ever.
    while let Ok(Some(line)) = tokio::time::timeout(DRAIN, heard.recv()).await {
        tell(line);
    }
    let status = status?;
    match (status.success(), status.code()) {
        (true, _) => Ok(()),
        (false, Some(code)) => Err((format!("exit status {code}"), false)),
        (false, None) => Err((format!("{status}"), false)),
    }
}

/// Ends a hook and everything in its group.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = tokio::time::timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

/// Passes lines on, cut where they are too long. A full channel makes the hook wait, not this machine's memory grow.
async fn listen(from: impl AsyncRead + Unpin, to: mpsc::Sender<String>) {
    let mut from = BufReader::new(from);
    let mut line: Vec<u8> = Vec::new();
    loop {
        let Ok(buffer) = from.fill_buf().await else { return };
        if buffer.is_empty() {
            break;
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(buffer.len());
        let room = (4 * LINE_LIMIT).saturating_sub(line.len());
        line.extend_from_slice(&buffer[..taken.min(room)]);
        let used = taken + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() && to.send(shown(&std::mem::take(&mut line))).await.is_err() {
            return;
        }
    }
    if !line.is_empty() {
        let _ = to.send(shown(&line)).await;
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    terminal(text.trim_end_matches('\r')).chars().take(LINE_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event() -> HookEvent {
        HookEvent {
            hook: Moment::BeforeApply,
            run: "r1".into(),
            verb: "apply".into(),
            cluster: "demo".into(),
            inventory: "/i/inventory.yml".into(),
            by: "ada@laptop".into(),
            hosts: vec!["srv1".into()],
            plan: None,
            summary: None,
        }
    }

    async fn ran(hooks: &[(&str, u64)], interrupt: &Interrupt) -> (Vec<HookFailure>, Vec<String>) {
        let hooks: Vec<Hook> = hooks
            .iter()
            .map(|(run, timeout)| Hook {
                run: (*run).to_owned(),
                timeout: Duration::from_secs(*timeout),
            })
            .collect();
        let (sender, mut events) = mpsc::unbounded_channel();
        let events_to = Events::new(sender, None);
        let folder = tempfile::tempdir().unwrap();
        let failures = run(&hooks, &event(), folder.path(), &events_to, interrupt, Urgency::Soon).await;
        let mut lines = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::HookOutput { line, .. } = event {
                lines.push(line);
            }
        }
        (failures, lines)
    }

    #[tokio::test]
    async fn a_hook_reads_the_event_and_is_heard() {
        let (failures, lines) = ran(&[("cat; printf '\\033[2Jx\\n' >&2", 60)], &Interrupt::never()).await;
        assert_eq!(failures, []);
        let read: HookEvent = lines.iter().find_map(|line| serde_json::from_str(line).ok()).unwrap();
        assert_eq!(read, event());
        assert!(lines.iter().any(|line| line == "\\x1b[2Jx"), "{lines:?}");
    }

    #[tokio::test]
    async fn the_first_that_fails_ends_the_others_before_an_apply() {
        let (failures, lines) = ran(
            &[("echo one", 60), ("exit 3", 60), ("echo three", 60)],
            &Interrupt::never(),
        )
        .await;
        assert_eq!(lines, ["one"]);
        assert_eq!(
            (failures[0].name.as_str(), failures[0].why.as_str()),
            ("before_apply 2", "exit status 3")
        );
    }

    /// Input that nobody reads, output without end, children that stay: none of it holds up a run.
    #[tokio::test]
    async fn a_hook_cannot_hold_up_a_run() {
        for run in [
            "exec <&-; yes | tr -d '\\n'",
            "trap '' TERM; while :; do sleep 1; done",
            "sleep 600 | cat",
        ] {
            let (failures, _) = ran(&[(run, 1)], &Interrupt::never()).await;
            assert_eq!(failures[0].why, "took longer than 1 s and was ended", "{run}");
        }
        let (failures, lines) = ran(&[("sleep 30 & echo $!", 20)], &Interrupt::never()).await;
        assert_eq!((failures.len(), lines.len()), (0, 1));
        let left = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(left, Signal::KILL);
    }

    #[tokio::test]
    async fn who_stops_the_run_stops_its_hook() {
        let (sender, state) = tokio::sync::watch::channel(Urgency::Soon);
        let (failures, _) = ran(
            &[("sleep 600", 900), ("echo never", 9)],
            &Interrupt::from_channel(state),
        )
        .await;
        drop(sender);
        assert!(failures[0].interrupted && failures.len() == 1, "{failures:?}");
    }
}
