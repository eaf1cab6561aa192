//! What the lab takes from an inventory. Needs no root.

#[path = "common/inventory.rs"]
mod inventory;

use hactl::error::{Error, Kind};
use hactl::inventory::{TransportKind, Vip};
use hactl::lab::Fleet;

#[test]
fn a_fleet_is_the_inventorys_hosts() {
    let mut given = inventory::of("acme", &[("lb1", "10.77.0.11"), ("db1", "10.77.0.31")]);
    given.hosts["db1"].ssh.user = "deploy".into();
    given.hosts["db1"].ssh.port = 2222;
    let fleet = Fleet::of(&given).unwrap();
    assert_eq!(
        (fleet.name.as_str(), fleet.subnet.to_string().as_str()),
        ("acme", "10.77.0.0/24")
    );
    assert_eq!(fleet.gateway().to_string(), "10.77.0.1");
    let names: Vec<_> = fleet
        .hosts
        .iter()
        .map(|h| (h.name.as_str(), h.user.as_str(), h.port))
        .collect();
    assert_eq!(names, [("lb1", "root", 22), ("db1", "deploy", 2222)]);
}

#[test]
fn inventories_that_cannot_be_a_lab_are_refused_as_usage() {
    let two = &[("a", "10.77.0.11"), ("b", "10.77.1.11")];
    let mut local = inventory::of("acme", &[("a", "10.77.0.11")]);
    local.hosts["a"].ssh.transport = TransportKind::Local;
    let mut vip = inventory::of("acme", &[("a", "10.77.0.11")]);
    vip.vip.insert(
        "web".into(),
        Vip {
            name: "web".into(),
            address: "10.77.0.1/24".parse().unwrap(),
            virtual_router_id: 1,
            interface: None,
        },
    );
    let cases = [
        (inventory::of("acme", two), "host b: 10.77.1.11 is not in 10.77.0.0/24"),
        (
            inventory::of("acme", &[("a", "fd00::11")]),
            "host a: fd00::11 is not an IPv4 address",
        ),
        (
            inventory::of("acme", &[("a", "203.0.113.5")]),
            "host a: 203.0.113.5 is not a private address",
        ),
        (
            inventory::of("acme", &[("a", "10.77.0.1")]),
            "host a: 10.77.0.1 is reserved",
        ),
        (local, "host a: `transport: local`"),
        (vip, "vip web: 10.77.0.1 is this machine"),
    ];
    for (given, why) in cases {
        let error = Error::from(Fleet::of(&given).unwrap_err());
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.message.starts_with(why), "{error} should start with `{why}`");
        assert_eq!(error.hints.len(), 1, "{error} says what to change");
    }
}
