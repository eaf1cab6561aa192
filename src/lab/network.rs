//! The bridge a lab lives on, and its way out.

use std::fs;
use std::path::Path;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::command::{finish, program, run};
use super::error::{LabError, Result};
use super::fleet::Fleet;
use super::state::{Record, StateRoot, fingerprint, replace};

/// Seconds `ip` and `nft` may take.
const QUICK: u32 = 20;

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Says that the lab turned forwarding on, and so turns it off again.
const FORWARD_NOTE: &str = "ip_forward";

/// A network interface, as `ip -j -d addr` tells it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Link {
    ifname: String,
    address: String,
    master: Option<String>,
    flags: Vec<String>,
    linkinfo: LinkInfo,
    addr_info: Vec<Address>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct LinkInfo {
    info_kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Address {
    family: String,
    local: String,
    prefixlen: u8,
}

/// State of a host's cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cable {
    /// Plugged in.
    Up,
    /// `lab cut` took it out.
    Cut,
    /// The host does not run.
    Absent,
}

/// Name of the bridge of a lab: readable, and within the kernel's 15 characters.
pub(super) fn bridge_name(lab: &str) -> String {
    if lab.len() <= 12 {
        return format!("hl-{lab}");
    }
    // Two long names that start alike stay apart.
    format!("hl-{}{}", &lab[..7], fingerprint(lab))
}

/// The name systemd-nspawn knows a host by. Its interface here is named after it, so it is unique on this machine, as the
/// address is, and short.
pub(super) fn machine_name(address: std::net::Ipv4Addr) -> String {
    format!("h{:08x}", u32::from(address))
}

/// This machine's end of a host's cable.
pub(super) fn port_name(address: std::net::Ipv4Addr) -> String {
    format!("vb-{}", machine_name(address))
}

/// Refuses a subnet or a bridge name that something else on this machine has.
pub(super) fn check(record: &Record) -> Result<()> {
    let links = links()?;
    match conflict(&links, record) {
        None => Ok(()),
        Some(what) => Err(LabError::Foreign {
            what,
            hint: format!(
                "take that down, or give the hosts of {} addresses in another /24 (and another `cluster:` name)",
                record.fleet.name
            ),
        }),
    }
}

fn conflict(links: &[Link], record: &Record) -> Option<String> {
    let Record { bridge, fleet, .. } = record;
    let mac = record.bridge_mac();
    for link in links {
        if link.ifname == *bridge {
            if link.address == mac {
                continue;
            }
            return Some(format!(
                "lab {}: there is an interface {bridge} that this lab did not make",
                fleet.name
            ));
        }
        for address in link.addr_info.iter().filter(|a| a.family == "inet") {
            let Ok(net) = format!("{}/{}", address.local, address.prefixlen).parse::<Ipv4Net>() else {
                continue;
            };
            if net.contains(&fleet.subnet) || fleet.subnet.contains(&net) {
                return Some(format!(
                    "lab {}: its network {} is taken: interface {} has {net}",
                    fleet.name, fleet.subnet, link.ifname
                ));
            }
        }
    }
    None
}

/// Makes the bridge, this machine's address on it, forwarding and masquerading; what is there already stays.
pub(super) fn ensure(root: &StateRoot, record: &Record) -> Result<()> {
    let lock = root.lock("network", &|| {})?;
    check(record)?;
    let Record { bridge, fleet, .. } = record;
    let found = links()?.into_iter().find(|link| link.ifname == *bridge);
    if found.is_none() {
        let mac = record.bridge_mac();
        ip(
            "make the lab's bridge",
            &["link", "add", "name", bridge, "address", &mac, "type", "bridge"],
        )?;
    }
    let own = found.unwrap_or_default();
    let gateway = fleet.gateway().to_string();
    if !own.addr_info.iter().any(|a| a.local == gateway) {
        // Hosts are IPv4; snooping would eat the multicast of VRRP, since nobody here asks for groups.
        ip(
            "set up the lab's bridge",
            &[
                "link",
                "set",
                bridge,
                "addrgenmode",
                "none",
                "type",
                "bridge",
                "mcast_snooping",
                "0",
            ],
        )?;
        let address = format!("{gateway}/{}", fleet.subnet.prefix_len());
        ip(
            "give the lab's bridge its address",
            &["addr", "replace", &address, "dev", bridge],
        )?;
    }
    if !own.flags.iter().any(|flag| flag == "UP") {
        ip("start the lab's bridge", &["link", "set", bridge, "up"])?;
    }
    forward(root)?;
    masquerade(record)?;
    lock.remove();
    Ok(())
}

/// Hosts reach the outside through this machine. One transaction in a table of the lab's own.
fn masquerade(record: &Record) -> Result<()> {
    let table = record.table();
    let net = record.fleet.subnet;
    let rules = format!(
        "table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n  chain postrouting {{\n    \
         type nat hook postrouting priority srcnat; policy accept;\n    \
         ip saddr {net} ip daddr != {net} masquerade\n  }}\n}}\n"
    );
    finish(
        "let the hosts out",
        &mut program(QUICK, ["nft", "-f", "-"]),
        Some(&rules),
    )
    .map(drop)
}

fn forward(root: &StateRoot) -> Result<()> {
    let path = Path::new(FORWARD);
    let now = fs::read_to_string(path).map_err(LabError::io("cannot read", path))?;
    if now.trim() == "0" {
        replace(&root.file(FORWARD_NOTE), b"", 0o600)?;
        fs::write(path, "1").map_err(LabError::io("cannot write", path))?;
    }
    Ok(())
}

