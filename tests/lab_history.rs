//! What this machine and a real host recorded of the same runs: a normal one, one that failed, one that was killed.

mod common;

use std::time::Duration;

use common::stack::{Serves, Stack};
use serde_json::Value;

/// The events of `hactl history` with more words, each held to the published schema.
fn history(stack: &Stack, words: &[&str]) -> Vec<Value> {
    let said = stack
        .hactl(&[&["history"], words, &["--format", "json"]].concat())
        .exits(0);
    let schema = serde_json::to_value(hactl::report::schema::events()).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let events = said.events();
    for event in &events {
        assert!(validator.is_valid(event), "{event}");
    }
    events
}

fn runs(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["event"] == "recorded_run").collect()
}

/// Step and outcome (`null` when nobody saw the end), in order.
fn steps(events: &[Value]) -> Vec<(String, Value)> {
    let steps = events.iter().filter(|event| event["event"] == "run_step");
    steps
        .map(|step| {
            (
                step["step"].as_str().unwrap_or_default().to_owned(),
                step["outcome"].clone(),
            )
        })
        .collect()
}

/// As another operator sees it: without this machine's records.
fn from_the_host<T>(stack: &Stack, look: impl FnOnce() -> T) -> T {
    let kept = stack.folder().join(".local/state/hactl/runs");
    let away = stack.folder().join("runs-away");
    std::fs::rename(&kept, &away).expect("records of this machine");
    let seen = look();
    std::fs::rename(&away, &kept).expect("back");
    seen
}

#[test]
fn this_machine_and_the_host_agree() {
    let stack = Stack::boot(61, Serves::Guestbook, true);
    assert!(runs(&history(&stack, &[])).is_empty(), "nothing has run yet");

    stack
        .apply_killed(5, Duration::from_millis(100))
        .expect("killed in time");
    // Its last step goes on without it.
    stack.wait_until("the killed run is over on the host", || {
        runs(&history(&stack, &[]))
            .iter()
            .all(|run| run["outcome"] != "running")
    });
    let done = stack.apply(&[]).exits(0).summary();
    stack.override_template("nginx/nginx.conf", "no_such_directive on;\n");
    let failed = stack.apply(&[]).exits(4).summary();

    let joined = history(&stack, &[]);
    let listed = runs(&joined);
    println!("{listed:#?}");
    let outcomes: Vec<_> = listed
        .iter()
        .map(|run| run["outcome"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(outcomes, ["failed", "done", "cut_off"], "newest first");
    for (run, summary) in [(listed[0], &failed), (listed[1], &done)] {
        assert_eq!(run["run"], summary["run"]);
        assert_eq!(run["hosts"][0]["changed"], summary["hosts"][0]["changed"]);
    }
    assert_eq!(
        (&listed[0]["here"], &listed[0]["hosts"][0]["there"]),
        (&true.into(), &true.into())
    );
    let by = listed[0]["by"].as_str().unwrap_or_default();
    assert!(by.contains('@'), "{by}");

    // The host alone tells the same runs, by whom, with the same outcome and changes; times from the same beginning.
    from_the_host(&stack, || {
        let events = history(&stack, &[]);
        let theirs = runs(&events);
        assert_eq!(theirs.len(), listed.len());
        for (mine, theirs) in listed.iter().zip(&theirs) {
            for field in ["run", "by", "verb", "outcome"] {
                assert_eq!(mine[field], theirs[field], "{field}");
            }
            assert_eq!(
                mine["hosts"][0]["changed"], theirs["hosts"][0]["changed"],
                "{}",
                mine["run"]
            );
            assert_eq!(theirs["here"], false);
        }
    });

    for run in &listed {
        let id = run["run"].as_str().expect("an id");
        let here = steps(&history(&stack, &["show", id, "--local"]));
        let both = steps(&history(&stack, &["show", id]));
        let there = from_the_host(&stack, || steps(&history(&stack, &["show", id])));
        assert!(!there.is_empty());
        assert_eq!(both, there, "{id}: the host knows every end");
        if run["outcome"] == "cut_off" {
            // This machine saw the beginning of it.
            let names = |steps: &[(String, Value)]| steps.iter().map(|(step, _)| step.clone()).collect::<Vec<_>>();
            assert_eq!(names(&here), names(&there)[..here.len()]);
            for (mine, theirs) in here.iter().zip(&there).filter(|((_, outcome), _)| !outcome.is_null()) {
                assert_eq!(mine, theirs);
            }
        } else {
            assert_eq!(here, there, "{id}");
        }
    }

    let text = stack.hactl(&["history"]).exits(0).stdout;
    println!("{text}");
    assert!(text.contains("cut off") && text.contains("failed"), "{text}");
    let id = failed["run"].as_str().expect("an id");
    let text = stack.hactl(&["history", "show", id]).exits(0).stdout;
    println!("{text}");
    assert!(text.contains("no_such_directive"), "says why it failed: {text}");

    let nothing = stack.hactl(&["history", "show", "20200101T000000Z-0000"]).exits(2);
    assert!(
        nothing.stderr.contains("no run 20200101T000000Z-0000"),
        "{}",
        nothing.stderr
    );
}
