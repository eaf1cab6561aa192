//! Names that are led from one host to another, through a real BIND with a second one behind it. Real hosts.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::stack::{Options, Said, Stack};
use hactl::dns::{self, Dns, Wish};
use hactl::error::Kind;
use hactl::inventory::secrets::{Keyring, Secrets};
use serde_json::Value;

const HOSTS: &str = "  srv1: { address: NET.11, primary: true, public_address: [ 198.51.100.11, \"2001:db8::11\" ] }
  srv2: { address: NET.12, standby: true, public_address: [ 198.51.100.12, \"2001:db8::12\" ] }
";

const DNS: &str = "dns:
  names: [ erp.ha.example, files.ha.example ]
  ttl: 30
  wait: 40
  provider:
    kind: rfc2136
    server: NET.11
    zone: ha.example
    key: hactl
    secret: !secret file:tsig
sites:";

/// Of `hactl`, which may change the two names; and of whoever else changes records here.
const KEY: &str = "aGFjdGwncyBrZXkgZm9yIHRoZSBsYWIsIDMyIGJ5dGVzIQ==";
const OTHER: &str = "c29tZWJvZHkgZWxzZSdzIGtleSBmb3IgdGhlIGxhYiwgMzI=";

const ZONE: &str = "$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 30
  NS ns1
  NS ns2
ns1 A NET.11
ns2 A NET.12
erp 30 A 198.51.100.11
erp 30 AAAA 2001:db8::11
files 30 A 198.51.100.11
files 30 AAAA 2001:db8::11
other A 198.51.100.11
other AAAA 2001:db8::11
";

/// BIND on both hosts: the first takes updates, the second gets them when it was told that there are some.
fn name_servers(stack: &Stack, net: &str) {
    let install = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends \
                   bind9 bind9-dnsutils >/dev/null 2>&1";
    let _ = stack.hactl(&["exec", "--", "sh", "-c", install]).exits(0);
    let options = "options { directory \"/var/cache/bind\"; recursion no; dnssec-validation no; listen-on { any; }; \
                   allow-query { any; }; };";
    let keys = format!(
        "key hactl {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\nkey other {{ algorithm hmac-sha256; secret \"{OTHER}\"; }};"
    );
    let zone = ZONE.replace("NET", net);
    stack.on(
        "11",
        &format!(
            "cat > /etc/bind/named.conf.options <<'END'\n{options}\nEND\n\
             cat > /etc/bind/named.conf.local <<'END'\n{keys}\nzone \"ha.example\" {{ type primary; \
             file \"/var/lib/bind/ha.example\"; allow-transfer {{ {net}.12; }}; update-policy {{ \
             grant hactl name erp.ha.example A AAAA; grant hactl name files.ha.example A AAAA; \
             grant other zonesub A AAAA CNAME; }}; }};\nEND\n\
             cat > /var/lib/bind/ha.example <<'END'\n{zone}END\nchown bind /var/lib/bind/ha.example && \
             systemctl restart named && systemctl is-active named"
        ),
    );
    stack.on(
        "12",
        &format!(
            "cat > /etc/bind/named.conf.options <<'END'\n{options}\nEND\n\
             cat > /etc/bind/named.conf.local <<'END'\nzone \"ha.example\" {{ type secondary; primaries {{ {net}.11; }}; \
             file \"/var/lib/bind/ha.example\"; }};\nEND\nsystemctl restart named && systemctl is-active named"
        ),
    );
    stack.wait_until("the second server has the zone", || {
        dig(stack, "12", "erp.ha.example A") == "198.51.100.11"
    });
}

/// What a server says, asked on its own host.
fn dig(stack: &Stack, server: &str, question: &str) -> String {
    stack.on(
        server,
        &format!("dig +short +norecurse +time=2 @127.0.0.1 {question} || true"),
    )
}

/// How often the zone was changed.
fn serial(stack: &Stack) -> String {
    let soa = dig(stack, "11", "ha.example SOA");
    soa.split_whitespace().nth(2).unwrap_or_default().to_owned()
}

/// Somebody else changes records.
fn somebody_else(stack: &Stack, commands: &str) {
    let script = format!(
        "printf 'server 127.0.0.1\\nzone ha.example\\n{commands}\\nsend\\n' | nsupdate -y hmac-sha256:other:{OTHER}"
    );
    stack.on("11", &script);
}

fn switch(stack: &Stack, more: &[&str]) -> Said {
    stack.hactl(&[&["dns", "switch", "--yes", "--format", "json"], more].concat())
}

fn of(said: &Said, event: &str) -> Vec<Value> {
    said.events()
        .into_iter()
        .filter(|line| line["event"] == event)
        .collect()
}

fn error(said: &Said) -> String {
    let errors = of(said, "error");
    assert_eq!(errors.len(), 1, "{}", said.stdout);
    errors[0]["message"].as_str().unwrap().to_owned()
}

#[test]
fn names_are_led_from_one_host_to_the_other_and_never_blindly() {
    let stack = Stack::with(Options {
        warm: false,
        hosts: HOSTS,
        ..Options::warm(122)
    });
    let net = "10.77.122";
    stack.edit_inventory("sites:", &DNS.replace("NET", net));
    std::fs::write(stack.folder().join("tsig"), format!("{KEY}\n")).unwrap();
    name_servers(&stack, net);

    let show = stack.hactl(&["dns", "show"]).exits(0);
    assert_eq!(show.stdout.matches("srv1 (").count(), 8, "{}", show.stdout);
    assert!(
        show.stdout.contains("10.77.122.12"),
        "found by the zone's NS records: {}",
        show.stdout
    );
    let before = serial(&stack);
    let dry = stack.hactl(&["dns", "switch", "--to", "srv2", "--dry-run"]).exits(0);
    assert!(
        dry.stdout
            .contains("~ erp.ha.example A srv1 (198.51.100.11) -> srv2 (198.51.100.12)"),
        "{}",
        dry.stdout
    );
    assert_eq!(serial(&stack), before);

    // All four records in one update; the second server is told a few seconds later, and waited for.
    let said = switch(&stack, &["--from", "srv1", "--to", "srv2"]).exits(0);
    let switched = of(&said, "dns_switched");
    assert_eq!(switched.len(), 4);
    assert!(
        switched
            .iter()
            .all(|event| event["changed"] == true && event["ttl"] == 30 && event["old_ttl"] == 30)
    );
    assert_eq!(of(&said, "dns_unverified").len(), 0);
    for server in ["11", "12"] {
        assert_eq!(dig(&stack, server, "erp.ha.example A"), "198.51.100.12");
        assert_eq!(dig(&stack, server, "files.ha.example AAAA"), "2001:db8::12");
    }
    assert_eq!(serial(&stack), "2", "one update, not four");

    // What is right already is left.
    let again = switch(&stack, &["--to", "srv2"]).exits(0);
    assert_eq!(
        (&again.summary()["changed"], &again.summary()["unchanged"]),
        (&Value::from(0), &Value::from(4))
    );
    assert_eq!(serial(&stack), "2");

    wrong_old_values(&stack);
    wrong_keys(&stack);
    between_looking_and_writing(&stack);
    a_ttl_is_set(&stack);
    servers_that_are_down(&stack);
}

/// A value that is no host's, two values, an alias, none at all: nothing is written, to no name.
fn wrong_old_values(stack: &Stack) {
    for (commands, found) in [
        (
            "update delete files.ha.example A\\nupdate add files.ha.example 30 A 203.0.113.9",
            "leads to 203.0.113.9, which is no host of the inventory",
        ),
        (
            "update add files.ha.example 30 A 198.51.100.12",
            "leads to 198.51.100.12 and 203.0.113.9, which is more than one address",
        ),
        ("update delete files.ha.example A", "does not exist"),
        (
            "update delete files.ha.example AAAA\\nupdate add files.ha.example 30 CNAME other.ha.example",
            "is an alias of other.ha.example",
        ),
    ] {
        somebody_else(stack, commands);
        let before = serial(stack);
        let refused = switch(stack, &["--to", "srv1"]).exits(7);
        let message = error(&refused);
        assert!(
            message.contains(found) && message.contains("nothing was changed"),
            "{message}"
        );
        assert_eq!(serial(stack), before, "{found}");
        assert_eq!(dig(stack, "11", "erp.ha.example A"), "198.51.100.12");
    }
    somebody_else(
        stack,
        "update delete files.ha.example CNAME\\nsend\\nupdate add files.ha.example 30 A 198.51.100.12\\n\
         update add files.ha.example 30 AAAA 2001:db8::12",
    );
    let before = serial(stack);
    let refused = switch(stack, &["--from", "srv1", "--to", "srv1"]);
    assert_eq!(refused.code, 7, "{}", refused.stdout);
    assert!(error(&refused).contains("which is srv2, not srv1"));
    assert_eq!(serial(stack), before);
    stack.wait_until("the second server follows", || {
        dig(stack, "12", "files.ha.example A") == "198.51.100.12"
    });
}

/// Each way in which a key does not do has words of its own, and none of them the key.
fn wrong_keys(stack: &Stack) {
    let before = serial(stack);
    let fails = |what: &str| {
        let failed = switch(stack, &["--to", "srv1"]).exits(4);
        let message = error(&failed);
        assert!(message.contains(what), "{message}");
        assert!(message.contains("still leads to 198.51.100.12"), "{message}");
        assert!(!failed.stdout.contains(OTHER) && !failed.stderr.contains(OTHER));
    };
    std::fs::write(stack.folder().join("tsig"), OTHER).unwrap();
    fails("BADSIG");
    stack.edit_inventory("key: hactl", "key: nobody");
    fails("BADKEY");
    stack.edit_inventory("key: nobody", "key: hactl");
    stack.edit_inventory(
        "    secret: !secret file:tsig",
        "    algorithm: hmac-sha512\n    secret: !secret file:tsig",
    );
    std::fs::write(stack.folder().join("tsig"), KEY).unwrap();
    fails("BADKEY");
    stack.edit_inventory("    algorithm: hmac-sha512\n", "");
    assert_eq!(serial(stack), before);

    // The key may not change this name; and because of it the others are not changed, either.
    somebody_else(
        stack,
        "update delete other.ha.example A\\nupdate delete other.ha.example AAAA\\n\
         update add other.ha.example 30 A 198.51.100.12\\nupdate add other.ha.example 30 AAAA 2001:db8::12",
    );
    stack.wait_until("the second server follows", || {
        dig(stack, "12", "other.ha.example A") == "198.51.100.12"
    });
    let before = serial(stack);
    stack.edit_inventory("names: [ erp", "names: [ other.ha.example, erp");
    fails("REFUSED");
    assert_eq!(serial(stack), before);
    stack.edit_inventory("names: [ other.ha.example, erp", "names: [ erp");
}

fn library(stack: &Stack) -> Dns {
    let loaded = hactl::inventory::load(&stack.inventory).unwrap();
    let keyring = Keyring::from_env(std::sync::Arc::new(|_: &str| None));
    let secrets = Secrets::of_dns(&loaded.inventory, &keyring).unwrap();
    Dns::of(&loaded.inventory, &secrets).unwrap().unwrap()
}

/// Somebody changes a record after hactl has looked: the server itself refuses the update.
fn between_looking_and_writing(stack: &Stack) {
    let dns = library(stack);
    let wish = Wish {
        to: "srv1".into(),
        from: None,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let looks = runtime.block_on(dns.look());
    let plan = dns::plan(&dns.section, &looks, &wish).unwrap();
    assert_eq!(plan.changes().len(), 4);
    somebody_else(
        stack,
        "update delete files.ha.example A\\nupdate add files.ha.example 30 A 203.0.113.9",
    );
    let before = serial(stack);
    let refused = runtime.block_on(dns::carry_out(&dns, &plan, &|_| {})).unwrap_err();
    assert_eq!(refused.kind, Kind::Refused, "{refused}");
    assert!(refused.message.contains("files.ha.example A: 203.0.113.9"), "{refused}");
    assert!(
        refused
            .message
            .contains("erp.ha.example A still leads to 198.51.100.12"),
        "{refused}"
    );
    assert_eq!(serial(stack), before);
    somebody_else(
        stack,
        "update delete files.ha.example A\\nupdate add files.ha.example 30 A 198.51.100.12",
    );
    // Somebody does the same meanwhile: nothing is left to be done, and that is no failure.
    let looks = runtime.block_on(dns.look());
    let plan = dns::plan(&dns.section, &looks, &wish).unwrap();
    let _ = switch(stack, &["--to", "srv1"]).exits(0);
    let done = runtime.block_on(dns::carry_out(&dns, &plan, &|_| {})).unwrap();
    assert!(done.records.iter().all(|done| !done.changed) && done.unverified.is_empty());
}

/// Steady state needs a short TTL: the same switch sets it.
fn a_ttl_is_set(stack: &Stack) {
    somebody_else(
        stack,
        "update delete erp.ha.example A\\nupdate add erp.ha.example 3600 A 198.51.100.11",
    );
    stack.wait_until("the second server follows", || {
        stack
            .on("12", "dig +norecurse @127.0.0.1 erp.ha.example A")
            .contains("3600")
    });
    let show = stack.hactl(&["dns", "show"]).exits(0);
    assert!(
        show.stdout.contains("TTL 3600 s, and the inventory says 30 s"),
        "{}",
        show.stdout
    );
    let said = switch(stack, &["--to", "srv1"]).exits(0);
    let changed: Vec<Value> = of(&said, "dns_switched")
        .into_iter()
        .filter(|event| event["changed"] == true)
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(
        (&changed[0]["old_ttl"], &changed[0]["ttl"]),
        (&Value::from(3600), &Value::from(30))
    );
}

/// The second server: the switch is done, and who is not led there is said. The first: nothing is done.
fn servers_that_are_down(stack: &Stack) {
    stack.on("12", "systemctl stop named");
    let began = Instant::now();
    let said = switch(stack, &["--to", "srv2"]).exits(4);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "nobody waits for one that was down before"
    );
    let unverified = of(&said, "dns_unverified");
    assert!(
        unverified.iter().all(|event| event["server"] == "10.77.122.12"),
        "{unverified:?}"
    );
    assert_eq!((unverified.len(), &said.summary()["changed"]), (4, &Value::from(4)));
    assert_eq!(dig(stack, "11", "erp.ha.example A"), "198.51.100.12");

    // It runs, and does not follow: waited for as long as the inventory says.
    stack.on(
        "12",
        "sed -i 's/primaries {[^}]*}/primaries { 192.0.2.1; }/' /etc/bind/named.conf.local && systemctl start named",
    );
    stack.wait_until("it answers", || dig(stack, "12", "erp.ha.example A") == "198.51.100.11");
    stack.edit_inventory("wait: 40", "wait: 4");
    let show = stack.hactl(&["dns", "show"]).exits(4);
    assert!(
        show.stdout.contains("the first server says 198.51.100.12"),
        "{}",
        show.stdout
    );
    let said = switch(stack, &["--to", "srv2"]).exits(4);
    assert_eq!(
        (of(&said, "dns_unverified").len(), &said.summary()["changed"]),
        (4, &Value::from(0))
    );
    assert!(
        of(&said, "dns_waits")
            .iter()
            .all(|event| event["server"] == "10.77.122.12")
    );
    stack.edit_inventory("wait: 4", "wait: 40");
    // Or until it does.
    let waits = ["dns", "switch", "--yes", "--format", "json", "--to", "srv2"];
    let waiting = stack.started_until(&waits, &[], |line| line.contains("\"dns_waits\""));
    let waiting = waiting.expect("it waits");
    stack.on(
        "12",
        "sed -i 's/primaries {[^}]*}/primaries { 10.77.122.11; }/' /etc/bind/named.conf.local && rndc reconfig && \
         rndc retransfer ha.example",
    );
    let _ = waiting.ends_within(Duration::from_secs(40)).exits(0);

    let before = serial(stack);
    stack.on("11", "systemctl stop named");
    let down = switch(stack, &["--to", "srv1"]).exits(5);
    assert!(error(&down).contains("nothing was changed"), "{}", down.stdout);
    stack.on("11", "systemctl start named");
    stack.wait_until("it answers", || !serial(stack).is_empty());
    assert_eq!(serial(stack), before);
    assert_eq!(dig(stack, "11", "erp.ha.example A"), "198.51.100.12");
    history(stack);
}

/// Who switched, and when, is in the journal of this machine; what only looked is not.
fn history(stack: &Stack) {
    let runs = find(&stack.folder().join(".local/state"));
    let text: String = runs
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    assert!(text.contains("\"dns_switched\""), "{runs:?}");
    assert!(!text.contains(KEY) && !text.contains(OTHER));
    let told = stack.hactl(&["history"]);
    assert!(
        told.stdout
            .contains("erp.ha.example A to srv2, erp.ha.example AAAA to srv2"),
        "{}",
        told.stdout
    );
}

fn find(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .flat_map(|path| if path.is_dir() { find(&path) } else { vec![path] })
        .collect()
}
