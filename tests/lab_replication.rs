//! MariaDB on three hosts: from bare hosts to a protected primary with two replicas, then what goes wrong with replicas.
//! Real hosts.

mod common;

use common::stack::{Options, Said, Stack};
use hactl::inventory::secrets::{Keyring, Secrets};

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker, redis ] }
  db1: { address: NET.31, roles: [ db ], primary: true }
  db2: { address: NET.32, roles: [ db ] }
  db3: { address: NET.33, roles: [ db ] }
";

fn cluster(subnet: u8) -> Stack {
    Stack::with(Options {
        hosts: HOSTS,
        ..Options::warm(subnet)
    })
}

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

/// What the cluster's secrets file holds under a name.
fn secret(stack: &Stack, name: &str) -> String {
    let loaded = hactl::inventory::load(&stack.inventory).unwrap();
    let keyring = Keyring {
        identity: None,
        home: Some(stack.folder().to_owned()),
        ask: Keyring::nobody(),
    };
    let resolved = Secrets::resolve(&loaded.inventory, &keyring).unwrap();
    let found = resolved.secrets.iter().find(|(of, _)| *of == name);
    found.expect("a secret").1.reveal().to_owned()
}

/// What `status` finds about the replication on a host: verdict and words.
#[track_caller]
fn replication(stack: &Stack, host: &str) -> (String, String) {
    let said = stack.hactl(&["status", "--format", "json"]);
    let events = said.events();
    let found = events
        .iter()
        .find(|event| (event["subject"] == "replication" || event["event"] == "host_failed") && event["host"] == host);
    let found = found.unwrap_or_else(|| panic!("nothing about {host} in {}", said.stdout));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    match found["event"].as_str() {
        Some("host_failed") => (text("kind"), text("message")),
        _ => (text("verdict"), text("detail")),
    }
}

/// The changes of a host in a plan, as `resource: summary`.
fn planned(stack: &Stack, host: &str) -> Vec<String> {
    let said = stack.hactl(&["plan", "--format", "json"]);
    changes(&said, host)
}

