//! Rarer ways of a crash plan, on real hosts: power switches, a second plan soon after the first, a candidate that gets from
//! another what it lacks.

mod common;

use std::time::Duration;

use common::crash::{Writer, cluster, crashplan, event, open};
use common::stack::{Said, Stack};

fn sql(stack: &Stack, host: &str, query: &str) -> String {
    stack.on(host, &format!("mariadb -N -e {}", hactl::quote::sh(query)))
}

fn lab(stack: &Stack, verb: &str, host: &str) {
    let _ = stack.hactl(&["lab", verb, host]).exits(0);
}

/// Hooks of the inventory: a switch that knows the lab, and writes down what it is told.
fn power(stack: &Stack, keys: &str) {
    let script = format!(
        "echo \"$1 $2 $HACTL_HOST $HACTL_ADDRESS\" >>told\ncase $1 in\n\
         off) {hactl} lab kill \"$2\" >&2 && : >\"off-$2\" ;;\n\
         status) [ -e \"off-$2\" ] && echo 'Chassis Power is off' || echo 'Chassis Power is on' ;;\n\
         *) echo 'no such chassis' >&2; exit 1 ;;\nesac\n",
        hactl = env!("CARGO_BIN_EXE_hactl")
    );
    std::fs::write(stack.folder().join("power.sh"), script).expect("a script");
    stack.edit_inventory("cluster:", &format!("crashplan: {{ {keys} }}\ncluster:"));
}

