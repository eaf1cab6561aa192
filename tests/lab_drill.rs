//! A crash plan is rehearsed in a lab of its own, and nothing is left of it.

mod common;

use std::time::Duration;

use common::crash::event;
use common::stack::{Options, Stack};

/// What is rehearsed: its names, hook and addresses must not be met. The application comes from the stack's own network.
const REAL: &str = "cluster: acme
ssh: { user: root, identity_file: nobody-has-this }
hosts:
  app1: { address: 10.99.0.11, roles: [ app, worker, redis ] }
  db1: { address: 10.99.0.31, roles: [ db ], primary: true }
  db2: { address: 10.99.0.32, roles: [ db ] }
app:
  kind: wsgi
  url: git://GATEWAY/guestbook
  ref: v1
  module: guestbook:app
  migrate: python -m guestbook.migrate
  health: /health
sites:
  - { name: erp.example.com }
dns:
  names: [ erp.example.com ]
  provider: { kind: exec, run: touch touched }
hooks: { before_apply: [ touch touched ] }
crashplan: { power_off: [ touch, touched ] }
";

fn interfaces() -> String {
    let said = std::process::Command::new("ip")
        .args(["-o", "addr"])
        .output()
        .expect("ip");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn a_crash_plan_is_rehearsed_and_nothing_is_left() {
    let stack = Stack::with(Options::warm(137));
    let real = REAL.replace("GATEWAY", "10.77.137.1");
    std::fs::write(stack.folder().join("real.yml"), real).expect("an inventory");

    let words = ["crashplan", "--drill=10.77.138.0/24", "--format", "json", "real.yml"];
    let said = stack.hactl_within(Duration::from_secs(500), &[], &words).exits(0);
    let report = event(&said, "drill");
    println!("drill: {report}");
    assert_eq!(
        (&report["old"], &report["new"]),
        (&"db1".into(), &"db2".into()),
        "{report}"
    );
    assert_eq!(report["lost"], 0, "{report}");
    assert!(report["acknowledged"].as_u64() > Some(80), "{report}");
    let first = report["command_to_commit_ms"].as_u64().expect("a time");
    let outage = report["outage_ms"].as_u64().expect("a time");
    assert!(first > 100 && first <= outage && outage < 60_000, "{report}");
    assert!(!interfaces().contains("10.77.138."), "{}", interfaces());
    assert!(!stack.folder().join("touched").exists());

    // Stopped by the user, it leaves nothing either.
    let running = stack.started_until(&words, &[], |line| line.contains("drill: build the cluster"));
    let running = running.expect("it is built");
    assert!(interfaces().contains("10.77.138."));
    running.interrupt();
    let ended = running.ends_within(Duration::from_secs(60));
    assert_eq!(ended.code, 130, "{}{}", ended.stdout, ended.stderr);
    assert!(!interfaces().contains("10.77.138."), "{}", interfaces());
}
