//! Two full servers: one serves, the other waits with everything in place. Which one is which follows from MariaDB's writer,
//! now ([`HostView::waits`]): when that has moved, what serves follows it, and nobody is pointed back.
//!
//! On the host that waits the data stores run and follow, and what serves or works (nginx, and supervisord with all
//! programs) is stopped and does not start at boot. Its configuration is the same as on the other host, so to start these
//! two units is all that makes it serve.

use super::health::{Check, Health, Kind, State};
use super::peers::{self, Circle};
use super::{Scope, gate, nginx, redis, stage, supervisor};
use crate::inventory::{Host, Process};
use crate::quote::{sh, sh_words};
use crate::resource::{Command, Guard, Observed, RedisReplica, Release, Stopped};
use crate::topology::{HostView, Topology};

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

/// Shell that ends what serves and works on the one of a pair that hands over, or lost its MariaDB; then its Redis is given
/// time to pass on what it has.
pub fn serves_no_more(topology: Topology) -> String {
    let each = each_redis(topology, "passed_on");
    format!("{}{each}", include_str!("pair_yields.sh"))
}

/// Shell that makes the Redis of the other one lead.
pub fn redis_leads(topology: Topology) -> String {
    let each = each_redis(topology, "leads");
    format!("{}{each}", include_str!("pair_leads.sh"))
}

/// That Redis of the one that handed over follows the other one's.
pub fn redis_follows(topology: Topology, leader: &Host) -> Vec<RedisReplica> {
    let instances = redis::instances(&topology.inventory.redis);
    let replica = |instance: &redis::Instance| RedisReplica {
        instance: instance.in_set(),
        leader: leader.name.clone(),
        address: leader.address,
        port: instance.port,
    };
    instances.iter().map(replica).collect()
}

