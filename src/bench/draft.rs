//! What was found → an inventory's text, the secrets that go with it, and what has to be said. Pure.
//!
//! Every value is checked by the inventory's own rules before it is written; one that does not pass is left out and said.

use serde_json::{Map, Value, json};

use super::apps::apps;
use super::around::{link, surroundings};
use super::process::app;
use super::reading::Found;
use super::workers;
use crate::error::{Error, Kind, Result};
use crate::inventory::rules;
use crate::quote;
use crate::role::templates;
use crate::secret::Secret;

const TEMPLATE: &str = include_str!("../../templates/init/adopted.yml.tera");

/// How the host is reached.
#[derive(Debug, Clone)]
pub struct Login {
    /// Its name, when the user gave one.
    pub name: Option<String>,
    /// Its address.
    pub address: String,
    /// Who logs in.
    pub user: String,
    /// Port of sshd.
    pub port: Option<u16>,
    /// Private key, as the user wrote it.
    pub identity_file: Option<String>,
    /// Name of the cluster, when the user gave one.
    pub cluster: Option<String>,
}

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Whether `apply` must not be run before it is dealt with.
    pub first: bool,
    /// In words, one line.
    pub text: String,
}

/// An inventory to be written.
pub struct Draft {
    /// Its text.
    pub text: String,
    /// By canonical name.
    pub secrets: Vec<(String, Secret)>,
    /// What must be said about it.
    pub remarks: Vec<Remark>,
}

/// A word of the host's in a comment or on a terminal: one line, and not for ever.
pub(super) fn shown(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c == '\n' || c == '\t' { ' ' } else { c })
        .take(120)
        .collect();
    quote::terminal(&line)
}

#[derive(Default)]
pub(super) struct Remarks(Vec<Remark>);

impl Remarks {
    /// To be dealt with before an apply.
    pub fn first(&mut self, text: String) {
        self.0.push(Remark { first: true, text });
    }

    /// To be known.
    pub fn known(&mut self, text: String) {
        self.0.push(Remark { first: false, text });
    }
}

/// The one bench that was found.
///
/// # Errors
/// There is none, or there are several.
pub fn one_bench<'a>(found: &'a Found, host: &str, asked: Option<&str>) -> Result<&'a str> {
    match (found.benches.as_slice(), asked) {
        ([one], _) => Ok(one),
        ([], Some(path)) if found.own.is_some() => Err(Error::new(
            Kind::Refused,
            format!(
                "{host}: {} was made by hactl; there is nothing to take over",
                shown(path)
            ),
        )),
        ([], Some(path)) => Err(Error::new(
            Kind::HostFailed,
            format!(
                "{host}: there is no bench in {}: no apps/frappe or no sites/common_site_config.json there",
                shown(path)
            ),
        )
        .hint("without --bench-path it is looked for")),
        ([], None) => {
            let odd = match found.odd.first() {
                Some(odd) => format!("; {} has a name that hactl does not take", shown(odd)),
                None => String::new(),
            };
            let own = match &found.own {
                Some(own) => format!("; {} was made by hactl", shown(own)),
                None => String::new(),
            };
            Err(
                Error::new(Kind::HostFailed, format!("{host}: no bench was found{own}{odd}"))
                    .hint("say where it is: hactl init --from-bench HOST --bench-path /home/frappe/frappe-bench"),
            )
        }
        (several, _) => {
            let list: Vec<_> = several.iter().map(|path| shown(path)).collect();
            let first = list.first().cloned().unwrap_or_default();
            let error = Error::usage(format!(
                "{host}: there are {} benches: {}",
                several.len(),
                list.join(", ")
            ));
            Err(error
                .hint(format!("choose one: hactl init --from-bench HOST --bench-path {first}"))
                .hint("one inventory takes over one; hactl gives a server to one bench, so move the others elsewhere first"))
        }
    }
}

