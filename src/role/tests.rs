//! What the roles render, and laws 1 and 2 over all of them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::testing::{ADOPTED, BALANCED, CERTBOT, FRAPPE, GUESTBOOK, REDIS, first, inventory, of_host, pair};
use crate::plan::{Desired, build};
use crate::resource::{Facts, Kind, Observed, SYSTEMS, Spec};

/// All files in full, and what runs.
fn rendered(desired: &Desired, role: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    for resource in desired.resources.iter().filter(|resource| role(resource.role)) {
        match &resource.spec {
            Spec::File(file) => {
                let secret = if file.text.is_secret() { " secret" } else { "" };
                writeln!(
                    out,
                    "=== {} {}:{} {:04o}{secret}",
                    file.path, file.owner, file.group, file.mode
                )
                .unwrap();
                out.push_str(file.text.reveal());
            }
            Spec::Block(block) => writeln!(out, "=== block {} in {}\n{}", block.name, block.path, block.text).unwrap(),
            Spec::Command(command) => {
                writeln!(out, "=== {} {:?}\n{}", command.id(), command.guards, command.run).unwrap();
                if let Some(input) = &command.input {
                    let secret = if input.is_secret() { " secret" } else { "" };
                    writeln!(out, "---{secret} input\n{}", input.reveal()).unwrap();
                }
            }
            Spec::JsonKeys(json) => {
                writeln!(out, "=== {} {}:{} {:04o}", json.id(), json.owner, json.group, json.mode).unwrap();
                let shown = json.keys.iter().map(|(key, value)| (key, "", value.to_string()));
                let secrets = json
                    .secrets
                    .iter()
                    .map(|(key, value)| (key, " secret", value.reveal().to_owned()));
                let seeds = json
                    .seeds
                    .iter()
                    .map(|(key, value)| (key, " secret, once", value.reveal().to_owned()));
                for (key, how, value) in shown.chain(secrets).chain(seeds) {
                    writeln!(out, "{key}{how}: {value}").unwrap();
                }
            }
            Spec::Link(link) => writeln!(out, "=== {} → {}", link.id(), link.target).unwrap(),
            Spec::Service(service) => writeln!(out, "=== {}: {}", service.id(), service.health).unwrap(),
            Spec::Program(program) => {
                writeln!(out, "=== {} {:?}: {}", program.id(), program.processes, program.health).unwrap();
            }
            _ => {}
        }
    }
    out
}

fn bare() -> Observed {
    Observed::bare(Facts::assumed())
}

#[test]
fn a_wsgi_server_renders() {
    let desired = first(&inventory(GUESTBOOK), &Facts::assumed());
    insta::assert_snapshot!("wsgi", rendered(&desired, |_| true));
}

#[test]
fn a_frappe_servers_nginx_renders() {
    let desired = first(&inventory(FRAPPE), &Facts::assumed());
    insta::assert_snapshot!("frappe_nginx", rendered(&desired, |role| role == "nginx"));
}

#[test]
fn a_server_with_certbot_renders() {
    let desired = first(&inventory(CERTBOT), &Facts::assumed());
    insta::assert_snapshot!(
        "certbot",
        rendered(&desired, |role| role == "certbot" || role == "nginx")
    );
}

/// A load balancer that is an app host, too, and an app host behind load balancers.
#[test]
fn a_balanced_cluster_renders() {
    let inventory = inventory(BALANCED);
    let roles = |role: &str| role == "nginx" || role == "keepalived";
    let both = rendered(&of_host(&inventory, "lb2", &Facts::assumed()), roles);
    let app = rendered(&of_host(&inventory, "app1", &Facts::assumed()), roles);
    let shown = format!("##### lb2\n{both}\n##### app1\n{app}");
    insta::assert_snapshot!("balanced", without_keys(&shown));
}

/// Without the lines between the marks of PEM.
fn without_keys(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in text.lines() {
        inside &= !line.starts_with("-----END");
        if !inside {
            out.push_str(line);
            out.push('\n');
        }
        inside |= line.starts_with("-----BEGIN");
    }
    out
}

