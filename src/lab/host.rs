//! One host: its disk, its boot, its end.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::base::Suite;
use super::cache;
use super::cgroup::Cgroup;
use super::command::{finish, run, tail};
use super::error::{LabError, Result};
use super::fleet::FleetHost;
use super::machine::Surroundings;
use super::network::machine_name;
use super::prerequisites;
use super::state::{Disk, Lock, Record, StateRoot, make_dir, names_in, read_json, remove_dir, write_json};

/// Starts a host from its folder: `$1` that folder, `$2` its base, then the command of systemd-nspawn.
///
/// The overlay is mounted in a mount namespace of the host's own, and so are the places where systemd-nspawn keeps notes:
/// when the host ends, by whatever means, the kernel takes them away, and nothing is left on this machine. `slave`: what
/// this machine unmounts later does not stay mounted here.
const MOUNT_AND_RUN: &str = r#"set -eu
cd "$1"
mount -t overlay hactl-lab -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root"
if [ -d /run/systemd ]; then mount -t tmpfs -o mode=0755 hactl-lab /run/systemd; fi
shift 2
exec "$@"
"#;

/// Makes a user who may become root: `$1` the user, `$2` the authorized_keys.
const ADD_USER: &str = r#"set -eu
useradd --create-home --shell /bin/bash -- "$1"
printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$1" > "/etc/sudoers.d/90-$1"
chmod 0440 "/etc/sudoers.d/90-$1"
install -d -m 0700 -o "$1" -g "$1" "/home/$1/.ssh"
printf '%s' "$2" > "/home/$1/.ssh/authorized_keys"
chown "$1:$1" "/home/$1/.ssh/authorized_keys"
chmod 0600 "/home/$1/.ssh/authorized_keys"
"#;

/// A host of a lab on this machine.
pub(super) struct Machine<'a> {
    /// The state root.
    root: &'a StateRoot,
    /// Its lab.
    record: &'a Record,
    /// Itself.
    pub host: &'a FleetHost,
    folder: PathBuf,
    group: Cgroup,
}

impl<'a> Machine<'a> {
    /// Nothing is made yet.
    pub(super) fn new(root: &'a StateRoot, record: &'a Record, host: &'a FleetHost) -> Result<Self> {
        let folder = root.lab(&record.fleet.name).join("hosts").join(&host.name);
        Ok(Machine {
            root,
            record,
            host,
            folder,
            group: Cgroup::of(&record.id, &host.name)?,
        })
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        self.group.is_populated()
    }

    /// Whether its disk is complete.
    pub(super) fn has_disk(&self) -> Result<bool> {
        Ok(self.disk()?.is_some())
    }

    fn disk(&self) -> Result<Option<Disk>> {
        read_json(&self.folder.join("host.json"))
    }

