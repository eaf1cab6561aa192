//! kill -9 of hactl at random moments of a first apply: the next plain apply ends converged, the one after finds nothing
//! to do. Real hosts; two at a time, since the machine has few cores.

mod common;

use std::time::Duration;

use common::stack::{Serves, Stack};
use rand::Rng;

/// Steps of a first apply, about: the moments are drawn from all of them.
const STEPS: usize = 55;

fn killed_at_random(subnet: u8, warm: bool) {
    let stack = Stack::boot(subnet, Serves::Guestbook, warm);
    let (step, delay) = {
        let mut random = rand::rng();
        (
            random.random_range(1..=STEPS),
            Duration::from_millis(random.random_range(0..1500)),
        )
    };
    let at = stack.apply_killed(step, delay);
    println!("killed {delay:?} after the start of step {step}: {at:?}");
    let healed = stack.apply(&[]).exits(0).summary();
    let then = stack.apply(&[]).exits(0).summary();
    println!("healed: {healed}\nthen: {then}");
    assert_eq!(
        then["changed"], 0,
        "killed {delay:?} after the start of step {step} ({at:?}): {then}"
    );
    assert_eq!(stack.fetch("/health", &[]).0, 200);
}

/// The package manager's own interruptions included.
#[test]
fn on_bare_hosts() {
    for subnet in 42..44 {
        killed_at_random(subnet, false);
    }
    // In the middle of apt-get, for certain.
    let stack = Stack::boot(44, Serves::Guestbook, false);
    let at = stack.apply_killed(1, Duration::from_secs(9));
    println!("killed: {at:?}");
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

#[test]
fn with_packages_there() {
    for subnet in 45..52 {
        killed_at_random(subnet, true);
    }
}
