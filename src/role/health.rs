//! What `status` asks a host, and what it makes of the answers. Derived from the same topology as the roles; it names
//! what should be there, so a host that has nothing yet answers "bad" and not nothing.

pub mod balance;
mod certificate;
mod read;
mod redis_set;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::frappe::programs;
use super::redis::Instance;
use super::{backup, certbot, endpoint, files, gate, gluster, keepalived, memcached, nginx, pair, redis, sentinel};
use crate::inventory::{App, Frappe, HostRole, Site};
use crate::quote::sh;
use crate::resource::redis_set::{RedisInstance, SentinelInstance};
use crate::resource::{Ask, replication};
use crate::topology::HostView;

pub use certificate::{Certificate, Source};
pub use read::read;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works; somebody should look.
    Warn,
    /// It does not work.
    Bad,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Health {
    /// What was looked at, e.g. `site erp.example.com`.
    pub name: String,
    /// How well it is.
    pub state: State,
    /// In a few words; may hold what the host said.
    pub detail: String,
    /// For a certificate that could be read.
    pub certificate: Option<Certificate>,
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique on the host.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// Sorts of checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A systemd unit runs and starts at boot.
    Unit(String),
    /// A systemd unit does not run, since another host serves, whose name this is; nor does it start at boot.
    Waits(String, String),
    /// All programs of a supervisor group run.
    Programs(String),
    /// A URL answers through this host's own nginx; the shell prints status and seconds.
    Site(String),
    /// A shell test passes; the last line says why it does or does not, after `look: ` when somebody should look.
    Answers(String),
    /// No background job is left that nobody will run any more; the shell prints how many there are.
    Jobs(String),
    /// A site's certificate is valid for a while; the shell prints its dates.
    Certificate(Source, String),
    /// Certificates are renewed; the shell says what is not as it should be.
    Renewals(String),
    /// A load balancer reaches the app hosts; the shell prints their names and what they answered.
    Upstreams(String),
    /// A virtual address is carried, by this host or another; the shell prints which.
    Vip(String),
    /// MariaDB answers on its socket.
    MariaDb,
    /// MariaDB's part in the replication; whether commits should wait for a replica.
    Replication {
        /// Semi-synchronous.
        semi_sync: bool,
    },
    /// A Redis instance answers to its password and can write; the shell prints lines of INFO.
    Redis(String),
    /// A Redis leads its set or follows who does; how many others there should be.
    RedisSet(RedisInstance, usize),
    /// A sentinel and enough others watch a set; the addresses of its hosts.
    Sentinel(SentinelInstance, Vec<IpAddr>),
    /// A release is there, and the sites are not closed by an update; the paths of its link and of the gate.
    Open(String, String),
    /// File systems have room; the paths that matter.
    Disk(Vec<String>),
}

