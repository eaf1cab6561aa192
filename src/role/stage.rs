//! Where hosts wait for each other: what has a higher number starts on any host only after all hosts did what has a lower
//! one. One server waits for nobody; stages that nothing happens in cost nothing.

/// Data stores take connections, and the primary writes.
pub const STORES: u8 = 0;
/// Replicas follow.
pub const FOLLOWS: u8 = 10;
/// The primary waits for its replicas.
pub const PROTECTED: u8 = 20;
/// The application, which needs a database that takes writes.
pub const APPLICATION: u8 = 30;
/// Behind everything of all hosts: old passwords end.
pub const LAST: u8 = u8::MAX;
