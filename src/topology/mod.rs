//! `Inventory` → who is what for whom.

pub mod graph;
mod live;

pub use live::Live;

use crate::inventory::{Host, HostRole, Inventory};

static NOBODY_ASKED: Live = Live::UNKNOWN;

/// The inventory seen as a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Topology<'a> {
    /// What it was derived from.
    pub inventory: &'a Inventory,
    /// What the hosts said about who leads; [`Live::UNKNOWN`] before they were asked.
    pub live: &'a Live,
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
    /// The topology as the inventory alone tells it.
    pub fn of(inventory: &'a Inventory) -> Self {
        Topology {
            inventory,
            live: &NOBODY_ASKED,
        }
    }

    /// The topology as the hosts live it.
    pub fn living(inventory: &'a Inventory, live: &'a Live) -> Self {
        Topology { inventory, live }
    }

    /// Who takes MariaDB's writes: whoever does so now, else the inventory's primary at birth.
    pub fn writer(self) -> Option<&'a Host> {
        let living = self.live.writer.as_ref();
        living
            .and_then(|name| self.inventory.hosts.get(name))
            .or_else(|| self.with_role(HostRole::Db).find(|host| host.primary))
            .or_else(|| self.with_role(HostRole::Db).next())
    }

    /// Whether databases replicate.
    pub fn replicates(self) -> bool {
        self.with_role(HostRole::Db).nth(1).is_some()
    }

    /// Who takes the writes of a set of Redis (`cache`, `queue`): whoever does so now, else the primary, else the first. Of a
    /// pair, for one that holds nothing: where everything else happens.
    pub fn redis_leader(self, set: &str) -> Option<&'a Host> {
        let living = self.live.redis.get(set);
        living
            .and_then(|name| self.inventory.hosts.get(name))
            .or_else(|| self.writer().filter(|_| self.is_pair()))
            .or_else(|| self.with_role(HostRole::Redis).find(|host| host.primary))
            .or_else(|| self.with_role(HostRole::Redis).next())
    }

    /// Whether the Redis replicate.
    pub fn redis_replicates(self) -> bool {
        self.with_role(HostRole::Redis).nth(1).is_some()
    }

    /// Whether sentinels promote a replica: a majority of two would need both.
    pub fn has_sentinels(self) -> bool {
        self.inventory.has_sentinels()
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

    /// Whether it is a pair: two full servers, of which one waits.
    pub fn is_pair(self) -> bool {
        self.inventory.hosts.values().any(|host| host.standby)
    }

    /// Hosts that may carry virtual addresses: load balancers, or both of a pair.
    pub fn carriers(self) -> impl Iterator<Item = &'a Host> {
        let pair = self.is_pair();
        let hosts = self.inventory.hosts.values();
        hosts.filter(move |host| pair || host.roles.contains(&HostRole::Lb))
    }

    /// Whether requests come in through load balancers.
    pub fn is_balanced(self) -> bool {
        self.with_role(HostRole::Lb).next().is_some()
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

    /// Whether it is the one of a pair that waits: everything is installed, and what serves or works is stopped. Who waits
    /// is no setting but follows from who takes MariaDB's writes, now; `standby` says it for the time before there are
    /// data.
    pub fn waits(&self) -> bool {
        let topology = self.topology;
        let writer = || topology.writer().is_some_and(|writer| writer.name == self.host.name);
        topology.is_pair() && !writer()
    }

    /// Whether the host serves HTTP: every app host does (assets, files and X-Accel-Redirect need its disk,
    /// facts/frappe.md 1.4), and load balancers.
    pub fn serves_web(&self) -> bool {
        self.has(HostRole::App) || self.has(HostRole::Lb)
    }

    /// Whether visitors come here first, so that TLS ends here: load balancers where there are any, else app hosts.
    pub fn meets_visitors(&self) -> bool {
        self.has(HostRole::Lb) || (self.has(HostRole::App) && !self.topology.is_balanced())
    }

    /// Whether the application here is reached through load balancers, which may be this very host.
    pub fn behind_balancer(&self) -> bool {
        self.has(HostRole::App) && self.topology.is_balanced()
    }

    /// Whether application code is installed here.
    pub fn runs_app(&self) -> bool {
        self.has(HostRole::App) || self.has(HostRole::Worker)
    }
}
