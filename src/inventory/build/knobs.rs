//! Database, Redis, web server, operating system.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{
    App, Files, Host, HostRole, Inventory, MariaDb, Memcached, Nginx, Redis, Rolling, System,
};
use crate::inventory::raw::{
    RawFiles, RawInventory, RawMariaDb, RawMemcached, RawNginx, RawRedis, RawRolling, RawSystem,
};
use crate::inventory::rules;
use crate::inventory::yaml::At;

use super::check::Check;
use super::routes;

/// MariaDB reads option files in pieces of 4 KiB and takes the next piece of a longer line for a line of its own. A value
/// may double in length when it is quoted.
const OPTION_LINE: usize = 4000;

/// `mariadb`.
pub fn mariadb(check: &mut Check, raw: &At<RawMariaDb>) -> MariaDb {
    let empty = RawMariaDb::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    let mut settings = BTreeMap::new();
    if let Some((given, span)) = raw.settings.get() {
        for (name, value) in given {
            if let Err(why) = rules::mariadb_setting(name) {
                check.refuse(name, &why, span);
            }
            // These lines go into an option file, where text has no escapes for line breaks.
            let plain = match value {
                Value::String(text) => !text.contains(['\n', '\t']) && name.len() + 2 * text.len() < OPTION_LINE,
                Value::Bool(_) | Value::Number(_) => true,
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            };
            if !plain {
                let message = format!(
                    "`{}` must be text on one line of at most {} bytes, a number, or true/false",
                    name.chars().take(60).collect::<String>(),
                    OPTION_LINE / 2 - 64
                );
                check.report(Diagnostic::new("inventory::value", message).at(span, "in these settings"));
            }
            settings.insert(name.clone(), value.clone());
        }
    }
    MariaDb {
        port: check.port(&raw.port, 3306),
        buffer_pool_mb: check.optional(&raw.buffer_pool_mb, 16, 16_000_000),
        max_connections: check.number(&raw.max_connections, 200, 10, 100_000),
        semi_sync: raw.semi_sync.or(true),
        keep_config: raw.keep_config.or(false),
        settings,
    }
}

/// `redis`.
pub fn redis(check: &mut Check, raw: &At<RawRedis>, hosts: &IndexMap<String, Host>) -> Redis {
    let empty = RawRedis::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    let sentinels = hosts.values().filter(|h| h.roles.contains(&HostRole::Redis)).count();
    if let Some((quorum, span)) = raw.quorum.get() {
        let reachable = u32::try_from(sentinels).unwrap_or(u32::MAX);
        if *quorum == 0 || *quorum > reachable {
            check.report(
                Diagnostic::new(
                    "inventory::quorum",
                    format!("{quorum} sentinels can never agree: {sentinels} host(s) have Redis"),
                )
                .at(span, format!("1 to {sentinels}"))
                .help("leave it out for a majority"),
            );
        }
    }
    Redis {
        cache_port: check.port(&raw.cache_port, 13000),
        queue_port: check.port(&raw.queue_port, 11000),
        cache_maxmemory_mb: check.optional(&raw.cache_maxmemory_mb, 1, 16_000_000),
        quorum: raw.quorum.value,
    }
}

/// `memcached`.
pub fn memcached(check: &mut Check, raw: &At<RawMemcached>) -> Memcached {
    let empty = RawMemcached::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    Memcached {
        port: check.port(&raw.port, 11211),
        memory_mb: check.number(&raw.memory_mb, 64, 1, 1_000_000),
    }
}

/// `nginx`.
pub fn nginx(check: &mut Check, raw: &At<RawNginx>, hosts: &IndexMap<String, Host>) -> Nginx {
    let empty = RawNginx::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    Nginx {
        client_max_body_mb: check.number(&raw.client_max_body_mb, 50, 1, 1_000_000),
        http_port: check.port(&raw.http_port, 80),
        https_port: check.port(&raw.https_port, 443),
        app_port: check.port(&raw.app_port, 8080),
        routes: routes::build(check, &raw.routes, hosts),
    }
}

