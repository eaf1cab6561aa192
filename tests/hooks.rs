//! Hooks of the inventory, as far as they need no host: a failed apply tells `on_failure`, and no more than that.
//! The others are in `lab_user_roles.rs`.

use std::process::{Command, Output, Stdio};

use hactl::engine::hooks::{HookEvent, Moment};

/// Nothing answers at 192.0.2.1, by RFC 5737.
fn apply(hooks: &str, words: &[&str]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("inventory.yml"),
        format!(
            "cluster: acme\nssh: {{ connect_timeout: 1 }}\nhosts: {{ srv1: {{ address: 192.0.2.1 }} }}\n\
             app: {{ kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }}\n\
             sites: [ {{ name: shop.example.com }} ]\n{hooks}"
        ),
    )
    .unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["apply", "--yes"])
        .args(words)
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (folder, out)
}

const HOOKS: &str = "hooks:\n  before_apply: [ touch before ]\n  after_apply: [ touch after ]\n  on_failure:\n    \
    - cat >event.json\n    - { run: \"echo told; exit 9\", timeout: 5 }\n    - touch third\n";

#[test]
fn a_failure_is_told_and_keeps_its_exit_code() {
    let (folder, out) = apply(HOOKS, &[]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{said}");
    let event = std::fs::read_to_string(folder.path().join("event.json")).unwrap();
    let event: HookEvent = serde_json::from_str(&event).unwrap();
    assert_eq!(event.hook, Moment::OnFailure);
    assert_eq!(
        (event.cluster.as_str(), event.hosts.as_slice()),
        ("acme", &["srv1".to_owned()][..])
    );
    assert_eq!(event.summary.map(|summary| summary.exit_code), Some(5));
    assert!(said.contains("on_failure 2 | told"), "{said}");
    assert!(said.contains("warning: hook on_failure 2: exit status 9"), "{said}");
    // Each is a word to somebody else: one that fails keeps no other from being told.
    assert!(folder.path().join("third").exists());
    assert!(!folder.path().join("before").exists() && !folder.path().join("after").exists());
}

#[test]
fn in_json_hooks_are_events_before_the_summary() {
    let (_folder, out) = apply(HOOKS, &["--format", "json"]);
    let text = String::from_utf8_lossy(&out.stdout);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schema = serde_json::to_value(hactl::report::schema::events()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(lines.iter().all(|line| validator.is_valid(line)), "{text}");
    let at = |event: &str| lines.iter().position(|line| line["event"] == event);
    let ended = |hook: &str| {
        lines
            .iter()
            .position(|line| line["event"] == "hook_finished" && line["hook"] == hook)
    };
    let output = at("hook_output");
    assert!(
        ended("on_failure 1") < output && output < ended("on_failure 2"),
        "{text}"
    );
    assert_eq!(at("summary"), Some(lines.len() - 1));
    let failed = lines.iter().find(|line| line["failure"].is_string()).unwrap();
    assert_eq!(
        (&failed["hook"], &failed["failure"]),
        (&"on_failure 2".into(), &"exit status 9".into())
    );
}
