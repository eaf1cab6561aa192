//! Changes that go over a cluster host by host while it is written to, and hosts that leave it and come back. Real hosts.

mod common;

use std::process::Command;

use common::load::{Client, Target, Window};
use common::stack::{Options, Said, Serves, Stack};

const HOSTS: &str = "  lb1: { address: NET.10, roles: [ lb, redis ] }
  app1: { address: NET.11, roles: [ app, worker ] }
  app2: { address: NET.12, roles: [ app, worker ] }
  db1: { address: NET.31, roles: [ db ], primary: true }
  db2: { address: NET.32, roles: [ db ] }
  db3: { address: NET.33, roles: [ db ] }
";

/// A client that comes through the load balancer.
fn client(stack: &Stack) -> Client {
    let net = stack.address.trim_end_matches("11").to_owned();
    let address = |host: u8| format!("{net}{host}:80").parse().expect("an address");
    let target = Target {
        addresses: vec![address(10)],
        site: "erp.example.com",
        path: "/entries",
        form: "author=c&",
        job: None,
    };
    // As many as one host can take while the other one changes, on a machine that runs other tests, too.
    let client = Client::comes(target, 4);
    client.served(5);
    client.saw();
    client
}

/// What a client saw, for whoever reads the test's output; and what nginx says of what it did not get.
fn tell(stack: &Stack, what: &str, seen: &Window) {
    println!(
        "{what}: {} taken, {} refused a connection, {} not taken, nothing written for {:?}: {:?}",
        seen.taken(),
        seen.refused(),
        seen.failed().len(),
        seen.gap(),
        seen.complaints()
    );
    if !seen.failed().is_empty() {
        for host in ["10", "11", "12"] {
            let said = "grep -hE '\"status\":(499|5..)' /var/log/nginx/access.log | tail -n 20; tail -n 20 /var/log/nginx/error.log";
            println!("nginx of {host}:\n{}", stack.on(host, said));
        }
    }
}

/// Hosts in the order in which steps with `part` in their name ended.
fn order(said: &Said, part: &str) -> Vec<String> {
    let ended = said.events().into_iter().filter(|event| {
        event["event"] == "step_finished" && event["step"].as_str().is_some_and(|step| step.contains(part))
    });
    ended.map(|event| event["host"].as_str().unwrap().to_owned()).collect()
}

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

/// When MariaDB last started there.
fn started(stack: &Stack, host: &str) -> String {
    stack.on(host, "systemctl show -p InvocationID --value mariadb")
}

fn cluster(subnet: u8) -> Stack {
    let stack = Stack::with(Options {
        subnet,
        serves: Serves::Guestbook,
        hosts: HOSTS,
        ..Options::warm(subnet)
    });
    // Where TLS ends is not what this is about.
    stack.edit_inventory("{ name: erp.example.com }", "{ name: erp.example.com, tls: none }");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    stack
}

