//! `hactl history`

use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;

use super::args::InventoryArg;
use super::context::{Context, Ended};
use super::hosts::{self, Took};
use super::table::{self, Row};
use crate::engine::history::remote::{self, Record, Wanted};
use crate::engine::history::{self, OnHost, Outcome, Run, Step, local};
use crate::engine::link::{ShellLinks, sections};
use crate::engine::{StepOutcome, journal};
use crate::error::{Error, Result};
use crate::inventory::{Host, Inventory};
use crate::quote::terminal;
use crate::report::Note;
use crate::report::note::{RunOnHost, Verdict};
use crate::report::progress::duration;
use crate::transport::TransportError;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Show the runs that were recorded on this machine and on the hosts: who, what, when, outcome
///
/// A host keeps its own record of every run that changed it, so runs of other operators are shown, too, and how a step
/// ended whose run was killed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    inventory: InventoryArg,
    /// How many runs, the newest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    last: u16,
    /// Only this machine's records; no host is contacted
    #[arg(long)]
    local: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show one run with its steps
    Show {
        /// The run's id
        #[arg(value_name = "ID", value_parser = id)]
        id: String,
        #[command(flatten)]
        inventory: InventoryArg,
        /// Only this machine's record; no host is contacted
        #[arg(long)]
        local: bool,
    },
}

/// Ids become file names, here and on the hosts.
fn id(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fine {
        Ok(text.to_owned())
    } else {
        Err("is no id of a run; `hactl history` lists them".to_owned())
    }
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let started = Instant::now();
    let (inventory, only_here) = match &args.verb {
        None => (&args.list.inventory, args.list.local),
        Some(Verb::Show { inventory, local, .. }) => (inventory, *local),
    };
    let loaded = context.inventory(inventory)?;
    let folder = journal::folder(&loaded.inventory.cluster);
    let last = usize::from(args.list.last.max(1));
    let (ids, wanted) = match &args.verb {
        None => (
            local::ids(&folder)?.into_iter().take(last).collect(),
            Wanted::Newest(last),
        ),
        Some(Verb::Show { id, .. }) => (vec![id.clone()], Wanted::Run(id)),
    };
    let mut here = Vec::new();
    for id in &ids {
        here.extend(local::read(&folder, id)?);
    }
    let (there, took) = if only_here {
        (Vec::new(), Vec::new())
    } else {
        ask(context, &loaded.inventory, &remote::script(wanted))?
    };
    let mut runs = history::join(here, there);
    runs.truncate(last);
    match &args.verb {
        None => list(context, &runs),
        Some(Verb::Show { id, .. }) => match runs.iter().find(|run| run.run == *id) {
            Some(run) => show(context, run),
            None => {
                let error = Error::usage(format!("no run {id} is recorded here or on a host that answered"));
                return Err(error.hint(format!("hactl history {}", inventory.in_command()).trim_end()));
            }
        },
    }
    Ok(hosts::summary(took, started).into())
}

type Answers = (Vec<(String, Vec<Record>)>, Vec<Took>);

/// Asks all hosts side by side, one round trip each. A host that does not answer is left out, and said so.
fn ask(context: &Context, inventory: &Inventory, script: &str) -> Result<Answers> {
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    context.block_on(async {
        let each = inventory.hosts.values().map(|host| {
            let links = &links;
            async move {
                let began = Instant::now();
                let answer = tokio::time::timeout(PATIENCE, one(links, host, script)).await;
                let answer = answer.unwrap_or_else(|_| {
                    let why = format!("{}: no answer for {} s", host.name, PATIENCE.as_secs());
                    Err(TransportError::lost(why))
                });
                (host.name.clone(), answer, hosts::millis(began))
            }
        });
        let (mut answers, mut took) = (Vec::new(), Vec::new());
        for (host, answer, ms) in join_all(each).await {
            let kind = match answer {
                Ok(records) => {
                    answers.push((host.clone(), records));
                    None
                }
                Err(error) => {
                    let kind = Took::kind_of(&error);
                    context.host_failed(&host, kind, &error.message, error.hint.as_deref());
                    Some(kind)
                }
            };
            took.push(Took { host, kind, ms });
        }
        Ok((answers, took))
    })
}

async fn one(links: &ShellLinks, host: &Host, script: &str) -> Result<Vec<Record>, TransportError> {
    let mut session = hosts::open(links, host).await?;
    let sections = sections(&mut session, script, PATIENCE).await;
    session.close(false).await;
    sections.map(|sections| remote::read(&sections))
}

fn list(context: &Context, runs: &[Run]) {
    let console = &context.console;
    if runs.is_empty() {
        console.result("no runs are recorded\n");
    }
    let mut rows = Vec::new();
    for run in runs {
        console.line(&note(run));
        rows.push(Row {
            cells: vec![
                run.run.clone(),
                or_dash(&run.by),
                or_dash(&run.verb),
                when(run.started),
                took(run),
            ],
            verdict: verdict(run.outcome),
            detail: format!("{}: {}", run.outcome.word(), what(run)),
        });
    }
    if !rows.is_empty() {
        let header = ["RUN", "BY", "VERB", "STARTED", "TOOK", "STATE", "OUTCOME"];
        console.result(&table::render(&header, &rows, console));
    }
}

