//! What runs.

use std::collections::BTreeMap;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{App, Frappe, GitApp, Process, Wsgi, WsgiWorker};
use crate::inventory::raw::{List, RawApp, RawFrappe, RawProcess, RawWsgi, RawWsgiWorker};
use crate::inventory::rules;
use crate::inventory::yaml::At;

use super::check::{Check, INVENTORY, Seen};
use super::{adopted, workers};

/// Variables that hactl itself sets for a WSGI app.
const OWN_ENV: [&str; 8] = [
    "DB_HOST",
    "DB_PORT",
    "DB_NAME",
    "DB_USER",
    "DB_PASSWORD",
    "REDIS_CACHE_URL",
    "REDIS_QUEUE_URL",
    "MEMCACHED_SERVERS",
];

/// Variables that the shell which starts the app keeps for itself: what is set here would not reach the app, or end the
/// shell. `RELEASE` is the wrapper's.
const SHELL_ENV: [&str; 13] = [
    "BASHOPTS",
    "BASH_VERSINFO",
    "EUID",
    "IFS",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "PPID",
    "PWD",
    "RELEASE",
    "SHELLOPTS",
    "UID",
    "_",
];

/// The application.
pub fn build(check: &mut Check, raw: &At<RawApp>) -> App {
    check.missing(raw, "app", INVENTORY, Span::default());
    match raw.get() {
        Some((RawApp::Frappe(app), span)) => App::Frappe(frappe(check, app, span)),
        Some((RawApp::Wsgi(app), span)) => App::Wsgi(wsgi(check, app, span)),
        // Reported; sites have nothing to be compared with.
        None => App::Wsgi(wsgi_stand_in(check)),
    }
}

fn wsgi_stand_in(check: &mut Check) -> Wsgi {
    let before = check.list.len();
    let app = wsgi(check, &RawWsgi::default(), Span::default());
    check.list.truncate(before);
    app
}

fn process(check: &mut Check, raw: &RawProcess<'_>, user: &str) -> Process {
    Process {
        user: user_name(check, raw.user, user),
        // Below 1000 Debian gives ids to packages, in an order that differs from host to host.
        uid: check.number(raw.uid, 1990, 1000, 59999),
        web_workers: check.optional(raw.web_workers, 1, 1024),
        web_threads: check.number(raw.web_threads, 1, 1, 256),
        http_timeout: check.number(raw.http_timeout, 120, 1, 86400),
        web_port: check.port(raw.web_port, 8000),
        python: check
            .text(raw.python, rules::python)
            .unwrap_or_else(|| "python3".to_owned()),
        packages: check.texts(raw.packages, rules::debian_package),
    }
}

fn user_name(check: &mut Check, at: &At<String>, default: &str) -> String {
    if let Some((text, span)) = at.get()
        && matches!(
            text.as_str(),
            "root" | "mysql" | "redis" | "www-data" | "nobody" | "daemon"
        )
    {
        check.refuse(text, "has another purpose; the app needs a user of its own", span);
    }
    check.text(at, rules::user).unwrap_or_else(|| default.to_owned())
}

fn frappe(check: &mut Check, raw: &RawFrappe, span: Span) -> Frappe {
    Frappe {
        process: process(check, &raw.process(), "frappe"),
        apps: git_apps(check, &raw.apps, span),
        path: check
            .text(&raw.path, rules::host_path)
            .unwrap_or_else(|| "/srv/frappe/bench".to_owned()),
        workers: workers::of_app(check, &raw.workers),
        socketio_port: check.port(&raw.socketio_port, 9000),
        read_from_replica: raw.read_from_replica.or(false),
        config: raw.config.value.clone().unwrap_or_default(),
        adopted: raw
            .adopted
            .get()
            .and_then(|(raw, span)| adopted::build(check, raw, span)),
    }
}

fn git_apps(check: &mut Check, raw: &List<crate::inventory::raw::RawGitApp>, app_span: Span) -> Vec<GitApp> {
    check.missing(raw, "apps", "a Frappe application", app_span);
    let mut apps = Vec::new();
    let mut seen = Seen::new("app");
    for (app, span) in check.items(raw) {
        let name = check.required(&app.name, "name", "an app", span, rules::package_name);
        let first = name.is_empty() || seen.add(check, name.as_str(), app.name.span);
        let app = GitApp {
            url: git_url(check, &app.url, "an app", span),
            git_ref: check.required(&app.git_ref, "ref", "an app", span, rules::git_ref),
            name,
        };
        if first {
            apps.push(app);
        }
    }
    let first = raw
        .value
        .as_ref()
        .and_then(|list| list.first())
        .and_then(|app| app.value.as_ref());
    match first {
        Some(first) if first.name.value.as_deref().is_some_and(|name| name != "frappe") => {
            let diagnostic = Diagnostic::new(
                "inventory::apps",
                "the first app must be `frappe`: the others build on it",
            );
            check.report(diagnostic.at(first.name.span, "not frappe").help("list `frappe` first"));
        }
        None if raw.value.as_ref().is_some_and(Vec::is_empty) => {
            check
                .report(Diagnostic::new("inventory::apps", "there are no apps").at(raw.span, "list `frappe` at least"));
        }
        _ => {}
    }
    apps
}

