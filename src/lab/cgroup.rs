//! The control group of a host: what runs in it is the host.
//!
//! A process id in a file can be stale or belong to somebody else; a group cannot. It also matters to the host itself:
//! systemd-nspawn with `--keep-unit` makes its `payload` group inside the group it was started in, so hosts started from
//! one group would share one tree, and each host's systemd would see the services of the others as its own.
//! And it is what makes a power loss real: killing systemd-nspawn alone leaves the host's processes running.
//!
//! Only the hierarchies in which systemd tracks processes are touched (cgroup2, and `name=systemd` beside it on hybrid
//! machines); limits that the caller's own groups set in other hierarchies keep holding for the lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::command::PATH;
use super::error::{LabError, Result};
use super::state::{Lock, names_in};

/// Parent of every group the lab makes.
const TOP: &str = "hactl-lab";

/// How long killed processes may take to disappear.
const GONE: Duration = Duration::from_secs(60);

/// One group, the same path in every tracking hierarchy.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    /// Its folders; cgroup2 first when there is one. Never empty.
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// The group `hactl-lab/PARENT/NAME`; nothing is made yet.
    pub(super) fn of(parent: &str, name: &str) -> Result<Cgroup> {
        let mut folders = hierarchies()?;
        for folder in &mut folders {
            folder.push(TOP);
            folder.push(parent);
            folder.push(name);
        }
        Ok(Cgroup { folders })
    }

    /// A command that becomes a member of the group before it starts, so that nothing of it can be outside.
    ///
    /// Until it is a member it holds `lock`: when this process is killed in between, the next holder of the lock does not
    /// miss what is about to start.
    pub(super) fn command<I, S>(&self, lock: &Lock, argv: I) -> Result<Command>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        for folder in &self.folders {
            make(folder).map_err(LabError::io("cannot make the control group", folder))?;
            delegate(folder);
        }
        const JOIN: &str = "while [ \"$1\" != -- ]; do echo 0 > \"$1/cgroup.procs\" || exit 1; shift; done; shift; \
                            exec \"$@\" < /dev/null";
        let mut command = Command::new("sh");
        command.env("PATH", PATH).env("LC_ALL", "C.UTF-8").stdin(lock.hold()?);
        command
            .args(["-c", JOIN, "hactl-lab"])
            .args(&self.folders)
            .arg("--")
            .args(argv);
        Ok(command)
    }

    /// Every process in the group and below it.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for folder in &self.folders {
            collect(folder, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether anything runs in it.
    pub(super) fn is_populated(&self) -> bool {
        !self.processes().is_empty()
    }

    /// Ends everything in the group at once, as a power loss does, waits until it is gone, and removes the group.
    pub(super) fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + GONE;
        loop {
            let running = self.processes();
            if running.is_empty() {
                // The kernel lets go of a group a moment after its last process.
                match self.folders.iter().try_for_each(|folder| remove_tree(folder)) {
                    Ok(()) => return Ok(()),
                    Err(_) if Instant::now() < deadline => {}
                    Err(e) => return Err(LabError::io("cannot remove the control group", &self.folders[0])(e)),
                }
            } else if Instant::now() > deadline {
                return Err(LabError::Remains {
                    what: format!("processes {running:?} do not end although killed"),
                });
            } else {
                self.end(&running);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&self, running: &[u32]) {
        // cgroup.kill (Linux 5.14) takes processes that fork meanwhile too; elsewhere the caller's repetition does.
        if fs::write(self.folders[0].join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in running.iter().filter_map(|pid| i32::try_from(*pid).ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Kills and removes every group of `hactl-lab/PARENT`.
pub(super) fn remove_all(parent: &str) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    for top in hierarchies()? {
        names.extend(names_in(&top.join(TOP).join(parent)));
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let group = Cgroup::of(parent, &name)?;
        // The kernel's own files are in the same folder.
        if group.folders.iter().any(|folder| folder.is_dir()) {
            group.kill()?;
        }
    }
    tidy(parent)
}

/// Removes `hactl-lab/PARENT`, and `hactl-lab` itself, when nothing is in them.
pub(super) fn tidy(parent: &str) -> Result<()> {
    for top in hierarchies()? {
        let _ = fs::remove_dir(top.join(TOP).join(parent));
        let _ = fs::remove_dir(top.join(TOP));
    }
    Ok(())
}

/// Makes a group and those above it; another lab may be tidying them away at the same moment.
fn make(folder: &Path) -> std::io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::create_dir_all(folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && tries < 100 => tries += 1,
            other => return other,
        }
    }
}

/// Mount points of the hierarchies in which processes are tracked.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(LabError::io("cannot read", table))?;
    let found = tracking(&text);
    if found.is_empty() {
        return Err(LabError::Foreign {
            what: "no control group hierarchy (cgroup2 or name=systemd) is mounted".into(),
            hint: "mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup".into(),
        });
    }
    Ok(found)
}

/// As [`hierarchies`], from the text of mountinfo.
fn tracking(mountinfo: &str) -> Vec<PathBuf> {
    let mut unified = None;
    let mut named = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        match right.next() {
            Some("cgroup2") => unified = unified.or_else(|| Some(PathBuf::from(point))),
            Some("cgroup") if right.any(|field| field.split(',').any(|option| option == "name=systemd")) => {
                named = named.or_else(|| Some(PathBuf::from(point)));
            }
            _ => {}
        }
    }
    unified.into_iter().chain(named).collect()
}

/// Lets a host's systemd account for and limit its services (cgroup2 only; elsewhere there is nothing to hand on).
fn delegate(folder: &Path) {
    let chain: Vec<&Path> = folder.ancestors().skip(1).take(3).collect();
    for parent in chain.into_iter().rev() {
        for controller in ["cpu", "io", "memory", "pids"] {
            // A controller that the machine does not offer here is one that the host lives without.
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<u32>) {
    if let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) {
        // 0: a process of a namespace we cannot see into; it is somebody's all the same, but no id to wait for.
        found.extend(
            text.lines()
                .filter_map(|line| line.parse::<u32>().ok())
                .filter(|pid| *pid != 0),
        );
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

/// Removes a group and the groups below it; a group that is not there is fine.
fn remove_tree(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracking_hierarchies_are_found_on_all_three_kinds_of_machine() {
        let unified = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hybrid = "30 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n\
                      31 22 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      32 22 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let legacy = "31 22 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n";
        assert_eq!(tracking(unified), [PathBuf::from("/sys/fs/cgroup")]);
        assert_eq!(
            tracking(hybrid),
            [
                PathBuf::from("/sys/fs/cgroup/unified"),
                PathBuf::from("/sys/fs/cgroup/systemd")
            ]
        );
        assert_eq!(tracking(legacy), [PathBuf::from("/sys/fs/cgroup/systemd")]);
        assert!(tracking("1 1 0:1 / / rw - ext4 /dev/vda rw\n").is_empty());
    }
}
