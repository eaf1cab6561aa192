//! What a host is: read by every probe, used by roles to choose defaults.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::System;

/// Facts of a host. All of it comes from the host and is untrusted: numbers are parsed, texts are only compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `ID` of os-release, e.g. `debian`.
    pub os: String,
    /// `VERSION_ID`, e.g. `12`.
    pub os_version: String,
    /// `VERSION_CODENAME`, e.g. `bookworm`.
    pub codename: String,
    /// Processors available.
    pub cpus: u32,
    /// Total memory, MiB.
    pub memory_mb: u64,
    /// Kernel's machine name, e.g. `x86_64`.
    pub arch: String,
    /// Seconds since the epoch on the host's clock when it was asked.
    pub clock: u64,
    /// Kernel's boot id.
    pub boot_id: String,
    /// Free space on `/`, MiB.
    pub disk_free_mb: u64,
    /// Whether the kernel speaks IPv6.
    pub ipv6: bool,
    /// Its network interfaces with their addresses; one with several addresses is there several times.
    #[serde(default)]
    pub addresses: Vec<(String, IpNet)>,
    /// Whether a run, perhaps one that was cut off, is changing this host right now.
    pub busy: bool,
    /// Newest run that changed this host (`/var/lib/hactl/generation`), empty when none did.
    pub generation: String,
}

impl Facts {
    /// The system, when it is one that roles are made for.
    pub fn system(&self) -> Option<&'static System> {
        System::of(&self.os, &self.os_version)
    }

    /// What is assumed before a host was asked, and by `render`: Debian 12 with 2 processors and 4 GiB.
    pub fn assumed() -> Self {
        Facts {
            os: "debian".into(),
            os_version: "12".into(),
            codename: "bookworm".into(),
            cpus: 2,
            memory_mb: 4096,
            arch: "x86_64".into(),
            clock: 0,
            boot_id: String::new(),
            disk_free_mb: 20_000,
            ipv6: true,
            addresses: Vec::new(),
            busy: false,
            generation: String::new(),
        }
    }
}
