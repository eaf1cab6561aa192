//! What everybody says → what is to be done about it. No I/O, no clock.

use std::net::IpAddr;

use super::{Answer, Change, Look, Record, RecordKind, Said};
use crate::inventory::{self, dns::Place};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The host that the names are to lead to.
    pub to: String,
    /// The only host that they may lead to now; `None`: any host of the inventory.
    pub from: Option<String>,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is as wanted.
    Right,
    /// It is what may be replaced.
    Swap(Change),
}

/// All records, each with its decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The host that the names lead to afterwards.
    pub to: String,
    /// What becomes of each record.
    pub records: Vec<(Look, Decision)>,
}

impl Plan {
    /// What is to be written.
    pub fn changes(&self) -> Vec<Change> {
        let change = |(_, decision): &(Look, Decision)| match decision {
            Decision::Right => None,
            Decision::Swap(change) => Some(change.clone()),
        };
        self.records.iter().filter_map(change).collect()
    }
}

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The names cannot lead to that host.
    NoPlace(String),
    /// Whoever takes changes does not answer: what the old value is, nobody knows.
    Silent {
        /// The record.
        record: Record,
        /// Who.
        server: String,
        /// Why.
        why: String,
    },
    /// The record is something else than what may be replaced.
    Wrong {
        /// The record.
        record: Record,
        /// Who says so.
        server: String,
        /// What it is, as the end of a sentence: `leads to 10.0.0.9, ...`.
        found: String,
    },
}

/// The records of all names, of the families that hosts have.
pub fn records(dns: &inventory::Dns) -> Vec<Record> {
    let mut kinds: Vec<RecordKind> = dns
        .places
        .iter()
        .flat_map(|place| &place.addresses)
        .copied()
        .map(RecordKind::of)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_name = |name: &String| {
        let name = name.clone();
        kinds.clone().into_iter().map(move |kind| Record {
            name: name.clone(),
            kind,
        })
    };
    dns.names.iter().flat_map(of_name).collect()
}

/// The address of a place for a kind of record.
fn address(place: &Place, kind: RecordKind) -> Option<IpAddr> {
    place
        .addresses
        .iter()
        .copied()
        .find(|address| RecordKind::of(*address) == kind)
}

/// Hosts that an address stands for.
pub fn hosts_of(places: &[Place], address: IpAddr) -> Vec<&str> {
    let has = |place: &&Place| place.addresses.contains(&address);
    places.iter().filter(has).map(|place| place.host.as_str()).collect()
}

/// Decides about all records; one that must not be written stops them all.
///
/// # Errors
/// Why nothing is written.
pub fn plan(dns: &inventory::Dns, looks: &[Look], wish: &Wish) -> Result<Plan, Refusal> {
    let place = |host: &str| dns.places.iter().find(|place| place.host == host);
    let to = place(&wish.to).ok_or_else(|| Refusal::NoPlace(wish.to.clone()))?;
    if let Some(from) = &wish.from {
        place(from).ok_or_else(|| Refusal::NoPlace(from.clone()))?;
    }
    let mut records = Vec::new();
    for look in looks {
        // All places have addresses of the same families, so this finds one.
        let wanted = address(to, look.record.kind).ok_or_else(|| Refusal::NoPlace(wish.to.clone()))?;
        records.push((look.clone(), decide(dns, look, wanted, wish)?));
    }
    Ok(Plan {
        to: wish.to.clone(),
        records,
    })
}

fn decide(dns: &inventory::Dns, look: &Look, wanted: IpAddr, wish: &Wish) -> Result<Decision, Refusal> {
    let wrong = |server: &str, found: String| Refusal::Wrong {
        record: look.record.clone(),
        server: server.to_owned(),
        found,
    };
    let silent = |server: &str, why: &str| Refusal::Silent {
        record: look.record.clone(),
        server: server.to_owned(),
        why: why.to_owned(),
    };
    let Some(Said { server, answer }) = look.said.first() else {
        return Err(silent("nobody", "there is nobody to ask"));
    };
    let answer = answer.as_ref().map_err(|why| silent(server, why))?;
    let old = single(answer).map_err(|found| wrong(server, found))?;
    if old != wanted {
        let hosts = hosts_of(&dns.places, old);
        let may = match &wish.from {
            Some(from) => hosts.contains(&from.as_str()),
            None => !hosts.is_empty(),
        };
        if !may {
            return Err(wrong(server, foreign(old, &hosts, wish)));
        }
    }
    // Others may still say the old one, or know the new one already; anything else is a change that hactl knows nothing of.
    for said in look.said.iter().skip(1) {
        let Ok(answer) = &said.answer else { continue };
        let fine = single(answer).is_ok_and(|value| value == old || value == wanted || knows(dns, wish, value));
        if !fine {
            let found = format!("leads to {answer} there, while {server} says {old}");
            return Err(wrong(&said.server, found));
        }
    }
    Ok(match answer.is(wanted, dns.ttl) {
        true => Decision::Right,
        false => Decision::Swap(Change {
            record: look.record.clone(),
            expected: old,
            expected_ttl: answer.ttl,
            wanted,
            ttl: dns.ttl,
        }),
    })
}

/// Whether a server that lags behind may say this.
fn knows(dns: &inventory::Dns, wish: &Wish, value: IpAddr) -> bool {
    let hosts = hosts_of(&dns.places, value);
    match &wish.from {
        Some(from) => hosts.contains(&from.as_str()),
        None => !hosts.is_empty(),
    }
}

/// The one address that a record holds, or what it is instead.
fn single(answer: &Answer) -> Result<IpAddr, String> {
    if let Some(odd) = &answer.odd {
        return Err(odd.clone());
    }
    let mut values = answer.values.iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(*value),
        (None, _) => Err("does not exist".to_owned()),
        (Some(_), Some(_)) => Err(format!("leads to {answer}, which is more than one address")),
    }
}

fn foreign(old: IpAddr, hosts: &[&str], wish: &Wish) -> String {
    match (&wish.from, hosts) {
        (_, []) => format!("leads to {old}, which is no host of the inventory"),
        (Some(from), hosts) => format!("leads to {old}, which is {}, not {from}", hosts.join(" or ")),
        (None, hosts) => format!("leads to {old}, which is {}", hosts.join(" or ")),
    }
}
