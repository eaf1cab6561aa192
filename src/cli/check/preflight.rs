//! The hosts before anything is done to them: asked in one round trip each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::reading::{Port, Section, fuse, read};
use super::{Context, Found, Prepared, Verdict};
use crate::cli::hosts::{self, Took};
use crate::engine::link::ShellLinks;
use crate::error::Kind;
use crate::inventory::{App, HostRole};
use crate::quote::sh_words;
use crate::resource::clock;
use crate::role::{certbot, gluster, sentinel};
use crate::topology::{HostView, Topology};
use crate::transport::TransportError;
use crate::transport::wire::Piece;

/// Longest silence of a host.
const PATIENCE: Duration = Duration::from_secs(90);

/// What was found on a host.
pub struct Looked {
    /// Its name.
    pub name: String,
    /// In the order asked.
    pub found: Vec<Found>,
    /// Milliseconds.
    pub ms: u64,
    /// Why it could not be asked.
    failed: Option<Kind>,
}

impl Looked {
    /// What is wrong, for the exit code.
    pub fn kind(&self) -> Option<Kind> {
        let bad = self.found.iter().any(|found| found.verdict == Verdict::Bad);
        self.failed.or(bad.then_some(Kind::HostFailed))
    }
}

/// Looks at the chosen hosts side by side.
pub async fn all(context: &Context, prepared: &Prepared, links: &ShellLinks) -> Vec<Looked> {
    let topology = Topology::of(&prepared.inventory);
    let views = topology.hosts().filter(|view| prepared.hosts.contains(&view.host.name));
    let beats = heartbeat(context, prepared.hosts.len());
    tokio::select! {
        looked = join_all(views.map(|view| one(view, links))) => looked,
        never = beats => never,
    }
}

/// Says every few seconds that hosts are still being asked.
async fn heartbeat(context: &Context, hosts: usize) -> Vec<Looked> {
    let started = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let seconds = started.elapsed().as_secs();
        context
            .console
            .say(&format!("still looking at {hosts} hosts ({seconds} s)\n"));
    }
}

async fn one(view: HostView<'_>, links: &ShellLinks) -> Looked {
    let started = Instant::now();
    let name = view.host.name.clone();
    let result = ask(view, links).await;
    let ms = hosts::millis(started);
    match result {
        Ok(found) => Looked {
            name,
            found,
            ms,
            failed: None,
        },
        Err(error) => {
            let found = Found::new("connection", Verdict::Bad, error.message.clone());
            let found = match &error.hint {
                Some(hint) => found.hint(hint),
                None => found,
            };
            Looked {
                name,
                found: vec![found],
                ms,
                failed: Some(Took::kind_of(&error)),
            }
        }
    }
}

async fn ask(view: HostView<'_>, links: &ShellLinks) -> Result<Vec<Found>, TransportError> {
    let connecting = Instant::now();
    let mut session = hosts::open(links, view.host).await?;
    let connected = hosts::millis(connecting);
    let names = names(view).into_iter().chain(certified(view));
    let mut sections: Vec<Section> = Vec::new();
    let mut collect = |piece| match piece {
        Piece::Mark(words) => sections.push(Section {
            words,
            body: String::new(),
        }),
        Piece::Data(data) => {
            if let Some(section) = sections.last_mut() {
                section.body.push_str(&String::from_utf8_lossy(&data));
            }
        }
    };
    let words = sh_words(names);
    let script = format!("set -- {words}\n{}", include_str!("preflight.sh"));
    let before = clock::now();
    session.run(&script, &[], PATIENCE, &mut collect).await?;
    let backend = session.backend();
    session.close(false).await;
    let detail = format!("root, by {backend} in {}", crate::report::progress::duration(connected));
    let mut found = vec![Found::new("connection", Verdict::Good, detail)];
    found.extend(read(&sections, &ports(view), before, clock::now()));
    if gluster::used(&view) {
        found.push(fuse(&sections));
    }
    Ok(found)
}

/// Names of the machines that the app is fetched from.
fn names(view: HostView) -> BTreeSet<String> {
    if !view.runs_app() {
        return BTreeSet::new();
    }
    let urls: Vec<&str> = match &view.topology.inventory.app {
        App::Frappe(frappe) => frappe.apps.iter().map(|app| app.url.as_str()).collect(),
        App::Wsgi(wsgi) => vec![wsgi.url.as_str()],
    };
    urls.into_iter().filter_map(machine).collect()
}

/// Names that a certificate authority will ask this host for; not those that the host is known to see differently.
fn certified(view: HostView) -> Vec<String> {
    if !view.meets_visitors() {
        return Vec::new();
    }
    let sites = certbot::sites(view.topology.inventory);
    sites
        .filter(|(_, certbot)| certbot.self_check)
        .flat_map(|(site, _)| certbot::names(site))
        .map(|name| format!("site:{name}"))
        .collect()
}

/// The machine in a git URL; `None` for files and addresses.
fn machine(url: &str) -> Option<String> {
    let authority = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split('/').next()?,
        // git@machine:path
        None => url.split_once(':').map(|(before, _)| before)?,
    };
    let name = authority.rsplit('@').next()?;
    if name.starts_with('[') {
        return None;
    }
    let name = name.split(':').next()?;
    let address = name.parse::<std::net::IpAddr>().is_ok();
    (!address && !name.is_empty() && !name.contains('/')).then(|| name.to_owned())
}

/// Ports that the host's roles will listen on, and by which programs.
fn ports(view: HostView) -> Vec<Port> {
    let inventory = view.topology.inventory;
    let mut ports = Vec::new();
    let mut port = |number: u16, purpose: &'static str, by: &'static [&'static str]| {
        ports.push(Port { number, purpose, by });
    };
    if view.behind_balancer() {
        port(inventory.nginx.app_port, "HTTP for load balancers", &["nginx"]);
    }
    if view.meets_visitors() {
        port(inventory.nginx.http_port, "HTTP", &["nginx"]);
        port(inventory.nginx.https_port, "HTTPS", &["nginx"]);
    }
    if view.has(HostRole::App) {
        match &inventory.app {
            App::Frappe(frappe) => {
                port(frappe.process.web_port, "gunicorn", &["gunicorn", "python"]);
                port(frappe.socketio_port, "socket.io", &["node"]);
            }
            App::Wsgi(wsgi) => port(wsgi.process.web_port, "gunicorn", &["gunicorn", "python"]),
        }
    }
    if gluster::used(&view) && gluster::keeps(&view) {
        port(gluster::PORT, "GlusterFS", &["glusterd"]);
    }
    if view.has(HostRole::Db) {
        port(inventory.mariadb.port, "MariaDB", &["mariadbd", "mysqld"]);
    }
    if view.has(HostRole::Redis) {
        port(inventory.redis.cache_port, "Redis cache", &["redis-server"]);
        port(inventory.redis.queue_port, "Redis queue", &["redis-server"]);
        if view.topology.has_sentinels() {
            port(sentinel::PORT, "Redis Sentinel", &["redis-sentinel", "redis-server"]);
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    #[test]
    fn machines_of_git_urls() {
        let cases = [
            ("https://github.com/frappe/frappe", Some("github.com")),
            ("https://user@git.example.com:8443/a.git", Some("git.example.com")),
            ("git@git.example.com:team/a.git", Some("git.example.com")),
            ("git://10.77.0.1/guestbook", None),
            ("ssh://git@[2001:db8::1]:22/a", None),
            ("file:///srv/a", None),
            ("/srv/a", None),
        ];
        for (url, expected) in cases {
            assert_eq!(super::machine(url).as_deref(), expected, "{url}");
        }
    }
}
