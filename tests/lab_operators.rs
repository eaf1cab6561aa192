//! Two operators and one host; an operator whose machine dies.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::stack::{Options, Running, Stack};

/// Longest time of a run that works.
const LATER: Duration = Duration::from_secs(600);

fn says(argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).output().expect("it runs");
    assert!(
        output.status.success(),
        "{argv:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A first apply in the middle of a step that takes some seconds.
#[track_caller]
fn in_a_slow_step(stack: &Stack) -> Running {
    stack
        .apply_until(&[], &[], |line| {
            line.contains("step_started") && line.contains("python environment")
        })
        .expect("it is in the step")
}

#[test]
fn one_works_and_the_other_is_told_who_since_when_doing_what() {
    let stack = Stack::with(Options::warm(71));
    let first = in_a_slow_step(&stack);
    let second = stack.apply(&[]).exits(6);
    let failed = second
        .events()
        .into_iter()
        .find(|event| event["event"] == "host_failed")
        .expect("the host is named");
    let message = failed["message"].as_str().unwrap();
    assert_eq!(failed["host"], "srv1");
    let year = jiff::Timestamp::now().strftime("%Y-").to_string();
    for part in [
        "srv1 is locked by another run",
        "@",
        "since ",
        &year,
        "apply ",
        "inventory.yml",
        "(run ",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let done = first.ends_within(LATER).exits(0).summary();
    assert_eq!(done["skipped"], 0, "the first was not disturbed: {done}");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// This machine's end of a run's connections vanishes without a word, as with a machine that lost its power: no packet of
/// theirs passes any more, so the host's end stays open.
struct Vanished {
    table: String,
}

impl Vanished {
    fn connections_of(pid: u32, stack: &Stack) -> Vanished {
        let table = format!("hactl_test_{}", stack.address.replace('.', "_"));
        let sockets = says(&["ss", "-Htnp", "state", "established", "dst", &stack.address]);
        let mine = format!("pid={pid},");
        let ports: Vec<&str> = sockets
            .lines()
            .filter(|line| line.contains(&mine))
            .filter_map(|line| line.split_whitespace().nth(2)?.rsplit(':').next())
            .collect();
        assert!(!ports.is_empty(), "hactl has a connection: {sockets}");
        let set = ports.join(", ");
        let host = &stack.address;
        let rules = format!(
            "table ip {table} {{\n\
             chain out {{\n type filter hook output priority 0;\n ip daddr {host} tcp sport {{ {set} }} drop\n }}\n\
             chain in {{\n type filter hook input priority 0;\n ip saddr {host} tcp dport {{ {set} }} drop\n }}\n}}\n"
        );
        says(&["nft", &rules]);
        Vanished { table }
    }
}

impl Drop for Vanished {
    fn drop(&mut self) {
        let _ = Command::new("nft")
            .args(["delete", "table", "ip", &self.table])
            .status();
    }
}

/// The host cannot know that its operator is gone. Another one is told so until nothing was heard for 40 s, and then works.
#[test]
fn the_lock_goes_with_the_machine_of_its_holder() {
    let stack = Stack::with(Options::warm(72));
    // A run that would go on for long: its next step waits for a gate.
    let builtin = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/wsgi/run.tera")).unwrap();
    let gate = "while [ -e /run/gate ]; do sleep 0.1; done\nexec";
    stack.override_template("wsgi/run.tera", &builtin.replacen("exec", gate, 1));
    stack.on_host(": >/run/gate");
    let mut first = stack
        .apply_until(&[], &[], |line| {
            line.contains("step_started") && line.contains("\"release ")
        })
        .expect("it is in the step");
    // Its migration waits at the gate.
    stack.wait_until("the migration began", || !stack.running("guestbook.migrate").is_empty());
    let _vanished = Vanished::connections_of(first.pid(), &stack);
    first.kill();
    let died = Instant::now();
    let _ = first.ends_within(Duration::from_secs(5));
    let journal = stack.inside("ls -t /var/lib/hactl/journal | head -n 1");

    let told = stack.apply(&[]).exits(6);
    assert!(told.stdout.contains("is locked by another run"), "{}", told.stdout);
    // Its step is still running, and is not disturbed; the second operator waits for its end, and never beside it.
    let second = loop {
        let second = stack.apply_until(&[], &[], |line| {
            line.contains("\"host_waits\"") || line.contains("\"locked\"")
        });
        let second = second.expect("it waits or is refused");
        if second.at.contains("host_waits") {
            break second;
        }
        let _ = second.ends_within(LATER).exits(6);
        assert!(died.elapsed() < Duration::from_secs(90), "the lock does not go");
        std::thread::sleep(Duration::from_secs(1));
    };
    println!("the second operator took over after {:?}", died.elapsed());
    let log = format!("/var/lib/hactl/journal/{journal}");
    let before = stack.inside(&format!("tail -n 1 {log}"));
    assert!(
        before.starts_with("begin ") && before.contains("release "),
        "the step runs: {before}"
    );
    stack.inside("rm /run/gate");
    let done = second.ends_within(LATER).exits(0).summary();
    assert_eq!(done["skipped"], 0, "{done}");
    let after = stack.inside(&format!("tail -n 1 {log}"));
    assert_eq!(after, before, "the first run began nothing more");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    assert_eq!(stack.fetch("/health", &[]).0, 200);
}