#[test]
fn changes_go_host_by_host_and_nobody_notices() {
    let stack = cluster(93);
    let client = client(&stack);

    // gunicorn takes its workers up by itself; nginx reloads, here with another format of its log.
    stack.edit_inventory(
        "  module: guestbook:app\n",
        "  module: guestbook:app\n  web_workers: 2\n",
    );
    stack.edit_inventory("cluster:", "nginx: { client_max_body_mb: 60 }\ncluster:");
    let built_in = stack
        .hactl(&["templates", "export", "nginx/nginx.conf"])
        .exits(0)
        .stdout;
    let format = "log_format hactl_json escape=json '{";
    assert!(built_in.contains(format), "{built_in}");
    let with = format!("{format}\"cluster\":\"by override\",");
    stack.override_template("nginx/nginx.conf.tera", &built_in.replacen(format, &with, 1));
    let rolled = stack.apply(&[]).exits(0);
    for host in ["10", "11", "12"] {
        stack.wait_until("the log has its new format", || {
            stack
                .on(host, "tail -n 1 /var/log/nginx/access.log")
                .contains("by override")
        });
    }
    assert_eq!(order(&rolled, "programs guestbook"), ["app1", "app2"]);
    assert!(rolled.stdout.contains("for app1, which serves together with it"));
    let seen = client.saw();
    tell(&stack, "workers and nginx", &seen);
    assert!(seen.failed().is_empty() && seen.taken() > 5);

    // What restarts gunicorn leads visitors to the other host.
    stack.edit_inventory(
        "  module: guestbook:app\n",
        "  env: { GREETING: hello }\n  module: guestbook:app\n",
    );
    stack.edit_inventory(
        "command: python -m guestbook.worker",
        "command: exec python -m guestbook.worker",
    );
    let plan = stack.hactl(&["plan"]);
    assert!(
        plan.stdout.contains("visitors are led to other hosts meanwhile"),
        "{}",
        plan.stdout
    );
    assert!(plan.stdout.contains("app2 waits for app1"), "{}", plan.stdout);
    let rolled = stack.apply(&[]).exits(0);
    assert_eq!(order(&rolled, "programs guestbook"), ["app1", "app2"]);
    let led = rolled.stdout.matches("new visitors are led to other hosts").count();
    assert_eq!(led, 2, "{}", rolled.stdout);
    let seen = client.saw();
    tell(&stack, "restart", &seen);
    assert!(seen.failed().is_empty() && seen.taken() > 5);
    stack.settled();

    // What a cut leaves is seen and taken away.
    stack.on("12", "nft add table inet hactl_drain");
    let planned = stack.hactl(&["plan", "--exit-code"]).exits(3);
    assert!(planned.stdout.contains("visitors"), "{}", planned.stdout);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();

    // What MariaDB takes up while it runs restarts nothing.
    let starts = ["31", "32", "33"].map(|host| started(&stack, host));
    stack.edit_inventory(
        "cluster:",
        "mariadb: { max_connections: 250, settings: { wait_timeout: 3600 } }\ncluster:",
    );
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(["31", "32", "33"].map(|host| started(&stack, host)), starts);
    for host in ["31", "32", "33"] {
        assert_eq!(
            sql(&stack, host, "SELECT @@global.max_connections, @@global.wait_timeout"),
            "250\t3600"
        );
    }
    stack.edit_inventory(
        "max_connections: 250, settings: { wait_timeout: 3600 }",
        "max_connections: 250",
    );
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(
        sql(&stack, "31", "SELECT @@global.wait_timeout"),
        "28800",
        "back to its default"
    );
    let seen = client.saw();
    assert!(seen.broken().is_empty(), "{:?}", seen.complaints());

    // What needs a restart: replicas one by one, the primary last; nobody is seeded anew.
    stack.edit_inventory(
        "max_connections: 250",
        "max_connections: 250, settings: { innodb_log_buffer_size: 32M }",
    );
    let rolled = stack.apply(&[]).exits(0);
    assert_eq!(order(&rolled, "service mariadb"), ["db2", "db3", "db1"]);
    assert_eq!(order(&rolled, "replica"), Vec::<String>::new());
    let seen = client.saw();
    let (replicas, primary) = seen.split(rolled.began("db1", "service mariadb"));
    tell(&stack, "replicas restarted", &replicas);
    tell(&stack, "the primary restarted", &primary);
    assert!(replicas.failed().is_empty() && replicas.taken() > 5);
    assert_eq!(
        sql(
            &stack,
            "31",
            "SELECT @@global.innodb_log_buffer_size, @@global.read_only"
        ),
        "33554432\t0"
    );
    client.served(5);
    stack.settled();

    // A setting that MariaDB does not start with: the first replica gets its old file back, and nobody follows it.
    let starts = ["31", "33"].map(|host| started(&stack, host));
    client.saw();
    stack.edit_inventory(
        "innodb_log_buffer_size: 32M",
        "innodb_log_buffer_size: 32M, tmpdir: /nonexistent",
    );
    let failed = stack.apply(&[]).exits(4);
    let summary = failed.summary();
    let outcome = |name: &str| {
        let hosts = summary["hosts"].as_array().unwrap();
        let host = hosts.iter().find(|host| host["host"] == name).unwrap();
        (
            host["outcome"].as_str().unwrap().to_owned(),
            host["reason"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(outcome("db2").0, "failed", "{summary}");
    for name in ["db3", "db1"] {
        let (outcome, reason) = outcome(name);
        assert_eq!(outcome, "skipped", "{summary}");
        assert!(reason.starts_with("db2 failed before its turn came"), "{reason}");
    }
    assert_eq!(["31", "33"].map(|host| started(&stack, host)), starts);
    let seen = client.saw();
    assert!(seen.broken().is_empty(), "{:?}", seen.complaints());
    stack.edit_inventory(", tmpdir: /nonexistent", "");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    drop(client);
    assert_eq!(stack.on("12", "nft list tables | grep -c hactl_drain || :"), "0");
}

#[test]
fn hosts_leave_and_come_back() {
    let stack = cluster(95);
    let whole = std::fs::read_to_string(&stack.inventory).unwrap();
    let accounts = || {
        let query = "SELECT CONCAT(User,'@',Host) FROM mysql.global_priv WHERE User IN ('guestbook','hactl_replica') ORDER BY 1";
        sql(&stack, "31", query).replace("10.77.95.", "")
    };
    let all = "guestbook@11\nguestbook@12\nhactl_replica@31\nhactl_replica@32\nhactl_replica@33";
    assert_eq!(accounts(), all);
    for (name, address) in [("app2", "12"), ("db3", "33")] {
        let text = std::fs::read_to_string(&stack.inventory).unwrap();
        let without: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with(&format!("  {name}:")))
            .collect();
        std::fs::write(&stack.inventory, without.join("\n") + "\n").unwrap();
        assert!(text.contains(&format!("10.77.95.{address},")));
    }
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(accounts(), "guestbook@11\nhactl_replica@31\nhactl_replica@32");
    let known = || stack.on("32", "grep -c '^# hactl begin' /etc/hactl/peer.known_hosts");
    assert_eq!(known(), "2");
    let servers = || stack.on("11", "grep -c '10.77.95.33' /etc/haproxy/haproxy.cfg || :");
    assert_eq!(servers(), "0");

    std::fs::write(&stack.inventory, whole).unwrap();
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!((accounts().as_str(), known().as_str()), (all, "3"));
    assert_ne!(servers(), "0");
    assert_eq!(sql(&stack, "33", "SELECT @@global.read_only"), "1");
    let written = sql(
        &stack,
        "31",
        "CREATE TABLE guestbook.back (id INT PRIMARY KEY); SELECT 1",
    );
    assert_eq!(written, "1");
    stack.wait_until("the replica that came back follows", || {
        sql(&stack, "33", "SHOW TABLES IN guestbook LIKE 'back'") == "back"
    });
    let answer = Command::new("curl")
        .args(["-s", "--max-time", "10", "--resolve", "erp.example.com:80:10.77.95.10"])
        .arg("http://erp.example.com/health")
        .output()
        .unwrap();
    assert!(answer.status.success());
}
