//! A role of the user and the inventory's hooks on a real host.

mod common;

use common::stack::{Serves, Stack};
use serde_json::Value;

const ROLE: &str = r#"
packages: [ memcached ]
directories: [ { path: /srv/beacon } ]
files:
  - path: /srv/beacon/word
    check: 'grep -q . "$FILE"'
    text: "WORD of {{ host.name }}\n"
  - path: /srv/beacon/run
    mode: 0755
    text: |
      #!/bin/sh
      cat /srv/beacon/word >/run/beacon
      while :; do sleep 1; done
  - path: /etc/systemd/system/beacon.service
    text: |
      [Service]
      ExecStart=/srv/beacon/run
      [Install]
      WantedBy=multi-user.target
commands:
  - name: index
    run: date +%s%N >/srv/beacon/index
    once: V1
services:
  - unit: beacon
    health: 'cmp /run/beacon /srv/beacon/word && ! grep -q refuse /run/beacon'
    patience: 5
  - { unit: memcached, watches: [ /etc/memcached.conf ] }
"#;

fn role(stack: &Stack, word: &str, version: &str) {
    let folder = stack.folder().join("roles");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = ROLE.replace("WORD", word).replace("V1", version);
    std::fs::write(folder.join("beacon.yml"), text).expect("the role");
}

/// Ids of changed resources that the plan names.
fn planned(events: &[Value]) -> Vec<String> {
    let plan = events.iter().find(|event| event["event"] == "planned").expect("a plan");
    let steps = plan["plan"]["hosts"][0]["steps"].as_array().expect("steps");
    let changes = steps
        .iter()
        .flat_map(|step| step["changes"].as_array().expect("changes"));
    changes
        .map(|change| change["resource"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_users_role_is_kept_like_a_built_in_one_and_hooks_are_told() {
    let stack = Stack::boot(115, Serves::Guestbook, true);
    let _ = stack.apply(&[]).exits(0);
    role(&stack, "first", "1");
    let plain = std::fs::read_to_string(&stack.inventory).expect("the inventory");
    let with_hooks = format!(
        "{plain}use: [ beacon ]\nhooks:\n  before_apply: [ 'cat >before.json; test ! -e stop' ]\n  \
         after_apply: [ 'cat >after.json' ]\n  on_failure: [ 'cat >failure.json' ]\n"
    );
    std::fs::write(&stack.inventory, with_hooks).expect("the inventory");
    let event = |name: &str| -> Option<Value> {
        let text = std::fs::read_to_string(stack.folder().join(name)).ok()?;
        std::fs::remove_file(stack.folder().join(name)).ok()?;
        serde_json::from_str(&text).ok()
    };

    // A hook that says no: nothing is changed, and the host has no trace of the run.
    let before = stack.on_host("ls /var/lib/hactl/journal | wc -l");
    std::fs::write(stack.folder().join("stop"), "").expect("a file");
    let refused = stack.hactl(&["apply", "--yes"]).exits(7);
    assert!(
        refused
            .stderr
            .contains("before_apply 1: exit status 1; nothing was changed"),
        "{}",
        refused.stderr
    );
    assert_eq!(stack.on_host("ls /var/lib/hactl/journal | wc -l"), before);
    assert_eq!(stack.on_host("ls -d /srv/beacon 2>/dev/null || echo none"), "none");
    assert_eq!(event("failure.json").expect("told")["summary"]["exit_code"], 7);
    std::fs::remove_file(stack.folder().join("stop")).expect("removed");

    // The plan tells what will be done, and apply does it.
    let plan = planned(&stack.hactl(&["plan", "--format", "json"]).exits(0).events());
    println!("{plan:#?}");
    for id in [
        "package memcached",
        "directory /srv/beacon",
        "file /srv/beacon/word",
        "file /etc/systemd/system/beacon.service",
        "run beacon: index",
        "service beacon.service",
    ] {
        assert!(plan.iter().any(|planned| planned == id), "{id}: {plan:?}");
    }
    let summary = stack.apply(&[]).exits(0).summary();
    assert_eq!(summary["changed"], plan.len(), "{summary}");
    assert_eq!(stack.on_host("cat /run/beacon"), "first of srv1");
    assert_eq!(event("before.json").expect("told")["plan"]["changes"], plan.len());
    let after = event("after.json").expect("told");
    assert_eq!(
        (&after["run"], &after["summary"]["changed"]),
        (&summary["run"], &summary["changed"])
    );
    assert!(event("failure.json").is_none());

    // Nothing to do; then nobody is told.
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    assert!(event("before.json").is_none() && event("after.json").is_none());

    // An edit is taken up by the service that watches the file, and by it alone.
    let index = stack.on_host("cat /srv/beacon/index");
    role(&stack, "second", "1");
    let events = stack.apply(&[]).exits(0).events();
    assert_eq!(planned(&events), ["file /srv/beacon/word", "service beacon.service"]);
    assert_eq!(stack.on_host("cat /run/beacon"), "second of srv1");
    assert_eq!(stack.on_host("cat /srv/beacon/index"), index, "done once is done");

    // Drift by hand is mended; a new value runs the command again.
    let _ = stack.on_host("systemctl disable --now beacon 2>&1; chmod 600 /srv/beacon/word");
    role(&stack, "second", "2");
    let drifted = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    assert_eq!(
        planned(&drifted.events()),
        ["file /srv/beacon/word", "run beacon: index", "service beacon.service"]
    );
    let _ = stack.apply(&[]).exits(0);
    assert_ne!(stack.on_host("cat /srv/beacon/index"), index);
    assert_eq!(stack.on_host("systemctl is-active beacon"), "active");

    // A text that makes it unhealthy gives way to the one before.
    role(&stack, "refuse", "2");
    let failed = stack.apply(&[]).exits(4);
    assert_eq!(stack.on_host("cat /run/beacon"), "second of srv1", "{}", failed.stdout);
    assert_eq!(event("failure.json").expect("told")["summary"]["failed"], 1);
    role(&stack, "second", "2");
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    let status = stack.hactl(&["status"]).exits(0).stdout;
    assert!(status.contains("beacon.service"), "{status}");
}
