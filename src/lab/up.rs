//! `lab up`: from whatever is there to every host letting people log in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::base::{self, Suite};
use super::error::{LabError, Result};
use super::fleet::Fleet;
use super::host::Machine;
use super::machine::Surroundings;
use super::network::{self, Cable};
use super::state::{Lock, Record, remove_dir};
use super::{Lab, LabEvent, Report, keys, prerequisites};

/// How a lab is started.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Let apt-get install what this machine lacks.
    pub install: bool,
    /// Which Debian.
    pub suite: Suite,
    /// Whether hosts mount file systems of programs (FUSE), which this machine's kernel must have.
    pub fuse: bool,
    /// Packages preinstalled in the base, so that repeated runs are quick. Empty: bare servers, as real ones start.
    pub warm: Vec<String>,
    /// How long a host may take until it lets people log in.
    pub boot_deadline: Duration,
}

impl Default for UpOptions {
    fn default() -> Self {
        UpOptions {
            install: false,
            fuse: false,
            suite: Suite::default(),
            warm: Vec::new(),
            boot_deadline: Duration::from_secs(180),
        }
    }
}

/// What `up` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpSummary {
    /// Hosts that were started or healed.
    pub changed: Vec<String>,
    /// Hosts that ran already.
    pub unchanged: Vec<String>,
}

impl Lab {
    /// Boots every host of the fleet that does not run, mends what a killed lab left, and waits until all let people log
    /// in. On a running lab it does nothing. Hosts of the lab that the fleet no longer has are left as they are.
    ///
    /// # Errors
    /// When this machine lacks something, its network is taken, the fleet contradicts the running lab, or a host does not
    /// boot (the error holds the end of its console; the others stay up).
    pub fn up(&self, fleet: &Fleet, options: &UpOptions, report: Report) -> Result<UpSummary> {
        prerequisites::ensure(options.install, report)?;
        if options.fuse {
            prerequisites::fuse()?;
        }
        self.root.prepare()?;
        let lock = self.lock(report)?;
        let done = self.up_locked(fleet, options, &lock, report);
        if done.is_err() && !self.root.lab(&self.name).exists() {
            lock.remove();
        }
        done
    }