/// The inventory for a bench.
///
/// # Errors
/// Its configuration cannot be read, or nothing in it can be taken over.
pub fn draft(found: &Found, bench: &str, login: &Login) -> Result<Draft> {
    let nothing = |why: &str| Error::new(Kind::HostFailed, format!("{}: {} {why}", login.address, shown(bench)));
    rules::host_path(bench).map_err(|why| nothing(&why))?;
    let Some(common) = &found.common else {
        return Err(nothing("has a sites/common_site_config.json that is no JSON object").hint("mend it on the server"));
    };
    let mut remarks = Remarks::default();
    let mut secrets = Vec::new();
    let apps = apps(found, bench, &mut remarks);
    if apps.first().is_none_or(|app| app.name != "frappe") {
        return Err(nothing("has no app `frappe` whose commit can be told")
            .hint("look at apps/frappe on the server: git -C apps/frappe log -1"));
    }
    let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
    let sites = super::sites::sites(found, common, &names, &mut secrets, &mut remarks);
    let Some(first_site) = sites.first().and_then(|site| site["name"].as_str()) else {
        let mut error = nothing("has no site that can be taken over");
        for remark in remarks.0.iter().take(5) {
            error = error.hint(remark.text.clone());
        }
        return Err(error);
    };
    if let Some(password) = string(common, "root_password").or(found.root_password.as_deref())
        && is_line(password)
    {
        secrets.push(("mariadb/root".to_owned(), Secret::new(password)));
    }
    let cluster = login.cluster.clone().unwrap_or_else(|| rules::cluster_of(first_site));
    let host = match &login.name {
        Some(name) => name.clone(),
        None => Some(found.hostname.to_ascii_lowercase())
            .filter(|name| rules::host(name).is_ok())
            .unwrap_or_else(|| "srv1".into()),
    };
    let (cache, queue) = redis_ports(&found.ports);
    let mut context = json!({
        "bench": bench,
        "cluster": cluster,
        "user": login.user,
        "identity_file": login.identity_file,
        "port": login.port.filter(|port| *port != 22),
        "host": host,
        "address": login.address,
        "app": app(found, bench, common, &mut remarks),
        "apps": apps.iter().map(|app| json!({ "name": app.name, "url": app.url, "ref": app.git_ref })).collect::<Vec<_>>(),
        "path": path(found, bench),
        "workers": workers::workers(found, common, &mut remarks),
        "supervisor": link(found, bench, "supervisor", &mut remarks),
        "nginx": link(found, bench, "nginx", &mut remarks),
        "sites": sites,
        "db_port": number(common, "db_port").unwrap_or(3306),
        "cache_port": cache,
        "queue_port": queue,
        "max_body": found.nginx.max_body_mb.filter(|mb| *mb != 50 && *mb > 0),
        "http_port": port(found, false, 80),
        "https_port": port(found, true, 443),
    });
    surroundings(found, bench, &mut remarks);
    let remarks = remarks.0;
    let comments: Vec<Value> = remarks
        .iter()
        .map(|remark| json!({ "first": remark.first, "lines": wrapped(&remark.text) }))
        .collect();
    context["remarks"] = comments.into();
    Ok(Draft {
        text: templates::once("the inventory's template", TEMPLATE, &context)?,
        secrets,
        remarks,
    })
}

/// Text of an object, not empty.
pub(super) fn string<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A number, which people also write as text.
pub(super) fn number(map: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = map.get(key)?;
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Whether a value can be kept as a secret.
pub(super) fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Whether a text may stand in an inventory.
pub(super) fn is_plain(text: &str) -> bool {
    is_line(text) && !text.chars().any(quote::deceives)
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            if line.chars().count() + word.chars().count() > 108 && !line.is_empty() {
                lines.push(word.to_owned());
                continue;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Where the new bench goes: files are moved by renames, so it must be on the old one's file system.
fn path(found: &Found, bench: &str) -> Option<String> {
    let (device, mount) = found.devices.get(&format!("{bench}/sites"))?;
    if found.devices.get("/srv").is_none_or(|(srv, _)| srv == device) {
        return None;
    }
    let path = format!("{}/hactl/bench", mount.trim_end_matches('/'));
    (rules::host_path(&path).is_ok() && !bench.starts_with(&format!("{path}/"))).then_some(path)
}

/// The first free ones from the usual on: the old ones are in use until the switch.
fn redis_ports(listening: &[u16]) -> (u16, u16) {
    let free = |from: u16| {
        (from..from + 500)
            .find(|port| !listening.contains(port))
            .unwrap_or(from)
    };
    (free(13000), free(11000))
}

/// The port of nginx's servers for the sites, when it is another than the usual.
fn port(found: &Found, tls: bool, usual: u16) -> Option<u16> {
    let listens = || found.nginx.servers.iter().flat_map(|server| &server.listens);
    let all = || listens().filter(|(_, speaks)| *speaks == tls).map(|(port, _)| *port);
    if all().any(|port| port == usual) {
        return None;
    }
    all().next()
}
