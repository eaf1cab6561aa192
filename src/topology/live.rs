//! Who leads right now, by the hosts' own word. Roles that move at run time are never taken from the inventory once they
//! have moved: live roles win.

use std::collections::{BTreeMap, BTreeSet};

/// What the hosts said, as far as one host's configuration depends on another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// The host that takes MariaDB's writes; `None` where none ever did.
    pub writer: Option<String>,
    /// Nobody follows the writer, and nothing that hactl does makes the other one follow: it does not answer, or
    /// is an old primary. So nobody can acknowledge what is written.
    pub lone: bool,
    /// The host that leads, by replicated set of Redis (`cache`, `queue`); none where it follows from the inventory alone.
    pub redis: BTreeMap<String, String>,
    /// Databases whose place was taken in a crash plan and that have not rejoined: nobody believes what they say.
    pub replaced: BTreeSet<String>,
    /// Public ssh host keys by host, as `ssh-ed25519 AAAA...`.
    pub ssh_keys: BTreeMap<String, String>,
}

impl Live {
    /// Nobody was asked.
    pub const UNKNOWN: Live = Live {
        writer: None,
        lone: false,
        redis: BTreeMap::new(),
        replaced: BTreeSet::new(),
        ssh_keys: BTreeMap::new(),
    };
}
