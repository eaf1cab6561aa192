//! What `status` asks a host, and what it makes of the answers. Derived from the same topology as the roles; it names
//! what should be there, so a host that has nothing yet answers "bad" and not nothing.

pub mod balance;
mod certificate;
mod redis_set;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::frappe::programs;
use super::redis::Instance;
use super::{backup, certbot, endpoint, files, gate, gluster, keepalived, memcached, nginx, pair, redis, sentinel};
use crate::inventory::{App, Frappe, HostRole, Site};
use crate::quote::sh;
use crate::resource::redis_set::{RedisInstance, SentinelInstance};
use crate::resource::{Ask, Observed, replication};
use crate::topology::HostView;

pub use certificate::{Certificate, Source};

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

/// What the answers say.
pub fn read(checks: &[Check], seen: &Observed) -> Vec<Health> {
    let health = |check: &Check| {
        let certificate = Cell::new(None);
        let (state, detail) = match &check.kind {
            Kind::Unit(unit) => read_unit(seen, unit),
            Kind::Waits(unit, serves) => read_waits(seen, unit, serves),
            Kind::Programs(group) => read_programs(seen, group),
            Kind::Site(_) => output(seen, check, read_site),
            Kind::Answers(_) => output(seen, check, |text| {
                let last = text.lines().last().unwrap_or_default();
                match last.strip_prefix("look: ") {
                    Some(found) => (State::Warn, found.to_owned()),
                    None => (State::Ok, last.to_owned()),
                }
            }),
            Kind::Jobs(_) => output(seen, check, read_jobs),
            Kind::Certificate(source, _) => output(seen, check, |text| {
                let (state, detail, read) = certificate::read(*source, text, seen.facts.clock);
                certificate.set(read);
                (state, detail)
            }),
            Kind::Renewals(_) => output(seen, check, certificate::read_renewals),
            Kind::Upstreams(_) => output(seen, check, balance::read_upstreams),
            Kind::Vip(_) => output(seen, check, balance::read_vip),
            Kind::MariaDb => read_mariadb(seen, &check.name),
            Kind::Replication { semi_sync } => {
                super::replication::health(replication::Replication::seen(seen).as_ref(), *semi_sync)
            }
            Kind::Redis(_) => output(seen, check, read_redis),
            Kind::RedisSet(instance, others) => redis_set::part(instance.seen(seen).as_ref(), *others),
            Kind::Sentinel(instance, hosts) => redis_set::watch(instance.seen(seen).as_ref(), hosts),
            Kind::Open(current, gate) => match seen.lines.get(gate) {
                None if !seen.paths.contains_key(current) => (State::Bad, "is not installed".into()),
                None => (State::Ok, "open".into()),
                Some(line) => {
                    let line: String = line.chars().take(60).collect();
                    (
                        State::Bad,
                        format!("closed: an update runs or was cut off ({line}); hactl apply ends it"),
                    )
                }
            },
            Kind::Disk(_) => match seen.tests.get(&check.name) {
                Some(test) => read_disk(&test.output),
                None => (State::Bad, "no answer".into()),
            },
        };
        Health {
            name: check.name.clone(),
            state,
            detail,
            certificate: certificate.into_inner(),
        }
    };
    checks.iter().map(health).collect()
}

/// The output of a test that passed; the last line of one that did not is the reason.
fn output(seen: &Observed, check: &Check, read: impl Fn(&str) -> (State, String)) -> (State, String) {
    match seen.tests.get(&check.name) {
        Some(test) if test.code == 0 => read(&test.output),
        Some(test) => {
            let last = test.output.lines().map(str::trim).rfind(|line| !line.is_empty());
            (State::Bad, last.unwrap_or("failed").chars().take(200).collect())
        }
        None => (State::Bad, "no answer".into()),
    }
}

fn read_waits(seen: &Observed, unit: &str, serves: &str) -> (State, String) {
    match seen.units.get(unit) {
        None => (State::Bad, "is not there".into()),
        Some(unit) if !matches!(unit.active.as_str(), "inactive" | "failed") => {
            let text = format!("is {}, though {serves} serves: hactl apply stops it", unit.active);
            (State::Bad, text)
        }
        Some(unit) if matches!(unit.enabled.as_str(), "enabled" | "enabled-runtime") => {
            let text = format!("is stopped, but a boot would start it, though {serves} serves");
            (State::Bad, text)
        }
        Some(_) => (State::Ok, format!("is stopped: {serves} serves")),
    }
}

fn read_unit(seen: &Observed, unit: &str) -> (State, String) {
    match seen.units.get(unit) {
        None => (State::Bad, "is not there".into()),
        Some(unit) if unit.active != "active" => (State::Bad, format!("is {}", unit.active)),
        Some(unit) => {
            let up = format!("up {}", span(seen.facts.clock.saturating_sub(unit.since)));
            match unit.enabled.as_str() {
                "disabled" | "masked" => (
                    State::Warn,
                    format!("{up}, but {}: a boot will not start it", unit.enabled),
                ),
                _ => (State::Ok, up),
            }
        }
    }
}

fn read_programs(seen: &Observed, group: &str) -> (State, String) {
    let Some(programs) = &seen.programs else {
        return (State::Bad, "supervisord does not answer".into());
    };
    let prefix = format!("{group}:");
    let mine: Vec<_> = programs
        .iter()
        .filter_map(|(key, program)| Some((key.strip_prefix(&prefix)?, program)))
        .collect();
    if mine.is_empty() {
        return (State::Bad, "supervisord has no programs of it".into());
    }
    let mut worst = State::Ok;
    let mut others = Vec::new();
    for (name, program) in &mine {
        let state = match program.state.as_str() {
            "RUNNING" => continue,
            // A scheduler that found another one ends in good order.
            "STARTING" | "STOPPING" | "EXITED" => State::Warn,
            _ => State::Bad,
        };
        worst = worst.max(state);
        others.push(format!("{name} is {}", program.state));
    }
    match worst {
        State::Ok => (State::Ok, format!("{} running", mine.len())),
        _ => (worst, others.join(", ")),
    }
}

