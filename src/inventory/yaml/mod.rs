//! YAML text → spanned tree → typed values, with every error of a file, not only the first.
//!
//! The parser underneath serde-saphyr is used directly: serde stops at its first error, and serde-saphyr shows only
//! one of two duplicate keys. Here the text becomes a [`tree::Node`] first and a serde `Deserializer` over that tree
//! fills the typed structures; a value of the wrong type leaves its [`At`] empty and reading goes on.

mod de;
mod field;
mod problem;
pub(super) mod scalar;
pub(super) mod tree;

pub use scalar::forbidden;

pub use field::{At, Either, Entries, Given, Lines, SecretText};

use serde::de::DeserializeOwned;

use super::diagnostics::{Diagnostic, Span};

/// Bytes that a file may have.
pub const MAX_BYTES: usize = 1 << 20;
/// How deep mappings and lists may be nested.
const MAX_DEPTH: usize = 48;
/// Values in a file, each use of an alias counted anew: what a "billion laughs" file runs into.
const MAX_NODES: usize = 200_000;

/// Reads a document. What could be read comes back together with what is wrong; `None` when nothing could be.
pub fn read<T: DeserializeOwned>(text: &str) -> (Option<At<T>>, Vec<Diagnostic>) {
    if text.len() > MAX_BYTES {
        let error = Diagnostic::new("inventory::too_big", too_big(text.len() as u64));
        return (None, vec![error.at(Span::default(), "")]);
    }
    let mut errors = Vec::new();
    let Some(root) = tree::build(text, &mut errors) else {
        return (None, errors);
    };
    let (value, problems) = de::read(&root);
    errors.extend(problems);
    (value, errors)
}

/// What is said about a file of that many bytes.
pub fn too_big(bytes: u64) -> String {
    format!("the file has {bytes} bytes; more than {MAX_BYTES} is no inventory")
}
