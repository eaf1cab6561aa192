//! What docs/runbook.md shows: each disaster on real hosts, and what hactl says to what somebody types. `scripts/runbook` runs
//! this, and puts the blocks between `begin NAME` and `end NAME` there.

mod common;

use std::io::Read;

use common::crash::{cluster, open};
use common::stack::{Options, Stack};
use common::vault;

/// Types a command, and tells what came back, on either stream, as a terminal without a person has it.
fn types(stack: &Stack, words: &[&str], code: i32) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = stack.command(words);
    command.stderr(writer.try_clone().expect("a pipe")).stdout(writer);
    let mut child = command.spawn().expect("hactl starts");
    // Its copies of the pipe's end.
    drop(command);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("its words");
    assert_eq!(child.wait().expect("its end").code(), Some(code), "{said}");
    let home = stack.folder().to_string_lossy().into_owned();
    print!("$ hactl {}\n{}", words.join(" "), said.replace(&home, "~"));
    if code != 0 {
        println!("$ echo $?\n{code}");
    }
}

/// A block of the page.
fn block(name: &str, shows: impl FnOnce()) {
    // What runs the tests prints a dot after each, and no end of the line.
    println!("\nbegin {name}");
    shows();
    println!("end {name}");
}

fn lab(stack: &Stack, verb: &str, hosts: &[&str]) {
    for host in hosts {
        let _ = stack.hactl(&["lab", verb, host]).exits(0);
    }
}

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

#[test]
#[ignore = "scripts/runbook runs it"]
fn a_cluster() {
    let stack = cluster(128);
    block("alive", || types(&stack, &["crashplan", "--yes"], 7));
    block("switchover", || {
        types(&stack, &["crashplan", "--switchover", "--to", "db2", "--yes"], 0);
    });
    stack.settled();

    stack.on("32", "systemctl kill -s KILL mariadb.service");
    block("dead", || types(&stack, &["crashplan", "--yes"], 0));
    block("rejoin", || types(&stack, &["rejoin", "db2", "--yes"], 0));
    stack.settled();

    let leads = open(&stack).pop().expect("one").replacen('3', "db", 1);
    let other = if leads == "db1" { "db2" } else { "db1" };
    lab(&stack, "cut", &["app1", &leads, other]);
    block("minority", || types(&stack, &["crashplan", "--yes"], 7));
    lab(&stack, "heal", &["db1", "db2", "db3", "app1"]);
    stack.wait_until("the replicas follow again", || stack.apply(&[]).code == 0);
    stack.settled();

    // Commits wait for nobody any more, and its host is gone: it has what nobody else has.
    let old = open(&stack).pop().expect("one");
    let name = old.replacen('3', "db", 1);
    let _ = sql(&stack, &old, "SET GLOBAL rpl_semi_sync_master_timeout=100");
    for host in ["31", "32", "33"].into_iter().filter(|host| *host != old) {
        let _ = sql(&stack, host, "STOP SLAVE IO_THREAD");
    }
    let _ = sql(&stack, &old, "CREATE DATABASE only_here");
    lab(&stack, "kill", &[&name]);
    block("again", || types(&stack, &["crashplan", "--yes"], 7));
    block("gone", || types(&stack, &["crashplan", "--yes", "--ack"], 0));
    lab(&stack, "boot", &[&name]);
    block("differs", || types(&stack, &["rejoin", &name, "--yes"], 7));
    block("rebuild", || types(&stack, &["rejoin", &name, "--rebuild", "--yes"], 0));
    stack.settled();

    lab(&stack, "kill", &["db1", "db2", "db3"]);
    lab(&stack, "boot", &["db1", "db2", "db3"]);
    stack.wait_until("all run", || {
        ["31", "32", "33"]
            .iter()
            .all(|host| stack.on(host, "systemctl is-active mariadb || :") == "active")
    });
    block("power", || types(&stack, &["crashplan", "--yes"], 0));
    stack.settled();
    block("status", || types(&stack, &["status"], 0));
}

#[test]
#[ignore = "scripts/runbook runs it"]
fn a_pair() {
    let stack = Stack::with(Options {
        hosts: "  srv1: { address: NET.11 }\n  srv2: { address: NET.12, standby: true }\nvip:\n  web: NET.100/24\n",
        ..Options::warm(129)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    lab(&stack, "kill", &["srv1"]);
    block("pair-unsure", || types(&stack, &["crashplan", "--yes"], 7));
    block("pair", || {
        types(
            &stack,
            &["crashplan", "--assume-fenced", "powered-off-by-hand", "--yes"],
            0,
        );
    });
    lab(&stack, "boot", &["srv1"]);
    stack.wait_until("its boot is over", || {
        !["starting", "initializing"].contains(&&*stack.on("11", "systemctl is-system-running || :"))
    });
    block("pair-rejoin", || types(&stack, &["rejoin", "srv1", "--yes"], 0));
}

#[test]
#[ignore = "scripts/runbook runs it"]
fn backups() {
    let stack = vault::cluster(140);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    let _ = sql(
        &stack,
        "31",
        "CREATE TABLE guestbook.invoices (id INT); INSERT INTO guestbook.invoices VALUES (1), (2)",
    );
    let _ = stack.hactl(&["backup"]).exits(0);
    // The first second that somebody's mistake is in, as it would be found in a log.
    let moment = stack.on(
        "31",
        "then=$(date +%s); while [ \"$(date +%s)\" = \"$then\" ]; do sleep 0.02; done\n\
         mariadb -e 'DELETE FROM guestbook.invoices'\n\
         date -u +%Y-%m-%dT%H:%M:%SZ",
    );
    let _ = stack.hactl(&["backup"]).exits(0);
    block("backups", || types(&stack, &["backup", "list"], 0));
    block("restore-drill", || {
        types(&stack, &["restore", "--drill", "--to", &moment], 0)
    });
    block("restore", || types(&stack, &["restore", "--to", &moment, "--yes"], 0));
    assert_eq!(sql(&stack, "31", "SELECT COUNT(*) FROM guestbook.invoices").trim(), "2");
    stack.settled();
}
