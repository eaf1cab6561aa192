//! What the user's ssh configuration says about a host, asked from `ssh -G`.
//!
//! `ssh -G` is the only reader of ssh_config that gets Include, Match, tokens and quoting right; it costs 9 ms a host.
//! That is saved where there is nothing to read: when `~/.ssh/config` holds no directive and `/etc/ssh/ssh_config` only
//! what distributions ship (`Host *`, `SendEnv`, `HashKnownHosts`, `GSSAPIAuthentication`, an `Include` of a folder
//! without files), ssh's defaults are known without asking.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::TransportError;

/// The names of the keys that ssh tries when nobody names one, as far as native can use them.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The settings that matter for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Where to connect to; the address asked for unless HostName says otherwise.
    pub hostname: String,
    /// Port.
    pub port: u16,
    /// Login user.
    pub user: String,
    /// Private keys to try, in order; they need not exist.
    pub identity_files: Vec<PathBuf>,
    /// The keys were named in the configuration rather than ssh's defaults.
    pub identities_named: bool,
    /// Keys of the agent that are not among `identity_files` are not to be tried.
    pub identities_only: bool,
    /// Which agent.
    pub agent: AgentChoice,
    /// The user's known_hosts files; the first one learns.
    pub user_known_hosts: Vec<PathBuf>,
    /// The machine's known_hosts files.
    pub global_known_hosts: Vec<PathBuf>,
    /// Names are hashed when a key is learnt.
    pub hash_known_hosts: bool,
    /// The name under which the host's key is filed instead of its own.
    pub host_key_alias: Option<String>,
    /// Jump host, `[user@]host[:port]`.
    pub jump: Option<String>,
    /// The first setting that the native transport cannot honour.
    pub beyond_native: Option<String>,
}

/// Which ssh-agent to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentChoice {
    /// `$SSH_AUTH_SOCK`.
    Environment,
    /// A socket.
    Socket(PathBuf),
    /// No agent.
    None,
}

/// Where configuration is looked for.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The user's home.
    pub home: PathBuf,
    /// Configuration file used instead of the user's and the machine's (`ssh -F`).
    pub config: Option<PathBuf>,
    /// The machine's configuration.
    pub system_config: PathBuf,
}

impl Sources {
    /// The user's and the machine's files. The home is `$HOME`, or what the password database says.
    pub fn standard() -> Self {
        Sources {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            config: None,
            system_config: PathBuf::from("/etc/ssh/ssh_config"),
        }
    }

    /// The settings for `user@address:port`.
    ///
    /// # Errors
    /// ssh refuses its configuration; its message names file and line. A machine without ssh is no error: then there is
    /// nothing but defaults, and the inventory.
    pub async fn effective(&self, user: &str, address: &str, port: Option<u16>) -> Result<Effective, TransportError> {
        if self.config.is_none()
            && let Some(hash) = self.stock()
        {
            return Ok(self.defaults(user, address, port.unwrap_or(22), hash));
        }
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        if let Some(port) = port {
            command.args(["-p", &port.to_string()]);
        }
        if !user.is_empty() {
            command.args(["-l", user]);
        }
        command
            .args(["-T", "-G", "--", address])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match command.output().await {
            Ok(output) if output.status.success() => Ok(self.parse(
                &String::from_utf8_lossy(&output.stdout),
                user,
                address,
                port.unwrap_or(22),
            )),
            Ok(output) => Err(TransportError::connect(format!(
                "{address}: ssh refuses its configuration: {}",
                crate::quote::terminal(String::from_utf8_lossy(&output.stderr).trim())
            ))
            .hint(format!("ssh -G {}", crate::quote::sh(address)))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(self.defaults(user, address, port.unwrap_or(22), false))
            }
            Err(error) => Err(TransportError::connect(format!(
                "{address}: cannot run ssh -G: {error}"
            ))),
        }
    }

    /// ssh's own defaults.
    pub fn defaults(&self, user: &str, address: &str, port: u16, hash_known_hosts: bool) -> Effective {
        let ssh = self.home.join(".ssh");
        Effective {
            hostname: address.to_owned(),
            port,
            user: user.to_owned(),
            identity_files: DEFAULT_KEYS.iter().map(|name| ssh.join(name)).collect(),
            identities_named: false,
            identities_only: false,
            agent: AgentChoice::Environment,
            user_known_hosts: vec![ssh.join("known_hosts"), ssh.join("known_hosts2")],
            global_known_hosts: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
                .map(PathBuf::from)
                .into(),
            hash_known_hosts,
            host_key_alias: None,
            jump: None,
            beyond_native: None,
        }
    }

    /// Whether the files hold nothing that ssh's defaults would not say; the value is HashKnownHosts.
    fn stock(&self) -> Option<bool> {
        if directives(&self.home.join(".ssh/config"))?.next().is_some() {
            return None;
        }
        let mut hash = false;
        for (key, value) in directives(&self.system_config)? {
            match key.as_str() {
                "host" if value == "*" => {}
                "sendenv" | "gssapiauthentication" => {}
                "hashknownhosts" => hash = value.eq_ignore_ascii_case("yes"),
                "include" if includes_nothing(&value) => {}
                _ => return None,
            }
        }
        Some(hash)
    }

