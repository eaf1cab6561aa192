//! Error kinds, their exit codes, and the hint that goes with them.
//!
//! Rooms define their own `thiserror` enums; at the edge each becomes an [`Error`]: a [`Kind`] that decides the exit
//! code, a message that names what/where/why, and a hint that names what to run next.

use std::fmt;

/// What sort of failure this is. The exit code is a published interface (`docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A defect in hactl itself, or a local resource (disk, permissions) that failed it.
    Internal,
    /// Wrong command line or wrong inventory; nothing was contacted.
    Usage,
    /// Not an error: there are changes pending (`plan --exit-code`, drift).
    Pending,
    /// Some host failed while being changed or asked.
    HostFailed,
    /// Some host could not be reached before anything was changed.
    Unreachable,
    /// Another run holds a host's lock.
    Locked,
    /// A safety guard refused.
    Refused,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Usage => 2,
            Kind::Pending => 3,
            Kind::HostFailed => 4,
            Kind::Unreachable => 5,
            Kind::Locked => 6,
            Kind::Refused => 7,
            Kind::Interrupted => 130,
        }
    }

    /// A stable word for JSON output.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Internal => "internal",
            Kind::Usage => "usage",
            Kind::Pending => "pending",
            Kind::HostFailed => "host_failed",
            Kind::Unreachable => "unreachable",
            Kind::Locked => "locked",
            Kind::Refused => "refused",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// An error as the user meets it.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// What failed, where and why, in one or more lines. May hold miette-rendered text (already with source excerpts).
    pub message: String,
    /// What to run or change next, a line each.
    pub hints: Vec<String>,
}

/// Result with the user-facing error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with a message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// A usage error (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// An internal error (exit 1).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds a line that says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Error::internal(format!("{error:#}"))
    }
}
