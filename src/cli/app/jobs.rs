//! `hactl app jobs`

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use super::super::hosts::{self, Took};
use super::super::table::{self, Row};
use crate::engine::link::{ShellLinks, sections};
use crate::error::{Error, Kind, Result};
use crate::inventory::{App, Frappe, Host, HostRole};
use crate::report::Note;
use crate::report::note::Verdict;
use crate::role::jobs;
use crate::topology::{HostView, Topology};
use crate::transport::TransportError;

/// `hactl app jobs`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Put this job into its queue again, whatever it had done before its worker died; may be repeated
    #[arg(long, value_name = "JOB")]
    requeue: Vec<String>,
    /// Put those that never began into their queues again
    #[arg(long)]
    requeue_stranded: bool,
}

/// A job that nobody will run, as the host's script tells of it.
#[derive(Debug, Deserialize)]
struct Dead {
    job: String,
    queue: String,
    found: String,
    since: Option<String>,
    what: String,
}

/// Never begun.
const STRANDED: &str = "stranded";

pub(super) fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory(&args.inventory)?;
    let App::Frappe(frappe) = &loaded.inventory.app else {
        return Err(Error::usage("only Frappe's jobs are in queues that hactl knows")
            .hint("an application of kind `wsgi` looks after its own"));
    };
    let topology = Topology::of(&loaded.inventory);
    let workers: Vec<String> = topology
        .with_role(HostRole::Worker)
        .map(|host| host.name.clone())
        .collect();
    let links = context.links(&loaded.inventory, None, &workers)?;
    let started = Instant::now();
    context.block_on(async {
        let mut took = Vec::new();
        // Any worker host can say it for all; the first that answers does.
        for host in topology.with_role(HostRole::Worker) {
            let began = Instant::now();
            let view = HostView { topology, host };
            let done = work(&links, &view, frappe, args).await;
            let (kind, found) = match done {
                Ok(found) => (None, Some(found)),
                Err(error) => {
                    let kind = Took::kind_of(&error);
                    context.host_failed(&host.name, kind, &error.message, error.hint.as_deref());
                    (Some(kind), None)
                }
            };
            let unreachable = kind == Some(Kind::Unreachable);
            took.push(Took {
                host: host.name.clone(),
                kind,
                ms: hosts::millis(began),
            });
            if let Some(found) = found {
                // What one that does not answer would have said, this one has said.
                took.retain(|took| took.kind.is_none());
                show(context, args, &found);
            }
            if !unreachable {
                break;
            }
        }
        Ok(hosts::summary(took, started).into())
    })
}

/// What is dead now, after those that are to run again were put into their queues.
async fn work(
    links: &ShellLinks,
    view: &HostView<'_>,
    frappe: &Frappe,
    args: &Args,
) -> Result<Vec<Dead>, TransportError> {
    let mut session = hosts::open(links, view.host).await?;
    let mut found = listed(&mut session, view.host, frappe).await?;
    let mut wanted: Vec<&str> = args.requeue.iter().map(String::as_str).collect();
    if args.requeue_stranded {
        wanted.extend(
            found
                .iter()
                .filter(|dead| dead.found == STRANDED)
                .map(|dead| dead.job.as_str()),
        );
    }
    if !wanted.is_empty() {
        let words: Vec<&str> = std::iter::once("requeue").chain(wanted.iter().copied()).collect();
        said(&mut session, view.host, frappe, &words).await?;
        found = listed(&mut session, view.host, frappe).await?;
    }
    session.close(false).await;
    Ok(found)
}

async fn listed(
    session: &mut crate::transport::wire::Session,
    host: &Host,
    frappe: &Frappe,
) -> Result<Vec<Dead>, TransportError> {
    let text = said(session, host, frappe, &["list"]).await?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// What the script prints; its last word when it fails.
async fn said(
    session: &mut crate::transport::wire::Session,
    host: &Host,
    frappe: &Frappe,
    words: &[&str],
) -> Result<String, TransportError> {
    let script = format!("mark jobs\nif {} 2>&1; then mark listed; fi\n", jobs(frappe, words));
    let sections = sections(session, &script, Duration::from_secs(60)).await?;
    let done = sections.len() > 1;
    let body = sections
        .into_iter()
        .next()
        .map(|section| section.body)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    match done {
        true => Ok(text),
        false => {
            let last = text
                .lines()
                .map(str::trim)
                .rfind(|line| !line.is_empty())
                .unwrap_or("no answer");
            Err(TransportError::lost(format!(
                "{}: {}",
                host.name,
                last.chars().take(300).collect::<String>()
            )))
        }
    }
}

fn show(context: &Context, args: &Args, found: &[Dead]) {
    let mut rows = Vec::new();
    for dead in found {
        context.console.line(&Note::DeadJob {
            job: dead.job.clone(),
            queue: dead.queue.clone(),
            found: dead.found.clone(),
            since: dead.since.clone(),
            what: dead.what.clone(),
        });
        rows.push(Row {
            cells: vec![dead.job.clone(), dead.queue.clone()],
            verdict: Verdict::Warning,
            detail: format!(
                "{}, {}: {}",
                dead.found,
                dead.since.as_deref().unwrap_or("nobody knows since when"),
                dead.what
            ),
        });
    }
    if rows.is_empty() {
        context.console.result("no job is cut off or stranded\n");
        return;
    }
    context.console.result(&table::render(
        &["JOB", "QUEUE", "STATE", "DETAIL"],
        &rows,
        &context.console,
    ));
    if found.iter().any(|dead| dead.found == STRANDED) {
        context.hint(format!("hactl app jobs --requeue-stranded {}", args.inventory.in_command()).trim_end());
    }
}
