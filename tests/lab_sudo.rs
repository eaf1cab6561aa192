//! A host where root cannot log in: a normal user with sudo, without and with a password, over both transports.

mod common;

use std::time::Duration;

use common::stack::{Options, Running, Said, Stack};

/// Longest time until a host that cannot be used is given up.
const SOON: Duration = Duration::from_secs(60);
/// Longest time of a run that works.
const LATER: Duration = Duration::from_secs(600);

const PASSWORD: &str = "correct horse'\"$(id)";

/// A way to become root.
struct Way {
    name: &'static str,
    /// `ssh:` of the inventory.
    ssh: &'static str,
    variables: &'static [(&'static str, &'static str)],
}

const WITHOUT_PASSWORD: [Way; 2] = [
    Way {
        name: "native.yml",
        ssh: "transport: native",
        variables: &[],
    },
    Way {
        name: "openssh.yml",
        ssh: "transport: openssh, become: sudo",
        variables: &[],
    },
];

const WITH_PASSWORD: [Way; 2] = [
    Way {
        name: "native-password.yml",
        ssh: "transport: native, become: { password: !secret env:SUDO_PASSWORD }",
        variables: &[("SUDO_PASSWORD", PASSWORD)],
    },
    Way {
        name: "openssh-password.yml",
        ssh: "transport: openssh, become: { password: !secret env:SUDO_PASSWORD }",
        variables: &[("SUDO_PASSWORD", PASSWORD)],
    },
];

impl Way {
    fn write(&self, stack: &Stack) {
        let text = std::fs::read_to_string(&stack.inventory).unwrap();
        let text = text.replacen("user: ops", &format!("user: ops, {}", self.ssh), 1);
        std::fs::write(stack.folder().join(self.name), text).unwrap();
    }

    #[track_caller]
    fn hactl(&self, stack: &Stack, limit: Duration, words: &[&str]) -> Said {
        stack.hactl_within(limit, self.variables, words)
    }
}

/// An apply whose step takes some seconds, caught in it.
#[track_caller]
fn in_a_slow_step(stack: &Stack, way: &Way) -> Running {
    stack.inside("rm -f /srv/guestbook/releases/*/.hactl/environment");
    stack
        .apply_until(way.variables, &[way.name], |line| {
            line.contains("step_started") && line.contains("python environment")
        })
        .expect("it is in the step")
}

/// What a user does in a day.
fn everything_works(stack: &Stack, way: &Way) {
    let name = way.name;
    let _ = way.hactl(stack, LATER, &["plan", name]).exits(0);
    let _ = way.hactl(stack, LATER, &["apply", "--yes", name]).exits(0);
    let again = way
        .hactl(stack, LATER, &["apply", "--yes", "--format", "json", name])
        .exits(0)
        .summary();
    assert_eq!(again["changed"], 0, "{name}: {again}");
    assert_eq!(again["hosts"][0]["round_trips"], 1, "{name}: {again}");
    let _ = way.hactl(stack, LATER, &["status", name]).exits(0);
    let _ = way.hactl(stack, LATER, &["check", "--remote", name]).exits(0);
    let said = way.hactl(stack, SOON, &["exec", name, "--", "id", "-un"]).exits(0);
    assert!(said.stdout.contains("root"), "{name}: {}", said.stdout);

    // The lock: a second run is told who has it.
    let running = in_a_slow_step(stack, way);
    let second = way.hactl(stack, SOON, &["apply", "--yes", name]).exits(6);
    let text = second.stdout + &second.stderr;
    assert!(text.contains("is locked by another run"), "{name}: {text}");
    assert!(
        text.contains(&format!("apply {}", stack.folder().join(name).display())) || text.contains("apply "),
        "{text}"
    );

    // Ctrl-C twice: the running step is ended on the host, too.
    stack.wait_until("pip runs", || !stack.running("pip install").is_empty());
    running.interrupt();
    stack.wait_until("the first Ctrl-C arrived", || {
        stack
            .inside("ls /run/hactl/runs/*/stop 2>/dev/null || :")
            .contains("stop")
    });
    running.interrupt();
    let said = running.ends_within(SOON);
    assert_eq!(said.code, 130, "{name}: {}{}", said.stdout, said.stderr);
    let left = stack.running("pip install");
    assert!(left.is_empty(), "{name}: the step was ended: {left:?}");
    assert_eq!(
        stack.inside("ls /run/hactl/runs"),
        "",
        "{name}: nothing is left of the run"
    );
}

#[test]
fn a_normal_user_with_sudo() {
    let stack = Stack::with(Options {
        user: "ops",
        ..Options::warm(62)
    });
    stack.inside("echo 'PermitRootLogin no' >/etc/ssh/sshd_config.d/10-root.conf && systemctl reload ssh");
    for way in WITHOUT_PASSWORD.iter().chain(&WITH_PASSWORD) {
        way.write(&stack);
    }
    for way in &WITHOUT_PASSWORD {
        everything_works(&stack, way);
    }

    // sudo that asks.
    stack.inside(&format!(
        "printf '%s\\n' {} | chpasswd && echo 'ops ALL=(ALL:ALL) ALL' >/etc/sudoers.d/90-ops",
        hactl::quote::sh(&format!("ops:{PASSWORD}"))
    ));
    for way in &WITHOUT_PASSWORD {
        refused(
            &stack,
            way,
            way.variables,
            "sudo asks ops for a password",
            "become: password",
        );
    }
    for way in &WITH_PASSWORD {
        everything_works(&stack, way);
        refused(
            &stack,
            way,
            &[("SUDO_PASSWORD", "wrong")],
            "sudo does not take the password of ops",
            "hactl ssh srv1",
        );
    }
    // One wrong password is one attempt: what hactl says next is no other one.
    let attempts = stack.inside("journalctl -t sudo -o cat | grep -c 'incorrect password attempt'");
    let lines = stack.inside("journalctl -t sudo -o cat | grep 'incorrect password attempt'");
    assert_eq!(
        attempts,
        lines.matches("1 incorrect password attempt").count().to_string(),
        "{lines}"
    );

    // Not in sudoers, and no sudo at all.
    stack.inside("rm /etc/sudoers.d/90-ops");
    for way in &WITH_PASSWORD {
        refused(
            &stack,
            way,
            way.variables,
            "ops may not use sudo",
            "usermod -aG sudo ops",
        );
    }
    stack.inside("mv /usr/bin/sudo /usr/bin/sudo.away");
    for way in WITHOUT_PASSWORD.iter().chain(&WITH_PASSWORD) {
        refused(
            &stack,
            way,
            way.variables,
            "sudo is not installed",
            "apt-get install sudo",
        );
    }
}

/// Plan, apply and exec end soon with 5, and say what is wrong and what to do.
fn refused(stack: &Stack, way: &Way, variables: &[(&str, &str)], cause: &str, next: &str) {
    for words in [
        &["plan", way.name][..],
        &["apply", "--yes", way.name],
        &["exec", way.name, "--", "true"],
        &["check", "--remote", way.name],
    ] {
        let said = stack.hactl_within(SOON, variables, words).exits(5);
        let text = said.stdout + &said.stderr;
        assert!(text.contains("srv1") && text.contains(cause), "{words:?}: {text}");
        assert!(text.contains(next), "{words:?}: {text}");
        assert!(!text.contains(PASSWORD), "{words:?}: {text}");
    }
}