/// Everything to look at on a host.
pub fn checks(view: &HostView) -> Vec<Check> {
    let inventory = view.topology.inventory;
    let mut checks = Vec::new();
    let mut add = |name: String, kind: Kind| checks.push(Check { name, kind });
    let unit = |unit: &str| Kind::Unit(unit.to_owned());
    let mut disk = vec!["/".to_owned()];
    if view.has(HostRole::Db) {
        add("mariadb.service".into(), unit("mariadb.service"));
        add("mariadb".into(), Kind::MariaDb);
        if view.topology.replicates() {
            let semi_sync = inventory.mariadb.semi_sync;
            add("replication".into(), Kind::Replication { semi_sync });
        }
        disk.push("/var/lib/mysql".into());
    }
    if view.has(HostRole::Redis) {
        for instance in redis::instances(&inventory.redis) {
            add(instance.unit(), Kind::Unit(instance.unit()));
            add(format!("redis {}", instance.name), Kind::Redis(redis_test(&instance)));
        }
        let hosts = view.topology.with_role(HostRole::Redis).map(|host| host.address);
        let hosts: Vec<_> = hosts.collect();
        for instance in redis::instances(&inventory.redis) {
            let name = instance.name;
            if view.topology.redis_replicates() {
                let kind = Kind::RedisSet(instance.in_set(), hosts.len() - 1);
                add(format!("redis set {name}"), kind);
            }
            if view.topology.has_sentinels() {
                let kind = Kind::Sentinel(sentinel::of_set(name), hosts.clone());
                add(format!("sentinel {name}"), kind);
            }
        }
        if view.topology.has_sentinels() {
            add(sentinel::UNIT.into(), unit(sentinel::UNIT));
        }
        disk.push("/var/lib/redis".into());
    }
    if view.has(HostRole::Memcached) {
        add(memcached::UNIT.into(), unit(memcached::UNIT));
        let test = format!(
            "{}\nprintf '%s\\n' \"$answer\" | tr -d '\\r'",
            memcached::health(inventory.memcached.port)
        );
        add("memcached".into(), Kind::Answers(test));
    }
    if endpoint::has(view) {
        add("haproxy.service".into(), unit("haproxy.service"));
        add("data stores".into(), Kind::Answers(endpoint::ready()));
    }
    let waits = view.waits();
    if waits {
        for check in pair::checks(view) {
            add(check.name, check.kind);
        }
    }
    if view.runs_app() && !waits {
        add("supervisor.service".into(), unit("supervisor.service"));
        let groups = match &inventory.app {
            App::Frappe(frappe) => programs::groups(view, frappe),
            App::Wsgi(wsgi) => vec![wsgi.name.as_str()],
        };
        for group in groups {
            add(format!("programs {group}"), Kind::Programs(group.to_owned()));
        }
        if let (App::Frappe(frappe), Some(_)) = (&inventory.app, programs::one_of_several(view)) {
            add("scheduler".into(), Kind::Answers(scheduler_test(frappe)));
        }
        if let (App::Frappe(frappe), true) = (&inventory.app, view.has(HostRole::Worker)) {
            add("jobs".into(), Kind::Jobs(programs::jobs(frappe, &["status"])));
        }
    }
    if view.runs_app() {
        add(
            format!("release {}", inventory.app.name()),
            Kind::Open(gate::current(&inventory.app), gate::path(&inventory.app)),
        );
        disk.push(match &inventory.app {
            App::Frappe(frappe) => frappe.path.clone(),
            App::Wsgi(wsgi) => wsgi.path.clone(),
        });
    }
    match view.topology.is_pair() {
        true if files::shared(view) && waits => add("files".into(), Kind::Answers(files::age(view))),
        false if files::shared(view) => add("files".into(), Kind::Answers(files::up_to_date())),
        _ => {}
    }
    if gluster::used(view) {
        if gluster::keeps(view) {
            add(gluster::DAEMON.into(), unit(gluster::DAEMON));
            disk.push(gluster::BASE.into());
        }
        add(gluster::UNIT.into(), unit(gluster::UNIT));
        add("files".into(), Kind::Answers(gluster::health(view)));
    }
    if view.serves_web() && !waits {
        add("nginx.service".into(), unit("nginx.service"));
        for site in &inventory.sites {
            add(format!("site {}", site.name), Kind::Site(site_test(view, site)));
        }
    }
    if view.meets_visitors() && !waits {
        for site in &inventory.sites {
            if let Some((source, test)) = certificate::test(site, inventory.nginx.https_port) {
                add(format!("certificate {}", site.name), Kind::Certificate(source, test));
            }
        }
        if certbot::sites(inventory).next().is_some() {
            add("certificate renewal".into(), Kind::Renewals(certbot::renewals()));
        }
    }
    if view.has(HostRole::Lb) {
        add("upstreams".into(), Kind::Upstreams(balance::upstreams_test(view)));
    }
    if keepalived::carries(view) {
        add("keepalived.service".into(), unit("keepalived.service"));
        for vip in inventory.vip.values() {
            add(
                balance::vip_subject(vip),
                Kind::Vip(keepalived::status(vip, inventory.nginx.http_port)),
            );
        }
    }
    for role in inventory
        .roles
        .values()
        .filter(|role| role.hosts.contains(&view.host.name))
    {
        for service in &role.services {
            add(service.unit.clone(), Kind::Unit(service.unit.clone()));
        }
        if !role.programs.is_empty() {
            add(format!("programs {}", role.name), Kind::Programs(role.name.clone()));
        }
    }
    for (name, test) in backup::checks(view) {
        add(name, Kind::Answers(test));
    }
    add("disk".into(), Kind::Disk(disk));
    checks
}

