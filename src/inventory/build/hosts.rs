//! Hosts, their roles, and whether they make a cluster together.

use std::collections::HashMap;
use std::net::IpAddr;

use indexmap::IndexMap;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{App, Host, HostRole, Inventory, Ssh, TransportKind};
use crate::inventory::raw::{List, RawHost, RawInventory, RawRole};
use crate::inventory::roles::Use;
use crate::inventory::rules;
use crate::inventory::yaml::{At, Entries, Given};

use super::check::{Check, INVENTORY, Seen};
use super::{ssh, workers};

pub(super) type RawHosts = At<Entries<RawHost>>;

/// The hosts, each with defaults and its own ssh settings.
pub fn build(check: &mut Check, raw: &RawHosts, global: &Ssh) -> IndexMap<String, Host> {
    check.missing(raw, "hosts", INVENTORY, Span::default());
    let mut hosts = IndexMap::new();
    let mut addresses: HashMap<IpAddr, (String, Span)> = HashMap::new();
    for (key, entry) in entries(raw) {
        let Some((name, name_span)) = key.get() else { continue };
        if let Err(why) = rules::host(name) {
            check.refuse(name, &why, name_span);
        }
        let empty = RawHost::default();
        let raw_host = match entry.value.as_ref() {
            Some(host) => host,
            None if entry.is_missing() => &empty,
            // It was reported that this is no mapping.
            None => continue,
        };
        check.missing(&raw_host.address, "address", &format!("host `{name}`"), name_span);
        let ssh = ssh::of_host(check, &raw_host.ssh, global);
        let address = address(check, &raw_host.address, ssh.transport);
        if let (Some(address), Some((_, span))) = (address, raw_host.address.get()) {
            if let Some((other, first)) = addresses.get(&address) {
                check.report(
                    Diagnostic::new(
                        "inventory::duplicate_address",
                        format!("two hosts have the address {address}"),
                    )
                    .at(span, format!("again used by `{name}`"))
                    .at(*first, format!("first used by `{other}`")),
                );
            } else {
                addresses.insert(address, (name.clone(), span));
            }
        }
        let host = Host {
            name: name.clone(),
            address: address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            roles: roles(check, raw_host),
            primary: raw_host.primary.or(false),
            standby: raw_host.standby.or(false),
            workers: workers::of_host(check, raw_host),
            group: check.text(&raw_host.group, rules::word),
            ssh,
        };
        hosts.insert(name.clone(), host);
    }
    if hosts.is_empty() {
        if let Some((_, span)) = raw.get() {
            check.report(Diagnostic::new("inventory::missing", "there are no hosts").at(span, "name at least one"));
        }
        return hosts;
    }
    check_standby(check, raw, &mut hosts);
    check_primary(check, raw, &mut hosts);
    check_cover(check, raw, &hosts);
    hosts
}

/// Roles of the user's own, for all hosts and for single ones.
pub fn uses(check: &mut Check, raw: &RawInventory) -> Vec<Use> {
    let mut uses = Vec::new();
    let mut add = |check: &mut Check, list: &List<String>, host: Option<&String>| {
        let mut seen = Seen::new("role");
        for (role, span) in check.items(list) {
            match rules::word(role) {
                Err(why) => check.refuse(role, &why, span),
                Ok(()) if seen.add(check, role, span) => uses.push(Use {
                    role: role.clone(),
                    span,
                    host: host.cloned(),
                }),
                Ok(()) => {}
            }
        }
    };
    add(check, &raw.uses, None);
    for (name, host) in entries(&raw.hosts) {
        if let (Some(name), Some(host)) = (&name.value, &host.value) {
            add(check, &host.uses, Some(name));
        }
    }
    uses
}

pub(super) fn entries(raw: &RawHosts) -> &[(At<String>, At<RawHost>)] {
    raw.value.as_ref().map_or(&[], |entries| entries.0.as_slice())
}

/// Raw hosts that became hosts, with the place of their name.
pub(super) fn known<'a>(raw: &'a RawHosts, name: &str) -> (Option<&'a RawHost>, Span) {
    let found = entries(raw).iter().find(|(key, _)| key.value.as_deref() == Some(name));
    found.map_or((None, raw.span), |(key, host)| (host.value.as_ref(), key.span))
}

