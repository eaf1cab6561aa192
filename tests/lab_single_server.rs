//! The single server on a real host: from bare to served, and what an operator relies on afterwards.

mod common;

use common::stack::{Serves, Stack};
use serde_json::Value;

/// Ids of the resources that steps of this kind of event are about.
fn finished(events: &[Value], outcome: &str) -> Vec<String> {
    events
        .iter()
        .filter(|event| event["event"] == "step_finished" && event["outcome"] == outcome)
        .map(|event| event["step"].as_str().unwrap().to_owned())
        .collect()
}

fn planned(events: &[Value]) -> Vec<String> {
    let plan = events.iter().find(|event| event["event"] == "planned").expect("a plan");
    let steps = plan["plan"]["hosts"][0]["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A whole life of one server, in the order in which an operator meets it; booting is too dear for a host per check.
#[test]
fn from_bare_to_served_and_kept() {
    let stack = Stack::boot(40, Serves::Guestbook, false);

    // Bare: the plan is made without an error, says what it will do, and apply does exactly that.
    let plan = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    let first = stack.apply(&[]).exits(0);
    let events = first.events();
    assert_eq!(
        finished(&events, "changed"),
        planned(&plan.events()),
        "apply did what plan had printed"
    );
    println!("first apply: {}", first.summary());

    // Served, by nginx, from the application, which wrote to MariaDB and Redis.
    let (code, page) = stack.fetch("/", &[]);
    assert_eq!(code, 200, "{page}");
    assert_eq!(
        stack.fetch("/entries", &["-d", "author=Ada", "-d", "text=hello"]).0 / 100,
        3,
        "a redirect after the post"
    );
    stack.wait_until("the worker did the job", || {
        let state: Value = serde_json::from_str(&stack.fetch("/api/state", &[]).1).unwrap_or_default();
        ["db_writes", "redis_counter", "jobs_done"]
            .iter()
            .all(|key| state[key].as_u64() >= Some(1))
    });

    // The second apply finds nothing to do, in one round trip.
    let second = stack.apply(&[]).exits(0).summary();
    println!("second apply: {second}");
    assert_eq!(second["changed"], 0, "{second}");
    assert!(second["unchanged"].as_u64() > Some(60), "{second}");
    assert_eq!(second["hosts"][0]["round_trips"], 1, "{second}");
    let _ = stack.hactl(&["plan", "--exit-code"]).exits(0);
    let _ = stack.hactl(&["status"]).exits(0);

    refused_configuration(&stack);
    a_reload_cannot_get_lost(&stack);
    drift_is_named_and_mended(&stack);
}

/// nginx refuses what an override makes of its configuration: the daemon's message and the template's line are shown, the
/// old file is live, the site serves.
fn refused_configuration(stack: &Stack) {
    let builtin =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/nginx.conf.tera")).unwrap();
    let broken = builtin.replacen("http {\n", "http {\n    no_such_directive on;\n", 1);
    let line = broken
        .lines()
        .position(|line| line.contains("no_such_directive"))
        .unwrap()
        + 1;
    let before = stack.on_host("sha256sum /etc/nginx/nginx.conf");
    stack.override_template("nginx/nginx.conf.tera", &broken);
    let said = stack.hactl(&["apply", "--yes"]).exits(4);
    let text = said.stdout + &said.stderr;
    assert!(text.contains("unknown directive \"no_such_directive\""), "{text}");
    assert!(
        text.contains("templates/nginx/nginx.conf.tera") && text.contains(&format!("line {line}")),
        "{text}"
    );
    assert_eq!(
        stack.on_host("sha256sum /etc/nginx/nginx.conf"),
        before,
        "the old file is still live"
    );
    assert_eq!(stack.fetch("/", &[]).0, 200, "the site still serves");
}

/// A run that ends between the file and the reload leaves a reload to be done, and the next one does it.
fn a_reload_cannot_get_lost(stack: &Stack) {
    let builtin =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/nginx.conf.tera")).unwrap();
    let marked = builtin.replacen("http {\n", "http {\n    add_header X-Marked yes always;\n", 1);
    stack.override_template("nginx/nginx.conf.tera", &marked);
    // Only the file: as a run that was killed right after it.
    let _ = stack.apply(&["--step", "file /etc/nginx/nginx.conf"]).exits(0);
    let plan = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    assert_eq!(planned(&plan.events()), ["service nginx.service"]);
    let healed = stack.apply(&[]).exits(0).summary();
    assert_eq!(healed["changed"], 1, "{healed}");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// What somebody changes by hand is named by plan and mended by apply, and nothing else is touched.
fn drift_is_named_and_mended(stack: &Stack) {
    stack.on_host(
        "echo '# by hand' >>/etc/redis/redis-cache.conf; chmod 666 /etc/nginx/nginx.conf; \
         systemctl stop nginx; systemctl disable -q supervisor 2>/dev/null",
    );
    let plan = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    let mut steps = planned(&plan.events());
    steps.sort();
    assert_eq!(
        steps,
        [
            "file /etc/nginx/nginx.conf",
            "file /etc/redis/redis-cache.conf",
            "service nginx.service",
            "service supervisor.service",
        ],
        "redis still runs with the file that comes back, so it is not restarted"
    );
    let mended = stack.apply(&[]).exits(0);
    let mut changed = finished(&mended.events(), "changed");
    changed.sort();
    assert_eq!(changed, steps);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    assert_eq!(stack.fetch("/", &[]).0, 200);
}

/// A saved plan is done as it was saved, or not at all.
#[test]
fn a_saved_plan_is_done_exactly_or_refused() {
    let stack = Stack::boot(41, Serves::Guestbook, true);
    let saved = stack
        .hactl(&["plan", "--out", "saved.json", "--format", "json"])
        .exits(0);
    let done = stack
        .hactl(&["apply", "--yes", "--format", "json", "--plan", "saved.json"])
        .exits(0);
    assert_eq!(finished(&done.events(), "changed"), planned(&saved.events()));

    stack.on_host("rm /etc/redis/redis-cache.conf");
    let _ = stack.hactl(&["plan", "--out", "saved.json"]).exits(0);
    stack.on_host("systemctl stop nginx");
    let refused = stack.hactl(&["apply", "--yes", "--plan", "saved.json"]).exits(7);
    assert!(
        refused.stderr.contains("nginx"),
        "says what changed: {}",
        refused.stderr
    );
    assert_eq!(
        stack.on_host("ls /etc/redis/redis-cache.conf 2>/dev/null || echo gone"),
        "gone",
        "nothing was done"
    );
}
