//! A server that `bench` built, taken over: `init --from-bench`, `check`, `plan`, `apply`, and the way back. The server is
//! made by tests/fixtures/bench (its README says what is real there and what stands in).

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::stack::{Options, Said, Serves, Stack};
use rand::Rng;
use serde_json::Value;

const INVENTORY: &str = "adopted/inventory.yml";
const OLD: &str = "/home/frappe/frappe-bench";
const NEW: &str = "/srv/frappe/bench";

/// Somebody who asks all the time.
struct Client {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Seen>,
}

/// What they saw.
#[derive(Debug)]
struct Seen {
    /// Longest time between two good answers.
    longest: Duration,
    good: u32,
    bad: u32,
}

impl Client {
    fn start(address: &str) -> Client {
        let target: SocketAddr = format!("{address}:80").parse().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen {
                longest: Duration::ZERO,
                good: 0,
                bad: 0,
            };
            let mut last = Instant::now();
            while !until.load(Ordering::Relaxed) {
                if ask(target).is_some() {
                    seen.good += 1;
                    seen.longest = seen.longest.max(last.elapsed());
                    last = Instant::now();
                } else {
                    seen.bad += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            seen.longest = seen.longest.max(last.elapsed());
            seen
        });
        Client { stop, thread }
    }

    fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client ends")
    }
}

