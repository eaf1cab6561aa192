//! What a repository holds, by what hosts say of it: a line for each snapshot, its id and its tags.

use std::collections::BTreeMap;

use super::Position;

/// Whether a copy of the database stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Everything.
    Full,
    /// What changed since a full one.
    Incremental,
}

impl Sort {
    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Sort::Full => "full",
            Sort::Incremental => "incremental",
        }
    }
}

/// A good copy of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub run: String,
    /// What it holds.
    pub sort: Sort,
    /// What it is based on.
    pub base: Option<String>,
    /// Who took it.
    pub host: String,
    /// The snapshot that has the stream.
    pub stream: String,
    /// Of the stream as it was taken.
    pub sha: String,
    /// Bytes of the stream.
    pub size: u64,
    /// Where it ends.
    pub gtid: Position,
    /// The last row that was written to prove it, and what all up to it add up to.
    pub canary: (u64, u64),
    /// Seconds.
    pub began: i64,
    /// Seconds.
    pub ended: i64,
    /// Which history the data are of.
    pub timeline: String,
}

/// A good copy of binary logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// Its snapshot.
    pub id: String,
    /// Whose they are.
    pub host: String,
    /// What was before the first.
    pub from: Position,
    /// Where the last ends.
    pub gtid: Position,
    /// What was committed until this second is in them.
    pub until: i64,
    /// Which history they are of.
    pub timeline: String,
}

/// A good copy of the sites' files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Its snapshot.
    pub id: String,
    /// Where they were.
    pub host: String,
    /// Seconds.
    pub began: i64,
}

/// All that is good in a repository, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Of the database; what is based on one that is gone is not among them.
    pub databases: Vec<Database>,
    /// Of binary logs.
    pub logs: Vec<Logs>,
    /// Of files.
    pub files: Vec<Files>,
    /// Streams that nobody called good: cut off, or being taken.
    pub unfinished: usize,
}

impl Catalog {
    /// From what a host said. A line that cannot be read is no good copy.
    pub fn read(text: &str) -> Catalog {
        let mut catalog = Catalog::default();
        let mut streams = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(id) = words.next().filter(|id| is_hex(id)) else {
                continue;
            };
            let words: Vec<&str> = words.collect();
            let tags: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
            let has = |word: &str| words.contains(&word);
            if has("stream") {
                streams.push(tags.get("run").copied().unwrap_or_default().to_owned());
            }
            if !has("good") {
                continue;
            }
            match tags.get("type").copied() {
                Some("db") => catalog.databases.extend(database(&tags)),
                Some("binlog") => catalog.logs.extend(logs(id, &tags)),
                Some("files") => catalog.files.extend(files(id, &tags)),
                _ => {}
            }
        }
        catalog.unfinished = streams
            .iter()
            .filter(|run| !catalog.databases.iter().any(|copy| copy.run == **run))
            .count();
        catalog.databases.sort_by_key(|copy| copy.ended);
        catalog.logs.sort_by_key(|copy| copy.until);
        catalog.files.sort_by_key(|copy| copy.began);
        let all = catalog.databases.clone();
        catalog.databases.retain(|copy| match (copy.sort, &copy.base) {
            (Sort::Full, _) => true,
            (Sort::Incremental, base) => all
                .iter()
                .any(|full| full.sort == Sort::Full && Some(&full.run) == base.as_ref()),
        });
        catalog
    }

    /// Until when a second can be gone back to, and from when, in the history of the newest copy.
    pub fn window(&self) -> Option<(i64, i64)> {
        let newest = self.databases.last()?;
        let of = |timeline: &str| timeline == newest.timeline;
        let first = self.databases.iter().find(|copy| of(&copy.timeline))?;
        let last = self.logs.iter().rfind(|logs| of(&logs.timeline))?;
        (last.until > first.ended).then_some((first.ended, last.until))
    }
}

fn is_hex(text: &str) -> bool {
    (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Names that go back into a host's shell have nothing that it could mistake.
fn word(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (!text.is_empty() && text.len() <= 200 && text.chars().all(plain)).then(|| text.to_owned())
}

fn hex(text: &str) -> Option<String> {
    is_hex(text).then(|| text.to_owned())
}

fn database(tags: &BTreeMap<&str, &str>) -> Option<Database> {
    let number = |key: &str| tags.get(key)?.parse::<u64>().ok();
    let seconds = |key: &str| tags.get(key)?.parse::<i64>().ok();
    let text = |key: &str| word(tags.get(key)?);
    Some(Database {
        run: text("run")?,
        sort: match tags.get("kind").copied()? {
            "full" => Sort::Full,
            "incremental" => Sort::Incremental,
            _ => return None,
        },
        base: text("base"),
        host: text("host")?,
        stream: hex(tags.get("stream")?)?,
        sha: hex(tags.get("sha")?)?,
        size: number("size")?,
        gtid: Position::read(tags.get("gtid")?)?,
        canary: (number("canary")?, number("canarysum")?),
        began: seconds("began")?,
        ended: seconds("ended")?,
        timeline: text("timeline")?,
    })
}

fn logs(id: &str, tags: &BTreeMap<&str, &str>) -> Option<Logs> {
    Some(Logs {
        id: id.to_owned(),
        host: word(tags.get("host")?)?,
        from: Position::read(tags.get("from")?)?,
        gtid: Position::read(tags.get("gtid")?)?,
        until: tags.get("until")?.parse().ok()?,
        timeline: word(tags.get("timeline")?)?,
    })
}

fn files(id: &str, tags: &BTreeMap<&str, &str>) -> Option<Files> {
    Some(Files {
        id: id.to_owned(),
        host: word(tags.get("host")?)?,
        began: tags.get("began")?.parse().ok()?,
    })
}