    /// Reads the output of `ssh -G`.
    fn parse(&self, text: &str, user: &str, address: &str, port: u16) -> Effective {
        let mut found = self.defaults(user, address, port, false);
        let mut identities = Vec::new();
        let beyond = |slot: &mut Option<String>, key: &str, value: &str| {
            slot.get_or_insert_with(|| format!("ssh's configuration sets {key} {value}"));
        };
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let yes = value == "yes" || value == "true";
            let set = !value.is_empty() && value != "none";
            match key {
                "hostname" => found.hostname = value.to_owned(),
                "port" => found.port = value.parse().unwrap_or(port),
                "user" => found.user = value.to_owned(),
                "identityfile" if set => identities.push(self.expand(value)),
                "identitiesonly" => found.identities_only = yes,
                "identityagent" => {
                    found.agent = match value {
                        "none" => AgentChoice::None,
                        "SSH_AUTH_SOCK" => AgentChoice::Environment,
                        path => AgentChoice::Socket(self.expand(path)),
                    }
                }
                "userknownhostsfile" => found.user_known_hosts = self.paths(value),
                "globalknownhostsfile" => found.global_known_hosts = self.paths(value),
                "hashknownhosts" => found.hash_known_hosts = yes,
                "hostkeyalias" if set => found.host_key_alias = Some(value.to_owned()),
                "proxyjump" if set && value.contains(',') => beyond(&mut found.beyond_native, "ProxyJump", value),
                "proxyjump" if set => found.jump = Some(value.to_owned()),
                "proxycommand" if set => beyond(&mut found.beyond_native, "ProxyCommand", value),
                "pkcs11provider" if set => beyond(&mut found.beyond_native, "PKCS11Provider", value),
                "certificatefile" if set => beyond(&mut found.beyond_native, "CertificateFile", value),
                "revokedhostkeys" if set => beyond(&mut found.beyond_native, "RevokedHostKeys", value),
                "knownhostscommand" if set => beyond(&mut found.beyond_native, "KnownHostsCommand", value),
                "bindaddress" if set => beyond(&mut found.beyond_native, "BindAddress", value),
                "bindinterface" if set => beyond(&mut found.beyond_native, "BindInterface", value),
                "verifyhostkeydns" if yes => beyond(&mut found.beyond_native, "VerifyHostKeyDNS", value),
                "pubkeyauthentication" if value == "no" || value == "false" => {
                    beyond(&mut found.beyond_native, "PubkeyAuthentication", value)
                }
                "preferredauthentications" if set && !value.split(',').any(|method| method == "publickey") => {
                    beyond(&mut found.beyond_native, "PreferredAuthentications", value)
                }
                _ => {}
            }
        }
        // Without IdentityFile ssh lists its defaults, the only ones that are named `id_*` in bulk.
        if identities.len() < 5 {
            found.identities_named = !identities.is_empty();
            found.identity_files = identities;
        }
        found
    }

    /// Expands a leading `~`.
    fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(path),
        }
    }

    /// A list of paths. ssh prints them unquoted with blanks between them; a piece that does not begin like a path
    /// belongs to the one before it.
    fn paths(&self, value: &str) -> Vec<PathBuf> {
        let mut pieces: Vec<String> = Vec::new();
        for piece in value.split(' ') {
            match pieces.last_mut() {
                Some(last) if !piece.starts_with(['/', '~']) => {
                    last.push(' ');
                    last.push_str(piece);
                }
                _ => pieces.push(piece.to_owned()),
            }
        }
        pieces
            .iter()
            .filter(|piece| *piece != "none")
            .map(|piece| self.expand(piece))
            .collect()
    }
}

type Slot = Arc<OnceCell<Result<Arc<Effective>, TransportError>>>;
/// User, address, port.
type Asked = (String, String, Option<u16>);

/// The settings of a run's hosts, each asked once.
pub struct Settings {
    sources: Sources,
    asked: Mutex<HashMap<Asked, Slot>>,
}

impl Settings {
    /// Nothing asked yet.
    pub fn new(sources: Sources) -> Self {
        Settings {
            sources,
            asked: Mutex::default(),
        }
    }

    /// Where they come from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// See [`Sources::effective`].
    ///
    /// # Errors
    /// Those of [`Sources::effective`].
    pub async fn get(&self, user: &str, address: &str, port: Option<u16>) -> Result<Arc<Effective>, TransportError> {
        let slot = {
            let mut asked = self.asked.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            asked
                .entry((user.to_owned(), address.to_owned(), port))
                .or_default()
                .clone()
        };
        let ask = || async { self.sources.effective(user, address, port).await.map(Arc::new) };
        slot.get_or_init(ask).await.clone()
    }
}

/// The directives of a file, keys in lower case. A file that is not there has none; `None` when it cannot be read.
fn directives(path: &Path) -> Option<impl Iterator<Item = (String, String)>> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => String::new(),
        Err(_) => return None,
    };
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (key, value) = line
                .split_once(|c: char| c.is_whitespace() || c == '=')
                .unwrap_or((line, ""));
            (
                key.to_lowercase(),
                value.trim().trim_start_matches('=').trim().to_owned(),
            )
        })
        .collect();
    Some(lines.into_iter())
}

/// Whether an Include of the usual form, `FOLDER/*.conf`, names no file.
fn includes_nothing(pattern: &str) -> bool {
    let Some(folder) = pattern
        .strip_suffix("/*.conf")
        .filter(|folder| !folder.contains(['*', '?', '[', ' ']))
    else {
        return false;
    };
    match fs::read_dir(folder) {
        Ok(entries) => !entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".conf")),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests;
