//! What can go wrong in the lab, and what to do about it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind};
use crate::quote;

/// A failure of the local fleet.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Network, mounts and cgroups belong to root.
    #[error("the lab needs root: it makes network bridges, mounts and containers")]
    NotRoot,
    /// The kernel has no FUSE.
    #[error("files: gluster needs FUSE, and this machine has no {path}", path = super::prerequisites::FUSE)]
    NoFuse,
    /// Programs the lab runs are not installed.
    #[error("the lab needs programs that this machine lacks: {}", .programs.join(", "))]
    MissingPrograms {
        /// What was not found.
        programs: Vec<String>,
        /// Debian packages that hold them.
        packages: Vec<String>,
    },
    /// This inventory cannot be a lab.
    #[error("{what}")]
    Fleet {
        /// Host and reason.
        what: String,
        /// What to change.
        hint: String,
    },
    /// Something of the same name or subnet is there and is not ours.
    #[error("{what}")]
    Foreign {
        /// What stands in the way.
        what: String,
        /// What to change.
        hint: String,
    },
    /// The lab runs for another inventory than the one given.
    #[error("lab {lab}: {what}")]
    Changed {
        /// Its name.
        lab: String,
        /// The difference.
        what: String,
    },
    /// No lab of that name.
    #[error("there is no lab {lab} on this machine")]
    NoLab {
        /// The name asked for.
        lab: String,
    },
    /// No such host in the lab.
    #[error("lab {lab} has no host {host}; it has {}", .known.join(", "))]
    NoHost {
        /// The lab.
        lab: String,
        /// The name asked for.
        host: String,
        /// Names it has.
        known: Vec<String>,
    },
    /// The verb needs a running host.
    #[error("host {host} of lab {lab} does not run")]
    NotRunning {
        /// The lab.
        lab: String,
        /// The host.
        host: String,
    },
    /// A program failed.
    #[error("{doing}: `{command}` {ended}{}", excerpt(.output))]
    Command {
        /// What the lab was about to do.
        doing: String,
        /// The program and its arguments.
        command: String,
        /// How it ended.
        ended: String,
        /// The end of what it said.
        output: String,
    },
    /// A file operation failed.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// E.g. `cannot write`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the lab's own state cannot be read.
    #[error("{} is not a record of a lab: {why}", .path.display())]
    Record {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A host did not come up.
    #[error("host {host} does not boot: {why}{}", excerpt(.console))]
    Boot {
        /// Its name.
        host: String,
        /// What was waited for.
        why: String,
        /// The end of its console.
        console: String,
        /// Where the whole console is.
        log: PathBuf,
    },
    /// Something of the lab does not go away.
    #[error("{what}")]
    Remains {
        /// What, and which processes.
        what: String,
    },
}

/// Result of the lab.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

impl LabError {
    /// For `map_err` on file operations.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LabError {
        let path = path.to_path_buf();
        move |source| LabError::Io { doing, path, source }
    }

    fn kind(&self) -> Kind {
        match self {
            LabError::NotRoot
            | LabError::NoFuse
            | LabError::MissingPrograms { .. }
            | LabError::Fleet { .. }
            | LabError::NoLab { .. }
            | LabError::NoHost { .. }
            | LabError::NotRunning { .. } => Kind::Usage,
            LabError::Foreign { .. } | LabError::Changed { .. } => Kind::Refused,
            LabError::Boot { .. } => Kind::HostFailed,
            LabError::Command { .. } | LabError::Io { .. } | LabError::Record { .. } | LabError::Remains { .. } => {
                Kind::Internal
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            LabError::NotRoot => "run it again with sudo".into(),
            LabError::NoFuse => "load it where the kernel has it as a module: modprobe fuse".into(),
            LabError::MissingPrograms { packages, .. } => format!(
                "run: apt-get install {}   (or let the lab do it: hactl lab up --install)",
                packages.join(" ")
            ),
            LabError::Fleet { hint, .. } | LabError::Foreign { hint, .. } => hint.clone(),
            LabError::Changed { .. } => "run `hactl lab down` first; its disks are thrown away".into(),
            LabError::NoLab { .. } => "run `hactl lab up`".into(),
            LabError::NotRunning { host, .. } => format!("run `hactl lab boot {host}`"),
            LabError::Boot { log, .. } => format!("the whole console: {}", log.display()),
            LabError::Record { path, .. } => format!("remove {} by hand, then run `hactl lab up`", path.display()),
            LabError::NoHost { .. } | LabError::Command { .. } | LabError::Io { .. } | LabError::Remains { .. } => {
                return None;
            }
        })
    }
}

impl From<LabError> for Error {
    fn from(error: LabError) -> Self {
        let made = Error::new(error.kind(), error.to_string());
        match error.hint() {
            Some(hint) => made.hint(hint),
            None => made,
        }
    }
}

/// Output of a program or a console, indented under the message; nothing when there was none.
fn excerpt(text: &str) -> String {
    let clean = quote::terminal(&text.replace('\r', ""));
    clean
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| format!("\n  | {line}"))
        .collect()
}
