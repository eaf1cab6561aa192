//! Who takes over: whoever received most, so that nothing that was acknowledged is lost.

use std::collections::BTreeMap;

use super::survey::Said;
use crate::inventory::{Host, HostRole};
use crate::resource::gtid::GtidState;
use crate::resource::replication::Replication;
use crate::role::mariadb::server_id;
use crate::topology::Topology;

/// Seconds that a candidate may be behind: to apply more than that takes longer than a person wants to wait without writes.
pub const LAG: u64 = 600;

/// A database that might take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// The host.
    pub host: String,
    /// The highest transaction that it has, received or applied.
    pub received: GtidState,
    /// As it writes it.
    pub position: String,
    /// What it has applied: that is in its log.
    pub applied: GtidState,
    /// Up to where another could get it from this one; empty: nothing.
    pub gives: GtidState,
    /// Seconds behind, as it says.
    pub lag: Option<u64>,
    /// Why it may not.
    pub excluded: Option<String>,
}

/// Every database but the primary's, best first; those that may not take over are last.
pub fn contenders(topology: Topology, primary: &str, said: &BTreeMap<&str, Said>) -> Vec<Contender> {
    let mut all: Vec<Contender> = topology
        .with_role(HostRole::Db)
        .filter(|host| host.name != primary)
        .map(|host| contender(topology, primary, host, said))
        .collect();
    // A stable sort: among equals the inventory's order decides.
    all.sort_by(|a, b| {
        let may = a.excluded.is_some().cmp(&b.excluded.is_some());
        // What `a` lacks of `b` against what `b` lacks of `a`: the one that lacks less comes first.
        may.then_with(|| a.received.missing(&b.received).cmp(&b.received.missing(&a.received)))
            .then_with(|| a.lag.unwrap_or(u64::MAX).cmp(&b.lag.unwrap_or(u64::MAX)))
    });
    all
}

fn contender(topology: Topology, primary: &str, host: &Host, said: &BTreeMap<&str, Said>) -> Contender {
    let mut contender = Contender {
        host: host.name.clone(),
        received: GtidState::default(),
        position: String::new(),
        applied: GtidState::default(),
        gives: GtidState::default(),
        lag: None,
        excluded: None,
    };
    let Some(its) = said.get(host.name.as_str()) else {
        contender.excluded = Some("does not answer".into());
        return contender;
    };
    let Some(replication) = its.replication.as_ref().filter(|said| said.error.is_none()) else {
        contender.excluded = Some("its MariaDB does not answer".into());
        return contender;
    };
    let link = replication.sources.first();
    contender.received = received(replication);
    contender.position = contender.received.to_string();
    contender.applied = applied(replication);
    contender.lag = link.and_then(|link| link.lag);
    // One whose link was taken away by a plan that was cut off, to get what another has, is what it was before.
    let was_fed = its.fed.as_ref().filter(|fed| fed.old == primary);
    let was_fed = was_fed.is_some_and(|fed| link.is_none() || its.follows(topology, &fed.from));
    let errant = errant(host, replication, said);
    let others = said.values().filter_map(|said| said.replication.as_ref());
    let given_up: Vec<_> = others.flat_map(|said| &said.given_up).copied().collect();
    let lost = replication.lost(&given_up);
    contender.excluded = if replication.fenced.is_some() {
        Some("is fenced: hactl rejoin brings it back".into())
    } else if replication.no_data || replication.is_virgin() {
        Some("has no data".into())
    } else if link.is_none() && !was_fed {
        Some("follows nobody, so what it has is not what the primary had".into())
    } else if !its.follows(topology, primary) && !was_fed {
        Some("follows another server".into())
    } else if replication.keeps_no_log {
        Some("keeps no binary log, so nobody could follow it".into())
    } else if !errant.is_empty() {
        Some(format!("has transactions that no other has ({})", errant.join(", ")))
    } else if !lost.is_empty() {
        Some(format!(
            "has what a restore from a backup gave up ({})",
            lost.join(", ")
        ))
    } else if let Some(link) = link.filter(|link| link.cannot_apply) {
        Some(format!("cannot apply what it received: {}", link.error))
    } else if let Some(link) = link.filter(|link| link.cannot_receive) {
        Some(format!("could not receive what came after: {}", link.error))
    } else {
        let behind = contender.lag.filter(|lag| *lag > LAG);
        behind.map(|lag| format!("is {lag} s behind"))
    };
    let excluded = contender.excluded.is_some();
    // Who gives does it out of its log, and all of that must belong to the history.
    let has_log = !replication.keeps_no_log && errant.is_empty() && lost.is_empty();
    if its.follows(topology, primary) && replication.fenced.is_none() && has_log {
        // What was received can be applied while one of the threads runs: one that stands still would lose it.
        let works = link.is_some_and(|link| link.applies == "Yes" || link.receives != "No");
        contender.gives = match works && !excluded {
            true => contender.received.clone(),
            false => contender.applied.clone(),
        };
    }
    contender
}

/// The highest transactions that a server has applied.
fn applied(said: &Replication) -> GtidState {
    let mut all = GtidState::read(&said.applied);
    all.join(&said.logged);
    all.position()
}

/// The highest transactions that a server has, applied or not.
pub fn received(said: &Replication) -> GtidState {
    let mut all = GtidState::read(&said.applied);
    for link in &said.sources {
        all.join(&GtidState::read(&link.received));
    }
    all.join(&said.logged);
    all.position()
}

/// What a server wrote by itself and no other one has, as far as the others answer.
fn errant(host: &Host, its: &Replication, said: &BTreeMap<&str, Said>) -> Vec<String> {
    let mut known = GtidState::default();
    let mut copied = GtidState::default();
    let others = said.iter().filter(|(name, _)| **name != host.name);
    let others = others.filter_map(|(_, other)| other.replication.as_ref().filter(|said| said.error.is_none()));
    let mut any = false;
    for other in others {
        any = true;
        known.join(&other.logged);
        known.join(&GtidState::read(&other.applied));
        copied.join(&other.seeded);
    }
    match any {
        true => its.logged.of_server(server_id(host.address)).errant(&known, &copied),
        false => Vec::new(),
    }
}
