//! One scheduler for all hosts that could run it: it moves when its host is cut off, dies, or loses what holds the lock,
//! and two never run at once. Real hosts, real MariaDB.

mod common;

use std::time::Instant;

use common::stack::{Options, Serves, Stack};

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker ], workers: [ { name: short, queues: [ short, default, reports ] } ] }
  app2: { address: NET.12, roles: [ app, worker ] }
  db1: { address: NET.31, roles: [ db, redis, memcached ] }
";

/// What the host says that does not.
const WAITS: &str = "another host schedules";

const LOG: &str = "/var/log/supervisor/frappe-workers/frappe-workers-schedule.out.log";

/// What `status` says about the scheduler on a host.
fn scheduler(stack: &Stack, host: &str) -> String {
    let said = stack.hactl(&["status", "--format", "json"]);
    let events = said.events();
    let found = events
        .iter()
        .find(|event| event["subject"] == "scheduler" && event["host"] == host);
    found
        .and_then(|event| event["detail"].as_str())
        .unwrap_or("no word")
        .to_owned()
}

/// Waits until this host schedules, by its own word; gives the seconds since `since`. Only this host is asked: `status`
/// waits for one that is dead.
fn schedules(stack: &Stack, host: &str, since: Instant) -> f32 {
    stack.wait_until(&format!("{host} schedules"), || {
        stack.on(number(host), "cat /srv/frappe/bench/config/scheduler.state") == "schedules"
    });
    let seconds = since.elapsed().as_secs_f32();
    assert_eq!(scheduler(stack, host), "this host schedules");
    seconds
}

fn number(host: &str) -> &str {
    if host == "app1" { "11" } else { "12" }
}

/// When its log says this for the last time, in the words of the clock, which all hosts of a lab share.
#[track_caller]
fn last(stack: &Stack, host: &str, words: &str) -> String {
    let line = stack.on(host, &format!("grep -F '{words}' {LOG} | tail -n 1 | cut -c 1-19"));
    assert!(!line.is_empty(), "{host} never said `{words}`");
    line
}

fn processes(stack: &Stack, host: &str) -> usize {
    let found = stack.on(
        host,
        "pgrep -fc '^[^ ]*python -m frappe.utils.bench_helper frappe schedule' || :",
    );
    found.trim().parse().expect("a number")
}

fn ticks(stack: &Stack, host: &str) -> usize {
    let query = "SELECT COUNT(*) FROM `tabScheduled Job Log` WHERE host = '%'".replace('%', host);
    let schema = "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = 'tabScheduled Job Log'";
    let found = stack.on(
        "31",
        &format!(
            "mariadb -N \"$(mariadb -Ne \"{schema}\")\" -e {}",
            hactl::quote::sh(&query)
        ),
    );
    found.trim().parse().expect("a number")
}

