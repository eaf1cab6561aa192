//! `hactl backup`

use std::time::Instant;

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use super::reach::{self, At, Part};
use super::{bytes, of, targets};
use crate::backup::SCRIPT;
use crate::engine::{Summary, journal};
use crate::error::{Error, Kind, Result};
use crate::inventory::{App, HostRole};
use crate::quote::sh;
use crate::report::Note;
use crate::topology::Topology;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Only to this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The host whose database is copied, instead of a replica
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// Everything, also when a full backup is there that is fresh enough to build on
    #[arg(long)]
    full: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory_in_need(&args.inventory)?;
    let inventory = &loaded.inventory;
    let backup = of(inventory)?;
    let targets = targets(backup, args.target.as_deref())?;
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    let started = Instant::now();
    let mut failed = None;
    let own = |name: &str| {
        backup
            .targets
            .iter()
            .any(|target| target.name == name && target.is_own())
    };
    context.block_on(async {
        let mut found = reach::databases(context, inventory, &links).await?;
        let run = format!("asked-{}", journal::run_id());
        let written = match found.iter_mut().find(|at| at.part == Part::Writer) {
            Some(writer) => {
                let (status, said) = writer.ask(&format!("{SCRIPT} canary {}", sh(&run))).await?;
                match status {
                    0 => true,
                    _ => return Err(writer.failed("no canary can be written", &said)),
                }
            }
            None => false,
        };
        if let Some(name) = &args.on {
            reach::pick(&mut found, Some(name))?;
            found.retain(|at| at.name == *name || at.part == Part::Writer);
            // The one that is meant comes first.
            found.sort_by_key(|at| at.name != *name);
        }
        let copies = |at: &At| matches!(at.part, Part::Replica | Part::Writer);
        if !found.first().is_some_and(copies) {
            return Err(Error::new(
                Kind::HostFailed,
                "no MariaDB takes writes, or follows closely",
            )
            .hint("hactl status"));
        }
        for at in found.iter_mut().filter(|at| written && at.part == Part::Replica) {
            let wait = format!(
                "for _ in $(seq 600); do ! {SCRIPT} has {} || exit 0; sleep 0.1; done; echo 'does not get what is written'; exit 1",
                sh(&run)
            );
            let (status, said) = at.ask(&wait).await?;
            if status != 0 {
                return Err(at.failed("the replica", &said));
            }
        }
        let full = if args.full { " full" } else { "" };
        for target in &targets {
            // A folder of the hosts: each has its own.
            let own = own(target);
            for (index, at) in found.iter_mut().enumerate().filter(|(_, at)| copies(at)) {
                if index == 0 || own && args.on.is_none() {
                    keep_first(&mut failed, part(context, at, target, &format!("db {}{full}", sh(target))).await);
                }
                if at.part == Part::Writer || own {
                    keep_first(&mut failed, part(context, at, target, &format!("binlog {}", sh(target))).await);
                }
            }
        }
        close(found).await;
        if matches!(inventory.app, App::Frappe(_)) {
            let topology = Topology::of(inventory);
            let pair = topology.is_pair();
            let hosts = topology.with_role(HostRole::App);
            let mut hosts = reach::open(context, &links, hosts).await?;
            // Of a pair the one that takes the writes serves; of several all have the same files.
            let index = match pair {
                true => hosts.iter().position(|at| at.part == Part::Writer).unwrap_or(0),
                false => 0,
            };
            if let Some(at) = hosts.get_mut(index) {
                for target in &targets {
                    keep_first(&mut failed, part(context, at, target, &format!("files {}", sh(target))).await);
                }
            }
            close(hosts).await;
        }
        Ok(())
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(Ended::from(Summary {
            ms: super::super::hosts::millis(started),
            ..Summary::default()
        })),
    }
}

fn keep_first(failed: &mut Option<Error>, result: Result<()>) {
    if let Err(error) = result
        && failed.is_none()
    {
        *failed = Some(error);
    }
}

async fn close(found: Vec<At>) {
    for at in found {
        at.close().await;
    }
}

/// One copy to one target.
async fn part(context: &Context, at: &mut At, target: &str, words: &str) -> Result<()> {
    let started = Instant::now();
    let (status, said) = at.ask(&format!("{SCRIPT} {words} </dev/null")).await?;
    if status != 0 {
        return Err(at.failed("no good backup was taken", &said));
    }
    let seconds = started.elapsed().as_secs_f64();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (run, kind, size) = match words[..] {
            ["good", _, run, kind, size, _] => (Some(run), kind, size.parse().ok()),
            ["good", _, "files", size] => (None, "files", size.parse().ok()),
            ["shipped", _, _] => (None, "binlog", None),
            _ => continue,
        };
        let size_text = size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
        let run_text = run.map(|run| format!("  {run}")).unwrap_or_default();
        context.console.result(&format!(
            "{target}: {kind} of {}{size_text}, {seconds:.1} s{run_text}\n",
            at.name
        ));
        context.console.line(&Note::Backup {
            target: target.to_owned(),
            host: at.name.clone(),
            kind: kind.to_owned(),
            run: run.map(str::to_owned),
            size,
            ended: None,
        });
    }
    Ok(())
}
