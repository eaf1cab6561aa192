//! What goes wrong on hosts: full disks, other package managers, repositories and name servers that are gone, sshd that
//! restarts or hangs, a frozen host. Each run ends in bounded time with an error that names host, step, cause and what to
//! run next; nothing is half-written; the next apply heals.

mod common;

use std::time::Duration;

use common::stack::{Options, Said, Serves, Stack};

/// Longest time of a run that works.
const LATER: Duration = Duration::from_secs(600);
/// Longest time until a connection that went dead is given up, and what remains of the run.
const DEAD: Duration = Duration::from_secs(90);

/// The host is as the inventory says, and serves.
#[track_caller]
fn healed(stack: &Stack) {
    let healed = stack
        .hactl_within(LATER, &[], &["apply", "--yes", "--format", "json"])
        .exits(0);
    println!("healed: {}", healed.summary());
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    assert_eq!(stack.fetch("/health", &[]).0, 200);
}

#[track_caller]
fn apply_fails(stack: &Stack, code: i32) -> Said {
    stack
        .hactl_within(LATER, &[], &["apply", "--yes", "--format", "json"])
        .exits(code)
}

/// Puts text into the inventory in place of other text.
fn edit(stack: &Stack, from: &str, to: &str) {
    let text = std::fs::read_to_string(&stack.inventory).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(&stack.inventory, text.replacen(from, to, 1)).unwrap();
}

fn marked_nginx(stack: &Stack, mark: &str) {
    let builtin =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/nginx.conf.tera")).unwrap();
    let header = format!("http {{\n    add_header X-Mark {mark} always;\n");
    stack.override_template("nginx/nginx.conf.tera", &builtin.replacen("http {\n", &header, 1));
}

#[test]
fn full_disks() {
    let stack = Stack::with(Options::warm(66));
    let _ = stack.apply(&[]).exits(0);
    // The folder of the file that is to be written.
    stack.on_host(
        "cp -a /etc/nginx /run/copy && mount -t tmpfs -o size=512k tmpfs /etc/nginx && cp -a /run/copy/. /etc/nginx/ && \
         { cat /dev/zero >/etc/nginx/fill 2>/dev/null || :; }; df /etc/nginx | grep -q 100%",
    );
    let listing = "cd /etc/nginx && find . -type f -exec sha256sum {} + | sort -k 2";
    let before = stack.on_host(listing);
    marked_nginx(&stack, "one");
    let said = apply_fails(&stack, 4);
    let message = said.failed_step("file /etc/nginx/nginx.conf");
    println!("{message}");
    assert!(message.contains("No space left on device"), "{message}");
    assert!(message.contains("untouched"), "{message}");
    assert_eq!(
        stack.on_host(listing),
        before,
        "nothing half-written, no file beside it"
    );
    assert_eq!(stack.fetch("/health", &[]).0, 200);
    stack.on_host("umount /etc/nginx");
    healed(&stack);

    // hactl's own folder: told before anything is changed.
    stack.on_host(
        "cp -a /var/lib/hactl /run/lib && mount -t tmpfs -o size=64k,nr_inodes=200 tmpfs /var/lib/hactl && \
         cp -a /run/lib/generation /var/lib/hactl/ && { cat /dev/zero >/var/lib/hactl/fill 2>/dev/null || :; }",
    );
    marked_nginx(&stack, "two");
    let before = stack.on_host(listing);
    let said = apply_fails(&stack, 4);
    println!("{}", said.stdout.lines().rev().nth(1).unwrap_or_default());
    assert!(
        said.stdout.contains("is the disk full?") || said.stdout.contains("No space left"),
        "{}",
        said.stdout
    );
    assert_eq!(stack.on_host(listing), before);
    stack.on_host("umount /var/lib/hactl");
    healed(&stack);
}

