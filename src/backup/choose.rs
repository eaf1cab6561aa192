//! Which copies lead to a moment. What does not lead there without a gap is refused, and which gap it is.

use std::fmt::Write as _;

use super::catalog::{Catalog, Database, Logs, Sort};
use super::position::Position;

/// What somebody wants back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// This copy; the newest that serves when it is not said.
    pub backup: Option<String>,
    /// All that was committed before this second.
    pub to: Option<i64>,
    /// All that there is, when no moment is said.
    pub everything: bool,
}

/// Copies of the database that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Everything.
    pub full: Database,
    /// What changed since.
    pub incremental: Option<Database>,
}

impl Base {
    /// The later of the two.
    pub fn last(&self) -> &Database {
        self.incremental.as_ref().unwrap_or(&self.full)
    }
}

/// A binary log in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The snapshot.
    pub snapshot: String,
    /// Its name.
    pub name: String,
    /// What was before it.
    pub from: Position,
    /// What it ends with.
    pub to: Position,
}

/// Everything that leads to the wanted moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Copies of the database.
    pub base: Base,
    /// What is applied to them, in order.
    pub logs: Vec<Log>,
    /// Up to this second.
    pub to: Option<i64>,
}

/// The copy to begin with.
///
/// # Errors
/// There is none, in words.
pub fn base(catalog: &Catalog, wish: &Wish) -> Result<Base, String> {
    let fits = |copy: &&Database| match (&wish.backup, wish.to) {
        (Some(run), _) => copy.run == *run,
        (None, Some(to)) => copy.ended <= to,
        (None, None) => true,
    };
    let Some(last) = catalog.databases.iter().rfind(fits) else {
        return Err(match (&wish.backup, wish.to, catalog.databases.first()) {
            (_, _, None) => "there is no good backup of the database".to_owned(),
            (Some(run), _, _) => format!("there is no good backup {run}"),
            (None, _, Some(first)) => format!("the first good backup ended at {}", time(first.ended)),
        });
    };
    if let Some(to) = wish.to.filter(|to| *to < last.ended) {
        return Err(format!(
            "the backup {} ended at {}, which is after {}",
            last.run,
            time(last.ended),
            time(to)
        ));
    }
    if last.sort == Sort::Full {
        return Ok(Base {
            full: last.clone(),
            incremental: None,
        });
    }
    let full = catalog
        .databases
        .iter()
        .find(|full| Some(&full.run) == last.base.as_ref());
    match full {
        Some(full) => Ok(Base {
            full: full.clone(),
            incremental: Some(last.clone()),
        }),
        None => Err(format!("what the backup {} is based on is gone", last.run)),
    }
}

/// The copies of logs whose indexes must be read to go on from there.
///
/// # Errors
/// None of them reaches the wanted second.
pub fn logs<'a>(catalog: &'a Catalog, base: &Base, wish: &Wish) -> Result<Vec<&'a Logs>, String> {
    if wish.to.is_none() && !wish.everything {
        return Ok(Vec::new());
    }
    let start = base.last();
    let fits = |logs: &&Logs| logs.timeline == start.timeline && logs.until >= start.began;
    let all: Vec<&Logs> = catalog.logs.iter().filter(fits).collect();
    let reaches = |logs: &Logs| wish.to.is_none_or(|to| logs.until >= to);
    if let (Some(to), false) = (wish.to, all.iter().any(|logs| reaches(logs))) {
        let last = all.iter().map(|logs| logs.until).max().unwrap_or(start.ended);
        // Right at the backup's end nothing has to be applied.
        if to == start.ended {
            return Ok(Vec::new());
        }
        return Err(format!(
            "binary logs are there until {}, and {} was asked for",
            time(last),
            time(to)
        ));
    }
    let mut hosts: Vec<&str> = all.iter().map(|logs| logs.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let mut wanted: Vec<&Logs> = Vec::new();
    for host in hosts {
        let own: Vec<&Logs> = all.iter().copied().filter(|logs| logs.host == host).collect();
        // The first that reaches the moment has what the host had then; those before it only what it had no more.
        let end = own
            .iter()
            .position(|logs| wish.to.is_some() && reaches(logs))
            .unwrap_or(own.len().saturating_sub(1));
        for logs in own.iter().take(end + 1).rev() {
            wanted.push(logs);
            if logs.from.within(&start.gtid) {
                break;
            }
        }
    }
    wanted.sort_by_key(|logs| logs.until);
    Ok(wanted)
}

/// The logs of an index, as a host says them.
pub fn index(snapshot: &str, text: &str) -> Vec<Log> {
    let log = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        plain.then_some(Log {
            snapshot: snapshot.to_owned(),
            name: name.to_owned(),
            from: Position::read(words.next()?)?,
            to: Position::read(words.next()?)?,
        })
    };
    text.lines().filter_map(log).collect()
}

/// The logs in the order in which they are applied, from the end of the copy to the end of what the `wanted` reach.
///
/// # Errors
/// A gap, or two histories.
pub fn order(base: &Base, wanted: &[&Logs], mut all: Vec<Log>) -> Result<Vec<Log>, String> {
    let mut at = base.last().gtid.clone();
    let mut end = at.clone();
    for logs in wanted {
        end.reach(&logs.gtid);
    }
    let mut ordered: Vec<Log> = Vec::new();
    loop {
        // One after the other of the same snapshot where that goes on: they are read at once.
        let goes_on = |log: &Log| log.from.within(&at) && !log.to.within(&at);
        let snapshot = ordered.last().map(|log| log.snapshot.clone());
        let same = |log: &Log| Some(&log.snapshot) == snapshot.as_ref();
        let next = all.iter().position(|log| goes_on(log) && same(log));
        let Some(index) = next.or_else(|| all.iter().position(goes_on)) else {
            break;
        };
        let log = all.remove(index);
        if log.from.contradicts(&at) {
            return Err(format!(
                "two histories: the log {} goes on from {}, and the data are at {at}",
                log.name, log.from
            ));
        }
        at.reach(&log.to);
        ordered.push(log);
    }
    if end.within(&at) {
        return Ok(ordered);
    }
    let beyond = all
        .iter()
        .filter(|log| !log.to.within(&at))
        .min_by_key(|log| log.from.highest());
    Err(match beyond {
        Some(log) => format!("binary logs are missing: there is none from {at} to {}", log.from),
        None => format!("binary logs are missing: there is none from {at} to {end}"),
    })
}

impl Chosen {
    /// What the host's script reads.
    pub fn lines(&self) -> String {
        let Base { full, incremental } = &self.base;
        let last = self.base.last();
        let size = full.size + incremental.as_ref().map_or(0, |copy| copy.size);
        let mut text = format!("full {} {}\n", full.stream, full.sha);
        if let Some(copy) = incremental {
            let _ = writeln!(text, "incremental {} {}", copy.stream, copy.sha);
        }
        let (id, sum) = last.canary;
        let _ = write!(text, "size {size}\ngtid {}\ncanary {id} {sum}\n", last.gtid);
        for log in &self.logs {
            let _ = writeln!(text, "log {} {}", log.snapshot, log.name);
        }
        if let Some(to) = self.to.filter(|_| !self.logs.is_empty()) {
            let _ = writeln!(text, "stop {}", time(to).replace('T', " ").trim_end_matches('Z'));
        }
        text
    }
}

/// `2026-11-22T10:00:05Z`.
pub fn time(seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
