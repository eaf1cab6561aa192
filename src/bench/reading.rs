//! A host's answers to `ask.sh` → what was found. Pure; everything in it is the host's word, and may be a lie.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{nginx, supervisor};
use crate::resource::probe::Section;

/// A site's folder.
#[derive(Default)]
pub(super) struct Site {
    /// The folder is a link.
    pub link: bool,
    /// site_config.json; `None` when it is no JSON object.
    pub config: Option<Map<String, Value>>,
}

/// An app's folder.
#[derive(Default)]
pub(super) struct App {
    /// Whether it is a git repository.
    pub git: bool,
    /// Where it was cloned from.
    pub url: Option<String>,
    /// What is checked out.
    pub commit: String,
    /// Tags of that.
    pub tags: Vec<String>,
    /// The branch, if it is one.
    pub branch: Option<String>,
    /// Files that were changed and not committed.
    pub dirty: u32,
    /// Whether a branch of a remote has the commit.
    pub on_remote: bool,
}

/// A file of supervisord's or nginx's.
pub(super) struct Link {
    /// `supervisor` or `nginx`.
    pub kind: String,
    /// Its path.
    pub path: String,
    /// The file behind it.
    pub target: String,
    /// Whether the bench's folder is named in it.
    pub names: bool,
}

/// The bench's user.
#[derive(Default)]
pub(super) struct User {
    pub name: String,
    pub uid: u32,
    pub home: String,
    pub shell: String,
    pub group: String,
    pub gid: u32,
}

