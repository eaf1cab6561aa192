//! Making the plan of one host.

use super::{HostPlan, PlannedChange, Step};
use crate::resource::{Ask, Batch, Change, Observed, Resource, Script, Spec, converge_batch};

/// What one host should have, in order.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The host's name.
    pub host: String,
    /// Its resources in the order they converge.
    pub resources: Vec<Resource>,
}

/// Everything to ask the host.
pub fn questions(desired: &Desired) -> Ask {
    let mut ask = Ask::default();
    for resource in &desired.resources {
        resource.spec.kind().ask(&mut ask);
    }
    ask
}

/// Files whose present content is needed to show a diff; empty when nothing that may be shown differs.
pub fn wants_contents(desired: &Desired, seen: &Observed) -> Ask {
    let mut ask = Ask::default();
    for resource in &desired.resources {
        if let Spec::File(file) = &resource.spec
            && file.wants_content(seen)
        {
            ask.contents.insert(file.path.clone());
        }
    }
    ask
}

/// The plan for a host that was seen like this.
pub fn build(desired: &Desired, seen: &Observed) -> HostPlan {
    let mut projected = seen.clone();
    let mut steps: Vec<Step> = Vec::new();
    let mut open = Open::default();
    let mut ordered: Vec<_> = desired.resources.iter().collect();
    ordered.sort_by_key(|resource| resource.stage);
    for resource in ordered {
        let kind = resource.spec.kind();
        let Some(change) = kind.compare(&projected) else {
            continue;
        };
        let batch = kind.batch();
        if !open.takes(resource, &batch) {
            steps.extend(open.close());
        }
        let script = kind.converge(&change, &projected);
        kind.project(&mut projected);
        open.add(resource, batch, change, script);
    }
    steps.extend(open.close());
    HostPlan {
        host: desired.host.clone(),
        resources: desired.resources.len(),
        steps,
        after: Vec::new(),
    }
}

/// The step that is being collected.
#[derive(Default)]
struct Open<'a> {
    batch: Option<Batch>,
    members: Vec<(&'a Resource, Change)>,
    script: Script,
}

impl<'a> Open<'a> {
    fn takes(&self, resource: &Resource, batch: &Option<Batch>) -> bool {
        batch.is_some()
            && *batch == self.batch
            && self
                .members
                .first()
                .is_some_and(|(first, _)| first.stage == resource.stage)
    }

    fn add(&mut self, resource: &'a Resource, batch: Option<Batch>, change: Change, script: Script) {
        self.batch = batch;
        self.members.push((resource, change));
        self.script = script;
    }

    fn close(&mut self) -> Option<Step> {
        let Open { batch, members, script } = std::mem::take(self);
        let (first, _) = members.first()?;
        let parts: Vec<_> = members
            .iter()
            .map(|(resource, change)| (&resource.spec, change))
            .collect();
        let script = match &batch {
            Some(batch) if parts.len() > 1 => converge_batch(batch, &parts),
            _ => script,
        };
        let deadline = members
            .iter()
            .map(|(resource, _)| resource.spec.kind().deadline())
            .max()
            .unwrap_or_default();
        Some(Step {
            id: first.spec.kind().id(),
            role: first.role.to_owned(),
            stage: first.stage,
            deadline: deadline.as_secs().max(1),
            resources: members.iter().map(|(resource, _)| (*resource).clone()).collect(),
            changes: members
                .iter()
                .map(|(resource, change)| PlannedChange {
                    resource: resource.spec.kind().id(),
                    change: change.clone(),
                })
                .collect(),
            script,
        })
    }
}
