//! `Inventory` → who is what for whom.

use crate::inventory::{Host, HostRole, Inventory};

/// The inventory seen as a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Topology<'a> {
    /// What it was derived from.
    pub inventory: &'a Inventory,
}

/// One host in its place in the cluster.
#[derive(Debug, Clone, Copy)]
pub struct HostView<'a> {
    /// The whole.
    pub topology: Topology<'a>,
    /// This host.
    pub host: &'a Host,
}

impl<'a> Topology<'a> {
    /// Derives the topology.
    pub fn of(inventory: &'a Inventory) -> Self {
        Topology { inventory }
    }

    /// All hosts in inventory order.
    pub fn hosts(self) -> impl Iterator<Item = HostView<'a>> {
        self.inventory
            .hosts
            .values()
            .map(move |host| HostView { topology: self, host })
    }

    /// Hosts that have a role.
    pub fn with_role(self, role: HostRole) -> impl Iterator<Item = &'a Host> {
        self.inventory.hosts.values().filter(move |h| h.roles.contains(&role))
    }

    /// One host by name.
    pub fn host(self, name: &str) -> Option<HostView<'a>> {
        self.inventory
            .hosts
            .get(name)
            .map(|host| HostView { topology: self, host })
    }

    /// Whether one machine does everything.
    pub fn is_single(self) -> bool {
        self.inventory.hosts.len() == 1
    }
}

impl HostView<'_> {
    /// Whether this host has the role.
    pub fn has(&self, role: HostRole) -> bool {
        self.host.roles.contains(&role)
    }

    /// Whether the host serves HTTP: every app host does (assets, files and X-Accel-Redirect need its disk,
    /// facts/frappe.md 1.4), and load balancers.
    pub fn serves_web(&self) -> bool {
        self.has(HostRole::App) || self.has(HostRole::Lb)
    }

    /// Whether application code is installed here.
    pub fn runs_app(&self) -> bool {
        self.has(HostRole::App) || self.has(HostRole::Worker)
    }
}
