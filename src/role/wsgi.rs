//! A WSGI application from git: releases side by side, `current` pointing at one, gunicorn and workers under supervisord.
//!
//! A release is named by what it is built from, so another ref, URL or Python is another release, and going back to an
//! older one needs no build. A branch name is taken as it was when its release was built: pin tags or commits.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::app::{self, Group, Supervised};
use super::{Role, Scope, gate, memcached, pair, stage};
use crate::error::Result;
use crate::inventory::{App, HostRole, Wsgi};
use crate::quote::sh;
use crate::resource::{Command, Guard, Mark, Migration};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "wsgi",
    applies: |view| view.runs_app() && matches!(view.topology.inventory.app, App::Wsgi(_)),
    declare,
};

/// Name of the release that an inventory wants.
pub fn release(wsgi: &Wsgi) -> String {
    let mut hash = Sha256::new();
    // The first word changes when the build itself does.
    for part in ["1", &wsgi.url, &wsgi.git_ref, &wsgi.process.python] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn declare(scope: &mut Scope) -> Result<()> {
    let App::Wsgi(wsgi) = &scope.inventory().app else {
        return Ok(());
    };
    scope.barrier(stage::APPLICATION);
    let process = &wsgi.process;
    for name in app::python_packages(process).iter().chain(&process.packages) {
        scope.packages(&[name]);
    }
    let path = &wsgi.path;
    // Root's, so that the app's user can replace neither its environment nor what supervisord starts.
    scope.directory(path, "root", "root", 0o755);
    scope.directory(&format!("{path}/releases"), &process.user, app::WEB_GROUP, 0o750);
    let watches = files(scope, wsgi)?;
    build(scope, wsgi);
    let group = group(scope, wsgi, watches);
    app::barrier(scope, stage::RELEASE);
    serve(scope, wsgi, group.as_ref())?;
    app::barrier(scope, stage::SERVES);
    match group {
        Some(group) => app::supervise(scope, &group),
        None => Ok(()),
    }
}

/// Environment, wrapper, gunicorn's and the workers' files; gives those that processes read at start.
fn files(scope: &mut Scope, wsgi: &Wsgi) -> Result<Vec<String>> {
    let (path, process) = (&wsgi.path, &wsgi.process);
    let mut watches = Vec::new();
    let environment = json!({
        "name": wsgi.name,
        "path": path,
        "password": app::APP_DATABASE_PASSWORD,
        "database": app::database(&scope.view),
        "redis_cache": app::redis_cache(&scope.view).authority(),
        "redis_queue": app::redis_queue(&scope.view).authority(),
        "memcached": memcached::servers(scope.view.topology).join(","),
        "env": wsgi.env,
    });
    let file = scope.file(&format!("{path}/env"), "wsgi/env", &environment)?;
    watches.push(file.path.clone());
    scope.add(file.owned("root", &process.user, 0o640));
    let context = json!({ "name": wsgi.name, "path": path });
    let file = scope.file(&format!("{path}/run"), "wsgi/run", &context)?;
    watches.push(file.path.clone());
    scope.add(file.owned("root", "root", 0o755));
    if scope.view.has(HostRole::App) {
        let context = json!({
            "module": wsgi.module,
            "port": process.web_port,
            "workers": app::web_workers(process, scope.facts),
            "threads": process.web_threads,
            "timeout": process.http_timeout,
            // Connections that an app opens when it is imported must not be shared by forked workers.
            "preload": "False",
            "environment": format!("{path}/env"),
        });
        let file = scope.file(&format!("{path}/gunicorn.conf.py"), "app/gunicorn.conf.py", &context)?;
        watches.push(file.path.clone());
        scope.add(file);
    }
    if scope.view.has(HostRole::Worker) && !wsgi.workers.is_empty() {
        scope.directory(&format!("{path}/workers"), "root", "root", 0o755);
        for worker in &wsgi.workers {
            let context = json!({ "name": wsgi.name, "worker": worker.name, "command": worker.command });
            let file = scope.file(&format!("{path}/workers/{}", worker.name), "wsgi/worker", &context)?;
            watches.push(file.path.clone());
            scope.add(file);
        }
    }
    Ok(watches)
}

/// Code, environment, migration: each leaves a marker as its last act, and starts afresh without it.
fn build(scope: &mut Scope, wsgi: &Wsgi) {
    let (path, process) = (&wsgi.path, &wsgi.process);
    let id = release(wsgi);
    let root = format!("{path}/releases/{id}");
    let command = |name: String, marker: &str, run: String, deadline: u64| Command {
        name,
        guards: vec![Guard::Exists(format!("{root}/.hactl/{marker}"))],
        run: format!(
            "umask 022\n{run}\nsync\n{}",
            app::marked(&format!("{root}/.hactl/{marker}"))
        ),
        user: Some(process.user.clone()),
        dir: Some(format!("{path}/releases")),
        env: app::environment(process),
        input: None,
        deadline: Duration::from_secs(deadline),
        creates: Vec::new(),
    };
    let fetch = format!(
        "{}mkdir .hactl\n{}",
        app::checkout(&wsgi.url, &wsgi.git_ref, &root),
        app::note_commit(&wsgi.name, &wsgi.git_ref, &format!("{root}/.hactl/code~")),
    );
    scope.add(command(
        format!("code of release {id} ({})", wsgi.git_ref),
        "code",
        fetch,
        900,
    ));
    scope.add(command(
        format!("python environment of release {id}"),
        "environment",
        format!(
            "cd -- {root}\n\
             rm -rf env\n\
             {python} -m venv env\n\
             if [ -f requirements.txt ]; then env/bin/pip install -r requirements.txt; fi\n\
             if [ -f pyproject.toml ] || [ -f setup.py ]; then env/bin/pip install .; fi\n\
             env/bin/pip install 'gunicorn>=20.1'\n\
             {prune}",
            root = sh(&root),
            python = sh(&process.python),
            prune = app::prune_releases(path, &id),
        ),
        1800,
    ));
}

/// The release in service, its migrations done.
fn serve(scope: &mut Scope, wsgi: &Wsgi, group: Option<&Group>) -> Result<()> {
    let path = &wsgi.path;
    let id = release(wsgi);
    let root = format!("{path}/releases/{id}");
    let mut wanted = gate::release(scope, path, id, wsgi.git_ref.clone(), &wsgi.health)?;
    if scope.view.waits() {
        pair::declare_release(scope, wanted);
        if wsgi.migrate.is_some() {
            scope.add(migrated_elsewhere(wsgi, &root));
        }
        return Ok(());
    }
    wanted.programs = group.map(Group::program).into_iter().collect();
    if let Some(migrate) = wsgi.migrate.as_ref().filter(|_| app::leads(&scope.view)) {
        let run = format!(
            "umask 022\nRELEASE={} {} sh -c {}\n: >{marker}\nsync {marker}",
            sh(&root),
            sh(&format!("{path}/run")),
            sh(migrate),
            marker = sh(&format!("{root}/.hactl/migrated")),
        );
        wanted.migrations = vec![Migration {
            name: wsgi.name.clone(),
            command: gate::command(&wsgi.process, format!("migrations of {}", wsgi.name), path, run, 3600),
            mark: Mark::InRelease,
            there: None,
        }];
    }
    scope.add(wanted);
    Ok(())
}

/// The note that the database has the schema of a release, on the host of a pair that waits: the other one has migrated, and
/// it is the same database.
fn migrated_elsewhere(wsgi: &Wsgi, root: &str) -> Command {
    let marker = format!("{root}/.hactl/migrated");
    let run = format!("umask 022\n: >{marker}\nsync {marker}", marker = sh(&marker));
    let name = format!("note that {} is migrated to release {}", wsgi.name, release(wsgi));
    Command {
        guards: vec![Guard::Exists(marker)],
        ..gate::command(&wsgi.process, name, &wsgi.path, run, 60)
    }
}

/// What runs; nothing on a host that has neither role.
fn group(scope: &Scope, wsgi: &Wsgi, mut watches: Vec<String>) -> Option<Group> {
    let path = &wsgi.path;
    let wrapper = format!("{path}/run");
    let mut programs = Vec::new();
    let mut health = String::from("true");
    if scope.view.has(HostRole::App) {
        programs.push(Supervised {
            name: "web".into(),
            command: vec![
                wrapper.clone(),
                "gunicorn".into(),
                "-c".into(),
                format!("{path}/gunicorn.conf.py"),
            ],
            reloads: vec![format!("{path}/env"), format!("{path}/gunicorn.conf.py")],
            ..Supervised::default()
        });
        health = web_health(&scope.view, wsgi);
    }
    if scope.view.has(HostRole::Worker) {
        programs.extend(wsgi.workers.iter().map(|worker| Supervised {
            name: worker.name.clone(),
            command: vec![wrapper.clone(), "sh".into(), format!("{path}/workers/{}", worker.name)],
            count: worker.count,
            priority: 200,
            stopwaitsecs: 60,
            // The shell between supervisord and the command passes no signal on.
            stop_group: true,
            jobs: true,
            ..Supervised::default()
        }));
    }
    watches.push(format!("{path}/current"));
    (!programs.is_empty()).then(|| Group {
        name: wsgi.name.clone(),
        programs,
        watches,
        health,
        patience: Duration::from_secs(60),
    })
}

/// Passes when gunicorn answers for the first site with less than 400.
pub(super) fn web_health(view: &HostView, wsgi: &Wsgi) -> String {
    let site = view
        .topology
        .inventory
        .sites
        .first()
        .map_or("localhost", |site| site.name.as_str());
    let url = format!("http://127.0.0.1:{}{}", wsgi.process.web_port, wsgi.health);
    format!(
        "curl -fsS -o /dev/null --max-time 8 -H {} {}",
        sh(&format!("Host: {site}")),
        sh(&url)
    )
}
