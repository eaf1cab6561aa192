//! The secrets of an inventory: read where it says, generated once where it says nothing, kept encrypted.
//!
//! Everything that varies between machines (home folder, identity, who answers questions) is in [`Keyring`], so that
//! nothing here depends on the environment by stealth.

mod file;
mod generate;
mod identity;
mod names;
pub mod pem;
mod rotate;
mod share;
mod source;
mod text;
mod wanted;

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Error;
use crate::secret::{Secret, SecretStore};

use super::diagnostics::{Diagnostic, Diagnostics, Span};
use super::model::{Inventory, SecretRef};
use super::{rules, suggest};

use file::Change;
pub use identity::{Ask, Keyring};
pub use names::{Named, names};
pub use rotate::{Rotated, Which, forget_previous, rotate, set};
pub use share::{Begun, check_text, init, replace_text, text};
use wanted::Wanted;

/// Stands where a secret is not known and must not be made ([`Secrets::existing_or_placeholder`]).
pub const PLACEHOLDER: &str = "hactl-placeholder-not-a-secret00";
/// A placeholder with the form of a Fernet key, which some code checks.
pub const PLACEHOLDER_KEY: &str = "aGFjdGwtcGxhY2Vob2xkZXItbm90LWEtc2VjcmV0MDA=";

/// Secrets by canonical name: `mariadb/root`, `mariadb/replication`, `redis/cache`, `redis/queue`, for every site
/// `site/NAME/admin`, `site/NAME/database` and `site/NAME/encryption_key`, for a WSGI app `app/database` and
/// `app/secret_key`, for certificates given as files `tls/SITE/certificate` and `tls/SITE/key`, and `become_password` when
/// the inventory names one. [`Secrets::of_dns`] has others, `dns/...`.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, Secret>,
    /// Older values of rotated secrets that hosts may still have, the newest first.
    previous: BTreeMap<String, Vec<Secret>>,
}

/// Secrets and how they came about.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// All that the inventory needs.
    pub secrets: Secrets,
    /// Names that were generated and stored by this call.
    pub generated: Vec<String>,
    /// Names whose value is a placeholder; never more than none after [`Secrets::resolve`].
    pub placeholders: Vec<String>,
}

impl SecretStore for Secrets {
    fn secret(&self, name: &str) -> Result<Secret, Error> {
        self.get(name).cloned()
    }

    fn previous(&self, name: &str) -> Vec<Secret> {
        self.previous.get(name).cloned().unwrap_or_default()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// The secret of that canonical name.
    ///
    /// # Errors
    /// An internal error: names are fixed by the inventory, so asking for another one is a defect.
    pub fn get(&self, name: &str) -> Result<&Secret, Error> {
        self.values
            .get(name)
            .ok_or_else(|| Error::internal(format!("no secret is named `{name}`")))
    }

    /// All of them, older ones included, e.g. to mask them in output.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let older = self.previous.iter();
        let older = older.flat_map(|(name, list)| list.iter().map(move |secret| (name, secret)));
        self.values
            .iter()
            .chain(older)
            .map(|(name, secret)| (name.as_str(), secret))
    }

    /// Every value by its name, the present one first: all that [`Secrets::from_values`] needs.
    pub fn values(&self) -> BTreeMap<String, Vec<Secret>> {
        let with_older = |(name, secret): (&String, &Secret)| {
            let older = self.previous.get(name).cloned().unwrap_or_default();
            (name.clone(), std::iter::once(secret.clone()).chain(older).collect())
        };
        self.values.iter().map(with_older).collect()
    }

    /// The secrets that [`Secrets::values`] gave elsewhere.
    pub fn from_values(all: BTreeMap<String, Vec<Secret>>) -> Self {
        let mut secrets = Secrets::default();
        for (name, list) in all {
            let mut list = list.into_iter();
            secrets.values.extend(list.next().map(|secret| (name.clone(), secret)));
            let older: Vec<Secret> = list.collect();
            if !older.is_empty() {
                secrets.previous.insert(name, older);
            }
        }
        secrets
    }

    /// Whether some were rotated and not yet carried through.
    pub fn is_rotated(&self) -> bool {
        !self.previous.is_empty()
    }

    /// Resolves everything the inventory needs. What nobody gave is generated and stored, once: runs that do this at
    /// the same time agree on one value.
    ///
    /// # Errors
    /// Usage errors: a named secret that does not exist (with its place), an unreadable, tampered or foreign file.
    pub fn resolve(inventory: &Inventory, keyring: &Keyring) -> Result<Resolved, Error> {
        let wanted = wanted::of(inventory);
        let path = &inventory.secrets.path;
        let stored = file::read(path, keyring)?.unwrap_or_default();
        check_names(inventory, &wanted, &stored.values, path.exists())?;
        let missing: Vec<&Wanted> = wanted
            .iter()
            .filter(|w| w.is_generated() && !stored.has(&w.name))
            .collect();
        // Before anything is written: what cannot be resolved must not leave half a file behind.
        let given = source::resolve_given(inventory, &wanted, &stored.values)?;
        let (stored, generated) = if missing.is_empty() {
            (stored, Vec::new())
        } else {
            file::update(inventory, keyring, |current| {
                let absent = missing.iter().filter(|w| !current.has(&w.name));
                Ok(Change::Edits(
                    absent.map(|w| (w.name.clone(), Some(w.generate()))).collect(),
                ))
            })?
        };
        let mut values = given;
        for want in wanted.iter().filter(|w| w.is_generated()) {
            let secret = stored.values.get(&want.name);
            let lost = || Error::internal(format!("the secret `{}` was stored but is not there", want.name));
            values.insert(want.name.clone(), secret.ok_or_else(lost)?.clone());
        }
        for (name, secret) in pem::read(inventory) {
            values.insert(name, secret?);
        }
        let previous = rotate::previous(&stored.values);
        Ok(Resolved {
            secrets: Secrets { values, previous },
            generated,
            placeholders: Vec::new(),
        })
    }

