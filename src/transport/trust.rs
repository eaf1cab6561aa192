//! Whether a host's key is accepted, and what to say when it is not.

use std::path::PathBuf;

use russh::keys::{Algorithm, PublicKey};

use super::TransportError;
use super::known_hosts::{self, HostName, Known, Verdict};
use super::native::keys::fingerprint;
use super::sshconfig::Effective;
use crate::quote::{sh, terminal};

/// The known_hosts files that apply to a host.
#[derive(Debug, Clone)]
pub struct Files {
    /// All of them, in ssh's order.
    pub all: Vec<PathBuf>,
    /// The one that learns.
    pub learn: Option<PathBuf>,
    /// Learnt names are hashed.
    pub hashed: bool,
    /// The name under which the host is filed.
    pub name: HostName,
}

impl Files {
    /// The files for a host: `own` (the inventory's) replaces those of ssh's configuration.
    pub fn new(own: Option<&PathBuf>, config: &Effective) -> Self {
        let name = match &config.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&config.hostname, config.port),
        };
        let all: Vec<PathBuf> = match own {
            Some(file) => vec![file.clone()],
            None => config
                .user_known_hosts
                .iter()
                .chain(&config.global_known_hosts)
                .cloned()
                .collect(),
        };
        let learn = own.or(config.user_known_hosts.first()).cloned();
        Files {
            all,
            learn,
            hashed: config.hash_known_hosts,
            name,
        }
    }

    /// What is known now.
    pub fn known(&self) -> std::io::Result<Known> {
        Known::read(&self.all, &self.name)
    }
}

/// Decides about one host's key.
pub struct HostKeys {
    /// How messages begin: `db1 (root@10.0.0.31:22)`.
    pub who: String,
    /// Where keys are filed.
    pub files: Files,
    /// What was known when the connection began.
    pub known: Known,
    /// Unknown hosts are accepted and filed.
    pub accept_new: bool,
}

/// Learning reads, decides and writes; two hosts of one run must not do that at the same time.
static LEARNING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl HostKeys {
    /// Kinds of key on file.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.known.algorithms()
    }

    /// Accepts or refuses a key; files it when the host is new and that is allowed.
    ///
    /// # Errors
    /// The key is not accepted, or could not be filed.
    pub async fn check(&self, key: &PublicKey) -> Result<(), TransportError> {
        match self.known.judge(key) {
            Verdict::Trusted => Ok(()),
            Verdict::Unknown if self.accept_new => {
                let _turn = LEARNING.lock().await;
                let now = self.files.known().map_err(|error| self.unreadable(&error))?;
                match now.judge(key) {
                    Verdict::Unknown => self.learn(key),
                    verdict => self.refuse(verdict, key),
                }
            }
            verdict => self.refuse(verdict, key),
        }
    }

    fn learn(&self, key: &PublicKey) -> Result<(), TransportError> {
        let Some(file) = &self.files.learn else {
            return Ok(());
        };
        known_hosts::learn(file, &self.files.name, key, self.files.hashed).map_err(|error| {
            self.error(format!("cannot file its host key in {}: {error}", file.display()))
                .hint("make the file writable, or name another one with `ssh.known_hosts`")
        })
    }

    fn refuse(&self, verdict: Verdict, key: &PublicKey) -> Result<(), TransportError> {
        let shown = format!("{} {}", key.algorithm(), fingerprint(key));
        Err(match verdict {
            Verdict::Trusted => return Ok(()),
            Verdict::Unknown => self.error(format!("unknown host {}; it presents {shown}", self.files.name)).hint(
                "compare the fingerprint with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), \
                 then repeat with --accept-new-host-keys",
            ),
            Verdict::Changed(place) => {
                self.changed(format!("it presents {shown}, {place} has another key"), &place)
            }
            Verdict::Revoked(place) => self
                .error(format!("the host presents {shown}, which is marked @revoked at {place}"))
                .hint("this key must not be used any more: give the host a new one"),
            Verdict::AuthorityOnly(place) => self
                .error(format!(
                    "{place} trusts this host by a certificate authority, which the native transport cannot check"
                ))
                .hint("set `ssh: { transport: openssh }` for this host, or file its own key"),
        })
    }

    /// The refusal of a host that has no key of a kind that is on file.
    pub fn other_kind(&self, offered: &[String]) -> TransportError {
        let places = self.known.places();
        let offered = terminal(&offered.join(", "));
        match places.first() {
            Some(place) => self.changed(
                format!("it offers only {offered}, {place} has another kind of key"),
                place,
            ),
            None => self.error(format!("it offers only {offered}")),
        }
    }

    fn changed(&self, what: String, place: &known_hosts::Place) -> TransportError {
        let name = sh(&self.files.name.to_string());
        self.error(format!(
            "HOST KEY CHANGED: {what}. Somebody may be listening in, or the host was reinstalled"
        ))
        .hint(format!(
            "if you know why it changed, remove the old key ({place}):\n  ssh-keygen -R {name} -f {}",
            sh(&place.file.to_string_lossy())
        ))
    }

    /// The error for a known_hosts file that cannot be read.
    pub fn unreadable(&self, error: &std::io::Error) -> TransportError {
        unreadable(&self.who, error)
    }

    fn error(&self, why: String) -> TransportError {
        TransportError::connect(format!("{}: {why}", self.who))
    }
}

/// The error for a known_hosts file that cannot be read.
pub fn unreadable(who: &str, error: &std::io::Error) -> TransportError {
    TransportError::connect(format!("{who}: cannot read known_hosts: {error}"))
}
