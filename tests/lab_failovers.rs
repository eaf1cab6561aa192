//! How long crash plans take and what they lose, again and again while somebody writes. Real hosts. `scripts/failover` runs
//! this, and makes docs/failover.md of the lines that begin with `row`.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::crash::{Writer, cluster, crashplan, event, open, times};
use common::sampler::Sampler;
use common::stack::Stack;

const DATABASES: [&str; 3] = ["31", "32", "33"];

/// What happens to the primary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    HandsOver,
    Killed,
    CutOff,
    PoweredOff,
    /// Powered off when no replica has applied what it received.
    Backlog,
}

/// What is measured, against which bar, and how often for the table.
struct Scenario {
    name: &'static str,
    fate: Fate,
    /// Seconds.
    bar: Option<f64>,
    runs: usize,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "planned switchover",
        fate: Fate::HandsOver,
        bar: Some(0.4),
        runs: 20,
    },
    Scenario {
        name: "the primary's MariaDB is killed (SIGKILL)",
        fate: Fate::Killed,
        bar: Some(1.5),
        runs: 50,
    },
    Scenario {
        name: "the primary's host is cut off",
        fate: Fate::CutOff,
        bar: Some(5.0),
        runs: 20,
    },
    Scenario {
        name: "the primary's host is powered off",
        fate: Fate::PoweredOff,
        bar: Some(5.0),
        runs: 20,
    },
    Scenario {
        name: "no replica has applied what it received, then the primary's host is powered off",
        fate: Fate::Backlog,
        bar: None,
        runs: 10,
    },
];

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock")
        .as_secs_f64()
}

fn lab(stack: &Stack, verb: &str, host: &str) {
    let _ = stack.hactl(&["lab", verb, host]).exits(0);
}

/// What befalls the primary, before somebody types the command.
fn befall(stack: &Stack, fate: Fate, old: &'static str, name: &str, writer: &Writer) {
    match fate {
        Fate::HandsOver => {}
        Fate::Killed => drop(stack.on(old, "systemctl kill -s KILL mariadb.service")),
        Fate::CutOff => lab(stack, "cut", name),
        Fate::PoweredOff => lab(stack, "kill", name),
        Fate::Backlog => {
            for host in DATABASES.into_iter().filter(|host| *host != old) {
                stack.on(host, "mariadb -e 'STOP SLAVE SQL_THREAD'");
            }
            writer.writes(stack);
            lab(stack, "kill", name);
        }
    }
}

/// One time. Seconds without an acknowledged write: of the longest gap when the primary hands over, from the command to the
/// first one otherwise.
fn once(stack: &Stack, scenario: &Scenario, run: usize) {
    let old = DATABASES
        .into_iter()
        .find(|host| open(stack).contains(&(*host).to_owned()))
        .expect("a primary");
    let name = old.replacen('3', "db", 1);
    let mut sampler = Sampler::begins(stack, &DATABASES);
    let writer = Writer::begins(stack);
    befall(stack, scenario.fate, old, &name, &writer);
    let asked = now();
    let more: &[&str] = match scenario.fate {
        Fate::HandsOver => &["--switchover"],
        _ => &[],
    };
    let over = crashplan(stack, more).exits(0);
    writer.writes(stack);
    match scenario.fate {
        Fate::CutOff => lab(stack, "heal", &name),
        Fate::PoweredOff | Fate::Backlog => {
            lab(stack, "boot", &name);
            sampler.again(stack, old);
        }
        Fate::HandsOver | Fate::Killed => {}
    }
    writer.writes(stack);
    if scenario.fate != Fate::HandsOver {
        let _ = stack.hactl(&["rejoin", "--yes", &name]).exits(0);
    }
    writer.writes(stack);
    let seen = writer.ends(stack);
    let (looks, both) = sampler.ends(stack);
    let times = times(stack);
    let seconds = match scenario.fate {
        Fate::HandsOver => times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max),
        // The server that is dying may answer once more after the command was typed: it is the end of the longest gap.
        _ => {
            let gaps = times.windows(2).filter(|pair| pair[1] > asked);
            let longest = gaps.max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])));
            longest.expect("a write")[1] - asked
        }
    };
    let report = event(&over, "failover");
    // One that is cut off cannot be told, and acknowledges nothing that nobody receives.
    let twice = if scenario.fate == Fate::CutOff { 0 } else { both.len() };
    println!(
        "{}: run {run}: {seconds:.2} s, {looks} looks, {report}, {seen}",
        scenario.name
    );
    assert_eq!(seen["lost"], 0, "{seen}");
    assert_eq!(twice, 0, "two took writes at {both:?}");
    assert!(report.get("lost_unknown").is_none(), "{report}");
    // No role moves, and nothing is left to do.
    let new = open(stack);
    stack.settled();
    assert_eq!((open(stack), new.len()), (new, 1));
    let bar = scenario.bar.map(|bar| bar.to_string()).unwrap_or_default();
    println!(
        "row\t{}\t{bar}\t{seconds:.3}\t{}\t{}\t{looks}\t{twice}\t{}\t{}",
        scenario.name, seen["acknowledged"], seen["lost"], report["survey_ms"], report["writable_ms"]
    );
}

#[test]
#[ignore = "scripts/failover runs it, for an hour"]
fn again_and_again() {
    let most = std::env::var("HACTL_FAILOVERS").ok().and_then(|text| text.parse().ok());
    let stack = cluster(127);
    for scenario in &SCENARIOS {
        for run in 0..scenario.runs.min(most.unwrap_or(usize::MAX)) {
            once(&stack, scenario, run);
        }
    }
}
