//! The sites that hosts have, asked in one round trip each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::cli::context::Context;
use crate::cli::hosts::{self, Took};
use crate::engine::link::{ShellLinks, sections};
use crate::error::Result;
use crate::inventory::{App, Inventory, rules};
use crate::quote::sh_words;
use crate::resource::probe::Section;
use crate::role::site::{DROPPING, archive};
use crate::topology::{HostView, Topology};
use crate::transport::TransportError;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site's folder on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folder {
    /// The site's name.
    pub name: String,
    /// What its configuration says.
    pub database: Option<String>,
    /// Whether it is in maintenance mode.
    pub maintenance: bool,
    /// Whether its scheduler is paused.
    pub paused: bool,
    /// KiB on disk; `None`: it took too long.
    pub kib: Option<u64>,
}

/// A database on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// Bytes of tables and indexes.
    pub bytes: u64,
    /// Tables.
    pub tables: u64,
    /// Whether it is, or was becoming, a Frappe site's.
    pub is_site: bool,
    /// Installed apps in order, with versions as far as they are noted.
    pub apps: Vec<(String, String)>,
    /// Whether the scheduler is on.
    pub scheduler: Option<bool>,
}

/// What a host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// The host.
    pub host: String,
    /// Folders of sites.
    pub folders: Vec<Folder>,
    /// Sites that its nginx answers for.
    pub served: Vec<String>,
    /// Sites whose drop was cut off.
    pub dropping: Vec<String>,
    /// Commit of a WSGI application.
    pub commit: Option<String>,
    /// Whether it has MariaDB's client at all.
    pub has_mariadb: bool,
    /// Whether its MariaDB answers.
    pub answers: bool,
    /// By name.
    pub databases: BTreeMap<String, Database>,
}

/// Asks all hosts side by side. One that does not answer is left out, and said so.
///
/// # Errors
/// sudo's password is missing.
pub fn all(context: &Context, inventory: &Inventory) -> Result<(Vec<Looked>, Vec<Took>)> {
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    context.block_on(async {
        let mut looked = Vec::new();
        let mut took = Vec::new();
        for (answer, one) in join_all(Topology::of(inventory).hosts().map(|view| one(context, &links, view))).await {
            looked.extend(answer);
            took.push(one);
        }
        Ok((looked, took))
    })
}

async fn one(context: &Context, links: &ShellLinks, view: HostView<'_>) -> (Option<Looked>, Took) {
    let started = Instant::now();
    let host = view.host.name.clone();
    let answer = ask(links, view).await;
    let kind = answer.as_ref().err().map(|error| {
        let kind = Took::kind_of(error);
        context.host_failed(&host, kind, &error.message, error.hint.as_deref());
        kind
    });
    let ms = hosts::millis(started);
    (answer.ok(), Took { host, kind, ms })
}

async fn ask(links: &ShellLinks, view: HostView<'_>) -> Result<Looked, TransportError> {
    let path = match &view.topology.inventory.app {
        App::Frappe(frappe) => &frappe.path,
        App::Wsgi(wsgi) => &wsgi.path,
    };
    let script = format!(
        "set -- {}\n{}",
        sh_words([path, &archive(&view)]),
        include_str!("look.sh")
    );
    let mut session = hosts::open(links, view.host).await?;
    let answer = sections(&mut session, &script, PATIENCE).await;
    session.close(false).await;
    Ok(read(&view.host.name, &answer?))
}