fn site_test(view: &HostView, site: &Site) -> String {
    visit(view, site, IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Shell that asks for a site at an address of this host, or of one before it: status and seconds.
pub fn visit(view: &HostView, site: &Site, address: IpAddr) -> String {
    let inventory = view.topology.inventory;
    let path = alive_path(&inventory.app);
    let (scheme, port) = match view.has(HostRole::Lb) {
        true => nginx::front_door(inventory, site),
        false => nginx::own_door(view, site),
    };
    let address = match address {
        IpAddr::V6(address) => format!("[{address}]"),
        IpAddr::V4(address) => address.to_string(),
    };
    // Whether others trust the certificate is not asked here: self-signed ones are served on purpose.
    format!(
        "curl -ksS -o /dev/null --max-time 10 -w '%{{http_code}} %{{time_total}}' --resolve {} {}",
        sh(&format!("{}:{port}:{address}", site.name)),
        sh(&format!("{scheme}://{}:{port}{path}", site.name))
    )
}

/// What the process that waits for its turn to schedule, or schedules, said last; it says so every second.
fn scheduler_test(frappe: &Frappe) -> String {
    format!(
        "state={}\n\
         [ -n \"$(find \"$state\" -newermt '-30 seconds' 2>/dev/null)\" ] || {{ echo 'nothing on this host would schedule'; exit 1; }}\n\
         case $(cat \"$state\") in waits) echo 'another host schedules' ;; *) echo 'this host schedules' ;; esac",
        sh(&programs::scheduler_state(frappe))
    )
}

/// A path that an application answers with less than 400 when it is well.
fn alive_path(app: &App) -> &str {
    match app {
        App::Frappe(_) => "/api/method/ping",
        App::Wsgi(wsgi) => &wsgi.health,
    }
}

fn redis_test(instance: &Instance) -> String {
    format!(
        "{}\n\
         timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" info 2>&1 | while IFS=: read -r key value; do\n\
         \x20   case $key in\n\
         \x20       uptime_in_seconds | used_memory | maxmemory | aof_last_write_status | rdb_last_bgsave_status) echo \"$key=$value\" ;;\n\
         \x20   esac\n\
         done",
        instance.ping()
    )
}

/// The questions of checks.
pub fn questions(checks: &[Check]) -> Ask {
    let mut ask = Ask::default();
    for check in checks {
        match &check.kind {
            Kind::Unit(unit) | Kind::Waits(unit, _) => {
                ask.units.insert(unit.clone());
            }
            Kind::Programs(_) => ask.programs = true,
            Kind::Site(test)
            | Kind::Redis(test)
            | Kind::Answers(test)
            | Kind::Jobs(test)
            | Kind::Certificate(_, test)
            | Kind::Renewals(test)
            | Kind::Upstreams(test)
            | Kind::Vip(test) => {
                ask.test(&check.name, test);
            }
            Kind::MariaDb => ask.sql(&check.name, "SHOW GLOBAL STATUS LIKE 'Uptime'"),
            Kind::Replication { .. } => ask.test(replication::KEY, replication::QUESTION),
            Kind::RedisSet(instance, _) => instance.ask(&mut ask),
            Kind::Sentinel(instance, _) => instance.ask(&mut ask),
            Kind::Open(current, gate) => {
                ask.path(current);
                ask.lines.insert(gate.clone());
            }
            Kind::Disk(paths) => {
                // A path that is not there yet must not hide the others.
                let rows: Vec<_> = paths
                    .iter()
                    .map(|path| format!("df -P {} 2>/dev/null", sh(path)))
                    .collect();
                ask.test(&check.name, &rows.join("\n"));
            }
        }
    }
    ask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Facts, Observed};
    use crate::role::testing::{FRAPPE, GUESTBOOK, inventory};
    use crate::topology::Topology;

    #[test]
    fn a_server_is_asked_about_everything_it_should_have() {
        let names = |text: &str| {
            let inventory = inventory(text);
            let view = Topology::of(&inventory).hosts().next().unwrap();
            checks(&view)
                .into_iter()
                .map(|check| check.name)
                .collect::<Vec<_>>()
                .join("\n")
        };
        insta::assert_snapshot!("checks", format!("{}\n---\n{}", names(GUESTBOOK), names(FRAPPE)));
    }

    #[test]
    fn a_bare_host_is_bad_all_over() {
        let inventory = inventory(GUESTBOOK);
        let view = Topology::of(&inventory).hosts().next().unwrap();
        let checks = checks(&view);
        let found = read(&checks, &Observed::bare(Facts::assumed()));
        assert_eq!(found.len(), checks.len());
        assert!(found.iter().all(|health| health.state == State::Bad), "{found:?}");
    }
}
