//! What runs under supervisord: gunicorn, the realtime server, the scheduler, workers.

use std::time::Duration;

use super::super::app::{Group, Supervised};
use super::super::nginx;
use super::gunicorn_config;
use crate::inventory::{Frappe, HostRole, QueueWorker, Site};
use crate::quote::sh;
use crate::topology::HostView;

/// Certificates that Debian's programs trust.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Group of what answers requests.
const WEB: &str = "frappe";
/// Group of what works off queues. Its own, since a restart waits for jobs to end, which no visitor should.
const WORKERS: &str = "frappe-workers";

/// The groups of programs; `watches` is what all of them read at start.
pub(super) fn declared(view: &HostView, frappe: &Frappe, mut watches: Vec<String>) -> Vec<Group> {
    watches.push(format!("{}/current", frappe.path));
    let mut groups = Vec::new();
    if view.has(HostRole::App) {
        let trusted = certificate(view);
        let programs = vec![web(frappe), socketio(frappe, trusted.as_deref().unwrap_or(TRUSTED))];
        let mut watches = watches.clone();
        watches.push(gunicorn_config(frappe));
        watches.extend(trusted);
        groups.push(Group {
            name: WEB.into(),
            programs,
            watches,
            health: test(view, frappe),
            patience: Duration::from_secs(90),
        });
    }
    if view.has(HostRole::Worker) {
        let mut programs: Vec<_> = workers(view, frappe)
            .iter()
            .map(|worker| queue_worker(frappe, worker))
            .collect();
        programs.extend(schedule(view, frappe));
        if one_of_several(view).is_some() {
            watches.push(scheduler_script(frappe));
        }
        if !programs.is_empty() {
            groups.push(Group {
                name: WORKERS.into(),
                programs,
                watches,
                health: "true".into(),
                patience: Duration::from_secs(60),
            });
        }
    }
    groups
}

/// The workers of this host.
fn workers<'a>(view: &HostView<'a>, frappe: &'a Frappe) -> &'a [QueueWorker] {
    view.host.workers.as_ref().unwrap_or(&frappe.workers)
}

/// The groups that a host has.
pub(in super::super) fn groups(view: &HostView, frappe: &Frappe) -> Vec<&'static str> {
    let works = view.has(HostRole::Worker) && (!workers(view, frappe).is_empty() || schedule(view, frappe).is_some());
    let all = [(view.has(HostRole::App), WEB), (works, WORKERS)];
    all.into_iter()
        .filter(|(has, _)| *has)
        .map(|(_, group)| group)
        .collect()
}

/// Words that run something in the current release.
fn run(frappe: &Frappe, words: &[&str]) -> Vec<String> {
    let wrapper = format!("{}/run", frappe.path);
    std::iter::once(wrapper.as_str())
        .chain(words.iter().copied())
        .map(str::to_owned)
        .collect()
}

fn command(frappe: &Frappe, words: &[&str]) -> Vec<String> {
    let python = ["python", "-m", "frappe.utils.bench_helper", "frappe"];
    run(frappe, &[&python, words].concat())
}

fn program(frappe: &Frappe, name: &str, command: Vec<String>, priority: u32) -> Supervised {
    Supervised {
        name: name.to_owned(),
        command,
        directory: format!("{}/sites", frappe.path),
        priority,
        ..Supervised::default()
    }
}

fn web(frappe: &Frappe) -> Supervised {
    Supervised {
        // New workers connect as it says by then; nobody waits for a restart when a password is rotated.
        reloads: vec![format!("{}/sites/common_site_config.json", frappe.path)],
        ..program(
            frappe,
            "web",
            run(frappe, &["gunicorn", "-c", &gunicorn_config(frappe)]),
            100,
        )
    }
}

/// It asks the site at its public name who a user is, so it must trust the site's certificate.
fn socketio(frappe: &Frappe, trusted: &str) -> Supervised {
    Supervised {
        environment: vec![
            ("NODE_ENV".to_owned(), "production".to_owned()),
            ("NODE_EXTRA_CA_CERTS".to_owned(), trusted.to_owned()),
        ],
        ..program(
            frappe,
            "socketio",
            run(frappe, &["node", "../apps/frappe/socketio.js"]),
            100,
        )
    }
}

