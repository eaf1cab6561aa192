//! Backups: what a repository holds, which copies lead to which moment, and the scripts that hosts work with. Pure: what is
//! read comes from a host's answers, what is done is shell for a host. See docs/backup.md.

pub mod catalog;
pub mod choose;
pub mod position;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, Database, Files, Logs, Sort};
pub use choose::{Base, Chosen, Log, Wish};
pub use position::Position;

/// Where the script is on the hosts.
pub const SCRIPT: &str = "/usr/local/lib/hactl/backup";

/// Where what it needs to know is, with passwords.
pub const CONFIG: &str = "/etc/hactl/backup.conf";

/// What it remembers, for itself and for `status`.
pub const STATE: &str = "/var/lib/hactl/backup";

/// The script, for every host that takes part.
pub const TEXT: &str = concat!(
    include_str!("host/lib.sh"),
    include_str!("host/db.sh"),
    include_str!("host/binlog.sh"),
    include_str!("host/keep.sh"),
    include_str!("host/scratch.sh"),
    include_str!("host/site.sh"),
    include_str!("host/main.sh"),
);
