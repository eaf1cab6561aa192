//! `hactl app update` on real hosts, with visitors all the while: every answer is wholly of one release, or 503, or none;
//! what was written stays; what fails is put back; what is cut off is finished by the next plain apply.
//!
//! `HACTL_MOMENTS` says how many moments of each kind of cut are tried (2 of kill -9, 1 of the others).

mod common;

use std::time::{Duration, Instant};

use common::releases::{Flaw, guestbook, guestbook_release, minifrappe, minifrappe_release};
use common::stack::{Options, Running, Serves, Stack};
use common::visitor::{Look, Seen, Visitors};
use rand::Rng;
use serde_json::Value;

const GUESTBOOK: Look = Look {
    state: "/api/state",
    release: guestbook_release,
    asset: Some("/static/version.txt"),
    write: ("/entries", "author=me&text=hello"),
};

const MINIFRAPPE: Look = Look {
    state: "/api/method/frappe.notes.state",
    release: minifrappe_release,
    asset: None,
    write: ("/api/method/frappe.notes.add", "text=hello"),
};

/// A host that serves release 1.
fn served(subnet: u8, serves: Serves) -> Stack {
    let stack = Stack::with(Options {
        serves,
        ..Options::warm(subnet)
    });
    if serves == Serves::Guestbook {
        stack.edit_inventory(
            "  health: /health\n",
            "  health: /health\n  static_dir: guestbook/static\n",
        );
    }
    let _ = stack.apply(&[]).exits(0);
    stack
}

const UPDATE: [&str; 5] = ["app", "update", "--yes", "--format", "json"];

fn update(stack: &Stack, tag: &str) -> common::stack::Said {
    stack.hactl(&[&UPDATE[..], &["--set", tag]].concat())
}