#[test]
fn one_scheduler_moves_with_its_lock() {
    let stack = Stack::with(Options {
        hosts: HOSTS,
        serves: Serves::MiniFrappe,
        ..Options::warm(96)
    });
    stack.edit_inventory(
        "kind: frappe\n",
        "kind: frappe\n  config: { scheduler_tick_interval: 1 }\n",
    );
    let _ = stack.apply(&[]).exits(0);
    let again = stack.apply(&[]).exits(0).summary();
    assert_eq!(again["changed"], 0, "{again}");

    // memcached answers an application's host, and nobody else: this machine is none.
    let ask = "printf 'version\\r\\nquit\\r\\n' | curl -sS --max-time 3 telnet://10.77.96.31:11211 2>&1 || :";
    let theirs = stack.on("11", ask);
    assert!(theirs.starts_with("VERSION"), "{theirs}");
    let ours = std::process::Command::new("sh").args(["-c", ask]).output().expect("sh");
    let ours = String::from_utf8_lossy(&ours.stdout).into_owned();
    println!("memcached says to a stranger: {ours}");
    assert!(!ours.contains("VERSION"), "{ours}");

    let first = || {
        let found = ["app1", "app2"]
            .into_iter()
            .find(|host| scheduler(&stack, host) == "this host schedules");
        found.map(|host| (host, if host == "app1" { "app2" } else { "app1" }))
    };
    stack.wait_until("somebody schedules", || first().is_some());
    let (holder, other) = first().expect("somebody schedules");
    stack.wait_until("the other one knows who does", || scheduler(&stack, other) == WAITS);
    assert_eq!(
        (processes(&stack, number(holder)), processes(&stack, number(other))),
        (1, 0)
    );
    stack.wait_until("jobs are started", || ticks(&stack, holder) + ticks(&stack, other) > 0);

    // Cut off: it cannot know whether the lock is still its own, so it ends before another one may begin.
    let since = Instant::now();
    let _ = stack.hactl(&["lab", "cut", holder]).exits(0);
    println!(
        "cut off: another schedules after {:.1} s",
        schedules(&stack, other, since)
    );
    let _ = stack.hactl(&["lab", "heal", holder]).exits(0);
    stack.wait_until("the first one waits", || scheduler(&stack, holder) == WAITS);
    let (ended, began) = (
        last(&stack, number(holder), "it has ended here"),
        last(&stack, number(other), "this host schedules"),
    );
    println!("it ended at {ended}, the other began at {began}");
    assert!(ended <= began);
    assert_eq!(processes(&stack, number(holder)), 0);

    // Somebody ends the connections, and with them the lock, at once: whoever gets it next lets the other one end first.
    let (holder, _) = first().expect("somebody schedules");
    let begun = || -> usize {
        let count = |host| stack.on(host, &format!("grep -cF 'this host schedules' {LOG} || :"));
        ["11", "12"]
            .iter()
            .map(|host| count(host).trim().parse::<usize>().expect("a number"))
            .sum()
    };
    let before = begun();
    stack.on(
        "31",
        "mariadb -N -e \"SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE USER NOT IN ('root', 'system user', 'event_scheduler')\" | mariadb --force",
    );
    stack.wait_until("somebody schedules again", || begun() > before);
    let ended = last(&stack, number(holder), "it has ended here");
    let began = ["11", "12"]
        .map(|host| last(&stack, host, "this host schedules"))
        .into_iter()
        .max();
    println!("the lock was lost: it ended at {ended}, the next began at {began:?}");
    assert!(Some(ended) < began);

    // What holds the lock is killed: the scheduler goes with it, and one of the two is next.
    let killed = "kill -9 $(pgrep -f '^[^ ]*python [^ ]*/scheduler.py')";
    stack.on(number(other), killed);
    stack.wait_until("somebody schedules again", || first().is_some());
    stack.wait_until("one runs, and no second", || {
        processes(&stack, "11") + processes(&stack, "12") == 1
    });

    // Its host loses power.
    let (holder, other) = first().expect("somebody schedules");
    let since = Instant::now();
    let _ = stack.hactl(&["lab", "kill", holder]).exits(0);
    println!(
        "powered off: another schedules after {:.1} s",
        schedules(&stack, other, since)
    );
    let before = ticks(&stack, other);
    stack.wait_until("it starts jobs", || ticks(&stack, other) > before);
    let _ = stack.hactl(&["lab", "boot", holder]).exits(0);
    stack.wait_until("the returned one waits", || scheduler(&stack, holder) == WAITS);

    // It is told to end, and lets go at once.
    let since = Instant::now();
    stack.on(
        number(other),
        "supervisorctl stop frappe-workers:frappe-workers-schedule",
    );
    println!(
        "stopped: another schedules after {:.1} s",
        schedules(&stack, holder, since)
    );
    assert_eq!(scheduler(&stack, other), "nothing on this host would schedule");
    assert_eq!(processes(&stack, number(other)), 0);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 1, "it is started again");
}
