//! Logging in with public keys.
//!
//! Order: the keys named in the inventory or in ssh's configuration; then the agent's; then the usual files. A server
//! counts every key it refuses (MaxAuthTries is 6), so what was named comes first. An encrypted key is offered by its
//! public half before anybody is asked for its passphrase.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate};
use russh::{MethodKind, Signer};

use super::handshake::{Client, Deadline, LastWords, Target};
use super::keys::{KeyFile, KeyRing, Locked, fingerprint};
use crate::quote::terminal;
use crate::transport::TransportError;
use crate::transport::gate::Attempt;
use crate::transport::sshconfig::AgentChoice;

/// Which keys to try.
#[derive(Debug, Clone)]
pub struct Identities {
    /// Named by the inventory or ssh's configuration; tried first.
    pub named: Vec<PathBuf>,
    /// The usual files, tried last.
    pub usual: Vec<PathBuf>,
    /// The agent.
    pub agent: AgentChoice,
    /// From the agent, only keys that are also in a named file.
    pub only: bool,
}

type Agent = AgentClient<Box<dyn AgentStream + Send + Unpin>>;

/// A login in progress.
pub struct Login<'a> {
    /// Whom.
    pub target: &'a Target,
    /// Until when.
    pub deadline: &'a mut Deadline,
    /// Decrypted keys.
    pub ring: &'a KeyRing,
    /// The connection.
    pub handle: &'a mut Handle<Client>,
    /// What the server says when it hangs up.
    pub last_words: &'a LastWords,
    /// What was tried, for the message.
    tried: Vec<String>,
    /// Public keys that were refused.
    refused: Vec<KeyData>,
    /// Keys that could not be tried, and why.
    notes: Vec<String>,
    /// Somebody was asked for a passphrase meanwhile; the server may have lost its patience.
    waited: bool,
}

/// What became of one key.
enum Next {
    Done,
    Continue,
}

