//! `lab down`: nothing of a lab is left.

use std::fs;
use std::path::Path;

use super::error::{LabError, Result};
use super::host::Machine;
use super::state::{Record, names_in, remove_dir};
use super::{Lab, LabEvent, Report, cache, cgroup, command, network, prerequisites};

/// How a lab ends.
#[derive(Debug, Clone, Default)]
pub struct DownOptions {
    /// Keep the hosts' disks; the next `up` boots with them.
    pub keep_disks: bool,
}

impl Lab {
    /// Ends the hosts, and removes their disks, the bridge and the rules: everything `up` made, by its record, whatever
    /// the inventory says now. The cached base and downloaded packages stay.
    ///
    /// # Errors
    /// [`LabError::NoLab`] when there is none; otherwise when something does not go away.
    pub fn down(&self, options: &DownOptions, report: Report) -> Result<()> {
        prerequisites::root()?;
        if !self.root.lab(&self.name).is_dir() {
            return Err(LabError::NoLab { lab: self.name.clone() });
        }
        let lock = self.lock(report)?;
        let record = match self.root.record(&self.name) {
            Ok(record) => Some(record),
            // The record is written before anything else: without it nothing else was made.
            Err(LabError::NoLab { .. }) => None,
            Err(e) => return Err(e),
        };
        let folder = self.root.lab(&self.name);
        if let Some(record) = &record {
            self.end(record, report)?;
            unmount_below(&folder)?;
        }
        if !(options.keep_disks && record.is_some()) {
            remove_dir(&folder)?;
        }
        self.last_one_out()?;
        lock.remove();
        report(LabEvent::Removed);
        Ok(())
    }

    fn end(&self, record: &Record, report: Report) -> Result<()> {
        let hosts = self.root.lab(&self.name).join("hosts");
        let machines: Vec<Machine> = record
            .fleet
            .hosts
            .iter()
            .map(|host| Machine::new(&self.root, record, host))
            .collect::<Result<_>>()?;
        let done: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = machines.iter().map(|machine| scope.spawn(|| machine.kill())).collect();
            let gone = || LabError::Remains {
                what: "a thread of the lab ended unexpectedly".into(),
            };
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(gone())))
                .collect()
        });
        for (machine, result) in machines.iter().zip(done) {
            result?;
            report(LabEvent::HostEnded {
                host: machine.host.name.clone(),
            });
        }
        cgroup::remove_all(&record.id)?;
        for host in names_in(&hosts) {
            cache::harvest(&self.root, record.suite, &hosts.join(host).join("upper"))?;
        }
        network::remove(&self.root, record)
    }

    /// After the last lab of this machine: forwarding as it was.
    fn last_one_out(&self) -> Result<()> {
        let lock = self.root.lock("network", &|| {})?;
        let others = self
            .root
            .labs()
            .into_iter()
            .any(|name| name != self.name && self.root.record(&name).is_ok_and(|record| network::stands(&record)));
        if !others {
            network::stop_forwarding(&self.root)?;
        }
        lock.remove();
        Ok(())
    }
}

/// Unmounts what is mounted below a folder of the lab, deepest first: removing files must not follow a mount.
fn unmount_below(folder: &Path) -> Result<()> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(LabError::io("cannot read", table))?;
    let mut points: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|point| Path::new(point).starts_with(folder))
        .collect();
    points.sort_unstable();
    for point in points.iter().rev() {
        command::run("unmount", 30, ["umount", point])?;
    }
    Ok(())
}

/// Mount points in mountinfo have blanks as `\040`.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}
