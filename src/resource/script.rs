//! The shell of one step, and the data it needs.

use crate::secret::Text;

/// What every step starts with: `fail`, `same`, `put`, `load`, ... (see `prelude.sh`).
pub const PRELUDE: &str = include_str!("prelude.sh");

/// Exit status of a step that found nothing to do (only [`super::Action::Check`] steps may).
pub const SAME: i32 = 99;

/// Exit status of a step that found the host changed since the plan.
pub const MOVED: i32 = 98;

/// Shell text for one step. Secrets travel as blobs, never in the text: on the host, blob `i` is the file `"$B/i"`
/// in a directory that only root can read, on a memory file system.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Shell, run by `sh` as root after the prelude.
    pub body: String,
    /// Data files.
    pub blobs: Vec<Text>,
}

impl Script {
    /// A script without data.
    pub fn new(body: impl Into<String>) -> Self {
        Script {
            body: body.into(),
            blobs: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.body.push_str(line.as_ref());
        self.body.push('\n');
    }

    /// Adds data; gives the shell word (already quoted) of the file that holds it.
    pub fn blob(&mut self, text: impl Into<Text>) -> String {
        self.blobs.push(text.into());
        format!("\"$B/{}\"", self.blobs.len() - 1)
    }
}
