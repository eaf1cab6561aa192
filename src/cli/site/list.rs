//! `hactl site list`

use std::time::Instant;

use super::look::{self, Database, Looked};
use crate::cli::args::InventoryArg;
use crate::cli::context::{Context, Ended};
use crate::cli::hosts;
use crate::cli::table::{self, Row};
use crate::error::Result;
use crate::inventory::{App, Inventory};
use crate::report::Note;
use crate::report::note::{SiteApp, Verdict};

/// Show every site of every host, whether the inventory has it or not
///
/// With its database, the apps in it, maintenance mode, scheduler, and sizes; one round trip per host.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
}

/// A site on a host, or one of the inventory that no host has.
#[derive(Debug, Default)]
struct Line {
    name: String,
    host: Option<String>,
    wanted: bool,
    database: Option<String>,
    apps: Vec<SiteApp>,
    maintenance: Option<bool>,
    scheduler: Option<bool>,
    database_bytes: Option<u64>,
    files_bytes: Option<u64>,
    remark: String,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let started = Instant::now();
    let inventory = context.inventory(&args.inventory)?.inventory;
    let (looked, took) = look::all(context, &inventory)?;
    let complete = took.iter().all(|took| took.kind.is_none());
    let lines = lines(&inventory, &looked, complete);
    show(context, &lines);
    Ok(hosts::summary(took, started).into())
}

fn lines(inventory: &Inventory, looked: &[Looked], complete: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let wanted = |name: &str| inventory.sites.iter().any(|site| site.name == name);
    // Sites are filled from one database server; the first that has the database is the primary at birth.
    let database = |name: &str| looked.iter().find_map(|host| host.databases.get(name));
    for host in looked {
        match &inventory.app {
            App::Frappe(_) => {
                for folder in &host.folders {
                    let found = folder.database.as_deref().and_then(database);
                    lines.push(Line {
                        name: folder.name.clone(),
                        host: Some(host.host.clone()),
                        wanted: wanted(&folder.name),
                        database: folder.database.clone(),
                        apps: apps(found),
                        maintenance: Some(folder.maintenance),
                        scheduler: found
                            .and_then(|database| database.scheduler)
                            .map(|on| on && !folder.paused),
                        database_bytes: found.map(|database| database.bytes),
                        files_bytes: folder.kib.map(|kib| kib * 1024),
                        remark: match found {
                            Some(database) if database.is_site => String::new(),
                            Some(_) => "its database is no site's".into(),
                            None => "its database is missing".into(),
                        },
                    });
                }
            }
            App::Wsgi(wsgi) => {
                for name in &host.served {
                    let found = database(&wsgi.name);
                    let version = host.commit.as_deref().and_then(|id| id.get(..12)).unwrap_or_default();
                    lines.push(Line {
                        name: name.clone(),
                        host: Some(host.host.clone()),
                        wanted: wanted(name),
                        database: found.map(|_| wsgi.name.clone()),
                        apps: vec![SiteApp {
                            name: wsgi.name.clone(),
                            version: version.to_owned(),
                        }],
                        database_bytes: found.map(|database| database.bytes),
                        ..Line::default()
                    });
                }
            }
        }
        for name in &host.dropping {
            lines.push(Line {
                name: name.clone(),
                host: Some(host.host.clone()),
                wanted: wanted(name),
                remark: format!("its drop was cut off; hactl site drop {name} --yes goes on"),
                ..Line::default()
            });
        }
    }
    // A host that did not answer may have it.
    let missing = inventory
        .sites
        .iter()
        .filter(|site| complete && !lines.iter().any(|line| line.name == site.name))
        .map(|site| Line {
            name: site.name.clone(),
            wanted: true,
            remark: "on no host; hactl apply makes it".into(),
            ..Line::default()
        })
        .collect::<Vec<_>>();
    lines.extend(missing);
    lines
}

fn apps(database: Option<&Database>) -> Vec<SiteApp> {
    let apps = database.into_iter().flat_map(|database| &database.apps);
    apps.map(|(name, version)| SiteApp {
        name: name.clone(),
        version: version.clone(),
    })
    .collect()
}

fn show(context: &Context, lines: &[Line]) {
    let console = &context.console;
    let mut rows = Vec::new();
    for line in lines {
        console.line(&Note::Site {
            site: line.name.clone(),
            host: line.host.clone(),
            in_inventory: line.wanted,
            database: line.database.clone(),
            apps: line.apps.clone(),
            maintenance: line.maintenance,
            scheduler: line.scheduler,
            database_bytes: line.database_bytes,
            files_bytes: line.files_bytes,
            remark: line.remark.clone(),
        });
        rows.push(row(line));
    }
    if !rows.is_empty() {
        let header = [
            "SITE",
            "HOST",
            "INVENTORY",
            "DATABASE",
            "SIZE",
            "FILES",
            "SCHEDULER",
            "STATE",
            "APPS",
        ];
        console.result(&table::render(&header, &rows, console));
    }
}

fn row(line: &Line) -> Row {
    let dash = || "-".to_owned();
    let yes = |value: bool, yes: &str, no: &str| if value { yes } else { no }.to_owned();
    let mut detail = Vec::new();
    if !line.remark.is_empty() {
        detail.push(line.remark.clone());
    }
    if line.maintenance == Some(true) {
        detail.push("in maintenance mode".into());
    }
    let apps: Vec<_> = line
        .apps
        .iter()
        .map(|app| format!("{} {}", app.name, app.version).trim_end().to_owned())
        .collect();
    if !apps.is_empty() {
        detail.push(apps.join(", "));
    }
    let strange = !line.wanted || line.maintenance == Some(true) || line.scheduler == Some(false);
    Row {
        cells: vec![
            line.name.clone(),
            line.host.clone().unwrap_or_else(dash),
            yes(line.wanted, "yes", "no"),
            line.database.clone().unwrap_or_else(dash),
            line.database_bytes.map_or_else(dash, size),
            line.files_bytes.map_or_else(dash, size),
            line.scheduler.map_or_else(dash, |on| yes(on, "on", "off")),
        ],
        verdict: match (line.remark.is_empty(), strange) {
            (false, _) => Verdict::Bad,
            (true, true) => Verdict::Warning,
            (true, false) => Verdict::Good,
        },
        detail: detail.join("; "),
    }
}

/// `12 MiB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x28_0000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}
