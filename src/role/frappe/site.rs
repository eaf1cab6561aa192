//! A site: its configuration, its database filled, its apps installed, its schema that of the release.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{adopt, app, gluster};
use super::release::{self, QUIETLY};
use super::{Scope, config, site_script};
use crate::error::Result;
use crate::inventory::{Frappe, HostRole, Site};
use crate::quote::{sh, sql, sql_name};
use crate::resource::{Command, File, Guard, JsonKeys};
use crate::secret::{Secret, Text};

/// Declares one site's folder and configuration; gives what is to be done then.
pub(super) fn declare(scope: &mut Scope, frappe: &Frappe, site: &Site) -> Result<Vec<Command>> {
    let user = &frappe.process.user;
    // Frappe passes over a site's folder that is a link.
    scope.directory(&folder(frappe, site), user, user, 0o755);
    let config = config::site(scope, frappe, site)?;
    scope.add(config.clone());
    if app::leads(&scope.view) {
        let input = input(scope, site, &config)?;
        let mut work = vec![create(scope, frappe, site, input)];
        work.push(migrate(scope, frappe, site));
        return Ok(work);
    }
    // What `site.py` makes where it makes the site.
    let own = ["public", "private", "private/backups", "locks", "logs"];
    // Those that are on a volume are not this host's to make.
    let files = match gluster::used(&scope.view) {
        true => &[][..],
        false => &["public/files", "private/files"],
    };
    for name in own.iter().chain(files) {
        scope.directory(&format!("{}/{name}", folder(frappe, site)), user, user, 0o755);
    }
    Ok(Vec::new())
}

fn folder(frappe: &Frappe, site: &Site) -> String {
    format!("{}/sites/{}", frappe.path, site.name)
}

/// What `site.py` reads.
fn input(scope: &Scope, site: &Site, config: &JsonKeys) -> Result<Text> {
    let admin = scope.secret(&format!("site/{}/admin", site.name))?;
    let password = scope.secret(&app::site_database_password(site))?;
    let database = app::database(&scope.view);
    let seeds: serde_json::Map<String, Value> = config
        .seeds
        .iter()
        .map(|(key, secret)| (key.clone(), secret.reveal().into()))
        .collect();
    let wanted = json!({
        "site": site.name,
        "db": {
            "host": database.host,
            "port": database.port,
            "name": site.db_name,
            "password": password.reveal(),
        },
        "admin_password": admin.reveal(),
        "apps": site.apps,
        "config": config.keys,
        "seeds": seeds,
        "scheduler": true,
    });
    Ok(Text::Secret(Secret::new(wanted.to_string())))
}

/// A question to the database where that runs on this host; elsewhere only a stamp can tell.
fn asked(scope: &Scope, site: &Site, what: &str, query: String, value: String) -> Guard {
    if scope.view.has(HostRole::Db) {
        return Guard::Sql {
            query,
            value,
            package: "mariadb-server".into(),
        };
    }
    Guard::Stamp {
        path: format!("/var/lib/hactl/stamps/{what}-{}", site.name),
        value: site.apps.join(" "),
    }
}

pub(super) fn command(frappe: &Frappe, name: String, guards: Vec<Guard>, run: String, deadline: u64) -> Command {
    Command {
        name,
        guards,
        run,
        user: Some(frappe.process.user.clone()),
        dir: Some(format!("{}/sites", frappe.path)),
        env: app::environment(&frappe.process),
        input: None,
        deadline: Duration::from_secs(deadline),
        creates: Vec::new(),
    }
}

