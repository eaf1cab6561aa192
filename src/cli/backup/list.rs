//! `hactl backup list`

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use super::super::table::{self, Row};
use super::reach;
use super::{bytes, of, targets};
use crate::backup::Catalog;
use crate::backup::choose::time;
use crate::error::{Kind, Result};
use crate::inventory::HostRole;
use crate::report::Note;
use crate::report::note::Verdict;

/// List the good backups of each target, and which moments they lead back to
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory_in_need(&args.inventory)?;
    let inventory = &loaded.inventory;
    let backup = of(inventory)?;
    let targets = targets(backup, args.target.as_deref())?;
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    let mut worst = 0;
    context.block_on(async {
        let holds = |host: &&crate::inventory::Host| {
            host.roles.contains(&HostRole::Db)
                || (matches!(inventory.app, crate::inventory::App::Frappe(_)) && host.roles.contains(&HostRole::App))
        };
        let mut found = reach::open(context, &links, inventory.hosts.values().filter(holds)).await?;
        for target in &targets {
            let apart = backup
                .targets
                .iter()
                .any(|known| known.name == *target && known.is_own());
            // A folder of the hosts holds on each what that host has put there.
            let count = if apart { found.len() } else { 1 };
            for at in found.iter_mut().take(count) {
                let place = match apart {
                    true => format!("{target} on {}", at.name),
                    false => target.clone(),
                };
                match at.catalog(target).await {
                    Ok(catalog) => show(context, target, &place, &catalog),
                    Err(error) => {
                        worst = Kind::HostFailed.exit_code();
                        context.trouble(&error.message, None);
                    }
                }
            }
        }
        for at in found {
            at.close().await;
        }
        Ok(())
    })?;
    Ok(Ended::with(worst))
}

fn show(context: &Context, target: &str, place: &str, catalog: &Catalog) {
    let mut rows = Vec::new();
    let mut note = |kind: &str, host: &str, run: Option<&str>, size: Option<u64>, ended: i64| {
        context.console.line(&Note::Backup {
            target: target.to_owned(),
            host: host.to_owned(),
            kind: kind.to_owned(),
            run: run.map(str::to_owned),
            size,
            ended: Some(time(ended)),
        });
        rows.push(Row {
            cells: vec![time(ended), kind.to_owned(), host.to_owned()],
            verdict: Verdict::Good,
            detail: [size.map(bytes), run.map(str::to_owned)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("  "),
        });
    };
    for copy in &catalog.databases {
        note(
            copy.sort.word(),
            &copy.host,
            Some(&copy.run),
            Some(copy.size),
            copy.ended,
        );
    }
    if let Some(files) = catalog.files.last() {
        note("files", &files.host, None, None, files.began);
    }
    if let Some(logs) = catalog.logs.last() {
        note("binlog", &logs.host, None, None, logs.until);
    }
    context.console.result(&format!("{place}\n"));
    if rows.is_empty() {
        context.console.result("  no good backup\n");
        return;
    }
    let text = table::render(
        &["ENDED", "KIND", "HOST", "STATE", "SIZE AND NAME"],
        &rows,
        &context.console,
    );
    context.console.result(&text);
    if let Some((from, until)) = catalog.window() {
        context.console.result(&format!(
            "  any second from {} to {} can be gone back to\n",
            time(from),
            time(until)
        ));
    }
}
