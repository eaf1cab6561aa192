//! `hactl app`

mod jobs;
mod list;
mod update;

use super::args::{DiffArg, InventoryArg, LimitArg};
use super::context::{Context, Ended};
use crate::error::Result;

/// Bring the application to other refs, list its releases, look after its background jobs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build the release that the inventory names beside the one that serves, migrate, switch, or go back
    ///
    /// The site serves while the release is built and running jobs end. Then it answers 503 until its database is dumped
    /// and migrated and the new release is healthy. When that fails, the old release serves again with the database as it was.
    Update(UpdateArgs),
    /// List the releases that are built on every host, and which one serves
    List {
        #[command(flatten)]
        inventory: InventoryArg,
        #[command(flatten)]
        limit: LimitArg,
    },
    /// List background jobs that nobody will run any more, and put them into their queues again
    ///
    /// A job is `cut off` when its worker or its host died while it ran: what it had committed by then is done, so look at
    /// what it does before you run it again. It is `stranded` when it never began, because the queue's Redis or the worker
    /// died just as it was taken: running it is what was meant.
    Jobs(jobs::Args),
}

/// `hactl app update`
#[derive(Debug, clap::Args)]
struct UpdateArgs {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Write a new ref into the inventory first: REF, or NAME=REF where there are several apps; may be repeated
    #[arg(long, value_name = "NAME=REF")]
    set: Vec<String>,
    #[command(flatten)]
    limit: LimitArg,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    diff: DiffArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.command {
        Command::Update(args) => update::run(args, context),
        Command::Jobs(args) => jobs::run(args, context),
        Command::List { inventory, limit } => list::run(inventory, limit, context),
    }
}
