//! `--step`

use crate::engine::Survey;
use crate::error::{Error, Result};
use crate::role::ROLES;

/// Which steps.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StepArg {
    /// Only steps of this role, or whose resource has this in its name; several are separated by commas
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    step: Vec<String>,
}

impl StepArg {
    /// As given.
    pub fn wanted(&self) -> &[String] {
        &self.step
    }

    /// Takes everything else out of the survey's plan.
    ///
    /// # Errors
    /// A step that no host has, changed or not.
    pub fn narrow(&self, survey: &mut Survey) -> Result<()> {
        for wanted in &self.step {
            let has = |resource: &crate::resource::Resource| {
                resource.role == wanted || resource.spec.kind().id().contains(wanted.as_str())
            };
            let known = survey.hosts.iter().any(|host| host.desired.resources.iter().any(has));
            // When no host answered nothing can be said about steps.
            if !known && !survey.hosts.is_empty() {
                let roles: Vec<_> = ROLES.iter().map(|role| role.name).collect();
                let shown = crate::quote::terminal(wanted);
                return Err(
                    Error::usage(format!("--step {shown}: no host has such a role or resource"))
                        .hint(format!("roles are: {}; `hactl plan` shows resources", roles.join(", "))),
                );
            }
        }
        narrow(survey, &self.step);
        Ok(())
    }
}

/// Keeps the wanted steps; empty means all. What is left out counts neither as changed nor as unchanged.
pub fn narrow(survey: &mut Survey, wanted: &[String]) {
    let before: Vec<usize> = survey.plan.hosts.iter().map(|host| host.changes()).collect();
    let plan = std::mem::replace(&mut survey.plan, empty());
    survey.plan = plan.limited(&[], wanted);
    for (host, before) in survey.plan.hosts.iter_mut().zip(before) {
        host.resources = host.resources.saturating_sub(before.saturating_sub(host.changes()));
    }
}

fn empty() -> crate::plan::Plan {
    crate::plan::Plan {
        version: String::new(),
        cluster: String::new(),
        fingerprint: String::new(),
        hosts: Vec::new(),
    }
}
