//! A lab host from the inside without its network and its logins: what is shown about sshd, sudo or a frozen host must not
//! depend on them.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::stack::Stack;

impl Stack {
    /// Processes of the host, by their numbers on this machine.
    pub fn processes(&self) -> Vec<u32> {
        let address = format!("Address={}/", self.address);
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
            .filter(|pid| {
                let file = PathBuf::from(format!("/proc/{pid}/root/etc/systemd/network/10-host0.network"));
                std::fs::read_to_string(file).is_ok_and(|text| text.contains(&address))
            })
            .collect()
    }

    /// Those whose command line contains this.
    pub fn running(&self, part: &str) -> Vec<u32> {
        let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |pid: &u32| String::from_utf8_lossy(&line(pid)).replace('\0', " ").contains(part);
        self.processes().into_iter().filter(has).collect()
    }

    /// Runs a script as root in the host and gives what became of it.
    #[track_caller]
    pub fn try_inside(&self, script: &str) -> Output {
        // Its init, which stays: other processes come and go, and numbers start again from below.
        let init = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.is_some_and(|numbers| numbers.split_whitespace().nth(1) == Some("1"))
        };
        let leader = self.processes().into_iter().find(init).expect("the host runs");
        Command::new("nsenter")
            .args([
                "-t",
                &leader.to_string(),
                "-m",
                "-u",
                "-i",
                "-n",
                "-p",
                "-C",
                "sh",
                "-c",
            ])
            .arg(format!("cd /; export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n{script}"))
            .output()
            .expect("nsenter")
    }

    /// The same for a script that must succeed; what it printed.
    #[track_caller]
    pub fn inside(&self, script: &str) -> String {
        let output = self.try_inside(script);
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        assert!(
            output.status.success(),
            "{script}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Stops (`STOP`) or continues (`CONT`) every process of the host.
    pub fn signal_all(&self, signal: &str) {
        let mut command = Command::new("kill");
        command.arg(format!("-{signal}"));
        command.args(self.processes().iter().map(u32::to_string));
        // One that ended meanwhile is no failure.
        let _ = command.output();
    }
}
