//! Addresses that move between hosts, and what VRRP needs of them.

use std::collections::HashMap;
use std::net::IpAddr;

use indexmap::IndexMap;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{Host, HostRole, Vip};
use crate::inventory::raw::{RawVip, RawVipMap};
use crate::inventory::rules;
use crate::inventory::yaml::{At, Either, Entries};

use super::check::Check;
use super::hosts::{RawHosts, known};

/// The virtual addresses.
pub fn build(
    check: &mut Check,
    raw: &At<Entries<RawVip>>,
    hosts: &IndexMap<String, Host>,
    raw_hosts: &RawHosts,
) -> IndexMap<String, Vip> {
    let mut vips: IndexMap<String, Vip> = IndexMap::new();
    let mut places: HashMap<IpAddr, (String, Span)> = HashMap::new();
    let mut routers: HashMap<u8, (String, Span)> = HashMap::new();
    for host in hosts.values() {
        let span = known(raw_hosts, &host.name)
            .0
            .map_or(raw_hosts.span, |h| h.address.span);
        let owner = format!("host `{}`", host.name);
        places.entry(host.address).or_insert((owner, span));
    }
    let carried = hosts.values().any(|h| h.roles.contains(&HostRole::Lb)) || hosts.values().any(|h| h.standby);
    for (key, value) in raw.value.as_ref().map_or(&[][..], |entries| entries.0.as_slice()) {
        let Some((name, name_span)) = key.get() else { continue };
        if let Err(why) = rules::word(name) {
            check.refuse(name, &why, name_span);
        }
        check.empty(value, &format!("vip `{name}`"), name_span);
        let empty = RawVipMap::default();
        let (text, span, knobs) = match value.get() {
            Some((Either::Word(text), span)) => (text, span, &empty),
            Some((Either::Map(knobs), span)) => {
                check.missing(&knobs.address, "address", &format!("vip `{name}`"), span);
                match knobs.address.get() {
                    Some((text, span)) => (text, span, knobs),
                    None => continue,
                }
            }
            None => continue,
        };
        let Ok(net) = text.parse::<ipnet::IpNet>() else {
            let mut diagnostic = Diagnostic::new(
                "inventory::cidr",
                format!("`{text}` is no address with a prefix length"),
            )
            .at(span, "expected e.g. 10.0.0.100/24");
            if let Ok(address) = text.parse::<IpAddr>() {
                let prefix = if address.is_ipv4() { 24 } else { 64 };
                diagnostic = diagnostic.help(format!("did you mean `{text}/{prefix}`?"));
            }
            check.report(diagnostic);
            continue;
        };
        let address = net.addr();
        let host_bits = net.max_prefix_len() - net.prefix_len();
        let unusable = host_bits > 1 && (address == net.network() || (address.is_ipv4() && address == net.broadcast()));
        if unusable
            || net.prefix_len() == 0
            || address.is_multicast()
            || address.is_loopback()
            || address.is_unspecified()
        {
            check.report(
                Diagnostic::new(
                    "inventory::cidr",
                    format!("{net} is not an address that a host can take"),
                )
                .at(span, "refused")
                .help("write the address itself with the prefix length of its network, e.g. 10.0.0.100/24"),
            );
            continue;
        }
        if let Some((owner, first)) = places.get(&address) {
            check.report(
                Diagnostic::new("inventory::duplicate_address", format!("{address} is taken by {owner}"))
                    .at(span, format!("again used by vip `{name}`"))
                    .at(*first, "first used here")
                    .help("a vip moves between hosts; it needs an address of its own"),
            );
            continue;
        }
        places.insert(address, (format!("vip `{name}`"), span));
        if !carried && !hosts.is_empty() {
            check.report(
                Diagnostic::new("inventory::vip", format!("vip `{name}` has no host that can carry it"))
                    .at(name_span, "needs a load balancer")
                    .help(
                        "give a host the role `lb`, make two full servers with one `standby: true`, or remove the vip",
                    ),
            );
        }
        family(check, net, span, hosts, raw_hosts);
        let (virtual_router_id, id_span) = router(check, knobs, address, span);
        if let Some((other, first)) = routers.get(&virtual_router_id) {
            check.report(
                Diagnostic::new(
                    "inventory::vip",
                    format!("vips `{other}` and `{name}` have the same VRRP router, {virtual_router_id}"),
                )
                .at(id_span, "again here")
                .at(*first, "first here")
                .help(format!(
                    "give one of them a number of its own: `{name}: {{ address: {net}, virtual_router_id: 51 }}`"
                )),
            );
        }
        routers
            .entry(virtual_router_id)
            .or_insert_with(|| (name.clone(), id_span));
        vips.insert(
            name.clone(),
            Vip {
                name: name.clone(),
                address: net,
                virtual_router_id,
                interface: check.text(&knobs.interface, rules::interface),
            },
        );
    }
    vips
}

/// The number of its VRRP router, and where it comes from.
fn router(check: &mut Check, knobs: &RawVipMap, address: IpAddr, span: Span) -> (u8, Span) {
    if let Some((id, span)) = knobs.virtual_router_id.get() {
        if *id == 0 {
            check.report(Diagnostic::new("inventory::number", "0 is no VRRP router").at(span, "1 to 255"));
        }
        return (*id, span);
    }
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    (if last == 0 { 255 } else { last }, span)
}

/// Load balancers, or the two of a pair, tell each other over their own addresses, and VRRP carries those of one family only.
fn family(check: &mut Check, net: ipnet::IpNet, span: Span, hosts: &IndexMap<String, Host>, raw: &RawHosts) {
    let v4 = net.addr().is_ipv4();
    let pair = hosts.values().any(|host| host.standby);
    let carriers = || hosts.values().filter(|host| pair || host.roles.contains(&HostRole::Lb));
    if let Some(other) = carriers().find(|host| host.address.is_ipv4() != v4) {
        let place = known(raw, &other.name).0.map_or(raw.span, |host| host.address.span);
        check.report(
            Diagnostic::new(
                "inventory::vip",
                format!("{net} and the address of `{}` are not of one family", other.name),
            )
            .at(span, if v4 { "IPv4" } else { "IPv6" })
            .at(place, if v4 { "IPv6" } else { "IPv4" })
            .help("VRRP carries addresses of the family that the hosts which carry them speak with each other"),
        );
    }
}
