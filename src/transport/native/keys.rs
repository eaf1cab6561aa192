//! Private keys: read once, decrypted once per run, shared by all hosts.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::keys::{Error as KeyError, HashAlg, PrivateKey, PublicKey, decode_secret_key, load_public_key};
use tokio::sync::OnceCell;

use crate::secret::Secret;
use crate::transport::prompt::Prompt;

/// How often a passphrase is asked for one key.
const ATTEMPTS: usize = 3;

/// A key file before it is used.
#[derive(Clone)]
pub enum KeyFile {
    /// Not encrypted.
    Open(Arc<PrivateKey>),
    /// Encrypted. Its public half, where it can be told without the passphrase.
    Locked(Option<PublicKey>),
    /// Only a public key; the private one is the agent's.
    Public(PublicKey),
}

impl KeyFile {
    /// The public half, if it can be told.
    pub fn public(&self) -> Option<&PublicKey> {
        match self {
            KeyFile::Open(key) => Some(key.public_key()),
            KeyFile::Locked(key) => key.as_ref(),
            KeyFile::Public(key) => Some(key),
        }
    }

    /// Reads a key file. `Ok(None)`: there is no such file.
    ///
    /// # Errors
    /// Why the file cannot be used, without its path.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if !text.contains("-----BEGIN ") && !text.starts_with("PuTTY-User-Key-File-") {
            return match load_public_key(path) {
                Ok(key) => Ok(Some(KeyFile::Public(key))),
                Err(_) => Err("is no private key that ssh could use".to_owned()),
            };
        }
        if let Ok(key) = PrivateKey::from_openssh(&text) {
            // An OpenSSH key file shows its public half even when it is encrypted.
            return Ok(Some(match key.is_encrypted() {
                true => KeyFile::Locked(Some(key.public_key().clone())),
                false => KeyFile::Open(Arc::new(key)),
            }));
        }
        match decode_secret_key(&text, None) {
            Ok(key) => Ok(Some(KeyFile::Open(Arc::new(key)))),
            Err(KeyError::KeyIsEncrypted) => Ok(Some(KeyFile::Locked(beside(path)))),
            Err(_) if text.contains("ENCRYPTED") => Ok(Some(KeyFile::Locked(beside(path)))),
            Err(error) => Err(format!("cannot be read as a private key: {error}")),
        }
    }
}

/// The public key beside a private one.
fn beside(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    load_public_key(PathBuf::from(name)).ok()
}

/// Why a locked key stays locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locked {
    /// Nobody could be asked, or the question was declined.
    NotAsked,
    /// The passphrase was wrong as often as it may be.
    WrongPassphrase,
    /// Anything else.
    Broken(String),
}

type Slot = Arc<OnceCell<Result<Arc<PrivateKey>, Locked>>>;

/// The keys decrypted in this run.
pub struct KeyRing {
    prompt: Arc<dyn Prompt>,
    slots: Mutex<HashMap<PathBuf, Slot>>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

impl KeyRing {
    /// An empty ring.
    pub fn new(prompt: Arc<dyn Prompt>) -> Self {
        KeyRing {
            prompt,
            slots: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The decrypted key of a file, if it was unlocked already.
    pub fn unlocked(&self, path: &Path) -> Option<Arc<PrivateKey>> {
        self.slot(path).get()?.as_ref().ok().cloned()
    }

    /// Decrypts a key, asking once for the whole run: hosts that need it at the same time share the answer, whatever it is.
    ///
    /// # Errors
    /// See [`Locked`].
    pub async fn unlock(&self, path: &Path) -> Result<Arc<PrivateKey>, Locked> {
        self.slot(path).get_or_init(|| self.ask(path)).await.clone()
    }

    fn slot(&self, path: &Path) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        slots.entry(path.to_owned()).or_default().clone()
    }

    async fn ask(&self, path: &Path) -> Result<Arc<PrivateKey>, Locked> {
        let _turn = self.asking.lock().await;
        for attempt in 0..ATTEMPTS {
            let wrong = if attempt == 0 { "" } else { "wrong passphrase; " };
            let question = format!(
                "{wrong}passphrase of {}",
                crate::quote::terminal(&path.to_string_lossy())
            );
            let (prompt, path) = (self.prompt.clone(), path.to_owned());
            let outcome = tokio::task::spawn_blocking(move || match prompt.passphrase(&question) {
                Some(passphrase) => decrypt(&path, &passphrase),
                None if attempt == 0 => Err(Locked::NotAsked),
                None => Err(Locked::WrongPassphrase),
            })
            .await
            .unwrap_or_else(|error| Err(Locked::Broken(error.to_string())));
            match outcome {
                Err(Locked::WrongPassphrase) if attempt + 1 < ATTEMPTS => {}
                outcome => return outcome,
            }
        }
        Err(Locked::WrongPassphrase)
    }
}

fn decrypt(path: &Path, passphrase: &Secret) -> Result<Arc<PrivateKey>, Locked> {
    let text = fs::read_to_string(path).map_err(|error| Locked::Broken(error.to_string()))?;
    match decode_secret_key(&text, Some(passphrase.reveal())) {
        Ok(key) => Ok(Arc::new(key)),
        Err(KeyError::UnknownAlgorithm(_) | KeyError::UnsupportedKeyType { .. } | KeyError::CouldNotReadKey) => {
            Err(Locked::Broken("is encrypted in a way that is not supported".to_owned()))
        }
        // Every format answers a wrong passphrase with garbage, which each parser names differently.
        Err(_) => Err(Locked::WrongPassphrase),
    }
}

/// A key's fingerprint, as `ssh-keygen -l` prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
