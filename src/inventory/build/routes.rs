//! Which requests go to which group of app hosts.

use indexmap::IndexMap;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{Host, HostRole, Inventory, Route};
use crate::inventory::raw::{List, RawInventory, RawRoute};
use crate::inventory::yaml::At;
use crate::inventory::{rules, suggest};

use super::check::Check;
use super::hosts::known;

/// `nginx.routes`.
pub fn build(check: &mut Check, raw: &List<RawRoute>, hosts: &IndexMap<String, Host>) -> Vec<Route> {
    let items = check.items(raw);
    items
        .into_iter()
        .map(|(route, span)| one(check, route, span, hosts))
        .collect()
}

fn one(check: &mut Check, raw: &RawRoute, span: Span, hosts: &IndexMap<String, Host>) -> Route {
    let to = check.required(&raw.to, "to", "a route", span, rules::word);
    if let Some((_, span)) = raw.to.get().filter(|_| !to.is_empty()) {
        let mut groups: Vec<&str> = hosts.values().filter_map(|host| host.group.as_deref()).collect();
        groups.dedup();
        if !groups.contains(&to.as_str()) {
            check.report(
                Diagnostic::new("inventory::route", format!("no app host is in the group `{to}`"))
                    .at(span, "unknown group")
                    .help(match groups.is_empty() {
                        true => format!("add `group: {to}` to the hosts that these requests are for"),
                        false => suggest::among(&to, groups.into_iter()),
                    }),
            );
        }
    }
    let route = Route {
        to,
        paths: check.texts(&raw.path, rules::path_prefix),
        cmds: check.texts(&raw.cmd, rules::frappe_method),
        doctypes: check.texts(&raw.doctype, rules::doctype),
        headers: headers(check, raw),
    };
    let given = raw.path.is_given() || raw.cmd.is_given() || raw.doctype.is_given() || raw.header.is_given();
    if !given {
        check.report(
            Diagnostic::new("inventory::route", "a route without conditions chooses no request")
                .at(span, "`path`, `cmd`, `doctype` or `header` is missing")
                .help("for all requests, leave the hosts without a group"),
        );
    }
    route
}

fn headers(check: &mut Check, raw: &RawRoute) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (key, value) in raw.header.value.as_ref().map_or(&[][..], |entries| &entries.0) {
        let Some((name, span)) = key.get() else { continue };
        if let Err(why) = rules::header_name(name) {
            check.refuse(name, &why, span);
        }
        check.empty(value, &format!("header `{name}`"), span);
        if let Some(text) = check.text(value, rules::header_value) {
            headers.push((name.clone(), text));
        }
    }
    headers
}

/// Groups are of app hosts behind load balancers, and leave hosts for everything else.
pub fn check_groups(check: &mut Check, inventory: &Inventory, raw: &RawInventory) {
    let place = |host: &Host| {
        let (raw_host, name) = known(&raw.hosts, &host.name);
        raw_host.map_or(name, |raw| raw.group.span)
    };
    let hosts = || inventory.hosts.values();
    let balanced = hosts().any(|host| host.roles.contains(&HostRole::Lb));
    for host in hosts().filter(|host| host.group.is_some() && !host.roles.contains(&HostRole::App)) {
        check.report(
            Diagnostic::new(
                "inventory::group",
                format!("`{}` is in a group, but serves no requests", host.name),
            )
            .at(place(host), "only for a host with the role `app`")
            .help("add `app` to its roles, or remove `group`"),
        );
    }
    let apps = || hosts().filter(|host| host.roles.contains(&HostRole::App));
    let grouped = apps().find(|host| host.group.is_some());
    if let Some(grouped) = grouped.filter(|_| apps().all(|host| host.group.is_some())) {
        check.report(
            Diagnostic::new(
                "inventory::group",
                "every app host is in a group: nobody serves the other requests",
            )
            .at(place(grouped), "one of them")
            .help("remove `group` from the hosts that serve what no route chooses"),
        );
    }
    let routes = raw.nginx.value.as_ref().map(|nginx| &nginx.routes).and_then(At::get);
    let unbalanced = routes
        .map(|(_, span)| span)
        .filter(|_| !inventory.nginx.routes.is_empty())
        .or(grouped.map(place))
        .filter(|_| !balanced && !inventory.hosts.is_empty());
    if let Some(span) = unbalanced {
        check.report(
            Diagnostic::new(
                "inventory::route",
                "nobody chooses among requests: there is no load balancer",
            )
            .at(span, "for load balancers only")
            .help("give a host the role `lb`, or remove this"),
        );
    }
    for host in apps().filter(|_| balanced) {
        let Some(group) = &host.group else { continue };
        if !inventory.nginx.routes.iter().any(|route| route.to == *group) {
            check.report(
                Diagnostic::warning("inventory::group", format!("no route leads to the group `{group}`"))
                    .at(place(host), "serves only when the others do not")
                    .help(format!(
                        "add a route under `nginx.routes`: `{{ to: {group}, path: [ ... ] }}`"
                    )),
            );
        }
    }
}
