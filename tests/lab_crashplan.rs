//! Crash plans on real hosts, while somebody writes: the primary's server is killed, its host is cut off, it hands over; and
//! the old one comes back.

mod common;

use common::crash::{Writer, cluster, crashplan, event, open};
use common::stack::{Options, Stack};

#[test]
fn another_takes_over_and_the_old_one_comes_back() {
    let stack = cluster(106);

    // An alive primary is left alone.
    let refused = crashplan(&stack, &[]).exits(7);
    assert!(
        event(&refused, "error")["message"]
            .as_str()
            .unwrap()
            .starts_with("db1 is alive")
    );
    assert_eq!(open(&stack), ["31"]);

    // It hands over.
    let writer = Writer::begins(&stack);
    let over = crashplan(&stack, &["--switchover", "--to", "db2"]).exits(0);
    println!("switchover: {}", event(&over, "failover"));
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("switchover, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    assert_eq!(open(&stack), ["32"]);
    stack.settled();

    // Its server is killed.
    let writer = Writer::begins(&stack);
    stack.on("32", "systemctl kill -s KILL mariadb.service");
    let crashed = crashplan(&stack, &[]).exits(0);
    println!("killed: {}", event(&crashed, "failover"));
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("killed, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    let new = event(&crashed, "failover")["new"].as_str().unwrap().to_owned();
    assert_eq!(open(&stack), [new.replace("db", "3")]);
    let held = stack.apply(&[]).exits(7);
    assert!(
        event(&held, "host_failed")["hint"] == "hactl rejoin db2",
        "{}",
        held.stdout
    );
    // Not even by a boot.
    let _ = stack.hactl(&["lab", "kill", "db2"]).exits(0);
    let _ = stack.hactl(&["lab", "boot", "db2"]).exits(0);
    assert_eq!(open(&stack), [new.replace("db", "3")]);
    let _ = stack.hactl(&["rejoin", "--yes", "db2"]).exits(0);
    stack.settled();
    assert_eq!(open(&stack), [new.replace("db", "3")]);

    // Its host is cut off, and returns as what it was.
    let writer = Writer::begins(&stack);
    let _ = stack.hactl(&["lab", "cut", &new]).exits(0);
    let cut = crashplan(&stack, &[]).exits(0);
    println!("cut off: {}", event(&cut, "failover"));
    writer.writes(&stack);
    let third = event(&cut, "failover")["new"].as_str().unwrap().to_owned();
    let _ = stack.hactl(&["lab", "heal", &new]).exits(0);
    writer.writes(&stack);
    // It finds out by itself that its place was taken.
    let address = new.replace("db", "3");
    stack.wait_until("it takes no writes any more", || {
        stack.on(&address, "systemctl is-active mariadb || :") != "active"
    });
    assert!(!stack.on(&address, "cat /var/lib/hactl/fenced").is_empty());
    let seen = writer.ends(&stack);
    println!("cut off, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    let _ = stack.hactl(&["rejoin", "--yes", &new]).exits(0);
    stack.settled();
    assert_eq!(open(&stack), [third.replace("db", "3")]);
}

const PAIR: &str = "  srv1: { address: NET.11 }
  srv2: { address: NET.12, standby: true }
vip:
  web: NET.100/24
";

fn visit(stack: &Stack) -> (u16, String) {
    stack.fetch_at("100", "/health", &[])
}

fn entry(stack: &Stack, host: &str, text: &str) -> bool {
    let query = format!("SELECT COUNT(*) FROM guestbook.entry WHERE text='{text}'");
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(&query))) == "1"
}

fn sign(stack: &Stack, text: &str) {
    let sent = stack.fetch_at("100", "/entries", &["-d", &format!("author=visitor&text={text}")]);
    assert_eq!(sent.0, 303, "{}", sent.1);
}

/// Where the name of the site leads; a file is the zone, which the hook of the inventory keeps.
const HOOK: &str = r#"#!/bin/sh
case $HACTL_DNS_ACTION in
read) printf '{"values":["%s"],"ttl":60}\n' "$(cat zone)" ;;
swap) [ "$(cat zone)" = "$HACTL_DNS_EXPECTED" ] || exit 3; printf %s "$HACTL_DNS_WANTED" >zone ;;
esac
"#;

