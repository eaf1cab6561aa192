//! A host whose clock is an hour off. Hosts of a lab share the kernel's clock, so what people log in to gets another one from
//! Debian's libfaketime: every process of a session sees it. (sshd's own processes do not: their sandbox kills them for it.)

mod common;

use std::time::Duration;

use common::stack::{Options, Stack};

/// Longest time until a host whose clock is wrong is given up.
const SOON: Duration = Duration::from_secs(30);

/// Everything that hactl could have written, and when.
const WRITTEN: &str =
    "find /etc /var/lib /srv /run/hactl -newer /run/before 2>/dev/null | grep -v '^/var/lib/systemd' | sort";

/// Sets the clock of sessions, e.g. `-1h`.
fn set(stack: &Stack, offset: &str) {
    stack.inside(&format!("echo '{offset}' >/etc/faketimerc"));
}

/// How far the host's clock is ahead, as a session sees it.
fn ahead(stack: &Stack, script: &str) -> i64 {
    let theirs: i64 = stack.on_host(script).parse().expect("seconds");
    let ours = hactl::resource::clock::now();
    theirs - i64::try_from(ours).expect("a time")
}

#[test]
fn an_hour_off() {
    let stack = Stack::with(Options::warm(37));
    stack.on_host("apt-get -q update && apt-get -q -y install libfaketime");
    set(&stack, "-1h");
    stack.inside(
        "echo SetEnv LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1) >/etc/ssh/sshd_config.d/clock.conf && \
         systemctl restart ssh",
    );
    // It is so for what hactl and its steps use.
    for script in [
        "date +%s",
        "perl -e 'print time'",
        "openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -keyout /dev/null 2>/dev/null | openssl x509 -noout -startdate | \
         { IFS== read -r _ start; date -d \"$start\" +%s; }",
        "apt-get -q -y install tree >/dev/null 2>&1; date -d \"$(sed -n 's/^Start-Date: //p' /var/log/apt/history.log | tail -n 1)\" +%s",
    ] {
        let ahead = ahead(&stack, script);
        assert!((-3660..-3540).contains(&ahead), "{script}: {ahead}");
    }

    for (offset, way) in [("-1h", "behind"), ("+1h", "ahead of")] {
        set(&stack, offset);
        stack.inside("touch /run/before");
        let said = stack.hactl_within(SOON, &[], &["check", "--remote"]).exits(4);
        println!("{}", said.stdout);
        let clock = said
            .stdout
            .lines()
            .find(|line| line.contains(" clock "))
            .expect("a line");
        assert!(
            clock.contains("srv1") && clock.contains("BAD") && clock.contains(way),
            "{clock}"
        );
        assert!(said.stderr.contains("systemd-timesyncd"), "what to do: {}", said.stderr);

        let said = stack.hactl_within(SOON, &[], &["apply", "--yes"]).exits(7);
        println!("{}", said.stderr);
        let line = said
            .stderr
            .lines()
            .find(|line| line.contains("its clock is"))
            .expect("a line");
        let seconds: u64 = line
            .split("its clock is ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .expect("how far off");
        assert!((3540..3660).contains(&seconds), "{line}");
        assert!(line.contains("srv1") && line.contains(way), "{line}");
        assert!(
            said.stderr.contains("next: ") && said.stderr.contains("date -s"),
            "{}",
            said.stderr
        );
        assert_eq!(stack.inside(WRITTEN), "", "nothing was written");

        let said = stack.hactl_within(SOON, &[], &["status", "--format", "json"]).exits(4);
        let clock = said.events().into_iter().find(|event| event["subject"] == "clock");
        assert!(
            clock.as_ref().is_some_and(|clock| clock["verdict"] == "bad"),
            "{clock:?}"
        );
    }

    // Some seconds are told and borne.
    set(&stack, "-10s");
    let said = stack.hactl_within(SOON, &[], &["check", "--remote"]).exits(0);
    assert!(said.stdout.contains("s behind this machine's"), "{}", said.stdout);

    stack.inside("rm /etc/ssh/sshd_config.d/clock.conf && systemctl restart ssh");
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    assert_eq!(stack.fetch("/health", &[]).0, 200);
}