impl<'a> Login<'a> {
    /// A login that has tried nothing yet.
    pub fn new(
        target: &'a Target,
        deadline: &'a mut Deadline,
        ring: &'a KeyRing,
        handle: &'a mut Handle<Client>,
        last_words: &'a LastWords,
    ) -> Self {
        Login {
            target,
            deadline,
            ring,
            handle,
            last_words,
            tried: Vec::new(),
            refused: Vec::new(),
            notes: Vec::new(),
            waited: false,
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// No key was accepted: the message lists what was tried.
    pub async fn run(mut self, identities: &Identities) -> Result<(), Attempt> {
        // The agent is asked only once it is needed.
        let mut agent: Option<(Agent, Vec<AgentIdentity>)> = None;
        let mut asked = false;
        for path in &identities.named {
            let Some(file) = self.read(path, true) else { continue };
            if !matches!(file, KeyFile::Open(_)) && !asked {
                (agent, asked) = (self.agent(&identities.agent).await, true);
            }
            if let Next::Done = self.file(path, file, agent.as_mut()).await? {
                return Ok(());
            }
        }
        if !identities.only {
            if !asked {
                agent = self.agent(&identities.agent).await;
            }
            if let Some((client, held)) = &mut agent {
                for identity in std::mem::take(held) {
                    if let Next::Done = self.by_agent(client, &identity).await? {
                        return Ok(());
                    }
                }
            }
        }
        for path in &identities.usual {
            let Some(file) = self.read(path, false) else { continue };
            if let Next::Done = self.file(path, file, agent.as_mut()).await? {
                return Ok(());
            }
        }
        Err(Attempt::Failed(self.denied()))
    }

    /// Reads a key file. A named one that is missing is worth a note.
    fn read(&mut self, path: &Path, named: bool) -> Option<KeyFile> {
        let why = match KeyFile::read(path) {
            Ok(Some(file)) => return Some(file),
            Ok(None) if !named => return None,
            Ok(None) => "no such file".to_owned(),
            Err(why) => why,
        };
        self.notes.push(format!("{}: {why}", shown(path)));
        None
    }

    async fn file(
        &mut self,
        path: &Path,
        file: KeyFile,
        agent: Option<&mut (Agent, Vec<AgentIdentity>)>,
    ) -> Result<Next, Attempt> {
        if file.public().is_some_and(|key| self.refused.contains(key.key_data())) {
            return Ok(Next::Continue);
        }
        if let (Some((client, held)), Some(public)) = (agent, file.public())
            && let Some(at) = held
                .iter()
                .position(|held| held.public_key().key_data() == public.key_data())
        {
            let identity = held.remove(at);
            if let Next::Done = self.by_agent(client, &identity).await? {
                return Ok(Next::Done);
            }
            return Ok(Next::Continue);
        }
        let key = match file {
            KeyFile::Open(key) => key,
            KeyFile::Public(_) => {
                self.notes.push(format!(
                    "{}: only a public key, and the agent does not hold it",
                    shown(path)
                ));
                return Ok(Next::Continue);
            }
            KeyFile::Locked(public) => match self.unlock(path, public).await? {
                Some(key) => key,
                None => return Ok(Next::Continue),
            },
        };
        self.private(path, key).await
    }

    /// The decrypted key, unless the server does not want it or it stays locked.
    async fn unlock(&mut self, path: &Path, public: Option<PublicKey>) -> Result<Option<Arc<PrivateKey>>, Attempt> {
        if let Some(key) = self.ring.unlocked(path) {
            return Ok(Some(key));
        }
        // A certificate may be welcome where the bare key is not, so it is not asked about.
        if let Some(public) = public
            && !certificate_path(path).exists()
            && !self.wanted(path, &public).await?
        {
            return Ok(None);
        }
        self.waited = true;
        let unlocked = self.deadline.paused(self.ring.unlock(path)).await;
        let why = match unlocked {
            Ok(key) => return Ok(Some(key)),
            Err(Locked::NotAsked) => {
                "the key is encrypted and there is no terminal to ask for its passphrase (ssh-add it)".to_owned()
            }
            Err(Locked::WrongPassphrase) => "wrong passphrase".to_owned(),
            Err(Locked::Broken(why)) => why,
        };
        self.notes.push(format!("{}: {why}", shown(path)));
        Ok(None)
    }

    /// Asks the server whether it would accept a key.
    async fn wanted(&mut self, path: &Path, public: &PublicKey) -> Result<bool, Attempt> {
        let hash = self.hash(&public.algorithm()).await?;
        let mut offer = OfferOnly;
        let question = self
            .handle
            .authenticate_publickey_with(&self.target.user, public.clone(), hash, &mut offer);
        match self
            .deadline
            .within(self.target, "logging in", question)
            .await
            .map_err(Attempt::Failed)?
        {
            Err(Offer::Accepted) => Ok(true),
            Err(Offer::Send) => Err(self.hung_up()),
            Ok(result) => self.judge(&shown(path), public, result).map(|_| false),
        }
    }

    async fn private(&mut self, path: &Path, key: Arc<PrivateKey>) -> Result<Next, Attempt> {
        if let Some(certificate) = certificate(path, &key) {
            let login = self
                .handle
                .authenticate_openssh_cert(&self.target.user, key.clone(), certificate);
            let result = self
                .deadline
                .within(self.target, "logging in", login)
                .await
                .map_err(Attempt::Failed)?;
            let result = result.map_err(|_| self.hung_up())?;
            if result.success() {
                return Ok(Next::Done);
            }
            self.still_there()?;
            self.tried.push(format!("{}-cert.pub", shown(path)));
        }
        let hash = self.hash(&key.algorithm()).await?;
        let public = key.public_key().clone();
        let login = self
            .handle
            .authenticate_publickey(&self.target.user, PrivateKeyWithHashAlg::new(key, hash));
        let result = self
            .deadline
            .within(self.target, "logging in", login)
            .await
            .map_err(Attempt::Failed)?;
        let result = result.map_err(|_| self.hung_up())?;
        self.judge(&shown(path), &public, result)
    }

    async fn by_agent(&mut self, agent: &mut Agent, identity: &AgentIdentity) -> Result<Next, Attempt> {
        let public = identity.public_key().into_owned();
        if self.refused.contains(public.key_data()) {
            return Ok(Next::Continue);
        }
        let what = format!("agent's {}", terminal(identity.comment()));
        let hash = self.hash(&public.algorithm()).await?;
        let user = &self.target.user;
        let login = async {
            match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle
                        .authenticate_publickey_with(user, key.clone(), hash, agent)
                        .await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle
                        .authenticate_certificate_with(user, certificate.clone(), hash, agent)
                        .await
                }
            }
        };
        match self
            .deadline
            .within(self.target, "logging in", login)
            .await
            .map_err(Attempt::Failed)?
        {
            Ok(result) => self.judge(&what, &public, result),
            Err(error) => {
                self.still_there()?;
                self.notes.push(format!("{what}: the agent does not sign: {error}"));
                Ok(Next::Continue)
            }
        }
    }