/// One request to the plain site; `None` unless it is answered well.
fn ask(target: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(b"GET /api/method/ping HTTP/1.1\r\nHost: plain.example.com\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"message":"pong"}"#)).then_some(())
}

fn hactl(stack: &Stack, words: &[&str]) -> Said {
    stack.hactl(&[&words[..1], &[INVENTORY], &words[1..]].concat())
}

fn apply(stack: &Stack) -> Said {
    hactl(stack, &["apply", "--yes", "--format", "json"])
}

fn steps(said: &Said) -> Vec<String> {
    let events = said.events();
    let changed = events
        .iter()
        .filter(|event| event["event"] == "step_finished" && event["outcome"] == "changed");
    changed
        .map(|event| event["step"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn state(stack: &Stack) -> Value {
    let (code, body) = stack.fetch("/api/method/frappe.notes.state", &[]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["message"].clone()
}

fn add_note(stack: &Stack) {
    let (code, added) = stack.fetch("/api/method/frappe.notes.add", &["-d", "text=hello"]);
    assert_eq!(code, 200, "{added}");
}

/// Hashes, owners and modes of all files of both sites, as one bench or the other sees them.
fn files(stack: &Stack, bench: &str) -> String {
    stack.on_host(&format!(
        "cd {bench}/sites && for s in erp.example.com plain.example.com; do \
         find -L $s/public $s/private -type f -printf '%p %U %m ' -exec sha256sum {{}} \\; | sed 's,  .*,,'; done | sort"
    ))
}

/// What an operator counts on, whichever bench serves.
fn everything_is_there(stack: &Stack, written: &str, jar: &str, when: &str) {
    assert_eq!(stack.fetch("/api/method/ping", &[]).0, 200, "{when}");
    assert_eq!(
        stack.fetch("/files/logo.txt", &[]),
        (200, "a logo\n".to_owned()),
        "{when}"
    );
    let path = "/private/files/note.txt";
    assert_eq!(
        stack.fetch(path, &["-b", jar]),
        (200, "top secret\n".to_owned()),
        "{when}: for its owner, who is still logged in"
    );
    assert_eq!(stack.fetch(path, &[]).0, 403, "{when}: for nobody else");
    assert_eq!(files(stack, OLD), written, "{when}: the old bench is whole");
    let target: SocketAddr = format!("{}:80", stack.address).parse().unwrap();
    stack.wait_until("the plain site answers", || ask(target).is_some());
}

fn make_bench(stack: &Stack) {
    let text = |name: &str| {
        std::fs::read_to_string(format!("{}/tests/fixtures/bench/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let variable = |name: &str, file: &str| format!("{name}={}\n", hactl::quote::sh(&text(file)));
    let gateway = stack.address.replace(".11", ".1");
    let script = [
        format!("GIT=git://{gateway}\n"),
        variable("SUPERVISOR", "supervisor.conf"),
        variable("NGINX", "nginx.conf"),
        variable("COMMON", "common_site_config.json"),
        text("make.sh"),
    ]
    .concat();
    stack.on_host(&script);
}

fn fill(stack: &Stack, jar: &str) {
    stack.wait_until("the old bench serves", || stack.fetch("/api/method/ping", &[]).0 == 200);
    let login = ["-c", jar, "-d", "usr=Administrator", "-d", "pwd=lab-pass"];
    assert_eq!(stack.fetch("/api/method/login", &login).0, 200);
    for (name, content, private) in [("note.txt", "top secret\n", "1"), ("logo.txt", "a logo\n", "0")] {
        let path = stack.folder().join(name);
        std::fs::write(&path, content).unwrap();
        let (file, private) = (format!("file=@{}", path.display()), format!("is_private={private}"));
        let (code, sent) = stack.fetch("/api/method/upload_file", &["-b", jar, "-F", &file, "-F", &private]);
        assert_eq!(code, 200, "{sent}");
    }
    // Also what no upload makes.
    stack.on_host(&format!(
        "cd {OLD}/sites/plain.example.com && runuser -u frappe -- sh -c 'umask 077; mkdir -p private/backups/old indexes; \
         echo dump >private/backups/old/x.sql; echo index >indexes/i'"
    ));
    add_note(stack);
    stack.wait_until("the old worker did the job, the old scheduler ticked", || {
        let state = state(stack);
        state["jobs_done"].as_u64() >= Some(1) && state["ticks"].as_u64() >= Some(1)
    });
}

#[test]
fn a_bench_is_taken_over_and_given_back() {
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        ..Options::warm(24)
    });
    make_bench(&stack);
    let jar = stack.folder().join("jar").display().to_string();
    fill(&stack, &jar);
    let written = files(&stack, OLD);
    assert_eq!(written.lines().count(), 3, "{written}");

    // Several, since the machine that runs this may be busy with other things.
    let mut restarts = vec![
        restarted(&stack, "frappe-bench-web: frappe-bench-workers:"),
        restarted(&stack, "frappe-bench-web: frappe-bench-workers:"),
    ];

    init_reads_it(&stack);
    nothing_was_changed_yet(&stack);
    plan_says_what_would_be_done(&stack);

    what_the_inventory_lacks_is_not_left_behind(&stack);

    // Jobs wait, since nobody works them off: those of the very moment of the switch come on top.
    stack.on_host("supervisorctl stop frappe-bench-workers:*");
    add_note(&stack);

    let adoption = {
        let client = Client::start(&stack.address);
        let done = apply(&stack).exits(0);
        println!("adopted in {} steps", steps(&done).len());
        client.end()
    };
    restarts.push(restarted(&stack, "frappe: frappe-workers:"));
    println!("plain restarts: {restarts:?}\nthe adoption:   {adoption:?}");
    let longest = restarts.iter().map(|seen| seen.longest).max().unwrap_or_default();
    assert!(
        adoption.longest <= longest + Duration::from_secs(1),
        "{adoption:?} is more than a second more than {restarts:?}"
    );
    everything_is_there(&stack, &written, &jar, "adopted");
    assert_eq!(files(&stack, NEW), written);
    it_is_hactls_now(&stack);
    let again = apply(&stack).exits(0);
    assert_eq!(again.summary()["changed"], 0, "{:?}", steps(&again));

    the_way_back(&stack, &written, &jar);
    killed_at_any_moment_nothing_is_lost(&stack, &written, &jar);
}

/// A plain restart of the same programs, as `bench restart` does it.
fn restarted(stack: &Stack, groups: &str) -> Seen {
    let client = Client::start(&stack.address);
    stack.on_host(&format!("supervisorctl restart {groups}"));
    stack.wait_until("it serves again", || stack.fetch("/api/method/ping", &[]).0 == 200);
    client.end()
}

fn init_reads_it(stack: &Stack) {
    let said = stack
        .hactl(&[
            "init",
            INVENTORY,
            "--from-bench",
            &format!("srv1={}", stack.address),
            "--identity-file",
            "~/id_ed25519",
            "--accept-new-host-keys",
        ])
        .exits(0);
    println!("{}{}", said.stdout, said.stderr);
    let text = std::fs::read_to_string(stack.folder().join(INVENTORY)).unwrap();
    println!("{text}");
    for part in [
        "ref: v1",
        "uid: 1100",
        "_5c8a1f2e9d3b4a67",
        "aliases: [www.example.com]",
        "on_server: true",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for secret in ["pa\"ss", "W8yZk1x2c3v4b5n6", "9Zc0l0aVq", "never in an inventory"] {
        let all = format!("{text}{}{}", said.stdout, said.stderr);
        assert!(!all.contains(secret), "{secret} is shown");
    }
    let again = stack.hactl(&["init", INVENTORY, "--from-bench", &stack.address]);
    assert_eq!(again.code, 7, "{}", again.stderr);
    let _ = hactl(stack, &["check"]).exits(0);
}

fn nothing_was_changed_yet(stack: &Stack) {
    assert_eq!(
        stack.on_host(&format!("ls -d {NEW} /var/lib/hactl 2>/dev/null || :")),
        ""
    );
}

fn plan_says_what_would_be_done(stack: &Stack) {
    let plan = hactl(stack, &["plan"]).exits(0).stdout;
    println!("{plan}");
    for part in [
        &format!("run switch from {OLD}"),
        "absent /etc/nginx/conf.d/frappe-bench.conf",
        "all others as in /home/frappe/frappe-bench/sites/erp.example.com/site_config.json",
    ] {
        assert!(plan.contains(part), "{part}");
    }
    for never in [
        "run migrate",
        "run site erp.example.com",
        "database _5c8a1f2e9d3b4a67 ",
        "group frappe ",
        "to restart",
    ] {
        assert!(!plan.contains(never), "{never}");
    }
}

/// A site that somebody added after `init`: its programs are not stopped, everything else is built by then.
fn what_the_inventory_lacks_is_not_left_behind(stack: &Stack) {
    let late = format!("{OLD}/sites/late.example.com");
    stack.on_host(&format!(
        "runuser -u frappe -- sh -c 'mkdir {late} && echo {{}} >{late}/site_config.json'"
    ));
    let refused = hactl(stack, &["apply", "--yes"]).exits(4);
    let text = refused.stdout + &refused.stderr;
    println!("{text}");
    assert!(text.contains("the old bench serves late.example.com, too"), "{text}");
    assert!(text.contains("nothing was stopped"), "{text}");
    let running = stack.on_host("supervisorctl status || :");
    assert!(
        running.contains("frappe-bench-web:frappe-bench-frappe-web") && !running.contains("STOPPED"),
        "{running}"
    );
    stack.on_host(&format!("rm -r {late}"));
}

fn it_is_hactls_now(stack: &Stack) {
    stack.wait_until("every job is done", || {
        let state = state(stack);
        state["db_writes"] == 2 && state["jobs_done"] == state["db_writes"]
    });
    let running = stack.on_host("supervisorctl status || :");
    assert!(
        running.contains("frappe:frappe-web") && !running.contains("frappe-bench"),
        "{running}"
    );
    let old = stack.on_host("ps -eo args | grep -c '[/]home/frappe/frappe-bench' || :");
    assert_eq!(old, "0", "processes of the old bench");
    let config = |site: &str| -> Value {
        serde_json::from_str(&stack.on_host(&format!("cat {NEW}/sites/{site}/site_config.json"))).unwrap()
    };
    let erp = config("erp.example.com");
    assert_eq!(
        erp["s3_secret"], "never in an inventory",
        "keys that hactl does not know are kept"
    );
    assert_eq!(erp["encryption_key"], "9Zc0l0aVqYB3M3Yx5f0y6lEaT2mJ3Y5cJb0cQmTzq1g=");
    assert_eq!(
        config("plain.example.com")["pause_scheduler"],
        1,
        "its scheduler was off"
    );
    let common: Value =
        serde_json::from_str(&stack.on_host(&format!("cat {NEW}/sites/common_site_config.json"))).unwrap();
    assert_eq!(
        (&common["mail_login"], &common["bench_id"]),
        (&"kept".into(), &"home-frappe-frappe-bench".into())
    );
    let mode = stack.on_host(&format!("stat -c '%U %a' {NEW}/sites/*/site_config.json"));
    assert_eq!(mode, "frappe 600\nfrappe 600");
    assert_eq!(
        stack.on_host("id -nG frappe"),
        "frappe sudo",
        "people log in as this user"
    );
    // A renewed certificate is a reload, as certbot leaves it.
    stack.on_host(
        "cd /etc/letsencrypt/archive/erp.example.com && cp fullchain1.pem fullchain2.pem && cp privkey1.pem privkey2.pem && \
         ln -sfn ../../archive/erp.example.com/fullchain2.pem ../../live/erp.example.com/fullchain.pem && \
         ln -sfn ../../archive/erp.example.com/privkey2.pem ../../live/erp.example.com/privkey.pem",
    );
    assert_eq!(steps(&apply(stack).exits(0)), ["service nginx.service"]);
}

/// A job that waits when the new programs end is done by the old ones.
fn the_way_back(stack: &Stack, written: &str, jar: &str) {
    stack.on_host("supervisorctl stop frappe-workers:*");
    add_note(stack);
    let said = stack.on_host(&format!("{NEW}/way-back 2>&1"));
    println!("{said}");
    stack.wait_until("the old bench serves", || stack.fetch("/api/method/ping", &[]).0 == 200);
    everything_is_there(stack, written, jar, "back");
    stack.wait_until("every job is done", || {
        let state = state(stack);
        state["jobs_done"] == state["db_writes"]
    });
    let running = stack.on_host("supervisorctl status || :");
    assert!(
        !running.contains("frappe:frappe-web") && running.contains("frappe-bench-web"),
        "{running}"
    );
}

/// kill -9 of hactl around the switch at a random moment, and a power cut in it. `HACTL_MOMENTS` says how often it is killed.
fn killed_at_any_moment_nothing_is_lost(stack: &Stack, written: &str, jar: &str) {
    let kills = std::env::var("HACTL_MOMENTS").map_or(1, |number| number.parse().expect("a number"));
    for power in std::iter::repeat_n(false, kills).chain([true]) {
        // A job that waits, and that the old queue has on its disk: it loses the others itself when the power is cut.
        stack.on_host("supervisorctl stop frappe-bench-workers:*");
        add_note(stack);
        stack.on_host("redis-cli -p 11000 save");
        let delay = Duration::from_millis(rand::rng().random_range(0..6000));
        let begins = |line: &str| line.contains("\"step_started\"") && line.contains("switch from");
        let mut running = stack
            .apply_until(&[], &[INVENTORY], begins)
            .expect("it comes to the switch");
        if power {
            // Right in it.
            stack.on_host("while pgrep -f [f]rappe-bench/env/bin/gunicorn >/dev/null; do sleep 0.01; done");
        } else {
            std::thread::sleep(delay);
        }
        if power {
            let _ = stack.hactl(&["lab", "kill", "srv1"]).exits(0);
            let _ = stack.hactl(&["lab", "boot", "srv1"]).exits(0);
        } else {
            running.kill();
        }
        let _ = running.ends_within(Duration::from_secs(120));
        match power {
            true => println!("power cut when the old web had ended"),
            false => println!("killed {delay:?} after the start of the switch"),
        }
        let healed = apply(stack).exits(0);
        println!("healed by {:?}", steps(&healed));
        everything_is_there(stack, written, jar, "healed");
        let again = apply(stack).exits(0);
        assert_eq!(again.summary()["changed"], 0, "{:?}", steps(&again));
        if !power {
            stack.on_host(&format!("{NEW}/way-back 2>&1"));
            stack.wait_until("the old bench serves", || stack.fetch("/api/method/ping", &[]).0 == 200);
        }
    }
    stack.wait_until("every job is done", || {
        let state = state(stack);
        state["jobs_done"] == state["db_writes"]
    });
}
