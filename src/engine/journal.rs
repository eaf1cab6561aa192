//! Runs recorded on this machine: `$XDG_STATE_HOME/hactl/runs/CLUSTER/RUN.jsonl`, one event a line, readable by its owner
//! only. The hosts keep their own record (`/var/lib/hactl/journal/`, see `apply.sh`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::FlockOperation;

use super::Event;
use crate::error::{Error, Result};

/// Identifies a run: its start (UTC, to the millisecond) and four random hex digits, e.g. `20261121T093015123Z-7f3a`.
/// Sorts by time, here and as a file name on the hosts.
pub fn run_id() -> String {
    id(jiff::Timestamp::now(), rand::random())
}

fn id(start: jiff::Timestamp, random: u16) -> String {
    format!("{}-{random:04x}", start.strftime("%Y%m%dT%H%M%S%3fZ"))
}

/// Who runs hactl: `user@machine`, as the hosts' journals and locks will name them.
pub fn operator() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid{}", rustix::process::getuid().as_raw()));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let clean = |text: String| -> String {
        text.chars()
            .filter(|c| !c.is_control() && !c.is_whitespace())
            .take(64)
            .collect()
    };
    format!("{}@{}", clean(user), clean(machine))
}

/// The folder of a cluster's runs.
pub fn folder(cluster: &str) -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    state
        .unwrap_or_else(|| home().join(".local/state"))
        .join("hactl/runs")
        .join(cluster)
}

/// Whether the run that writes this record goes on.
pub fn is_held(record: &File) -> bool {
    match rustix::fs::flock(record, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            let _ = rustix::fs::flock(record, FlockOperation::Unlock);
            false
        }
        Err(error) => error == rustix::io::Errno::WOULDBLOCK,
    }
}

/// Writes one run's record.
pub struct Recorder {
    file: Mutex<File>,
    path: PathBuf,
}

impl Recorder {
    /// Starts the record of a run.
    ///
    /// # Errors
    /// When the folder or file cannot be made: a run that cannot be recorded does not start.
    pub fn start(folder: &Path, run: &str) -> Result<Self> {
        let path = folder.join(format!("{run}.jsonl"));
        let problem = |error: std::io::Error| {
            Error::internal(format!("cannot write the journal {}: {error}", path.display()))
                .hint("set XDG_STATE_HOME to a folder that can be written")
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(problem)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(problem)?;
        // Held as long as the process lives: tells a run that goes on from one that was killed. Where files cannot be
        // locked (some network file systems) nothing is lost but that.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Recorder {
            file: Mutex::new(file),
            path,
        })
    }

    /// Appends an event. A full disk here must not stop a run half-way on the hosts, so failures are dropped.
    pub fn record(&self, event: &Event) {
        let mut line = serde_json::json!({ "time": jiff::Timestamp::now().to_string() });
        if let (Some(line), Ok(serde_json::Value::Object(event))) = (line.as_object_mut(), serde_json::to_value(event))
        {
            line.extend(event);
        }
        if let Ok(mut file) = self.file.lock() {
            let _ = writeln!(file, "{}", crate::quote::json(&line));
        }
    }

    /// Where the record is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_sort_by_time_even_within_a_second() {
        let at = |ms: i64| jiff::Timestamp::from_millisecond(1_795_253_415_000 + ms).unwrap();
        assert_eq!(id(at(7), 0x7f3a), "20261121T093015007Z-7f3a");
        assert!(id(at(99), u16::MAX) < id(at(100), 0));
        assert!(id(at(999), u16::MAX) < id(at(1000), 0));
    }
}
