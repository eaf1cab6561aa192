//! What a cluster cannot survive, said beforehand.

use indexmap::IndexMap;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{Host, HostRole, Vip};
use crate::inventory::raw::RawInventory;

use super::check::Check;
use super::hosts::entries;

/// Warns about single points of failure, with the host that is one. A single server is one on purpose.
pub fn warn(check: &mut Check, raw: &RawInventory, hosts: &IndexMap<String, Host>, vips: &IndexMap<String, Vip>) {
    if hosts.len() < 2 {
        return;
    }
    let place = |name: &str| -> Option<Span> {
        let key = entries(&raw.hosts).iter().filter_map(|(key, _)| key.get());
        key.filter(|(text, _)| *text == name).map(|(_, span)| span).next()
    };
    let with = |role| {
        hosts
            .values()
            .filter(|host| host.roles.contains(&role))
            .collect::<Vec<_>>()
    };
    let mut labels: Vec<(&str, String)> = Vec::new();
    for (role, what) in [
        (HostRole::Lb, "the only load balancer"),
        (HostRole::App, "the only host that serves the application"),
        (HostRole::Worker, "the only host that works on jobs"),
        (HostRole::Db, "the only database"),
        (HostRole::Redis, "the only Redis"),
    ] {
        if let [only] = with(role).as_slice() {
            labels.push((&only.name, what.into()));
        }
    }
    let pair = hosts.values().any(|host| host.standby);
    if let [_, second] = with(HostRole::Redis).as_slice()
        && !pair
    {
        labels.push((
            &second.name,
            "two Redis: when one is lost, no majority can promote the other".into(),
        ));
    }
    if let [_, second, ..] = with(HostRole::Lb).as_slice()
        && vips.is_empty()
    {
        labels.push((
            &second.name,
            "a second load balancer, but no vip that moves to it".into(),
        ));
    }
    if let [_, second, ..] = with(HostRole::App).as_slice()
        && with(HostRole::Lb).is_empty()
        && !pair
    {
        labels.push((
            &second.name,
            "nobody sends requests here: there is no load balancer".into(),
        ));
    }
    if labels.is_empty() {
        return;
    }
    let mut diagnostic = Diagnostic::warning(
        "inventory::single_point",
        "this cluster does not survive the loss of every host",
    );
    for (host, what) in labels {
        if let Some(span) = place(host) {
            diagnostic = diagnostic.at(span, what);
        }
    }
    check.report(diagnostic.help("give the role to one more host (three for Redis), or accept it"));
}
