//! App hosts behind a load balancer: visitors are led past one while it changes.

use std::time::Duration;

use super::{Role, Scope, gate, stage};
use crate::error::Result;
use crate::inventory::{App, HostRole};
use crate::resource::{Drain, Visitors};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "drain",
    applies: |view| of(view).is_some(),
    declare,
};

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["nftables", "iproute2"]);
    scope.barrier(stage::APPLICATION);
    scope.add(Visitors);
    Ok(())
}

/// How visitors of a host are led past it; `None` where nobody would lead them to another.
pub(super) fn of(view: &HostView) -> Option<Drain> {
    let topology = view.topology;
    let inventory = topology.inventory;
    let mut balancers = topology.with_role(HostRole::Lb);
    // On a load balancer itself they come for all hosts.
    if !view.has(HostRole::App) || view.has(HostRole::Lb) || balancers.next().is_none() {
        return None;
    }
    let site = inventory.sites.first()?;
    let health = match &inventory.app {
        App::Frappe(_) => "/api/method/ping",
        App::Wsgi(wsgi) => &wsgi.health,
    };
    let answers = |address: &str, seconds: u8| {
        let words = gate::look(view, site, address, health);
        format!("curl -kfsS -o /dev/null --max-time {seconds} {words}")
    };
    let others: Vec<_> = topology
        .with_role(HostRole::App)
        .filter(|other| other.name != view.host.name && !other.standby)
        .map(|other| answers(&other.address.to_string(), 5))
        .collect();
    let process = inventory.app.process();
    (!others.is_empty()).then(|| Drain {
        // Where load balancers ask.
        ports: vec![inventory.nginx.app_port],
        app_port: process.web_port,
        others,
        serves: answers("127.0.0.1", 8),
        patience: Duration::from_secs(process.http_timeout.into()),
    })
}
