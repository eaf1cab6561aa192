//! The topology as a picture: boxes in rows, from what clients reach down to where data are kept.

use super::{HostView, Topology};
use crate::inventory::HostRole;

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// The cluster's name.
    pub cluster: String,
    /// Rows from top to bottom; none is empty.
    pub rows: Vec<Vec<Node>>,
    /// Arrows.
    pub edges: Vec<Edge>,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Unique: `host/NAME` or `vip/NAME`.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Lines below the name: address, what it does.
    pub lines: Vec<String>,
    /// Whether it is an address that moves between hosts.
    pub vip: bool,
    /// How it is, when that was asked.
    pub health: Option<Health>,
}

/// How a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Everything on it serves.
    Good,
    /// Something deserves a look.
    Warning,
    /// Something does not serve, or it does not answer.
    Bad,
}

/// An arrow between boxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Id of the box it starts at.
    pub from: String,
    /// Id of the box it points to.
    pub to: String,
    /// What it stands for.
    pub kind: EdgeKind,
}

/// Sorts of arrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// Requests of clients.
    Requests,
    /// Reads and writes of the application.
    Data,
    /// Data on their way to a copy.
    Replication,
}

fn host_id(name: &str) -> String {
    format!("host/{name}")
}

/// What can be drawn from the inventory, and from who leads as far as that is known.
pub fn of(topology: Topology) -> Graph {
    let inventory = topology.inventory;
    let vips = inventory.vip.values().map(|vip| Node {
        id: format!("vip/{}", vip.name),
        title: vip.name.clone(),
        lines: vec![vip.address.to_string()],
        vip: true,
        health: None,
    });
    let mut rows = vec![vips.collect::<Vec<_>>(), Vec::new(), Vec::new(), Vec::new()];
    for view in topology.hosts() {
        let row = match () {
            () if view.has(HostRole::Lb) => 1,
            () if view.runs_app() => 2,
            () => 3,
        };
        rows[row].push(Node {
            id: host_id(&view.host.name),
            title: view.host.name.clone(),
            lines: lines(&view),
            vip: false,
            health: None,
        });
    }
    rows.retain(|row| !row.is_empty());
    Graph {
        cluster: inventory.cluster.clone(),
        rows,
        edges: edges(topology),
    }
}

fn lines(view: &HostView) -> Vec<String> {
    let writer = view
        .topology
        .writer()
        .is_some_and(|writer| writer.name == view.host.name);
    // The queue's leader: what a cache forgets is not worth an arrow.
    let leads = view
        .topology
        .redis_leader("queue")
        .is_some_and(|leader| leader.name == view.host.name);
    let part = |role: &HostRole| match role {
        HostRole::Redis if !view.topology.redis_replicates() => "redis".to_owned(),
        HostRole::Redis if leads => "redis (leader)".to_owned(),
        HostRole::Redis => "redis (replica)".to_owned(),
        HostRole::Db if !view.topology.replicates() => "db".to_owned(),
        HostRole::Db if writer => "db (writer)".to_owned(),
        HostRole::Db => "db (replica)".to_owned(),
        role => role.word().to_owned(),
    };
    let mut lines = vec![
        view.host.address.to_string(),
        view.host.roles.iter().map(part).collect::<Vec<_>>().join(", "),
    ];
    if let Some(group) = &view.host.group {
        lines.push(format!("group {group}"));
    }
    if view.waits() {
        lines.push("standby".into());
    }
    lines
}

fn edges(topology: Topology) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut add = |from: String, to: String, kind| {
        let edge = Edge { from, to, kind };
        // A host that plays both parts needs no arrow to itself.
        if edge.from != edge.to && !edges.contains(&edge) {
            edges.push(edge);
        }
    };
    let named = |role| {
        topology
            .with_role(role)
            .map(|host| host_id(&host.name))
            .collect::<Vec<_>>()
    };
    let (balancers, apps) = (named(HostRole::Lb), named(HostRole::App));
    // Nobody sends requests to the host of a pair that waits.
    let serving = topology.hosts().filter(|view| view.has(HostRole::App) && !view.waits());
    let serving: Vec<_> = serving.map(|view| host_id(&view.host.name)).collect();
    let front = if balancers.is_empty() { &serving } else { &balancers };
    for vip in topology.inventory.vip.values() {
        for host in front {
            add(format!("vip/{}", vip.name), host.clone(), EdgeKind::Requests);
        }
    }
    for balancer in &balancers {
        for app in &apps {
            add(balancer.clone(), app.clone(), EdgeKind::Requests);
        }
    }
    let writer = topology.writer().map(|host| host_id(&host.name));
    let redis = topology.redis_leader("queue").map(|host| host_id(&host.name));
    for view in topology.hosts().filter(HostView::runs_app).filter(|view| !view.waits()) {
        for store in [&writer, &redis].into_iter().flatten() {
            add(host_id(&view.host.name), store.clone(), EdgeKind::Data);
        }
    }
    for (leader, role) in [(&writer, HostRole::Db), (&redis, HostRole::Redis)] {
        if let Some(leader) = leader {
            for copy in named(role) {
                add(leader.clone(), copy, EdgeKind::Replication);
            }
        }
    }
    edges
}
