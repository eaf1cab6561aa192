//! The encrypted file: one YAML mapping, name to value, in an armored age file.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Recipient};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::inventory::model::Inventory;
use crate::secret::Secret;

use super::identity::{self, Keyring};
use super::text::{self, parse};

/// Bytes of ciphertext that are read at all.
const MAX_BYTES: u64 = 4 << 20;

/// What the file holds.
#[derive(Default)]
pub struct Stored {
    pub values: BTreeMap<String, Secret>,
    /// The text as its author wrote it, with comments and order.
    pub text: Zeroizing<String>,
}

impl Stored {
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
}

/// Reads the file; `None` when there is none.
pub fn read(path: &Path, keyring: &Keyring) -> Result<Option<Stored>, Error> {
    match ciphertext(path)? {
        None => Ok(None),
        Some(bytes) => decrypt(&bytes, path, keyring).map(Some),
    }
}

/// Reads the file without asking; `None` also when it is for somebody else.
pub fn peek(path: &Path, keyring: &Keyring) -> Result<Option<Stored>, Error> {
    let Some(bytes) = ciphertext(path)? else {
        return Ok(None);
    };
    match open(&bytes, &keyring.silent())? {
        Ok(text) => parse(text, path).map(Some),
        Err(DecryptError::NoMatchingKeys | DecryptError::KeyDecryptionFailed) => Ok(None),
        Err(error) => Err(undecipherable(&error, path, keyring)),
    }
}

fn ciphertext(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |e: io::Error| Error::usage(format!("cannot read the secrets file {}: {e}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::usage(format!(
            "{} has more than {MAX_BYTES} bytes and is no secrets file",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

fn decrypt(bytes: &[u8], path: &Path, keyring: &Keyring) -> Result<Stored, Error> {
    match open(bytes, keyring)? {
        Ok(text) => parse(text, path),
        Err(error) => Err(undecipherable(&error, path, keyring)),
    }
}

/// Tries the keys that need no passphrase first, so that nobody is asked in vain.
fn open(bytes: &[u8], keyring: &Keyring) -> Result<Result<Zeroizing<String>, DecryptError>, Error> {
    let (free, locked) = identity::as_identities(keyring.keys()?, &keyring.ask);
    let mut result = attempt(bytes, &free);
    if matches!(result, Err(DecryptError::NoMatchingKeys)) && !locked.is_empty() {
        let for_ssh = header(bytes).is_some_and(|h| h.iter().any(|line| line.starts_with("-> ssh-")));
        if for_ssh {
            result = attempt(bytes, &locked);
        }
    }
    Ok(result)
}

fn attempt(bytes: &[u8], identities: &[Box<dyn age::Identity>]) -> Result<Zeroizing<String>, DecryptError> {
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(bytes))?;
    let mut text = Zeroizing::new(String::new());
    let mut reader = decryptor.decrypt(identities.iter().map(|i| i.as_ref() as &dyn age::Identity))?;
    reader.read_to_string(&mut text)?;
    Ok(text)
}

/// Lines of the header, up to its MAC: recipients begin with `-> `.
fn header(bytes: &[u8]) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for line in BufReader::new(ArmoredReader::new(bytes)).split(b'\n') {
        let line = line.ok()?;
        if line.starts_with(b"---") {
            return Some(lines);
        }
        lines.push(String::from_utf8(line).ok()?);
    }
    None
}

fn undecipherable(error: &DecryptError, path: &Path, keyring: &Keyring) -> Error {
    let shown = path.display();
    let tried: Vec<String> = keyring
        .places()
        .iter()
        .filter(|place| place.exists())
        .map(|place| place.display().to_string())
        .collect();
    match error {
        DecryptError::NoMatchingKeys => {
            let tried = if tried.is_empty() {
                format!("none of {} exists", join(keyring.places()))
            } else {
                format!("tried {}", tried.join(", "))
            };
            Error::usage(format!("{shown} is not encrypted for you: {tried}"))
                .hint("set $HACTL_AGE_IDENTITY to the identity it was made for")
                .hint("or have your public key (`hactl secrets init` prints it) added to `secrets.recipients` by somebody who can read the file; they then run `hactl secrets init --recipients`")
        }
        DecryptError::KeyDecryptionFailed => {
            Error::usage(format!("wrong passphrase for the ssh key that reads {shown}"))
        }
        DecryptError::ExcessiveWork { .. } => Error::usage(format!(
            "{shown} is encrypted with a passphrase; hactl needs recipients"
        )),
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
            Error::usage(format!("{shown} is no age file, or its beginning is damaged"))
                .hint("restore it from your version control or backup; hactl does not replace a file it cannot read")
        }
        DecryptError::InvalidMac | DecryptError::DecryptionFailed | DecryptError::Io(_) => {
            Error::usage(format!("{shown} is damaged or was tampered with: {error}"))
                .hint("restore it from your version control or backup; hactl does not replace a file it cannot read")
        }
    }
}

