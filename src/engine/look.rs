//! Asking hosts something when some of them may be dead: whoever answers in time is heard, and nothing is judged.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::survey::{HostFailure, Surveyed, millis};
use super::{Engine, Event};
use crate::inventory::Host;
use crate::plan::Desired;
use crate::resource::{Ask, clock};

/// How long a connection to each host is waited for, once half of them have answered.
const SHORT: Duration = Duration::from_millis(2700);
/// How long as long as they have not, and for the answer of one that is connected.
const LONG: Duration = Duration::from_secs(10);

const TICK: Duration = Duration::from_millis(200);

/// What came back.
pub struct Heard {
    /// Hosts that answered, with their connections.
    pub hosts: Vec<Surveyed>,
    /// Those that did not, and why.
    pub failures: Vec<HostFailure>,
}

/// Hosts that have not answered yet, and are not given up as quickly as one that nothing comes back from.
#[derive(Default)]
struct Underway {
    /// They are connected.
    connected: BTreeSet<String>,
    /// They still do something of a run that was cut off.
    settling: BTreeSet<String>,
}

impl Engine {
    /// Asks all hosts side by side.
    pub async fn hear(&self, questions: &(dyn Fn(&Host) -> Ask + Sync)) -> Heard {
        let started = Instant::now();
        let all: Vec<&Host> = self.inventory.hosts.values().collect();
        let mut open: BTreeSet<&str> = all.iter().map(|host| host.name.as_str()).collect();
        let underway = Mutex::new(Underway::default());
        let answers = all.iter().map(|host| self.hear_one(host, questions(host), &underway));
        let mut answers: FuturesUnordered<_> = answers.collect();
        let mut heard = Heard {
            hosts: Vec::new(),
            failures: Vec::new(),
        };
        loop {
            let (on_its_way, settles) = {
                let underway = underway.lock().unwrap_or_else(PoisonError::into_inner);
                let any = |names: &BTreeSet<String>| open.iter().any(|name| names.contains(*name));
                (any(&underway.connected), any(&underway.settling))
            };
            let enough = 2 * heard.hosts.len() >= all.len() && !on_its_way;
            let limit = match (settles, enough) {
                // The host ends that by itself.
                (true, _) => Duration::MAX,
                (false, true) => SHORT,
                (false, false) => LONG,
            };
            // Whether another one is connected by now is looked at again and again.
            let left = limit.saturating_sub(started.elapsed());
            match tokio::time::timeout(left.min(TICK), answers.next()).await {
                Ok(Some(Ok(host))) => {
                    open.remove(host.name.as_str());
                    self.heard(&host.name, true, started);
                    heard.hosts.push(host);
                }
                Ok(Some(Err(failure))) => {
                    open.remove(failure.host.as_str());
                    self.heard(&failure.host, false, started);
                    heard.failures.push(failure);
                }
                Ok(None) => break,
                Err(_) if started.elapsed() < limit => {}
                Err(_) => break,
            }
        }
        drop(answers);
        for name in &open {
            self.heard(name, false, started);
            heard.failures.push(HostFailure::silent(name, started.elapsed()));
        }
        // In the inventory's order, whoever was first.
        let place = |name: &str| self.inventory.hosts.get_index_of(name);
        heard.hosts.sort_by_key(|host| place(&host.name));
        heard.failures.sort_by_key(|failure| place(&failure.host));
        heard
    }

    fn heard(&self, host: &str, answered: bool, started: Instant) {
        self.events.send(Event::HostHeard {
            host: host.to_owned(),
            answered,
            ms: millis(started),
        });
    }

    async fn hear_one(&self, host: &Host, ask: Ask, underway: &Mutex<Underway>) -> Result<Surveyed, HostFailure> {
        let started = Instant::now();
        let failed = |error| HostFailure::transport(&host.name, &error);
        let mut link = self.links.link(host).await.map_err(failed)?;
        let underway = || underway.lock().unwrap_or_else(PoisonError::into_inner);
        underway().connected.insert(host.name.clone());
        self.events.send(Event::HostConnected {
            host: host.name.clone(),
            backend: link.backend().into(),
            ms: millis(started),
        });
        let mut seen = link.ask(&ask).await.map_err(failed)?;
        if self.settles && seen.facts.busy {
            // What it said is about to change: a plan that was cut off may be opening it just now.
            underway().settling.insert(host.name.clone());
            let settled = self.settle(host, link.as_mut()).await;
            underway().settling.remove(&host.name);
            settled?;
            seen = link.ask(&ask).await.map_err(failed)?;
        }
        Ok(Surveyed {
            name: host.name.clone(),
            seen,
            desired: Desired {
                host: host.name.clone(),
                resources: Vec::new(),
            },
            clock: clock::Skew::default(),
            secrets: Vec::new(),
            link,
        })
    }
}
