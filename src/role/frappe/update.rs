//! The release in service. Sites that are there follow it: closed, dumped, migrated, opened; new ones are made later.

use super::super::app::{self, Group};
use super::super::{gate, pair};
use super::{Scope, release, site};
use crate::error::Result;
use crate::inventory::{Frappe, Site};
use crate::quote::{sh, sql};
use crate::resource::{Command, Mark, Migration};
use crate::secret::Text;

/// Where the sites' own switches are set and put back.
const MAINTENANCE: &str = include_str!("../../../templates/frappe/maintenance.py");

/// Declares the release, and the links that lead through it.
pub(super) fn declare(scope: &mut Scope, frappe: &Frappe, groups: &[Group]) -> Result<()> {
    let path = &frappe.path;
    let refs: Vec<_> = frappe
        .apps
        .iter()
        .map(|app| format!("{} {}", app.name, app.git_ref))
        .collect();
    let id = release::id(frappe);
    let mut wanted = gate::release(scope, path, id, refs.join(", "), "/api/method/ping")?;
    if scope.view.waits() {
        pair::declare_release(scope, wanted);
        links(scope, path);
        for site in &scope.inventory().sites {
            scope.add(site::migrated_elsewhere(frappe, site));
        }
        return Ok(());
    }
    wanted.programs = groups.iter().map(Group::program).collect();
    wanted.patience = std::time::Duration::from_secs(90);
    wanted.before_migrating = Some(maintenance(scope, frappe, "on"));
    let mut opening = maintenance(scope, frappe, "off");
    if app::leads(&scope.view) {
        // No worker runs anywhere at that time. An update is not in vain for want of it.
        opening.run.push_str(&format!(
            " || exit 1\n{} python {} settle || echo 'nobody looked for jobs that workers had just taken when they ended'",
            sh(&format!("{}/run", frappe.path)),
            sh(&format!("{}/jobs.py", frappe.path)),
        ));
        let sites = &scope.inventory().sites;
        wanted.migrations = sites.iter().map(|site| migration(frappe, site)).collect();
    }
    wanted.before_opening = Some(opening);
    scope.add(wanted);
    links(scope, path);
    Ok(())
}

/// What leads through the release.
fn links(scope: &mut Scope, path: &str) {
    for (link, target) in [
        ("apps", "current/apps"),
        ("env", "current/env"),
        ("sites/apps.txt", "../current/sites/apps.txt"),
        ("sites/assets", "../current/sites/assets"),
    ] {
        scope.link(&format!("{path}/{link}"), target);
    }
}

/// Frappe's own maintenance mode and pause of the scheduler, for whoever else works on the bench; and no cache entry of one
/// release is left for the other, such as the names of its assets.
fn maintenance(scope: &Scope, frappe: &Frappe, state: &str) -> Command {
    let sites: String = scope
        .inventory()
        .sites
        .iter()
        .map(|site| format!(" {}", sh(&site.name)))
        .collect();
    let run = format!("{} python - {state}{sites}", sh(&format!("{}/run", frappe.path)));
    let name = format!("maintenance mode {state}");
    Command {
        input: Some(Text::Plain(MAINTENANCE.to_owned())),
        ..gate::command(&frappe.process, name, &format!("{}/sites", frappe.path), run, 60)
    }
}

fn migration(frappe: &Frappe, site: &Site) -> Migration {
    let run = format!(
        "umask 022\n{} python -m frappe.utils.bench_helper frappe --site {} migrate --skip-search-index",
        sh(&format!("{}/run", frappe.path)),
        sh(&site.name),
    );
    let dir = format!("{}/sites", frappe.path);
    Migration {
        name: site.name.clone(),
        command: gate::command(&frappe.process, format!("migrate {}", site.name), &dir, run, 7200),
        mark: Mark::Stamp(site::stamp(site)),
        // A site that is being made, or not yet, is no site to migrate.
        there: Some(format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND TABLE_NAME='tabInstalled Application' \
             AND NOT EXISTS (SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND TABLE_NAME='__hactl_unfinished_site')",
            schema = sql(&site.db_name),
        )),
    }
}
