//! Frappe: a bench whose code comes in releases side by side, its sites beside them, and the processes that serve them.
//!
//! ```text
//! PATH/releases/ID/   apps, env, node_modules and assets of one set of refs; a bench of its own while it is built
//! PATH/current        → releases/ID; apps, env, sites/assets and sites/apps.txt lead through it
//! PATH/sites/NAME/    configuration and files of a site, whatever the release
//! PATH/tools/ID/      uv, node and yarn that releases are built with
//! ```
//!
//! Frappe finds everything from its working directory `sites`: `../apps`, `../env`, `../logs`, `assets`. So a release is
//! built in its own `sites` folder, and what is being served is not touched until `current` moves.

mod config;
pub(super) mod programs;
mod release;
mod site;
mod tasks;
mod update;

pub(super) use release::system;
pub(super) use tasks::{migrate_now, open_again, quiet};

use serde_json::json;

use super::adopt;
use super::app::{self, WEB_GROUP};
use super::{Role, Scope, gluster, stage};
use crate::error::Result;
use crate::inventory::{App, Frappe};
use crate::quote::sh;
use crate::resource::{Command, File, Guard};

/// The role.
pub const ROLE: Role = Role {
    name: "frappe",
    applies: |view| view.runs_app() && matches!(view.topology.inventory.app, App::Frappe(_)),
    declare,
};

/// What Frappe calls while it runs: the client for its first schema, backups and restores; text layout for PDFs.
const PACKAGES: &[&str] = &[
    "git",
    "mariadb-client",
    "file",
    "gzip",
    "libpango-1.0-0",
    "libpangoft2-1.0-0",
    "libpangocairo-1.0-0",
    "libharfbuzz0b",
];

fn declare(scope: &mut Scope) -> Result<()> {
    let App::Frappe(frappe) = &scope.inventory().app else {
        return Ok(());
    };
    scope.barrier(stage::APPLICATION);
    for name in app::python_packages(&frappe.process)
        .iter()
        .chain(&frappe.process.packages)
    {
        scope.packages(&[name]);
    }
    scope.packages(PACKAGES);
    folders(scope, frappe);
    let watches = files(scope, frappe)?;
    if gluster::used(&scope.view) {
        for site in &scope.inventory().sites {
            scope.add(gluster::join(site));
        }
    }
    release::declare(scope, frappe);
    app::barrier(scope, stage::RELEASE);
    let groups = programs::declared(&scope.view, frappe, watches);
    update::declare(scope, frappe, &groups)?;
    let mut work = Vec::new();
    for site in &scope.inventory().sites {
        work.extend(site::declare(scope, frappe, site)?);
        if frappe.adopted.is_none() {
            work.drain(..).for_each(|command| scope.add(command));
        }
    }
    let mut later = Vec::new();
    if let Some(adopted) = &frappe.adopted {
        adopt::switch(scope, frappe, adopted);
        // Until the programs run, nobody is served; what the sites lack now they lacked before.
        if adopt::migrated(frappe) {
            later.append(&mut work);
            for site in &scope.inventory().sites {
                scope.add(site::came_with(frappe, site));
            }
        }
    }
    work.into_iter().for_each(|command| scope.add(command));
    app::barrier(scope, stage::SERVES);
    // Only now: a host that boots must not start the programs of both benches.
    for group in &groups {
        app::supervise(scope, group)?;
    }
    later.into_iter().for_each(|command| scope.add(command));
    Ok(())
}

fn folders(scope: &mut Scope, frappe: &Frappe) {
    let (path, user) = (&frappe.path, &frappe.process.user);
    // Whose the folders above are is not for hactl to say: they are only made when they are missing.
    if let Some((above, _)) = path.rsplit_once('/')
        && above.matches('/').count() > 1
    {
        scope.add(Command {
            name: format!("folder {above}"),
            guards: vec![Guard::Exists(above.to_owned())],
            run: format!("umask 022\nmkdir -p -- {}", sh(above)),
            user: None,
            dir: None,
            env: Vec::new(),
            input: None,
            deadline: std::time::Duration::from_secs(30),
            creates: Vec::new(),
        });
    }
    // Root's, so that the app's user can replace neither its links nor what supervisord starts.
    scope.directory(path, "root", "root", 0o755);
    for name in ["tools", "cache", "config", "config/pids", "logs", "archived"] {
        scope.directory(&format!("{path}/{name}"), user, user, 0o750);
    }
    for name in ["releases", "sites"] {
        scope.directory(&format!("{path}/{name}"), user, WEB_GROUP, 0o750);
    }
}

/// Configuration of the bench; gives those files that every process reads at start.
fn files(scope: &mut Scope, frappe: &Frappe) -> Result<Vec<String>> {
    let (path, process) = (&frappe.path, &frappe.process);
    let common = config::common(scope, frappe)?;
    let mut watches = vec![common.path.clone()];
    scope.add(common);
    let context = json!({ "path": path, "user": process.user });
    let file = scope.file(&format!("{path}/run"), "frappe/run", &context)?;
    watches.push(file.path.clone());
    scope.add(file.owned("root", "root", 0o755));
    let context = json!({
        "module": "frappe.app:application",
        "port": process.web_port,
        "workers": app::web_workers(process, scope.facts),
        "threads": process.web_threads,
        "timeout": process.http_timeout,
        // Frappe opens its connections for each request; loaded once, its workers share most of their memory.
        "preload": "True",
        // Frappe reads its configuration for each request.
        "environment": null,
    });
    let file = scope.file(&gunicorn_config(frappe), "app/gunicorn.conf.py", &context)?;
    scope.add(file);
    scope.add(File::new(
        site_script(frappe),
        include_str!("../../../templates/frappe/site.py"),
    ));
    scope.add(File::new(
        programs::jobs_script(frappe),
        include_str!("../../../templates/frappe/jobs.py"),
    ));
    if programs::one_of_several(&scope.view).is_some() {
        scope.add(File::new(
            programs::scheduler_script(frappe),
            include_str!("../../../templates/frappe/scheduler.py"),
        ));
    }
    Ok(watches)
}

fn gunicorn_config(frappe: &Frappe) -> String {
    format!("{}/gunicorn.conf.py", frappe.path)
}

/// Where the script that makes sites is on the host.
fn site_script(frappe: &Frappe) -> String {
    format!("{}/site.py", frappe.path)
}
