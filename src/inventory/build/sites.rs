//! Sites and their certificates.

use sha2::{Digest, Sha256};

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{App, Site, Tls};
use crate::inventory::raw::{List, RawSite, RawTls, RawTlsWord};
use crate::inventory::yaml::{At, Either};
use crate::inventory::{rules, suggest};

use super::certbot;
use super::check::{Check, INVENTORY, Seen};

/// The sites, each with its own TLS or the inventory's.
pub fn build(check: &mut Check, raw: &List<RawSite>, inventory_tls: &At<RawTls>, app: &App) -> Vec<Site> {
    check.missing(raw, "sites", INVENTORY, Span::default());
    if raw.value.as_ref().is_some_and(Vec::is_empty) {
        check.report(Diagnostic::new("inventory::missing", "there are no sites").at(raw.span, "name at least one"));
    }
    let default_tls = tls(check, inventory_tls).unwrap_or(Tls::SelfSigned);
    let mut names = Seen::new("host name");
    let mut databases = Seen::new("database");
    let mut sites = Vec::new();
    for (site, span) in check.items(raw) {
        let name = check.required(&site.name, "name", "a site", span, rules::site);
        if name.is_empty() {
            continue;
        }
        names.add(check, name.as_str(), site.name.span);
        let mut aliases = Vec::new();
        for (alias, span) in check.items(&site.aliases) {
            match rules::alias(alias) {
                Err(why) => check.refuse(alias, &why, span),
                Ok(()) => {
                    names.add(check, alias.as_str(), span);
                    aliases.push(alias.clone());
                }
            }
        }
        let db_name = check
            .text(&site.db_name, rules::database)
            .unwrap_or_else(|| database(&name));
        let db_span = site.db_name.get().map_or(site.name.span, |(_, span)| span);
        // The same site twice was reported above.
        if site.db_name.get().is_some() {
            databases.add(check, db_name.as_str(), db_span);
        }
        sites.push(Site {
            admin_password: check.secret(&site.admin_password, &format!("site/{name}/admin")),
            apps: apps(check, site, app),
            tls: tls(check, &site.tls).unwrap_or_else(|| default_tls.clone()),
            config: site.config.value.clone().unwrap_or_default(),
            name,
            aliases,
            db_name,
        });
    }
    sites
}

/// A readable name that no other site gets: MariaDB's user names and Frappe's limits leave 32 characters.
fn database(site: &str) -> String {
    let readable: String = site
        .chars()
        .take(23)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let digest = Sha256::digest(site.as_bytes());
    let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{readable}_{tail}")
}

fn apps(check: &mut Check, site: &RawSite, app: &App) -> Vec<String> {
    let App::Frappe(frappe) = app else {
        if let Some((apps, span)) = site.apps.get()
            && !apps.is_empty()
        {
            check.report(
                Diagnostic::new("inventory::apps", "sites of a WSGI app have no apps of their own")
                    .at(span, "only with `kind: frappe`")
                    .help("remove this key"),
            );
        }
        return Vec::new();
    };
    let available: Vec<&str> = frappe
        .apps
        .iter()
        .map(|a| a.name.as_str())
        .filter(|a| *a != "frappe")
        .collect();
    if site.apps.is_missing() {
        return available.iter().map(|&a| a.to_owned()).collect();
    }
    let mut apps = Vec::new();
    let mut seen = Seen::new("app");
    for (name, span) in check.items(&site.apps) {
        if name == "frappe" {
            // Every site has it anyway.
            continue;
        }
        if !available.contains(&name.as_str()) {
            check.report(
                Diagnostic::new("inventory::apps", format!("app `{name}` is not among `app.apps`"))
                    .at(span, "not installed on the hosts")
                    .help(match suggest::closest(name, &available) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None if available.is_empty() => "add it to `app.apps`, with its url and ref".to_owned(),
                        None => format!(
                            "add it to `app.apps`, with its url and ref; there are {}",
                            suggest::list(&available)
                        ),
                    }),
            );
        } else if seen.add(check, name.as_str(), span) {
            apps.push(name.clone());
        }
    }
    apps
}

fn tls(check: &mut Check, raw: &At<RawTls>) -> Option<Tls> {
    let (tls, span) = raw.get()?;
    match tls {
        Either::Word(RawTlsWord::None) => Some(Tls::None),
        Either::Word(RawTlsWord::SelfSigned) => Some(Tls::SelfSigned),
        Either::Map(map) if map.certbot.is_given() => certbot::read(check, map),
        Either::Map(files) => {
            check.missing(&files.certificate, "certificate", "`tls`", span);
            check.missing(&files.key, "key", "`tls`", span);
            if files.on_server.or(false) {
                let certificate = check.text(&files.certificate, rules::host_path)?;
                let key = check.text(&files.key, rules::host_path)?;
                return Some(Tls::OnServer { certificate, key });
            }
            let (certificate, key) = (check.path(&files.certificate)?, check.path(&files.key)?);
            Some(Tls::Files { certificate, key })
        }
    }
}
