//! What the lab needs to know of an inventory: names, addresses, and how people log in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::error::{LabError, Result};
use crate::inventory::{Inventory, TransportKind};

/// Hosts to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Name of the lab: the inventory's `cluster`.
    pub name: String,
    /// The /24 that holds every address; this machine takes its `.1`.
    pub subnet: Ipv4Net,
    /// In the inventory's order; never empty.
    pub hosts: Vec<FleetHost>,
}

/// One host of a [`Fleet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetHost {
    /// Its name in the inventory, and its host name.
    pub name: String,
    /// Its address on the lab's bridge.
    pub address: Ipv4Addr,
    /// Who logs in; made with `sudo` rights when it is not root.
    pub user: String,
    /// Port of its sshd.
    pub port: u16,
    /// Private key whose public half opens the host; made when it is missing. `None`: the operator's usual keys.
    pub identity_file: Option<PathBuf>,
    /// known_hosts file that learns the host's keys.
    pub known_hosts: Option<PathBuf>,
}

impl Fleet {
    /// The fleet of an inventory.
    ///
    /// # Errors
    /// [`LabError::Fleet`] when its hosts cannot live behind one bridge of this machine: addresses that are not private
    /// IPv4, in different /24 networks, or reserved (network, gateway `.1`, broadcast); names that no host can have.
    pub fn of(inventory: &Inventory) -> Result<Fleet> {
        let mut hosts = Vec::new();
        for host in inventory.hosts.values() {
            let IpAddr::V4(address) = host.address else {
                return Err(refuse(
                    format!("host {}: {} is not an IPv4 address", host.name, host.address),
                    "give lab hosts private IPv4 addresses, e.g. 10.77.0.11",
                ));
            };
            if host.ssh.transport == TransportKind::Local {
                return Err(refuse(
                    format!(
                        "host {}: `transport: local` is this machine itself, not a lab host",
                        host.name
                    ),
                    "remove `transport: local` to boot it in the lab",
                ));
            }
            hosts.push(FleetHost {
                name: host.name.clone(),
                address,
                user: host.ssh.user.clone(),
                port: host.ssh.port,
                identity_file: host.ssh.identity_file.clone(),
                known_hosts: host.ssh.known_hosts.clone(),
            });
        }
        let fleet = Fleet::new(inventory.cluster.clone(), hosts)?;
        for vip in inventory.vip.values() {
            if let IpNet::V4(net) = vip.address
                && net.addr() == fleet.gateway()
            {
                return Err(refuse(
                    format!("vip {}: {} is this machine on the lab's bridge", vip.name, net.addr()),
                    "choose another address for the vip",
                ));
            }
        }
        Ok(fleet)
    }

    /// A fleet from its parts.
    ///
    /// # Errors
    /// As [`Fleet::of`].
    pub fn new(name: String, hosts: Vec<FleetHost>) -> Result<Fleet> {
        let label = |text: &str, most: usize| {
            text.len() <= most
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && !text.ends_with('-')
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !label(&name, 32) {
            return Err(refuse(
                format!("`{name}` cannot name a lab"),
                "use lower-case letters, digits and `-`, at most 32",
            ));
        }
        let Some(first) = hosts.first() else {
            return Err(refuse("the inventory has no hosts".into(), "add one under `hosts:`"));
        };
        let subnet = Ipv4Net::new_assert(first.address, 24).trunc();
        let mut owners: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
        for host in &hosts {
            let FleetHost {
                name, address, user, ..
            } = host;
            if !label(name, 63) {
                return Err(refuse(
                    format!("host `{name}`: not a host name"),
                    "use lower-case letters, digits and `-`, at most 63",
                ));
            }
            if !address.is_private() {
                return Err(refuse(
                    format!("host {name}: {address} is not a private address; booting it here would hide the real one"),
                    "use an address of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
                ));
            }
            if !subnet.contains(address) {
                return Err(refuse(
                    format!(
                        "host {name}: {address} is not in {subnet}, the network of host {}",
                        first.name
                    ),
                    "a lab is one /24 network: give all hosts addresses in it",
                ));
            }
            if matches!(address.octets()[3], 0 | 1 | 255) {
                return Err(refuse(
                    format!(
                        "host {name}: {address} is reserved in the lab (.0 network, .1 this machine, .255 broadcast)"
                    ),
                    "use .2 to .254",
                ));
            }
            if let Some(other) = owners.insert(*address, name) {
                return Err(refuse(
                    format!("hosts {other} and {name} have the same address {address}"),
                    "give each its own",
                ));
            }
            if !is_user_name(user) {
                return Err(refuse(
                    format!("host {name}: `{user}` cannot be a login on a Debian host"),
                    "use lower-case letters, digits, `_` and `-`, at most 32, starting with a letter",
                ));
            }
        }
        Ok(Fleet { name, subnet, hosts })
    }

    /// This machine's address on the bridge; hosts use it as gateway, and reach services on it.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) | 1)
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&FleetHost> {
        self.hosts.iter().find(|host| host.name == name)
    }
}

fn is_user_name(user: &str) -> bool {
    user.len() <= 32
        && user.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && user
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
}

fn refuse(what: String, hint: &str) -> LabError {
    LabError::Fleet {
        what,
        hint: hint.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, address: [u8; 4]) -> FleetHost {
        FleetHost {
            name: name.into(),
            address: address.into(),
            user: "root".into(),
            port: 22,
            identity_file: None,
            known_hosts: None,
        }
    }

    #[test]
    fn the_subnet_is_the_slash_24_of_all_hosts() {
        let fleet = Fleet::new(
            "acme".into(),
            vec![host("a", [10, 77, 3, 11]), host("b", [10, 77, 3, 254])],
        )
        .unwrap();
        assert_eq!(fleet.subnet.to_string(), "10.77.3.0/24");
        assert_eq!(fleet.gateway().to_string(), "10.77.3.1");
    }

    #[test]
    fn refused_fleets_say_why() {
        let cases: Vec<(&str, Vec<FleetHost>, &str)> = vec![
            ("acme", vec![], "no hosts"),
            ("Acme", vec![host("a", [10, 0, 0, 5])], "cannot name a lab"),
            ("../x", vec![host("a", [10, 0, 0, 5])], "cannot name a lab"),
            ("acme", vec![host("a/b", [10, 0, 0, 5])], "not a host name"),
            ("acme", vec![host("a", [8, 8, 8, 8])], "not a private address"),
            ("acme", vec![host("a", [127, 0, 0, 2])], "not a private address"),
            ("acme", vec![host("a", [10, 0, 0, 1])], "reserved"),
            ("acme", vec![host("a", [10, 0, 0, 0])], "reserved"),
            ("acme", vec![host("a", [10, 0, 0, 255])], "reserved"),
            (
                "acme",
                vec![host("a", [10, 0, 0, 5]), host("b", [10, 0, 1, 5])],
                "not in 10.0.0.0/24",
            ),
            (
                "acme",
                vec![host("a", [10, 0, 0, 5]), host("b", [10, 0, 0, 5])],
                "same address",
            ),
            (
                "acme",
                vec![FleetHost {
                    user: "a b".into(),
                    ..host("a", [10, 0, 0, 5])
                }],
                "cannot be a login",
            ),
        ];
        for (name, hosts, why) in cases {
            let error = Fleet::new(name.into(), hosts).unwrap_err();
            assert!(matches!(error, LabError::Fleet { .. }), "{why}");
            assert!(error.to_string().contains(why), "{error} should say `{why}`");
        }
    }
}