/// Where systems differ, and nowhere else: package names and files, from Debian 12's.
#[test]
fn systems_differ_only_where_they_must() {
    let mut out = String::new();
    for (kind, text) in [("wsgi", GUESTBOOK), ("frappe", FRAPPE)] {
        let inventory = inventory(text);
        let all = |facts: &Facts| {
            let desired = first(&inventory, facts);
            let mut text = String::new();
            for resource in &desired.resources {
                if let Spec::Package(package) = &resource.spec {
                    writeln!(text, "package {}", package.name).unwrap();
                }
            }
            text + &rendered(&desired, |_| true)
        };
        let base = all(&Facts::assumed());
        writeln!(out, "##### {kind}").unwrap();
        out.extend(
            base.lines()
                .filter(|line| line.starts_with("package "))
                .map(|line| format!("{line}\n")),
        );
        for system in SYSTEMS {
            writeln!(out, "### {}", system.name).unwrap();
            let other = all(&system.assumed());
            let diff = similar::TextDiff::from_lines(&base, &other);
            for change in diff
                .iter_all_changes()
                .filter(|change| change.tag() != similar::ChangeTag::Equal)
            {
                // The configuration's own hash follows from the rest.
                if !change.value().contains("# configuration ") && !change.value().contains("return 200 \"") {
                    write!(out, "{}{change}", change.tag()).unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!("systems", out);
}

#[test]
fn a_frappe_server_renders() {
    let desired = first(&inventory(FRAPPE), &Facts::assumed());
    insta::assert_snapshot!("frappe", rendered(&desired, |role| role == "frappe"));
}

#[test]
fn a_replica_of_redis_renders() {
    let desired = of_host(&inventory(REDIS), "rd2", &Facts::assumed());
    insta::assert_snapshot!(
        "redis",
        rendered(&desired, |role| role == "redis" || role == "sentinel")
    );
}

/// A bench that is taken over: what happens on the host that it left, in which order.
#[test]
fn an_adoption_renders() {
    let adopted = first(&inventory(ADOPTED), &Facts::assumed());
    insta::assert_snapshot!("adopted", rendered(&adopted, |role| role == "adopt"));
    insta::assert_snapshot!("adopted_plan", planned(&adopted, &bench()));
}

/// A host with all packages, and a bench whose common_site_config.json has a key of its own.
fn bench() -> Observed {
    let mut seen = bare();
    for resource in &first(&inventory(ADOPTED), &Facts::assumed()).resources {
        if matches!(resource.spec, Spec::Package(_)) {
            resource.spec.kind().project(&mut seen);
        }
    }
    seen.fresh.clear();
    let common = "/home/frappe/frappe-bench/sites/common_site_config.json";
    seen.contents.insert(
        common.into(),
        br#"{"mail_login": "me", "socketio_port": 9100}"#.to_vec(),
    );
    seen
}

/// Another ref is a migration, in the switch; the one that ran there is none, now and when it is back.
#[test]
fn only_other_refs_migrate_a_site_that_was_taken_over() {
    let before_programs = |text: &str| {
        let steps: Vec<_> = build(&first(&inventory(text), &Facts::assumed()), &bench()).steps;
        let at = |part: &str| steps.iter().position(|step| step.id.contains(part));
        at("run migrate erp") < at("programs frappe")
    };
    let listed = |text: &str, stamp| {
        let desired = first(&inventory(text), &Facts::assumed());
        let migrate = desired
            .resources
            .iter()
            .find(|one| one.spec.kind().id().starts_with("run migrate erp"));
        let mut seen = bench();
        let mut ask = crate::resource::Ask::default();
        let kind = migrate.unwrap().spec.kind();
        kind.ask(&mut ask);
        let answers = ask.sql.keys().map(|key| (key.clone(), "2".to_owned())).collect();
        seen.sql = Ok(answers);
        if let Some(stamp) = stamp {
            let path = "/var/lib/hactl/stamps/migrated-erp.example.com";
            seen.lines.insert(path.into(), String::from(stamp));
        }
        kind.compare(&seen).map(|change| change.summary)
    };
    let newer = ADOPTED.replacen("ref: v15.51.2", "ref: v15.52.0", 1);
    assert_eq!(listed(ADOPTED, None), None);
    assert_eq!(
        listed(ADOPTED, Some("another release")).as_deref(),
        Some("done before, for something else")
    );
    assert_eq!(listed(&newer, None).as_deref(), Some("not done yet"));
    assert!(before_programs(&newer));
    let steps = build(&first(&inventory(ADOPTED), &Facts::assumed()), &bench()).steps;
    assert!(
        !steps.iter().any(|step| step.id.contains("run migrate")),
        "nobody waits for it"
    );
}

#[test]
fn no_rendered_line_lacks_its_template_line() {
    for text in [GUESTBOOK, FRAPPE, CERTBOT, ADOPTED] {
        let inventory = inventory(text);
        for resource in first(&inventory, &Facts::assumed()).resources {
            if let Spec::File(file) = resource.spec
                && let Some(source) = file.source
            {
                assert_eq!(source.lines.len(), file.text.reveal().lines().count(), "{}", file.path);
            }
        }
    }
}

#[test]
fn the_plan_of_a_bare_host() {
    for (name, text) in [("bare", GUESTBOOK), ("bare_frappe", FRAPPE)] {
        let desired = first(&inventory(text), &Facts::assumed());
        insta::assert_snapshot!(name, planned(&desired, &bare()));
    }
}

#[test]
fn the_plan_of_a_bare_host_that_waits() {
    for (name, text) in [("waits", GUESTBOOK), ("waits_frappe", FRAPPE)] {
        let desired = of_host(&inventory(&pair(text)), "srv2", &Facts::assumed());
        insta::assert_snapshot!(name, planned(&desired, &bare()));
    }
    let desired = of_host(&inventory(&pair(FRAPPE)), "srv2", &Facts::assumed());
    insta::assert_snapshot!(
        "waits_files",
        rendered(&desired, |role| matches!(role, "files" | "keepalived"))
    );
}

fn planned(desired: &Desired, seen: &Observed) -> String {
    let plan = build(desired, seen);
    let mut out = format!("{} resources\n", plan.resources);
    for step in &plan.steps {
        writeln!(out, "[{}] {} ({} s)", step.role, step.id, step.deadline).unwrap();
        for change in &step.changes {
            writeln!(
                out,
                "  {} {}: {}",
                change.change.action.sign(),
                change.resource,
                change.change.summary
            )
            .unwrap();
        }
    }
    out
}

/// Secrets are in blobs that are marked, never in a script, a summary or a diff.
#[test]
fn a_plan_shows_no_secret() {
    let waits = [GUESTBOOK, FRAPPE].map(|text| of_host(&inventory(&pair(text)), "srv2", &Facts::assumed()));
    for desired in DESIRED.iter().chain(&waits) {
        let plan = build(desired, &bare());
        let shown = serde_json::to_string(&plan).unwrap();
        assert!(
            !shown.contains("<redis/")
                && !shown.contains("<app/")
                && !shown.contains("<site/")
                && !shown.contains("/key>")
        );
        for step in &plan.steps {
            let plain = step.script.blobs.iter().filter_map(|blob| blob.shown());
            for text in plain.chain([step.script.body.as_str()]) {
                assert!(
                    !["<redis/", "<app/", "<site/", "/key>", "%3Credis"]
                        .iter()
                        .any(|secret| text.contains(secret)),
                    "{}",
                    step.id
                );
            }
        }
    }
}

fn project_all(desired: &Desired, seen: &mut Observed) {
    for resource in &desired.resources {
        let kind = resource.spec.kind();
        if kind.compare(seen).is_some() {
            kind.project(seen);
        }
    }
    seen.fresh.clear();
}

/// Left of the plan after it was applied.
fn rest(desired: &Desired, seen: &Observed) -> Vec<String> {
    let plan = build(desired, seen);
    plan.steps
        .iter()
        .flat_map(|step| &step.changes)
        .map(|change| format!("{}: {}", change.resource, change.change.summary))
        .collect()
}

/// What each kind of server should have; rendered once.
static DESIRED: LazyLock<Vec<Desired>> = LazyLock::new(|| {
    let facts = Facts::assumed();
    let mut desired = [GUESTBOOK, FRAPPE, CERTBOT, ADOPTED]
        .map(|text| first(&inventory(text), &facts))
        .to_vec();
    let others = [(REDIS, "rd1"), (REDIS, "rd2"), (BALANCED, "lb2")];
    desired.extend(others.map(|(text, host)| of_host(&inventory(text), host, &facts)));
    // The other one's data come from elsewhere; see `pair`.
    desired.extend([GUESTBOOK, FRAPPE].map(|text| of_host(&inventory(&pair(text)), "srv1", &facts)));
    desired
});

#[test]
fn applying_the_plan_of_a_bare_host_leaves_nothing_to_do() {
    for desired in DESIRED.iter() {
        let mut seen = bare();
        project_all(desired, &mut seen);
        assert_eq!(rest(desired, &seen), [""; 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Law 1, from any state that a cut run, another tool or an older hactl may have left: some resources are there,
    /// in any combination, and some of what was there is gone again.
    #[test]
    fn applying_any_plan_leaves_nothing_to_do(
        which in 0usize..7,
        there in proptest::collection::vec(any::<bool>(), 128),
        stopped in any::<bool>(),
        sql_down in any::<bool>(),
        rebooted in any::<bool>(),
    ) {
        let desired = &DESIRED[which];
        let mut seen = bare();
        for (index, resource) in desired.resources.iter().enumerate() {
            if there[index % there.len()] {
                resource.spec.kind().project(&mut seen);
            }
        }
        seen.fresh.clear();
        if stopped {
            for unit in seen.units.values_mut() {
                unit.active = "failed".into();
            }
            seen.programs = None;
        }
        if sql_down {
            seen.sql = Err("ERROR 2002 (HY000): Can't connect".into());
        }
        if rebooted {
            seen.loaded.clear();
        }
        let before = rest(desired, &seen);
        project_all(desired, &mut seen);
        prop_assert_eq!(rest(desired, &seen), Vec::<String>::new(), "first plan: {:?}", before);
    }

    /// What a cut run leaves: a prefix.
    #[test]
    fn a_cut_run_is_finished_by_the_next(which in 0usize..7, cut in 0usize..100) {
        let desired = &DESIRED[which];
        let mut seen = bare();
        for resource in desired.resources.iter().take(cut) {
            resource.spec.kind().project(&mut seen);
        }
        seen.fresh.clear();
        project_all(desired, &mut seen);
        prop_assert_eq!(rest(desired, &seen), Vec::<String>::new());
    }
}
