//! `hactl check`

mod preflight;
mod reading;

use std::time::Instant;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::hosts;
use super::table::{self, Row};
use crate::engine::Summary;
use crate::error::{Error, Kind, Result};
use crate::report::Note;
use crate::report::note::Verdict;
use crate::resource::Facts;
use crate::role;
use crate::topology::Topology;

/// Check the inventory and templates; with --remote, also whether the hosts will do
///
/// Without --remote no host is touched: everything is rendered as for Debian 12. Exits with 2 when something is wrong in
/// the files, with 4 when a host will not do, with 5 when one cannot be reached.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    limit: LimitArg,
    /// Also look at the hosts: connection, root, system, disk, memory, clock, ports, DNS, packages. Changes nothing
    #[arg(long)]
    remote: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// What, in a word.
    subject: &'static str,
    verdict: Verdict,
    detail: String,
    hint: Option<String>,
}

impl Found {
    fn new(subject: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Found {
            subject,
            verdict,
            detail: detail.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let started = Instant::now();
    let prepared = Prepared::new(context, &args.inventory, &args.limit, Missing::Offline)?;
    let found = offline(&prepared)?;
    show(context, &[(None, found)]);
    if !args.remote {
        return Ok(Summary {
            ms: hosts::millis(started),
            ..Summary::default()
        }
        .into());
    }
    let links = context.links(&prepared.inventory, None, &prepared.hosts)?;
    let looked = context.block_on(async { Ok(preflight::all(context, &prepared, &links).await) })?;
    let lists: Vec<_> = looked
        .iter()
        .map(|host| (Some(host.name.clone()), host.found.clone()))
        .collect();
    show(context, &lists);
    let took = looked
        .into_iter()
        .map(|host| hosts::Took {
            kind: host.kind(),
            host: host.name,
            ms: host.ms,
        })
        .collect();
    Ok(hosts::summary(took, started).into())
}

/// Renders everything for every chosen host. All failures at once.
fn offline(prepared: &Prepared) -> Result<Vec<Found>> {
    let topology = Topology::of(&prepared.inventory);
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for view in topology.hosts().filter(|view| prepared.hosts.contains(&view.host.name)) {
        let name = &view.host.name;
        match role::desired(view, &Facts::assumed(), &prepared.templates, &prepared.secrets) {
            Ok(desired) => {
                let roles: Vec<_> = view.host.roles.iter().map(|role| role.word()).collect();
                let count = desired.resources.len();
                let detail = format!("{name}: {}: {count} resources", roles.join(", "));
                found.push(Found::new("host", Verdict::Good, detail));
            }
            Err(error) => failures.push((name.clone(), error)),
        }
    }
    match together(failures) {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

/// One error of several hosts; the same failure on several hosts is said once.
fn together(failures: Vec<(String, Error)>) -> Option<Error> {
    let mut messages: Vec<(String, Vec<String>)> = Vec::new();
    let mut all = Error::new(Kind::Usage, "");
    for (host, error) in failures {
        if error.kind == Kind::Internal {
            all.kind = Kind::Internal;
        }
        for hint in error.hints {
            if !all.hints.contains(&hint) {
                all.hints.push(hint);
            }
        }
        match messages.iter_mut().find(|(message, _)| *message == error.message) {
            Some((_, hosts)) => hosts.push(host),
            None => messages.push((error.message, vec![host])),
        }
    }
    let lines: Vec<_> = messages
        .iter()
        .map(|(message, hosts)| format!("{}: {message}", hosts.join(", ")))
        .collect();
    all.message = lines.join("\n");
    (!lines.is_empty()).then_some(all)
}

fn show(context: &Context, lists: &[(Option<String>, Vec<Found>)]) {
    let console = &context.console;
    let mut rows = Vec::new();
    let mut hints: Vec<&String> = Vec::new();
    for (host, found) in lists {
        for found in found {
            console.line(&Note::Check {
                host: host.clone(),
                subject: found.subject.to_owned(),
                verdict: found.verdict,
                detail: found.detail.clone(),
                hint: found.hint.clone(),
            });
            let hint = found.hint.iter().filter(|hint| !hints.contains(hint));
            hints.extend(hint.collect::<Vec<_>>());
            rows.push(Row {
                cells: vec![
                    host.clone().unwrap_or_else(|| "inventory".into()),
                    found.subject.to_owned(),
                ],
                verdict: found.verdict,
                detail: found.detail.clone(),
            });
        }
    }
    console.result(&table::render(&["WHERE", "WHAT", "STATE", "DETAIL"], &rows, console));
    for hint in hints {
        context.hint(hint);
    }
}
