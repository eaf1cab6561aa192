//! `dns` as written → as hactl uses it.

use std::net::IpAddr;
use std::time::Duration;

use indexmap::IndexMap;

use super::model::{Algorithm, Cloudflare, Dns, DnsProvider, DnsServer, ExecHook, Place, Rfc2136, Route53};
use super::raw::{RawAlgorithm, RawCloudflare, RawDns, RawDnsProvider, RawExec, RawPublic, RawRfc2136, RawRoute53};
use super::rules as own;
use crate::inventory::build::check::Check;
use crate::inventory::build::hosts::{RawHosts, known, usable};
use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{Host, SecretRef};
use crate::inventory::rules;
use crate::inventory::yaml::{At, OneOrList, SecretText};
use crate::secret::Secret;

/// Stands where the file has an error: it never becomes an inventory.
fn stand_in() -> SecretRef {
    SecretRef::Literal(Secret::new(""))
}

/// `public_address` of a host: at most one of a family.
pub fn public(check: &mut Check, raw: &At<RawPublic>) -> Vec<IpAddr> {
    let Some((given, span)) = raw.get() else {
        return Vec::new();
    };
    let items: Vec<(&String, Span)> = match given {
        OneOrList::Word(text) => vec![(text, span)],
        OneOrList::List(list) => list.iter().filter_map(At::get).collect(),
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (text, span) in items {
        let Some(address) = usable(check, text, span) else {
            continue;
        };
        match addresses.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            true => check.report(
                Diagnostic::new(
                    "inventory::address",
                    format!("a host has one public address of a family, and {address} is another"),
                )
                .at(span, "one too many")
                .help("a name leads to one host by one IPv4 and one IPv6 address"),
            ),
            false => addresses.push(address),
        }
    }
    addresses
}

/// `dns`.
pub fn build(check: &mut Check, raw: &At<RawDns>, hosts: &IndexMap<String, Host>, raw_hosts: &RawHosts) -> Option<Dns> {
    let (dns, span) = raw.get()?;
    check.missing(&dns.names, "names", "`dns`", span);
    let names = check.texts(&dns.names, rules::site);
    if let (Some((list, span)), true) = (dns.names.get(), names.is_empty())
        && list.is_empty()
    {
        check.report(Diagnostic::new("inventory::missing", "no name leads anywhere").at(span, "name at least one"));
    }
    let mut servers = Vec::new();
    for (text, span) in check.items(&dns.servers) {
        match server(text) {
            Some(server) if servers.contains(&server) => {
                check.report(
                    Diagnostic::new("inventory::duplicate", format!("the server {server} is given twice"))
                        .at(span, "again here"),
                );
            }
            Some(server) => servers.push(server),
            None => check.refuse(text, NO_SERVER, span),
        }
    }
    check.missing(&dns.provider, "provider", "`dns`", span);
    let ttl = check.number(&dns.ttl, 60, 1, 86_400);
    let wait = Duration::from_secs(check.number(&dns.wait, 60, 1, 3_600));
    let provider = match dns.provider.get() {
        Some((RawDnsProvider::Rfc2136(raw), span)) => DnsProvider::Rfc2136(rfc2136(check, raw, span, dns)),
        Some((RawDnsProvider::Route53(raw), span)) => DnsProvider::Route53(route53(check, raw, span)),
        Some((RawDnsProvider::Cloudflare(raw), span)) => {
            // Cloudflare's own rule; 1 is its word for "automatic", which a switch must not depend on.
            if let Some((ttl, span)) = dns.ttl.get().filter(|(ttl, _)| **ttl < 60) {
                check.report(
                    Diagnostic::new("inventory::number", format!("Cloudflare takes no TTL of {ttl} s"))
                        .at(span, "60 or more"),
                );
            }
            DnsProvider::Cloudflare(cloudflare(check, raw, span))
        }
        Some((RawDnsProvider::Exec(raw), span)) => DnsProvider::Exec(exec(check, raw, span)),
        None => return None,
    };
    Some(Dns {
        names,
        ttl,
        wait,
        servers,
        provider,
        places: places(check, hosts, raw_hosts, span),
    })
}

/// Where names can lead. When a host says its public address, those that say none are no place to lead to.
fn places(check: &mut Check, hosts: &IndexMap<String, Host>, raw: &RawHosts, dns: Span) -> Vec<Place> {
    let said = hosts.values().any(|host| !host.public_address.is_empty());
    let mut places: Vec<Place> = Vec::new();
    for host in hosts.values() {
        let addresses = match said {
            true => host.public_address.clone(),
            false => vec![host.address],
        };
        if addresses.is_empty() {
            continue;
        }
        let families = |addresses: &[IpAddr]| {
            let mut families: Vec<_> = addresses.iter().map(IpAddr::is_ipv4).collect();
            families.sort_unstable();
            families
        };
        if let Some(first) = places
            .iter()
            .find(|first| families(&first.addresses) != families(&addresses))
        {
            let span = |name: &str| {
                let (host, name) = known(raw, name);
                host.map_or(name, |host| match said {
                    true => host.public_address.span,
                    false => host.address.span,
                })
            };
            check.report(
                Diagnostic::new(
                    "inventory::dns",
                    format!("`{}` and `{}` have addresses of different families", first.host, host.name),
                )
                .at(span(&host.name), "these")
                .at(span(&first.host), "and these")
                .help(
                    "a name that has led to an IPv4 and an IPv6 address must do so everywhere; give both hosts the same kinds of `public_address`",
                ),
            );
        }
        places.push(Place {
            host: host.name.clone(),
            addresses,
        });
    }
    // One whose addresses were refused would be another place.
    let given = |host: &&Host| {
        known(raw, &host.name)
            .0
            .is_some_and(|host| host.public_address.is_given())
    };
    let refused = hosts.values().filter(given).any(|host| host.public_address.is_empty());
    if refused {
        return places;
    }
    if places.len() == 1 && hosts.len() > 1 {
        check.report(
            Diagnostic::new(
                "inventory::dns",
                format!(
                    "names can lead to `{}` only: no other host has a public address",
                    places[0].host
                ),
            )
            .at(dns, "wanted here")
            .help("give another host its `public_address`, too"),
        );
    } else if places.len() == 1 {
        check.report(
            Diagnostic::new("inventory::dns", "there is one host: names have nowhere else to lead")
                .at(dns, "wanted here")
                .help("remove `dns`, or add the host that takes over"),
        );
    }
    places
}

