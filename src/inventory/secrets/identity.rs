//! The operator's own keys, with which the secrets file is read.

use std::fmt;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use age::secrecy::ExposeSecret;
use age::{Identity, Recipient, x25519};

use crate::error::Error;
use crate::secret::Secret;

/// Answers a question (a passphrase), or `None` when nobody is there.
pub type Ask = Arc<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// Where keys are found and who is asked for passphrases.
#[derive(Clone)]
pub struct Keyring {
    /// Identity file that is used instead of all others.
    pub identity: Option<PathBuf>,
    /// Home folder with `.config/hactl/identity.txt` and `.ssh/`.
    pub home: Option<PathBuf>,
    /// Asks for passphrases.
    pub ask: Ask,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("identity", &self.identity)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

/// A key that was found.
pub enum Key {
    /// Identities of an age file; passphrases are not needed.
    Age(Vec<x25519::Identity>),
    /// An ssh key, and whether it has a passphrase.
    Ssh(Box<age::ssh::Identity>),
}

impl Keyring {
    /// The keys of this user: `$HACTL_AGE_IDENTITY`, or those in the home folder.
    pub fn from_env(ask: Ask) -> Self {
        Keyring {
            identity: std::env::var_os("HACTL_AGE_IDENTITY")
                .filter(|v| !v.is_empty())
                .map(PathBuf::from),
            home: std::env::home_dir(),
            ask,
        }
    }

    /// An [`Ask`] that answers nothing.
    pub fn nobody() -> Ask {
        Arc::new(|_| None)
    }

    /// The same keyring, asking nobody.
    pub fn silent(&self) -> Self {
        Keyring {
            ask: Self::nobody(),
            ..self.clone()
        }
    }

    fn own_file(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".config/hactl/identity.txt"))
    }

    /// Where keys are looked for.
    pub fn places(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.identity {
            return vec![path.clone()];
        }
        let ssh = |name| self.home.as_ref().map(|home| home.join(".ssh").join(name));
        [self.own_file(), ssh("id_ed25519"), ssh("id_rsa")]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The keys that exist, each with its file.
    pub fn keys(&self) -> Result<Vec<(PathBuf, Key)>, Error> {
        let mut keys = Vec::new();
        for path in self.places() {
            // What lies in ~/.ssh is there for other purposes: a key that cannot be used is no mistake.
            let meant = self.identity.is_some() || Some(&path) == self.own_file().as_ref();
            let key = match std::fs::read(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && self.identity.is_none() => continue,
                Err(e) => Err(e.to_string()),
                Ok(bytes) => parse(&bytes, &path),
            };
            match key {
                Ok(key) => keys.push((path, key)),
                Err(why) if meant => return Err(self.bad(&path, &why)),
                Err(_) => {}
            }
        }
        Ok(keys)
    }

    fn bad(&self, path: &Path, why: &str) -> Error {
        let error = Error::usage(format!("cannot use the identity {}: {why}", path.display()));
        if self.identity.is_some() {
            return error
                .hint("$HACTL_AGE_IDENTITY must name a file with `AGE-SECRET-KEY-1...`, or an ssh private key");
        }
        error.hint("it must hold a line `AGE-SECRET-KEY-1...`")
    }

    /// Who the operator is for a new file: the first key that needs no passphrase; made when there is none.
    pub fn own_recipients(&self) -> Result<Vec<Box<dyn Recipient>>, Error> {
        for (_, key) in self.keys()? {
            match key {
                Key::Age(identities) => {
                    return Ok(identities
                        .iter()
                        .map(|i| Box::new(i.to_public()) as Box<dyn Recipient>)
                        .collect());
                }
                Key::Ssh(ssh) => {
                    if let Ok(recipient) = age::ssh::Recipient::try_from(*ssh) {
                        return Ok(vec![Box::new(recipient)]);
                    }
                }
            }
        }
        let identity = self.create()?;
        Ok(vec![Box::new(identity.to_public())])
    }

    /// The operator's own public keys as text, and the identity file when one had to be made.
    pub fn own_public(&self) -> Result<(Vec<String>, Option<PathBuf>), Error> {
        for (_, key) in self.keys()? {
            match key {
                Key::Age(identities) => {
                    return Ok((identities.iter().map(|i| i.to_public().to_string()).collect(), None));
                }
                Key::Ssh(ssh) => {
                    if let Ok(recipient) = age::ssh::Recipient::try_from(*ssh) {
                        return Ok((vec![recipient.to_string()], None));
                    }
                }
            }
        }
        let identity = self.create()?;
        Ok((vec![identity.to_public().to_string()], self.own_file()))
    }

    /// Makes an identity; when another run was faster, takes that one.
    fn create(&self) -> Result<x25519::Identity, Error> {
        let path = match (&self.identity, self.own_file()) {
            (Some(path), _) => {
                return Err(self.bad(path, "it is an encrypted ssh key, which can only read"));
            }
            (None, Some(path)) => path,
            (None, None) => {
                return Err(Error::usage("there is no home folder to keep an identity in")
                    .hint("set $HACTL_AGE_IDENTITY to an age identity file or ssh key"));
            }
        };
        let failed = |e: io::Error| Error::usage(format!("cannot create the identity {}: {e}", path.display()));
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let identity = x25519::Identity::generate();
        // Complete before it has its name, so that nobody reads half a key.
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(failed)?;
        let text = format!(
            "# made by hactl; reads secrets files\n# public key: {}\n",
            identity.to_public()
        );
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.write_all(identity.to_string().expose_secret().as_bytes())
            .map_err(failed)?;
        file.write_all(b"\n").map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(identity),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
                let bytes = std::fs::read(&path).map_err(failed)?;
                match parse(&bytes, &path).map_err(|why| self.bad(&path, &why))? {
                    Key::Age(identities) => identities
                        .into_iter()
                        .next()
                        .ok_or_else(|| self.bad(&path, "it is empty")),
                    Key::Ssh(_) => Err(self.bad(&path, "it is an ssh key")),
                }
            }
            Err(e) => Err(failed(e.error)),
        }
    }
}

