//! The systems that hactl's roles are made for, as data.

use super::Facts;

/// A release of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct System {
    /// `ID` of os-release.
    pub id: &'static str,
    /// `VERSION_ID`.
    pub version: &'static str,
    /// `VERSION_CODENAME`.
    pub codename: &'static str,
    /// As people call it.
    pub name: &'static str,
    /// Whether its nginx has `http2` as a directive of its own (from 1.25.1 on); older ones know it as a word of `listen`,
    /// which newer ones complain about.
    pub http2_directive: bool,
}

/// All of them.
pub const SYSTEMS: [System; 4] = [
    System {
        id: "debian",
        version: "12",
        codename: "bookworm",
        name: "Debian 12",
        http2_directive: false,
    },
    System {
        id: "debian",
        version: "13",
        codename: "trixie",
        name: "Debian 13",
        http2_directive: true,
    },
    System {
        id: "ubuntu",
        version: "22.04",
        codename: "jammy",
        name: "Ubuntu 22.04",
        http2_directive: false,
    },
    System {
        id: "ubuntu",
        version: "24.04",
        codename: "noble",
        name: "Ubuntu 24.04",
        http2_directive: false,
    },
];

impl System {
    /// By what os-release says.
    pub fn of(id: &str, version: &str) -> Option<&'static System> {
        SYSTEMS
            .iter()
            .find(|system| system.id == id && system.version == version)
    }

    /// What a host with this system is assumed to be before it was asked: 2 processors, 4 GiB.
    pub fn assumed(&self) -> Facts {
        Facts {
            os: self.id.into(),
            os_version: self.version.into(),
            codename: self.codename.into(),
            ..Facts::assumed()
        }
    }

    /// `Debian 12, Debian 13, ...`, for messages.
    pub fn supported() -> String {
        SYSTEMS.map(|system| system.name).join(", ")
    }
}
