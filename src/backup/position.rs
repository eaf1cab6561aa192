//! How far a server's transactions go: the last GTID of each domain.

use std::collections::BTreeMap;
use std::fmt;

/// The last transaction of each domain: its server and number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position(BTreeMap<u32, (u32, u64)>);

impl Position {
    /// As hosts write it: `0-1-5+1-7-2`, or `none`.
    pub fn read(text: &str) -> Option<Position> {
        let mut all = BTreeMap::new();
        if text == "none" {
            return Some(Position(all));
        }
        for gtid in text.split('+') {
            let mut parts = gtid.split('-');
            let mut number = || parts.next();
            let (domain, server, sequence) = (number()?, number()?, number()?);
            if number().is_some() {
                return None;
            }
            all.insert(domain.parse().ok()?, (server.parse().ok()?, sequence.parse().ok()?));
        }
        Some(Position(all))
    }

    /// Whether nothing here is beyond `other`.
    pub fn within(&self, other: &Position) -> bool {
        let reaches = |(domain, (_, sequence)): (&u32, &(u32, u64))| {
            other.0.get(domain).is_some_and(|(_, reached)| sequence <= reached)
        };
        self.0.iter().all(reaches)
    }

    /// Whether both name the same number of a domain, and different servers: two histories.
    pub fn contradicts(&self, other: &Position) -> bool {
        let same = |(domain, (server, sequence)): (&u32, &(u32, u64))| {
            let there = other.0.get(domain);
            there.is_some_and(|(theirs, number)| number == sequence && theirs != server)
        };
        self.0.iter().any(same)
    }

    /// Takes over what is further.
    pub fn reach(&mut self, other: &Position) {
        for (domain, (server, sequence)) in &other.0 {
            let here = self.0.entry(*domain).or_insert((*server, *sequence));
            if here.1 < *sequence {
                *here = (*server, *sequence);
            }
        }
    }

    /// The highest number of any domain.
    pub fn highest(&self) -> u64 {
        self.0.values().map(|(_, sequence)| *sequence).max().unwrap_or(0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, (domain, (server, sequence))) in self.0.iter().enumerate() {
            let plus = if index > 0 { "+" } else { "" };
            write!(f, "{plus}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}