#[test]
fn package_managers_and_repositories() {
    let stack = Stack::boot(67, Serves::Guestbook, true);
    let _ = stack.apply(&[]).exits(0);
    stack.on_host("cp -a /etc/apt /run/apt");
    let lock = |name: &str| {
        stack.on_host(&format!(
            "systemd-run --quiet --collect --unit=other python3 -c \"import fcntl,time; f=open('{name}','w'); \
             fcntl.lockf(f, fcntl.LOCK_EX); open('/run/locked','w'); time.sleep(9999)\" && \
             while [ ! -e /run/locked ]; do sleep 0.1; done; rm /run/locked"
        ));
    };
    let unlock = || stack.on_host("systemctl stop other");

    // Somebody else installs: waited for, by name, and gone on with when it is done.
    edit(&stack, "app:\n", "system: { packages: [tree] }\napp:\n");
    lock("/var/lib/dpkg/lock-frontend");
    let waits = stack
        .apply_until(&[], &[], |line| {
            line.contains("step_output") && line.contains("is held by process")
        })
        .expect("it waits and says for whom");
    println!("{}", waits.at);
    assert!(waits.at.contains("python3"), "{}", waits.at);
    unlock();
    let _ = waits.ends_within(LATER).exits(0);
    assert_eq!(stack.on_host("command -v tree"), "/usr/bin/tree");
    healed(&stack);

    // It never ends: the wait does. The host's own apt configuration says how long.
    stack.on_host("echo 'DPkg::Lock::Timeout \"3\";' >/etc/apt/apt.conf.d/99wait");
    edit(&stack, "[tree]", "[tree, bc]");
    for name in ["/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"] {
        if name.contains("lists") {
            stack.on_host("rm -rf /var/lib/apt/lists/*_Packages*");
        }
        lock(name);
        let message = apply_fails(&stack, 4).failed_step("package bc");
        println!("{message}");
        assert!(message.contains("python3"), "names the holder: {message}");
        assert!(message.contains(name), "{message}");
        unlock();
        assert_eq!(
            stack.on_host("ls /usr/sbin/policy-rc.d 2>/dev/null || echo none"),
            "none"
        );
    }
    stack.on_host("rm /etc/apt/apt.conf.d/99wait");
    healed(&stack);

    // Repositories that answer 404, that nobody serves, whose name nobody knows.
    edit(&stack, "[tree, bc]", "[tree, bc, pv]");
    stack.on_host(
        "mkdir -p /run/empty && systemd-run --quiet --collect --unit=web python3 -m http.server -d /run/empty 8123 && \
         until curl -s -o /dev/null http://127.0.0.1:8123/; do sleep 0.1; done",
    );
    for (url, cause) in [
        ("http://127.0.0.1:8123/debian", "404"),
        ("http://127.0.0.1:9/debian", "Connection refused"),
        ("http://packages.invalid/debian", "Could not resolve"),
    ] {
        stack.on_host(&format!(
            "rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*_*; echo 'deb {url} bookworm main' >/etc/apt/sources.list"
        ));
        let message = apply_fails(&stack, 4).failed_step("package pv");
        println!("{message}");
        assert!(message.contains(cause), "{cause}: {message}");
        assert!(message.contains(url.split('/').nth(2).unwrap()), "{message}");
        assert_eq!(stack.fetch("/health", &[]).0, 200, "what runs goes on");
    }
    stack.on_host("systemctl stop web; rm -rf /etc/apt /var/lib/apt/lists/*_*; cp -a /run/apt /etc/apt");
    healed(&stack);
}

#[test]
fn no_name_server() {
    let stack = Stack::with(Options::warm(68));
    let gateway = "10.77.68.1";
    edit(&stack, &format!("git://{gateway}/"), "git://git.lab.example/");
    // The name server does not answer.
    stack.on_host("cp /etc/resolv.conf /run/resolv.conf; echo 'nameserver 10.77.68.250' >/etc/resolv.conf");
    let check = stack.hactl_within(LATER, &[], &["check", "--remote"]).exits(4);
    assert!(
        check.stdout.contains("git.lab.example does not resolve"),
        "{}",
        check.stdout
    );
    let message = apply_fails(&stack, 4).failed_step("code of release");
    println!("{message}");
    assert!(message.contains("git.lab.example"), "{message}");
    // What was begun is marked as done only at its end, and nothing points at it.
    let done = stack.on_host("ls -d /srv/guestbook/current /srv/guestbook/releases/*/.hactl/code 2>/dev/null || :");
    assert_eq!(done, "", "no half release is taken for a whole one");
    stack.on_host(&format!(
        "cp /run/resolv.conf /etc/resolv.conf; echo '{gateway} git.lab.example' >>/etc/hosts"
    ));
    healed(&stack);
}

