//! Faults in the lab, for real: cables, power, and a killed `up`. These tests need root and fail where a lab cannot start.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::lab::{TestLab, folder, tell};
use hactl::error::{Error, Kind};
use hactl::lab::{Cable, DownOptions, Lab, LabError, UpOptions};

const BOOT: Duration = Duration::from_secs(90);

/// How a test tells the process it starts what to bring up: state folder, name, subnet, hosts, keys.
const CHILD: &str = "HACTL_TEST_UP";

#[test]
fn cut_and_heal() {
    let test = TestLab::new("t-cut", 18, 2);
    test.up();
    test.lab.cut("h1", &tell).unwrap();
    assert!(!test.ssh("h1", "true").status.success(), "a cut host does not answer");
    let peer = format!("ping -c 1 -W 2 {}", test.fleet.hosts[0].address);
    assert!(!test.ssh("h2", &peer).status.success(), "not to its peers either");
    let status = test.lab.status().unwrap();
    assert_eq!(
        (status.hosts[0].running, status.hosts[0].cable, status.hosts[0].ssh),
        (true, Cable::Cut, false)
    );
    test.lab.heal("h1", &tell).unwrap();
    test.says("h1", "true");
    test.says("h2", &peer);

    test.lab.cut("h1", &tell).unwrap();
    assert_eq!(test.up().changed, ["h1"], "`up` heals");
    test.says("h1", "true");
    let error = Error::from(test.lab.cut("h9", &tell).unwrap_err());
    assert_eq!(error.kind, Kind::Usage);
    assert!(error.message.contains("it has h1, h2"), "{error}");
}

#[test]
fn power_loss_keeps_the_disk() {
    let test = TestLab::new("t-power", 19, 1);
    test.up();
    test.says(
        "h1",
        "echo kept > /var/lib/kept; systemd-run --quiet --unit=long sleep 1000",
    );
    let before = test.says(
        "h1",
        "cat /etc/machine-id /proc/sys/kernel/random/boot_id; systemctl show -P ActiveEnterTimestamp -- -.slice",
    );
    test.lab.kill("h1", &tell).unwrap();
    let status = test.lab.status().unwrap();
    assert_eq!((status.hosts[0].running, status.hosts[0].cable), (false, Cable::Absent));
    let processes = test
        .traces()
        .into_iter()
        .find(|(kind, _)| *kind == "processes")
        .unwrap()
        .1;
    assert!(processes.is_empty(), "{processes:?}");
    assert_eq!(Error::from(test.lab.cut("h1", &tell).unwrap_err()).kind, Kind::Usage);

    test.lab.boot("h1", BOOT, &tell).unwrap();
    assert_eq!(test.says("h1", "cat /var/lib/kept"), "kept");
    let after = test.says(
        "h1",
        "cat /etc/machine-id /proc/sys/kernel/random/boot_id; systemctl show -P ActiveEnterTimestamp -- -.slice",
    );
    assert_eq!(before.lines().next(), after.lines().next(), "the same machine");
    assert!(
        !test.ssh("h1", "systemctl is-active long").status.success(),
        "what ran is gone"
    );

    // A disk that cannot boot.
    test.says("h1", "rm /sbin/init /lib/systemd/systemd /bin/sh /bin/bash && sync");
    test.lab.kill("h1", &tell).unwrap();
    let error = Error::from(test.lab.boot("h1", BOOT, &tell).unwrap_err());
    assert_eq!(error.kind, Kind::HostFailed);
    assert!(error.message.contains("h1 does not boot"), "{error}");
    assert!(
        error.message.lines().count() > 1,
        "the end of the console is shown: {error}"
    );

    test.lab.down(&DownOptions { keep_disks: true }, &tell).unwrap();
    assert!(
        test.traces().iter().all(|(_, found)| found.is_empty()),
        "{:?}",
        test.traces()
    );
    assert!(!test.lab.status().unwrap().hosts[0].running, "its disk is known");
}

#[test]
fn a_killed_up_is_mended_by_the_next() {
    let keys = folder();
    let name = "t-killed";
    let test = TestLab::shared(Lab::named(name), name, 14, 3, keys.path());
    test.take_down();
    for moment in ["NetworkReady", "HostStarted", "HostReady"] {
        kill_at(moment, Path::new(""), name, 14, 3, keys.path());
        test.up();
        for host in ["h1", "h2", "h3"] {
            assert_eq!(
                test.says(host, "systemctl is-system-running --wait; hostname"),
                format!("running\n{host}")
            );
        }
        kill_at("HostUnchanged", Path::new(""), name, 14, 3, keys.path());
        assert!(
            test.up().changed.is_empty(),
            "a killed `up` of a running lab breaks nothing"
        );
        test.take_down();
        for (kind, found) in test.traces() {
            assert!(found.is_empty(), "{kind}: {found:?}");
        }
    }
    // `down` alone also mends.
    kill_at("HostStarted", Path::new(""), name, 14, 3, keys.path());
    test.take_down();
    for (kind, found) in test.traces() {
        assert!(found.is_empty(), "{kind}: {found:?}");
    }
}

#[test]
fn a_killed_base_is_no_base() {
    let (state, keys) = (folder(), folder());
    let name = "t-base";
    let test = TestLab::shared(Lab::kept_in(name, state.path()), name, 15, 1, keys.path());
    kill_at("I: running apt-get update", state.path(), name, 15, 1, keys.path());
    let names = || -> Vec<_> {
        std::fs::read_dir(state.path().join("base"))
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect()
    };
    assert!(
        names().iter().all(|name| name.to_string_lossy().starts_with('.')),
        "unfinished: {:?}",
        names()
    );
    test.up();
    assert_eq!(test.says("h1", "systemctl is-system-running --wait"), "running");
    assert_eq!(names().len(), 1, "{:?}", names());
    test.take_down();
}

/// Starts `up` in another process and kills it (SIGKILL) when it says `moment`.
fn kill_at(moment: &str, state: &Path, name: &str, subnet: u8, count: u8, keys: &Path) {
    let state = state.display();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "up_for_another_test", "--nocapture"])
        .env(CHILD, format!("{state}|{name}|{subnet}|{count}|{}", keys.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        said.push(line.unwrap());
        if said.last().is_some_and(|line| line.contains(moment)) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        said.last().is_some_and(|line| line.contains(moment)),
        "{moment} was not said: {said:#?}"
    );
}

/// Not a test: the process that [`kill_at`] kills.
#[test]
#[ignore = "run by other tests"]
fn up_for_another_test() {
    let what = std::env::var(CHILD).expect("run by another test");
    let words: Vec<&str> = what.split('|').collect();
    let [state, name, subnet, count, keys] = words[..] else {
        panic!("{what}")
    };
    let lab = if state.is_empty() {
        Lab::named(name)
    } else {
        Lab::kept_in(name, state)
    };
    let test = TestLab::shared(
        lab,
        name,
        subnet.parse().unwrap(),
        count.parse().unwrap(),
        Path::new(keys),
    );
    let up: Result<_, LabError> = test.lab.up(&test.fleet, &UpOptions::default(), &tell);
    // The lab is the other test's to take down.
    std::mem::forget(test);
    up.unwrap();
}
