//! keepalived: virtual addresses, each on one of the load balancers, or of a pair of servers, that nginx answers on.
//!
//! VRRP has two holders while load balancers do not hear each other, so nothing may depend on there being one: an address
//! leads to nginx, which is the same everywhere.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Role, Scope, nginx, stage};
use crate::error::{Error, Result};
use crate::inventory::Vip;
use crate::quote::sh;
use crate::resource::{Group, OnChange, Service, Stopped, User, Validator};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "keepalived",
    applies: may_carry,
    declare,
};

const CONFIG: &str = "/etc/keepalived/keepalived.conf";
const DROP_IN: &str = "/etc/systemd/system/keepalived.service.d";
const UNIT: &str = "keepalived.service";

/// Who asks nginx: nobody else. The name is the one that keepalived takes by itself.
const USER: &str = "keepalived_script";
/// Its number, below those of people and of the app's user.
const UID: u32 = 988;

/// keepalived 2.2.7 ends its own check by a signal when scripts are another user's (fixed in 2.2.8), so that is left out
/// of what is checked. Everything that it remarks counts: it goes on with what it could read.
const CHECK: &str = "sed 's/^\\( *script_user\\) .*/\\1 root/' \"$FILE\" >\"$R/keepalived.conf\"\n\
                     said=$(keepalived -t -f \"$R/keepalived.conf\" 2>&1) && exit 0\n\
                     printf '%s\\n' \"$said\" | sed \"s#$R/keepalived.conf#$FILE#\"\n\
                     exit 1";

/// Whether a host carries virtual addresses.
pub fn carries(view: &HostView) -> bool {
    may_carry(view) && !view.topology.inventory.vip.is_empty()
}