/// Reads what a host said. What makes no sense is passed over: it is a report, nothing is done by it alone.
fn read(host: &str, sections: &[Section]) -> Looked {
    let mut looked = Looked {
        host: host.to_owned(),
        ..Looked::default()
    };
    for section in sections {
        let body = String::from_utf8_lossy(&section.body);
        let lines = body.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        match section.words.first().map(String::as_str) {
            Some("site") => looked.folders.extend(folder(lines)),
            Some("app") => lines.for_each(|words| match words.as_slice() {
                ["commit", id] if id.len() == 40 => looked.commit = Some((*id).to_owned()),
                ["served", name] if rules::site(name).is_ok() => looked.served.push((*name).to_owned()),
                ["dropping", name] => {
                    let name = name.strip_suffix(DROPPING).filter(|name| rules::site(name).is_ok());
                    looked.dropping.extend(name.map(str::to_owned));
                }
                _ => {}
            }),
            Some("databases") => lines.for_each(|words| match words.as_slice() {
                ["mariadb"] => looked.has_mariadb = true,
                ["answers"] => looked.answers = true,
                words => database(&mut looked.databases, words),
            }),
            _ => {}
        }
    }
    // A site has a server block for each port.
    looked.served.sort();
    looked.served.dedup();
    looked
}

fn folder<'a>(lines: impl Iterator<Item = Vec<&'a str>>) -> Option<Folder> {
    let mut folder = Folder::default();
    let on = |value: &str| !matches!(value, "" | "0" | "false" | "null");
    for words in lines {
        match words.as_slice() {
            ["name", name] => folder.name = (*name).to_owned(),
            ["db_name", name] => folder.database = rules::database(name).is_ok().then(|| (*name).to_owned()),
            ["maintenance_mode", value] => folder.maintenance = on(value),
            ["pause_scheduler", value] => folder.paused = on(value),
            ["kb", value] => folder.kib = value.parse().ok(),
            _ => {}
        }
    }
    rules::site(&folder.name).is_ok().then_some(folder)
}

fn database(all: &mut BTreeMap<String, Database>, words: &[&str]) {
    match words {
        ["database", name, bytes, tables, frappe, unfinished] => {
            let database = Database {
                bytes: bytes
                    .split('.')
                    .next()
                    .and_then(|bytes| bytes.parse().ok())
                    .unwrap_or(0),
                tables: tables.parse().unwrap_or(0),
                is_site: *frappe == "1" || *unfinished == "1",
                ..Database::default()
            };
            all.insert((*name).to_owned(), database);
        }
        ["apps", name, list] => {
            if let (Some(database), Ok(apps)) = (all.get_mut(*name), serde_json::from_str::<Vec<String>>(list)) {
                database.apps = apps.into_iter().map(|app| (app, String::new())).collect();
            }
        }
        ["version", name, app, version] => {
            let apps = all.get_mut(*name).map(|database| &mut database.apps);
            if let Some(known) = apps.and_then(|apps| apps.iter_mut().find(|(name, _)| name == app)) {
                known.1 = (*version).to_owned();
            }
        }
        ["scheduler", name, value] => {
            if let Some(database) = all.get_mut(*name) {
                database.scheduler = Some(*value == "1");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(word: &str, body: &str) -> Section {
        Section {
            words: vec![word.into()],
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn what_a_host_says_is_read_and_nonsense_is_passed_over() {
        let answer = [
            section(
                "site",
                "name\ta.example.com\ndb_name\ta_1\nmaintenance_mode\t1\npause_scheduler\tfalse\nkb\t120\n",
            ),
            section("site", "name\t../etc\ndb_name\tx\n"),
            section("site", "name\tb.example.com\ndb_name\tmysql\nkb\tmany\n"),
            section(
                "app",
                "served\ta.example.com\nserved\ta.example.com\nserved\t\u{1b}[2J\ndropping\told.example.com.dropping\n",
            ),
            section(
                "databases",
                "mariadb\nanswers\ndatabase\ta_1\t4096\t3\t1\t0\ndatabase\tpayroll\t1\t1\t0\t0\napps\ta_1\t[\"frappe\",\"erp\"]\n\
                 version\ta_1\tfrappe\t15.1\nversion\tnone\tx\t1\nscheduler\ta_1\t1\napps\ta_1\tno json\nodd\n",
            ),
        ];
        insta::assert_debug_snapshot!(read("srv1", &answer));
    }
}
