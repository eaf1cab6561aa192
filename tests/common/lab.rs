//! A lab for one test: taken down also when the test fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hactl::lab::{DownOptions, Fleet, FleetHost, Lab, LabEvent, UpOptions, UpSummary};

/// A lab with its own keys, that ends with the test.
pub struct TestLab {
    pub lab: Lab,
    pub fleet: Fleet,
    keys: Keys,
}

/// Where the keys are: a folder of the test, or one that a test and the process it kills share.
enum Keys {
    Own(tempfile::TempDir),
    Shared(PathBuf),
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
        let test = Self::make(Lab::named(name), name, subnet, count, user, Keys::Own(folder()));
        // What an earlier run of the test that was killed left.
        test.take_down();
        test
    }

    /// One that another process works on too; it takes nothing down at its start.
    pub fn shared(lab: Lab, name: &str, subnet: u8, count: u8, keys: &Path) -> TestLab {
        Self::make(lab, name, subnet, count, "root", Keys::Shared(keys.to_owned()))
    }

    fn make(lab: Lab, name: &str, subnet: u8, count: u8, user: &str, keys: Keys) -> TestLab {
        let path = keys.path();
        let hosts = (1..=count)
            .map(|n| FleetHost {
                name: format!("h{n}"),
                address: [10, 77, subnet, 10 + n].into(),
                user: user.into(),
                port: 22,
                identity_file: Some(path.join("id")),
                known_hosts: Some(path.join("known_hosts")),
            })
            .collect();
        let fleet = Fleet::new(name.into(), hosts).expect("a fleet");
        TestLab { lab, fleet, keys }
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
            .args(["-p", &host.port.to_string()])
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
        match self.lab.down(&DownOptions::default(), &tell) {
            Ok(()) | Err(hactl::lab::LabError::NoLab { .. }) => {}
            Err(e) => eprintln!("{e}"),
        }
    }
}

impl Keys {
    fn path(&self) -> &Path {
        match self {
            Keys::Own(folder) => folder.path(),
            Keys::Shared(path) => path,
        }
    }
}

/// A temporary folder.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Output of a program of this machine that must succeed.
pub fn machine(argv: &[&str]) -> String {
    let out = Command::new(argv[0])
        .args(&argv[1..])
        .output()
        .expect("the program runs");
    assert!(
        out.status.success(),
        "{argv:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

impl TestLab {
    /// Everything on this machine that bears a mark of this lab, by kind.
    pub fn traces(&self) -> Vec<(&'static str, Vec<String>)> {
        let ports: Vec<String> = self
            .fleet
            .hosts
            .iter()
            .map(|h| format!("h{:08x}", u32::from(h.address)))
            .collect();
        let bridge = format!("hl-{}", self.fleet.name);
        let net = self.fleet.subnet.to_string();
        let folder = format!("/labs/{}", self.fleet.name);
        let having = |text: &str, marks: &[&str]| -> Vec<String> {
            text.lines()
                .filter(|line| marks.iter().any(|mark| line.contains(mark)))
                .map(str::to_owned)
                .collect()
        };
        let mut link_marks: Vec<&str> = ports.iter().map(String::as_str).collect();
        link_marks.push(&bridge);
        let mut processes = Vec::new();
        let mut groups = Vec::new();
        let mut mounts = having(
            &std::fs::read_to_string("/proc/self/mountinfo").expect("mounts"),
            &[&folder],
        );
        mounts.extend(having(
            &machine(&["find", "/run", "/tmp", "-maxdepth", "4", "-path", "*nspawn*"]),
            &link_marks,
        ));
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains("nspawn") && link_marks.iter().any(|mark| line.contains(mark)) {
                let group = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
                groups.extend(having(&group, &["/hactl-lab/"]));
                processes.push(line);
            }
        }
        vec![
            ("links", having(&machine(&["ip", "-o", "link"]), &link_marks)),
            ("rules", having(&machine(&["nft", "list", "ruleset"]), &[&net])),
            ("routes", having(&machine(&["ip", "route"]), &[&net])),
            ("processes", processes),
            ("groups", groups),
            ("mounts and notes", mounts),
        ]
    }
}
