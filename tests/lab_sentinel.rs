//! Redis on three hosts under Sentinel: what happens when the leader dies, returns, when passwords change, when hosts come
//! and go. Real hosts.

mod common;

use std::time::Instant;

use common::stack::{Options, Stack};

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker, db ] }
  rd1: { address: NET.41, roles: [ redis ] }
  rd2: { address: NET.42, roles: [ redis ] }
  rd3: { address: NET.43, roles: [ redis ] }
";

/// Pushes through the endpoint as the application would, until a file is there; prints how it went.
const WRITER: &str = r#"
import os, redis, time
def url():
    for line in open("/srv/guestbook/env"):
        if line.startswith("REDIS_QUEUE_URL="):
            return line.strip().split("=", 1)[1]
done, failed = 0, []
while not os.path.exists("/tmp/enough"):
    try:
        with redis.Redis.from_url(url(), socket_timeout=10, socket_connect_timeout=10) as client:
            client.rpush("written", done)
        done += 1
    except redis.RedisError as error:
        failed.append(f"{type(error).__name__}: {error}")
    time.sleep(0.01)
print(f"{done} written, {len(failed)} failed: {failed[:3]}")
"#;

/// What `status` finds about a subject, by host.
fn found(stack: &Stack, subject: &str) -> Vec<(String, String)> {
    let said = stack.hactl(&["status", "--format", "json"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    said.events()
        .iter()
        .filter(|event| event["subject"] == subject)
        .map(|event| (text(&event["host"]), text(&event["detail"])))
        .collect()
}

/// What `status` finds about a subject on one host.
fn of(stack: &Stack, host: &str, subject: &str) -> String {
    let found = found(stack, subject);
    found
        .into_iter()
        .find(|(name, _)| name == host)
        .map(|(_, detail)| detail)
        .unwrap_or_default()
}

/// The hosts that lead a set, by their own word.
fn leaders(stack: &Stack, set: &str) -> Vec<String> {
    let found = found(stack, &format!("redis set {set}"));
    let leads = found.into_iter().filter(|(_, detail)| detail.starts_with("leads"));
    leads.map(|(host, _)| host).collect()
}

/// The client of the queue, on the app's host through its endpoint.
const CLIENT: &str = "REDISCLI_AUTH=$(sed -n 's,^REDIS_QUEUE_URL=redis://:\\(.*\\)@.*,\\1,p' /srv/guestbook/env) \
                      timeout 60 redis-cli -h 127.0.0.1 -p 11001";

/// A command to the queue.
fn queue(stack: &Stack, command: &str) -> String {
    stack.on("11", &format!("{CLIENT} {command}"))
}

/// How many connections the endpoint gave to a host's queue.
fn given(stack: &Stack, host: &str) -> String {
    let rows = stack.on("11", "echo 'show stat' | socat - UNIX-CONNECT:/run/haproxy/admin.sock");
    let row = rows
        .lines()
        .find(|row| row.starts_with(&format!("redis_queue,{host},")))
        .unwrap_or_else(|| panic!("no {host} in {rows}"));
    row.split(',').nth(7).unwrap_or_default().to_owned()
}

fn serves(stack: &Stack) -> bool {
    stack.fetch("/health", &[]).0 == 200
}

#[test]
fn sentinels_promote_and_hactl_follows() {
    let stack = Stack::with(Options {
        hosts: HOSTS,
        ..Options::warm(84)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert!(serves(&stack));
    stack.on("11", "apt-get -qq install -y redis-tools >/dev/null 2>&1");
    assert_eq!(leaders(&stack, "queue"), ["rd1"]);
    assert_eq!(
        of(&stack, "rd2", "sentinel queue"),
        "3 of 3 sentinels watch 10.77.84.41:11000, 2 must agree"
    );
    // Nobody but Redis reads its passwords, wherever it writes them.
    let readable = "find /etc/redis /var/lib/redis -type f -perm /o+r -exec grep -lE 'auth|requirepass' {} + || true";
    assert_eq!(stack.on("41", readable), "");

    // What was acknowledged, and is with a replica, outlives the leader.
    let pushed: String = (0..500).map(|n| format!(" {n}")).collect();
    // One connection: WAIT is about what its own client wrote.
    let said = queue(&stack, &format!("<<'END'\nRPUSH kept{pushed}\nWAIT 1 30000\nEND"));
    let replicas = said.lines().last().unwrap_or_default();
    assert!(replicas == "1" || replicas == "2", "{said}");
    let killed = Instant::now();
    let _ = stack.hactl(&["lab", "kill", "rd1"]).exits(0);
    stack.wait_until("the queue takes writes again", || {
        stack
            .ssh_to("11", &format!("[ \"$({CLIENT} RPUSH after 1)\" -gt 0 ]"))
            .output()
            .is_ok_and(|output| output.status.success())
    });
    println!(
        "the queue took no writes for {:.1} s at most",
        killed.elapsed().as_secs_f64()
    );
    stack.wait_until("the application serves again", || serves(&stack));
    assert_eq!(queue(&stack, "LLEN kept"), "500");

    // The sentinels tell each other who leads, about every second.
    stack.wait_until("every sentinel watches a new leader", || {
        ["cache", "queue"].iter().all(|set| {
            let watched = found(&stack, &format!("sentinel {set}"));
            watched.len() == 2 && watched.iter().all(|(_, detail)| !detail.contains(".41:"))
        })
    });
    // hactl leaves the new leaders where they are, also when the old one returns.
    let rest = ["--limit", "app1,rd2,rd3"];
    assert_eq!(stack.apply(&rest).exits(0).changed(), [""; 0]);
    let led = leaders(&stack, "queue");
    assert!(led == ["rd2"] || led == ["rd3"], "{led:?}");
    let before = given(&stack, "rd1");
    let _ = stack.hactl(&["lab", "boot", "rd1"]).exits(0);
    stack.wait_until("rd1 follows", || {
        ["cache", "queue"]
            .iter()
            .all(|set| of(&stack, "rd1", &format!("redis set {set}")).starts_with("follows"))
    });
    stack.settled();
    assert_eq!(leaders(&stack, "queue"), led);
    assert_eq!(given(&stack, "rd1"), before, "nobody was sent to the one that returned");
    assert_eq!(queue(&stack, "LLEN kept"), "500");

    // New passwords, while somebody writes.
    stack.on("11", &format!("cat >/tmp/writer.py <<'END'\n{WRITER}\nEND"));
    let writer = stack
        .ssh_to(
            "11",
            "$(ls -d /srv/guestbook/releases/*/env/bin/python | head -n 1) /tmp/writer.py",
        )
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    stack.wait_until("the writer writes", || queue(&stack, "LLEN written") != "0");
    let names = ["redis/cache", "redis/queue", "redis/sentinel"];
    let _ = stack.hactl(&[&["secrets", "rotate"], &names[..]].concat()).exits(0);
    let _ = stack.apply(&[]).exits(0);
    stack.on("11", "touch /tmp/enough");
    let said = String::from_utf8(writer.wait_with_output().unwrap().stdout).unwrap();
    println!("while passwords changed: {said}");
    assert!(said.contains(" written, 0 failed"), "{said}");
    stack.settled();
    assert_eq!(leaders(&stack, "queue"), led);
    assert_eq!(
        of(&stack, "rd1", "sentinel queue")
            .split(' ')
            .take(3)
            .collect::<Vec<_>>(),
        ["3", "of", "3"]
    );

    // A replica whose data are gone, and one that was told to lead.
    let follower = if led == ["rd2"] { "43" } else { "42" };
    stack.on("41", "systemctl stop redis-server@queue; rm -rf /var/lib/redis/queue/*");
    stack.on(
        follower,
        "REDISCLI_AUTH=$(sed -n 's/^requirepass \"\\(.*\\)\"/\\1/p' /etc/redis/redis-queue.password) \
         redis-cli -p 11000 REPLICAOF NO ONE",
    );
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(leaders(&stack, "queue"), led);
    assert!(of(&stack, &led[0], "redis set queue").starts_with("leads, 2 of 2 replicas"));
    assert_eq!(queue(&stack, "LLEN kept"), "500");

    // One host more, one host less.
    stack.edit_inventory(
        "hosts:\n",
        "hosts:\n  rd4: { address: 10.77.84.44, roles: [ redis ] }\n",
    );
    let _ = stack.hactl(&["lab", "up", "--warm"]).exits(0);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(leaders(&stack, "queue"), led);
    stack.wait_until("four sentinels", || {
        of(&stack, "rd4", "sentinel queue").starts_with("4 of 4 sentinels")
    });
    assert!(of(&stack, "rd4", "sentinel queue").ends_with(", 3 must agree"));
    let _ = stack.hactl(&["lab", "kill", "rd1"]).exits(0);
    stack.edit_inventory("  rd1: { address: 10.77.84.41, roles: [ redis ] }\n", "");
    stack.wait_until("the sentinels miss rd1", || {
        let gone = |host| {
            of(&stack, host, "sentinel queue").ends_with("10.77.84.41 is gone, `hactl apply` makes it forgotten")
        };
        ["rd2", "rd3", "rd4"].into_iter().all(gone)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!(leaders(&stack, "queue"), led);
    for host in ["rd2", "rd3", "rd4"] {
        stack.wait_until("three sentinels", || {
            let said = of(&stack, host, "sentinel queue");
            said.starts_with("3 of 3 sentinels") && said.ends_with(", 2 must agree")
        });
    }
    assert!(serves(&stack));
}