fn state(stack: &Stack, look: Look) -> Value {
    let (code, body) = stack.fetch(look.state, &[]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn counts(stack: &Stack, look: Look) -> (u64, u64) {
    let state = state(stack, look);
    let state = state.get("message").unwrap_or(&state);
    (
        state["db_writes"].as_u64().unwrap(),
        state["jobs_done"].as_u64().unwrap(),
    )
}

/// Nothing that was taken is lost, and its job is done.
fn everything_is_there(stack: &Stack, look: Look, seen: &Seen) {
    stack.wait_until("all jobs are done", || {
        let (writes, jobs) = counts(stack, look);
        writes == jobs
    });
    let (writes, _) = counts(stack, look);
    assert!(writes >= seen.taken as u64, "{writes} of {} are there", seen.taken);
}

fn messages(events: &[Value]) -> String {
    let failed = events.iter().filter_map(|event| event["message"].as_str());
    failed.collect::<Vec<_>>().join("\n")
}

/// What the step that changes what serves said, and when.
fn timeline(events: &[Value]) {
    for event in events {
        let of = event["step"].as_str().is_some_and(|step| step.starts_with("release "));
        if of && (event["line"].is_string() || event["event"] != "step_output") {
            println!(
                "{} {} {}",
                event["time"].as_str().unwrap_or_default(),
                event["event"],
                event["line"]
            );
        }
    }
}

fn said(events: &[Value], what: &str) -> Option<String> {
    let lines = events.iter().filter_map(|event| event["line"].as_str());
    lines.filter(|line| line.contains(what)).map(str::to_owned).next_back()
}

/// A WSGI application: forth, forth again, back from a release that fails in its migration and from one that does not start.
#[test]
fn an_app_is_updated_or_stays_what_it_was() {
    let stack = served(110, Serves::Guestbook);
    let visitors = Visitors::come(&stack.address, GUESTBOOK);
    let inventory = || std::fs::read_to_string(&stack.inventory).unwrap();

    let before = inventory();
    let missing = update(&stack, "v9").exits(2);
    assert!(missing.stdout.contains("no tag or branch `v9`"), "{}", missing.stdout);
    assert_eq!(inventory(), before, "a ref that is not there is not kept");

    stack.on_host("echo '# by hand' >>/etc/redis/redis-cache.conf");
    let tag = guestbook(&stack, 2, 1.0, Flaw::None);
    let done = update(&stack, &tag).exits(0);
    timeline(&done.events());
    println!(
        "{}; {:?}",
        said(&done.events(), "closed for").expect("a time"),
        visitors.seen()
    );
    assert_eq!(inventory(), before.replace("ref: v1", "ref: v2"));
    assert_eq!(guestbook_release(&state(&stack, GUESTBOOK)), Ok(2));
    let drift = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    assert_eq!(drift.summary()["skipped"], 1, "the drift elsewhere was left alone");
    assert_eq!(update(&stack, &tag).exits(0).summary()["changed"], 0, "running already");
    let _ = stack.apply(&[]).exits(0);

    for (flaw, why) in [
        (Flaw::Migration, "the migration of guestbook failed"),
        (Flaw::Start, "it did not become healthy"),
    ] {
        let (writes, _) = counts(&stack, GUESTBOOK);
        let tag = guestbook(&stack, 3, 0.1, flaw);
        let failed = update(&stack, &tag).exits(4);
        let text = messages(&failed.events());
        println!("{text}\n");
        assert!(text.contains(why), "{text}");
        assert!(
            text.contains("serves again with its database as it was before"),
            "{text}"
        );
        assert!(text.contains("/var/log/hactl/update-guestbook.log"), "{text}");
        assert_eq!(guestbook_release(&state(&stack, GUESTBOOK)), Ok(2));
        assert!(counts(&stack, GUESTBOOK).0 >= writes, "what was written is there");
        let gate = stack.on_host("ls /srv/guestbook/maintenance 2>/dev/null || echo gone");
        assert_eq!(gate, "gone");
        stack.edit_inventory(&format!("ref: {tag}"), "ref: v2");
        assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0, "all is as it was");
    }

    // What a visitor meets meanwhile, and what `status` and `plan` say of it.
    stack.on_host("echo 'closed a b' >/srv/guestbook/maintenance");
    let page = stack.fetch("/", &["-D", "-"]);
    assert_eq!(page.0, 503);
    let head = page.1.to_lowercase();
    assert!(
        head.contains("retry-after: 30") && head.contains("text/html") && head.contains("being updated"),
        "{head}"
    );
    assert_eq!(stack.fetch("/static/version.txt", &[]).0, 503);
    let status = stack.hactl(&["status"]).exits(4).stdout;
    assert!(
        status.contains("closed: an update runs or was cut off (closed a b)"),
        "{status}"
    );
    let plan = stack.hactl(&["plan"]).exits(0).stdout;
    assert!(
        plan.contains("the site is closed: an update was cut off (closed)"),
        "{plan}"
    );
    stack.on_host("rm /srv/guestbook/maintenance");

    // Dumps hold everything, and go with their release.
    let dumps = stack.on_host("stat -c '%a %U' /srv/guestbook/dumps /srv/guestbook/dumps/*/* | sort -u");
    assert_eq!(dumps, "600 root\n700 root");
    let list = stack.hactl(&["app", "list"]).exits(0).stdout;
    println!("{list}");
    let serves: Vec<_> = list.lines().filter(|line| line.contains(" serves ")).collect();
    assert!(
        matches!(serves[..], [line] if line.contains("guestbook v2 (")),
        "{list}"
    );

    // Back to an older release: it needs no build, and its migrations were done.
    let seen = visitors.leave();
    println!("{seen:?}");
    assert!(seen.closed > 0 && seen.answers.keys().eq(&[1, 2]), "{seen:?}");
    everything_is_there(&stack, GUESTBOOK, &seen);
}

/// As RQ may do it: a worker is told to end just when Redis hands it a job, which is then in no list any more.
fn a_job_is_lost(stack: &Stack) {
    stack.on_host("supervisorctl stop frappe-workers:* >/dev/null");
    let added = stack.fetch("/api/method/frappe.notes.add", &["-d", "text=lost"]);
    assert_eq!(added.0, 200, "{}", added.1);
    let take = "import json, redis\n\
        config = json.load(open('common_site_config.json'))\n\
        print(redis.Redis.from_url(config['redis_queue']).lpop('rq:queue:' + config['bench_id'] + ':default'))";
    let taken = stack.on_host(&format!(
        "cd /srv/frappe/bench/sites && runuser -u frappe -- ../run python -c {}; supervisorctl start frappe-workers:* >/dev/null",
        hactl::quote::sh(take)
    ));
    assert!(taken.starts_with("b'"), "{taken}");
}

/// Frappe: a job that runs is finished before its worker ends, and one that its worker never began is not forgotten; the
/// caches of one release are not the other's.
#[test]
fn frappe_is_updated_or_stays_what_it_was() {
    let stack = served(114, Serves::MiniFrappe);
    a_job_is_lost(&stack);
    let visitors = Visitors::come(&stack.address, MINIFRAPPE);
    let tag = minifrappe(&stack, 2, Flaw::None);
    let set = format!("frappe={tag}");
    let running = stack.started_until(&[&UPDATE[..], &["--set", &set]].concat(), &[], |line| {
        line.contains("\"step_started\"") && line.contains("run assets of release")
    });
    // Long enough to be under way when the workers are told to end.
    let long = stack.fetch("/api/method/frappe.notes.add", &["-d", "text=long&seconds=12"]);
    assert_eq!(long.0, 200, "{}", long.1);
    let done = running.expect("it builds assets").ends_within(END).exits(0);
    let waited = said(&done.events(), "waiting for running jobs to end");
    println!("{}", waited.expect("it waited for the long job"));
    timeline(&done.events());
    println!(
        "{}; {:?}",
        said(&done.events(), "closed for").expect("a time"),
        visitors.seen()
    );
    assert_eq!(minifrappe_release(&state(&stack, MINIFRAPPE)), Ok(2));
    let log = stack.on_host("cat /var/log/supervisor/frappe-workers/*long*.out.log");
    assert!(
        log.matches(" OK").count() > 0 && !log.contains("failed"),
        "the long job was finished: {log}"
    );
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);

    let tag = minifrappe(&stack, 3, Flaw::Migration);
    let failed = update(&stack, &format!("frappe={tag}")).exits(4);
    let text = messages(&failed.events());
    println!("{text}\n");
    assert!(text.contains("the migration of erp.example.com failed"), "{text}");
    assert!(
        text.contains("serves again with its database as it was before"),
        "{text}"
    );
    assert_eq!(minifrappe_release(&state(&stack, MINIFRAPPE)), Ok(2));
    let config = stack.on_host("cat /srv/frappe/bench/sites/erp.example.com/site_config.json");
    assert!(
        !config.contains("\"maintenance_mode\": 1") && !config.contains("hactl_before"),
        "{config}"
    );
    stack.edit_inventory(&format!("ref: {tag}"), "ref: v2");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0, "all is as it was");
    let seen = visitors.leave();
    println!("{seen:?}");
    everything_is_there(&stack, MINIFRAPPE, &seen);
}

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

