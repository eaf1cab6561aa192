//! `lab status`: what runs.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use super::base::Suite;
use super::error::Result;
use super::host::Machine;
use super::network::{self, Cable};
use super::{Lab, prerequisites};

/// A lab as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Which Debian.
    pub suite: Suite,
    /// Name of the bridge.
    pub bridge: String,
    /// Its network.
    pub subnet: ipnet::Ipv4Net,
    /// This machine's address in it.
    pub gateway: Ipv4Addr,
    /// In the inventory's order.
    pub hosts: Vec<HostStatus>,
}

/// A host as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it runs.
    pub running: bool,
    /// Its cable.
    pub cable: Cable,
    /// Whether its sshd answers.
    pub ssh: bool,
    /// Bytes of memory its processes hold.
    pub memory: u64,
    /// Its console's log.
    pub console: PathBuf,
}

impl Lab {
    /// Looks; changes nothing.
    ///
    /// # Errors
    /// When there is no such lab.
    pub fn status(&self) -> Result<LabStatus> {
        prerequisites::root()?;
        let record = self.root.record(&self.name)?;
        let cables = network::cables(&record.fleet)?;
        let look = |(host, cable)| -> Result<HostStatus> {
            let machine = Machine::new(&self.root, &record, host)?;
            let running = machine.is_running();
            Ok(HostStatus {
                name: host.name.clone(),
                address: host.address,
                running,
                cable,
                ssh: running && cable == Cable::Up && machine.answers(),
                memory: machine.memory(),
                console: machine.console(),
            })
        };
        let hosts = record.fleet.hosts.iter().zip(cables).map(look).collect::<Result<_>>()?;
        Ok(LabStatus {
            name: self.name.clone(),
            suite: record.suite,
            bridge: record.bridge.clone(),
            subnet: record.fleet.subnet,
            gateway: record.fleet.gateway(),
            hosts,
        })
    }
}
