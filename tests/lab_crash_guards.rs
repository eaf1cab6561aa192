//! What a crash plan refuses, and what it does when it is cut off itself. Real hosts.
//!
//! `HACTL_MOMENTS` says how many boundaries of steps a crash plan is killed at (2).

mod common;

use std::time::Duration;

use common::crash::{Writer, cluster, crashplan, event, open};
use common::stack::{Said, Stack};

const DATABASES: [&str; 3] = ["31", "32", "33"];

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

fn lab(stack: &Stack, verb: &str, hosts: &[&str]) {
    for host in hosts {
        let _ = stack.hactl(&["lab", verb, host]).exits(0);
    }
}

/// Part of every database's state that a crash plan would change.
fn states(stack: &Stack, hosts: &[&str]) -> Vec<String> {
    let script = "mariadb -N -e 'SELECT @@global.read_only, @@global.gtid_slave_pos; SHOW SLAVE STATUS' | cut -f 1-4,10-13; \
                  ls /var/lib/hactl/fenced /var/lib/hactl/replaced /var/lib/hactl/failover 2>/dev/null; nft list tables | grep fence || :";
    hosts.iter().map(|host| stack.on(host, script)).collect()
}

#[track_caller]
fn refused(said: &Said, words: &str) {
    let message = event(said, "error")["message"].as_str().expect("a message").to_owned();
    println!("refused: {message}");
    assert!(message.contains(words), "{message}");
}

/// A host's name for its number.
fn name(host: &str) -> String {
    host.replacen('3', "db", 1)
}

#[test]
fn what_is_unsure_is_refused() {
    let stack = cluster(124);
    let before = states(&stack, &DATABASES);

    // One does not see the primary, the others do.
    stack.on("33", "nft -f - <<'END'\ntable inet blind {\n chain output {\n  type filter hook output priority 0; ip daddr 10.77.124.31 drop\n }\n}\nEND");
    refused(&crashplan(&stack, &[]).exits(7), "db1 is alive");
    stack.on("33", "nft delete table inet blind");

    // The side that is cut off: this machine sees one replica, and neither the primary nor the others.
    lab(&stack, "cut", &["db1", "db2", "app1"]);
    refused(&crashplan(&stack, &[]).exits(7), "no majority");
    lab(&stack, "heal", &["db1", "db2", "app1"]);
    stack.wait_until("the replicas follow again", || states(&stack, &DATABASES) == before);
    stack.settled();

    // One replica has transactions of its own: it does not take over, not even when it is asked for.
    let _ = sql(
        &stack,
        "32",
        "SET GLOBAL read_only=OFF; CREATE DATABASE of_its_own; SET GLOBAL read_only=ON",
    );
    stack.on("31", "systemctl kill -s KILL mariadb.service");
    refused(&crashplan(&stack, &["--to", "db2"]).exits(7), "no other has");
    // Nor does one that cannot apply what it has.
    let _ = sql(&stack, "33", "STOP SLAVE");
    refused(&crashplan(&stack, &["--to", "db2"]).exits(7), "no other has");
    let _ = sql(&stack, "33", "START SLAVE");
    let over = crashplan(&stack, &[]).exits(0);
    assert_eq!(event(&over, "failover")["new"], "db3");
    // Its log ends where the candidate is: it was read, and had nothing more.
    assert!(!over.stdout.contains("cannot be read"), "{}", over.stdout);
    assert_eq!(open(&stack), ["33"]);
    // db2 stays out, with the reason, until somebody gives its transactions up.
    let _ = stack.hactl(&["rejoin", "--yes", "db1"]).exits(0);
    let apply = stack.apply(&[]);
    assert_eq!(apply.code, 7, "{}", apply.stdout);
    let refused = stack.hactl(&["rejoin", "--yes", "db2"]).exits(7);
    assert!(refused.stderr.contains("never had"), "{}", refused.stderr);
    let saved = stack.on("32", "cat /var/lib/hactl/rejoin/*.sql | grep -ci of_its_own");
    assert_ne!(saved, "0", "what only it has is saved");
    let _ = stack.hactl(&["rejoin", "--yes", "--rebuild", "db2"]).exits(0);
    stack.settled();
    assert_eq!(open(&stack), ["33"]);
}

