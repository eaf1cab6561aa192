//! Two full servers: one serves, the other waits with everything in place. Real hosts.

mod common;

use common::releases::{Flaw, minifrappe, minifrappe_release};
use common::stack::{Options, Said, Serves, Stack};
use hactl::inventory::secrets::{Keyring, Secrets};

const HOSTS: &str = "  srv1: { address: NET.11 }
  srv2: { address: NET.12, standby: true }
vip:
  web: NET.100/24
";
const SERVING: [&str; 2] = ["nginx.service", "supervisor.service"];
const BENCH: &str = "/srv/frappe/bench";
const SITE: &str = "/srv/frappe/bench/sites/erp.example.com";

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

/// What the pair's secrets file holds under a name.
fn secret(stack: &Stack, name: &str) -> String {
    let loaded = hactl::inventory::load(&stack.inventory).expect("the inventory");
    let keyring = Keyring {
        identity: None,
        home: Some(stack.folder().to_owned()),
        ask: Keyring::nobody(),
    };
    let resolved = Secrets::resolve(&loaded.inventory, &keyring).expect("secrets");
    let found = resolved.secrets.iter().find(|(of, _)| *of == name);
    found.expect("a secret").1.reveal().to_owned()
}

/// What `status` finds, as `VERDICT: DETAIL`.
#[track_caller]
fn found(stack: &Stack, host: &str, subject: &str) -> String {
    let said = stack.hactl(&["status", "--format", "json"]);
    let events = said.events();
    let found = events
        .iter()
        .find(|event| event["subject"] == subject && event["host"] == host);
    let found = found.unwrap_or_else(|| panic!("nothing about {subject} on {host} in {}", said.stdout));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("verdict"), text("detail"))
}

/// `HOST RESOURCE: SUMMARY` of all changes of services in a plan.
fn moves(said: &Said) -> Vec<String> {
    let events = said.events();
    let plan = events.iter().find(|event| event["event"] == "planned").expect("a plan");
    let mut moves = Vec::new();
    for host in plan["plan"]["hosts"].as_array().expect("hosts") {
        for step in host["steps"].as_array().expect("steps") {
            for change in step["changes"].as_array().expect("changes") {
                let resource = change["resource"].as_str().expect("a resource");
                if SERVING.iter().any(|unit| resource.ends_with(unit)) {
                    let summary = change["change"]["summary"].as_str().or(change["summary"].as_str());
                    moves.push(format!(
                        "{} {resource}: {}",
                        host["host"].as_str().expect("a host"),
                        summary.unwrap_or_default()
                    ));
                }
            }
        }
    }
    moves
}

/// That a host serves, or waits: its units, and whether they would start at boot.
#[track_caller]
fn serves(stack: &Stack, host: &str, serves: bool) {
    for unit in SERVING {
        let state = stack.on(
            host,
            &format!("systemctl is-active {unit} || :; systemctl is-enabled {unit} || :"),
        );
        let wanted = match serves {
            true => "active\nenabled",
            false => "inactive\ndisabled",
        };
        assert_eq!(state, wanted, "{unit} on {host}");
    }
    let processes = stack.on(host, "pgrep -fc 'gunicor[n]' || :");
    assert_eq!(processes != "0", serves, "{processes} processes on {host}");
}

fn carries(stack: &Stack, host: &str) -> bool {
    let address = format!("{}.100", stack.address.rsplit_once('.').expect("an address").0);
    !stack.on(host, &format!("ip -o addr show to {address}")).is_empty()
}

fn answers(stack: &Stack) {
    stack.wait_until("the address answers", || stack.fetch_at("100", "/health", &[]).0 == 200);
}

fn writes(stack: &Stack, text: &str) {
    let sent = stack.fetch_at("100", "/entries", &["-d", &format!("author=visitor&text={text}")]);
    assert_eq!(sent.0, 303, "{}", sent.1);
}

fn has(stack: &Stack, host: &str, text: &str) -> bool {
    sql(
        stack,
        host,
        &format!("SELECT COUNT(*) FROM guestbook.entry WHERE text='{text}'"),
    ) == "1"
}

fn ready(stack: &Stack, host: &str) {
    let mut said = String::new();
    stack.wait_until("it is ready", || {
        let now = found(stack, host, "standby");
        if now != said {
            println!("{now}");
            said = now;
        }
        // The disk is that of the machine below.
        said.starts_with("good: ready: follows ") || said.starts_with("warning: ready, but: disk / ")
    });
}