const DNS: &str = "dns:
  names: [ erp.example.com ]
  provider: { kind: exec, run: sh ./zone.sh }
";

/// The server of a pair is gone, and everything is served by the other one; then it comes back, and serves again.
#[test]
fn the_other_one_of_a_pair_takes_over() {
    let stack = Stack::with(Options {
        hosts: PAIR,
        ..Options::warm(107)
    });
    let zone = stack.folder().join("zone");
    let leads_to = || std::fs::read_to_string(&zone).expect("a zone");
    std::fs::write(&zone, "10.77.107.11").expect("a zone");
    std::fs::write(stack.folder().join("zone.sh"), HOOK).expect("a hook");
    stack.edit_inventory("cluster:", &format!("{DNS}cluster:"));
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    stack.wait_until("the address answers", || visit(&stack).0 == 200);
    sign(&stack, "first");

    // It does not answer, and nobody else can hold it off.
    let _ = stack.hactl(&["lab", "kill", "srv1"]).exits(0);
    let refused = crashplan(&stack, &[]).exits(7);
    let said = event(&refused, "error");
    assert!(
        said["message"]
            .as_str()
            .unwrap()
            .starts_with("nothing keeps srv1 from taking writes"),
        "{said}"
    );
    let crashed = crashplan(&stack, &["--assume-fenced", "powered-off-by-hand"]).exits(0);
    println!("pair: {}", event(&crashed, "failover"));
    assert_eq!(leads_to(), "10.77.107.12");
    stack.wait_until("the address answers", || visit(&stack).0 == 200);
    assert!(entry(&stack, "12", "first"));
    sign(&stack, "second");
    assert_eq!(
        stack.on(
            "12",
            "systemctl is-active nginx supervisor redis-server@queue; systemctl is-enabled nginx supervisor"
        ),
        "active\nactive\nactive\nenabled\nenabled"
    );

    // It returns as what it was, finds out, and serves nothing.
    let _ = stack.hactl(&["lab", "boot", "srv1"]).exits(0);
    stack.wait_until("it has found out", || {
        !stack.on("11", "ls /var/lib/hactl/fenced 2>/dev/null || :").is_empty()
    });
    stack.wait_until("its boot is over", || {
        !["starting", "initializing"].contains(&&*stack.on("11", "systemctl is-system-running || :"))
    });
    for unit in ["mariadb", "nginx", "supervisor"] {
        assert_ne!(
            stack.on("11", &format!("systemctl is-active {unit} || :")),
            "active",
            "{unit}"
        );
    }
    sign(&stack, "third");
    let _ = stack.apply(&[]).exits(7);
    let _ = stack.hactl(&["rejoin", "--yes", "srv1"]).exits(0);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    stack.wait_until("it has all", || {
        ["first", "second", "third"]
            .iter()
            .all(|text| entry(&stack, "11", text))
    });

    // And back, in good order. A name that leads elsewhere is left, and that is said.
    std::fs::write(&zone, "192.0.2.7").expect("a zone");
    let over = crashplan(&stack, &["--switchover"]).exits(7);
    println!("pair, handed over: {}", event(&over, "failover"));
    assert_eq!(leads_to(), "192.0.2.7");
    stack.wait_until("the address answers", || visit(&stack).0 == 200);
    sign(&stack, "fourth");
    stack.settled();
    assert_eq!(
        stack.on("12", "systemctl is-active nginx supervisor || :"),
        "inactive\ninactive"
    );
    stack.wait_until("it has all", || entry(&stack, "12", "fourth"));
}
