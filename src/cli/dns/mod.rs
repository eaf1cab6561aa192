//! `hactl dns`

mod show;
mod switch;

use super::context::{Context, Ended, keyring};
use crate::dns::Dns;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::inventory::secrets::Secrets;

/// Show where names lead, and lead them to another host
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Show(show::Args),
    Switch(switch::Args),
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.verb {
        Verb::Show(args) => show::run(args, context),
        Verb::Switch(args) => switch::run(args, context),
    }
}

/// The names of an inventory, and the secrets that changing them needs.
///
/// # Errors
/// It has none; a secret that is missing.
fn names(inventory: &Inventory) -> Result<(Dns, Secrets)> {
    let without = || {
        Error::usage(format!("{} has no `dns`", inventory.path.display()))
            .hint("docs/dns.md says what it is: names that lead to the host that serves, and who changes that")
    };
    if inventory.dns.is_none() {
        return Err(without());
    }
    let secrets = Secrets::of_dns(inventory, &keyring())?;
    let dns = Dns::of(inventory, &secrets)?.ok_or_else(without)?;
    Ok((dns, secrets))
}
