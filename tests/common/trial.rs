//! Hosts that are lost one after the other while a client writes: what became of each request, and which promises were kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::load::{Client, Outcome, Request, Window};
use super::stack::Stack;

/// The last part of a host's address.
pub fn number(host: &str) -> &'static str {
    match host {
        "lb1" => "11",
        "lb2" => "12",
        "app1" => "21",
        "app2" => "22",
        "db1" => "31",
        "db2" => "32",
        "db3" => "33",
        "rd1" => "41",
        "rd2" => "42",
        _ => "43",
    }
}

/// What `status` finds: host, subject, verdict, words.
pub fn findings(stack: &Stack) -> Vec<[String; 4]> {
    let said = stack.hactl(&["status", "--format", "json"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let health = said.events().into_iter().filter(|event| event["event"] == "health");
    health
        .map(|event| ["host", "subject", "verdict", "detail"].map(|key| text(&event[key])))
        .collect()
}

/// The host whose finding about a subject begins so.
pub fn which(stack: &Stack, subject: &str, detail: &str) -> String {
    let mut found = None;
    stack.wait_until(&format!("`{subject}` is `{detail}` on one host"), || {
        let all = findings(stack);
        let mut hosts = all
            .iter()
            .filter(|found| found[1] == subject && found[3].starts_with(detail));
        found = hosts.next().map(|found| found[0].clone());
        found.is_some() && hosts.next().is_none()
    });
    found.expect("one")
}

/// What is worth a look on a machine that carries ten hosts: its disk, an answer that takes more than a second, and jobs,
/// which have a scenario of their own.
pub const OFTEN: [&str; 3] = ["disk", "site erp.example.com", "jobs"];

/// Waits until every host is well by the word of `status`.
pub fn healthy(stack: &Stack) {
    let begun = Instant::now();
    let end = begun + Duration::from_secs(180);
    loop {
        let all = findings(stack);
        let hosts: std::collections::BTreeSet<_> = all.iter().map(|found| &found[0]).collect();
        let complete = hosts.len() == 10;
        let left: Vec<_> = all
            .into_iter()
            .filter(|found| found[2] == "bad" || found[2] == "warning" && !OFTEN.contains(&found[1].as_str()))
            .collect();
        if complete && left.is_empty() {
            println!("healthy after {:.1} s", begun.elapsed().as_secs_f32());
            return;
        }
        assert!(Instant::now() < end, "never well: {left:?}");
    }
}

pub fn boot(stack: &Stack, host: &str) {
    let _ = stack.hactl(&["lab", "boot", host]).exits(0);
    healthy(stack);
}

/// Entries in the database of the site: how often they are there, and how often their job is done.
pub fn entries(stack: &Stack, host: &str) -> BTreeMap<String, (usize, usize)> {
    let schema = "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = 'tabNote'";
    let query = "SELECT text, COUNT(*), SUM(job_host IS NOT NULL) FROM tabNote GROUP BY text";
    let rows = stack.on(
        host,
        &format!(
            "mariadb -N \"$(mariadb -Ne \"{schema}\")\" -e {}",
            hactl::quote::sh(query)
        ),
    );
    let row = |line: &str| {
        let mut words = line.split('\t');
        let text = words.next()?.to_owned();
        let (count, done) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((text, (count, done)))
    };
    rows.lines().filter_map(row).collect()
}

/// Of what was taken, what the database has not; nothing may be there twice.
pub fn lost<'a>(stack: &Stack, requests: impl Iterator<Item = &'a Request>) -> Vec<String> {
    let there = entries(stack, "31");
    let twice: Vec<_> = there.iter().filter(|(_, (count, _))| *count > 1).collect();
    assert!(twice.is_empty(), "made twice: {twice:?}");
    let taken = requests.filter(|request| request.outcome == Outcome::Taken);
    taken
        .filter(|request| !there.contains_key(&request.text))
        .map(|request| request.text.clone())
        .collect()
}

/// Of what was taken, that whose job was not executed, after a time in which queues are worked off.
pub fn undone(stack: &Stack, requests: &[Request], patience: Duration) -> Vec<String> {
    let end = Instant::now() + patience;
    loop {
        let there = entries(stack, "31");
        let taken = requests
            .iter()
            .filter(|request| request.job && request.outcome == Outcome::Taken);
        let done = |text: &str| there.get(text).is_some_and(|(_, done)| *done > 0);
        let undone: Vec<_> = taken
            .filter(|request| !done(&request.text))
            .map(|request| request.text.clone())
            .collect();
        if undone.is_empty() || Instant::now() > end {
            return undone;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The same, when jobs that workers had in their hands as their hosts died are run again: each of those is known.
pub fn nobody_is_forgotten(stack: &Stack, requests: &[Request]) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(150);
    loop {
        let left = undone(stack, requests, Duration::from_secs(10));
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        let said = stack.hactl(&["app", "jobs", "--format", "json"]).exits(0);
        let dead = said.events().into_iter().filter(|event| event["event"] == "dead_job");
        for job in dead {
            println!("run again: {job}");
            let _ = stack.hactl(&["app", "jobs", "--requeue", job["job"].as_str().expect("its id")]);
        }
    }
}

/// A line of the table.
pub struct Row<'a> {
    pub what: &'a str,
    pub bar: &'a str,
    pub seen: &'a Window,
    pub lost: usize,
    pub more: String,
}

impl Row<'_> {
    pub fn print(&self) {
        for line in self.seen.complaints().iter().take(12) {
            println!("    {line}");
        }
        println!(
            "row\t{}\t{}\t{:.2}\t{:.2}\t{}\t{}\t{}\t{}",
            self.what,
            self.bar,
            self.seen.gap().as_secs_f32(),
            self.seen.wait().as_secs_f32(),
            self.seen.requests().count(),
            self.seen.failed().len(),
            self.lost,
            self.more
        );
    }
}

/// A cluster and who writes to it.
pub struct Trial {
    /// The hosts.
    pub stack: Stack,
    /// Writes all the while.
    pub client: Client,
    /// Promises that were not kept. They fail the test at its end, so that one does not hide the others.
    pub broken: RefCell<Vec<String>>,
}

impl Trial {
    /// Does something, looks at what became of the requests, and prints the row. All that was acknowledged must be there.
    #[track_caller]
    pub fn scenario<T>(
        &self,
        what: &str,
        bar: &str,
        act: impl FnOnce() -> T,
        more: impl FnOnce(&T) -> String,
    ) -> (Window, T) {
        let (seen, done) = self.client.during(act);
        self.saw(what, bar, &seen, &more(&done));
        (seen, done)
    }

    /// Prints what became of requests.
    pub fn saw(&self, what: &str, bar: &str, seen: &Window, more: &str) {
        let lost = lost(&self.stack, seen.requests());
        let row = Row {
            what,
            bar,
            seen,
            lost: lost.len(),
            more: more.to_owned(),
        };
        row.print();
        self.must(lost.is_empty(), &format!("{what}: acknowledged and lost: {lost:?}"));
    }

    pub fn must(&self, holds: bool, promise: &str) {
        if !holds {
            println!("NOT KEPT: {promise}");
            self.broken.borrow_mut().push(promise.to_owned());
        }
    }

    /// Only requests that were under way when the host died may have failed.
    pub fn only_in_flight(&self, what: &str, seen: &Window) {
        let failed = seen.failed();
        let later = failed
            .iter()
            .filter(|request| request.sent.is_none_or(|sent| sent > seen.until));
        let later: Vec<_> = later.map(|request| &request.text).collect();
        self.must(
            later.is_empty(),
            &format!("{what}: failed although they came after: {later:?}"),
        );
    }

    pub fn kill(&self, host: &str) {
        let _ = self.stack.hactl(&["lab", "kill", host]).exits(0);
    }
}

/// When schedulers began and ended on a host, by the words of the clock that all hosts of a lab share. One that was killed
/// ended when nobody knows, so it counts as long as it has begun; the last one of the host that schedules `now` goes on.
pub fn schedules(stack: &Stack, host: &str, now: &str) -> Vec<(String, String)> {
    let log = "/var/log/supervisor/frappe-workers/frappe-workers-schedule.out.log";
    let text = stack.on(
        number(host),
        &format!("grep -E 'this host schedules|it has ended here' {log} || :"),
    );
    let mut stretches: Vec<(String, Option<String>)> = Vec::new();
    for line in text.lines() {
        let at = line.get(..19).unwrap_or_default().to_owned();
        match stretches.last_mut() {
            Some((_, end @ None)) if line.contains("ended") => *end = Some(at),
            _ if line.contains("schedules") => stretches.push((at, None)),
            _ => {}
        }
    }
    let last = stretches.len().saturating_sub(1);
    let ended = stretches
        .into_iter()
        .enumerate()
        .map(|(at, (from, until))| match until {
            None if at == last && host == now => (from, "9999".to_owned()),
            until => (from.clone(), until.unwrap_or(from)),
        });
    ended.collect()
}