fn join(paths: Vec<PathBuf>) -> String {
    paths
        .iter()
        .map(|p| p.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// New values by name; `None` takes the name out.
pub type Edits = Vec<(String, Option<Secret>)>;

/// What a change does to the file.
pub enum Change {
    /// Sets and removes single names; the rest of the text stays.
    Edits(Edits),
    /// Another text as a whole; it must be readable.
    Text(Zeroizing<String>),
    /// The same content, encrypted for exactly those whom the inventory names now.
    Readers,
}

/// Changes the file under a lock. `change` sees what is there now; returned are the new content and the names that were
/// set.
pub fn update(
    inventory: &Inventory,
    keyring: &Keyring,
    change: impl FnOnce(&Stored) -> Result<Change, Error>,
) -> Result<(Stored, Vec<String>), Error> {
    // A link is followed, so that the file behind it is replaced and not the link.
    let path = std::fs::canonicalize(&inventory.secrets.path).unwrap_or_else(|_| inventory.secrets.path.clone());
    let failed = |e: io::Error| Error::usage(format!("cannot write the secrets file {}: {e}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("/"));
    // The folder is locked because the file itself is replaced. The lock ends with the handle.
    let lock = std::fs::File::open(folder).map_err(failed)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;

    let before = ciphertext(&path)?;
    let stored = match &before {
        Some(bytes) => decrypt(bytes, &path, keyring)?,
        None => Stored::default(),
    };
    let mut names = Vec::new();
    let mut new_readers = false;
    let text = match change(&stored)? {
        Change::Edits(edits) if edits.is_empty() => return Ok((stored, names)),
        Change::Edits(edits) => {
            let set = edits.iter().filter(|(_, value)| value.is_some());
            names = set.map(|(name, _)| name.clone()).collect();
            text::edited(&stored, &edits, &path)
        }
        Change::Text(text) => text,
        Change::Readers => {
            new_readers = true;
            stored.text.clone()
        }
    };
    parse(text.clone(), &path)?;
    let recipients = recipients(inventory, keyring)?;
    if let Some(bytes) = before.as_ref().filter(|_| !new_readers) {
        keeps_readers(bytes, recipients.len(), &path)?;
    }
    let bytes = encrypt(&text, &recipients, &path)?;
    // A file that its writer cannot read again would lose every password.
    let again = match open(&bytes, keyring)? {
        Ok(text) => parse(text, &path)?,
        Err(_) => {
            return Err(
                Error::usage(format!("{} would not be readable by you any more", path.display()))
                    .hint("add your own public key to `secrets.recipients` in the inventory"),
            );
        }
    };
    let mut file = tempfile::Builder::new()
        .prefix(".secrets-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|e| failed(e.error))?;
    lock.sync_all().map_err(failed)?;
    Ok((again, names))
}

fn recipients(inventory: &Inventory, keyring: &Keyring) -> Result<Vec<Box<dyn Recipient>>, Error> {
    if inventory.secrets.recipients.is_empty() {
        return keyring.own_recipients();
    }
    let mut list: Vec<Box<dyn Recipient>> = Vec::new();
    for text in &inventory.secrets.recipients {
        if let Ok(recipient) = age::x25519::Recipient::from_str(text) {
            list.push(Box::new(recipient));
        } else if let Ok(recipient) = age::ssh::Recipient::from_str(text) {
            list.push(Box::new(recipient));
        } else {
            return Err(Error::usage(format!("`{text}` is no recipient")));
        }
    }
    Ok(list)
}

/// Refuses to lock out readers that the inventory does not list: age files do not say who they are, only how many.
fn keeps_readers(bytes: &[u8], ours: usize, path: &Path) -> Result<(), Error> {
    let is_reader = |line: &&String| ["-> X25519 ", "-> ssh-"].iter().any(|start| line.starts_with(start));
    let readers = header(bytes).map_or(0, |lines| lines.iter().filter(is_reader).count());
    if readers <= ours {
        return Ok(());
    }
    let message = format!(
        "{} has {readers} readers, but the inventory names {ours}: writing it would lock the others out",
        path.display()
    );
    Err(Error::usage(message)
        .hint("list all of their public keys (and yours) under `secrets.recipients`")
        .hint("or, to lock them out: `hactl secrets init --recipients`, then `hactl secrets rotate --all-generated`"))
}

fn encrypt(text: &str, recipients: &[Box<dyn Recipient>], path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |e: String| Error::usage(format!("cannot encrypt {}: {e}", path.display()));
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| r.as_ref() as &dyn Recipient))
        .map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    let io = |e: io::Error| failed(e.to_string());
    let armor = ArmoredWriter::wrap_output(&mut bytes, Format::AsciiArmor).map_err(io)?;
    let mut writer = encryptor.wrap_output(armor).map_err(io)?;
    writer.write_all(text.as_bytes()).map_err(io)?;
    writer.finish().and_then(|armor| armor.finish()).map_err(io)?;
    Ok(bytes)
}
