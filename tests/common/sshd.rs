//! A private sshd on loopback with its own keys, and the client's side of it in a temporary home.
//!
//! A machine without sshd fails the test that asks for one: it must not pass for not having run.

#![allow(dead_code)] // Each test binary uses its own part.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hactl::inventory::{Become, Host, HostRole, Ssh, TransportKind};

const BINARY: &str = "/usr/sbin/sshd";

/// A running sshd; it ends with the value.
pub struct Sshd {
    /// Holds the server's files and the client's home.
    pub root: tempfile::TempDir,
    /// Where it listens.
    pub port: u16,
    child: Child,
}

impl Sshd {
    /// Starts one with an ed25519 host key; `extra` are more lines of its configuration.
    pub fn start(extra: &str) -> Self {
        Self::with_host_keys(&["ed25519"], extra)
    }

    /// Starts one with host keys of these types.
    pub fn with_host_keys(types: &[&str], extra: &str) -> Self {
        let root = tempfile::Builder::new()
            .prefix("sshd-")
            .tempdir()
            .expect("a temporary folder");
        for kind in types {
            keygen(&root.path().join(format!("host_{kind}")), kind, "");
        }
        fs::create_dir_all(root.path().join("home/.ssh")).unwrap();
        keygen(&root.path().join("home/.ssh/id_ed25519"), "ed25519", "");
        let public = fs::read(root.path().join("home/.ssh/id_ed25519.pub")).unwrap();
        fs::write(root.path().join("authorized_keys"), public).unwrap();
        let (port, child) = Self::launch(root.path(), types, extra);
        Sshd { root, port, child }
    }

    /// Ends this one and starts another with the same files and more configuration.
    pub fn restarted(mut self, extra: &str) -> Self {
        self.end();
        (self.port, self.child) = Self::launch(self.root.path(), &["ed25519"], extra);
        self
    }

    fn launch(root: &Path, types: &[&str], extra: &str) -> (u16, Child) {
        // sshd refuses to start without its privilege separation folder, which its service would make.
        let _ = fs::create_dir_all("/run/sshd");
        // The port is free when it is asked for and may be taken when sshd binds it; then another one is.
        for _ in 0..20 {
            let port = free_port();
            let mut child = Self::spawn(root, port, types, extra);
            if listening(&mut child, &root.join("log"), port) {
                return (port, child);
            }
        }
        panic!(
            "sshd does not start: {}",
            fs::read_to_string(root.join("log")).unwrap_or_default()
        );
    }

    fn spawn(root: &Path, port: u16, types: &[&str], extra: &str) -> Child {
        let dir = root.display();
        let keys: String = types
            .iter()
            .map(|kind| format!("HostKey {dir}/host_{kind}\n"))
            .collect();
        let config = format!(
            "{extra}\nListenAddress 127.0.0.1\nPort {port}\n{keys}AuthorizedKeysFile {dir}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel DEBUG1\n"
        );
        fs::write(root.join("sshd_config"), config).unwrap();
        Command::new(BINARY)
            .args(["-D", "-f"])
            .arg(root.join("sshd_config"))
            .arg("-E")
            .arg(root.join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{BINARY} is needed (package openssh-server): {error}"))
    }

    /// The client's home.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// A file below the client's `.ssh`.
    pub fn dot_ssh(&self, name: &str) -> PathBuf {
        self.home().join(".ssh").join(name)
    }

    /// Makes a user key of a type, optionally encrypted, and lets it in. Returns its path.
    pub fn user_key(&self, name: &str, kind: &str, passphrase: &str) -> PathBuf {
        let path = self.dot_ssh(name);
        keygen(&path, kind, passphrase);
        self.authorize(&path);
        path
    }

    /// Lets a key in.
    pub fn authorize(&self, key: &Path) {
        let file = self.root.path().join("authorized_keys");
        let mut all = fs::read_to_string(&file).unwrap();
        all.push_str(&fs::read_to_string(format!("{}.pub", key.display())).unwrap());
        fs::write(file, all).unwrap();
    }

    /// `type base64` of a host key.
    pub fn host_key(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.root.path().join(format!("host_{kind}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Writes the client's known_hosts.
    pub fn write_known_hosts(&self, text: &str) {
        fs::write(self.dot_ssh("known_hosts"), text).unwrap();
    }

    /// The client's known_hosts; empty when there is none.
    pub fn known_hosts(&self) -> String {
        fs::read_to_string(self.dot_ssh("known_hosts")).unwrap_or_default()
    }

    /// Makes the client know the host.
    pub fn know(&self) {
        self.write_known_hosts(&format!("[127.0.0.1]:{} {}\n", self.port, self.host_key("ed25519")));
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default()
    }

    /// The inventory's view of this host.
    pub fn host(&self, name: &str) -> Host {
        host(name, self.port)
    }

    /// Ends the processes that serve connections, as a power cut would.
    pub fn cut(&self) {
        assert!(self.kill_children() > 0, "there was a connection to cut");
    }

    fn kill_children(&self) -> usize {
        let parent = self.child.id().to_string();
        let mut killed = 0;
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            // pid (name) state ppid ...
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let ppid = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            if ppid == Some(&parent) {
                let pid = entry.file_name().to_string_lossy().into_owned();
                killed += usize::from(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
            }
        }
        killed
    }

    fn end(&mut self) {
        self.kill_children();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.end();
    }
}

/// A host on loopback, user as whoever runs the test.
pub fn host(name: &str, port: u16) -> Host {
    Host {
        name: name.to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        roles: vec![HostRole::App],
        primary: false,
        standby: false,
        public_address: Vec::new(),
        workers: None,
        group: None,
        ssh: Ssh {
            user: whoami(),
            port,
            identity_file: None,
            known_hosts: None,
            jump: None,
            become_root: Become::None,
            transport: TransportKind::Native,
            connect_timeout: 20,
        },
    }
}

/// The user who runs the test.
pub fn whoami() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes a key pair.
pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ssh-keygen is needed (package openssh-client)");
    assert!(status.success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until the child listens; false when it ended instead. Its log says so: a trial connection would be counted by
/// the tests that count connections.
fn listening(child: &mut Child, log: &Path, port: u16) -> bool {
    let limit = Instant::now() + Duration::from_secs(10);
    let line = format!("Server listening on 127.0.0.1 port {port}.");
    while Instant::now() < limit {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if fs::read_to_string(log).unwrap_or_default().contains(&line) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}
