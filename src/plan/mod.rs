//! Desired × observed → an ordered, diffable, serialisable plan.
//!
//! The plan of a host is made by walking its resources in order over a *projected* host: it starts as what was observed
//! and after each change looks as if that change had been made. So a service is reloaded because a file before it
//! changes, and a database is planned although the package that brings MariaDB is not there yet.

mod build;

use serde::{Deserialize, Serialize};

pub use build::{Desired, build, questions, wants_contents};

use crate::resource::{Change, Resource, Script};

/// What a run would do, on all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// Version of hactl that made it; another one refuses to execute it.
    pub version: String,
    /// The inventory's cluster.
    pub cluster: String,
    /// Ties it to the inventory, its secrets and its template overrides.
    pub fingerprint: String,
    /// Per host, in inventory order.
    pub hosts: Vec<HostPlan>,
}

/// What a run would do on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostPlan {
    /// The host's name.
    pub host: String,
    /// How many resources it has in all.
    pub resources: usize,
    /// What is to be done, in order.
    pub steps: Vec<Step>,
    /// Hosts that serve together with this one and change before it: where it would be felt, this one waits for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// One step: the smallest thing that is executed, journalled and reported.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Step {
    /// Unique in its host plan: the id of its first resource.
    pub id: String,
    /// The role that wants it.
    pub role: String,
    /// Barrier level; see [`crate::resource::Resource::stage`].
    pub stage: u8,
    /// What changes.
    pub changes: Vec<PlannedChange>,
    /// Seconds it may take.
    pub deadline: u64,
    /// What runs; not part of a saved plan, since it may hold secrets.
    #[serde(skip)]
    #[schemars(skip)]
    pub script: Script,
    /// What it is about, in order: explains a daemon's complaint, and is what a modelled host takes up in tests.
    #[serde(skip)]
    #[schemars(skip)]
    pub resources: Vec<Resource>,
}

/// A change and the resource it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedChange {
    /// Resource id.
    pub resource: String,
    /// What happens to it.
    #[serde(flatten)]
    pub change: Change,
}

/// Two steps are the same when a reader could not tell them apart: scripts follow from the rest.
impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.role, self.stage, &self.changes, self.deadline)
            == (&other.id, &other.role, other.stage, &other.changes, other.deadline)
    }
}

impl Eq for Step {}

impl Step {
    /// Whether those whom the host serves may feel it; see [`crate::resource::Kind::is_felt`].
    pub fn is_felt(&self) -> bool {
        self.resources
            .iter()
            .zip(&self.changes)
            .any(|(resource, planned)| resource.spec.kind().is_felt(&planned.change))
    }
}

impl Plan {
    /// Whether nothing is to be done anywhere.
    pub fn is_empty(&self) -> bool {
        self.hosts.iter().all(|host| host.steps.is_empty())
    }

    /// Number of changes on all hosts.
    pub fn changes(&self) -> usize {
        self.hosts.iter().map(HostPlan::changes).sum()
    }

    /// Keeps the hosts and steps that were asked for: `hosts` by name, `steps` by role or by a part of a resource id.
    /// Empty means all.
    #[must_use]
    pub fn limited(mut self, hosts: &[String], steps: &[String]) -> Self {
        self.hosts.retain(|host| hosts.is_empty() || hosts.contains(&host.host));
        for host in &mut self.hosts {
            host.after.retain(|other| hosts.is_empty() || hosts.contains(other));
        }
        if !steps.is_empty() {
            for host in &mut self.hosts {
                host.steps.retain(|step| {
                    steps.iter().any(|wanted| {
                        step.role == *wanted
                            || step.changes.iter().any(|change| {
                                change.resource.contains(wanted.as_str())
                                    && !change.resource.starts_with(crate::resource::OLD_PASSWORDS)
                            })
                    })
                });
            }
        }
        self
    }
}

impl HostPlan {
    /// Number of changes.
    pub fn changes(&self) -> usize {
        self.steps.iter().map(|step| step.changes.len()).sum()
    }

    /// Number of resources that are already as wanted.
    pub fn unchanged(&self) -> usize {
        self.resources.saturating_sub(self.changes())
    }
}
