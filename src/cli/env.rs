//! Every environment variable that hactl itself reads.

/// The inventory, when none is named.
pub const INVENTORY: &str = "HACTL_INVENTORY";

/// Name, meaning: for the manual.
pub const ALL: &[(&str, &str)] = &[
    (INVENTORY, "The inventory when none is named; default ./inventory.yml"),
    ("HACTL_LAB_DIR", "Where labs are kept; default /var/lib/hactl-lab"),
    ("NO_COLOR", "No colours when it is not empty"),
];