fn address(check: &mut Check, at: &At<String>, transport: TransportKind) -> Option<IpAddr> {
    let (text, span) = at.get()?;
    let Ok(address) = text.parse::<IpAddr>() else {
        check.report(
            Diagnostic::new("inventory::address", format!("`{text}` is no IP address"))
                .at(span, "expected an address such as 10.0.0.11")
                .help("names are not possible here: peers, firewalls and grants need the address itself"),
        );
        return None;
    };
    // `::ffff:10.0.0.1` is 10.0.0.1.
    let address = address.to_canonical();
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let loopback = address.is_loopback() && transport != TransportKind::Local;
    if address.is_unspecified() || address.is_multicast() || broadcast || loopback {
        let mut diagnostic =
            Diagnostic::new("inventory::address", format!("{address} is not an address of a host")).at(span, "refused");
        if loopback {
            diagnostic = diagnostic.help("for this very machine add `ssh: { transport: local }`");
        }
        check.report(diagnostic);
        return None;
    }
    Some(address)
}

fn roles(check: &mut Check, raw: &RawHost) -> Vec<HostRole> {
    let full = vec![HostRole::App, HostRole::Worker, HostRole::Db, HostRole::Redis];
    if raw.roles.is_missing() {
        return full;
    }
    let mut roles = Vec::new();
    let mut places: HashMap<HostRole, Span> = HashMap::new();
    if raw.roles.value.as_ref().is_some_and(Vec::is_empty) {
        check.report(
            Diagnostic::new("inventory::roles", "a host without roles does nothing")
                .at(raw.roles.span, "empty")
                .help("name its roles, or leave `roles` out for a full server (app, worker, db, redis)"),
        );
    }
    for (role, span) in check.items(&raw.roles) {
        let role = match role {
            RawRole::Lb => HostRole::Lb,
            RawRole::App => HostRole::App,
            RawRole::Worker => HostRole::Worker,
            RawRole::Db => HostRole::Db,
            RawRole::Redis => HostRole::Redis,
            RawRole::Memcached => HostRole::Memcached,
        };
        if let Some(first) = places.insert(role, span) {
            check.report(
                Diagnostic::new("inventory::duplicate", format!("role `{}` is given twice", role.word()))
                    .at(span, "again here")
                    .at(first, "first here"),
            );
            continue;
        }
        roles.push(role);
    }
    // The order on paper means nothing; a fixed one keeps what is derived from it stable.
    roles.sort();
    roles
}

fn is_full(host: &Host) -> bool {
    [HostRole::App, HostRole::Worker, HostRole::Db, HostRole::Redis]
        .iter()
        .all(|role| host.roles.contains(role))
}

/// Two full servers, of which one waits.
fn is_pair(hosts: &IndexMap<String, Host>) -> bool {
    hosts.len() == 2 && hosts.values().all(is_full)
}

fn check_standby(check: &mut Check, raw: &RawHosts, hosts: &mut IndexMap<String, Host>) {
    let pair = is_pair(hosts);
    let standby: Vec<String> = hosts.values().filter(|h| h.standby).map(|h| h.name.clone()).collect();
    if !pair {
        for name in &standby {
            let (host, name_span) = known(raw, name);
            let span = host.map_or(name_span, |h| h.standby.span);
            check.report(
                Diagnostic::new(
                    "inventory::standby",
                    format!("`{name}` cannot be a standby in this cluster"),
                )
                .at(span, "needs exactly two full servers")
                .help(
                    "a standby is one of two hosts that both do everything; with more hosts, the roles say who waits",
                ),
            );
        }
        return;
    }
    let (first, second) = (&hosts[0].name, &hosts[1].name);
    if let [one, ..] = standby.as_slice()
        && let Some(balancer) = hosts.values().find(|host| host.roles.contains(&HostRole::Lb))
    {
        let (host, name_span) = known(raw, &balancer.name);
        check.report(
            Diagnostic::new(
                "inventory::standby",
                "a pair has no load balancer: only one of the two serves",
            )
            .at(host.map_or(name_span, |h| h.roles.span), "`lb` here")
            .at(known(raw, one).0.map_or(raw.span, |h| h.standby.span), "standby here")
            .help("remove the role `lb`; a `vip` leads to the one that serves"),
        );
    }
    match standby.as_slice() {
        [] => {
            let (_, span) = known(raw, second);
            check.report(
                Diagnostic::new(
                    "inventory::standby",
                    format!("`{first}` and `{second}` both do everything: which one waits?"),
                )
                .at(span, "the usual choice")
                .help(format!("add `standby: true` to one of them, e.g. to `{second}`")),
            );
        }
        [one] => {
            let one = one.clone();
            if hosts.get(&one).is_some_and(|h| h.primary) {
                let (host, name_span) = known(raw, &one);
                let span = host.map_or(name_span, |h| h.primary.span);
                check.report(
                    Diagnostic::new(
                        "inventory::primary",
                        format!("`{one}` cannot be both primary and standby"),
                    )
                    .at(span, "primary here")
                    .at(host.map_or(name_span, |h| h.standby.span), "standby here"),
                );
            } else if let Some(other) = hosts.values_mut().find(|h| h.name != one) {
                other.primary = true;
            }
        }
        [_, ..] => {
            let spans: Vec<Span> = standby
                .iter()
                .map(|n| known(raw, n).0.map_or(raw.span, |h| h.standby.span))
                .collect();
            check.report(
                Diagnostic::new("inventory::standby", "both hosts are standby: nobody serves")
                    .at(spans[1], "one of them")
                    .at(spans[0], "must go")
                    .help("remove `standby` from the one that serves"),
            );
        }
    }
}

