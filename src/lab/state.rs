//! What the lab remembers on disk: one folder for all labs of this machine, a record for each lab, locks.
//!
//! ```text
//! /var/lib/hactl-lab/            $HACTL_LAB_DIR; root's, 0700
//!   base/SUITE-KEY/              a finished base root file system (a name that starts with `.` is not finished)
//!   cache/SUITE/                 Debian packages that hosts downloaded
//!   labs/NAME/lab.json           the record; written before anything of the lab exists
//!   labs/NAME/hosts/HOST/        upper and work folder of its overlay, host.json when complete, console.log
//!   locks/
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::base::Suite;
use super::error::{LabError, Result};
use super::fleet::Fleet;

/// The folder of all labs.
#[derive(Debug, Clone)]
pub(super) struct StateRoot {
    path: PathBuf,
}

/// What `lab.json` holds: enough to take the lab down without the inventory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Random, ten hex digits; part of every name the lab gives on this machine, which is how it knows its own.
    pub id: String,
    /// The bridge.
    pub bridge: String,
    /// Which Debian the hosts run.
    pub suite: Suite,
    /// The hosts.
    pub fleet: Fleet,
}

/// What `host.json` holds: the host's disk is complete and stands on this base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Disk {
    /// Folder name under `base/`.
    pub base: String,
}

impl StateRoot {
    /// `$HACTL_LAB_DIR`, or `/var/lib/hactl-lab`.
    pub(super) fn usual() -> StateRoot {
        let path = std::env::var_os("HACTL_LAB_DIR").filter(|p| !p.is_empty());
        StateRoot {
            path: path.map_or_else(|| PathBuf::from("/var/lib/hactl-lab"), PathBuf::from),
        }
    }

    /// Another folder.
    pub(super) fn at(path: PathBuf) -> StateRoot {
        StateRoot { path }
    }

    /// Makes it when it is missing, and refuses one that others could write to: what is in it runs as root.
    pub(super) fn prepare(&self) -> Result<()> {
        let path = &self.path;
        if path.to_string_lossy().contains([':', ',', '\\', '"']) || !path.is_absolute() {
            return Err(LabError::Fleet {
                what: format!(
                    "{}: the lab's folder must be absolute and free of `:` `,` `\\` `\"`",
                    path.display()
                ),
                hint: "set HACTL_LAB_DIR to another folder".into(),
            });
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(LabError::io("cannot make", path))?;
        let meta = fs::metadata(path).map_err(LabError::io("cannot read", path))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(LabError::Foreign {
                what: format!(
                    "{}: the lab's folder must belong to root and be writable by nobody else",
                    path.display()
                ),
                hint: format!("run: chown root {0}; chmod 700 {0}", path.display()),
            });
        }
        for folder in ["base", "cache", "labs", "locks"] {
            make_dir(&path.join(folder), 0o700)?;
        }
        Ok(())
    }

    /// Tells the folders of labs apart in names on this machine.
    pub(super) fn mark(&self) -> String {
        fingerprint(&self.path.to_string_lossy())
    }

    /// `base/`.
    pub(super) fn bases(&self) -> PathBuf {
        self.path.join("base")
    }

    /// `cache/SUITE`.
    pub(super) fn cache(&self, suite: Suite) -> PathBuf {
        self.path.join("cache").join(suite.word())
    }

    /// `labs/NAME`.
    pub(super) fn lab(&self, name: &str) -> PathBuf {
        self.path.join("labs").join(name)
    }

    /// Names of all labs with a folder.
    pub(super) fn labs(&self) -> Vec<String> {
        names_in(&self.path.join("labs"))
    }

    /// A file directly in the state root.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes a lock; `waiting` is called once when another run holds it. It ends with the value, or with the process.
    pub(super) fn lock(&self, name: &str, waiting: &dyn Fn()) -> Result<Lock> {
        let path = self.path.join("locks").join(name);
        let mut told = false;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(LabError::io("cannot open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        waiting();
                    }
                    file.lock().map_err(LabError::io("cannot lock", &path))?;
                }
                Err(TryLockError::Error(e)) => return Err(LabError::io("cannot lock", &path)(e)),
            }
            // Its last holder may have removed the file: then the lock is on nothing that others would find.
            let held = file.metadata().map_err(LabError::io("cannot read", &path))?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == held) {
                return Ok(Lock { path, file });
            }
        }
    }

    /// The record of a lab.
    ///
    /// # Errors
    /// [`LabError::NoLab`] when there is none.
    pub(super) fn record(&self, name: &str) -> Result<Record> {
        read_json(&self.lab(name).join("lab.json"))?.ok_or_else(|| LabError::NoLab { lab: name.into() })
    }

    /// Writes the record of a lab.
    pub(super) fn write_record(&self, record: &Record) -> Result<()> {
        let folder = self.lab(&record.fleet.name);
        make_dir(&folder, 0o700)?;
        make_dir(&folder.join("hosts"), 0o700)?;
        write_json(&folder.join("lab.json"), record)
    }
}

impl Record {
    /// Name of the nft table.
    pub(super) fn table(&self) -> String {
        format!("hactl_lab_{}", self.id)
    }

    /// Hardware address of the bridge: says whose it is, and stays the same when hosts come and go.
    pub(super) fn bridge_mac(&self) -> String {
        let mut mac = String::from("02");
        for pair in self.id.as_bytes().chunks(2) {
            mac.push(':');
            mac.extend(pair.iter().map(|b| char::from(*b)));
        }
        mac
    }
}

/// A held lock.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// A copy that holds the lock too, for the standard input of a program.
    pub(super) fn hold(&self) -> Result<Stdio> {
        self.file
            .try_clone()
            .map(Stdio::from)
            .map_err(LabError::io("cannot hold", &self.path))
    }

    /// Lets go and removes the file.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Five hex digits that differ for texts that differ, all but always.
pub(super) fn fingerprint(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(3)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .split_off(1)
}

/// Makes one folder with exactly this mode.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(LabError::io("cannot make", path)(e)),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(LabError::io("cannot set the mode of", path))
}

/// Removes a folder and what is in it; one that is not there is fine.
pub(super) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LabError::io("cannot remove", path)(e)),
        _ => Ok(()),
    }
}

/// Names of the entries of a folder, sorted; none when it is not there.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Reads a JSON file; `None` when it is not there.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LabError::io("cannot read", path)(e)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| LabError::Record {
        path: path.to_path_buf(),
        why: e.to_string(),
    })
}

/// Writes a JSON file whole or not at all.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| LabError::Record {
        path: path.to_path_buf(),
        why: e.to_string(),
    })?;
    replace(path, &text, 0o600)
}

/// Replaces a file whole or not at all.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(&part)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(LabError::io("cannot write", path))
}
