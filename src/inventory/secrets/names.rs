//! Which secrets there are and where each comes from; never what they are.

use crate::error::Error;
use crate::inventory::model::{Inventory, SecretRef};

use super::file;
use super::identity::Keyring;
use super::rotate::{self, PREVIOUS};
use super::wanted::{self, Rotation};

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name; of the file's own ones the name in the file.
    pub name: String,
    /// Where it comes from, e.g. `generated`, `stored as admin_password`, `env:ADMIN`.
    pub origin: String,
    /// What should be known about it; empty: nothing.
    pub remark: String,
}

/// Where a secret that the inventory names comes from. Of a command only that it is one: its words may say too much.
pub(super) fn origin(given: &SecretRef) -> String {
    match given {
        SecretRef::Literal(_) => "the inventory, in clear".to_owned(),
        SecretRef::Stored(name) => format!("stored as {name}"),
        SecretRef::Env(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{}", path.display()),
        SecretRef::Exec(_) => "exec: a command".to_owned(),
    }
}

/// Every secret that the inventory needs, and what else the file holds.
///
/// # Errors
/// Usage errors: a file that cannot be read.
pub fn names(inventory: &Inventory, keyring: &Keyring) -> Result<Vec<Named>, Error> {
    let mut wanted = wanted::of(inventory);
    wanted.extend(wanted::of_dns(inventory));
    let stored = file::read(&inventory.secrets.path, keyring)?.unwrap_or_default().values;
    let previous = rotate::previous(&stored);
    let mut list = Vec::new();
    for want in &wanted {
        let in_file = match want.given {
            None => Some(want.name.as_str()),
            Some(SecretRef::Stored(name)) => Some(name.as_str()),
            Some(_) => None,
        };
        let missing = in_file.is_some_and(|name| !stored.contains_key(name));
        let remark = match (missing, previous.get(&want.name)) {
            (true, _) if want.is_generated() => "made by the next apply".to_owned(),
            (true, _) => "missing: hactl secrets set".to_owned(),
            (false, Some(_)) => "rotated: the next apply carries it through".to_owned(),
            (false, None) if want.is_generated() && want.rotation() != Rotation::Carried => "not rotated".to_owned(),
            (false, None) => String::new(),
        };
        list.push(Named {
            name: want.name.clone(),
            origin: want.given.map_or_else(|| "generated".to_owned(), origin),
            remark,
        });
    }
    let used = |key: &str| {
        wanted.iter().any(|want| match want.given {
            None => want.name == key,
            Some(SecretRef::Stored(name)) => name == key,
            Some(_) => false,
        })
    };
    for key in stored.keys().filter(|key| !key.starts_with(PREVIOUS) && !used(key)) {
        list.push(Named {
            name: key.clone(),
            origin: "stored".to_owned(),
            remark: "not used by the inventory".to_owned(),
        });
    }
    Ok(list)
}
