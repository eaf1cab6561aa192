//! One file per component: topology → resources, in order.
//!
//! A role is a function that declares resources on a [`Scope`]. Nothing here does I/O.

pub mod app;
mod base;
mod builtin;
mod frappe;
pub mod health;
mod mariadb;
pub mod nginx;
pub mod passwords;
mod redis;
mod scope;
mod supervisor;
pub mod templates;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod wsgi;

pub use scope::Scope;
pub use templates::Templates;

pub use crate::secret::SecretStore;

use crate::error::Result;
use crate::plan::Desired;
use crate::resource::{Facts, Spec};
use crate::topology::HostView;

/// A component that hosts can have.
pub struct Role {
    /// Its name in plans, events and `--step`.
    pub name: &'static str,
    /// Whether a host has it.
    pub applies: fn(&HostView) -> bool,
    /// What it declares there.
    pub declare: fn(&mut Scope) -> Result<()>,
}

/// All roles, in the order they converge.
pub const ROLES: &[Role] = &[
    base::ROLE,
    mariadb::ROLE,
    redis::ROLE,
    supervisor::ROLE,
    wsgi::ROLE,
    nginx::ROLE,
    // After nginx: its realtime server trusts the certificate that nginx's role makes.
    frappe::ROLE,
    passwords::ROLE,
];

/// Everything a host should have.
///
/// Packages come first, whoever wants them: one transaction of the package manager is several times faster than one per
/// role.
///
/// # Errors
/// A template that does not render, a secret that is missing.
pub fn desired(view: HostView, facts: &Facts, templates: &Templates, secrets: &dyn SecretStore) -> Result<Desired> {
    let mut resources = Vec::new();
    for role in ROLES.iter().filter(|role| (role.applies)(&view)) {
        let mut scope = Scope::new(role.name, view, facts, templates, secrets);
        (role.declare)(&mut scope)?;
        resources.extend(scope.into_resources());
    }
    let (packages, others): (Vec<_>, Vec<_>) = resources
        .into_iter()
        .partition(|resource| matches!(resource.spec, Spec::Package(_)));
    let mut ordered: Vec<crate::resource::Resource> = Vec::with_capacity(packages.len() + others.len());
    let mut seen = std::collections::BTreeSet::new();
    for resource in packages.into_iter().chain(others) {
        // Two roles may want the same package or folder; the first declaration counts.
        if seen.insert(resource.spec.kind().id()) {
            ordered.push(resource);
        }
    }
    Ok(Desired {
        host: view.host.name.clone(),
        resources: ordered,
    })
}
