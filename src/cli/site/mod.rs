//! `hactl site`

mod console;
mod create;
mod drop;
mod list;
mod look;
mod migrate;

use super::context::{Context, Ended};
use crate::error::{Error, Result};
use crate::inventory::{Inventory, Site, suggest};
use crate::quote::terminal;

/// List, create, migrate and drop sites, and open a console of one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Create(create::Args),
    Migrate(migrate::Args),
    Drop(drop::Args),
    Console(console::Args),
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.verb {
        Verb::List(args) => list::run(args, context),
        Verb::Create(args) => create::run(args, context),
        Verb::Migrate(args) => migrate::run(args, context),
        Verb::Drop(args) => drop::run(args, context),
        Verb::Console(args) => console::run(args, context),
    }
}

/// A site of the inventory.
///
/// # Errors
/// A name that it does not have, with the nearest one.
pub(super) fn known<'a>(inventory: &'a Inventory, name: &str) -> Result<&'a Site> {
    if let Some(site) = inventory.sites.iter().find(|site| site.name == name) {
        return Ok(site);
    }
    let shown = terminal(name);
    let error = Error::usage(format!("there is no site `{shown}` in {}", inventory.path.display()));
    let of_alias = |site: &&Site| site.aliases.iter().any(|alias| alias == name);
    if let Some(site) = inventory.sites.iter().find(of_alias) {
        return Err(error.hint(format!("it is another name of {}", site.name)));
    }
    let names: Vec<&str> = inventory.sites.iter().map(|site| site.name.as_str()).collect();
    Err(match suggest::closest(name, &names) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("hactl site list shows the sites that there are"),
    })
}