/// The scheduler: two would start jobs twice. Where several hosts could run it, whoever holds the lock does; without a site
/// there is no database to hold one in, nor anything to schedule.
fn schedule(view: &HostView, frappe: &Frappe) -> Option<Supervised> {
    let words = command(frappe, &["schedule"]);
    let Some(site) = one_of_several(view) else {
        let first = view.topology.with_role(HostRole::Worker).next();
        return first
            .filter(|first| first.name == view.host.name)
            // It ends by itself when it sees that another one runs.
            .map(|_| scheduler(frappe, words, true));
    };
    let (script, state) = (scheduler_script(frappe), scheduler_state(frappe));
    let holder = run(frappe, &["python", &script, &site.name, &state]);
    // `run` has set up what the command needs.
    let python = words.get(1..).unwrap_or_default();
    Some(scheduler(frappe, [&holder, python].concat(), false))
}

fn scheduler(frappe: &Frappe, command: Vec<String>, may_end: bool) -> Supervised {
    Supervised {
        may_end,
        jobs: true,
        ..program(frappe, "schedule", command, 150)
    }
}

/// On a host that is one of several which could schedule: the site whose database account holds the lock.
pub(in super::super) fn one_of_several<'a>(view: &HostView<'a>) -> Option<&'a Site> {
    let topology = view.topology;
    let several = topology.with_role(HostRole::Worker).nth(1).is_some();
    let site = topology.inventory.sites.first();
    site.filter(|_| several && view.has(HostRole::Worker))
}

/// What knows of jobs that nobody will run any more.
pub(super) fn jobs_script(frappe: &Frappe) -> String {
    format!("{}/jobs.py", frappe.path)
}

/// The command line, for root's shell, that asks it; see the script for the words.
pub(crate) fn jobs(frappe: &Frappe, words: &[&str]) -> String {
    let mut command = vec!["runuser", "-u", &frappe.process.user, "--"];
    let (run, script) = (format!("{}/run", frappe.path), jobs_script(frappe));
    command.extend([run.as_str(), "python", &script]);
    command.extend(words);
    format!("timeout 30 {}", crate::quote::sh_words(&command))
}

/// What holds the lock.
pub(super) fn scheduler_script(frappe: &Frappe) -> String {
    format!("{}/scheduler.py", frappe.path)
}

/// Where it says whether it does.
pub(in super::super) fn scheduler_state(frappe: &Frappe) -> String {
    format!("{}/config/scheduler.state", frappe.path)
}

/// A worker that is told to end finishes its job first.
fn queue_worker(frappe: &Frappe, worker: &QueueWorker) -> Supervised {
    let queues = worker.queues.join(",");
    Supervised {
        count: worker.count,
        stopwaitsecs: worker.timeout.saturating_add(60),
        jobs: true,
        ..program(
            frappe,
            &worker.name,
            command(frappe, &["worker", "--queue", &queues]),
            200,
        )
    }
}

/// The certificate that node must be told of; those that the operator gave come from authorities that it knows, or that
/// the host knows.
fn certificate(view: &HostView) -> Option<String> {
    let sites = &view.topology.inventory.sites;
    sites
        .iter()
        .filter(|site| matches!(site.tls, crate::inventory::Tls::SelfSigned))
        .find_map(nginx::certificate)
}

/// Passes when gunicorn answers for the first site and the realtime server shakes hands.
fn test(view: &HostView, frappe: &Frappe) -> String {
    let sites = &view.topology.inventory.sites;
    let site = sites.first().map_or("localhost", |site| site.name.as_str());
    format!(
        "curl -fsS -o /dev/null --max-time 8 -H {host} http://127.0.0.1:{web}/api/method/ping || exit 1\n\
         hello=$(curl -fsS --max-time 5 'http://127.0.0.1:{socketio}/socket.io/?EIO=4&transport=polling') || exit 1\n\
         case $hello in '0{{\"sid\"'*) ;; *) echo \"the realtime server says: $hello\"; exit 1 ;; esac",
        host = sh(&format!("Host: {site}")),
        web = frappe.process.web_port,
        socketio = frappe.socketio_port,
    )
}