/// Removes what [`ensure`] made for this lab; what is gone already is fine.
pub(super) fn remove(root: &StateRoot, record: &Record) -> Result<()> {
    let lock = root.lock("network", &|| {})?;
    let ours = |link: &Link| link.ifname == record.bridge && link.address == record.bridge_mac();
    if links()?.iter().any(ours) {
        ip("remove the lab's bridge", &["link", "del", &record.bridge])?;
    }
    let table = record.table();
    // Making it first lets its removal succeed whether or not it was there.
    let rules = format!("table ip {table}\ndelete table ip {table}\n");
    finish(
        "remove the lab's rules",
        &mut program(QUICK, ["nft", "-f", "-"]),
        Some(&rules),
    )?;
    lock.remove();
    Ok(())
}

/// Whether the lab's bridge is there.
pub(super) fn stands(record: &Record) -> bool {
    Path::new("/sys/class/net").join(&record.bridge).exists()
}

/// After the last lab: forwarding as it was, unless something else that needs it has come since.
pub(super) fn stop_forwarding(root: &StateRoot) -> Result<()> {
    let note = root.file(FORWARD_NOTE);
    if !note.exists() {
        return Ok(());
    }
    let needs = ["bridge", "tun", "wireguard", "veth"];
    if !links()?
        .iter()
        .any(|link| needs.contains(&link.linkinfo.info_kind.as_str()))
    {
        fs::write(FORWARD, "0").map_err(LabError::io("cannot write", Path::new(FORWARD)))?;
    }
    fs::remove_file(&note).map_err(LabError::io("cannot remove", &note))
}

/// Every host's cable, in the fleet's order.
pub(super) fn cables(fleet: &Fleet) -> Result<Vec<Cable>> {
    let links = links()?;
    let cable = |address| {
        let port = port_name(address);
        match links.iter().find(|link| link.ifname == port) {
            None => Cable::Absent,
            Some(link) if link.flags.iter().any(|flag| flag == "UP") => Cable::Up,
            Some(_) => Cable::Cut,
        }
    };
    Ok(fleet.hosts.iter().map(|host| cable(host.address)).collect())
}

/// Takes a host's cable out.
pub(super) fn cut(address: std::net::Ipv4Addr) -> Result<()> {
    ip("cut the host off", &["link", "set", &port_name(address), "down"])
}

/// Takes the cable of a host that is dead away, both ends; it may be gone already.
pub(super) fn unplug(address: std::net::Ipv4Addr) {
    let _ = ip("take the host's cable away", &["link", "del", &port_name(address)]);
}

/// Plugs a host's cable in, also into a bridge that was made anew.
pub(super) fn heal(address: std::net::Ipv4Addr, bridge: &str) -> Result<()> {
    let port = port_name(address);
    let attached = links()?
        .iter()
        .any(|l| l.ifname == port && l.master.as_deref() == Some(bridge));
    if !attached {
        ip("plug the host in", &["link", "set", &port, "master", bridge])?;
    }
    ip("plug the host in", &["link", "set", &port, "up"])
}

fn ip(doing: &str, words: &[&str]) -> Result<()> {
    let argv = ["ip"].iter().chain(words);
    run(doing, QUICK, argv).map(drop)
}

fn links() -> Result<Vec<Link>> {
    let text = run("list network interfaces", QUICK, ["ip", "-j", "-d", "addr", "show"])?;
    serde_json::from_str(&text).map_err(|e| LabError::Command {
        doing: "list network interfaces".into(),
        command: "ip -j -d addr show".into(),
        ended: format!("said what cannot be read: {e}"),
        output: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::FleetHost;
    use crate::lab::base::Suite;

    fn record() -> Record {
        let host = FleetHost {
            name: "a".into(),
            address: [10, 77, 10, 11].into(),
            user: "root".into(),
            port: 22,
            identity_file: None,
            known_hosts: None,
        };
        Record {
            id: "0123456789".into(),
            bridge: "hl-acme".into(),
            suite: Suite::Bookworm,
            fleet: Fleet::new("acme".into(), vec![host]).unwrap(),
        }
    }

    #[test]
    fn names_fit_the_kernel_and_differ() {
        for lab in ["a", "twelve-chars", "thirteen-char", "a-very-long-name-of-a-cluster"] {
            assert!(bridge_name(lab).len() <= 15, "{lab}");
        }
        assert_ne!(bridge_name("production-eu-1"), bridge_name("production-eu-2"));
        assert_eq!(port_name([192, 168, 255, 254].into()), "vb-hc0a8fffe");
    }

    #[test]
    fn taken_subnets_and_foreign_bridges_are_refused() {
        let link = |name: &str, mac: &str, address: &str, prefixlen| Link {
            ifname: name.into(),
            address: mac.into(),
            addr_info: vec![Address {
                family: "inet".into(),
                local: address.into(),
                prefixlen,
            }],
            ..Link::default()
        };
        let record = record();
        let own = link("hl-acme", "02:01:23:45:67:89", "10.77.10.1", 24);
        assert_eq!(record.bridge_mac(), own.address);
        assert_eq!(conflict(std::slice::from_ref(&own), &record), None);
        assert_eq!(conflict(&[own, link("eth0", "02:00", "10.77.11.2", 24)], &record), None);
        let cases = [
            (
                link("eth0", "02:00", "10.77.10.2", 24),
                "interface eth0 has 10.77.10.2/24",
            ),
            (link("tun0", "02:00", "10.1.2.3", 8), "interface tun0 has 10.1.2.3/8"),
            (link("wg0", "02:00", "10.77.10.130", 32), "interface wg0"),
            (link("hl-acme", "02:00", "10.77.10.1", 24), "did not make"),
        ];
        for (link, why) in cases {
            let told = conflict(&[link], &record).unwrap_or_default();
            assert!(told.contains(why), "{told} should say {why}");
        }
    }
}