fn changes(said: &Said, host: &str) -> Vec<String> {
    let plan = said
        .events()
        .into_iter()
        .find(|event| event["event"] == "planned")
        .expect("a plan");
    let hosts = plan["plan"]["hosts"].as_array().unwrap().clone();
    let of_host = hosts.into_iter().filter(|plan| plan["host"] == host);
    let steps = of_host.flat_map(|plan| plan["steps"].as_array().unwrap().clone());
    let changes = steps.flat_map(|step| step["changes"].as_array().unwrap().clone());
    changes
        .map(|change| {
            format!(
                "{}: {}",
                change["resource"].as_str().unwrap(),
                change["summary"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn replicas_are_made_and_mended() {
    let stack = cluster(82);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(stack.fetch("/health", &[]).0, 200);
    assert_eq!(
        replication(&stack, "db1"),
        ("good".into(), "takes the writes, 2 replicas acknowledge".into())
    );
    assert_eq!(
        replication(&stack, "db2"),
        ("good".into(), "follows 10.77.82.31, 0 s behind".into())
    );
    // What is acknowledged is on a replica, which cannot be written to and whose link is encrypted.
    let _ = sql(
        &stack,
        "31",
        "CREATE TABLE guestbook.probe (id INT PRIMARY KEY); INSERT INTO guestbook.probe VALUES (1)",
    );
    for host in ["32", "33"] {
        stack.wait_until("the row is there", || {
            sql(&stack, host, "SELECT COUNT(*) FROM guestbook.probe") == "1"
        });
        let cipher = stack.on(
            host,
            "mariadb -E -e 'SHOW SLAVE STATUS' | sed -n 's/ *Master_SSL_Verify_Server_Cert: //p'",
        );
        assert_eq!(cipher, "Yes");
    }
    assert_eq!(sql(&stack, "31", "SELECT @@read_only"), "0");
    let accepts = sql(&stack, "31", "SHOW GLOBAL STATUS LIKE 'Ssl_finished_accepts'");
    assert_ne!(accepts.split_whitespace().last(), Some("0"), "{accepts}");

    // Its data are gone.
    stack.on(
        "32",
        "systemctl stop mariadb; rm -rf /var/lib/mysql/* /var/log/mysql/mariadb-bin.*",
    );
    assert_eq!(replication(&stack, "db2").0, "bad");
    assert!(
        planned(&stack, "db2").contains(&"replica: seeded from db1, then follows it".to_owned()),
        "{:?}",
        planned(&stack, "db2")
    );
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(sql(&stack, "32", "SELECT COUNT(*) FROM guestbook.probe"), "1");

    // It cannot apply what it gets: a row is there already, written past the binary log.
    let _ = sql(
        &stack,
        "32",
        "SET SESSION sql_log_bin=0; INSERT INTO guestbook.probe VALUES (2)",
    );
    let _ = sql(&stack, "31", "INSERT INTO guestbook.probe VALUES (2)");
    stack.wait_until("it stopped", || {
        replication(&stack, "db2").1.contains("Duplicate entry")
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(sql(&stack, "32", "SELECT COUNT(*) FROM guestbook.probe"), "2");
    assert_eq!(
        stack.on("32", "ls /var/lib/mysql.hactl-before"),
        "data\nlogs",
        "what it had is kept"
    );

    // A transaction of its own: refused, with the reason, and nothing is changed.
    let _ = sql(&stack, "33", "INSERT INTO guestbook.probe VALUES (99)");
    let (kind, message) = replication(&stack, "db3");
    assert_eq!(kind, "refused");
    assert!(message.contains("transactions that db1 never had (0-"), "{message}");
    let refused = stack.apply(&[]).exits(7);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    assert_eq!(sql(&stack, "33", "SELECT COUNT(*) FROM guestbook.probe"), "3");
    // What the hint says.
    stack.on("33", "systemctl stop mariadb; rm -rf /var/lib/mysql/*");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(sql(&stack, "33", "SELECT COUNT(*) FROM guestbook.probe"), "2");
}

#[test]
fn roles_that_moved_stay_where_they_are() {
    let stack = cluster(83);
    let _ = stack.apply(&[]).exits(0);
    // A start of the primary is closed; that it leads is known from those who follow it.
    stack.on("31", "systemctl restart mariadb");
    assert_eq!(sql(&stack, "31", "SELECT @@read_only"), "1");
    assert_eq!(
        replication(&stack, "db1"),
        ("bad".into(), "takes no writes and follows nobody".into())
    );
    assert_eq!(
        planned(&stack, "db1"),
        [
            "writer: opened for writes: every start of it is closed",
            "semi-sync: on, then tried with a write"
        ]
    );
    let _ = stack.apply(&[]).exits(0);
    stack.settled();

    // Somebody promotes db2 by hand, in good order.
    let link = "MASTER_HOST='10.77.83.32', MASTER_USE_GTID=slave_pos";
    let _ = sql(
        &stack,
        "31",
        "SET GLOBAL read_only=ON; SET GLOBAL rpl_semi_sync_master_enabled=OFF",
    );
    let position = sql(&stack, "31", "SELECT @@gtid_binlog_pos");
    for host in ["32", "33"] {
        let _ = sql(&stack, host, &format!("SELECT MASTER_GTID_WAIT('{position}', 20)"));
    }
    let _ = sql(&stack, "32", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=OFF");
    let _ = sql(
        &stack,
        "33",
        &format!("STOP SLAVE; CHANGE MASTER TO {link}; START SLAVE"),
    );
    let follow = format!(
        "CHANGE MASTER TO {link}, MASTER_USER='hactl_replica', MASTER_PASSWORD='{}', MASTER_DEMOTE_TO_SLAVE=1, MASTER_SSL=1, \
         MASTER_SSL_CA='/etc/mysql/hactl/authority.crt'; START SLAVE",
        secret(&stack, "mariadb/replication")
    );
    let _ = sql(&stack, "31", &follow);
    // The application follows without being told.
    stack.wait_until("the application writes to db2", || stack.fetch("/health", &[]).0 == 200);
    assert_eq!(planned(&stack, "app1"), Vec::<String>::new());
    // What is left to do is the new primary's protection; nobody is pointed back.
    assert_eq!(planned(&stack, "db2"), ["semi-sync: on, then tried with a write"]);
    assert_eq!(planned(&stack, "db1"), Vec::<String>::new());
    assert_eq!(planned(&stack, "db3"), Vec::<String>::new());
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(replication(&stack, "db2").1, "takes the writes, 2 replicas acknowledge");
    assert_eq!(replication(&stack, "db1").1, "follows 10.77.83.32, 0 s behind");
    assert_eq!(stack.fetch("/health", &[]).0, 200);

    // Two that take writes: nothing is touched.
    let _ = sql(&stack, "31", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=OFF");
    let refused = stack.apply(&[]).exits(7);
    assert!(
        refused.stdout.contains("two servers take writes, db1 and db2"),
        "{}",
        refused.stdout
    );
}