/// Of a pair both may: the nginx of the one that waits is stopped, so an address never moves there by itself.
fn may_carry(view: &HostView) -> bool {
    view.topology.carriers().any(|host| host.name == view.host.name)
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.barrier(stage::APPLICATION);
    if !carries(&scope.view) {
        scope.add(Stopped {
            unit: UNIT.into(),
            package: "keepalived".into(),
        });
        return Ok(());
    }
    scope.packages(&["keepalived"]);
    scope.add(Group {
        name: USER.into(),
        gid: UID,
    });
    scope.add(User {
        name: USER.into(),
        uid: UID,
        home: "/nonexistent".into(),
        shell: "/usr/sbin/nologin".into(),
        groups: Some(Vec::new()),
    });
    let vips = vips(scope)?;
    let carriers = scope.view.topology.carriers();
    let own = scope.view.host.address;
    let peers: Vec<IpAddr> = carriers.map(|host| host.address).filter(|peer| *peer != own).collect();
    let context = json!({
        "host": scope.view.host.name,
        "address": own,
        "peers": peers,
        "user": USER,
        "port": nginx::plain_port(&scope.view),
        "path": nginx::CONFIGURATION_PATH,
        "vips": vips,
    });
    let mut file = scope.file(CONFIG, "keepalived/keepalived.conf", &context)?;
    file.validator = Some(Validator {
        name: "keepalived".into(),
        tree: None,
        check: CHECK.into(),
    });
    scope.add(file);
    scope.directory(DROP_IN, "root", "root", 0o755);
    let unit = format!("{DROP_IN}/60-hactl.conf");
    let file = scope.file(&unit, "keepalived/unit.conf", &json!({ "vips": vips }))?;
    scope.add(file);
    scope.add(Service {
        unit: UNIT.into(),
        watches: vec![CONFIG.into(), unit],
        on_change: OnChange::Reload,
        health: format!("systemctl is-active {UNIT}"),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}

/// The addresses as this host carries them.
fn vips(scope: &Scope) -> Result<Vec<Value>> {
    let all = scope.inventory().vip.values().enumerate();
    all.map(|(number, vip)| {
        Ok(json!({
            "name": vip.name,
            "address": vip.address,
            "interface": interface(scope, vip)?,
            "router": vip.virtual_router_id,
            "priority": priority(&scope.view, number),
        }))
    })
    .collect()
}

/// Who takes an address when several could: each address begins with another load balancer, so that all have work.
fn priority(view: &HostView, number: usize) -> u8 {
    let carriers: Vec<_> = view.topology.carriers().map(|host| &host.name).collect();
    let place = carriers
        .iter()
        .position(|name| **name == view.host.name)
        .unwrap_or_default();
    let count = carriers.len().max(1);
    let behind = (place + count - number % count) % count;
    u8::try_from(behind).map_or(1, |behind| 200_u8.saturating_sub(behind).max(1))
}

/// The interface that carries an address.
fn interface(scope: &Scope, vip: &Vip) -> Result<String> {
    if let Some(name) = &vip.interface {
        return Ok(name.clone());
    }
    let moving = |address: IpAddr| scope.inventory().vip.values().any(|vip| vip.address.addr() == address);
    let (host, known) = (scope.view.host, &scope.facts.addresses);
    let fixed = || known.iter().filter(|(_, net)| !moving(net.addr()));
    let near = fixed().find(|(_, net)| net.contains(&vip.address.addr()));
    let own = || fixed().find(|(_, net)| net.addr() == host.address);
    match near.or_else(own) {
        Some((name, _)) => Ok(name.clone()),
        // Nobody was asked yet.
        None if known.is_empty() => Ok("eth0".to_owned()),
        None => Err(Error::usage(format!(
            "vip {}: {} has no interface in the network of {}, nor one with its own address {}",
            vip.name, host.name, vip.address, host.address
        ))
        .hint(format!(
            "name the interface: `vip: {{ {}: {{ address: {}, interface: NAME }} }}`",
            vip.name, vip.address
        ))),
    }
}

/// A shell test of who has an address: prints `here` when this host has it; fails when it does not answer anybody.
pub fn status(vip: &Vip, http_port: u16) -> String {
    let address = vip.address.addr();
    let url = format!("http://{}/", std::net::SocketAddr::new(address, http_port));
    format!(
        "systemctl -q is-active {UNIT} || {{ echo '{UNIT} is not active'; exit 1; }}\n\
         if [ -n \"$(ip -o addr show to {address})\" ]; then echo here; exit 0; fi\n\
         curl -sS -o /dev/null --max-time 3 {} || {{ echo '{address} does not answer: nobody has it'; exit 1; }}\n\
         echo elsewhere",
        sh(&url)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::role::testing::{BALANCED, Named, inventory};
    use crate::role::{Templates, desired};
    use crate::topology::Topology;

    #[test]
    fn addresses_begin_on_different_hosts() {
        let inventory = inventory(BALANCED);
        let topology = Topology::of(&inventory);
        let of = |name: &str| [0, 1, 2].map(|number| priority(&topology.host(name).unwrap(), number));
        assert_eq!(of("lb1"), [200, 199, 200]);
        assert_eq!(of("lb2"), [199, 200, 199]);
    }

    #[test]
    fn the_interface_is_the_one_in_the_network_of_the_address_whoever_has_that_now() {
        let inventory = inventory(BALANCED);
        let view = Topology::of(&inventory).host("lb1").unwrap();
        let templates = Templates::load(None).unwrap();
        let carried = |addresses: &[(&str, &str)]| {
            let addresses = addresses
                .iter()
                .map(|(name, net)| ((*name).to_owned(), net.parse().unwrap()));
            let facts = Facts {
                addresses: addresses.collect(),
                ..Facts::assumed()
            };
            let desired = desired(view, &facts, &templates, &Named)?;
            let text = desired.resources.iter().find_map(|resource| match &resource.spec {
                crate::resource::Spec::File(file) if file.path == CONFIG => Some(file.text.reveal().to_owned()),
                _ => None,
            });
            let text = text.unwrap();
            let line = text.lines().find_map(|line| line.trim().strip_prefix("interface "));
            Ok::<_, Error>(line.unwrap().to_owned())
        };
        let own = ("mgmt0", "10.77.0.11/24");
        assert_eq!(carried(&[own]).unwrap(), "mgmt0");
        assert_eq!(carried(&[own, ("public0", "192.0.2.11/24")]).unwrap(), "public0");
        assert_eq!(carried(&[("odd0", "192.0.2.100/24"), own]).unwrap(), "mgmt0");
        let error = carried(&[("lo", "127.0.0.1/8")]).unwrap_err();
        assert!(error.message.contains("vip web: lb1 has no interface"), "{error}");
    }
}