#[test]
fn a_pair_serves_through_its_address() {
    let stack = Stack::with(Options {
        hosts: HOSTS,
        ..Options::warm(97)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    answers(&stack);
    writes(&stack, "first");
    assert!(carries(&stack, "11") && !carries(&stack, "12"));
    serves(&stack, "11", true);
    serves(&stack, "12", false);
    stack.wait_until("the entry is on the other host", || has(&stack, "12", "first"));
    ready(&stack, "srv2");
    let _ = stack.hactl(&["status"]).exits(0);

    what_waits_is_kept_waiting(&stack);
    hosts_come_back_as_they_were(&stack);
    what_serves_follows_the_writer(&stack);
}

fn what_waits_is_kept_waiting(stack: &Stack) {
    // Somebody starts it.
    stack.on("12", "systemctl start nginx supervisor");
    let said = found(stack, "srv2", "standby");
    assert!(
        said.starts_with("bad: not ready: ") && said.contains("nginx.service is active, though srv1 serves"),
        "{said}"
    );
    assert!(carries(stack, "11"), "nothing takes the address from who has it");
    let _ = stack.apply(&[]).exits(0);
    serves(stack, "12", false);
    // Its data are gone.
    stack.on(
        "12",
        "systemctl stop mariadb; rm -rf /var/lib/mysql/* /var/log/mysql/mariadb-bin.*",
    );
    assert!(found(stack, "srv2", "standby").starts_with("bad: not ready: "));
    // Whoever asks MariaDB is in order without it: nothing that an apply could mend.
    stack.on(
        "12",
        "for n in $(seq 30); do systemctl is-active hactl-dbwatch.service || exit 1; sleep 0.1; done",
    );
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert!(has(stack, "12", "first"));
}

fn hosts_come_back_as_they_were(stack: &Stack) {
    for verb in ["kill", "boot"] {
        let _ = stack.hactl(&["lab", verb, "srv2"]).exits(0);
    }
    ready(stack, "srv2");
    serves(stack, "12", false);
    stack.settled();
    // The one that serves is away: nobody takes its place by itself.
    let _ = stack.hactl(&["lab", "kill", "srv1"]).exits(0);
    assert!(!carries(stack, "12"));
    assert_eq!(stack.fetch_at("100", "/health", &["--connect-timeout", "3"]).0, 0);
    let _ = stack.hactl(&["lab", "boot", "srv1"]).exits(0);
    stack.wait_until("the address is back", || carries(stack, "11"));
    serves(stack, "12", false);
    // Every start of a server that takes writes is closed.
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    answers(stack);
    writes(stack, "second");
    serves(stack, "11", true);
    stack.wait_until("the entry is on the other host", || has(stack, "12", "second"));
}

fn what_serves_follows_the_writer(stack: &Stack) {
    stack.wait_until("all is replicated", || {
        sql(stack, "11", "SELECT @@gtid_binlog_pos") == sql(stack, "12", "SELECT @@gtid_slave_pos")
    });
    let _ = stack.hactl(&["lab", "kill", "srv1"]).exits(0);
    // Somebody promotes the other one's data stores by hand.
    let _ = sql(stack, "12", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=OFF");
    for instance in ["cache", "queue"] {
        stack.on(
            "12",
            &format!(
                "cd /etc/redis && port=$(sed -n 's/^port //p' redis-{instance}.conf) && \
                 REDISCLI_AUTH=$(sed -n 's/^requirepass \"\\(.*\\)\"/\\1/p' redis-{instance}.password) \
                 redis-cli -p $port REPLICAOF NO ONE"
            ),
        );
    }
    let planned = stack.hactl(&["plan", "--limit", "srv2", "--format", "json"]).exits(0);
    assert_eq!(
        moves(&planned),
        [
            "srv2 service supervisor.service: is inactive: enable and start",
            "srv2 service nginx.service: is inactive: enable and start",
        ]
    );
    let _ = stack.apply(&["--limit", "srv2"]).exits(0);
    answers(stack);
    writes(stack, "third");
    serves(stack, "12", true);
    assert!(carries(stack, "12"));

    // The old one returns and believes that nothing has happened.
    let _ = stack.hactl(&["lab", "boot", "srv1"]).exits(0);
    stack.wait_until("it is up", || {
        stack.on("11", "systemctl is-active mariadb nginx supervisor || :") == "active\nactive\nactive"
    });
    assert!(carries(stack, "12"), "nothing takes the address from who has it");
    let planned = stack.hactl(&["plan", "--format", "json"]).exits(0);
    assert_eq!(
        moves(&planned),
        [
            "srv1 stopped supervisor.service: stop and disable",
            "srv1 stopped nginx.service: stop and disable",
        ]
    );
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    serves(stack, "11", false);
    // An old primary is pointed at nobody; somebody gives its data up.
    assert!(found(stack, "srv1", "standby").contains("takes no writes and follows nobody"));
    stack.on(
        "11",
        "systemctl stop mariadb; rm -rf /var/lib/mysql/* /var/log/mysql/mariadb-bin.*",
    );
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    serves(stack, "12", true);
    assert_eq!(sql(stack, "12", "SELECT @@read_only"), "0");
    stack.wait_until("the entry is on the other host", || has(stack, "11", "third"));
    ready(stack, "srv1");
    answers(stack);
    assert!(carries(stack, "12"));
}

/// Shell that gives a host's release.
const RELEASE: &str = "readlink /srv/frappe/bench/current";

fn release(stack: &Stack) -> u32 {
    let (code, body) = stack.fetch_at("100", "/api/method/frappe.notes.state", &[]);
    assert_eq!(code, 200, "{body}");
    minifrappe_release(&serde_json::from_str(&body).expect("JSON")).expect("a whole release")
}

#[test]
fn files_releases_and_services_of_a_pair() {
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        hosts: HOSTS,
        ..Options::warm(98)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    stack.wait_until("the address answers", || {
        stack.fetch_at("100", "/api/method/ping", &[]).0 == 200
    });
    serves(&stack, "11", true);
    serves(&stack, "12", false);
    files_go_one_way(&stack, "11", "12");
    ready(&stack, "srv2");
    the_release_follows(&stack);
    a_switch_in_good_order(&stack);
}

fn files_go_one_way(stack: &Stack, from: &str, to: &str) {
    let user = |script: &str| format!("cd {SITE} && runuser -u frappe -- sh -c {}", hactl::quote::sh(script));
    let take = |host: &str| stack.on(host, "systemctl start hactl-files.service");
    stack.on(from, &user("echo one >public/files/a; echo two >private/files/b"));
    take(to);
    assert_eq!(
        stack.on(to, &format!("cd {SITE} && cat public/files/a private/files/b")),
        "one\ntwo"
    );
    // What counts is on the host that serves, whatever is newer.
    stack.on(to, &user("echo newer >public/files/a; echo three >public/files/c"));
    stack.on(from, &user("rm private/files/b"));
    // Somebody is impatient.
    for _ in 0..8 {
        take(to);
    }
    assert_eq!(stack.on(to, &format!("cd {SITE} && cat */files/[abc]")), "one");
    let kept = stack.on(
        to,
        &format!("cd {BENCH}/cache/files-removed/*/erp.example.com && head */files/* | sort"),
    );
    for text in ["newer", "three", "two"] {
        assert!(kept.contains(text), "{kept}");
    }
    assert_eq!(stack.on(from, &format!("cd {SITE} && cat */files/[abc]")), "one");
    // Configuration that is not hactl's.
    let set = |file: &str| {
        format!(
            "import json; p = '{file}'; d = json.load(open(p)); d['of_{from}'] = 7; json.dump(d, open(p, 'w'), indent=1)"
        )
    };
    for file in ["common_site_config.json", "erp.example.com/site_config.json"] {
        let path = format!("{BENCH}/sites/{file}");
        stack.on(from, &format!("python3 -c \"{}\"", set(&path)));
        take(to);
        let read = format!("python3 -c \"import json; print(json.load(open('{path}'))['of_{from}'])\"");
        assert_eq!(stack.on(to, &read), "7");
    }
    // What an update sets while it runs is not for the other one: it may have to serve before that is over.
    let site = format!("{SITE}/site_config.json");
    let before = stack.on(from, &format!("cat {site}"));
    let during = format!(
        "import json; p = '{site}'; d = json.load(open(p)); d.update(maintenance_mode=1, pause_scheduler=1, db_name='x', \
         hactl_before_update={{'pause_scheduler': 0}}); json.dump(d, open(p, 'w'))"
    );
    stack.on(from, &format!("cp -p {site} {site}.kept; python3 -c \"{during}\""));
    take(to);
    let taken: serde_json::Value = serde_json::from_str(&stack.on(to, &format!("cat {site}"))).expect("JSON");
    assert_eq!(taken["db_name"], "x", "it was taken: {taken}");
    assert_eq!(taken["pause_scheduler"], 0, "{taken}");
    for key in ["maintenance_mode", "hactl_before_update"] {
        assert!(taken.get(key).is_none(), "{taken}");
    }
    stack.on(from, &format!("mv {site}.kept {site}"));
    assert_eq!(stack.on(from, &format!("cat {site}")), before);
    take(to);
    // What reads it takes it up.
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    // Who serves takes nothing.
    let units = stack.on(from, "systemctl list-unit-files --no-legend 'hactl-files*' | wc -l");
    assert_eq!(units, "0");
}

fn the_release_follows(stack: &Stack) {
    let releases = || ["11", "12"].map(|host| stack.on(host, RELEASE));
    let update = |tag: &str, more: &[&str]| {
        let set = format!("frappe={tag}");
        let words = ["app", "update", "--yes", "--format", "json", "--set", &set];
        stack.hactl(&[&words, more].concat())
    };
    let tag = minifrappe(stack, 2, Flaw::None);
    let before = releases();
    // The one that waits does not go ahead.
    let _ = update(&tag, &["--limit", "srv2"]).exits(4);
    assert_eq!(releases(), before);
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(release(stack), 2);
    let after = releases();
    assert_ne!(after, before);
    assert_eq!(after[0], after[1]);
    stack.settled();
    let tag = minifrappe(stack, 3, Flaw::Migration);
    let _ = update(&tag, &[]).exits(4);
    assert_eq!((release(stack), releases()), (2, after.clone()));
    stack.edit_inventory(&format!("ref: {tag}"), "ref: v2");
    stack.settled();
}

fn a_switch_in_good_order(stack: &Stack) {
    // A file that the other one has not got yet.
    stack.on("12", "systemctl stop hactl-files.timer hactl-files.service");
    stack.on(
        "11",
        &format!("cd {SITE} && runuser -u frappe -- sh -c 'echo late >public/files/late'"),
    );
    let _ = sql(
        stack,
        "11",
        "SET GLOBAL read_only=ON; SET GLOBAL rpl_semi_sync_master_enabled=OFF",
    );
    let position = sql(stack, "11", "SELECT @@gtid_binlog_pos");
    let _ = sql(stack, "12", &format!("SELECT MASTER_GTID_WAIT('{position}', 20)"));
    let _ = sql(stack, "12", "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=OFF");
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST='10.77.98.12', MASTER_USE_GTID=slave_pos, MASTER_USER='hactl_replica', MASTER_PASSWORD='{}', \
         MASTER_DEMOTE_TO_SLAVE=1, MASTER_SSL=1, MASTER_SSL_CA='/etc/mysql/hactl/authority.crt'; START SLAVE",
        secret(stack, "mariadb/replication")
    );
    let _ = sql(stack, "11", &follow);
    let planned = stack.hactl(&["plan", "--format", "json"]).exits(0);
    assert_eq!(
        moves(&planned),
        [
            "srv1 stopped supervisor.service: stop and disable",
            "srv1 stopped nginx.service: stop and disable",
            "srv2 service supervisor.service: is inactive: enable and start",
            "srv2 service nginx.service: is inactive: enable and start",
        ]
    );
    let moved = stack.apply(&[]).exits(0);
    assert!(!moved.stdout.contains("run migrate"), "no site is migrated for that");
    assert!(
        !moved.stdout.contains("\"step\":\"release "),
        "no release is switched for that"
    );
    stack.settled();
    serves(stack, "11", false);
    serves(stack, "12", true);
    stack.wait_until("the address answers", || {
        stack.fetch_at("100", "/api/method/ping", &[]).0 == 200
    });
    assert!(carries(stack, "12"));
    assert_eq!(stack.fetch_at("100", "/files/late", &[]), (200, "late\n".to_owned()));
    assert_eq!(release(stack), 2);
    ready(stack, "srv1");
    files_go_one_way(stack, "12", "11");
    let _ = stack.hactl(&["site", "migrate", "erp.example.com", "--yes"]).exits(0);
    assert_eq!(release(stack), 2);
}
