//! Things done to a site when somebody asks for them.

use super::{Scope, release, site};
use crate::inventory::{Frappe, HostRole, Site};
use crate::quote::sh;
use crate::resource::{Command, Guard};

/// The site's migration by the release that runs, and a look at the site behind it.
pub(in super::super) fn migrate_now(scope: &mut Scope, frappe: &Frappe, of: &Site) {
    let mut migrate = site::migrate(scope, frappe, of);
    // With another release the code that serves would have the schema of one that does not.
    migrate.run = format!(
        "[ \"$(readlink -- {current})\" = {wanted} ] || {{ echo {other}; exit 1; }}\n{}",
        migrate.run,
        current = sh(&format!("{}/current", frappe.path)),
        wanted = sh(&format!("releases/{}", release::id(frappe))),
        other =
            sh("the inventory wants another release than the one that runs; hactl apply builds, switches and migrates"),
    );
    migrate.guards.push(Guard::Asked);
    scope.add(migrate);
    if scope.view.has(HostRole::App) {
        scope.add(answers(frappe, of));
    }
}

/// The end of [`quiet`], and a look at the site behind it.
pub(in super::super) fn open_again(scope: &mut Scope, frappe: &Frappe, of: &Site) {
    let run = format!(
        "{run} python -m frappe.utils.bench_helper frappe --site {site} set-maintenance-mode off",
        run = sh(&format!("{}/run", frappe.path)),
        site = sh(&of.name),
    );
    let name = format!("end of the maintenance of {}", of.name);
    scope.add(site::command(frappe, name, vec![Guard::Asked], run, 120));
    if scope.view.has(HostRole::App) {
        scope.add(answers(frappe, of));
    }
}

/// Passes when the site's own code answers: it is out of maintenance mode, and its database has what the code expects.
fn answers(frappe: &Frappe, of: &Site) -> Command {
    let run = format!(
        "tries=0\n\
         until said=$(curl -fsS -o /dev/null --max-time 8 -H {host} http://127.0.0.1:{port}/api/method/ping 2>&1); do\n\
         \x20   tries=$((tries + 1))\n\
         \x20   [ $tries -lt 20 ] || {{ echo \"$said\"; exit 1; }}\n\
         \x20   sleep 0.5\n\
         done",
        host = sh(&format!("Host: {}", of.name)),
        port = frappe.process.web_port,
    );
    let name = format!("test that {} answers", of.name);
    site::command(frappe, name, vec![Guard::Asked], run, 240)
}

/// Nobody works on a site that is about to go. A site that is broken goes all the same.
pub(in super::super) fn quiet(frappe: &Frappe, name: &str) -> Command {
    let config = sh(&format!("{}/sites/{name}/site_config.json", frappe.path));
    let guard = Guard::Passes(format!(
        "[ ! -f {config} ] || grep -Eq '\"maintenance_mode\": *1' {config}"
    ));
    let run = format!(
        "{run} python -m frappe.utils.bench_helper frappe --site {site} set-maintenance-mode on 2>&1 ||\n\
         \x20   echo 'it could not be put into maintenance mode; going on'",
        run = sh(&format!("{}/run", frappe.path)),
        site = sh(name),
    );
    site::command(frappe, format!("maintenance mode of {name}"), vec![guard], run, 120)
}