/// A call for each instance, with `redis` talking to it.
fn each_redis(topology: Topology, call: &str) -> String {
    let instances = redis::instances(&topology.inventory.redis);
    let line = |instance: &redis::Instance| {
        format!(
            "( redis_port {}; redis_password {}; {call} {} )\n",
            sh(&instance.config()),
            sh(&instance.password_file()),
            instance.name
        )
    };
    let functions = format!(
        "{}\n{}\n",
        crate::resource::redis::FUNCTIONS,
        crate::resource::redis::STEP
    );
    functions + &instances.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Desired, build};
    use crate::resource::observed::{PathState, UnitState};
    use crate::resource::{Facts, PathKind, Spec};
    use crate::role::health;
    use crate::role::testing::{FRAPPE, GUESTBOOK, inventory, living, pair};
    use crate::topology::{Live, Topology};

    fn writer(name: &str) -> Live {
        Live {
            writer: Some(name.into()),
            ..Live::default()
        }
    }

    fn desired(text: &str, host: &str, live: &Live) -> Desired {
        living(&inventory(&pair(text)), host, &Facts::assumed(), live)
    }

    /// A host on which all of it was done.
    fn made(desired: &Desired) -> Observed {
        let mut seen = Observed::bare(Facts::assumed());
        let mut resources: Vec<_> = desired.resources.iter().collect();
        resources.sort_by_key(|resource| resource.stage);
        for resource in resources {
            resource.spec.kind().project(&mut seen);
            // A guard reads it as a line.
            if let Spec::File(file) = &resource.spec
                && file.path.starts_with("/var/lib/hactl/stamps/")
            {
                let line = file.text.reveal().trim_end().to_owned();
                seen.lines.insert(file.path.clone(), line);
            }
        }
        seen.fresh.clear();
        seen
    }

    /// `STAGE RESOURCE: SUMMARY` of what would be changed.
    fn changes(desired: &Desired, seen: &Observed) -> Vec<String> {
        let plan = build(desired, seen);
        let of = |step: &crate::plan::Step| {
            let changes = step.changes.iter();
            let stage = step.stage;
            changes
                .map(|change| format!("{stage} {}: {}", change.resource, change.change.summary))
                .collect::<Vec<_>>()
        };
        plan.steps.iter().flat_map(of).collect()
    }

    #[test]
    fn who_waits_follows_from_the_live_writer() {
        let inventory = inventory(&pair(GUESTBOOK));
        for (live, waiting) in [
            (Live::default(), "srv2"),
            (writer("srv1"), "srv2"),
            (writer("srv2"), "srv1"),
            // One that was taken out of the inventory is nobody.
            (writer("srv3"), "srv2"),
        ] {
            let topology = Topology::living(&inventory, &live);
            let waits: Vec<_> = topology.hosts().filter(HostView::waits).collect();
            assert_eq!(waits.len(), 1);
            assert_eq!(waits[0].host.name, waiting, "{live:?}");
        }
        let alone = crate::role::testing::inventory(GUESTBOOK);
        assert!(!Topology::of(&alone).hosts().any(|view| view.waits()));
    }

    /// What the two run differs; what stands in their configuration does not.
    #[test]
    fn to_serve_takes_no_other_configuration() {
        for text in [GUESTBOOK, FRAPPE] {
            let files = |host: &str| {
                let desired = desired(text, host, &writer("srv1"));
                let files = desired
                    .resources
                    .into_iter()
                    .filter_map(|resource| match resource.spec {
                        Spec::File(file) => Some((file.path, file.text.reveal().to_owned())),
                        _ => None,
                    });
                files
                    .filter(|(path, _)| path.starts_with("/etc/nginx") || path.starts_with("/etc/supervisor"))
                    .collect::<Vec<_>>()
            };
            let of_active = files("srv1");
            assert!(of_active.len() > 3);
            assert_eq!(of_active, files("srv2"));
        }
    }

    /// Whichever has the writer serves: what the other runs ends in an earlier stage than that in which it is started.
    #[test]
    fn what_serves_follows_the_writer_and_is_stopped_before_it_is_started() {
        for text in [GUESTBOOK, FRAPPE] {
            let (before, after) = (writer("srv1"), writer("srv2"));
            let [active, waiting] = ["srv1", "srv2"].map(|host| made(&desired(text, host, &before)));
            let units = |changes: Vec<String>| {
                let of_units = changes
                    .into_iter()
                    .filter(|change| change.contains(" nginx.service:") || change.contains(" supervisor.service:"));
                of_units.collect::<Vec<_>>()
            };
            let stops = changes(&desired(text, "srv1", &after), &active);
            assert_eq!(
                units(stops.clone()),
                [
                    "25 stopped supervisor.service: stop and disable",
                    "25 stopped nginx.service: stop and disable"
                ]
            );
            let starts = changes(&desired(text, "srv2", &after), &waiting);
            assert_eq!(
                units(starts.clone()),
                [
                    "30 service supervisor.service: is inactive: enable and start",
                    "30 service nginx.service: is inactive: enable and start"
                ]
            );
            // No release is switched and nothing migrated for that.
            let known = |change: &&String| !change.contains("MariaDB could not be asked");
            for change in starts.iter().chain(&stops).filter(known) {
                let what = change.split_once(' ').unwrap().1;
                assert!(
                    !what.starts_with("run migrat") && !what.starts_with("release "),
                    "{change}"
                );
            }
            // What is asked of real hosts only.
            let asked = |change: &str| {
                let what = ["run ", "data directory"];
                let change = change.split_once(' ').unwrap().1;
                what.iter().any(|what| change.starts_with(what))
            };
            // Where nothing has moved nothing is to be done.
            for (host, seen) in [("srv1", &active), ("srv2", &waiting)] {
                let left = changes(&desired(text, host, &before), seen);
                let left: Vec<_> = left.iter().filter(|change| !asked(change)).collect();
                assert_eq!(left, [""; 0], "{host}");
            }
        }
    }

    fn verdict(edit: impl FnOnce(&mut Vec<Health>), same: Option<bool>) -> Health {
        let inventory = inventory(&pair(GUESTBOOK));
        let live = writer("srv1");
        let view = Topology::living(&inventory, &live).host("srv2").unwrap();
        let good = |name: &str, detail: &str| Health {
            name: name.into(),
            state: State::Ok,
            detail: detail.into(),
            certificate: None,
        };
        let mut findings = vec![
            good("replication", "follows 10.77.0.11, 0 s behind"),
            good("redis set queue", "follows 10.77.0.11:11000"),
            good("nginx.service", "is stopped: srv1 serves"),
        ];
        edit(&mut findings);
        let with = |release: &str| {
            let mut seen = Observed::bare(Facts::assumed());
            let link = PathState {
                kind: PathKind::Link,
                target: Some(format!("releases/{release}")),
                ..PathState::foretold()
            };
            seen.paths.insert(gate::current(&inventory.app), link);
            seen
        };
        let active = same.map(|same| with(if same { "a" } else { "b" }));
        assert!(
            standby(
                &Topology::living(&inventory, &live).host("srv1").unwrap(),
                &[],
                &with("a"),
                None
            )
            .is_none()
        );
        standby(&view, &findings, &with("a"), active.as_ref()).unwrap()
    }

    #[test]
    fn a_host_that_waits_says_whether_it_could_take_over() {
        let ready = verdict(|_| {}, Some(true));
        assert_eq!(
            (ready.state, ready.detail.as_str()),
            (
                State::Ok,
                "ready: follows 10.77.0.11, 0 s behind; redis follows 10.77.0.11:11000; the release of srv1; \
                 nginx and programs are configured, and stopped"
            )
        );
        assert!(
            verdict(|_| {}, None)
                .detail
                .contains("srv1 does not say which release it has")
        );
        let other = verdict(|_| {}, Some(false));
        assert_eq!(other.state, State::Bad);
        assert_eq!(other.detail, "not ready: its release is another than that of srv1");
        let late = verdict(
            |findings| {
                findings[0].state = State::Warn;
                findings[0].detail = "follows 10.77.0.11, 70 s behind".into();
            },
            Some(true),
        );
        assert_eq!(late.state, State::Warn);
        assert_eq!(late.detail, "ready, but: replication follows 10.77.0.11, 70 s behind");
    }

    #[test]
    fn a_host_that_waits_and_runs_what_serves_is_named() {
        let inventory = inventory(&pair(GUESTBOOK));
        let live = writer("srv1");
        let view = Topology::living(&inventory, &live).host("srv2").unwrap();
        let checks = health::checks(&view);
        let mut seen = made(&desired(GUESTBOOK, "srv2", &live));
        let of = |seen: &Observed| {
            let found = health::read(&checks, seen);
            found.into_iter().find(|found| found.name == "nginx.service").unwrap()
        };
        assert_eq!(of(&seen).state, State::Ok);
        let mut unit = |active: &str, enabled: &str| {
            let state = UnitState {
                active: active.into(),
                enabled: enabled.into(),
                invocation: "1".into(),
                since: 1,
            };
            seen.units.insert("nginx.service".into(), state);
            of(&seen).detail
        };
        assert!(unit("active", "disabled").contains("though srv1 serves"));
        assert!(unit("inactive", "enabled").contains("a boot would start it"));
        assert!(!checks.iter().any(|check| check.name.starts_with("site ")));
    }
}