    /// Makes its disk, unless a complete one is there.
    pub(super) fn prepare(
        &self,
        lock: &Lock,
        suite: Suite,
        base: &str,
        authorized_keys: &str,
        here: &Surroundings,
    ) -> Result<()> {
        if self.disk()?.is_some() {
            return Ok(());
        }
        self.group.kill()?;
        remove_dir(&self.folder)?;
        make_dir(&self.folder, 0o700)?;
        let upper = self.folder.join("upper");
        for (name, mode) in [("upper", 0o755), ("work", 0o700), ("root", 0o755)] {
            make_dir(&self.folder.join(name), mode)?;
        }
        let put = |path: &str, content: &str| put(&upper, path, content, 0o644);
        let FleetHost { name, port, user, .. } = self.host;
        put("etc/hostname", &format!("{name}\n"))?;
        put(
            "etc/hosts",
            &format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
        )?;
        put("etc/machine-id", "")?;
        put("etc/resolv.conf", &here.resolv_conf)?;
        put("etc/systemd/network/10-host0.network", &self.network())?;
        if *port != 22 {
            put("etc/ssh/sshd_config.d/port.conf", &format!("Port {port}\n"))?;
        }
        make_dir(&upper.join("etc/ssh"), 0o755)?;
        // No RSA: it is what takes the time of a fleet's start, and every client of today prefers these.
        for kind in ["ed25519", "ecdsa"] {
            let key = upper.join(format!("etc/ssh/ssh_host_{kind}_key"));
            let comment = format!("root@{name}");
            let words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", &comment, "-f"].map(AsRef::as_ref);
            run("make the host's keys", 60, words.into_iter().chain([key.as_os_str()]))?;
        }
        cache::seed(self.root, suite, &upper)?;
        if user == "root" {
            make_dir(&upper.join("root"), 0o700)?;
            make_dir(&upper.join("root/.ssh"), 0o700)?;
            self::put(&upper, "root/.ssh/authorized_keys", authorized_keys, 0o600)?;
        } else {
            let root = self.folder.join("root");
            let words = [
                "chroot".into(),
                root.into(),
                "sh".into(),
                "-c".into(),
                ADD_USER.into(),
                "sh".into(),
                user.into(),
                authorized_keys.into(),
            ];
            let mut command = self.inside(lock, base, &["timeout", "--kill-after=5", "60"], &words)?;
            finish("make the login on the host", &mut command, None)?;
        }
        write_json(&self.folder.join("host.json"), &Disk { base: base.to_owned() })
    }

    fn network(&self) -> String {
        let fleet = &self.record.fleet;
        format!(
            "[Match]\nName=host0\n\n[Network]\nAddress={}/{}\nGateway={}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            self.host.address,
            fleet.subnet.prefix_len(),
            fleet.gateway()
        )
    }

    /// A command in the host's group and mount namespace; `before` comes before the namespace is made.
    fn inside(&self, lock: &Lock, base: &str, before: &[&str], argv: &[OsString]) -> Result<std::process::Command> {
        let mut words: Vec<OsString> = before.iter().map(OsString::from).collect();
        words.extend(
            [
                "unshare",
                "--mount",
                "--propagation=slave",
                "sh",
                "-c",
                MOUNT_AND_RUN,
                "hactl-lab",
            ]
            .map(OsString::from),
        );
        words.push(self.folder.clone().into());
        words.push(self.root.bases().join(base).into());
        words.extend_from_slice(argv);
        self.group.command(lock, words)
    }