    /// Only what `dns` names, for those who change records: nobody else needs it, so nobody else asks for it.
    ///
    /// # Errors
    /// Usage errors, as of [`Secrets::resolve`].
    pub fn of_dns(inventory: &Inventory, keyring: &Keyring) -> Result<Secrets, Error> {
        let wanted = wanted::of_dns(inventory);
        let path = &inventory.secrets.path;
        // Without a need of the file nobody is asked for its passphrase.
        let stored = match wanted
            .iter()
            .any(|want| matches!(want.given, Some(SecretRef::Stored(_))))
        {
            true => file::read(path, keyring)?.unwrap_or_default().values,
            false => BTreeMap::new(),
        };
        check_names(inventory, &wanted, &stored, path.exists())?;
        Ok(Secrets {
            values: source::resolve_given(inventory, &wanted, &stored)?,
            previous: BTreeMap::new(),
        })
    }

    /// The same for looking only: writes nothing, asks nothing, runs nothing. What is not known becomes a placeholder.
    ///
    /// # Errors
    /// Usage errors: a named secret is not in a file that could be read, or the file is damaged.
    pub fn existing_or_placeholder(inventory: &Inventory, keyring: &Keyring) -> Result<Resolved, Error> {
        let wanted = wanted::of(inventory);
        let stored = file::peek(&inventory.secrets.path, keyring)?;
        if let Some(stored) = &stored {
            check_names(inventory, &wanted, &stored.values, true)?;
            check_names(inventory, &wanted::of_dns(inventory), &stored.values, true)?;
        }
        let stored = stored.unwrap_or_default().values;
        let mut values = BTreeMap::new();
        let mut placeholders = Vec::new();
        for want in &wanted {
            let known = match want.given {
                None => stored.get(&want.name).cloned(),
                Some(SecretRef::Exec(_)) => None,
                Some(given) => source::value(given, inventory, &stored, want.is_document()).ok(),
            };
            let value = known.unwrap_or_else(|| {
                placeholders.push(want.name.clone());
                want.placeholder()
            });
            values.insert(want.name.clone(), value);
        }
        for (name, secret) in pem::read(inventory) {
            let value = secret.unwrap_or_else(|_| {
                placeholders.push(name.clone());
                Secret::new(PLACEHOLDER)
            });
            values.insert(name, value);
        }
        let previous = rotate::previous(&stored);
        Ok(Resolved {
            secrets: Secrets { values, previous },
            generated: Vec::new(),
            placeholders,
        })
    }
}

/// Reports every `!secret NAME` that the file does not have.
fn check_names(
    inventory: &Inventory,
    wanted: &[Wanted],
    stored: &BTreeMap<String, Secret>,
    exists: bool,
) -> Result<(), Error> {
    let known: Vec<&str> = stored.keys().map(String::as_str).collect();
    let file = inventory.secrets.path.display();
    let mut list = Vec::new();
    for want in wanted {
        let Some(SecretRef::Stored(name)) = want.given else {
            continue;
        };
        if stored.contains_key(name) {
            continue;
        }
        let mut help = suggest::closest(name, &known).map_or(String::new(), |near| format!("did you mean `{near}`? "));
        // Nobody can make up what a provider has given out.
        if !want.name.starts_with("dns/") && !want.name.starts_with("backup/") {
            help.push_str("Leave the key out and one is generated; or take");
        } else {
            help.push_str("Take");
        }
        help.push_str(&format!(
            " it from elsewhere with `!secret env:NAME`, `!secret file:PATH` or `!secret exec:COMMAND`; \
             or put it into the file: `hactl secrets set {name}`"
        ));
        let what = if exists {
            format!("is not in {file}")
        } else {
            format!("is not there: there is no {file}")
        };
        let span = inventory
            .secret_spans
            .get(&want.name)
            .copied()
            .unwrap_or(Span::default());
        list.push(
            Diagnostic::new("inventory::secret", format!("the secret `{name}` {what}"))
                .at(span, "named here")
                .help(help),
        );
    }
    if list.is_empty() {
        return Ok(());
    }
    Err(Diagnostics::new(inventory.source.clone(), list).into_error(super::colour()))
}

/// An error about a secret that the inventory names, at that place.
fn at_place(inventory: &Inventory, canonical: &str, message: String) -> Diagnostic {
    let diagnostic = Diagnostic::new("inventory::secret", message);
    match inventory.secret_spans.get(canonical) {
        Some(span) => diagnostic.at(*span, "named here"),
        None => diagnostic,
    }
}
