//! `hactl restore --to`

use super::super::backup::reach::{self, At, Part};
use super::super::change::{self, Consent, Job};
use super::super::context::{Context, Ended, Missing, Prepared};
use super::super::hosts;
use super::{Args, ship};
use crate::backup::Wish;
use crate::backup::choose::{Chosen, time};
use crate::engine::journal;
use crate::engine::link::ShellLinks;
use crate::error::{Error, Kind, Result};
use crate::inventory::{HostRole, Inventory, Loaded};
use crate::report::DiffMode;
use crate::role::backup::restore::{self, Restore};
use crate::topology::Topology;

pub fn run(args: &Args, context: &Context, loaded: Loaded, target: &str, wish: &Wish) -> Result<Ended> {
    let inventory = &loaded.inventory;
    let cluster = inventory.cluster.clone();
    let consent = if args.yes {
        Consent::Given
    } else {
        Consent::Type(&cluster)
    };
    change::somebody_agrees("restore", consent, context)?;
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    let (restore, answering) = context.block_on(prepare(args, context, inventory, &links, target, wish))?;
    context.console.say(&what(&restore, wish));
    let declared = restore.clone();
    let job = |consent, declares| Job {
        verb: "restore",
        inventory: &args.inventory,
        diff: DiffMode::None,
        consent,
        narrow: &|_| Ok(()),
        questions: None,
        declares,
        whole: false,
        deed: None,
    };
    let prepared = |loaded, hosts| Prepared::from(context, loaded, hosts, Missing::StandIn);
    let ended = change::change(
        context,
        prepared(loaded.clone(), answering.clone())?,
        job(
            consent,
            Some(Box::new(move |view, _, _, _| Ok(restore::whole(&view, &declared)))),
        ),
    )?;
    if ended.summary.exit_code != 0 {
        context.hint(
            "hactl status; hactl apply brings up what is there. The data from before are on the hosts, see above",
        );
        return Ok(ended);
    }
    // Replicas are made anew, and what was stopped starts.
    let ended = change::change(context, prepared(loaded, answering)?, job(Consent::Given, None))?;
    if ended.summary.exit_code == 0 {
        context.hint(&format!(
            "hactl backup --full {}   (the new history has no backup yet)",
            args.inventory.in_command()
        ));
    }
    Ok(ended)
}

async fn prepare(
    args: &Args,
    context: &Context,
    inventory: &Inventory,
    links: &ShellLinks,
    target: &str,
    wish: &Wish,
) -> Result<(Restore, Vec<String>)> {
    let mut found = reach::databases(context, inventory, links).await?;
    let writer = found
        .iter()
        .find(|at| at.part == Part::Writer)
        .map(|at| at.name.clone());
    let silent = Topology::of(inventory).with_role(HostRole::Db);
    let silent: Vec<_> = silent
        .map(|host| host.name.as_str())
        .filter(|name| !found.iter().any(|at| at.name == *name))
        .collect();
    // What is restored takes the writes, and nobody else may.
    if writer.is_none() && !silent.is_empty() {
        for at in found {
            At::close(at).await;
        }
        let silent = silent.join(" and ");
        return Err(Error::new(
            Kind::Refused,
            format!("no database that answers takes the writes, and {silent} may; nothing was changed"),
        )
        .hint("hactl crashplan finds out, and gives its place to another: then restore")
        .hint("when its host is lost for good, and with it all data: take it out of the inventory"));
    }
    ship(context, &mut found, target, wish).await;
    let by_inventory = Topology::of(inventory).writer().map(|host| host.name.clone());
    let on = args.on.clone().or(writer).or(by_inventory);
    let at = reach::pick(&mut found, on.as_deref())?;
    let chosen = at.chosen(target, wish).await?;
    let catalog = at.catalog(target).await?;
    let copies = catalog.databases.iter().map(|copy| copy.gtid.highest());
    let high = copies.chain(catalog.logs.iter().map(|logs| logs.gtid.highest())).max();
    let restore = Restore {
        on: at.name.clone(),
        target: target.to_owned(),
        chosen,
        run: journal::run_id(),
        high: high.unwrap_or(0),
    };
    for at in found {
        At::close(at).await;
    }
    let mut answering = Vec::new();
    for host in inventory.hosts.values() {
        match hosts::open(links, host).await {
            Ok(session) => {
                session.close(false).await;
                answering.push(host.name.clone());
            }
            Err(error) => context.warn(&format!(
                "{}: left out; if it returns with the old history, it cannot follow, and apply says so",
                error.message
            )),
        }
    }
    match answering.contains(&restore.on) {
        true => Ok((restore, answering)),
        false => Err(Error::new(Kind::Unreachable, format!("{} does not answer", restore.on))),
    }
}

fn what(restore: &Restore, wish: &Wish) -> String {
    let Chosen { base, logs, .. } = &restore.chosen;
    let end = match wish.to {
        Some(to) => format!("what was committed before {}", time(to)),
        None if wish.everything => "everything that the backups have".to_owned(),
        None => format!("the end of the backup, {}", time(base.last().ended)),
    };
    format!(
        "the whole database goes back to {end}: {} of {}, and {}. What came after that is not in it any more; the\n\
         data of now are kept on the hosts under another name. The application is stopped meanwhile.\n",
        base.last().run,
        restore.target,
        match logs.len() {
            1 => "a binary log".to_owned(),
            count => format!("{count} binary logs"),
        }
    )
}