fn git_url(check: &mut Check, at: &At<String>, owner: &str, owner_span: Span) -> String {
    let url = check.required(at, "url", owner, owner_span, rules::git_url);
    if rules::url_has_password(&url) {
        check.report(
            Diagnostic::new("inventory::literal_secret", "this URL carries a password")
                .at(at.span, "it would be kept in clear on every host")
                .help("use ssh with a deploy key, or a credential helper on the hosts"),
        );
    }
    url
}

fn wsgi(check: &mut Check, raw: &RawWsgi, span: Span) -> Wsgi {
    let url = git_url(check, &raw.url, "the app", span);
    let name = match check.text(&raw.name, rules::word) {
        Some(name) => name,
        None if raw.name.is_missing() && !url.is_empty() => name_from_url(check, &url, raw.url.span),
        None => String::new(),
    };
    let path = check
        .text(&raw.path, rules::host_path)
        .unwrap_or_else(|| format!("/srv/{name}"));
    Wsgi {
        process: process(check, &raw.process(), "app"),
        git_ref: check.required(&raw.git_ref, "ref", "the app", span, rules::git_ref),
        module: check.required(&raw.module, "module", "the app", span, rules::module),
        workers: wsgi_workers(check, &raw.workers),
        migrate: command(check, &raw.migrate),
        env: env(check, raw),
        health: check
            .text(&raw.health, rules::url_path)
            .unwrap_or_else(|| "/".to_owned()),
        static_dir: check.text(&raw.static_dir, rules::inner_path),
        name,
        url,
        path,
    }
}

fn name_from_url(check: &mut Check, url: &str, span: Span) -> String {
    let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name = last
        .strip_suffix(".git")
        .unwrap_or(last)
        .to_lowercase()
        .replace('.', "-");
    if rules::word(&name).is_err() {
        check.report(
            Diagnostic::new(
                "inventory::missing",
                "the app needs a `name`: the URL's last part cannot be one",
            )
            .at(span, format!("`{name}` is no name"))
            .help("add `name:` with lower-case letters, digits, `_` and `-`"),
        );
    }
    name
}

fn wsgi_workers(check: &mut Check, raw: &List<RawWsgiWorker>) -> Vec<WsgiWorker> {
    let mut workers = Vec::new();
    let mut seen = Seen::new("worker");
    for (worker, span) in check.items(raw) {
        let name = workers::program(check, &worker.name, span, &mut seen);
        check.missing(&worker.command, "command", "a worker", span);
        workers.push(WsgiWorker {
            name,
            command: command(check, &worker.command).unwrap_or_default(),
            count: check.number(&worker.count, 1, 1, 256),
        });
    }
    workers
}

fn command(check: &mut Check, at: &At<String>) -> Option<String> {
    check.text(at, |text| match text.trim() {
        "" => Err("is no command".to_owned()),
        _ => fits(text),
    })
}

/// The kernel takes no argument and no variable of 128 KiB or more.
fn fits(text: &str) -> Result<(), String> {
    const LONGEST: usize = 64 * 1024;
    match text.len() {
        0..=LONGEST => Ok(()),
        length => Err(format!("is too long: {length} bytes, at most {LONGEST}")),
    }
}

fn env(check: &mut Check, raw: &RawWsgi) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, value) in raw.env.value.as_ref().map_or(&[][..], |entries| entries.0.as_slice()) {
        let Some((name, span)) = key.get() else { continue };
        if let Err(why) = rules::env_name(name) {
            check.refuse(name, &why, span);
        }
        if OWN_ENV.contains(&name.as_str()) {
            check.refuse(name, "is set by hactl itself, from the live topology", span);
        }
        if SHELL_ENV.contains(&name.as_str()) {
            check.refuse(name, "is kept by the shell that starts the app", span);
        }
        if let Some((text, span)) = value.get()
            && let Err(why) = fits(text)
        {
            check.refuse(text, &why, span);
        }
        env.insert(name.clone(), value.value.clone().unwrap_or_default());
    }
    env
}
