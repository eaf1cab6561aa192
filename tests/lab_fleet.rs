//! The lab on this machine, for real: what its hosts are. These tests need root and fail where a lab cannot start.

mod common;

use std::io::Write;

use common::lab::{TestLab, machine, tell};
use hactl::error::{Error, Kind};
use hactl::lab::{Cable, Fleet, Lab, Suite, UpOptions};

#[test]
fn a_host_is_a_debian_server() {
    let test = TestLab::new("t-one", 10, 1);
    assert_eq!(test.up().changed, ["h1"]);
    assert_eq!(test.says("h1", "systemctl is-system-running --wait"), "running");
    assert_eq!(test.says("h1", "hostname"), "h1");
    assert_eq!(test.says("h1", ". /etc/os-release; echo $VERSION_CODENAME"), "bookworm");
    assert_eq!(
        test.says("h1", "stat -c %a /etc /root /root/.ssh / | tr '\\n' ' '"),
        "755 700 700 755"
    );
    test.says("h1", "apt-get -q update");
    hosts_reach_services_of_this_machine(&test);

    let again = test.up();
    assert_eq!(
        (again.unchanged.len(), again.changed.len()),
        (1, 0),
        "a second `up` has nothing to do"
    );
}

#[test]
fn a_trixie_host_with_a_user_and_another_port() {
    let mut test = TestLab::with_user("t-trixie", 11, 1, "deploy");
    test.fleet.hosts[0].port = 2222;
    let options = UpOptions {
        suite: Suite::Trixie,
        ..UpOptions::default()
    };
    test.lab.up(&test.fleet, &options, &tell).unwrap();
    assert_eq!(
        test.says(
            "h1",
            "id -un; sudo -n id -un; . /etc/os-release; echo $VERSION_CODENAME"
        ),
        "deploy\nroot\ntrixie"
    );
    assert_eq!(test.says("h1", "systemctl is-system-running --wait"), "running");
    let refused = test.lab.up(&test.fleet, &UpOptions::default(), &tell).unwrap_err();
    assert_eq!(
        Error::from(refused).kind,
        Kind::Refused,
        "a running lab does not change its Debian"
    );
}

#[test]
fn two_labs_side_by_side() {
    let one = TestLab::new("t-left", 12, 2);
    let other = TestLab::new("t-right", 13, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| one.up());
        scope.spawn(|| other.up());
    });
    for test in [&one, &other] {
        for host in ["h1", "h2"] {
            assert_eq!(test.says(host, "hostname"), host);
        }
        test.says("h1", &format!("ping -c 1 -W 5 {}", test.fleet.hosts[1].address));
    }
    // Each host's systemd sees its own processes only; those of others would show as 0.
    let foreign = "find /sys/fs/cgroup -name cgroup.procs -exec cat {} + 2>/dev/null | grep -cx 0 || true";
    assert_eq!(one.says("h1", foreign), "0");
    let keys = |test: &TestLab, host| test.says(host, "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id");
    assert_ne!(
        keys(&one, "h1"),
        keys(&one, "h2"),
        "hosts have keys and ids of their own"
    );

    one.take_down();
    assert_eq!(other.says("h2", "hostname"), "h2", "the other lab stays");
    other.says("h2", "apt-get -q update");
}

#[test]
fn packages_are_downloaded_once() {
    let test = TestLab::new("t-cache", 16, 1);
    test.up();
    test.says(
        "h1",
        "apt-get -q update && apt-get -q -y install --no-install-recommends less",
    );
    test.take_down();
    test.up();
    assert_eq!(
        test.says("h1", "command -v less || echo none"),
        "none",
        "the disk is a new one"
    );
    test.says(
        "h1",
        "apt-get -q update && apt-get -q -y install --no-install-recommends --no-download less",
    );
}

#[test]
fn a_lab_leaves_nothing_behind() {
    let test = TestLab::new("t-clean", 17, 2);
    test.up();
    for (kind, found) in test.traces() {
        // Mounts are in the hosts' own namespaces, also while they run.
        assert_eq!(found.is_empty(), kind == "mounts and notes", "{kind}: {found:?}");
    }
    let status = test.lab.status().unwrap();
    assert!(
        status
            .hosts
            .iter()
            .all(|h| h.running && h.ssh && h.cable == Cable::Up && h.memory > 0),
        "{status:?}"
    );
    let folder = status.hosts[0].console.ancestors().nth(3).unwrap().to_owned();
    assert!(folder.ends_with("t-clean"), "{folder:?}");
    a_taken_network_is_refused_and_left_alone(&test);
    let groups = test.traces().into_iter().find(|(kind, _)| *kind == "groups").unwrap().1;
    let id = groups[0]
        .split("/hactl-lab/")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap();
    let group = format!("/hactl-lab/{id}");

    test.take_down();
    for (kind, found) in test.traces() {
        assert!(found.is_empty(), "{kind}: {found:?}");
    }
    assert!(!folder.exists());
    let left = machine(&["find", "/sys/fs/cgroup", "-path", &format!("*{group}*")]);
    assert!(left.is_empty(), "{left}");
}

/// Hosts reach what listens on this machine, at the gateway's address.
fn hosts_reach_services_of_this_machine(test: &TestLab) {
    let listener = std::net::TcpListener::bind((test.fleet.gateway(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::thread::spawn(move || {
        listener
            .accept()
            .map(|(mut peer, from)| (peer.write_all(b"hello\n"), from.ip()))
    });
    let heard = test.says(
        "h1",
        &format!(
            "bash -c 'read line < /dev/tcp/{}/{port}; echo $line'",
            test.fleet.gateway()
        ),
    );
    assert_eq!(heard, "hello");
    let (sent, from) = answer.join().unwrap().unwrap();
    sent.unwrap();
    assert_eq!(
        from, test.fleet.hosts[0].address,
        "the host's own address, not a masqueraded one"
    );
}

/// A second lab in the network of the first.
fn a_taken_network_is_refused_and_left_alone(first: &TestLab) {
    let mut hosts = first.fleet.hosts.clone();
    hosts[0].address = [10, 77, 17, 99].into();
    let second = Fleet::new("t-second".into(), hosts).unwrap();
    let error = Error::from(
        Lab::named("t-second")
            .up(&second, &UpOptions::default(), &tell)
            .unwrap_err(),
    );
    assert_eq!(error.kind, Kind::Refused, "{error}");
    assert!(error.message.contains("hl-t-clean has 10.77.17.1/24"), "{error}");
    assert_eq!(first.says("h1", "hostname"), "h1");
    let none = Error::from(Lab::named("t-second").status().unwrap_err());
    assert_eq!(none.kind, Kind::Usage, "nothing of the second was made: {none}");
}