    fn judge(&mut self, what: &str, key: &PublicKey, result: AuthResult) -> Result<Next, Attempt> {
        let AuthResult::Failure {
            remaining_methods,
            partial_success,
        } = result
        else {
            return Ok(Next::Done);
        };
        let methods: Vec<&str> = remaining_methods.iter().map(|method| method.into()).collect();
        if partial_success {
            let error = self.target.error(format!(
                "the server accepted {what} and wants a second factor ({}), which the native transport cannot give",
                methods.join(", ")
            ));
            return Err(Attempt::Failed(error));
        }
        self.tried
            .push(format!("{what} ({} {})", key.algorithm(), fingerprint(key)));
        self.refused.push(key.key_data().clone());
        self.still_there()?;
        if !remaining_methods.contains(&MethodKind::PublicKey) {
            let error = self
                .target
                .error(format!(
                    "permission denied: the server takes no public keys, only {}",
                    methods.join(", ")
                ))
                .hint("allow public keys for this user (PubkeyAuthentication, AuthenticationMethods in sshd_config)");
            return Err(Attempt::Failed(error));
        }
        Ok(Next::Continue)
    }

    /// The hash for a signature with an RSA key. SHA-1 is never used.
    async fn hash(&mut self, algorithm: &Algorithm) -> Result<Option<HashAlg>, Attempt> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        let ask = self.handle.best_supported_rsa_hash();
        match self
            .deadline
            .within(self.target, "logging in", ask)
            .await
            .map_err(Attempt::Failed)?
        {
            Ok(Some(Some(hash))) => Ok(Some(hash)),
            // A server that does not say, or says only SHA-1: it may still know the new ones.
            Ok(_) => Ok(Some(HashAlg::Sha512)),
            Err(_) => Err(self.hung_up()),
        }
    }

    async fn agent(&mut self, choice: &AgentChoice) -> Option<(Agent, Vec<AgentIdentity>)> {
        let socket = match choice {
            AgentChoice::None => return None,
            AgentChoice::Socket(path) => path.clone(),
            AgentChoice::Environment => PathBuf::from(std::env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty())?),
        };
        let ask = async {
            let mut agent = AgentClient::connect_uds(&socket).await?.dynamic();
            let held = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, held))
        };
        match self.deadline.within(self.target, "asking the ssh-agent", ask).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                self.notes.push(format!("ssh-agent {}: {error}", shown(&socket)));
                None
            }
            Err(_) => {
                self.notes.push(format!("ssh-agent {}: no answer", shown(&socket)));
                None
            }
        }
    }

    fn still_there(&self) -> Result<(), Attempt> {
        if self.handle.is_closed() {
            Err(self.hung_up())
        } else {
            Ok(())
        }
    }

    /// The server closed the connection during the login.
    fn hung_up(&self) -> Attempt {
        let said = self
            .last_words
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone();
        let after = match self.tried.is_empty() {
            true => String::new(),
            false => format!(" after {}", self.tried.join(", ")),
        };
        match said {
            Some(said) => Attempt::Failed(
                self.target
                    .error(format!("the server ended the login{after}: {said}"))
                    .hint("name the right key with `ssh.identity_file`, so that it is tried first"),
            ),
            // Its LoginGraceTime ran out while somebody typed; or it was dropped like any other handshake.
            None if self.waited || self.tried.is_empty() => {
                Attempt::Dropped(self.target.error("the server closed the connection during the login"))
            }
            None => Attempt::Failed(self.target.error(format!("the server ended the login{after}"))),
        }
    }

    fn denied(&self) -> TransportError {
        let tried = match self.tried.is_empty() {
            true => "no key could be tried".to_owned(),
            false => format!("the server refused {}", self.tried.join(", ")),
        };
        let notes: String = self.notes.iter().map(|note| format!("\n  {note}")).collect();
        let hint = match self.tried.is_empty() && self.notes.is_empty() {
            true => "name a key with `ssh.identity_file`, or add one to the agent with ssh-add".to_owned(),
            false => format!("compare with {} -v", self.target.by_hand()),
        };
        self.target
            .error(format!("permission denied (publickey): {tried}{notes}"))
            .hint(hint)
    }
}

/// Where ssh looks for a key's certificate without being told.
fn certificate_path(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    PathBuf::from(name)
}

/// The certificate of a key.
fn certificate(path: &Path, key: &PrivateKey) -> Option<russh::keys::Certificate> {
    let certificate = load_openssh_certificate(certificate_path(path)).ok()?;
    (certificate.public_key() == key.public_key().key_data()).then_some(certificate)
}

fn shown(path: &Path) -> String {
    terminal(&path.to_string_lossy())
}

/// Offers a key without signing: the server's "I would take it" is all that is wanted.
struct OfferOnly;

/// How an offer ends when the server does not refuse it.
enum Offer {
    Accepted,
    Send,
}

impl From<russh::SendError> for Offer {
    fn from(_: russh::SendError) -> Self {
        Offer::Send
    }
}

impl Signer for OfferOnly {
    type Error = Offer;

    async fn auth_sign(&mut self, _: &AgentIdentity, _: Option<HashAlg>, _: Vec<u8>) -> Result<Vec<u8>, Offer> {
        Err(Offer::Accepted)
    }
}
