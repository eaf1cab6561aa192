//! YAML → typed [`Inventory`] with source spans, validation, secrets.
//!
//! [`load`] reads a file; [`parse`] is the pure part. What is wrong comes back all at once, each with its place.

pub mod backup;
mod build;
pub mod diagnostics;
pub mod dns;
pub mod edit;
mod fingerprint;
mod mask;
pub mod model;
mod raw;
pub mod rehearsal;
pub mod roles;
pub(crate) mod rules;
mod schema;
pub mod secrets;
pub(crate) mod suggest;
mod yaml;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;

pub use backup::Backup;
pub use diagnostics::{Diagnostic, Diagnostics, Severity, Source, Span};
pub use dns::{Dns, DnsProvider};
pub use fingerprint::digest;
pub use model::*;
pub use schema::schema;

/// An inventory and what was remarked about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Complete and checked.
    pub inventory: Inventory,
    /// What is possible but unwise, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// The warnings as text with source lines; empty when there are none.
    pub fn render_warnings(&self, colour: bool) -> String {
        let source = &self.inventory.source;
        self.warnings.iter().map(|w| w.render(source, colour)).collect()
    }
}

/// Reads and checks an inventory.
///
/// # Errors
/// All of them usage errors: the file is missing, unreadable, too big or not UTF-8, or something in it or in a role it uses is refused; then
/// the message holds every diagnostic with its source line.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    load_text(&read(path)?, path)
}

/// The same for a text that is, or is going to be, in the file.
///
/// # Errors
/// All of them usage errors.
pub fn load_text(text: &str, path: &Path) -> Result<Loaded, Error> {
    let mut loaded = parse(text, path).map_err(|diagnostics| diagnostics.into_error(colour()))?;
    loaded.inventory.roles = roles::load(&loaded.inventory, colour())?;
    Ok(loaded)
}

/// Whether errors may have colours: they go to a terminal, and nobody asked otherwise.
fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Reads the file without looking at more of it than an inventory may have.
fn read(path: &Path) -> Result<String, Error> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let message = format!("cannot read the inventory {shown}: {error}");
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::usage(format!("there is no inventory at {shown}")).hint(
                "`hactl init` writes one; or name yours: `hactl VERB path/to/inventory.yml`, or $HACTL_INVENTORY",
            ),
            _ => Error::usage(message),
        }
    };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.is_dir() {
        return Err(
            Error::usage(format!("{shown} is a folder, not an inventory")).hint(format!(
                "name the file in it, e.g. {}",
                path.join("inventory.yml").display()
            )),
        );
    }
    let limit = yaml::MAX_BYTES as u64;
    if meta.len() > limit {
        return Err(Error::usage(format!("{shown}: {}", yaml::too_big(meta.len()))));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    // A pipe or a device has no length beforehand.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Error::usage(format!("{shown}: {}", yaml::too_big(bytes.len() as u64))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
        Error::usage(format!("{shown}:{line}: the file is not UTF-8 (byte {at})"))
            .hint("an editor saved it in another encoding; save it as UTF-8")
    })
}

/// Checks the text of an inventory, without the roles it uses. `path` names it in messages, and its folder is what relative paths refer to.
///
/// # Errors
/// Everything that is wrong, when anything is; warnings are among it.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, Diagnostics> {
    let source = Source::new(path.display().to_string(), text);
    let (raw, mut list) = yaml::read::<raw::RawInventory>(text);
    let Some(raw) = raw.as_ref().and_then(|raw| raw.value.as_ref()) else {
        if list.is_empty() {
            let empty = Diagnostic::new("inventory::empty", "the file is empty");
            list.push(empty.help("`hactl init` writes a first inventory"));
        }
        return Err(Diagnostics::new(source, list));
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from("/").join(path));
    let (inventory, more) = build::inventory(raw, &absolute, &source);
    list.extend(more);
    let found = Diagnostics::new(source, list);
    if found.list.iter().any(|d| d.severity == Severity::Error) {
        return Err(found);
    }
    Ok(Loaded {
        inventory,
        warnings: found.list,
    })
}
