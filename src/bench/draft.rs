//! What was found → an inventory's text, the secrets that go with it, and what has to be said. Pure.
//!
//! Every value is checked by the inventory's own rules before it is written; one that does not pass is left out and said.

use serde_json::{Map, Value, json};

use super::reading::{App, Found};
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

struct WantedApp {
    name: String,
    url: String,
    git_ref: String,
}

/// The apps, Frappe first, then as in apps.txt.
fn apps(found: &Found, bench: &str, remarks: &mut Remarks) -> Vec<WantedApp> {
    let mut names: Vec<&str> = vec!["frappe"];
    for name in &found.order {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let listed = names.len();
    for name in found.apps.keys() {
        if !names.contains(&name.as_str()) {
            remarks.known(format!(
                "app {} is in apps/ but not in sites/apps.txt, so no site has it: it is left out",
                shown(name)
            ));
        }
    }
    names.truncate(listed);
    let known = |name: &str| Some((name.to_owned(), found.apps.get(name)?));
    let mut wanted = Vec::new();
    for name in names {
        match known(name) {
            Some((name, app)) if app.git && rules::package_name(&name).is_ok() => {
                wanted.extend(source(&name, app, bench, remarks));
            }
            _ => remarks.first(format!(
                "app {} is no git repository in apps/: hactl fetches apps by git. Put it into one, then run init again",
                shown(name)
            )),
        }
    }
    wanted
}

/// Where an app comes from, and which of it.
fn source(name: &str, app: &App, bench: &str, remarks: &mut Remarks) -> Option<WantedApp> {
    let is_commit = (40..=64).contains(&app.commit.len()) && app.commit.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_commit {
        remarks.first(format!("app {name}: what is checked out in apps/{name} cannot be told"));
        return None;
    }
    if app.dirty > 0 {
        remarks.known(format!(
            "app {name}: {} changed files in apps/{name} are not committed; they are not taken over (git -C {bench}/apps/{name} diff)",
            app.dirty
        ));
    }
    let tag = app.tags.iter().find(|tag| rules::git_ref(tag).is_ok());
    let commit = app.commit.clone();
    let local = |git_ref: String| WantedApp {
        name: name.to_owned(),
        url: format!("file://{bench}/apps/{name}"),
        git_ref,
    };
    let url = app
        .url
        .as_deref()
        .map(without_login)
        .filter(|(url, _)| rules::git_url(url).is_ok());
    let Some((url, had_login)) = url else {
        remarks.known(format!(
            "app {name} has no remote: it is taken from {bench}/apps/{name}. Push it somewhere and name that as its url before the old bench is deleted"
        ));
        return Some(local(commit));
    };
    if had_login {
        remarks.first(format!(
            "app {name}: the URL in its clone carries a login, which is not taken over: give the server a deploy key or a credential helper"
        ));
    }
    if tag.is_none() && !app.on_remote {
        remarks.known(format!(
            "app {name}: its commit {} is on no remote branch; it is taken from {bench}/apps/{name}. Push it to {} and name that as its url before the old bench is deleted",
            &commit[..12],
            shown(&url)
        ));
        return Some(local(commit));
    }
    Some(WantedApp {
        name: name.to_owned(),
        url,
        git_ref: tag.cloned().unwrap_or(commit),
    })
}

/// A URL without user and password, and whether it had a password.
fn without_login(url: &str) -> (String, bool) {
    if rules::url_has_password(url)
        && let Some((scheme, rest)) = url.split_once("://")
        && let Some((authority, path)) = rest.split_once('/')
        && let Some((_, host)) = authority.rsplit_once('@')
    {
        return (format!("{scheme}://{host}/{path}"), true);
    }
    (url.to_owned(), false)
}

/// User, Python, ports and gunicorn.
fn app(found: &Found, bench: &str, common: &Map<String, Value>, remarks: &mut Remarks) -> Value {
    let user = &found.user;
    if rules::user(&user.name).is_err() || matches!(user.name.as_str(), "root" | "www-data") {
        remarks.first(format!(
            "the bench belongs to {}, and hactl wants a user of its own for it: chown -R frappe: {bench}",
            shown(&user.name)
        ));
    } else {
        if user.uid != user.gid || user.group != user.name || !(1000..=59999).contains(&user.uid) {
            remarks.first(format!(
                "user {} has uid {} and group {} ({}): hactl wants one number from 1000 on for both, and a group of the user's name",
                user.name,
                user.uid,
                shown(&user.group),
                user.gid
            ));
        }
        let home = format!("/home/{}", user.name);
        if user.home != home || user.shell != "/bin/bash" {
            remarks.known(format!(
                "user {} has the home {} and the shell {}; it gets {home} and /bin/bash",
                user.name,
                shown(&user.home),
                shown(&user.shell)
            ));
        }
    }
    let id = match string(common, "bench_id") {
        Some(id) if is_plain(id) => id.to_owned(),
        Some(id) => {
            remarks.first(format!(
                "its bench_id {} is no name: jobs that wait would not be found",
                shown(id)
            ));
            String::new()
        }
        None => bench.trim_matches('/').replace('/', "-"),
    };
    let web = found
        .programs
        .iter()
        .find(|program| program.name.ends_with("-frappe-web"));
    let option = |names: &[&str]| web.and_then(|web| web.option(names));
    let numeric = |names: &[&str], key: &str| {
        let given = option(names).and_then(|text| text.parse::<u64>().ok());
        given.or_else(|| number(common, key)).filter(|number| *number > 0)
    };
    let bound = option(&["-b", "--bind"]).and_then(|bind| bind.rsplit(':').next()?.parse::<u64>().ok());
    let worker_class = option(&["-k", "--worker-class"]).filter(|class| !matches!(class.as_str(), "sync" | "gthread"));
    if let Some(class) = worker_class {
        remarks.known(format!(
            "gunicorn runs with the worker class {}; it gets hactl's",
            shown(&class)
        ));
    }
    json!({
        "user": if rules::user(&user.name).is_ok() { user.name.as_str() } else { "frappe" },
        "uid": if (1000..=59999).contains(&user.uid) { user.uid } else { 1990 },
        "python": python(found, remarks),
        "web_workers": numeric(&["-w", "--workers"], "gunicorn_workers"),
        "web_threads": option(&["--threads"]).and_then(|text| text.parse::<u64>().ok()).filter(|threads| *threads > 1),
        "http_timeout": numeric(&["-t", "--timeout"], "http_timeout").filter(|seconds| *seconds != 120),
        "web_port": bound.or_else(|| number(common, "webserver_port")).filter(|port| *port != 8000),
        "socketio_port": number(common, "socketio_port").filter(|port| *port != 9000),
        "bench_id": Value::from(id).to_string(),
    })
}

/// The Python that the old environment was made with.
fn python(found: &Found, remarks: &mut Remarks) -> Option<String> {
    let key = |names: [&str; 2]| names.iter().find_map(|name| found.python.get(*name)).cloned();
    let version = key(["version_info", "version"])?;
    let mut parts = version.split('.');
    let name = format!("python{}.{}", parts.next()?, parts.next()?);
    let home = key(["home", "home"])?;
    let path = format!("{}/{name}", home.trim_end_matches('/'));
    if home == "/usr/bin" {
        return Some(name).filter(|name| rules::python(name).is_ok());
    }
    rules::python(&path).ok()?;
    remarks.known(format!(
        "its Python is {}, which is none of Debian's packages: it must stay there",
        shown(&path)
    ));
    Some(path)
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

/// The bench's file among supervisord's or nginx's, when it is not where bench puts it.
fn link(found: &Found, bench: &str, kind: &str, remarks: &mut Remarks) -> Option<String> {
    let name = bench.rsplit('/').next().unwrap_or_default();
    let usual = format!("/etc/{kind}/conf.d/{name}.conf");
    let target = format!("{bench}/config/{kind}.conf");
    let of_kind = || found.links.iter().filter(|link| link.kind == kind);
    let linked: Vec<_> = of_kind()
        .filter(|link| link.target == target || link.path == usual)
        .collect();
    for other in of_kind().filter(|link| link.names && !linked.iter().any(|one| one.path == link.path)) {
        remarks.known(format!(
            "{} names the bench, too: look whether it is still wanted",
            shown(&other.path)
        ));
    }
    if kind == "supervisor"
        && found
            .groups
            .iter()
            .any(|group| group == "frappe" || group == "frappe-workers")
    {
        remarks.first(
            "supervisord's groups of the bench are named like hactl's own (frappe, frappe-workers): rename the bench's folder, then bench setup supervisor and run init again".into(),
        );
    }
    match linked.as_slice() {
        [] if kind == "supervisor" => {
            let units: Vec<_> = found.targets.iter().take(3).map(|unit| shown(unit)).collect();
            remarks.first(match units.as_slice() {
                [] => format!("supervisord has no file that leads to {target}: is this bench in production? bench setup production"),
                units => format!(
                    "the bench runs under systemd ({}): bench setup supervisor, and disable those units, before it is taken over",
                    units.join(", ")
                ),
            });
            None
        }
        [] => {
            remarks.known(format!(
                "nginx has no file that leads to {target}: what serves the sites cannot be told"
            ));
            None
        }
        [one, rest @ ..] => {
            for other in rest {
                remarks.first(format!(
                    "{} leads to {target}, too: remove one of the two",
                    shown(&other.path)
                ));
            }
            Some(one.path.clone()).filter(|path| *path != usual && rules::host_path(path).is_ok())
        }
    }
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

/// What stands around the bench.
fn surroundings(found: &Found, bench: &str, remarks: &mut Remarks) {
    if !found.rooted {
        remarks.first(format!(
            "MariaDB does not let root in by its socket ({}): ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('...')",
            shown(&found.version)
        ));
    }
    for unit in ["supervisor", "nginx", "mariadb"] {
        if found.units.get(unit).is_none_or(|state| state != "active") {
            let state = found
                .units
                .get(unit)
                .map_or_else(|| "unknown".to_owned(), |state| shown(state));
            remarks.first(format!(
                "{unit}.service is {state}: what runs now can only be taken over from what runs"
            ));
        }
    }
    for custom in &found.nginx.custom {
        remarks.known(format!(
            "config/nginx.conf has `{}`, which is not bench's: it is not taken over",
            shown(custom)
        ));
    }
    for link in found
        .links
        .iter()
        .filter(|link| link.kind == "nginx" && !link.names && !link.target.starts_with(bench))
    {
        let path = shown(&link.path);
        if link.path.starts_with("/etc/nginx/sites-enabled/") {
            remarks.known(format!(
                "{path} is not read by nginx any more: hactl's configuration includes conf.d only"
            ));
        } else {
            remarks.known(format!(
                "{path} stays and is included; hactl's nginx.conf has other defaults than yours"
            ));
        }
    }
    for (user, lines) in &found.cron {
        remarks.known(format!(
            "the crontab of {} has {lines} line(s) with `bench`; they go on in the old folder: look which are still wanted",
            shown(user)
        ));
    }
    if found.units.get("redis-server").is_some_and(|state| state == "active") {
        remarks.known(
            "redis-server.service (Debian's own, port 6379) is stopped and disabled: see that nothing else uses it"
                .into(),
        );
    }
    for other in &found.others {
        remarks.first(format!(
            "there is another bench, {}: it would share nginx with hactl's own, which reads no configuration of bench's. Move it to another server",
            shown(other)
        ));
    }
    for odd in &found.odd_sites {
        remarks.first(format!(
            "site {} has a name that is no host name: it is not taken over",
            shown(odd)
        ));
    }
}