/// `files`.
pub fn files(check: &mut Check, raw: &At<RawFiles>, hosts: &IndexMap<String, Host>, app: &App) -> Files {
    let runs_app = |host: &&Host| host.roles.contains(&HostRole::App) || host.roles.contains(&HostRole::Worker);
    let several = hosts.values().filter(runs_app).nth(1).is_some();
    let Some((given, span)) = raw.get() else {
        return if several { Files::Rsync } else { Files::Local };
    };
    match given {
        RawFiles::Local => Files::Local,
        RawFiles::Rsync => {
            if matches!(app, App::Wsgi(_)) {
                check.report(
                    Diagnostic::new("inventory::files", "only the files of Frappe's sites can be shared")
                        .at(span, "of a WSGI app nobody knows which files are its")
                        .help("remove it, and mount what the app keeps"),
                );
            }
            Files::Rsync
        }
        RawFiles::Gluster => {
            let hosts: Vec<&Host> = hosts.values().filter(runs_app).collect();
            gluster(check, &hosts, app, span);
            Files::Gluster
        }
    }
}

/// What a volume of GlusterFS cannot be made of.
fn gluster(check: &mut Check, hosts: &[&Host], app: &App, span: Span) {
    let mut refuse = |message: &str, label: String, help: &str| {
        check.report(Diagnostic::new("inventory::files", message).at(span, label).help(help));
    };
    if matches!(app, App::Wsgi(_)) {
        refuse(
            "only the files of Frappe's sites can be shared",
            "of a WSGI app nobody knows which files are its".into(),
            "remove it, and mount what the app keeps",
        );
        return;
    }
    if hosts.iter().any(|host| host.standby) {
        refuse(
            "the files of a pair cannot be on GlusterFS",
            "of two copies none may be written when the wrong one is lost".into(),
            "remove it: the host that waits takes the files by rsync, and has them when it serves",
        );
        return;
    }
    if let Some(host) = hosts.iter().find(|host| host.address.is_ipv6()) {
        refuse(
            "GlusterFS is set up over IPv4 only",
            format!("{} has the address {}", host.name, host.address),
            "give the hosts that run the application IPv4 addresses, or write `files: rsync`",
        );
    }
    match hosts {
        [_, _, _, ..] => {}
        [first, second] => check.report(
            Diagnostic::warning(
                "inventory::files",
                "two copies of the files do not survive the loss of each host",
            )
            .at(
                span,
                format!("without {} there are no files until it is back", first.name),
            )
            .help(format!(
                "two cannot tell a dead host from a cut network, so {} alone decides, and the loss of {} alone is \
                     survived; a third host that runs the application makes it a majority; `files: rsync` needs none",
                first.name, second.name
            )),
        ),
        _ => refuse(
            "GlusterFS needs at least two hosts that run the application",
            "there is one".into(),
            "remove it, or give another host the role `app` or `worker`",
        ),
    }
}

/// `system`.
pub fn system(check: &mut Check, raw: &At<RawSystem>) -> System {
    let empty = RawSystem::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    let mut sysctl = BTreeMap::new();
    for (key, value) in raw
        .sysctl
        .value
        .as_ref()
        .map_or(&[][..], |entries| entries.0.as_slice())
    {
        let Some((name, span)) = key.get() else { continue };
        if let Err(why) = rules::sysctl(name) {
            check.refuse(name, &why, span);
        }
        check.empty(value, &format!("sysctl `{name}`"), span);
        sysctl.insert(name.clone(), value.value.clone().unwrap_or_default());
    }
    System {
        packages: check.texts(&raw.packages, rules::debian_package),
        sysctl,
        timezone: check.text(&raw.timezone, rules::timezone),
        apt_update_max_age_hours: check.number(&raw.apt_update_max_age_hours, 24, 0, 8760),
    }
}

/// `rolling`.
pub fn rolling(check: &mut Check, raw: &At<RawRolling>) -> Rolling {
    let empty = RawRolling::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    Rolling {
        batch: check.number(&raw.batch, 1, 1, 1000),
    }
}

/// Servers that replicate need an option file that says so.
pub fn check_replicas(check: &mut Check, inventory: &Inventory, raw: &RawInventory) {
    let databases = inventory
        .hosts
        .values()
        .filter(|host| host.roles.contains(&HostRole::Db))
        .count();
    let keep = raw.mariadb.value.as_ref().and_then(|mariadb| mariadb.keep_config.get());
    if let (true, true, Some((_, span))) = (databases > 1, inventory.mariadb.keep_config, keep) {
        check.report(
            Diagnostic::new(
                "inventory::keep_config",
                "databases that replicate need hactl's configuration",
            )
            .at(span, "keeps another")
            .help("remove it, and put what you want to keep into `mariadb.settings`"),
        );
    }
}
