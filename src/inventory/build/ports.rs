//! No two services of a host on one port.

use std::collections::HashSet;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{App, Files, Host, HostRole, Inventory};
use crate::inventory::raw::{RawApp, RawInventory};
use crate::inventory::yaml::At;

use super::check::Check;

/// A port in use, by whom, and where it was written (if it was).
struct Used {
    port: u16,
    by: &'static str,
    span: Option<Span>,
}

/// Reports each pair that collides once, with the first host where it does.
pub fn check(check: &mut Check, inventory: &Inventory, raw: &RawInventory) {
    let mut told = HashSet::new();
    for host in inventory.hosts.values() {
        let used = used(inventory, raw, host);
        for (i, one) in used.iter().enumerate() {
            for other in &used[i + 1..] {
                if one.port != other.port || !told.insert((one.by, other.by)) {
                    continue;
                }
                let message = format!(
                    "{} and {} both use port {} on `{}`",
                    one.by, other.by, one.port, host.name
                );
                let mut diagnostic = Diagnostic::new("inventory::port", message);
                for used in [one, other] {
                    if let Some(span) = used.span {
                        diagnostic = diagnostic.at(span, used.by);
                    }
                }
                let defaults: Vec<&str> = [one, other].iter().filter(|u| u.span.is_none()).map(|u| u.by).collect();
                if defaults.len() == 2 {
                    diagnostic = diagnostic.at(key_span(raw, host), "here");
                }
                check.report(diagnostic.help(match defaults.as_slice() {
                    [by] => format!("give one of them another port; {} is the default of {by}", one.port),
                    _ => "give one of them another port".to_owned(),
                }));
            }
        }
    }
}

/// Where the inventory names a host.
fn key_span(raw: &RawInventory, host: &Host) -> Span {
    let hosts = raw.hosts.value.as_ref().map_or(&[][..], |hosts| hosts.0.as_slice());
    let key = hosts.iter().find(|(key, _)| key.value.as_ref() == Some(&host.name));
    key.map_or(raw.hosts.span, |(key, _)| key.span)
}

fn used(inventory: &Inventory, raw: &RawInventory, host: &Host) -> Vec<Used> {
    let mut list = Vec::new();
    let mut add = |by, port, at: Option<&At<u16>>| {
        let span = at.and_then(|at| at.get()).map(|(_, span)| span);
        list.push(Used { port, by, span });
    };
    let raw_app = raw.app.value.as_ref();
    let hosts = raw.hosts.value.as_ref().map_or(&[][..], |hosts| hosts.0.as_slice());
    let own = hosts.iter().find(|(key, _)| key.value.as_ref() == Some(&host.name));
    let own_ssh = own.and_then(|(_, host)| host.value.as_ref()?.ssh.value.as_ref());
    let ssh_port = own_ssh.map(|ssh| &ssh.port).filter(|port| !port.is_missing());
    add(
        "sshd",
        host.ssh.port,
        ssh_port.or(raw.ssh.value.as_ref().map(|s| &s.port)),
    );
    let nginx = raw.nginx.value.as_ref();
    let balanced = inventory.hosts.values().any(|host| host.roles.contains(&HostRole::Lb));
    if balanced && host.roles.contains(&HostRole::App) {
        add(
            "nginx (for load balancers)",
            inventory.nginx.app_port,
            nginx.map(|n| &n.app_port),
        );
    }
    if host.roles.contains(&HostRole::Lb) || (host.roles.contains(&HostRole::App) && !balanced) {
        add("nginx (http)", inventory.nginx.http_port, nginx.map(|n| &n.http_port));
        add(
            "nginx (https)",
            inventory.nginx.https_port,
            nginx.map(|n| &n.https_port),
        );
    }
    if host.roles.contains(&HostRole::App) {
        match (&inventory.app, raw_app) {
            (App::Frappe(app), Some(RawApp::Frappe(raw))) => {
                add("gunicorn", app.process.web_port, Some(&raw.web_port));
                add("socketio", app.socketio_port, Some(&raw.socketio_port));
            }
            (App::Wsgi(app), Some(RawApp::Wsgi(raw))) => add("gunicorn", app.process.web_port, Some(&raw.web_port)),
            _ => {}
        }
    }
    let several = inventory.hosts.len() > 1;
    if several && (host.roles.contains(&HostRole::App) || host.roles.contains(&HostRole::Worker)) {
        add(
            "the endpoint of MariaDB's writer",
            inventory.mariadb.port.saturating_add(1),
            None,
        );
        add(
            "the endpoint of MariaDB's readers",
            inventory.mariadb.port.saturating_add(2),
            None,
        );
        add(
            "the endpoint of the redis cache",
            inventory.redis.cache_port.saturating_add(1),
            None,
        );
        add(
            "the endpoint of the redis queue",
            inventory.redis.queue_port.saturating_add(1),
            None,
        );
        add("the endpoints' own state", 8404, None);
        if inventory.files != Files::Local && host.roles.contains(&HostRole::App) {
            add("what gives files to other hosts", 9202, None);
        }
        if inventory.files == Files::Gluster {
            add("glusterd", 24007, None);
            add("glusterd's management", 24008, None);
            for port in 24010..=24040 {
                add("a copy of the files", port, None);
            }
        }
    }
    if several && host.roles.contains(&HostRole::Db) {
        add("the check of MariaDB's role", 9201, None);
    }
    if host.roles.contains(&HostRole::Db) {
        add(
            "mariadb",
            inventory.mariadb.port,
            raw.mariadb.value.as_ref().map(|m| &m.port),
        );
    }
    if host.roles.contains(&HostRole::Redis) {
        let redis = raw.redis.value.as_ref();
        add("redis cache", inventory.redis.cache_port, redis.map(|r| &r.cache_port));
        add("redis queue", inventory.redis.queue_port, redis.map(|r| &r.queue_port));
        if inventory.has_sentinels() {
            add("the sentinel", 26379, None);
        }
    }
    if host.roles.contains(&HostRole::Memcached) {
        let raw = raw.memcached.value.as_ref().map(|memcached| &memcached.port);
        add("memcached", inventory.memcached.port, raw);
    }
    list
}