fn rfc2136(check: &mut Check, raw: &RawRfc2136, span: Span, dns: &RawDns) -> Rfc2136 {
    let owner = "`provider`";
    let zone = check.required(&raw.zone, "zone", owner, span, rules::site);
    for (name, place) in dns.names.value.iter().flatten().filter_map(At::get) {
        let inside = *name == zone || name.strip_suffix(&zone).is_some_and(|rest| rest.ends_with('.'));
        if !zone.is_empty() && !inside && rules::site(name).is_ok() {
            check.report(
                Diagnostic::new("inventory::dns", format!("`{name}` is not in the zone `{zone}`"))
                    .at(place, "this name")
                    .at(raw.zone.span, "this zone")
                    .help("an update is about one zone; names of another one need an inventory of their own, or `kind: exec`"),
            );
        }
    }
    check.missing(&raw.server, "server", owner, span);
    let server = raw.server.get().and_then(|(text, span)| {
        let server = server(text);
        if server.is_none() {
            check.refuse(text, NO_SERVER, span);
        }
        server
    });
    Rfc2136 {
        server: server.unwrap_or(DnsServer {
            host: String::new(),
            port: 53,
        }),
        zone,
        key: check.required(&raw.key, "key", owner, span, own::tsig_key),
        algorithm: match raw.algorithm.value {
            None | Some(RawAlgorithm::Sha256) => Algorithm::Sha256,
            Some(RawAlgorithm::Sha384) => Algorithm::Sha384,
            Some(RawAlgorithm::Sha512) => Algorithm::Sha512,
        },
        secret: secret(check, &raw.secret, "secret", Dns::TSIG, span),
    }
}

fn route53(check: &mut Check, raw: &RawRoute53, span: Span) -> Route53 {
    let owner = "`provider`";
    check.missing(&raw.access_key_id, "access_key_id", owner, span);
    // The id is no secret, though it often comes from where secrets do.
    let id = match raw.access_key_id.get() {
        Some((text, _)) if text.tag.is_none() && !text.text.trim().is_empty() => {
            Some(SecretRef::Literal(Secret::new(text.text.trim())))
        }
        _ => check.secret(&raw.access_key_id, Dns::AWS_ID),
    };
    Route53 {
        zone_id: check.required(&raw.zone_id, "zone_id", owner, span, own::route53_zone),
        id: id.unwrap_or_else(stand_in),
        key: secret(check, &raw.secret_access_key, "secret_access_key", Dns::AWS_KEY, span),
        session: check.secret(&raw.session_token, Dns::AWS_SESSION),
        region: check
            .text(&raw.region, own::aws_region)
            .unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint: endpoint(check, &raw.endpoint, Route53::ENDPOINT),
    }
}

fn cloudflare(check: &mut Check, raw: &RawCloudflare, span: Span) -> Cloudflare {
    Cloudflare {
        zone_id: check.required(&raw.zone_id, "zone_id", "`provider`", span, own::cloudflare_zone),
        token: secret(check, &raw.token, "token", Dns::CLOUDFLARE, span),
        endpoint: endpoint(check, &raw.endpoint, Cloudflare::ENDPOINT),
    }
}

fn exec(check: &mut Check, raw: &RawExec, span: Span) -> ExecHook {
    check.missing(&raw.run, "run", "`provider`", span);
    if let Some((_, span)) = raw.run.get().filter(|(run, _)| run.0.trim().is_empty()) {
        check.report(Diagnostic::new("inventory::value", "this is no command").at(span, "empty"));
    }
    ExecHook {
        run: raw.run.value.clone().unwrap_or_default().0,
        token: check.secret(&raw.token, Dns::EXEC),
        timeout: Duration::from_secs(check.number(&raw.timeout, 60, 1, 3_600)),
    }
}

fn secret(check: &mut Check, raw: &At<SecretText>, key: &str, canonical: &str, span: Span) -> SecretRef {
    check.missing(raw, key, "`provider`", span);
    check.secret(raw, canonical).unwrap_or_else(stand_in)
}

fn endpoint(check: &mut Check, raw: &At<String>, default: &str) -> String {
    let given = check.text(raw, own::api_endpoint);
    let given = given.unwrap_or_else(|| default.to_owned());
    given.trim_end_matches('/').to_owned()
}

const NO_SERVER: &str = "is no name server: an address or a host name, with `:PORT` when it is not 53";

/// `10.0.0.53`, `ns1.example.com:5353`, `[2001:db8::53]:5353`.
fn server(text: &str) -> Option<DnsServer> {
    let of = |host: &str, port: u16| DnsServer {
        host: host.to_owned(),
        port,
    };
    if text.parse::<IpAddr>().is_ok() {
        return Some(of(text, 53));
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return (address.port() > 0).then(|| of(&address.ip().to_string(), address.port()));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => (text, 53),
    };
    // Four numbers that are no address are a slip, not a name.
    let named = rules::site(host).is_ok() && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    named.then(|| of(host, port))
}
