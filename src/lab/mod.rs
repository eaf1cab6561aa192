//! A local fleet of real Debian hosts for an inventory, on systemd-nspawn.
//!
//! [`Fleet::of`] takes what the lab needs from an inventory; a [`Lab`] is the handle for everything else. What runs in the
//! hosts is what runs on servers, and nothing else in hactl knows whether it talks to one.
//!
//! The lab prints nothing: it tells a [`Report`].

mod base;
mod cache;
mod cgroup;
mod command;
mod down;
mod error;
mod fleet;
mod host;
mod keys;
mod machine;
mod network;
mod prerequisites;
mod state;
mod status;
mod up;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use base::Suite;
pub use down::DownOptions;
pub use error::{LabError, Result};
pub use fleet::{Fleet, FleetHost};
pub use network::Cable;
pub use status::{HostStatus, LabStatus};
pub use up::{UpOptions, UpSummary};

use host::Machine;
use state::{Lock, Record, StateRoot};

/// How long a link that was plugged in again may take to carry something.
const LINK_PATIENCE: Duration = Duration::from_secs(5);

/// Hears what the lab does; called from several threads.
pub type Report<'a> = &'a (dyn Fn(LabEvent) + Sync);

/// Something the lab did or is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabEvent {
    /// Another run holds what this one needs.
    Waiting {
        /// E.g. `the base file system`.
        for_what: &'static str,
    },
    /// apt-get installs what this machine lacks.
    Installing {
        /// Debian packages.
        packages: Vec<String>,
    },
    /// The base file system is made (half a minute; once).
    BaseStarted {
        /// Which Debian.
        suite: Suite,
    },
    /// A line of what makes it.
    BaseProgress {
        /// Which Debian.
        suite: Suite,
        /// The line.
        line: String,
    },
    /// It is ready.
    BaseFinished {
        /// Which Debian.
        suite: Suite,
    },
    /// Bridge, forwarding and masquerading stand.
    NetworkReady {
        /// Name of the bridge.
        bridge: String,
    },
    /// A host starts.
    HostStarted {
        /// Its name.
        host: String,
    },
    /// A host lets people log in.
    HostReady {
        /// Its name.
        host: String,
        /// Since its start.
        after: Duration,
    },
    /// A host runs already.
    HostUnchanged {
        /// Its name.
        host: String,
    },
    /// A host is cut off.
    HostCut {
        /// Its name.
        host: String,
    },
    /// A host is plugged in again.
    HostHealed {
        /// Its name.
        host: String,
    },
    /// A host ended.
    HostEnded {
        /// Its name.
        host: String,
    },
    /// Nothing of the lab is left, but disks when asked for.
    Removed,
}

/// A lab by name, running or not.
#[derive(Debug, Clone)]
pub struct Lab {
    name: String,
    root: StateRoot,
}

impl Lab {
    /// The lab of that name (the inventory's `cluster`), kept under `$HACTL_LAB_DIR` or `/var/lib/hactl-lab`.
    pub fn named(name: &str) -> Lab {
        Lab {
            name: name.to_owned(),
            root: StateRoot::usual(),
        }
    }

    /// The lab of that name, kept under another folder.
    pub fn kept_in(name: &str, folder: impl Into<PathBuf>) -> Lab {
        Lab {
            name: name.to_owned(),
            root: StateRoot::at(folder.into()),
        }
    }

    /// Cuts a running host from the network.
    ///
    /// # Errors
    /// When there is no such lab or host, or it does not run.
    pub fn cut(&self, host: &str, report: Report) -> Result<()> {
        self.with_host(host, report, |machine, _, _| {
            self.running(machine)?;
            network::cut(machine.host.address)?;
            report(LabEvent::HostCut { host: host.to_owned() });
            Ok(())
        })
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When there is no such lab or host, or it does not run.
    pub fn heal(&self, host: &str, report: Report) -> Result<()> {
        self.with_host(host, report, |machine, record, _| {
            self.running(machine)?;
            network::heal(machine.host.address, &record.bridge)?;
            // The kernel takes a moment to use a link again; whoever comes next should find it. A host without sshd is
            // plugged in all the same.
            let end = Instant::now() + LINK_PATIENCE;
            while !machine.answers() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
            }
            report(LabEvent::HostHealed { host: host.to_owned() });
            Ok(())
        })
    }

    /// Power loss: everything of the host ends at once; its disk stays. A host that does not run is fine.
    ///
    /// # Errors
    /// When there is no such lab or host, or it does not end.
    pub fn kill(&self, host: &str, report: Report) -> Result<()> {
        self.with_host(host, report, |machine, _, _| {
            machine.kill()?;
            report(LabEvent::HostEnded { host: host.to_owned() });
            Ok(())
        })
    }

    /// Boots a host again with its disk, and waits until it lets people log in. A running one is left alone.
    ///
    /// # Errors
    /// When there is no such lab or host, or it does not boot within `deadline`.
    pub fn boot(&self, host: &str, deadline: Duration, report: Report) -> Result<()> {
        prerequisites::ensure(false, report)?;
        self.with_host(host, report, |machine, record, lock| {
            network::ensure(&self.root, record)?;
            up::run(machine, record, lock, deadline, report).map(drop)
        })
    }

    fn with_host(
        &self,
        host: &str,
        report: Report,
        act: impl FnOnce(&Machine, &Record, &Lock) -> Result<()>,
    ) -> Result<()> {
        prerequisites::root()?;
        // Before the lock, which has no folder when there has never been a lab.
        self.root.record(&self.name)?;
        let lock = self.lock(report)?;
        let record = self.root.record(&self.name)?;
        let Some(found) = record.fleet.host(host) else {
            return Err(LabError::NoHost {
                lab: self.name.clone(),
                host: host.to_owned(),
                known: record.fleet.hosts.iter().map(|h| h.name.clone()).collect(),
            });
        };
        act(&Machine::new(&self.root, &record, found)?, &record, &lock)
    }

    fn running(&self, machine: &Machine) -> Result<()> {
        if machine.is_running() {
            return Ok(());
        }
        Err(LabError::NotRunning {
            lab: self.name.clone(),
            host: machine.host.name.clone(),
        })
    }

    /// One run at a time changes a lab.
    fn lock(&self, report: Report) -> Result<Lock> {
        let waiting = || {
            report(LabEvent::Waiting {
                for_what: "another run that works on this lab",
            })
        };
        self.root.lock(&format!("lab-{}", self.name), &waiting)
    }
}
