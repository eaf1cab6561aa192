//! `tls: { certbot }`: what an authority asks for, and what HTTP-01 cannot do.

use crate::inventory::HostRole;
use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{Certbot, Inventory, Tls};
use crate::inventory::raw::{RawInventory, RawSite, RawTlsMap};
use crate::inventory::rules;
use crate::inventory::yaml::{At, Either};

use super::check::Check;

/// Names in one certificate that authorities take.
const NAMES: usize = 100;

/// Top-level names that no public authority certifies (RFC 2606, RFC 6761, RFC 6762, ICANN's `internal`).
const PRIVATE: &[&str] = &["example", "internal", "invalid", "lan", "local", "localhost", "test"];

/// The mapping, which has `certbot`.
pub fn read(check: &mut Check, raw: &RawTlsMap) -> Option<Tls> {
    for (file, key) in [(&raw.certificate, "certificate"), (&raw.key, "key")] {
        if file.is_given() {
            check.report(
                Diagnostic::new("inventory::tls", format!("`{key}` and `certbot` exclude each other"))
                    .at(file.span, "a file that you have")
                    .at(raw.certbot.span, "a certificate that certbot gets")
                    .help("remove one of them"),
            );
        }
    }
    check.missing(&raw.certbot, "email", "`certbot`", raw.certbot.span);
    let (certbot, span) = raw.certbot.get()?;
    let email = check.required(&certbot.email, "email", "`certbot`", span, rules::email);
    if certbot.agree_tos.is_missing() || certbot.agree_tos.value == Some(false) {
        let place = match certbot.agree_tos.is_given() {
            true => certbot.agree_tos.span,
            false => span,
        };
        check.report(
            Diagnostic::new(
                "inventory::terms",
                "certbot needs your consent to the authority's terms of service",
            )
            .at(place, "`agree_tos: true` is missing")
            .help("an account at an authority means that its terms were agreed to; only you can do that"),
        );
    }
    let server = match certbot.server.is_given() {
        true => check.required(&certbot.server, "server", "`certbot`", span, rules::acme_directory),
        false => Certbot::LETS_ENCRYPT.to_owned(),
    };
    Some(Tls::Certbot(Certbot {
        email,
        server,
        self_check: certbot.self_check.or(true),
    }))
}

/// Refuses what cannot work, before an authority is asked: it counts attempts.
pub fn check(check: &mut Check, inventory: &Inventory, raw: &RawInventory) {
    let mut first: Option<(Span, Certbot)> = None;
    let mut accounts: Vec<(Span, Certbot)> = Vec::new();
    for (site, _) in raw.sites.value.iter().flatten().filter_map(At::get) {
        let tls = if site.tls.is_given() { &site.tls } else { &raw.tls };
        let (Some((Either::Map(map), _)), Some(name)) = (tls.get(), &site.name.value) else {
            continue;
        };
        let built = inventory.sites.iter().find(|built| built.name == *name);
        let Some(Tls::Certbot(certbot)) = built.map(|built| &built.tls) else {
            continue;
        };
        let span = map.certbot.span;
        first.get_or_insert((span, certbot.clone()));
        let other = accounts.iter().find(|(_, other)| other.server == certbot.server);
        match other {
            Some((place, other)) if other.email != certbot.email => {
                check.report(
                    Diagnostic::new(
                        "inventory::tls",
                        "one host has one account at an authority, with one `email`",
                    )
                    .at(span, certbot.email.clone())
                    .at(*place, other.email.clone())
                    .help("give both sites the same `email`, or write `tls` once for all sites"),
                );
            }
            Some(_) => {}
            None => accounts.push((span, certbot.clone())),
        }
        names(check, site, certbot, span);
    }
    if let Some((span, _)) = first {
        place(check, inventory, raw, span);
    }
}

fn names(check: &mut Check, site: &RawSite, certbot: &Certbot, tls: Span) {
    let aliases = site.aliases.value.as_deref().unwrap_or_default();
    let all: Vec<_> = [&site.name].into_iter().chain(aliases).filter_map(At::get).collect();
    for (name, span) in &all {
        let refusal = if name.starts_with("*.") {
            Some((
                "HTTP-01 proves no wildcard: the authority would have to ask every name".to_owned(),
                "name the aliases one by one, or give a certificate by files",
            ))
        } else if name.parse::<std::net::IpAddr>().is_ok() {
            Some((
                "certbot gets certificates for names, not for addresses".to_owned(),
                "use a name, or `tls: self-signed`",
            ))
        } else if certbot.server == Certbot::LETS_ENCRYPT && !public(name) {
            Some((
                format!("`{name}` is no public name, so Let's Encrypt does not certify it"),
                "use a public name, `server:` of an authority of your own, or `tls: self-signed`",
            ))
        } else {
            None
        };
        if let Some((why, help)) = refusal {
            check.report(
                Diagnostic::new("inventory::tls", why)
                    .at(*span, "this name")
                    .at(tls, "certbot is wanted for it")
                    .help(help),
            );
        }
    }
    if all.len() > NAMES {
        check.report(
            Diagnostic::new(
                "inventory::tls",
                format!(
                    "authorities take {NAMES} names in a certificate; these are {}",
                    all.len()
                ),
            )
            .at(site.aliases.span, "too many aliases")
            .help("make several sites of it, or give a certificate by files"),
        );
    }
}

fn public(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, top)| !PRIVATE.contains(&top))
}

/// The authority comes to port 80 of whatever the name leads to, and the answer must be there.
fn place(check: &mut Check, inventory: &Inventory, raw: &RawInventory, tls: Span) {
    let http_port = raw.nginx.value.as_ref().map(|nginx| &nginx.http_port);
    if let Some((port, span)) = http_port.and_then(At::get)
        && *port != 80
    {
        check.report(
            Diagnostic::new(
                "inventory::tls",
                "certbot needs port 80: HTTP-01 is asked there and nowhere else",
            )
            .at(span, "another port")
            .at(tls, "certbot is wanted here")
            .help("remove `http_port`, or give a certificate by files"),
        );
    }
    let with = |role: HostRole| {
        let hosts = inventory.hosts.values().filter(move |host| host.roles.contains(&role));
        hosts.map(|host| host.name.as_str()).collect::<Vec<_>>()
    };
    // Behind load balancers nobody else has certificates.
    let balancers = with(HostRole::Lb);
    let web = if balancers.is_empty() {
        with(HostRole::App)
    } else {
        balancers
    };
    if web.len() > 1 {
        check.report(
            Diagnostic::new(
                "inventory::tls",
                format!("certbot needs a single host that ends TLS, and these are {}: {}", web.len(), web.join(", ")),
            )
            .at(tls, "certbot is wanted here")
            .help("each of them would ask for certificates of its own, and answer only its own challenges; give a certificate by files"),
        );
    }
}
