//! Ten hosts, of which each may be lost: what a client meets with that writes through the address of the load balancers all
//! the while. Real hosts. `scripts/survive` runs this, and makes docs/survives.md of the lines that begin with `row`.

mod common;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use common::load::{Client, Outcome, Request, Target, Window};
use common::stack::{Options, Said, Serves, Stack};
use common::trial::{
    Row, Trial, boot, entries, findings, healthy, lost, nobody_is_forgotten, number, schedules, undone, which,
};

/// As inventories/multi-node.yml has them.
const HOSTS: &str = "  lb1: { address: NET.11, roles: [ lb ] }
  lb2: { address: NET.12, roles: [ lb ] }
  app1: { address: NET.21, roles: [ app, worker ] }
  app2: { address: NET.22, roles: [ app, worker ] }
  db1: { address: NET.31, roles: [ db ], primary: true }
  db2: { address: NET.32, roles: [ db ] }
  db3: { address: NET.33, roles: [ db ] }
  rd1: { address: NET.41, roles: [ redis ] }
  rd2: { address: NET.42, roles: [ redis ] }
  rd3: { address: NET.43, roles: [ redis ] }
vip:
  web: NET.100/24
";

const SUBNET: u8 = 103;

/// Requests a second. Ten hosts on one machine that has other work answer no more without being late; `scripts/survive --rate`
/// asks for another.
const RATE: u32 = 5;

/// One request in so many makes a background job.
const JOB: usize = 5;

/// What must hold.
const ADDRESS_MOVES: Duration = Duration::from_secs(2);
const SCHEDULER_MOVES: Duration = Duration::from_secs(15);