    fn up_locked(&self, fleet: &Fleet, options: &UpOptions, lock: &Lock, report: Report) -> Result<UpSummary> {
        let record = self.recorded(fleet, options.suite)?;
        network::check(&record)?;
        let mut keys_of: BTreeMap<_, String> = BTreeMap::new();
        for host in &fleet.hosts {
            if !keys_of.contains_key(&host.identity_file) {
                keys_of.insert(host.identity_file.clone(), keys::authorized_keys(host)?);
            }
        }
        let here = Surroundings::read();
        let base = base::ensure(&self.root, options.suite, &options.warm, &here, report)?;
        let is_new = matches!(self.root.record(&self.name), Err(LabError::NoLab { .. }));
        self.root.write_record(&record)?;
        if let Err(e) = network::ensure(&self.root, &record) {
            if is_new {
                network::remove(&self.root, &record)?;
                remove_dir(&self.root.lab(&self.name))?;
            }
            return Err(e);
        }
        report(LabEvent::NetworkReady {
            bridge: record.bridge.clone(),
        });

        let up_one = |host| -> Result<bool> {
            let machine = Machine::new(&self.root, &record, host)?;
            if !machine.is_running() {
                let authorized = keys_of.get(&host.identity_file).map_or("", String::as_str);
                machine.prepare(lock, options.suite, &base, authorized, &here)?;
            }
            run(&machine, &record, lock, options.boot_deadline, report)
        };
        let done: Vec<Result<bool>> = std::thread::scope(|scope| {
            let threads: Vec<_> = fleet
                .hosts
                .iter()
                .map(|host| scope.spawn(move || up_one(host)))
                .collect();
            let gone = || LabError::Remains {
                what: "a thread of the lab ended unexpectedly".into(),
            };
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(gone())))
                .collect()
        });
        let mut summary = UpSummary {
            changed: Vec::new(),
            unchanged: Vec::new(),
        };
        let mut first_error = None;
        for (host, result) in fleet.hosts.iter().zip(done) {
            match result {
                Ok(true) => summary.changed.push(host.name.clone()),
                Ok(false) => summary.unchanged.push(host.name.clone()),
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        // Also when one failed: the others are there to log in to.
        for host in &fleet.hosts {
            let machine = Machine::new(&self.root, &record, host)?;
            if machine.has_disk()? {
                keys::learn(host, &machine.public_keys()?)?;
            }
        }
        first_error.map_or(Ok(summary), Err)
    }

    /// The record to work with: a new one, or the one there, with the fleet's new hosts.
    fn recorded(&self, fleet: &Fleet, suite: Suite) -> Result<Record> {
        let mut record = match self.root.record(&self.name) {
            Ok(record) => record,
            Err(LabError::NoLab { .. }) => {
                return Ok(Record {
                    id: format!("{:010x}", rand::random::<u64>() & 0xff_ffff_ffff),
                    bridge: network::bridge_name(&self.name),
                    suite,
                    fleet: fleet.clone(),
                });
            }
            Err(e) => return Err(e),
        };
        let changed = |what: String| LabError::Changed {
            lab: self.name.clone(),
            what,
        };
        if record.suite != suite {
            return Err(changed(format!(
                "its hosts run {}, not {}",
                record.suite.word(),
                suite.word()
            )));
        }
        if record.fleet.subnet != fleet.subnet {
            return Err(changed(format!(
                "it lives in {}, the inventory in {}",
                record.fleet.subnet, fleet.subnet
            )));
        }
        for host in &fleet.hosts {
            match record.fleet.hosts.iter_mut().find(|known| known.name == host.name) {
                Some(known) if (known.address, known.port) != (host.address, host.port) => {
                    return Err(changed(format!(
                        "host {} has {}:{}, in the inventory {}:{}",
                        host.name, known.address, known.port, host.address, host.port
                    )));
                }
                Some(known) if (&known.user, &known.identity_file) != (&host.user, &host.identity_file) => {
                    return Err(changed(format!("host {} was made for another user or key", host.name)));
                }
                Some(known) => known.known_hosts.clone_from(&host.known_hosts),
                None => {
                    if let Some(other) = record.fleet.hosts.iter().find(|known| known.address == host.address) {
                        return Err(changed(format!(
                            "its host {} has the address of host {}",
                            other.name, host.name
                        )));
                    }
                    record.fleet.hosts.push(host.clone());
                }
            }
        }
        Ok(record)
    }
}

/// Starts a host that does not run, plugs in one that is cut off, and waits for it. Says whether anything was to do.
pub(super) fn run(machine: &Machine, record: &Record, lock: &Lock, deadline: Duration, report: Report) -> Result<bool> {
    let host = machine.host;
    let name = || host.name.clone();
    let started = Instant::now();
    if !machine.is_running() {
        report(LabEvent::HostStarted { host: name() });
        machine.start(lock)?;
        machine.wait(deadline)?;
        report(LabEvent::HostReady {
            host: name(),
            after: started.elapsed(),
        });
        return Ok(true);
    }
    if machine.answers() {
        report(LabEvent::HostUnchanged { host: name() });
        return Ok(false);
    }
    let only = Fleet {
        name: record.fleet.name.clone(),
        subnet: record.fleet.subnet,
        hosts: vec![host.clone()],
    };
    if network::cables(&only)?.first() != Some(&Cable::Absent) {
        network::heal(host.address, &record.bridge)?;
        report(LabEvent::HostHealed { host: name() });
    }
    machine.wait(deadline)?;
    report(LabEvent::HostReady {
        host: name(),
        after: started.elapsed(),
    });
    Ok(true)
}
