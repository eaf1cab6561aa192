//! A lab for one test: taken down also when the test fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hactl::lab::{DownOptions, Fleet, FleetHost, Lab, LabEvent, UpOptions, UpSummary};

/// A lab with its own keys, that ends with the test.
pub struct TestLab {
    pub lab: Lab,
    pub fleet: Fleet,
    keys: tempfile::TempDir,
}

/// Prints what the lab does; libtest shows it when the test fails.
pub fn tell(event: LabEvent) {
    eprintln!("{event:?}");
}

impl TestLab {
    /// Hosts `h1`, `h2`, ... at `10.77.SUBNET.11` and on, with the login `root`.
    pub fn new(name: &str, subnet: u8, count: u8) -> TestLab {
        Self::with_user(name, subnet, count, "root")
    }

    /// As [`TestLab::new`] with another login.
    pub fn with_user(name: &str, subnet: u8, count: u8, user: &str) -> TestLab {
        let keys = tempfile::tempdir().expect("a temporary folder");
        let hosts = (1..=count)
            .map(|n| FleetHost {
                name: format!("h{n}"),
                address: [10, 77, subnet, 10 + n].into(),
                user: user.into(),
                port: 22,
                identity_file: Some(keys.path().join("id")),
                known_hosts: Some(keys.path().join("known_hosts")),
            })
            .collect();
        let fleet = Fleet::new(name.into(), hosts).expect("a fleet");
        let test = TestLab {
            lab: Lab::named(name),
            fleet,
            keys,
        };
        // What an earlier run of the test that was killed left.
        test.take_down();
        test
    }

    pub fn up(&self) -> UpSummary {
        self.lab
            .up(&self.fleet, &UpOptions::default(), &tell)
            .unwrap_or_else(|e| panic!("{}", hactl::error::Error::from(e)))
    }

    pub fn key(&self) -> PathBuf {
        self.keys.path().join("id")
    }

    pub fn folder(&self) -> &Path {
        self.keys.path()
    }

    /// Runs a command on a host with the system's ssh, checking its host key.
    pub fn ssh(&self, host: &str, command: &str) -> Output {
        let host = self.fleet.host(host).expect("a host of the fleet");
        let known = format!("UserKnownHostsFile={}", self.keys.path().join("known_hosts").display());
        Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "ConnectTimeout=5",
            ])
            .args(["-o", &known, "-i"])
            .arg(self.key())
            .arg(format!("{}@{}", host.user, host.address))
            .arg(command)
            .output()
            .expect("ssh runs")
    }

    /// As [`TestLab::ssh`], for a command that must succeed; its output.
    pub fn says(&self, host: &str, command: &str) -> String {
        let out = self.ssh(host, command);
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        assert!(
            out.status.success(),
            "{host}: {command}: {}\n{text}\n{}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
        text
    }

    pub fn take_down(&self) {
        match self.lab.down(&DownOptions::default(), &tell) {
            Ok(()) | Err(hactl::lab::LabError::NoLab { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if let Err(e) = self.lab.down(&DownOptions::default(), &tell) {
            eprintln!("{e}");
        }
    }
}

/// Waits for a condition; fails the test when it does not come.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}
