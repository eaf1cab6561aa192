//! Backups on real hosts: taken on a replica, proved in a throw-away server, gone back to a second between two transactions;
//! and what is damaged, cut off or incomplete is never taken for good.

mod common;

use common::stack::{Said, Stack};
use common::vault::{cluster, newest};

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

/// Copies as `backup list` shows them: kind and host, the oldest first.
fn listed(stack: &Stack) -> Vec<(String, String)> {
    let said = stack.hactl(&["backup", "list", "--format", "json"]).exits(0);
    let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let events = said.events();
    let copies = events.iter().filter(|event| event["event"] == "backup");
    copies.map(|event| (text(event, "kind"), text(event, "host"))).collect()
}

fn health(stack: &Stack, host: &str, subject: &str) -> (String, String) {
    let said = stack.hactl(&["status", "--format", "json"]);
    let events = said.events();
    let found = events
        .iter()
        .find(|event| event["event"] == "health" && event["host"] == host && event["subject"] == subject)
        .unwrap_or_else(|| panic!("nothing about {subject} in {}", said.stdout));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail"))
}

fn drill(stack: &Stack, more: &[&str]) -> Said {
    stack.hactl(&[&["restore", "--drill", "--format", "json"], more].concat())
}

/// Two transactions, and the first second that the second of them is in.
fn two_marks(stack: &Stack) -> String {
    let script = "mariadb -e \"INSERT INTO guestbook.marks VALUES ('A', NOW(6))\"\n\
                  then=$(date +%s); while [ \"$(date +%s)\" = \"$then\" ]; do sleep 0.02; done\n\
                  mariadb -e \"INSERT INTO guestbook.marks VALUES ('B', NOW(6))\"\n\
                  date -u +%Y-%m-%dT%H:%M:%SZ";
    stack.on("31", script)
}

