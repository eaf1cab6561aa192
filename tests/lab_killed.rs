//! kill -9 of hactl, a cut link and a power cut at random moments of a first apply: the next plain apply ends converged, the
//! one after finds nothing to do, and the app serves. Real hosts.
//!
//! `HACTL_MOMENTS` says how many moments of each kind are tried (4 of kill -9, 2 of the others).

mod common;

use std::time::Duration;

use common::stack::{Options, Running, Serves, Stack};
use rand::Rng;

/// Steps of a first apply, about: the moments are drawn from all of them.
const STEPS: usize = 45;

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL to hactl.
    Killed,
    /// The host's cable is out for a while: short enough for the connection to live, or not.
    Cut,
    /// The host loses its power and boots again.
    Power,
}

fn moments(fault: Fault) -> usize {
    match std::env::var("HACTL_MOMENTS") {
        Ok(number) => number.parse().expect("HACTL_MOMENTS is a number"),
        Err(_) if fault == Fault::Killed => 4,
        Err(_) => 2,
    }
}

/// An apply that has begun its `step`th step and went on for `delay`; `None` when it ended before.
fn reached(stack: &Stack, step: usize, delay: Duration) -> Option<Running> {
    let mut begun = 0;
    let running = stack.apply_until(&[], &[], |line| {
        begun += usize::from(line.contains("\"step_started\""));
        begun >= step
    });
    std::thread::sleep(delay);
    running
}

/// Every run ends by itself: a dead connection is noticed after 45 s.
const END: Duration = Duration::from_secs(120);

fn strike(stack: &Stack, fault: Fault, mut running: Running) -> i32 {
    match fault {
        Fault::Killed => {
            running.kill();
            running.ends_within(END).code
        }
        Fault::Cut => {
            let _ = stack.hactl(&["lab", "cut", "srv1"]).exits(0);
            std::thread::sleep(Duration::from_secs(rand::rng().random_range(1..70)));
            let _ = stack.hactl(&["lab", "heal", "srv1"]).exits(0);
            running.ends_within(END).code
        }
        Fault::Power => {
            let _ = stack.hactl(&["lab", "kill", "srv1"]).exits(0);
            let _ = stack.hactl(&["lab", "boot", "srv1"]).exits(0);
            running.ends_within(END).code
        }
    }
}

fn survives(stack: &Stack, fault: Fault, step: usize, delay: Duration) {
    let running = reached(stack, step, delay);
    let at = running.as_ref().map(|running| running.at.trim().to_owned());
    let code = running.map(|running| strike(stack, fault, running));
    println!("{fault:?} {delay:?} after the start of step {step}: {at:?}; it ended with {code:?}");
    match (fault, code) {
        // A short cut is survived, and a run may be over before it is struck.
        (Fault::Killed, None | Some(-1 | 0)) | (Fault::Cut | Fault::Power, None | Some(0 | 4)) => {}
        other => panic!("{other:?} at {at:?}"),
    }
    let healed = stack.apply(&[]);
    assert_eq!(
        healed.code, 0,
        "{fault:?} at {at:?}: {}{}",
        healed.stdout, healed.stderr
    );
    let again = stack.apply(&[]).exits(0);
    let then = again.summary();
    let changed: Vec<_> = again
        .events()
        .into_iter()
        .filter(|event| event["event"] == "step_finished")
        .collect();
    assert_eq!(then["changed"], 0, "{fault:?} at {at:?}: {then}: {changed:?}");
    assert_eq!(stack.fetch("/health", &[]).0, 200, "{fault:?} at {at:?}");
}

fn at_random_moments(subnet: u8, fault: Fault) {
    for _ in 0..moments(fault) {
        let stack = Stack::with(Options::warm(subnet));
        let (step, delay) = {
            let mut random = rand::rng();
            (
                random.random_range(1..=STEPS),
                Duration::from_millis(random.random_range(0..1500)),
            )
        };
        survives(&stack, fault, step, delay);
    }
}

#[test]
fn killed() {
    at_random_moments(45, Fault::Killed);
}

#[test]
fn cut_and_healed() {
    at_random_moments(46, Fault::Cut);
}

#[test]
fn without_power() {
    at_random_moments(47, Fault::Power);
}

/// In the middle of apt-get, for certain.
#[test]
fn in_the_package_manager() {
    for (subnet, fault) in [(42, Fault::Killed), (43, Fault::Power)] {
        let stack = Stack::boot(subnet, Serves::Guestbook, false);
        survives(&stack, fault, 1, Duration::from_secs(9));
        // A moment that is seldom met: a package of which only a part was unpacked, and one that waits for it.
        for (package, state) in [("git-man", "reinstreq half-installed"), ("git", "ok unpacked")] {
            let script = format!("/^Package: {package}$/,/^$/s/^Status: .*/Status: install {state}/");
            stack.on_host(&format!("sed -i '{script}' /var/lib/dpkg/status"));
        }
        let _ = stack.apply(&[]).exits(0);
        let state = stack.on_host("dpkg-query -W -f '${Status}' git-man");
        assert_eq!(state, "install ok installed");
    }
}