fn order(said: &Said, part: &str) -> Vec<String> {
    let ended = said.events().into_iter().filter(|event| {
        event["event"] == "step_finished" && event["step"].as_str().is_some_and(|step| step.contains(part))
    });
    ended.map(|event| event["host"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "takes a quarter of an hour: scripts/survive runs it"]
fn ten_hosts_survive_the_loss_of_any() {
    let stack = Stack::with(Options {
        hosts: HOSTS,
        serves: Serves::MiniFrappe,
        ..Options::warm(SUBNET)
    });
    // Where TLS ends is not what this is about.
    stack.edit_inventory("{ name: erp.example.com }", "{ name: erp.example.com, tls: none }");
    stack.edit_inventory(
        "kind: frappe\n",
        "kind: frappe\n  config: { scheduler_tick_interval: 5 }\n",
    );
    let begun = Instant::now();
    let _ = stack.apply(&[]).exits(0);
    println!("applied after {:.0} s", begun.elapsed().as_secs_f32());
    healthy(&stack);
    stack.settled();

    let vip = format!("10.77.{SUBNET}.100:80").parse().expect("an address");
    let target = Target {
        addresses: vec![vip],
        site: "erp.example.com",
        path: "/api/method/frappe.notes.jot",
        form: "",
        job: Some((JOB, "/api/method/frappe.notes.add")),
    };
    let asked = std::env::var("HACTL_SURVIVE_RATE")
        .ok()
        .and_then(|rate| rate.parse().ok());
    let client = Client::comes(target, asked.filter(|rate| *rate > 0).unwrap_or(RATE));
    let trial = Trial {
        stack,
        client,
        broken: RefCell::default(),
    };
    trial.client.served(20);

    the_address_moves(&trial);
    an_app_host_dies(&trial);
    the_queue_moves(&trial);
    the_scheduler_moves(&trial);
    a_replica_dies(&trial);
    let cut_off = a_worker_dies(&trial);
    let restarted = a_change_rolls(&trial);
    it_runs_again(&trial, &cut_off);

    let Trial { stack, client, broken } = trial;
    let all = client.leaves();
    assert_eq!(lost(&stack, all.iter()), [""; 0]);
    // Jobs that needed the primary while it restarted failed by themselves, which the application shows.
    let (excused, all_others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|request| {
        request.ended >= restarted.from && request.began <= restarted.until + Duration::from_secs(5)
    });
    assert_eq!(nobody_is_forgotten(&stack, &all_others), [""; 0]);
    let failed = undone(&stack, &excused, Duration::ZERO);
    println!("jobs that failed while the primary restarted: {failed:?}");
    // Replicas have the same, the one that was dead, too.
    let there = entries(&stack, "31");
    for host in ["32", "33"] {
        stack.wait_until("a replica has all", || {
            let here = entries(&stack, host);
            here.len() == there.len()
        });
    }
    let taken = all.iter().filter(|request| request.outcome == Outcome::Taken).count();
    println!("{} requests, {taken} taken, {} entries", all.len(), there.len());
    healthy(&stack);
    stack.settled();
    assert_eq!(broken.into_inner(), [""; 0]);
}

fn the_address_moves(trial: &Trial) {
    let holder = which(&trial.stack, "vip web", "is here");
    let (seen, ()) = trial.scenario(
        "the load balancer that holds the address is killed",
        "no answer missing for more than 2 s",
        || trial.kill(&holder),
        |()| String::new(),
    );
    trial.must(seen.gap() <= ADDRESS_MOVES, &format!("no answer for {:?}", seen.gap()));
    trial.only_in_flight("the load balancer", &seen);
    boot(&trial.stack, &holder);
    assert_ne!(
        which(&trial.stack, "vip web", "is here"),
        holder,
        "nobody takes it back"
    );
}

fn an_app_host_dies(trial: &Trial) {
    let (seen, ()) = trial.scenario(
        "`app1` is killed",
        "only requests in flight fail",
        || trial.kill("app1"),
        |()| String::new(),
    );
    trial.only_in_flight("app1", &seen);
    boot(&trial.stack, "app1");
}

fn the_queue_moves(trial: &Trial) {
    let leader = which(&trial.stack, "redis set queue", "leads");
    let (seen, ()) = trial.scenario(
        "the queue's Redis master is killed",
        "jobs accepted before are executed",
        || trial.kill(&leader),
        |()| String::new(),
    );
    let taken: Vec<Request> = seen.requests().cloned().collect();
    boot(&trial.stack, &leader);
    assert_ne!(which(&trial.stack, "redis set queue", "leads"), leader);
    // One that a worker had just taken may never have begun; `status` knows of it, and it is safe to run it.
    let left = undone(&trial.stack, &taken, Duration::from_secs(30));
    println!("jobs that were not executed by themselves: {left:?}");
    if !left.is_empty() {
        let mut said = trial.stack.hactl(&["app", "jobs"]).exits(0).stdout;
        trial.stack.wait_until("they are known to be stranded", || {
            said = trial.stack.hactl(&["app", "jobs"]).exits(0).stdout;
            said.matches("stranded").count() >= left.len()
        });
        print!("{said}");
        let _ = trial.stack.hactl(&["app", "jobs", "--requeue-stranded"]).exits(0);
    }
    let left = undone(&trial.stack, &taken, Duration::from_secs(60));
    trial.must(
        left.is_empty(),
        &format!("jobs were accepted and never executed: {left:?}"),
    );
}

fn the_scheduler_moves(trial: &Trial) {
    let stack = &trial.stack;
    let holder = which(stack, "scheduler", "this host schedules");
    let other = if holder == "app1" { "app2" } else { "app1" };
    let (seen, moved) = trial.scenario(
        "the host of the scheduler is killed",
        "another schedules within 15 s, never two",
        || {
            let since = Instant::now();
            trial.kill(&holder);
            stack.wait_until("the other host schedules", || {
                stack.on(number(other), "cat /srv/frappe/bench/config/scheduler.state") == "schedules"
            });
            since.elapsed()
        },
        |moved| format!("another schedules after {:.1} s", moved.as_secs_f32()),
    );
    trial.must(moved <= SCHEDULER_MOVES, &format!("another schedules after {moved:?}"));
    trial.only_in_flight("the scheduler's host", &seen);
    boot(stack, &holder);
    // A machine that boots a host is busy: the lock may have moved once more.
    let now = which(stack, "scheduler", "this host schedules");
    let stretches = [&*holder, other].map(|host| schedules(stack, host, &now));
    println!(
        "{now} schedules now; {holder}: {:?}; {other}: {:?}",
        stretches[0], stretches[1]
    );
    let twice = stretches[0]
        .iter()
        .flat_map(|one| stretches[1].iter().map(move |two| (one, two)))
        .find(|((from, until), (other_from, other_until))| from < other_until && other_from < until);
    trial.must(twice.is_none(), &format!("two schedulers: {twice:?}"));
}

fn a_replica_dies(trial: &Trial) {
    let (seen, ()) = trial.scenario(
        "`db2`, a replica, is killed",
        "no write fails",
        || trial.kill("db2"),
        |()| String::new(),
    );
    trial.must(seen.failed().is_empty(), "no write fails for a replica");
    boot(&trial.stack, "db2");
}

/// A job whose worker was killed.
struct CutOff {
    since: Instant,
    seen: Window,
}

/// Text of the entry whose job takes long.
const LONG: &str = "a-long-job";

fn a_worker_dies(trial: &Trial) -> CutOff {
    let stack = &trial.stack;
    let mut hosts = ["21", "22"].into_iter().cycle();
    let (seen, since) = trial.client.during(|| {
        let site = format!("http://10.77.{SUBNET}.100/api/method/frappe.notes.add");
        let form = format!("text={LONG}&seconds=12");
        let curl = std::process::Command::new("curl")
            .args([
                "-fsS",
                "-o",
                "/dev/null",
                "-H",
                "Host: erp.example.com",
                "-d",
                &form,
                &site,
            ])
            .output()
            .expect("curl");
        assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
        // The worker and the process that it forked off for the job, which lives longer than others.
        let find = "all=$(pgrep -f 'bench_helper frappe worker')
            for pid in $all; do
                parent=$(ps -o ppid= -p \"$pid\" | tr -d ' ')
                [ \"$(ps -o etimes= -p \"$pid\" || echo 0)\" -ge 3 ] || continue
                case \"
$all
\" in *\"
$parent
\"*) echo \"$parent $pid\" ;; esac
            done; :";
        let (mut host, mut found) = ("", String::new());
        stack.wait_until("the long job runs", || {
            host = hosts.next().expect("another");
            found = stack.on(host, find);
            !found.is_empty()
        });
        println!("killed at work on {host}: {found}");
        stack.on(host, &format!("kill -9 {found}"));
        Instant::now()
    });
    stack.wait_until("the worker is started again", || {
        let all = findings(stack);
        let mut workers = all.iter().filter(|found| found[1] == "programs frappe-workers");
        workers.all(|found| found[2] == "good")
    });
    let there = entries(stack, "31");
    assert_eq!(
        there.get(LONG),
        Some(&(1, 0)),
        "its entry is there, its job is not done"
    );
    CutOff { since, seen }
}

/// The job is not forgotten: `status` warns of it, and it runs when somebody says so.
fn it_runs_again(trial: &Trial, cut_off: &CutOff) {
    let stack = &trial.stack;
    let mut job = None;
    stack.wait_until("the job is found", || {
        let said = stack.hactl(&["app", "jobs", "--format", "json"]).exits(0);
        let events = said.events();
        let mut dead = events
            .iter()
            .filter(|event| event["event"] == "dead_job" && event["queue"] == "long");
        job = dead.next().map(|event| {
            assert_eq!(event["found"], "cut off", "{event}");
            assert!(
                event["what"]
                    .as_str()
                    .is_some_and(|what| what.contains("frappe.notes.stamp")),
                "{event}"
            );
            event["job"].as_str().expect("its id").to_owned()
        });
        job.is_some()
    });
    let named = cut_off.since.elapsed().as_secs();
    let job = job.expect("found");
    let all = findings(stack);
    let warned: Vec<_> = all.iter().filter(|found| found[1] == "jobs").collect();
    assert!(
        warned.len() == 2
            && warned
                .iter()
                .all(|found| found[2] == "warning" && found[3].contains("cut off")),
        "{warned:?}"
    );
    let again = stack.hactl(&["app", "jobs", "--requeue", &job]).exits(0);
    assert!(!again.stdout.contains(&job), "{}", again.stdout);
    stack.wait_until("the job is done", || entries(stack, "31").get(LONG) == Some(&(1, 1)));
    let twice = stack.hactl(&["app", "jobs", "--requeue", &job]).exits(4);
    assert!(
        twice.stderr.contains("neither cut off nor stranded"),
        "{}",
        twice.stderr
    );
    Row {
        what: "a worker is killed at work",
        bar: "the job is not lost",
        seen: &cut_off.seen,
        lost: 0,
        more: format!("named by `status` within {named} s, run to its end by `hactl app jobs --requeue`"),
    }
    .print();
    trial.must(cut_off.seen.failed().is_empty(), "no request fails for a worker");
}

fn a_change_rolls(trial: &Trial) -> Window {
    let stack = &trial.stack;
    let (seen, _) = trial.scenario(
        "other gunicorn workers, another nginx configuration",
        "no request fails",
        || {
            stack.edit_inventory("kind: frappe\n", "kind: frappe\n  web_workers: 3\n");
            stack.edit_inventory("cluster:", "nginx: { client_max_body_mb: 60 }\ncluster:");
            let rolled = stack.apply(&[]).exits(0);
            let mut hosts = order(&rolled, "programs frappe");
            hosts.dedup();
            assert_eq!(hosts, ["app1", "app2"], "one after the other");
        },
        |()| String::new(),
    );
    trial.must(
        seen.failed().is_empty(),
        "no request fails for other workers and another nginx",
    );
    let (seen, turn) = trial.client.during(|| {
        stack.edit_inventory(
            "cluster:",
            "mariadb: { settings: { innodb_log_buffer_size: 32M } }\ncluster:",
        );
        let rolled = stack.apply(&[]).exits(0);
        assert_eq!(order(&rolled, "service mariadb"), ["db2", "db3", "db1"]);
        rolled.began("db1", "service mariadb")
    });
    let (replicas, primary) = seen.split(turn);
    trial.saw(
        "a setting that restarts MariaDB: both replicas",
        "no request fails",
        &replicas,
        "",
    );
    trial.must(replicas.failed().is_empty(), "no request fails while replicas restart");
    trial.saw(
        "the same: the primary, after them",
        "no acknowledged write lost",
        &primary,
        "writes wait while it restarts",
    );
    primary
}
