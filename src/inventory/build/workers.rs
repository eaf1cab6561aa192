//! Frappe's background workers: what the application wants everywhere, and what one host has instead.

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{App, HostRole, Inventory, QueueWorker};
use crate::inventory::raw::{List, RawHost, RawQueueWorker};
use crate::inventory::rules;
use crate::inventory::yaml::{At, Entries};

use super::check::{Check, Seen};

/// Names of supervisor programs that hactl itself gives.
const PROGRAMS: [&str; 3] = ["web", "socketio", "schedule"];

/// `app.workers`.
pub fn of_app(check: &mut Check, raw: &List<RawQueueWorker>) -> Vec<QueueWorker> {
    if raw.is_missing() {
        let worker = |name: &str, queues: &[&str], timeout| QueueWorker {
            name: name.to_owned(),
            queues: queues.iter().map(|&q| q.to_owned()).collect(),
            count: 1,
            timeout,
        };
        return vec![
            worker("short", &["short", "default"], 300),
            worker("long", &["long", "default", "short"], 1500),
        ];
    }
    named(check, raw)
}

/// `workers` of a host; `None`: what the application says.
pub fn of_host(check: &mut Check, raw: &RawHost) -> Option<Vec<QueueWorker>> {
    (!raw.workers.is_missing()).then(|| named(check, &raw.workers))
}

/// A host that has workers of its own must be one that works, for an application whose workers these are.
pub fn check(check: &mut Check, inventory: &Inventory, raw: &At<Entries<RawHost>>) {
    for (key, host) in super::hosts::entries(raw) {
        let (Some(name), Some(host)) = (&key.value, &host.value) else {
            continue;
        };
        if host.workers.is_missing() {
            continue;
        }
        let wrong = match inventory.hosts.get(name) {
            Some(known) if !known.roles.contains(&HostRole::Worker) => Some("this host has not the role `worker`"),
            _ if matches!(inventory.app, App::Wsgi(_)) => Some("only Frappe's workers can differ from host to host"),
            _ => None,
        };
        if let Some(why) = wrong {
            let diagnostic = Diagnostic::new("inventory::workers", format!("`{name}` cannot have workers of its own"));
            check.report(diagnostic.at(host.workers.span, why));
        }
    }
}

fn named(check: &mut Check, raw: &List<RawQueueWorker>) -> Vec<QueueWorker> {
    let mut workers = Vec::new();
    let mut seen = Seen::new("worker");
    for (worker, span) in check.items(raw) {
        let name = program(check, &worker.name, span, &mut seen);
        let mut queues = check.texts(&worker.queues, rules::word);
        if worker.queues.is_missing() && !name.is_empty() {
            queues.push(name.clone());
        } else if worker.queues.value.as_ref().is_some_and(Vec::is_empty) {
            let empty = Diagnostic::new("inventory::value", format!("worker `{name}` serves no queue"));
            check.report(empty.at(worker.queues.span, "name one"));
        }
        let default_timeout = if queues.iter().any(|q| q == "long") { 1500 } else { 300 };
        workers.push(QueueWorker {
            count: check.number(&worker.count, 1, 1, 256),
            timeout: check.number(&worker.timeout, default_timeout, 1, 604_800),
            name,
            queues,
        });
    }
    workers
}

/// The name of a worker, which is a program's under supervisord.
pub fn program(check: &mut Check, at: &At<String>, owner: Span, seen: &mut Seen) -> String {
    let name = check.required(at, "name", "a worker", owner, rules::word);
    if PROGRAMS.contains(&name.as_str()) {
        check.refuse(&name, "is a name that hactl's own programs have", at.span);
    } else if !name.is_empty() {
        seen.add(check, name.as_str(), at.span);
    }
    name
}