#[test]
fn nothing_acknowledged_is_lost_when_replicas_were_behind() {
    let stack = cluster(125);

    // Both have received and not applied.
    for host in ["32", "33"] {
        let _ = sql(&stack, host, "STOP SLAVE SQL_THREAD");
    }
    let writer = Writer::begins(&stack);
    writer.writes(&stack);
    lab(&stack, "kill", &["db1"]);
    let over = crashplan(&stack, &[]).exits(0);
    println!("not applied: {}", event(&over, "failover"));
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("not applied, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    lab(&stack, "boot", &["db1"]);
    let new = event(&over, "failover")["new"].as_str().expect("a name").to_owned();
    let new = new.replace("db", "3");
    let other = if new == "32" { "33" } else { "32" };
    let _ = stack.hactl(&["rejoin", "--yes", "db1"]).exits(0);
    stack.settled();

    // Commits wait for nobody any more, and nobody receives: what is acknowledged is on one disk, which can be read.
    let _ = sql(&stack, &new, "SET GLOBAL rpl_semi_sync_master_timeout=100");
    for host in ["31", other] {
        let _ = sql(&stack, host, "STOP SLAVE IO_THREAD");
    }
    let writer = Writer::begins(&stack);
    writer.writes(&stack);
    // What nobody received is in more than one file.
    let _ = sql(&stack, &new, "FLUSH LOCAL BINARY LOGS");
    writer.writes(&stack);
    stack.on(&new, "systemctl kill -s KILL mariadb.service");
    let over = crashplan(&stack, &[]).exits(0);
    let report = event(&over, "failover");
    println!("degraded, its disk is there: {report}");
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("degraded, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    assert!(report.get("lost_unknown").is_none(), "{report}");
    let _ = stack.hactl(&["rejoin", "--yes", &name(&new)]).exits(0);
    stack.settled();

    // The same, and its host is gone: what may be lost is said. What comes back has more than anybody, and is refused.
    let third = open(&stack).pop().expect("one");
    let _ = sql(&stack, &third, "SET GLOBAL rpl_semi_sync_master_timeout=100");
    for host in DATABASES.iter().filter(|host| **host != third) {
        let _ = sql(&stack, host, "STOP SLAVE IO_THREAD");
    }
    let writer = Writer::begins(&stack);
    writer.writes(&stack);
    lab(&stack, "kill", &[&name(&third)]);
    let over = crashplan(&stack, &[]).exits(0);
    let report = event(&over, "failover");
    println!("degraded, its host is gone: {report}");
    assert!(report["lost_unknown"].is_string(), "{report}");
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("degraded and gone, as the writer saw it: {seen}");
    lab(&stack, "boot", &[&name(&third)]);
    let refused = stack.hactl(&["rejoin", "--yes", &name(&third)]).exits(7);
    assert!(refused.stderr.contains("never had"), "{}", refused.stderr);
    assert_eq!(open(&stack).len(), 1);
    let _ = stack.hactl(&["rejoin", "--yes", "--rebuild", &name(&third)]).exits(0);
    stack.settled();

    // All databases lose power at once: all come up closed, and the right one is opened.
    let primary = open(&stack).pop().expect("one");
    let writer = Writer::begins(&stack);
    lab(&stack, "kill", &["db1", "db2", "db3"]);
    lab(&stack, "boot", &["db1", "db2", "db3"]);
    stack.wait_until("all run", || {
        DATABASES
            .iter()
            .all(|host| stack.on(host, "systemctl is-active mariadb || :") == "active")
    });
    assert_eq!(open(&stack), [""; 0], "all come up closed");
    let over = crashplan(&stack, &[]).exits(0);
    println!("power came back: {}", event(&over, "failover"));
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("power came back, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    assert_eq!(open(&stack), [primary]);
    stack.settled();
}

/// What is left of a plan that is killed with hactl is done by the next one, whatever the moment.
#[test]
fn a_plan_that_is_cut_off_is_gone_on_with() {
    let stack = cluster(126);
    let moments = std::env::var("HACTL_MOMENTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    for moment in 0..moments {
        let old = open(&stack).pop().expect("one takes writes");
        // Each boundary in turn: the first step's beginning, its end, the next one's.
        let boundary = 1 + moment * 17 / moments.max(1);
        let writer = Writer::begins(&stack);
        stack.on(&old, "systemctl kill -s KILL mariadb.service");
        let mut count = 0;
        let running = stack.started_until(&["crashplan", "--yes", "--ack", "--format", "json"], &[], |line| {
            let step = line.contains("\"step_started\"") || line.contains("\"step_finished\"");
            count += usize::from(step);
            step && count == boundary
        });
        let at = match running {
            Some(mut running) => {
                running.kill();
                let at = running.at.clone();
                let _ = running.ends_within(Duration::from_secs(20));
                at
            }
            None => "it was over before".to_owned(),
        };
        println!("killed at boundary {boundary}: {at}");
        let again = crashplan(&stack, &[]);
        // Of a plan that was done already nothing is left.
        assert!([0, 7].contains(&again.code), "{}{}", again.stdout, again.stderr);
        let now = open(&stack);
        assert!(
            now.len() == 1 && now[0] != old,
            "{now:?} takes writes, {old} did before"
        );
        writer.writes(&stack);
        let seen = writer.ends(&stack);
        println!("as the writer saw it: {seen}");
        assert_eq!(seen["lost"], 0, "{seen}");
        let _ = stack.hactl(&["rejoin", "--yes", &name(&old)]).exits(0);
        let _ = stack.apply(&[]).exits(0);
        stack.settled();
        assert_eq!(open(&stack), now);
        assert_eq!(
            stack.on(&now[0], "ls /var/lib/hactl/failover/*.open 2>/dev/null || :"),
            ""
        );
    }

    // Two at once: one of them does it.
    let old = open(&stack).pop().expect("one takes writes");
    stack.on(&old, "systemctl kill -s KILL mariadb.service");
    let first = stack
        .started_until(&["crashplan", "--yes", "--ack", "--format", "json"], &[], |line| {
            line.contains("\"step_started\"")
        })
        .expect("it begins");
    let second = crashplan(&stack, &[]);
    let first = first.ends_within(Duration::from_secs(120));
    println!("two at once: {} and {}", first.code, second.code);
    assert_eq!(first.code, 0, "{}", first.stdout);
    assert_ne!(second.code, 0, "{}", second.stdout);
    assert_eq!(open(&stack).len(), 1);
    let _ = stack.hactl(&["rejoin", "--yes", &name(&old)]).exits(0);
    stack.settled();
}