#[test]
fn backups_are_taken_proved_and_restored_to_a_second() {
    let began = std::time::Instant::now();
    let stage = |what: &str| println!("{:4} s  {what}", began.elapsed().as_secs());
    let stack = cluster(130);
    stage("booted");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    let _ = sql(
        &stack,
        "31",
        "CREATE TABLE guestbook.marks (mark VARCHAR(9), at DATETIME(6))",
    );

    stage("Whoever is cut off");
    // Whoever is cut off leaves nothing that passes for good: the timer's unit fails, and status tells.
    let _ = stack.on(
        "32",
        "sed -i \"s/AT=[0-9:]*/AT=$(date -d '3 hours ago' +%H:%M)/\" /etc/hactl/backup.conf\n\
         nohup sh -c 'for _ in $(seq 3000); do cat /proc/[0-9]*/cmdline 2>/dev/null | tr \"\\0\" \" \"; sleep 0.02; done' >/run/argv 2>&1 & echo $! >/run/argv.pid",
    );
    stack.on(
        "32",
        "mv /usr/bin/mariadb-backup /usr/bin/mariadb-backup.real\n\
         printf '%s\\n' '#!/bin/sh' '/usr/bin/mariadb-backup.real \"$@\" | head -c 3000000' 'kill -9 $$' >/usr/bin/mariadb-backup\n\
         chmod 755 /usr/bin/mariadb-backup\n\
         ! systemctl start hactl-backup-db.service\n\
         mv -f /usr/bin/mariadb-backup.real /usr/bin/mariadb-backup",
    );
    let copies = |stack: &Stack| -> Vec<(String, String)> {
        let all = listed(stack).into_iter();
        all.filter(|(kind, _)| kind != "binlog").collect()
    };
    assert_eq!(copies(&stack), []);
    let (verdict, detail) = health(&stack, "db2", "backup vault db");
    assert_eq!(verdict, "bad", "{detail}");
    assert!(
        detail.contains("mariadb-backup failed") && detail.contains("newest good one: none"),
        "{detail}"
    );

    stage("A full backup by");
    // A full backup by the timer's unit, of the replica; whoever takes the writes leaves it at that. Then one of what changed.
    // Secrets are in no process' arguments.
    stack.on("32", "systemctl start hactl-backup-db.service");
    stack.on("31", "sed -i \"s/AT=[0-9:]*/AT=$(date -d '3 hours ago' +%H:%M)/\" /etc/hactl/backup.conf; systemctl start hactl-backup-db.service");
    let of = |kind: &str, host: &str| (kind.to_owned(), host.to_owned());
    assert_eq!(copies(&stack), [of("full", "db2")]);
    let _ = stack.apply(&[]).exits(0);
    let _ = sql(&stack, "31", "INSERT INTO guestbook.marks VALUES ('between', NOW(6))");
    let said = stack.hactl(&["backup"]).exits(0);
    assert!(said.stdout.contains("vault: incremental of db2"), "{}", said.stdout);
    assert_eq!(
        listed(&stack),
        [of("full", "db2"), of("incremental", "db2"), of("binlog", "db1")]
    );
    assert_eq!(health(&stack, "db2", "backup vault db").0, "good");
    assert_eq!(health(&stack, "db1", "backup vault binlog").0, "good");
    let password = stack.on("32", "sed -n \"s/^export RESTIC_PASSWORD=//p\" /etc/hactl/backup.conf");
    assert!(password.len() > 20, "{password}");
    // Ended by a command of its own: what looks for the password has it in its arguments.
    stack.on(
        "32",
        "kill $(cat /run/argv.pid); while kill -0 $(cat /run/argv.pid) 2>/dev/null; do sleep 0.05; done",
    );
    stack.on(
        "32",
        &format!(
            "grep -q restic /run/argv && ! grep -qF {password} /run/argv && ! grep -q 'OPENSSH PRIVATE' /run/argv"
        ),
    );
    assert_eq!(stack.on("32", "stat -c '%a %U' /etc/hactl/backup.conf"), "600 root");

    stage("It restores, on");
    // It restores, on the replica, beside the live data; and to the second between two transactions.
    let said = drill(&stack, &[]).exits(0);
    let events = said.events();
    let proved = events
        .iter()
        .find(|event| event["event"] == "restored")
        .expect("a drill");
    assert_eq!(proved["host"], "db2");
    println!("restored in {} ms", proved["ms"]);
    let second = two_marks(&stack);
    let said = drill(&stack, &["--to", &second]).exits(0);
    assert!(said.stdout.contains("\"restored\""), "{}", said.stdout);
    assert_eq!(
        stack.on("32", "ls -d /var/lib/mysql.hactl-* 2>/dev/null || :"),
        "",
        "nothing is left"
    );
    // A moment that nothing leads to is refused, and says what there is.
    let said = drill(&stack, &["--to", "2099-01-01T00:00:00Z"]).exits(7);
    assert!(said.stdout.contains("binary logs are there until"), "{}", said.stdout);

    stage("The real thing");
    // The real thing.
    assert_eq!(
        sql(
            &stack,
            "31",
            "SELECT GROUP_CONCAT(mark ORDER BY at) FROM guestbook.marks"
        ),
        "between,A,B"
    );
    let said = stack.hactl(&["restore", "--to", &second]).exits(7);
    assert!(said.stderr.contains("--yes agrees beforehand"), "{}", said.stderr);
    let _ = stack.hactl(&["restore", "--to", &second, "--yes"]).exits(0);
    for host in ["31", "32"] {
        stack.wait_until("the replica is there", || {
            sql(
                &stack,
                host,
                "SELECT GROUP_CONCAT(mark ORDER BY at) FROM guestbook.marks",
            ) == "between,A"
        });
        assert!(stack.on(host, "ls -d /var/lib/mysql.hactl-before-*").contains("before"));
    }
    stack.settled();
    assert_eq!(stack.fetch("/health", &[]).0, 200);
    stage("The new history");
    // Its transactions are numbered far above those that are gone, so nobody who has them passes for a follower.
    let at = sql(&stack, "31", "SELECT @@global.gtid_binlog_pos");
    let sequence = at.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
    assert!(sequence.is_some_and(|number| number > 1_000_000), "{at}");
    // The new history has backups of its own.
    let said = stack.hactl(&["backup"]).exits(0);
    assert!(said.stdout.contains("vault: full of"), "{}", said.stdout);
    let _ = stack.hactl(&["backup", "verify"]).exits(0);

    stage("One site");
    // One site: what the database has now is kept as another.
    let _ = sql(&stack, "31", "DELETE FROM guestbook.marks");
    let _ = stack
        .hactl(&[
            "restore",
            "--site",
            "erp.example.com",
            "--backup",
            &newest(&stack),
            "--yes",
        ])
        .exits(0);
    assert_eq!(sql(&stack, "31", "SELECT COUNT(*) FROM guestbook.marks"), "2");
    let kept = sql(&stack, "31", "SHOW DATABASES LIKE 'guestbook_before_%'");
    assert_eq!(sql(&stack, "31", &format!("SELECT COUNT(*) FROM {kept}.marks")), "0");

    stage("Bits that");
    // Bits that flipped: refused.
    let biggest = stack.on(
        "11",
        "find /srv/vault/data -type f -size +100k -printf '%s %p\\n' | sort -n | tail -n 1 | cut -d ' ' -f 2",
    );
    stack.on(
        "11",
        &format!(
            "cp -p {biggest} /srv/pack; chmod u+w {biggest}\n\
             printf '\\377\\376\\375\\374' | dd of={biggest} bs=1 seek=20000 conv=notrunc status=none"
        ),
    );
    let said = stack.hactl(&["backup", "verify"]).exits(7);
    assert!(said.stderr.contains("damaged"), "{}", said.stderr);
    stack.on("11", &format!("cp -p /srv/pack {biggest}"));

    stage("All packs");
    // Packs that are cut short: a restore refuses, and nothing live is touched.
    stack.on(
        "11",
        "find /srv/vault/data -type f -size +100k -exec chmod u+w {} + -exec truncate -s 50000 {} +",
    );
    let said = stack.hactl(&["restore", "--backup", &newest(&stack), "--yes"]).exits(4);
    assert!(
        said.stderr.contains("REFUSED") || said.stdout.contains("REFUSED"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert_eq!(sql(&stack, "31", "SELECT COUNT(*) FROM guestbook.marks"), "2");
    assert_eq!(stack.fetch("/health", &[]).0, 200);
    let said = drill(&stack, &[]).exits(7);
    assert!(said.stdout.contains("does not restore"), "{}", said.stdout);

    stage("Without `backup`");
    // Without `backup` in the inventory the timers go.
    let inventory = std::fs::read_to_string(&stack.inventory).expect("the inventory");
    let without = inventory.split("backup:").next().expect("a beginning").to_owned();
    std::fs::write(&stack.inventory, without).expect("the inventory");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(
        stack.on("31", "systemctl list-timers --all | grep -c hactl-backup || :"),
        "0"
    );
    assert_eq!(stack.on("31", "ls /etc/hactl/backup.conf 2>/dev/null || :"), "");
}
