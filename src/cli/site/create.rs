//! `hactl site create`

use std::io::IsTerminal;

use super::super::args::{DiffArg, InventoryArg};
use super::super::change::{self, Consent, Job};
use super::super::context::{Context, Ended, Missing, Prepared, keyring};
use super::super::inventory_edit::Edit;
use crate::error::{Error, Result};
use crate::inventory::edit::sites::{self, NewSite};
use crate::inventory::{self, App, Inventory, rules, secrets};
use crate::quote::terminal;
use crate::report::Format;
use crate::transport::prompt::{Prompt, TerminalPrompt};

/// Add a site to the inventory and make it on the hosts
///
/// The inventory gets one more site, and nothing else in that file changes; then the hosts are brought to it as by apply: the
/// plan is shown, whatever else it may hold, and asked about. When that is declined, or no host could be changed, the
/// inventory stays as it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host name that it answers to
    name: String,
    #[command(flatten)]
    inventory: InventoryArg,
    /// Where the Administrator's password is: NAME in the secrets file, env:NAME, file:PATH or exec:COMMAND. Without it the
    /// terminal asks for one, or one is generated
    #[arg(long, value_name = "SECRET")]
    admin_password: Option<String>,
    /// Apps to install, separated by commas; all of the inventory when not given
    #[arg(long, value_name = "APP", value_delimiter = ',')]
    apps: Option<Vec<String>>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    diff: DiffArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let consent = if args.yes { Consent::Given } else { Consent::Ask };
    let loaded = context.inventory(&args.inventory)?;
    let now = &loaded.inventory;
    let site = wanted(args, now)?;
    let text = sites::add(&now.source, &site)?;
    // A place in these errors may be one in the line that is yet to be written.
    let unwritten =
        |error: Error| error.hint("nothing was written; the inventory is shown as it would be with the new site");
    let after = inventory::load_text(&text, &args.inventory.inventory).map_err(unwritten)?;
    let after = context.overlay(after)?;
    change::somebody_agrees("site create", consent, context)?;
    let is_frappe = matches!(now.app, App::Frappe(_));
    let secret = format!("site/{}/admin", site.name);
    if is_frappe && site.admin_password.is_none() && !args.yes && can_ask(context) {
        let question = format!(
            "Password of the Administrator of {} (empty: one is generated)",
            site.name
        );
        if let Some(password) = TerminalPrompt.passphrase(&question) {
            secrets::set(&after.inventory, &keyring(), &secret, password)?;
        }
    }
    let edit = Edit::new(context, now, text, format!("{} was added to", site.name));
    let file = after.inventory.secrets.path.display().to_string();
    let hosts = after.inventory.hosts.keys().cloned().collect();
    let job = Job {
        verb: "site create",
        inventory: &args.inventory,
        diff: args.diff.diff,
        consent,
        narrow: &|_| Ok(()),
        questions: None,
        declares: None,
        whole: true,
        deed: Some(&edit),
    };
    let prepared = Prepared::from(context, after, hosts, Missing::Generate).map_err(unwritten)?;
    let ended = change::change(context, prepared, job)?;
    if ended.summary.exit_code == 0 && is_frappe && site.admin_password.is_none() {
        context.hint(&format!(
            "log in as Administrator; the password is {secret} in {file}: hactl secrets edit shows it"
        ));
    }
    Ok(ended)
}

fn can_ask(context: &Context) -> bool {
    context.console.format == Format::Text && std::io::stdin().is_terminal() && context.console.has_terminal()
}

/// What the command line asks for, as far as that can be wrong without the rest of the inventory.
fn wanted(args: &Args, inventory: &Inventory) -> Result<NewSite> {
    let shown = terminal(&args.name);
    rules::site(&args.name).map_err(|why| {
        Error::usage(format!("`{shown}` {why}")).hint("a site has the name that browsers ask for, e.g. erp.example.com")
    })?;
    if !matches!(inventory.app, App::Frappe(_)) {
        for (given, option) in [
            (args.admin_password.is_some(), "--admin-password"),
            (args.apps.is_some(), "--apps"),
        ] {
            if given {
                return Err(
                    Error::usage(format!("{option}: sites of a WSGI app have no such thing"))
                        .hint("all sites of a WSGI app are names of the one app; leave the option out"),
                );
            }
        }
    }
    Ok(NewSite {
        name: args.name.clone(),
        admin_password: args.admin_password.clone(),
        apps: args.apps.clone(),
    })
}
