//! Servers that were away when the database was restored from a backup: with what was given up then they neither lead nor follow
//! again by themselves, and no restore opens a second server. Real hosts.

mod common;

use common::stack::Stack;
use common::vault::{cluster, newest};

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

fn mark(stack: &Stack, host: &str, mark: &str) {
    let _ = sql(
        stack,
        host,
        &format!("INSERT INTO guestbook.marks (mark) VALUES ('{mark}')"),
    );
}

/// Two: a server that lost its power, and then starts as a replica, takes back the last transaction when its engine had not
/// written that one's end.
fn two_marks(stack: &Stack, host: &str, name: &str) {
    for number in 1..=2 {
        mark(stack, host, &format!("{name}-{number}"));
    }
}

fn marks(stack: &Stack, host: &str) -> String {
    sql(
        stack,
        host,
        "SELECT GROUP_CONCAT(mark ORDER BY id) FROM guestbook.marks",
    )
}

fn sees(stack: &Stack, host: &str, wanted: &str) {
    stack.wait_until(&format!("{host} has {wanted}"), || marks(stack, host) == wanted);
}

#[test]
fn who_was_away_does_not_bring_back_what_was_given_up() {
    let stack = cluster(141);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    let table = "CREATE TABLE guestbook.marks (id INT AUTO_INCREMENT PRIMARY KEY, mark VARCHAR(20))";
    let _ = sql(&stack, "31", table);
    mark(&stack, "31", "kept");
    let _ = stack.hactl(&["backup", "--full"]).exits(0);
    a_replica(&stack);
    one_without_a_log(&stack);
    an_old_primary(&stack);
}

fn a_replica(stack: &Stack) {
    two_marks(stack, "31", "given-up");
    sees(stack, "32", "kept,given-up-1,given-up-2");
    let _ = stack.hactl(&["lab", "kill", "db2"]).exits(0);
    let _ = stack.hactl(&["restore", "--backup", &newest(stack), "--yes"]).exits(0);
    assert_eq!(marks(stack, "31"), "kept");
    for new in ["new-1", "new-2", "new-3"] {
        mark(stack, "31", new);
    }

    // It comes back, set up to follow a server with that name and that history's numbers; nobody reads from it.
    let _ = stack.hactl(&["lab", "boot", "db2"]).exits(0);
    let asked = "curl -sS -o /dev/null -w '%{http_code}' http://NET.32:9201/reader";
    let asked = asked.replace("NET", stack.address.rsplit_once('.').expect("an address").0);
    stack.wait_until("MariaDB answers there", || {
        stack.on("32", "mariadb -e 'SELECT 1' >/dev/null 2>&1 && echo yes || :") == "yes"
    });
    stack.wait_until("it has asked and was refused", || {
        let said = stack.on("32", "mariadb -E -e 'SHOW ALL SLAVES STATUS'");
        said.contains("Last_IO_Errno: 1236") && said.contains("Slave_IO_Running: No")
    });
    assert!(marks(stack, "32").starts_with("kept,given-up-1"));
    assert_eq!(stack.on("32", &asked), "503");
    let refused = stack.hactl(&["apply", "--yes"]).exits(7);
    assert!(
        refused
            .stderr
            .contains("db2 was away when db1 was restored from a backup, and has what was given up then (0-"),
        "{}",
        refused.stderr
    );
    assert!(marks(stack, "32").starts_with("kept,given-up-1"));

    // Nor does it take over, though no other is left: it knows nothing of what came after the restore.
    does_not_take_over(stack, "db2 could not receive what came after");
    let _ = stack.hactl(&["crashplan", "--yes"]).exits(0);
    assert_eq!(sql(stack, "31", "SELECT @@read_only"), "0");

    // What it has is saved, and given up on a word of its own only.
    let refused = stack.hactl(&["rejoin", "db2", "--yes"]).exits(7);
    let why = "db2 has what was given up when db1 was restored from a backup: 0-";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    let saved = stack.on("32", "cat /var/lib/hactl/rejoin/*.sql");
    assert!(saved.contains("given-up-1") && !saved.contains("'kept'"), "{saved}");
    let _ = stack.hactl(&["rejoin", "db2", "--rebuild", "--yes"]).exits(0);
    sees(stack, "32", "kept,new-1,new-2,new-3");
    stack.settled();
}

/// The primary goes and returns; nobody takes its place meanwhile.
fn does_not_take_over(stack: &Stack, why: &str) {
    let _ = stack.hactl(&["lab", "kill", "db1"]).exits(0);
    let refused = stack
        .hactl(&["crashplan", "--yes", "--assume-fenced", "it was switched off"])
        .exits(7);
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    assert_eq!(sql(stack, "32", "SELECT @@read_only"), "1");
    let _ = stack.hactl(&["lab", "boot", "db1"]).exits(0);
    stack.wait_until("the primary is back", || {
        stack.on("31", "mariadb -e 'SELECT 1' >/dev/null 2>&1 && echo yes || :") == "yes"
    });
}

/// Somebody switched the replica's log off: whoever followed it would get nothing.
fn one_without_a_log(stack: &Stack) {
    let file = "/etc/mysql/mariadb.conf.d/99-no-log.cnf";
    stack.on(
        "32",
        &format!("printf '[mysqld]\\nskip_log_bin\\n' >{file}; systemctl restart mariadb"),
    );
    assert_eq!(sql(stack, "32", "SELECT @@log_bin"), "0");
    does_not_take_over(stack, "db2 keeps no binary log");
    stack.on("32", &format!("rm {file}; systemctl restart mariadb"));
    let _ = stack.hactl(&["crashplan", "--yes"]).exits(0);
    stack.settled();
}

/// The one that takes the writes is away: nobody knows whether it still does.
fn an_old_primary(stack: &Stack) {
    let _ = stack.hactl(&["backup", "--full"]).exits(0);
    two_marks(stack, "31", "lost");
    sees(stack, "32", "kept,new-1,new-2,new-3,lost-1,lost-2");
    let _ = stack.hactl(&["lab", "kill", "db1"]).exits(0);
    let refused = stack.hactl(&["restore", "--newest", "--on", "db2", "--yes"]).exits(7);
    let why = "no database that answers takes the writes, and db1 may; nothing was changed";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    assert_eq!(sql(stack, "32", "SELECT @@read_only"), "1");

    // By the crash plan, then.
    let _ = stack
        .hactl(&["crashplan", "--yes", "--assume-fenced", "it was switched off"])
        .exits(0);
    assert_eq!(sql(stack, "32", "SELECT @@read_only"), "0");
    let _ = stack.hactl(&["restore", "--backup", &newest(stack), "--yes"]).exits(0);
    assert_eq!(marks(stack, "32"), "kept,new-1,new-2,new-3");
    mark(stack, "32", "newer");
    let _ = stack.hactl(&["lab", "boot", "db1"]).exits(0);
    let refused = stack.hactl(&["rejoin", "db1", "--yes"]).exits(7);
    assert!(refused.stderr.contains("0-"), "{}", refused.stderr);
    let _ = stack.hactl(&["rejoin", "db1", "--rebuild", "--yes"]).exits(0);
    sees(stack, "31", "kept,new-1,new-2,new-3,newer");
    stack.settled();
    assert_eq!(sql(stack, "32", "SELECT @@read_only"), "0");
    assert_eq!(sql(stack, "31", "SELECT @@read_only"), "1");
}