fn parse(bytes: &[u8], path: &Path) -> Result<Key, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    if text.contains("PRIVATE KEY-----") {
        let name = Some(path.display().to_string());
        let identity = age::ssh::Identity::from_buffer(BufReader::new(bytes), name).map_err(|e| e.to_string())?;
        return match identity {
            age::ssh::Identity::Unsupported(_) => Err("this kind of ssh key cannot read secrets".to_owned()),
            identity => Ok(Key::Ssh(Box::new(identity))),
        };
    }
    let mut identities = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line may be nearly a key; it is not repeated.
        let identity = x25519::Identity::from_str(line).map_err(|_| format!("line {} is no age identity", i + 1))?;
        identities.push(identity);
    }
    if identities.is_empty() {
        return Err("it holds no identity".to_owned());
    }
    Ok(Key::Age(identities))
}

/// Passphrase questions of age, each asked once.
#[derive(Clone)]
pub struct Questions {
    ask: Ask,
    answer: Arc<Mutex<Option<Option<Secret>>>>,
}

impl Questions {
    pub fn new(ask: Ask) -> Self {
        Questions {
            ask,
            answer: Arc::default(),
        }
    }
}

impl age::Callbacks for Questions {
    fn display_message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _: &str) -> Option<String> {
        None
    }

    // age asks once for every recipient of the file.
    fn request_passphrase(&self, description: &str) -> Option<age::secrecy::SecretString> {
        let mut answer = self.answer.lock().ok()?;
        let secret = answer.get_or_insert_with(|| (self.ask)(description));
        secret.as_ref().map(|s| age::secrecy::SecretString::from(s.reveal()))
    }
}

/// Keys as age wants them.
pub type Identities = Vec<Box<dyn Identity>>;

/// The keys as age wants them: those that need no passphrase, and the others.
pub fn as_identities(keys: Vec<(PathBuf, Key)>, ask: &Ask) -> (Identities, Identities) {
    let (mut open, mut locked) = (Identities::new(), Identities::new());
    for (_, key) in keys {
        match key {
            Key::Age(identities) => open.extend(identities.into_iter().map(|i| Box::new(i) as Box<dyn Identity>)),
            Key::Ssh(ssh) => match *ssh {
                ssh @ age::ssh::Identity::Encrypted(_) => {
                    locked.push(Box::new(ssh.with_callbacks(Questions::new(ask.clone()))));
                }
                ssh => open.push(Box::new(ssh)),
            },
        }
    }
    (open, locked)
}
