//! The system's `ssh`, for hosts whose configuration asks for what native lacks.
//!
//! One process per command, and a run needs one command per host, so a connection multiplexer would only add processes.
//! Connecting therefore happens in [`Connection::open`]: it returns when ssh says that it is authenticated, or with the
//! reason why not, before a byte of input was consumed, so a dropped handshake can be repeated.
//!
//! ssh's own words are kept apart from the host's standard error: they go to a FIFO (`-E`). ssh never asks: many hosts
//! connect at once, under a progress display, so questions would mix. BatchMode is on also at a terminal, and an
//! askpass that declines covers the jump hosts, which BatchMode does not reach. Encrypted keys come from the agent.

mod log;
mod process;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use self::log::Log;
use super::gate::{Attempt, Gate};
use super::known_hosts::Place;
use super::native::jump::Spec;
use super::sshconfig::{Effective, Settings};
use super::trust::{Files, unreadable};
use super::{Connection, Pipe, TransportError};
use crate::inventory::Host;
use crate::quote::{sh, sh_words};

/// What to look at when a host does not answer.
pub(super) const UNREACHABLE: &str =
    "is the host up, and does a firewall drop its packets? `ssh.connect_timeout` changes the time";

/// Makes connections by running ssh.
pub struct OpenSsh {
    gate: Arc<Gate>,
    settings: Arc<Settings>,
    accept_new: bool,
}

impl OpenSsh {
    /// `accept_new`: unknown hosts are accepted and filed.
    pub fn new(gate: Arc<Gate>, settings: Arc<Settings>, accept_new: bool) -> Self {
        OpenSsh {
            gate,
            settings,
            accept_new,
        }
    }

    /// A connection whose ssh starts with the first command.
    ///
    /// # Errors
    /// The jump host's name is malformed.
    pub fn connect(&self, host: &Host, settings: &Effective) -> Result<Box<dyn Connection>, TransportError> {
        let label = format!(
            "{} ({}@{}:{})",
            host.name, host.ssh.user, settings.hostname, settings.port
        );
        let known = Files::new(host.ssh.known_hosts.as_ref(), settings).known();
        let known = known
            .map_err(|error| unreadable(&label, &error))?
            .places()
            .into_iter()
            .next();
        let arguments = self.arguments(host, known.is_none())?;
        Ok(Box::new(Session {
            label,
            known,
            arguments,
            address: host.address.to_string(),
            gate: self.gate.clone(),
            gate_key: format!("{}:{}", settings.hostname, settings.port),
            // ssh limits TCP and the banner by ConnectTimeout; the key exchange and the login are limited here.
            timeout: Duration::from_secs(host.ssh.connect_timeout.max(1)),
        }))
    }

    /// ssh's arguments up to the destination.
    fn arguments(&self, host: &Host, new: bool) -> Result<Vec<String>, TransportError> {
        let mut arguments = self.options(host, new);
        let ssh = &host.ssh;
        arguments.extend([
            "-T".to_owned(),
            "-l".to_owned(),
            ssh.user.clone(),
            "-p".to_owned(),
            ssh.port.to_string(),
        ]);
        if let Some(jump) = &ssh.jump {
            let spec = Spec::parse(jump).map_err(|why| TransportError::connect(format!("{}: {why}", host.name)))?;
            arguments.push("-o".to_owned());
            arguments.push(format!("ProxyCommand={}", self.proxy(host, &spec)));
        }
        Ok(arguments)
    }

    /// Options that hold for the host and for its jump host. `new`: no key of the host is on file. ssh's accept-new would
    /// also take a key of another kind than the one on file, which an attacker is free to offer.
    fn options(&self, host: &Host, new: bool) -> Vec<String> {
        let ssh = &host.ssh;
        let mut arguments = Vec::new();
        if let Some(config) = &self.settings.sources().config {
            arguments.extend(["-F".to_owned(), config.to_string_lossy().into_owned()]);
        }
        if let Some(key) = &ssh.identity_file {
            arguments.extend(["-i".to_owned(), key.to_string_lossy().into_owned()]);
        }
        let mut option = |text: String| arguments.extend(["-o".to_owned(), text]);
        option("BatchMode=yes".to_owned());
        option(format!("ConnectTimeout={}", ssh.connect_timeout.max(1)));
        option(format!(
            "StrictHostKeyChecking={}",
            if self.accept_new && new { "accept-new" } else { "yes" }
        ));
        option("ServerAliveInterval=15".to_owned());
        option("ServerAliveCountMax=3".to_owned());
        // Nothing of an interactive login is wanted, whatever the configuration says.
        option("ForwardAgent=no".to_owned());
        option("ForwardX11=no".to_owned());
        option("ClearAllForwardings=yes".to_owned());
        option("PermitLocalCommand=no".to_owned());
        option("RemoteCommand=none".to_owned());
        if let Some(file) = &ssh.known_hosts {
            option(format!("UserKnownHostsFile={}", config_word(file)));
            option("GlobalKnownHostsFile=/dev/null".to_owned());
        }
        arguments
    }

