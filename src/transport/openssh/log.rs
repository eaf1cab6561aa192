//! What ssh says about itself, and what it means.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

use rustix::fs::{CWD, FileType, Mode};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::process::Child;

use super::UNREACHABLE;
use crate::quote::{sh, terminal};
use crate::transport::TransportError;
use crate::transport::gate::Attempt;
use crate::transport::known_hosts::Place;

/// As much of the log as is kept.
const KEPT: usize = 64 << 10;

/// The log of one ssh (`-E`, at DEBUG1), read through a FIFO.
pub struct Log {
    receiver: Receiver,
    /// Without a writer of our own the FIFO would be at its end before ssh opened it.
    _writer: Sender,
    text: String,
    /// The remote command's exit status arrived.
    pub exit_status: bool,
    /// The remote command ended by a signal.
    pub exit_signal: bool,
}

impl Log {
    /// Makes the FIFO.
    pub fn new(path: &Path) -> io::Result<Self> {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let receiver = OpenOptions::new().open_receiver(path)?;
        let _writer = OpenOptions::new().open_sender(path)?;
        Ok(Log {
            receiver,
            _writer,
            text: String::new(),
            exit_status: false,
            exit_signal: false,
        })
    }

    /// What was logged so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Waits until ssh is authenticated (true) or ended (false).
    pub async fn authenticated(&mut self, child: &mut Child) -> bool {
        loop {
            let ended = tokio::select! {
                _ = child.wait() => true,
                _ = self.receiver.readable() => false,
            };
            self.take();
            if self.text.lines().any(|line| line.starts_with("Authenticated to ")) {
                return true;
            }
            if ended {
                return false;
            }
        }
    }

    /// Reads on until ssh ends.
    pub async fn until_exit(&mut self, child: &mut Child) -> Option<ExitStatus> {
        let status = loop {
            tokio::select! {
                status = child.wait() => break status.ok(),
                _ = self.receiver.readable() => self.take(),
            }
        };
        self.take();
        status
    }

    /// Takes what is there.
    fn take(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.receiver.try_read(&mut buffer) {
            self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        self.exit_status |= self.text.contains("rtype exit-status");
        self.exit_signal |= self.text.contains("rtype exit-signal");
        if self.text.len() > KEPT {
            let cut = self.text.len() - KEPT / 2;
            let start = (cut..).find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
            self.text.drain(..start);
        }
    }
}

/// What a failed connection's log means: the same failures, in the same words, as the native transport has.
/// `known` is where another key of the host is on file.
pub fn explain(label: &str, known: Option<&Place>, log: &str) -> Attempt {
    let error = |why: String| TransportError::connect(format!("{label}: {why}"));
    let has = |text: &str| log.contains(text);
    let line_with = |text: &str| {
        log.lines()
            .find(|line| line.contains(text))
            .map(|line| terminal(line.trim()))
    };
    let presented = || match after(log, "Server host key: ") {
        Some(key) => format!("it presents {}", terminal(key)),
        None => "ssh refuses its key".to_owned(),
    };

    if has("REVOKED HOST KEY") || has("is marked as revoked") {
        return Attempt::Failed(
            error(format!("{}, which is marked @revoked", presented()))
                .hint("this key must not be used any more: give the host a new one"),
        );
    }
    if has("has changed and you have requested strict checking") {
        let place = log
            .lines()
            .find_map(|line| line.strip_prefix("Offending ")?.split_once(" key in "))
            .map_or("known_hosts", |(_, place)| place.trim());
        let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
        let name = after(log, "Host key for ").and_then(|rest| rest.split(' ').next());
        return Attempt::Failed(changed(error, &presented(), place, name.unwrap_or("HOST"), file));
    }
    if has("host key is known for") && has("requested strict checking") {
        let name = after(log, "host key is known for ")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_default();
        // When the host itself was not even spoken to, this is about the jump host.
        if let Some(place) = known
            && !has("exchange_identification")
        {
            let file = place.file.to_string_lossy();
            return Attempt::Failed(changed(error, &presented(), &place.to_string(), name, &file));
        }
        return Attempt::Failed(error(format!("unknown host {}; {}", terminal(name), presented())).hint(
            "compare the fingerprint with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), \
             then repeat with --accept-new-host-keys",
        ));
    }
    if has("Host key verification failed") {
        return Attempt::Failed(error(format!("host key verification failed; {}", presented())));
    }
    if has("Too many authentication failures") {
        return Attempt::Failed(
            error("the server ended the login: too many authentication failures".to_owned())
                .hint("name the right key with `ssh.identity_file`, so that it is tried first"),
        );
    }
    if let Some(line) = line_with("Permission denied (") {
        let offered: Vec<String> = log
            .lines()
            .filter_map(|line| line.split_once("Offering public key: "))
            .map(|(_, key)| terminal(key))
            .collect();
        let tried = match offered.is_empty() {
            true => "no key could be tried".to_owned(),
            false => format!("the server refused {}", offered.join(", ")),
        };
        let methods = line
            .split_once('(')
            .map_or("publickey", |(_, rest)| rest.trim_end_matches([')', '.']));
        return Attempt::Failed(
            error(format!("permission denied ({methods}): {tried}"))
                .hint("name a key with `ssh.identity_file`; an encrypted one must be in the agent (ssh-add)"),
        );
    }
    if has("Connection refused") {
        return Attempt::Failed(
            error("connection refused: nothing listens on its port".to_owned())
                .hint("is sshd running there, and is `ssh.port` right?"),
        );
    }
    if has("timed out") {
        return Attempt::Failed(error("no answer in time while connecting".to_owned()).hint(UNREACHABLE));
    }
    if let Some(line) = line_with("Could not resolve hostname") {
        return Attempt::Failed(error(line));
    }
    if has("No route to host") || has("Network is unreachable") {
        return Attempt::Failed(error("no route to the host".to_owned()));
    }
    let dropped = [
        "Connection closed by",
        "Connection reset by",
        "Broken pipe",
        "closed by remote host",
    ];
    if dropped.iter().any(|text| has(text)) && !has("Offering public key: ") {
        return Attempt::Dropped(
            error("the server closed the connection during the handshake".to_owned()).hint(
                "sshd may be at its MaxStartups limit, or refuse this address (hosts.deny, fail2ban, PerSourcePenalties); or is `ssh.port` not sshd's?",
            ),
        );
    }
    let words: Vec<&str> = log
        .lines()
        .filter(|line| !line.starts_with("debug1:") && !line.trim().is_empty())
        .collect();
    let last = &words[words.len().saturating_sub(5)..];
    Attempt::Failed(error(format!("ssh failed: {}", terminal(&last.join("; ")))))
}

/// The words for a host that shows another key than the one on file.
fn changed(
    error: impl Fn(String) -> TransportError,
    presented: &str,
    place: &str,
    name: &str,
    file: &str,
) -> TransportError {
    let place = terminal(place);
    error(format!(
        "HOST KEY CHANGED: {presented}, {place} has another key. Somebody may be listening in, or the host was reinstalled"
    ))
    .hint(format!(
        "if you know why it changed, remove the old key ({place}):\n  ssh-keygen -R {} -f {}",
        sh(name),
        sh(file)
    ))
}

/// The rest of the line after the first `marker`.
fn after<'a>(log: &'a str, marker: &str) -> Option<&'a str> {
    let start = log.find(marker)? + marker.len();
    log[start..].lines().next().map(str::trim)
}
