//! `hactl backup`

mod list;
pub(super) mod reach;
mod take;
mod verify;

use clap::Subcommand;

use super::context::{Context, Ended};
use crate::error::{Error, Result};
use crate::inventory::{Backup, Inventory};
use crate::quote::terminal;

/// Take a backup now; list and verify those that are there
///
/// Timers on the hosts take backups by themselves once `backup` is in the inventory and applied. This takes one more: of the
/// database on a replica where there is one, of the binary logs, and of the sites' files.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    take: take::Args,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
    Verify(verify::Args),
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.verb {
        None => take::run(&args.take, context),
        Some(Verb::List(args)) => list::run(args, context),
        Some(Verb::Verify(args)) => verify::run(args, context),
    }
}

/// What the inventory says of backups.
pub(super) fn of(inventory: &Inventory) -> Result<&Backup> {
    inventory.backup.as_ref().ok_or_else(|| {
        Error::usage(format!("{} has no `backup`", inventory.path.display()))
            .hint("add `backup: { targets: ... }`, then hactl apply; see docs/backup.md")
    })
}

/// The targets that are meant.
pub(super) fn targets(backup: &Backup, wanted: Option<&str>) -> Result<Vec<String>> {
    let all: Vec<String> = backup.targets.iter().map(|target| target.name.clone()).collect();
    match wanted {
        None => Ok(all),
        Some(name) if all.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(Error::usage(format!("there is no target `{}`", terminal(name)))
            .hint(format!("choose from: {}", all.join(", ")))),
    }
}

/// `17.2 MiB`.
pub(super) fn bytes(size: u64) -> String {
    let mib = size as f64 / 1_048_576.0;
    match mib < 1024.0 {
        true => format!("{mib:.1} MiB"),
        false => format!("{:.1} GiB", mib / 1024.0),
    }
}
