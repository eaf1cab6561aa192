//! `hactl site drop`

use super::super::args::{DiffArg, InventoryArg};
use super::super::change::{self, Consent, Deed, Job};
use super::super::context::{Context, Ended, Missing, Prepared};
use super::super::inventory_edit::Edit;
use super::look::{self, Looked};
use crate::engine::journal;
use crate::error::{Error, Kind, Result};
use crate::inventory::{self, App, HostRole, Inventory, edit, rules};
use crate::quote::terminal;
use crate::report::Note;
use crate::role::site::Gone;
use crate::topology::Topology;

/// Take a site out of the inventory and off the hosts, after a backup
///
/// Its database is dumped, then dropped with its user; its files and the dump are kept on the host in a folder that is named
/// at the end. What serves it goes by a plain apply of the inventory without it. A drop that was cut off is finished by
/// running it again. Its passwords and its encryption key stay in the secrets file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site
    name: String,
    #[command(flatten)]
    inventory: InventoryArg,
    /// Do not ask for the site's name
    #[arg(short, long)]
    yes: bool,
    /// Drop the database without a dump of it; the files are kept all the same
    #[arg(long)]
    no_backup: bool,
    #[command(flatten)]
    diff: DiffArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let consent = if args.yes {
        Consent::Given
    } else {
        Consent::Type(&args.name)
    };
    let loaded = context.inventory(&args.inventory)?;
    let now = &loaded.inventory;
    rules::site(&args.name).map_err(|why| Error::usage(format!("`{}` {why}", terminal(&args.name))))?;
    only_one(args, now)?;
    change::somebody_agrees("site drop", consent, context)?;
    let (looked, took) = look::all(context, now)?;
    if took.iter().any(|took| took.kind.is_some()) {
        context
            .console
            .say("nothing was changed: every host must be seen first\n");
        return Ok(super::super::hosts::summary(took, std::time::Instant::now()).into());
    }
    let (database, exists) = database(args, now, &looked)?;
    let gone = Gone {
        name: args.name.clone(),
        database,
        // A drop that was cut off has left its dump.
        backup: exists && !args.no_backup,
        run: journal::run_id(),
    };
    let is_wanted = now.sites.iter().any(|site| site.name == args.name);
    let (text, edit) = if is_wanted {
        let text = edit::sites::remove(&now.source, &args.name)?;
        let said = format!("{} was taken out of", args.name);
        (text.clone(), Some(Edit::new(context, now, text, said)))
    } else {
        context.console.say(&format!(
            "{} is not in the inventory, but hosts still have it\n",
            args.name
        ));
        (now.source.text.to_string(), None)
    };
    let after = context.overlay(inventory::load_text(&text, &args.inventory.inventory)?)?;
    let kept = kept(&after.inventory, &looked, &gone);
    let file = after.inventory.secrets.path.display().to_string();
    let hosts = after.inventory.hosts.keys().cloned().collect();
    let declared = gone.clone();
    let job = Job {
        verb: "site drop",
        inventory: &args.inventory,
        diff: args.diff.diff,
        consent,
        narrow: &|_| Ok(()),
        questions: None,
        declares: Some(Box::new(move |view, facts, templates, secrets| {
            crate::role::site::drop(view, facts, templates, secrets, &declared)
        })),
        whole: true,
        deed: edit.as_ref().map(|edit| edit as &dyn Deed),
    };
    let ended = change::change(context, Prepared::from(context, after, hosts, Missing::Generate)?, job)?;
    if ended.summary.exit_code != 0 {
        context.hint(&format!(
            "hactl site drop {} --yes   (it goes on where this stopped)",
            args.name
        ));
        return Ok(ended);
    }
    for (host, path) in kept {
        context.console.result(&format!("kept on {host}: {path}\n"));
        context.console.line(&Note::Archived {
            host,
            site: args.name.clone(),
            path,
        });
    }
    if matches!(now.app, App::Frappe(_)) {
        context.console.say(&format!(
            "its secrets, site/{}/..., stay in {file}: the backup needs its encryption key\n",
            args.name
        ));
    }
    Ok(ended)
}

