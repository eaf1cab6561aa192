//! The file as a whole: made, shared with other operators, edited as text.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::{Error, Kind};
use crate::inventory::model::Inventory;

use super::file::{self, Change};
use super::identity::Keyring;
use super::text::parse;

/// What `init` found and made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The operator's own public keys, for `secrets.recipients`.
    pub recipients: Vec<String>,
    /// The identity that was made, since there was none.
    pub identity: Option<PathBuf>,
    /// Whether the file was written.
    pub written: bool,
    /// Whether the operator can read the file.
    pub readable: bool,
}

/// Makes an identity when there is none and an empty file when there is none. `readers`: encrypts the file again for
/// exactly those whom the inventory names.
///
/// # Errors
/// Usage errors: a file or folder that cannot be written, or, with `readers`, a file that cannot be read.
pub fn init(inventory: &Inventory, keyring: &Keyring, readers: bool) -> Result<Begun, Error> {
    let (recipients, identity) = keyring.own_public()?;
    let exists = inventory.secrets.path.exists();
    let written = !exists || readers;
    if !exists {
        let text = Zeroizing::new(format!(
            "# Secrets of {}, one `name: value` a line; change them with `hactl secrets edit`.\n",
            inventory.cluster
        ));
        file::update(inventory, keyring, |stored| {
            // Somebody may have been faster.
            let empty = stored.text.is_empty();
            Ok(if empty {
                Change::Text(text)
            } else {
                Change::Edits(Vec::new())
            })
        })?;
    } else if readers {
        file::update(inventory, keyring, |_| Ok(Change::Readers))?;
    }
    let readable = written || file::read(&inventory.secrets.path, keyring).is_ok();
    Ok(Begun {
        recipients,
        identity,
        written,
        readable,
    })
}

/// The decrypted text, for an editor; empty when there is no file.
///
/// # Errors
/// Usage errors: a file that cannot be read.
pub fn text(inventory: &Inventory, keyring: &Keyring) -> Result<Zeroizing<String>, Error> {
    let stored = file::read(&inventory.secrets.path, keyring)?;
    Ok(stored.map(|stored| stored.text).unwrap_or_default())
}

/// Whether a text can be the file's; the error names a line, not what stands there.
///
/// # Errors
/// A usage error.
pub fn check_text(inventory: &Inventory, new: &str) -> Result<(), Error> {
    parse(Zeroizing::new(new.to_owned()), &inventory.secrets.path).map(|_| ())
}

/// Puts an edited text in place of `old`.
///
/// # Errors
/// A text that cannot be the file's; a file that is not `old` any more (refused).
pub fn replace_text(inventory: &Inventory, keyring: &Keyring, old: &str, new: Zeroizing<String>) -> Result<(), Error> {
    file::update(inventory, keyring, |stored| {
        if stored.text.as_str() == old {
            return Ok(Change::Text(new));
        }
        let message = format!(
            "somebody else changed {} while you edited it; nothing was written",
            inventory.secrets.path.display()
        );
        Err(Error::new(Kind::Refused, message).hint("hactl secrets edit once more"))
    })?;
    Ok(())
}