/// The faults in turn, and how often each: `HACTL_MOMENTS` times, of one kind only with `HACTL_FAULT` (`killed`, `cut`,
/// `power`), which has a subnet of its own.
fn faults() -> (u8, Vec<Fault>) {
    let all = [("killed", Fault::Killed), ("cut", Fault::Cut), ("power", Fault::Power)];
    let count = std::env::var("HACTL_MOMENTS").map(|number| number.parse().expect("HACTL_MOMENTS is a number"));
    let Ok(count) = count else {
        return (111, vec![Fault::Killed, Fault::Power, Fault::Cut, Fault::Killed]);
    };
    let only = std::env::var("HACTL_FAULT").ok();
    let chosen: Vec<_> = all
        .iter()
        .filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
        .collect();
    assert!(!chosen.is_empty(), "HACTL_FAULT is killed, cut or power");
    let subnet = match chosen[..] {
        [(_, Fault::Cut)] => 112,
        [(_, Fault::Power)] => 113,
        _ => 111,
    };
    let repeated = chosen.iter().flat_map(|(_, fault)| std::iter::repeat_n(*fault, count));
    (subnet, repeated.collect())
}

/// Every run ends by itself: a dead connection is noticed after 45 s.
const END: Duration = Duration::from_secs(180);

fn strike(stack: &Stack, fault: Fault, mut running: Running) -> i32 {
    match fault {
        Fault::Killed => running.kill(),
        Fault::Cut => {
            let _ = stack.hactl(&["lab", "cut", "srv1"]).exits(0);
            let seconds = match std::env::var_os("HACTL_MOMENTS") {
                None => 2,
                Some(_) => rand::rng().random_range(1..60),
            };
            std::thread::sleep(Duration::from_secs(seconds));
            let _ = stack.hactl(&["lab", "heal", "srv1"]).exits(0);
        }
        Fault::Power => {
            let _ = stack.hactl(&["lab", "kill", "srv1"]).exits(0);
            let _ = stack.hactl(&["lab", "boot", "srv1"]).exits(0);
        }
    }
    running.ends_within(END).code
}