fn told(stack: &Stack) -> Vec<String> {
    let text = std::fs::read_to_string(stack.folder().join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn warnings(said: &Said) -> String {
    let all = said.events().into_iter().filter(|event| event["event"] == "warning");
    all.map(|event| event["message"].to_string())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_host_that_does_not_answer_loses_its_power_and_a_second_plan_is_asked_for() {
    let stack = cluster(135);
    power(&stack, "power_off: [ sh, ./power.sh, 'off', '{host}' ]");

    // It is only cut off, and would take writes when it comes back: its power goes, and nobody hears of it any more.
    let writer = Writer::begins(&stack);
    lab(&stack, "cut", "db1");
    let over = crashplan(&stack, &[]).exits(0);
    println!("power: {}", event(&over, "failover"));
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("power, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    assert_eq!(told(&stack), ["off db1 db1 10.77.135.31"]);
    let status = stack.hactl(&["lab", "status", "--format", "json"]);
    let runs = |name: &str| {
        let hosts = status.events().into_iter().filter(|event| event["event"] == "lab_host");
        hosts
            .filter(|event| event["host"] == name)
            .any(|event| event["running"] == true)
    };
    assert!(!runs("db1") && runs("db2"), "{}", status.stdout);
    let new = event(&over, "failover")["new"]
        .as_str()
        .expect("a name")
        .replace("db", "3");
    let kept = stack.on(&new, "cat /var/lib/hactl/failover/[0-9]*");
    assert!(kept.contains("fence powered-off"), "{kept}");

    lab(&stack, "boot", "db1");
    let back = stack.hactl(&["rejoin", "--yes", "db1"]);
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);

    // The new primary dies, too: who and when is known to all, and a person has to look.
    stack.on(&new, "systemctl kill -s KILL mariadb.service");
    let second = stack.hactl(&["crashplan", "--yes", "--format", "json"]).exits(7);
    let message = event(&second, "error")["message"].to_string();
    println!("second: {message}");
    assert!(
        message.contains("the primary in place of db1") && message.contains("--ack"),
        "{message}"
    );
    assert_eq!(open(&stack), [""; 0]);
    let over = crashplan(&stack, &[]).exits(0);
    println!("second, with --ack: {}", event(&over, "failover"));
    let third = open(&stack);
    assert!(third.len() == 1 && third[0] != new, "{third:?}");
    assert_eq!(told(&stack).len(), 1, "it could be stopped over SSH");
    // One that hands over is none of them.
    let back = stack.hactl(&["rejoin", "--yes", &new.replacen('3', "db", 1)]);
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    let back = stack.hactl(&[
        "crashplan",
        "--yes",
        "--switchover",
        "--to",
        &new.replacen('3', "db", 1),
    ]);
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    assert_eq!(open(&stack), [new.as_str()]);

    // Its host answers, and cannot be told anything: its disk is read only. Power is the next rung.
    stack.on(
        &new,
        "mount -t tmpfs -o ro none /var/lib/hactl && systemctl kill -s KILL mariadb.service",
    );
    let over = crashplan(&stack, &[]).exits(0);
    println!("could not be stopped: {}", event(&over, "failover"));
    assert_eq!(told(&stack).len(), 2, "{:?}", told(&stack));
    assert!(warnings(&over).contains("could not be stopped"), "{}", warnings(&over));
    let fourth = open(&stack);
    assert!(fourth.len() == 1 && fourth[0] != new, "{fourth:?}");
}

#[test]
fn a_candidate_gets_from_another_what_it_lacks() {
    let stack = cluster(136);
    power(
        &stack,
        "power_off: [ sh, ./power.sh, unplug, '{host}' ], power_status: [ sh, ./power.sh, status, '{host}' ]",
    );

    // db2 receives nothing any more, db3 acknowledges, and the primary is gone.
    let writer = Writer::begins(&stack);
    let _ = sql(&stack, "32", "STOP SLAVE IO_THREAD");
    writer.writes(&stack);
    writer.writes(&stack);
    lab(&stack, "kill", "db1");

    // What would be done is shown to the letter, and nothing is done.
    let state =
        "mariadb -N -e 'SELECT @@global.read_only, @@global.gtid_slave_pos'; ls -R /var/lib/hactl; nft list tables";
    let before = ["32", "33"].map(|host| stack.on(host, state));
    let dry = stack.hactl(&["crashplan", "--dry-run", "--to", "db2"]).exits(0);
    for part in [
        "db2 gets what it lacks from db3 first",
        "its power is taken away: this one",
        "    sh ./power.sh unplug db1",
        "CHANGE MASTER TO MASTER_HOST='10.77.136.33'",
        "MASTER_PASSWORD='***'",
        "receiving No, applying Yes",
        "SET GLOBAL read_only=OFF",
    ] {
        assert!(dry.stdout.contains(part), "{part}: {}", dry.stdout);
    }
    assert_eq!(["32", "33"].map(|host| stack.on(host, state)), before);
    assert_eq!(told(&stack), [""; 0]);

    // It is cut off while the candidate is fed, and gone on with. The switch does not do it: the network does.
    let words = ["crashplan", "--yes", "--format", "json", "--to", "db2"];
    let running = stack.started_until(&words, &[], |line| {
        line.contains("\"step_started\"") && line.contains("get what only db3 has")
    });
    let mut running = running.expect("it is fed");
    std::thread::sleep(Duration::from_millis(150));
    running.kill();
    let _ = running.ends_within(Duration::from_secs(20));
    let over = stack.hactl(&words).exits(0);
    let report = event(&over, "failover");
    println!("fed: {report}");
    assert_eq!(report["new"], "db2");
    assert!(report.get("lost_unknown").is_none(), "{report}");
    let warned = warnings(&over);
    println!("fed, warned: {warned}");
    assert!(warned.contains("no such chassis"), "{warned}");
    writer.writes(&stack);
    let seen = writer.ends(&stack);
    println!("fed, as the writer saw it: {seen}");
    assert_eq!(seen["lost"], 0, "{seen}");
    assert_eq!(open(&stack), ["32"]);
    let follows = "mariadb -E -e 'SHOW SLAVE STATUS' | sed -n 's/^ *Master_Host: //p'";
    assert_eq!(stack.on("33", follows), "10.77.136.32");
    assert_eq!(stack.on("32", "ls /var/lib/hactl/failover/feeds 2>/dev/null || :"), "");
}
