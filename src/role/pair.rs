//! Two full servers: one serves, the other waits with everything in place. Which one is which follows from MariaDB's writer,
//! now ([`HostView::waits`]): when that has moved, what serves follows it, and nobody is pointed back.
//!
//! On the host that waits the data stores run and follow, and what serves or works (nginx, and supervisord with all
//! programs) is stopped and does not start at boot. Its configuration is the same as on the other host, so to start these
//! two units is all that makes it serve.

use super::health::{Check, Health, Kind, State};
use super::peers::{self, Circle};
use super::{Scope, gate, nginx, stage, supervisor};
use crate::inventory::Process;
use crate::quote::{sh, sh_words};
use crate::resource::{Command, Guard, Observed, Release, Stopped};
use crate::topology::HostView;

/// Declares that what serves does not run here, and is stopped before the other host starts it.
pub(super) fn stopped(scope: &mut Scope, unit: &str, package: &str) {
    scope.barrier(stage::YIELDS);
    scope.add(Stopped {
        unit: unit.into(),
        package: package.into(),
    });
}

/// Declares the release of a host that waits: it goes to the one that the other host serves, when that does serve it. A
/// database has one schema, and whoever takes over must have the code for it.
pub(super) fn declare_release(scope: &mut Scope, release: Release) {
    let view = scope.view;
    scope.barrier(stage::SERVES);
    for other in peers::other_apps(&view) {
        let run = format!(
            "said=$({ask} release) || {{ echo {silent}; exit 1; }}\n\
             case $said in\n\
             \x20   *' open '{id}) ;;\n\
             \x20   *) echo {differs}; echo \"it says: $said\"; exit 1 ;;\n\
             esac",
            ask = sh_words(peers::reach(Circle::Apps, other)),
            id = sh(&release.id),
            silent = sh(&format!(
                "{} does not say which release it serves; this host keeps its own",
                other.name
            )),
            differs = sh(&format!(
                "{} does not serve release {}, so this host, which waits for it, does not take it: hactl apply on both",
                other.name, release.id
            )),
        );
        let current = format!("{}/current", release.path);
        let process = scope.inventory().app.process();
        let guard = Guard::Passes(format!(
            "[ \"$(readlink -- {})\" = {} ]",
            sh(&current),
            sh(&format!("releases/{}", release.id))
        ));
        let name = format!("question whether {} serves release {}", other.name, release.id);
        scope.add(Command {
            guards: vec![guard],
            ..asked(process, name, &release.path, run)
        });
    }
    scope.add(release);
}

/// A command of the application's user, whose key opens the other host.
fn asked(process: &Process, name: String, dir: &str, run: String) -> Command {
    gate::command(process, name, dir, run, 60)
}

/// What is looked at on a host that waits, instead of what would serve.
pub(super) fn checks(view: &HostView) -> Vec<Check> {
    let serves = serving(view).unwrap_or_default();
    let waits = |unit: &str| Check {
        name: unit.to_owned(),
        kind: Kind::Waits(unit.to_owned(), serves.clone()),
    };
    let answers = |name: &str, test: &str| Check {
        name: name.to_owned(),
        kind: Kind::Answers(test.to_owned()),
    };
    vec![
        waits(supervisor::UNIT),
        answers(
            "programs' configuration",
            "/usr/bin/python3 -c 'from supervisor.options import ServerOptions; \
             ServerOptions().realize([\"-c\", \"/etc/supervisor/supervisord.conf\"])' 2>&1 || exit 1\n\
             echo 'supervisord accepts it'",
        ),
        waits(nginx::UNIT),
        answers(
            "nginx configuration",
            "nginx -t -q 2>&1 || exit 1\necho 'nginx accepts it'",
        ),
    ]
}

/// The host that serves, seen from the one that waits.
pub fn serving(view: &HostView) -> Option<String> {
    let writer = view.topology.writer().filter(|_| view.waits())?;
    Some(writer.name.clone())
}

/// Whether a host that waits could take over, by all that was found there; `None` for other hosts. `active` is what the
/// host that serves said, if it did.
pub fn standby(view: &HostView, findings: &[Health], seen: &Observed, active: Option<&Observed>) -> Option<Health> {
    let serves = serving(view)?;
    let current = gate::current(&view.topology.inventory.app);
    let release = |seen: &Observed| seen.paths.get(&current).and_then(|state| state.target.clone());
    let mut wrong: Vec<String> = Vec::new();
    let same = active.map(|active| release(active) == release(seen));
    if same == Some(false) {
        wrong.push(format!("its release is another than that of {serves}"));
    }
    let mut state = match wrong.is_empty() {
        true => State::Ok,
        false => State::Bad,
    };
    for finding in findings.iter().filter(|finding| finding.state != State::Ok) {
        wrong.push(format!("{} {}", finding.name, finding.detail));
        state = state.max(finding.state);
    }
    let detail = |name: &str| {
        let found = findings.iter().find(|finding| finding.name == name);
        found.map(|finding| finding.detail.clone())
    };
    let good = || {
        let mut parts: Vec<String> = detail("replication").into_iter().collect();
        parts.extend(detail("redis set queue").map(|queue| format!("redis {queue}")));
        parts.extend(detail("files").map(|files| format!("files {files}")));
        parts.push(match same {
            Some(_) => format!("the release of {serves}"),
            None => format!("{serves} does not say which release it has"),
        });
        parts.push("nginx and programs are configured, and stopped".into());
        format!("ready: {}", parts.join("; "))
    };
    let detail = match state {
        State::Ok => good(),
        State::Warn => format!("ready, but: {}", wrong.join("; ")),
        State::Bad => format!("not ready: {}", wrong.join("; ")),
    };
    Some(Health {
        name: "standby".into(),
        state,
        detail,
        certificate: None,
    })
}