/// An apply in a step that takes some seconds: it builds another release beside the one that serves.
#[track_caller]
fn in_a_slow_step(stack: &Stack, more: &[&str]) -> common::stack::Running {
    for name in ["inventory.yml", "openssh.yml"] {
        let path = stack.folder().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let (now, then) = if text.contains("ref: v1\n") {
            ("v1", "main")
        } else {
            ("main", "v1")
        };
        std::fs::write(
            &path,
            text.replacen(&format!("ref: {now}\n"), &format!("ref: {then}\n"), 1),
        )
        .unwrap();
    }
    stack.on_host(
        "cd /srv/guestbook/releases; now=$(readlink ../current); \
         for old in *; do [ \"releases/$old\" = \"$now\" ] || rm -f \"$old/.hactl/environment\"; done",
    );
    stack
        .apply_until(&[], more, |line| {
            line.contains("step_started") && line.contains("python environment")
        })
        .expect("it is in the step")
}

#[test]
fn sshd_and_the_link() {
    let stack = Stack::with(Options::warm(69));
    let _ = stack.apply(&[]).exits(0);
    edit(&stack, "user: root", "user: root, connect_timeout: 4");
    let openssh = std::fs::read_to_string(&stack.inventory).unwrap();
    let openssh = openssh.replacen("user: root", "user: root, transport: openssh", 1);
    std::fs::write(stack.folder().join("openssh.yml"), openssh).unwrap();

    // A restart of sshd ends no session.
    let running = in_a_slow_step(&stack, &[]);
    stack.inside("systemctl restart ssh");
    let _ = running.ends_within(LATER).exits(0);
    healed(&stack);

    for inventory in ["inventory.yml", "openssh.yml"] {
        // The session's own process is killed: the result of the step is unknown, and the next apply finds out.
        let running = in_a_slow_step(&stack, &[inventory]);
        let sessions = stack.running("sshd: root@notty");
        assert!(!sessions.is_empty(), "there is a session");
        for pid in sessions {
            let _ = std::process::Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status();
        }
        let said = running.ends_within(DEAD).exits(4);
        assert!(said.stdout.contains("connection lost"), "{}", said.stdout);
        assert!(said.stdout.contains("run hactl apply again"), "{}", said.stdout);
        healed(&stack);

        // Every process of the host stops in the middle of a step.
        let running = in_a_slow_step(&stack, &[inventory]);
        stack.signal_all("STOP");
        let said = running.ends_within(DEAD);
        let survey = stack.hactl_within(Duration::from_secs(30), &[], &["plan", inventory]);
        stack.signal_all("CONT");
        let (said, survey) = (said.exits(4), survey.exits(5));
        assert!(said.stdout.contains("srv1: connection lost"), "{}", said.stdout);
        assert!(said.stdout.contains("run hactl apply again"), "{}", said.stdout);
        assert!(survey.stderr.contains("no answer within 4 s"), "{}", survey.stderr);
        healed(&stack);

        // Something listens on sshd's port and says nothing.
        stack.inside(
            "systemctl stop ssh && systemd-run --quiet --collect --unit=mute python3 -c \"import socket,time; \
             s=socket.create_server(('',22)); time.sleep(9999)\" && until ss -Hltn | grep -q ':22 '; do sleep 0.1; done",
        );
        for words in [
            &["plan", inventory][..],
            &["apply", "--yes", inventory],
            &["exec", inventory, "--", "true"],
        ] {
            let said = stack.hactl_within(Duration::from_secs(30), &[], words).exits(5);
            assert!(said.stderr.contains("srv1"), "{}", said.stderr);
            assert!(
                said.stderr.contains("no answer within 4 s"),
                "{words:?}: {}",
                said.stderr
            );
            assert!(said.stderr.contains("next: "), "{}", said.stderr);
        }
        stack.inside(
            "systemctl stop mute && systemctl start ssh && until ss -Hltn | grep -q ':22 '; do sleep 0.1; done",
        );
        healed(&stack);
    }

    // The link is out for longer than a connection lives.
    let running = in_a_slow_step(&stack, &[]);
    let _ = stack.hactl(&["lab", "cut", "srv1"]).exits(0);
    let said = running.ends_within(DEAD).exits(4);
    assert!(said.stdout.contains("srv1: connection lost"), "{}", said.stdout);
    let _ = stack.hactl(&["lab", "heal", "srv1"]).exits(0);
    healed(&stack);
}