/// An inventory has at least one site.
fn only_one(args: &Args, now: &Inventory) -> Result<()> {
    match now.sites.as_slice() {
        [one] if one.name == args.name => Err(Error::new(
            Kind::Refused,
            format!("{} is the only site of {}", one.name, now.path.display()),
        )
        .hint("create another one first: hactl site create NAME")),
        _ => Ok(()),
    }
}

/// The database to drop with its user, and whether it is still there; one that is not the site's own is never taken.
fn database(args: &Args, now: &Inventory, looked: &[Looked]) -> Result<(Option<String>, bool)> {
    let name = &args.name;
    let wanted = now.sites.iter().find(|site| site.name == *name);
    let folder = looked
        .iter()
        .flat_map(|host| &host.folders)
        .find(|folder| folder.name == *name);
    let left = looked
        .iter()
        .any(|host| host.dropping.contains(name) || host.served.contains(name));
    if wanted.is_none() && folder.is_none() && !left {
        return Err(super::known(now, name).err().map_or_else(
            || Error::internal("a site that is there and is not"),
            |mut error| {
                error.message.push_str(", and no host has it");
                error
            },
        ));
    }
    if matches!(now.app, App::Wsgi(_)) {
        return Ok((None, false));
    }
    let Some(database) = wanted
        .map(|site| site.db_name.clone())
        .or_else(|| folder.and_then(|folder| folder.database.clone()))
    else {
        return Ok((None, false));
    };
    if let Some(other) = now
        .sites
        .iter()
        .find(|site| site.name != *name && site.db_name == database)
    {
        return Err(Error::new(
            Kind::Refused,
            format!(
                "the folder of {name} names the database {database}, which is that of {}",
                other.name
            ),
        )
        .hint(format!(
            "look at its site_config.json: hactl ssh {}",
            host_of(now, name, looked)
        )));
    }
    // A configuration on a host can say anything; whether it is a site's is seen where databases are, whoever leads there.
    let servers: Vec<&Looked> = looked.iter().filter(|host| host.has_mariadb).collect();
    let stores = |host: &&Looked| {
        now.hosts
            .get(&host.host)
            .is_some_and(|host| host.roles.contains(&HostRole::Db))
    };
    let silent = servers.iter().copied().filter(stores).find(|host| !host.answers);
    if let Some(silent) = silent {
        let why = format!("MariaDB on {} does not answer; nothing was dropped", silent.host);
        return Err(Error::new(Kind::HostFailed, why).hint("hactl status"));
    }
    match servers.iter().find_map(|host| host.databases.get(&database)) {
        Some(found) if found.is_site || found.tables == 0 => Ok((Some(database), true)),
        Some(found) => Err(Error::new(
            Kind::Refused,
            format!(
                "the database {database} of {name} has {} tables but is no site's database; nothing was dropped",
                found.tables
            ),
        )
        .hint("take the site out of the inventory by hand; drop the database by hand if nothing in it is needed")),
        // Its user may be left.
        None => Ok((Some(database), false)),
    }
}

fn host_of(now: &Inventory, name: &str, looked: &[Looked]) -> String {
    let has = |host: &&Looked| host.folders.iter().any(|folder| folder.name == name);
    let host = looked.iter().find(has).map(|host| host.host.clone());
    host.or_else(|| now.hosts.keys().next().cloned()).unwrap_or_default()
}

/// Where the site's remains will be, by host.
fn kept(inventory: &Inventory, looked: &[Looked], gone: &Gone) -> Vec<(String, String)> {
    let topology = Topology::of(inventory);
    let primary = topology.writer().map(|host| host.name.as_str());
    looked
        .iter()
        .filter(|host| {
            host.folders.iter().any(|folder| folder.name == gone.name)
                || host.dropping.contains(&gone.name)
                || (gone.backup && Some(host.host.as_str()) == primary)
        })
        .filter_map(|host| {
            let view = topology.host(&host.host)?;
            Some((host.host.clone(), gone.archived(&view)))
        })
        .collect()
}
