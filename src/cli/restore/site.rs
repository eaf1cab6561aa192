//! `hactl restore --site`

use super::super::backup::reach::{self, At, Part};
use super::super::change::{self, Consent, Job};
use super::super::context::{Context, Ended, Missing, Prepared};
use super::{Args, ship};
use crate::backup::Wish;
use crate::backup::choose::time;
use crate::engine::journal;
use crate::error::{Error, Kind, Result};
use crate::inventory::{App, HostRole, Loaded};
use crate::report::DiffMode;
use crate::role::app;
use crate::role::backup::restore::{self, Restore, SiteRestore};
use crate::topology::Topology;

pub fn run(args: &Args, context: &Context, loaded: Loaded, target: &str, wish: &Wish, site: &str) -> Result<Ended> {
    let inventory = &loaded.inventory;
    super::super::site::known(inventory, site)?;
    let sites = inventory.sites.iter().filter(|known| known.name == *site).cloned();
    let sites: Vec<_> = sites.collect();
    let database = match &inventory.app {
        App::Frappe(_) => app::databases(&inventory.app, &sites).into_iter().next(),
        // One application serves all its sites from one database.
        App::Wsgi(_) => app::databases(&inventory.app, &inventory.sites).into_iter().next(),
    };
    let database = database
        .ok_or_else(|| Error::internal("a site without a database"))?
        .name;
    let consent = if args.yes { Consent::Given } else { Consent::Type(site) };
    change::somebody_agrees("restore", consent, context)?;
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    let run = journal::run_id();
    let (restore, files) = context.block_on(async {
        let mut found = reach::databases(context, inventory, &links).await?;
        ship(context, &mut found, target, wish).await;
        let writer = found
            .iter()
            .find(|at| at.part == Part::Writer)
            .map(|at| at.name.clone());
        let Some(writer) = writer else {
            return Err(Error::new(Kind::HostFailed, "no database that takes writes answers").hint("hactl status"));
        };
        let at = reach::pick(&mut found, Some(&writer))?;
        let chosen = at.chosen(target, wish).await?;
        for at in found {
            At::close(at).await;
        }
        let end = chosen.to.unwrap_or_else(|| match wish.everything {
            true => i64::MAX,
            false => chosen.base.last().ended,
        });
        let mut files = None;
        if matches!(inventory.app, App::Frappe(_)) {
            let hosts = Topology::of(inventory).with_role(HostRole::App);
            for mut at in reach::open(context, &links, hosts).await? {
                if files.is_none() {
                    let catalog = at.catalog(target).await?;
                    let mut copy = catalog.files.iter().rfind(|copy| copy.began <= end);
                    // Files are copied after the database: those that belong to a backup are the next ones.
                    if wish.backup.is_some() && wish.to.is_none() {
                        copy = catalog.files.iter().find(|copy| copy.began >= end).or(copy);
                    }
                    files = copy.map(|copy| (at.name.clone(), copy.id.clone()));
                }
                at.close().await;
            }
            if files.is_none() {
                context.warn("there is no copy of the site's files from before that moment: its database only");
            }
        }
        let restore = Restore {
            on: writer,
            target: target.to_owned(),
            chosen,
            run,
            high: 0,
        };
        Ok((restore, files))
    })?;
    context.console.say(&format!(
        "{site} goes back to {}: its database {database} is replaced, and what it holds now is kept as {}; files that are gone\n\
         come back, and those that are there stay as they are.\n",
        wish.to.map_or_else(|| "the end of the backup".to_owned(), time),
        restore.kept(&database),
    ));
    let declared = SiteRestore {
        restore,
        site: site.to_owned(),
        database,
        files,
    };
    let job = Job {
        verb: "restore",
        inventory: &args.inventory,
        diff: DiffMode::None,
        consent,
        narrow: &|_| Ok(()),
        questions: None,
        declares: Some(Box::new(move |view, _, _, _| Ok(restore::site(&view, &declared)))),
        whole: false,
        deed: None,
    };
    let prepared = Prepared::from(context, loaded, names, Missing::StandIn)?;
    change::change(context, prepared, job)
}