fn show(context: &Context, run: &Run) {
    let console = &context.console;
    let paint = console.paint();
    console.line(&note(run));
    let known = if run.here {
        ""
    } else {
        " (this machine has no record of it)"
    };
    console.result(&format!(
        "{}\n{} by {}, {}, {}: {}{known}\n",
        paint.bold(&terminal(&run.run)),
        terminal(&or_dash(&run.verb)),
        terminal(&or_dash(&run.by)),
        when(run.started),
        took(run),
        run.outcome.word(),
    ));
    if run.hosts.is_empty() || !run.names.is_empty() {
        console.result(&format!("{}\n", terminal(&what(run))));
    }
    for host in &run.hosts {
        console.result(&format!("{}\n", terminal(&changes(std::slice::from_ref(host)))));
        if let Some(message) = &host.message {
            console.result(&format!("{}\n", paint.bad(&terminal(message))));
        }
    }
    let mut rows = Vec::new();
    let mut messages = Vec::new();
    for host in &run.hosts {
        for step in &host.steps {
            console.line(&Note::RunStep {
                run: run.run.clone(),
                host: host.host.clone(),
                step: step.step.clone(),
                outcome: step.outcome,
                started: step.started.map(crate::report::json::time),
                ms: step.ms,
                message: step.message.clone(),
            });
            let (verdict, word) = step_word(step);
            rows.push(Row {
                cells: vec![
                    host.host.clone(),
                    time_of(step),
                    step.ms.map_or("-".into(), duration),
                    step.step.clone(),
                ],
                verdict,
                detail: word.to_owned(),
            });
            if let Some(message) = &step.message {
                messages.push(format!("{}: {}\n{message}", host.host, step.step));
            }
        }
    }
    if !rows.is_empty() {
        let header = ["HOST", "AT", "TOOK", "STEP", "STATE", "OUTCOME"];
        console.result(&table::render(&header, &rows, console));
    }
    for message in messages {
        console.result(&format!("\n{}\n", paint.bad(&terminal(&message))));
    }
}

fn note(run: &Run) -> Note {
    Note::RecordedRun {
        run: run.run.clone(),
        by: run.by.clone(),
        verb: run.verb.clone(),
        started: run.started.map(crate::report::json::time),
        ms: millis(run),
        outcome: run.outcome,
        here: run.here,
        hosts: run
            .hosts
            .iter()
            .map(|host| RunOnHost {
                host: host.host.clone(),
                outcome: host.outcome,
                changed: host.changed,
                there: host.there,
            })
            .collect(),
    }
}

fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Done => Verdict::Good,
        Outcome::Running | Outcome::Interrupted | Outcome::Locked | Outcome::Refused => Verdict::Warning,
        Outcome::Failed | Outcome::Unreachable | Outcome::CutOff => Verdict::Bad,
    }
}

fn step_word(step: &Step) -> (Verdict, &'static str) {
    match step.outcome {
        Some(StepOutcome::Changed) => (Verdict::Good, "changed"),
        Some(StepOutcome::Unchanged) => (Verdict::Good, "unchanged"),
        Some(StepOutcome::Failed) => (Verdict::Bad, "failed"),
        Some(StepOutcome::TimedOut) => (Verdict::Bad, "timed out"),
        Some(StepOutcome::Unknown) => (Verdict::Warning, "unknown: the connection was lost"),
        None => (Verdict::Warning, "cut off"),
    }
}

/// Names that were led elsewhere, or what was changed on hosts.
fn what(run: &Run) -> String {
    match (run.verb.as_str(), run.names.as_slice()) {
        ("dns switch", []) => "no name was changed".to_owned(),
        (_, []) => changes(&run.hosts),
        (_, names) if run.hosts.is_empty() => names.join(", "),
        (_, names) => format!("{}; {}", changes(&run.hosts), names.join(", ")),
    }
}

/// `srv1 74 changed, srv2 3 changed (failed)`; an outcome only where it says more than the run's.
fn changes(hosts: &[OnHost]) -> String {
    let one = |host: &OnHost| {
        let tail = match (host.outcome, hosts.len()) {
            (Outcome::Done, _) | (_, 1) => String::new(),
            (outcome, _) => format!(" ({})", outcome.word()),
        };
        format!("{} {} changed{tail}", host.host, host.changed)
    };
    match hosts {
        [] => "no host is known to have taken part".to_owned(),
        hosts => hosts.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

fn millis(run: &Run) -> Option<u64> {
    let span = run.ended?.as_millisecond().checked_sub(run.started?.as_millisecond())?;
    u64::try_from(span).ok()
}

fn took(run: &Run) -> String {
    millis(run).map_or("-".into(), duration)
}

fn when(at: Option<Timestamp>) -> String {
    at.map_or("-".into(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn time_of(step: &Step) -> String {
    step.started
        .map_or("-".into(), |at| at.strftime("%H:%M:%S").to_string())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.to_owned() }
}