fn check_primary(check: &mut Check, raw: &RawHosts, hosts: &mut IndexMap<String, Host>) {
    let place = |name: &str| known(raw, name).0.map_or(raw.span, |h| h.primary.span);
    for host in hosts.values().filter(|h| h.primary && !h.roles.contains(&HostRole::Db)) {
        check.report(
            Diagnostic::new(
                "inventory::primary",
                format!("`{}` is primary but has no database", host.name),
            )
            .at(place(&host.name), "only a host with the role `db`")
            .help("add `db` to its roles, or remove `primary`"),
        );
    }
    let databases: Vec<String> = hosts
        .values()
        .filter(|h| h.roles.contains(&HostRole::Db))
        .map(|h| h.name.clone())
        .collect();
    let primaries: Vec<&String> = databases.iter().filter(|name| hosts[*name].primary).collect();
    match (primaries.as_slice(), databases.as_slice()) {
        ([first, rest @ ..], _) => {
            for other in rest {
                // In a pair the other one may have become primary by itself; then the standby is what is wrong.
                check.report(
                    Diagnostic::new("inventory::primary", format!("two primaries: `{first}` and `{other}`"))
                        .at(place(other), "second primary")
                        .at(place(first), "first primary")
                        .help("one database takes the writes; the others replicate"),
                );
            }
        }
        ([], [only]) => {
            if let Some(host) = hosts.get_mut(only) {
                host.primary = true;
            }
        }
        ([], [_, second, ..]) if !is_pair(hosts) && !hosts.values().any(|h| h.standby) => {
            let (_, span) = known(raw, &databases[0]);
            check.report(
                Diagnostic::new("inventory::primary", "several databases, but none is the primary")
                    .at(span, "a candidate")
                    .at(known(raw, second).1, "another one")
                    .help(format!(
                        "add `primary: true` to the one that takes the writes at birth, e.g. `{}`",
                        databases[0]
                    )),
            );
        }
        _ => {}
    }
}

/// Every part of the stack must live somewhere.
fn check_cover(check: &mut Check, raw: &RawHosts, hosts: &IndexMap<String, Host>) {
    // What was written wrongly may have been the missing role; that was reported.
    let unreadable = entries(raw).iter().any(|(_, host)| {
        let roles = host.value.as_ref().map(|h| &h.roles);
        let items = roles.and_then(|r| r.value.as_deref()).unwrap_or_default();
        host.given == Given::Wrong
            || roles.is_some_and(|r| r.given == Given::Wrong)
            || items.iter().any(|item| item.given == Given::Wrong)
    });
    if unreadable {
        return;
    }
    for (role, what) in [
        (HostRole::App, "no host serves the application"),
        (HostRole::Db, "no host has the database"),
        (HostRole::Redis, "no host has Redis"),
    ] {
        if !hosts.values().any(|h| h.roles.contains(&role)) {
            // The first host's name stands for the list: underlining all of it points nowhere.
            let span = entries(raw).first().map_or(raw.span, |(key, _)| key.span);
            check.report(
                Diagnostic::new("inventory::roles", what)
                    .at(span, format!("none of the hosts has the role `{}`", role.word()))
                    .help(format!("add `{}` to the roles of a host", role.word())),
            );
        }
    }
}

/// Work in the background needs a host, too.
pub fn check_workers(check: &mut Check, inventory: &Inventory, raw: &RawHosts) {
    let needed = match &inventory.app {
        App::Frappe(_) => true,
        App::Wsgi(app) => !app.workers.is_empty(),
    };
    if !needed || inventory.hosts.is_empty() || inventory.hosts.values().any(|h| h.roles.contains(&HostRole::Worker)) {
        return;
    }
    let span = entries(raw).first().map_or(raw.span, |(key, _)| key.span);
    check.report(
        Diagnostic::new("inventory::roles", "no host runs the background workers")
            .at(span, "none of the hosts has the role `worker`")
            .help("add `worker` to the roles of a host"),
    );
}
