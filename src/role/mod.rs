//! One file per component: topology → resources, in order.
//!
//! A role is a function that declares resources on a [`Scope`]. Nothing here does I/O.

pub mod adopt;
pub mod app;
pub mod backup;
mod base;
mod builtin;
pub mod certbot;
pub mod dbcheck;
mod drain;
pub mod endpoint;
mod files;
mod frappe;
pub mod gate;
pub mod gluster;
pub mod health;
mod keepalived;
pub mod live;
pub mod mariadb;
mod memcached;
pub mod nginx;
pub mod overrides;
pub mod pair;
pub mod passwords;
pub mod peers;
mod redis;
pub mod replication;
mod scope;
pub mod sentinel;
pub mod site;
mod stage;
mod supervisor;
pub mod templates;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod turns;
mod user;
mod variables;
pub mod wsgi;

pub(crate) use frappe::programs::jobs;
pub use scope::Scope;
pub use templates::Templates;

pub use crate::secret::SecretStore;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use crate::error::Result;
use crate::plan::Desired;
use crate::resource::{Facts, Spec};
use crate::topology::HostView;
use user::Entry;

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
    peers::ROLE,
    mariadb::ROLE,
    dbcheck::ROLE,
    redis::ROLE,
    sentinel::ROLE,
    memcached::ROLE,
    endpoint::ROLE,
    supervisor::ROLE,
    nginx::ROLE,
    // Where nginx answers, addresses may come.
    keepalived::ROLE,
    // The application after nginx: its update closes the sites there, and Frappe's realtime server trusts the certificate
    // that nginx's role makes.
    wsgi::ROLE,
    // What sites keep their files on comes before the sites.
    gluster::ROLE,
    frappe::ROLE,
    files::ROLE,
    backup::ROLE,
    adopt::ROLE,
    drain::ROLE,
    passwords::ROLE,
    // Last: a server of somebody else has its part in it.
    certbot::ROLE,
];

/// Everything a host should have.
///
/// Packages come first, whoever wants them: one transaction of the package manager is several times faster than one per
/// role.
///
/// # Errors
/// A template that does not render, a secret that is missing, a role of the user that cannot be placed.
pub fn desired(view: HostView, facts: &Facts, templates: &Templates, secrets: &dyn SecretStore) -> Result<Desired> {
    let mut resources: Vec<crate::resource::Resource> = Vec::new();
    let inventory = view.topology.inventory;
    for entry in user::order(inventory)? {
        let scope = |name| Scope::new(name, view, facts, templates, secrets);
        match entry {
            Entry::BuiltIn(role) if (role.applies)(&view) => {
                let mut scope = scope(role.name);
                (role.declare)(&mut scope)?;
                resources.extend(scope.into_resources());
            }
            Entry::User(role) if role.hosts.contains(&view.host.name) => {
                let mut scope = scope(user::interned(&role.name));
                // It comes after what was declared before it, on every host.
                scope.barrier(resources.iter().map(|resource| resource.stage).max().unwrap_or(0));
                user::declare(&mut scope, role)?;
                resources.extend(scope.into_resources());
            }
            _ => {}
        }
    }
    let (packages, others): (Vec<_>, Vec<_>) = resources
        .into_iter()
        .partition(|resource| matches!(resource.spec, Spec::Package(_)));
    // Whoever wants a package, nobody has to wait for another host to get it.
    let packages = packages.into_iter().map(|package| crate::resource::Resource {
        stage: stage::STORES,
        ..package
    });
    let mut ordered: Vec<crate::resource::Resource> = Vec::with_capacity(packages.len() + others.len());
    let mut seen: BTreeMap<String, &'static str> = BTreeMap::new();
    for resource in packages.chain(others) {
        // Two roles may want the same package or folder; the first declaration counts.
        match seen.entry(resource.spec.kind().id()) {
            MapEntry::Occupied(first) => user::collision(inventory, first.get(), &resource)?,
            MapEntry::Vacant(place) => {
                place.insert(resource.role);
                ordered.push(resource);
            }
        }
    }
    if adopt::of(&inventory.app).is_some() {
        ordered = adopt::web_server_last(ordered);
    }
    Ok(Desired {
        host: view.host.name.clone(),
        resources: ordered,
    })
}