/// The site's first life, or the rest of it: `site.py` sees in the database how far an earlier run came.
fn create(scope: &Scope, frappe: &Frappe, site: &Site, input: Text) -> Command {
    let database = sql_name(&site.db_name);
    let apps: Vec<_> = std::iter::once("frappe")
        .chain(site.apps.iter().map(String::as_str))
        .collect();
    // What `site.py` leaves in the database while it makes the site, or installs an app.
    let marks: Vec<_> = std::iter::once("__hactl_unfinished_site".to_owned())
        .chain(site.apps.iter().map(|app| format!("__hactl_unfinished_app_{app}")))
        .map(|mark| sql(&mark))
        .collect();
    // Nothing half made, every app in the list, the scheduler on. A table that is missing is an error, which is no answer.
    let query = format!(
        "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA={schema} AND TABLE_NAME IN ({marks})),\
         (SELECT JSON_CONTAINS(defvalue,{apps}) FROM {database}.tabDefaultValue WHERE parent='__global' AND defkey='installed_apps' LIMIT 1),\
         (SELECT value FROM {database}.tabSingles WHERE doctype='System Settings' AND field='enable_scheduler' LIMIT 1)",
        schema = sql(&site.db_name),
        marks = marks.join(","),
        apps = sql(&json!(apps).to_string()),
    );
    let guards = vec![
        Guard::Exists(format!("{}/private/files", folder(frappe, site))),
        asked(scope, site, "site", query, "0\t1\t1".into()),
    ];
    let run = format!(
        "umask 022\n{run} python {script} ../logs/site-{site}.log",
        run = sh(&format!("{}/run", frappe.path)),
        script = sh(&site_script(frappe)),
        site = sh(&site.name),
    );
    Command {
        input: Some(input),
        ..command(frappe, format!("site {}", site.name), guards, run, 3600)
    }
}

/// Where it stands which release a site was migrated to.
pub(super) fn stamp(site: &Site) -> String {
    format!("/var/lib/hactl/stamps/migrated-{}", site.name)
}

/// The note that a site which was taken over has the schema of this release: later ones migrate it behind the gate.
pub(super) fn came_with(frappe: &Frappe, site: &Site) -> File {
    File {
        seed: true,
        ..File::new(stamp(site), format!("{}\n", release::id(frappe)))
    }
}

/// The note that a site has the schema of this release, on the host of a pair that waits: the other one has migrated, and it
/// is the same database.
pub(super) fn migrated_elsewhere(frappe: &Frappe, site: &Site) -> File {
    File::new(stamp(site), format!("{}\n", release::id(frappe)))
}

/// The first time, which fills in what Frappe notes about its apps; from then on [`super::update`] migrates.
pub(super) fn migrate(scope: &Scope, frappe: &Frappe, site: &Site) -> Command {
    let release = release::id(frappe);
    let apps: Vec<_> = std::iter::once("frappe")
        .chain(site.apps.iter().map(String::as_str))
        .map(sql)
        .collect();
    let query = format!(
        "SELECT COUNT(DISTINCT app_name) FROM {}.`tabInstalled Application` WHERE app_name IN ({})",
        sql_name(&site.db_name),
        apps.join(","),
    );
    let (path, value) = (stamp(site), release.clone());
    let listed = asked(scope, site, "listed", query, apps.len().to_string());
    let guards = match adopt::migrated(frappe) {
        // It was in use as it is: what Frappe notes about its apps is not worth closing it for.
        true => vec![Guard::Inherited { path, value }],
        false => vec![Guard::Stamp { path, value }, listed],
    };
    let run = format!(
        "umask 022\n{QUIETLY}\
         site() {{ quietly ../logs/migrate-{site}.log {run} python -m frappe.utils.bench_helper frappe --site {site} \"$@\"; }}\n\
         site set-maintenance-mode on\n\
         site migrate --skip-search-index || {{ echo {stays}; exit 1; }}\n\
         site set-maintenance-mode off",
        run = sh(&format!("{}/run", frappe.path)),
        site = sh(&site.name),
        stays = sh(&format!(
            "{} stays in maintenance mode until its migration succeeds",
            site.name
        )),
    );
    command(
        frappe,
        format!("migrate {} to release {release}", site.name),
        guards,
        run,
        7200,
    )
}
