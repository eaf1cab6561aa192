//! `hactl dns`

mod show;
mod switch;

pub(super) use switch::lines;

use super::context::{Context, Ended, keyring};
use super::run::Run;
use crate::dns::{Dns, Switched, Told};
use crate::engine::Event;
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

/// What there is to say about an inventory without names.
fn without(inventory: &Inventory) -> Error {
    Error::usage(format!("{} has no `dns`", inventory.path.display()))
        .hint("docs/dns.md says what it is: names that lead to the host that serves, and who changes that")
}

/// The names of an inventory, and the secrets that changing them needs.
///
/// # Errors
/// It has none; a secret that is missing.
pub(super) fn names(inventory: &Inventory) -> Result<(Dns, Secrets)> {
    if inventory.dns.is_none() {
        return Err(without(inventory));
    }
    let secrets = Secrets::of_dns(inventory, &keyring())?;
    let dns = Dns::of(inventory, &secrets)?.ok_or_else(|| without(inventory))?;
    Ok((dns, secrets))
}

/// Whom a switch waits for, as an event.
pub(super) fn waits(run: &Run, told: Told) {
    let Told::Waits { record, server, says } = told;
    run.engine.events.send(Event::DnsWaits {
        name: record.name,
        record: record.kind.word().to_owned(),
        server,
        says,
    });
}

/// How a switch ended, as events: for JSON and for the journal.
pub(super) fn tell(run: &Run, switched: &Switched) {
    for done in &switched.records {
        run.engine.events.send(Event::DnsSwitched {
            name: done.record.name.clone(),
            record: done.record.kind.word().to_owned(),
            from: done.from.to_string(),
            to: done.to.to_string(),
            host: switched.to.clone(),
            changed: done.changed,
            ttl: done.ttl,
            old_ttl: done.old_ttl,
        });
    }
    for unverified in &switched.unverified {
        run.engine.events.send(Event::DnsUnverified {
            name: unverified.record.name.clone(),
            record: unverified.record.kind.word().to_owned(),
            server: unverified.server.clone(),
            says: unverified.why.clone(),
        });
    }
}
