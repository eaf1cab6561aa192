//! What `crashplan` and `rejoin` share: asking everybody, carrying decided steps out, and what follows from who leads.

mod clocks;
pub mod crashplan;
mod drill;
mod names;
mod power;
pub mod rejoin;
mod report;
mod show;

use std::collections::BTreeMap;
use std::time::Instant;

use super::context::Context;
use super::run::Run;
use crate::engine::look::Heard;
use crate::engine::{Approved, Summary, Survey, Surveyed};
use crate::error::{Error, Kind, Result};
use crate::failover::{self, Said};
use crate::inventory::Host;
use crate::plan::{self, Desired, HostPlan, Plan};
use crate::resource::replica;
use crate::resource::replication::Replication;
use crate::topology::{Live, Topology};

/// Roles whose configuration depends on who leads.
const FOLLOWS: [&str; 3] = ["mariadb", "dbcheck", "endpoint"];

/// What all hosts say, and the connections to those that answer.
struct Asked {
    heard: Heard,
    /// When they were asked.
    at: Instant,
    said: BTreeMap<String, Said>,
}

impl Asked {
    async fn all(run: &Run) -> Asked {
        let at = Instant::now();
        let topology = Topology::of(&run.engine.inventory);
        let questions = |host: &Host| failover::questions(topology, host);
        let heard = run.engine.hear(&questions).await;
        run.settle().await;
        let said = heard.hosts.iter().map(|host| (host.name.clone(), Said::of(&host.seen)));
        let said = said.collect();
        Asked { heard, at, said }
    }

    fn said(&self) -> BTreeMap<&str, Said> {
        self.said
            .iter()
            .map(|(name, said)| (name.as_str(), said.clone()))
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.heard.hosts.iter().map(|host| host.name.clone()).collect()
    }

    /// Why nothing can be decided now: a host is at work for another run, which may change who leads.
    fn busy(&self) -> Option<Error> {
        let mut failures = self.heard.failures.iter();
        let failure = failures.find(|failure| failure.kind == Kind::Locked)?;
        let error = Error::new(failure.kind, failure.message.clone());
        Some(match &failure.hint {
            Some(hint) => error.hint(hint.clone()),
            None => error,
        })
    }

    /// The steps as a plan for the hosts that answered.
    fn plan(&self, run: &Run, desired: &[Desired]) -> Plan {
        let host = |name: &str| self.heard.hosts.iter().find(|host| host.name == name);
        let hosts = desired
            .iter()
            .filter_map(|desired| Some(plan::build(desired, &host(&desired.host)?.seen)));
        Plan {
            version: env!("CARGO_PKG_VERSION").into(),
            cluster: run.engine.inventory.cluster.clone(),
            fingerprint: run.engine.fingerprint.clone(),
            hosts: hosts.collect(),
        }
    }

    /// Carries a plan out that the user agreed to; hosts that have no part in it are left.
    async fn execute(self, run: &Run, plan: Plan) -> Summary {
        let takes_part = |host: &Surveyed| plan.hosts.iter().any(|plan| plan.host == host.name);
        let (hosts, others): (Vec<_>, Vec<_>) = self.heard.hosts.into_iter().partition(takes_part);
        close(others).await;
        let survey = Survey {
            plan: plan.clone(),
            hosts,
            failures: Vec::new(),
            live: Live::default(),
        };
        let summary = run.engine.execute(survey, Approved::by_user(plan)).await;
        run.settle().await;
        summary
    }

    async fn close(self) {
        close(self.heard.hosts).await;
    }
}

async fn close(hosts: Vec<Surveyed>) {
    futures::future::join_all(hosts.into_iter().map(|host| host.link.close())).await;
}

/// What follows from who leads: the others are pointed there, commits wait for a replica again, applications know it. Of a
/// pair also what serves and works.
async fn finish(context: &Context, run: &Run, names: &[String]) -> Result<Summary> {
    let mut survey = run.survey_alone(names).await?;
    if !Topology::of(&run.engine.inventory).is_pair() {
        for host in &mut survey.plan.hosts {
            host.steps.retain(|step| FOLLOWS.contains(&step.role.as_str()));
        }
    }
    let failed: Vec<_> = survey.failures.iter().map(|failure| failure.host.as_str()).collect();
    let follows = |host: &Surveyed| Replication::seen(&host.seen).is_some_and(|its| !its.sources.is_empty());
    let will = |host: &HostPlan| host.steps.iter().any(|step| step.id == replica::STEP);
    if !survey.hosts.iter().any(follows) && !survey.plan.hosts.iter().any(will) {
        // Nobody is left that could acknowledge: there is nothing to wait for, and the report says so.
        for host in &mut survey.plan.hosts {
            host.steps.retain(|step| step.id != replica::SEMI_SYNC);
        }
    }
    if !failed.is_empty() {
        context.warn(&format!("left as they are: {}", failed.join(", ")));
    }
    let plan = survey.plan.clone();
    let summary = run.engine.execute(survey, Approved::by_user(plan)).await;
    run.settle().await;
    Ok(summary)
}

/// One summary of several parts.
fn join(summary: &mut Summary, rest: Summary) {
    if summary.exit_code == 0 {
        summary.exit_code = rest.exit_code;
    }
    summary.changed += rest.changed;
    summary.unchanged += rest.unchanged;
    summary.failed += rest.failed;
    summary.skipped += rest.skipped;
    for host in rest.hosts {
        match summary.hosts.iter_mut().find(|known| known.host == host.host) {
            None => summary.hosts.push(host),
            Some(known) => {
                known.changed += host.changed;
                known.unchanged += host.unchanged;
                known.failed += host.failed;
                known.skipped += host.skipped;
                known.round_trips += host.round_trips;
                if host.outcome != "ok" {
                    known.outcome = host.outcome;
                }
            }
        }
    }
}
