//! Who says that the primary is dead. The operator's machine has no vote: it may be the one that is cut off.

use std::collections::BTreeMap;

use super::survey::{Said, Sight};
use crate::topology::Topology;

/// What one voter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The host.
    pub voter: String,
    /// Whether it counts the primary as alive; `None`: it cannot tell, or does not answer.
    pub alive: Option<bool>,
    /// Why, for people.
    pub why: String,
}

/// All votes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Votes(pub Vec<Vote>);

impl Votes {
    /// Every host but the primary's own has one; those that did not answer say nothing.
    pub fn count(topology: Topology, primary: &str, said: &BTreeMap<&str, Said>) -> Votes {
        let voters = topology.hosts().filter(|view| view.host.name != primary);
        let own = said.get(primary).and_then(|said| said.replication.as_ref());
        let closed = own.is_some_and(|own| own.error.is_none() && !own.is_writer());
        let vote = |name: &str| {
            let Some(said) = said.get(name) else {
                return (None, "does not answer".to_owned());
            };
            // A replica that still gets heartbeats knows better than a connection that does not come about. One that is
            // only closed, as every server is after a start, sends them, too.
            if said.hears && said.follows(topology, primary) {
                return ((!closed).then_some(true), "still gets its heartbeats".to_owned());
            }
            match said.sees.get(primary) {
                Some(Sight::Writes) => (Some(true), Sight::Writes.word().to_owned()),
                // Its server runs, but serves nobody.
                Some(Sight::Answers) => (None, Sight::Answers.word().to_owned()),
                Some(sight) => (Some(false), sight.word().to_owned()),
                None => (None, "did not look".to_owned()),
            }
        };
        Votes(
            voters
                .map(|view| {
                    let (alive, why) = vote(&view.host.name);
                    Vote {
                        voter: view.host.name.clone(),
                        alive,
                        why,
                    }
                })
                .collect(),
        )
    }

    /// Voters that say so.
    pub fn saying(&self, alive: Option<bool>) -> Vec<&str> {
        let votes = self.0.iter().filter(|vote| vote.alive == alive);
        votes.map(|vote| vote.voter.as_str()).collect()
    }

    /// Whether more than half of all that could vote call it dead.
    pub fn majority_dead(&self) -> bool {
        2 * self.saying(Some(false)).len() > self.0.len()
    }
}

impl Said {
    /// Whether it follows that host.
    pub fn follows(&self, topology: Topology, primary: &str) -> bool {
        let address = topology
            .inventory
            .hosts
            .get(primary)
            .map(|host| host.address.to_string());
        let sources = self.replication.iter().flat_map(|said| &said.sources);
        address.is_some_and(|address| sources.into_iter().any(|link| link.host == address))
    }
}
