//! Certificates that nginx reads: where each comes from, and how it gets to the host.

use std::time::Duration;

use super::ROOT;
use crate::error::Result;
use crate::inventory::secrets::pem;
use crate::inventory::{Inventory, Site, Tls};
use crate::quote::sh;
use crate::resource::{Command, File, Guard};
use crate::role::{Scope, certbot, peers};
use crate::secret::Text;

/// Certificate and key of all self-signed sites. The certificate is what clients on the host may trust, e.g. through
/// NODE_EXTRA_CA_CERTS.
const SELF_SIGNED: &str = "self-signed";

/// Path of the certificate that covers a site, `None` without TLS.
pub fn certificate(site: &Site) -> Option<String> {
    certificate_name(site).map(|name| path(&name, "crt"))
}

/// Path of a certificate (`crt`) or key (`key`) that nginx reads.
pub fn path(name: &str, ending: &str) -> String {
    format!("{ROOT}/tls/{name}.{ending}")
}

pub(super) fn certificate_name(site: &Site) -> Option<String> {
    match site.tls {
        Tls::None => None,
        Tls::SelfSigned => Some(SELF_SIGNED.to_owned()),
        Tls::Files { .. } | Tls::OnServer { .. } | Tls::Certbot(_) => Some(site.name.clone()),
    }
}

/// Declares what a host that ends TLS needs, but for files that nginx judges together with its configuration: those it
/// gives. `watches` gets all that nginx reads.
pub(super) fn declare(scope: &mut Scope, watches: &mut Vec<String>) -> Result<Vec<File>> {
    let mut files = Vec::new();
    if scope.view.topology.is_single() {
        made_here(scope, watches);
    } else {
        files.extend(derived(scope)?);
    }
    stand_ins(scope, watches);
    on_server(scope, watches);
    files.extend(given(scope)?);
    Ok(files)
}

/// What an app host behind load balancers needs, which ends no TLS but asks its own sites: whom to trust.
pub(super) fn declare_trust(scope: &mut Scope) -> Result<()> {
    if let Some(certificate) = derived(scope)?.into_iter().next() {
        scope.add(certificate);
    }
    Ok(())
}

fn self_signed_names(inventory: &Inventory) -> Vec<&str> {
    let sites = inventory.sites.iter();
    sites
        .filter(|site| matches!(site.tls, Tls::SelfSigned))
        .flat_map(|site| std::iter::once(&site.name).chain(&site.aliases))
        .map(String::as_str)
        .collect()
}

/// Certificate and key of all self-signed sites of a cluster, the same on every host: visitors must not notice which one
/// they came to.
fn derived(scope: &Scope) -> Result<Vec<File>> {
    let names = self_signed_names(scope.inventory());
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let pair = peers::identity(scope)?.web(&names)?;
    Ok(vec![
        File::new(path(SELF_SIGNED, "crt"), pair.public),
        File::new(path(SELF_SIGNED, "key"), Text::Secret(pair.private)).owned("root", "root", 0o600),
    ])
}

/// One certificate for all self-signed sites of a single server, made there and made again when their names change.
fn made_here(scope: &mut Scope, watches: &mut Vec<String>) {
    let names = self_signed_names(scope.inventory());
    if names.is_empty() {
        return;
    }
    let (certificate, key) = (path(SELF_SIGNED, "crt"), path(SELF_SIGNED, "key"));
    let mut command = sign("self-signed certificate".into(), &names, 3650, &certificate, &key);
    command.guards.push(Guard::Stamp {
        path: "/var/lib/hactl/stamps/self-signed".into(),
        value: names.join(" "),
    });
    scope.add(command);
    watches.extend([certificate, key]);
}

/// What is served until certbot has a certificate. What is there already, of whatever origin, is left alone.
fn stand_ins(scope: &mut Scope, watches: &mut Vec<String>) {
    let mut any = false;
    for (site, _) in certbot::sites(scope.inventory()) {
        any = true;
        let names: Vec<&str> = certbot::names(site).collect();
        let (certificate, key) = (path(&site.name, "crt"), path(&site.name, "key"));
        let name = format!("stand-in certificate of {}", site.name);
        scope.add(sign(name, &names, 90, &certificate, &key));
        watches.extend([certificate, key]);
        watches.extend(certbot::watched(site));
    }
    if any {
        scope.directory(certbot::WEBROOT, "root", "root", 0o755);
    }
}

/// Makes a self-signed certificate for names, valid for `days`, when it or its key is missing.
fn sign(name: String, names: &[&str], days: u32, certificate: &str, key: &str) -> Command {
    let alternatives: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
    Command {
        name,
        guards: vec![Guard::Exists(certificate.to_owned()), Guard::Exists(key.to_owned())],
        run: format!(
            "umask 077\n\
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days {days} -subj '/CN=hactl self-signed' -addext {names} -addext extendedKeyUsage=serverAuth -keyout {key}~ -out {certificate}~ 2>&1\n\
             chmod 600 {key}~\n\
             chmod 644 {certificate}~\n\
             sync {key}~ {certificate}~\n\
             mv -fT -- {key}~ {key}\n\
             mv -fT -- {certificate}~ {certificate}",
            names = sh(&format!("subjectAltName={}", alternatives.join(","))),
            key = sh(key),
            certificate = sh(certificate),
        ),
        user: None,
        dir: None,
        env: Vec::new(),
        input: None,
        deadline: Duration::from_secs(60),
        creates: vec![certificate.to_owned(), key.to_owned()],
    }
}

/// Certificates that somebody else keeps on the server: a new one is a reload.
fn on_server(scope: &mut Scope, watches: &mut Vec<String>) {
    for site in &scope.inventory().sites {
        if let Tls::OnServer { certificate, key } = &site.tls {
            for (file, end) in [(certificate, "crt"), (key, "key")] {
                let link = format!("{ROOT}/tls/{}.{end}", site.name);
                scope.link(&link, file);
                watches.extend([link, file.clone()]);
            }
        }
    }
}

/// Certificates that the operator gave.
fn given(scope: &Scope) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for site in &scope.inventory().sites {
        if !matches!(site.tls, Tls::Files { .. }) {
            continue;
        }
        let chain = scope.secret(&pem::certificate(site))?;
        let key = scope.secret(&pem::key(site))?;
        files.push(File::new(
            format!("{ROOT}/tls/{}.crt", site.name),
            Text::Plain(chain.reveal().to_owned()),
        ));
        files.push(File::new(format!("{ROOT}/tls/{}.key", site.name), Text::Secret(key)).owned("root", "root", 0o600));
    }
    Ok(files)
}