/// Everything. Holds passwords: never printed.
#[derive(Default)]
pub struct Found {
    /// Folders of benches.
    pub(super) benches: Vec<String>,
    /// A bench that hactl made.
    pub(super) own: Option<String>,
    /// Folders of further benches, when one was asked for.
    pub(super) others: Vec<String>,
    /// Folders of benches with names that hactl does not take.
    pub(super) odd: Vec<String>,
    pub(super) user: User,
    pub(super) common: Option<Map<String, Value>>,
    pub(super) programs: Vec<supervisor::Program>,
    pub(super) groups: Vec<String>,
    pub(super) nginx: nginx::Nginx,
    /// `pyvenv.cfg`.
    pub(super) python: BTreeMap<String, String>,
    /// Apps in the order of apps.txt.
    pub(super) order: Vec<String>,
    pub(super) sites: BTreeMap<String, Site>,
    pub(super) odd_sites: Vec<String>,
    pub(super) apps: BTreeMap<String, App>,
    pub(super) links: Vec<Link>,
    /// Device and mount point of the bench's sites and of /srv.
    pub(super) devices: BTreeMap<String, (String, String)>,
    pub(super) hostname: String,
    pub(super) cpus: u32,
    pub(super) ports: Vec<u16>,
    /// State of services by name.
    pub(super) units: BTreeMap<String, String>,
    /// systemd units that are named like the bench.
    pub(super) targets: Vec<String>,
    /// Lines with `bench` in crontabs, by user.
    pub(super) cron: BTreeMap<String, u32>,
    pub(super) root_password: Option<String>,
    pub(super) version: String,
    /// Whether root gets into MariaDB by its socket.
    pub(super) rooted: bool,
    /// Installed apps by database.
    pub(super) installed: BTreeMap<String, Vec<String>>,
    /// Whether the scheduler is on, by database.
    pub(super) scheduler: BTreeMap<String, bool>,
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

/// `key = value` lines.
fn keys(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// Reads the answers; what makes no sense counts as not said.
pub fn read(sections: &[Section]) -> Found {
    let mut found = Found::default();
    for section in sections {
        let text = String::from_utf8_lossy(&section.body).into_owned();
        let word = |at: usize| section.words.get(at).cloned().unwrap_or_default();
        let first = || text.lines().next().unwrap_or_default().trim().to_owned();
        match word(0).as_str() {
            "bench" => found.benches.push(first()),
            "own" => found.own = Some(first()),
            "odd" => found.odd.push(first()),
            "other" => found.others.push(first()),
            "user" => read_user(&text, &mut found.user),
            "group" => {
                let mut lines = text.lines().map(str::trim);
                found.user.group = lines.next().unwrap_or_default().to_owned();
                found.user.gid = lines.next().and_then(|line| line.parse().ok()).unwrap_or_default();
            }
            "file" => read_file(&word(1), &text, &mut found),
            "site" => {
                let (link, config) = (word(2) == "link", object(&text));
                found.sites.insert(word(1), Site { link, config });
            }
            "oddsite" => found.odd_sites.push(first()),
            "app" => drop(found.apps.insert(word(1), read_app(&text))),
            "links" => found.links = text.lines().filter_map(read_link).collect(),
            "devices" => {
                for line in text.lines() {
                    if let Some((path, device)) = line.split_once('\t')
                        && let Some((number, mount)) = device.split_once(' ')
                    {
                        found.devices.insert(path.into(), (number.into(), mount.into()));
                    }
                }
            }
            "host" => {
                found.hostname = first();
                found.cpus = text
                    .lines()
                    .nth(1)
                    .and_then(|line| line.trim().parse().ok())
                    .unwrap_or(1);
            }
            "ports" => {
                let port = |line: &str| line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok();
                found.ports = text.lines().filter_map(port).collect();
            }
            "units" => {
                let pair = |line: &str| {
                    line.split_once(' ')
                        .map(|(unit, state)| (unit.to_owned(), state.trim().to_owned()))
                };
                found.units = text.lines().filter_map(pair).collect();
            }
            "targets" => found.targets = text.split_whitespace().map(str::to_owned).collect(),
            "cron" => {
                let pair = |line: &str| {
                    let (user, count) = line.split_once(' ')?;
                    Some((user.to_owned(), count.trim().parse().ok().filter(|count| *count > 0)?))
                };
                found.cron = text.lines().filter_map(pair).collect();
            }
            "mycnf" => {
                let password = keys(&text).remove("password");
                found.root_password = password.map(|value| value.trim_matches(['"', '\'']).to_owned());
            }
            "version" => found.version = first(),
            "rooted" => found.rooted = word(1) == "0",
            "database" => {
                let apps = serde_json::from_str(text.trim()).unwrap_or_default();
                found.installed.insert(word(1), apps);
            }
            "scheduler" => drop(found.scheduler.insert(word(1), text.trim() == "1")),
            _ => {}
        }
    }
    found
}

fn read_user(text: &str, user: &mut User) {
    let fields: Vec<_> = text.trim().split(':').collect();
    if let [name, _, uid, _, _, home, shell] = fields.as_slice() {
        user.name = (*name).to_owned();
        user.uid = uid.parse().unwrap_or_default();
        user.home = (*home).to_owned();
        user.shell = (*shell).to_owned();
    }
}

fn read_file(name: &str, text: &str, found: &mut Found) {
    match name {
        "common" => found.common = object(text),
        "supervisor" => (found.programs, found.groups) = supervisor::read(text),
        "nginx" => found.nginx = nginx::read(text),
        "python" => found.python = keys(text),
        "apps" => found.order = text.split_whitespace().map(str::to_owned).collect(),
        _ => {}
    }
}

fn read_app(text: &str) -> App {
    let mut app = App {
        git: true,
        ..App::default()
    };
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = value.trim().to_owned();
        match key {
            "git" => app.git = false,
            "url" if !value.is_empty() => app.url = Some(value),
            "commit" => app.commit = value,
            "tag" => app.tags.push(value),
            "branch" if !value.is_empty() => app.branch = Some(value),
            "dirty" => app.dirty = value.parse().unwrap_or_default(),
            "remote" => app.on_remote = true,
            _ => {}
        }
    }
    app
}

fn read_link(line: &str) -> Option<Link> {
    let mut fields = line.split('\t').map(str::to_owned);
    Some(Link {
        kind: fields.next()?,
        path: fields.next()?,
        target: fields.next()?,
        names: fields.next()? == "yes",
    })
}