fn read_site(text: &str) -> (State, String) {
    let (code, seconds) = text
        .lines()
        .last()
        .unwrap_or_default()
        .split_once(' ')
        .unwrap_or_default();
    let seconds: f64 = seconds.trim().parse().unwrap_or(0.0);
    let detail = format!("{code} in {:.0} ms", seconds * 1000.0);
    match code.parse::<u16>() {
        Ok(200..=399) if seconds < 2.0 => (State::Ok, detail),
        Ok(200..=399) => (State::Warn, detail),
        Ok(_) => (State::Bad, detail),
        Err(_) => (State::Bad, "no answer".into()),
    }
}

fn read_mariadb(seen: &Observed, key: &str) -> (State, String) {
    match &seen.sql {
        Err(why) => (State::Bad, why.clone()),
        Ok(answers) => {
            let row = answers.get(key).and_then(|rows| rows.lines().next()?.split_once('\t'));
            match row.and_then(|(_, uptime)| uptime.trim().parse().ok()) {
                Some(uptime) => (State::Ok, format!("up {}", span(uptime))),
                None => (State::Bad, "does not answer".into()),
            }
        }
    }
}

/// `12 waiting, 2 running`; with `look: ` before it when there are more that nobody runs.
fn read_jobs(text: &str) -> (State, String) {
    let last = text.lines().last().unwrap_or_default();
    match last.strip_prefix("look: ") {
        Some(found) => (State::Warn, format!("{found}: hactl app jobs")),
        None => (State::Ok, last.to_owned()),
    }
}

fn read_redis(text: &str) -> (State, String) {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(str::trim)
    };
    let number = |key: &str| value(key).and_then(|text| text.parse::<u64>().ok());
    for key in ["aof_last_write_status", "rdb_last_bgsave_status"] {
        if let Some(status) = value(key).filter(|status| *status != "ok") {
            return (State::Bad, format!("{key} is {status}: it cannot write to its disk"));
        }
    }
    let mib = |bytes: u64| bytes / 1_048_576;
    let used = mib(number("used_memory").unwrap_or(0));
    let memory = match number("maxmemory").unwrap_or(0) {
        0 => format!("{used} MiB"),
        limit => format!("{used} of {} MiB", mib(limit)),
    };
    match number("uptime_in_seconds") {
        Some(uptime) => (State::Ok, format!("up {}, {memory}", span(uptime))),
        None => (State::Warn, "answers, but says nothing about itself".into()),
    }
}

/// Rows of `df -P`: the fullest file system counts.
fn read_disk(text: &str) -> (State, String) {
    let mut fullest: Option<(u64, String)> = None;
    for line in text.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, _, _, free, used, mount, ..] = fields[..] else {
            continue;
        };
        let (Some(used), Ok(free)) = (
            used.strip_suffix('%').and_then(|used| used.parse().ok()),
            free.parse::<u64>(),
        ) else {
            continue;
        };
        if fullest.as_ref().is_none_or(|(most, _)| used > *most) {
            fullest = Some((
                used,
                format!("{mount} {used} % full, {:.1} GiB free", free as f64 / 1_048_576.0),
            ));
        }
    }
    match fullest {
        None => (State::Bad, "no answer".into()),
        Some((used, detail)) => {
            let state = match used {
                0..85 => State::Ok,
                85..95 => State::Warn,
                _ => State::Bad,
            };
            (state, detail)
        }
    }
}

/// A length of time in its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
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

    #[test]
    fn sites() {
        assert_eq!(read_site("200 0.031"), (State::Ok, "200 in 31 ms".into()));
        assert_eq!(read_site("301 2.5").0, State::Warn);
        assert_eq!(read_site("502 0.001").0, State::Bad);
        assert_eq!(read_site("").0, State::Bad);
    }

    #[test]
    fn jobs_that_nobody_runs_want_a_look() {
        assert_eq!(
            read_jobs("3 waiting, 1 running"),
            (State::Ok, "3 waiting, 1 running".into())
        );
        let (state, detail) = read_jobs("look: 3 waiting, 1 running, 2 cut off");
        assert_eq!(
            (state, detail.as_str()),
            (State::Warn, "3 waiting, 1 running, 2 cut off: hactl app jobs")
        );
    }

    #[test]
    fn redis_that_cannot_write_is_bad() {
        let text = "uptime_in_seconds=90\nused_memory=1048576\nmaxmemory=0\naof_last_write_status=ok\r";
        assert_eq!(read_redis(text), (State::Ok, "up 1 min, 1 MiB".into()));
        assert_eq!(read_redis(&text.replace("=ok", "=err")).0, State::Bad);
    }

    #[test]
    fn the_fullest_file_system_counts() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/a 100 10 1048576 10% /\n\
                    Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/b 100 90 2097152 90% /var/lib/mysql\n";
        assert_eq!(
            read_disk(text),
            (State::Warn, "/var/lib/mysql 90 % full, 2.0 GiB free".into())
        );
    }

    #[test]
    fn spans() {
        assert_eq!(
            [span(5), span(61), span(3700), span(90_000)],
            ["5 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
    }
}