    /// The command that carries the connection through the inventory's jump host. `-J` would not pass the key, the
    /// known_hosts file and BatchMode on.
    fn proxy(&self, host: &Host, spec: &Spec) -> String {
        let mut words = vec!["ssh".to_owned()];
        words.extend(self.options(host, true));
        words.extend([
            "-T".to_owned(),
            "-l".to_owned(),
            spec.user.clone().unwrap_or_else(|| host.ssh.user.clone()),
        ]);
        if let Some(port) = spec.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        // ssh puts `exec` before it and expands %-tokens, so those of ours are doubled; `-W` gets real ones.
        let quoted = sh_words(&words).replace('%', "%%");
        format!("{quoted} -W '[%h]:%p' -- {}", sh(&spec.host).replace('%', "%%"))
    }
}

/// A path as a value in ssh's configuration language.
fn config_word(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

struct Session {
    label: String,
    /// Where a key of the host is on file.
    known: Option<Place>,
    arguments: Vec<String>,
    address: String,
    gate: Arc<Gate>,
    gate_key: String,
    timeout: Duration,
}

#[async_trait]
impl Connection for Session {
    async fn open(&self, command: &str) -> Result<Pipe, TransportError> {
        self.gate.pass(&self.gate_key, || self.attempt(command)).await
    }

    fn backend(&self) -> &'static str {
        "openssh"
    }

    /// Each command has its own ssh, which ends with its pipe; there is nothing left to close.
    async fn close(&self) {}
}

impl Session {
    async fn attempt(&self, command: &str) -> Result<Pipe, Attempt> {
        let failed = |why: String| Attempt::Failed(TransportError::connect(format!("{}: {why}", self.label)));
        let folder = tempfile::Builder::new()
            .prefix("hactl-ssh-")
            .tempdir()
            .map_err(|error| failed(format!("cannot make a temporary folder: {error}")))?;
        let fifo = folder.path().join("log");
        let mut log = Log::new(&fifo).map_err(|error| failed(format!("cannot make a FIFO: {error}")))?;
        let mut child = Command::new("ssh")
            .arg("-E")
            .arg(&fifo)
            .args(["-o", "LogLevel=DEBUG1"])
            .args(&self.arguments)
            .args(["--", &self.address, command])
            .env("SSH_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for hactl, which ends its sessions in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Attempt::Failed(
                    TransportError::connect(format!("{}: cannot run ssh: {error}", self.label))
                        .hint("install the OpenSSH client, or set `ssh: { transport: native }`"),
                )
            })?;
        // Waiting for a child closes its stdin while it still has it.
        let stdin = child.stdin.take();
        let in_time = tokio::time::timeout(self.timeout, log.authenticated(&mut child)).await;
        match in_time {
            Ok(true) => Ok(process::pipe(child, stdin, log)),
            Ok(false) => {
                let mut words = log.text().to_owned();
                // A jump host's ssh writes to standard error, and knows better why it failed.
                if let Some(stderr) = child.stderr.take() {
                    let mut text = Vec::new();
                    let _ = stderr.take(64 << 10).read_to_end(&mut text).await;
                    words.push_str(&String::from_utf8_lossy(&text));
                }
                Err(log::explain(&self.label, self.known.as_ref(), &words))
            }
            Err(_) => {
                let error = TransportError::connect(format!(
                    "{}: no answer within {} s while connecting",
                    self.label,
                    self.timeout.as_secs()
                ));
                Err(Attempt::Failed(error.hint(UNREACHABLE)))
            }
        }
    }
}
