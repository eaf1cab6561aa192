//! certbot: certificates from an authority by HTTP-01. The first one comes with an apply; the host renews by itself, with
//! the package's timer and a hook that makes nginx take it up.
//!
//! nginx reads `tls/SITE.crt` whatever is there: a self-signed stand-in until there is a certificate, then a link into
//! certbot's folder. It comes last of all roles, since nothing else should wait for somebody else's server.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, nginx, stage};
use crate::error::Result;
use crate::inventory::{Certbot, Inventory, Site, Tls};
use crate::quote::sh;
use crate::resource::{Command, Guard, OnChange, Service, file::sha256};

/// The role.
pub const ROLE: Role = Role {
    name: "certbot",
    applies: |view| view.meets_visitors() && sites(view.topology.inventory).next().is_some(),
    declare,
};

/// What answers HTTP-01; nginx serves it on port 80.
pub const WEBROOT: &str = "/var/lib/hactl/acme";

/// What renews.
pub const TIMER: &str = "certbot.timer";

const STEPS: &str = include_str!("certbot.sh");
const FRESH: &str = include_str!("certbot_fresh.sh");

/// Sites whose certificates certbot gets.
pub fn sites(inventory: &Inventory) -> impl Iterator<Item = (&Site, &Certbot)> {
    inventory.sites.iter().filter_map(|site| match &site.tls {
        Tls::Certbot(certbot) => Some((site, certbot)),
        _ => None,
    })
}

/// Names in a site's certificate.
pub fn names(site: &Site) -> impl Iterator<Item = &str> {
    std::iter::once(&site.name).chain(&site.aliases).map(String::as_str)
}

/// What nginx reads besides `tls/SITE.crt` and `.key`, as soon as those are links: certbot's own links, which change with
/// each renewal.
pub fn watched(site: &Site) -> [String; 2] {
    ["fullchain", "privkey"].map(|file| format!("/etc/letsencrypt/live/{}/{file}.pem", site.name))
}

/// A shell test of what is there; prints `stand-in` for a certificate that is not certbot's, `not served` when nginx has not
/// taken it up.
pub fn status(site: &Site, https_port: u16) -> String {
    let [chain, _] = watched(site);
    format!(
        "[ {certificate} -ef {chain} ] || echo stand-in\n\
         served=$(openssl s_client -connect 127.0.0.1:{https_port} -servername {name} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint 2>/dev/null)\n\
         [ \"$served\" = \"$(openssl x509 -in {certificate} -noout -fingerprint)\" ] || echo not served",
        certificate = sh(&nginx::path(&site.name, "crt")),
        chain = sh(&chain),
        name = sh(&site.name),
    )
}

/// A shell test of the renewals: fails when the timer does not run, and says when its last run failed.
pub fn renewals() -> String {
    format!(
        "systemctl -q is-active {TIMER} || {{ echo '{TIMER} is not active: nothing renews certificates'; exit 1; }}\n\
         if systemctl -q is-failed certbot.service; then\n\
         \x20   echo 'the last run failed: journalctl -u certbot.service'\n\
         else\n\
         \x20   echo \"{TIMER} is active\"\n\
         fi"
    )
}

fn declare(scope: &mut Scope) -> Result<()> {
    let inventory = scope.inventory();
    scope.barrier(stage::LAST);
    scope.packages(&["certbot"]);
    let folder = "/etc/letsencrypt/renewal-hooks/deploy";
    for path in ["/etc/letsencrypt", "/etc/letsencrypt/renewal-hooks", folder] {
        scope.directory(path, "root", "root", 0o755);
    }
    let all: Vec<&str> = sites(inventory).map(|(site, _)| site.name.as_str()).collect();
    let context = json!({ "sites": all.join(" "), "https_port": inventory.nginx.https_port });
    let mut hook = scope.file(&format!("{folder}/hactl-nginx"), "certbot/take-up", &context)?;
    hook.mode = 0o755;
    scope.add(hook);
    scope.add(Service {
        unit: TIMER.into(),
        watches: Vec::new(),
        on_change: OnChange::Restart,
        health: format!("systemctl is-active {TIMER}"),
        patience: Duration::from_secs(10),
        forgets: Vec::new(),
    });
    let mut servers: Vec<&str> = Vec::new();
    for (_, certbot) in sites(inventory) {
        if !servers.contains(&certbot.server.as_str()) {
            servers.push(&certbot.server);
            scope.add(account(inventory, certbot));
        }
    }
    for (site, certbot) in sites(inventory) {
        scope.add(issue(site, certbot));
    }
    Ok(())
}

fn account(inventory: &Inventory, certbot: &Certbot) -> Command {
    let Certbot { email, server, .. } = certbot;
    let stamp = Guard::Stamp {
        path: format!("/var/lib/hactl/stamps/certbot-{}", &sha256(server.as_bytes())[..12]),
        value: email.clone(),
    };
    let waiting: Vec<&str> = sites(inventory)
        .filter(|(_, other)| other.server == *server)
        .map(|(site, _)| site.name.as_str())
        .collect();
    Command::by_root(
        format!("account at {server}"),
        vec![stamp],
        format!(
            "SERVER={} EMAIL={} SITES={}\n{STEPS}\naccount",
            sh(server),
            sh(email),
            sh(&waiting.join(", "))
        ),
    )
}

fn issue(site: &Site, certbot: &Certbot) -> Command {
    let all: Vec<&str> = names(site).collect();
    let stamp = Guard::Stamp {
        path: format!("/var/lib/hactl/stamps/certificate-{}", site.name),
        value: format!("{} {}", certbot.server, all.join(" ")),
    };
    let here = format!("SITE={}\n{FRESH}\n", sh(&site.name));
    let run = format!(
        "{here}SITES=$SITE NAMES={} SERVER={} SELF_CHECK={}\n{STEPS}\nissue",
        sh(&all.join(" ")),
        sh(&certbot.server),
        if certbot.self_check { "yes" } else { "no" }
    );
    Command::by_root(
        format!("certificate of {}", site.name),
        vec![stamp, Guard::Passes(here + "taken_up")],
        run,
    )
}