    /// Starts it; [`Machine::wait`] waits for it.
    pub(super) fn start(&self, lock: &Lock) -> Result<()> {
        let Some(disk) = self.disk()? else {
            return Err(LabError::Record {
                path: self.folder.join("host.json"),
                why: "the host has no disk".into(),
            });
        };
        // Groups of services of an earlier life.
        self.group.kill()?;
        let mut words: Vec<OsString> = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--kill-signal=SIGRTMIN+3",
        ]
        .map(OsString::from)
        .to_vec();
        words.push(format!("--machine={}", machine_name(self.host.address)).into());
        words.push(format!("--network-bridge={}", self.record.bridge).into());
        if Path::new(prerequisites::FUSE).exists() {
            words.push(format!("--bind={}", prerequisites::FUSE).into());
        }
        words.extend(["-D".into(), self.folder.join("root").into()]);
        let path = self.folder.join("console.log");
        let console = fs::File::create(&path).map_err(LabError::io("cannot write", &path))?;
        let again = console.try_clone().map_err(LabError::io("cannot write", &path))?;
        // Its own session: it outlives the terminal and this process.
        let mut command = self.inside(lock, &disk.base, &["setsid", "--fork"], &words)?;
        // The host's systemd reads its environment from systemd-nspawn's; it must not see the operator's.
        command
            .env_clear()
            .env("PATH", super::command::PATH)
            .env("LC_ALL", "C.UTF-8");
        let status = command.stdout(Stdio::from(console)).stderr(Stdio::from(again)).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failed(format!("its start {status}"))),
            Err(e) => Err(self.failed(format!("cannot start it: {e}"))),
        }
    }

    /// Waits until it lets people log in.
    pub(super) fn wait(&self, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            let running = self.is_running();
            if running && self.answers() && self.admits() {
                return Ok(());
            }
            if !running {
                return Err(self.failed("it ended".into()));
            }
            if Instant::now() > end {
                return Err(self.failed(format!(
                    "sshd did not answer on {} in {} s",
                    self.host.address,
                    deadline.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Whether its sshd answers.
    pub(super) fn answers(&self) -> bool {
        let address = (self.host.address, self.host.port).into();
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) else {
            return false;
        };
        let patience = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let mut banner = [0; 4];
        let heard = patience.and_then(|()| stream.read_exact(&mut banner));
        // Said so that sshd does not log a broken client on every look.
        let _ = stream.write_all(b"SSH-2.0-hactl_lab\r\n");
        heard.is_ok() && &banner == b"SSH-"
    }

    /// Whether its systemd has let users in: until then PAM turns everyone but root away.
    fn admits(&self) -> bool {
        let inside = |pid: &u32| {
            let root = PathBuf::from(format!("/proc/{pid}/root"));
            // systemd-nspawn itself is in the group too; its root is this machine's.
            root.join("etc/systemd/network/10-host0.network")
                .exists()
                .then_some(root)
        };
        self.group
            .processes()
            .iter()
            .find_map(inside)
            .is_some_and(|root| !root.join("run/nologin").exists())
    }

    /// Power loss. The cable goes first: neither a process nor the kernel in its name says goodbye to anybody.
    pub(super) fn kill(&self) -> Result<()> {
        // One that does not run has none.
        let _ = super::network::cut(self.host.address);
        self.group.kill()?;
        // The kernel takes the cable away some time after the last process, and a busy one after minutes; its name must be
        // free for the next boot.
        super::network::unplug(self.host.address);
        let port = Path::new("/sys/class/net").join(super::network::port_name(self.host.address));
        let end = Instant::now() + Duration::from_secs(60);
        while port.exists() {
            if Instant::now() > end {
                return Err(LabError::Remains {
                    what: format!("the interface {} does not go away", port.display()),
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its sshd's public keys.
    pub(super) fn public_keys(&self) -> Result<Vec<String>> {
        let folder = self.folder.join("upper/etc/ssh");
        let names = names_in(&folder);
        let public = names
            .iter()
            .filter(|name| name.starts_with("ssh_host_") && name.ends_with(".pub"));
        public
            .map(|name| {
                let path = folder.join(name);
                fs::read_to_string(&path).map_err(LabError::io("cannot read", &path))
            })
            .collect()
    }

    /// Bytes of memory its processes hold, pages shared with others counted in part.
    pub(super) fn memory(&self) -> u64 {
        let of = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
                .unwrap_or(0)
                * 1024
        };
        self.group.processes().iter().map(of).sum()
    }

    /// Where its console goes.
    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    fn failed(&self, why: String) -> LabError {
        let log = self.console();
        let text = fs::read(&log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        LabError::Boot {
            host: self.host.name.clone(),
            why,
            console: tail(&text, 15),
            log,
        }
    }
}

/// Puts a file over the base's. Folders on the way get Debian's mode: an overlay shows the upper folder's, not the base's.
fn put(upper: &Path, path: &str, content: &str, mode: u32) -> Result<()> {
    let file = upper.join(path);
    let mut folder = upper.to_path_buf();
    for part in Path::new(path).parent().into_iter().flatten() {
        folder.push(part);
        if !folder.is_dir() {
            make_dir(&folder, 0o755)?;
        }
    }
    fs::write(&file, content).map_err(LabError::io("cannot write", &file))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).map_err(LabError::io("cannot set the mode of", &file))
}