/// Updates from release to release, each struck at a random moment: anywhere in it, or in the step that changes what
/// serves, which is where it could hurt.
#[test]
fn struck_at_random_moments() {
    let (subnet, faults) = faults();
    let stack = served(subnet, Serves::Guestbook);
    let visitors = Visitors::come(&stack.address, GUESTBOOK);
    let started = Instant::now();
    for (moment, fault) in (1..).zip(faults) {
        let number = moment + 1;
        let tag = guestbook(&stack, number, 1.0, Flaw::None);
        let (anywhere, delay) = {
            let mut random = rand::rng();
            let anywhere = random.random_range(0..4) == 0;
            let most = if anywhere { 15_000 } else { 7_000 };
            (anywhere, Duration::from_millis(random.random_range(0..most)))
        };
        let running = stack.started_until(&[&UPDATE[..], &["--set", &tag]].concat(), &[], |line| {
            line.contains("\"step_started\"") && (anywhere || line.contains("release guestbook"))
        });
        if running.is_some() {
            std::thread::sleep(delay);
        }
        let code = running.map(|running| strike(&stack, fault, running));
        let gate = match fault {
            Fault::Power => stack.on_host("head -n 1 /srv/guestbook/maintenance 2>/dev/null || echo open"),
            _ => String::new(),
        };
        let healed = stack.apply(&[]);
        let after = format!(
            "{fault:?} {moment}: {delay:?} after {}",
            if anywhere { "the start" } else { "the last step began" }
        );
        println!(
            "{after}; it ended with {code:?}; left: {gate:?}; at {:?}",
            started.elapsed()
        );
        match (fault, code) {
            // A short cut is survived, and a run may be over before it is struck.
            (Fault::Killed, None | Some(-1 | 0)) | (Fault::Cut | Fault::Power, None | Some(0 | 4)) => {}
            other => panic!("{other:?} {after}"),
        }
        assert_eq!(healed.code, 0, "{after}: {}{}", healed.stdout, healed.stderr);
        let then = stack.apply(&[]).exits(0).summary();
        assert_eq!(then["changed"], 0, "{after}: {then}");
        assert_eq!(guestbook_release(&state(&stack, GUESTBOOK)), Ok(number), "{after}");
        let seen = visitors.seen();
        assert!(seen.violations.is_empty(), "{after}: {:#?}", seen.violations);
    }
    let seen = visitors.leave();
    println!("{seen:?}");
    everything_is_there(&stack, GUESTBOOK, &seen);
}
