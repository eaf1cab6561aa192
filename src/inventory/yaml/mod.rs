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

pub use field::{At, Either, Entries, Given, Lines, OneOrList, SecretText};

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

/// Whether an unquoted scalar is text, and no number, truth value or null.
pub fn is_text(plain: &str) -> bool {
    matches!(scalar::resolve(plain), scalar::Plain::Text(_))
}

/// A scalar of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Where it hangs: keys and positions in lists, from the root.
    pub path: Vec<String>,
    /// Its value; of an empty collection nothing.
    pub text: String,
    /// Its tag, if it has one of its own.
    pub tag: Option<String>,
    /// Where it is written: for an alias the place of what it stands for.
    pub span: Span,
}

/// All scalars, aliases as what they stand for; `None` when the text is no document.
pub fn leaves(text: &str) -> Option<Vec<Leaf>> {
    let mut errors = Vec::new();
    let root = tree::build(text, &mut errors).filter(|_| errors.is_empty())?;
    let mut leaves = Vec::new();
    collect(&root, &mut Vec::new(), &mut leaves);
    Some(leaves)
}

fn collect(node: &tree::Node, path: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let mut leaf = |text: &str, path: &[String]| {
        leaves.push(Leaf {
            path: path.to_vec(),
            text: text.to_owned(),
            tag: node.tag.clone(),
            span: node.span,
        });
    };
    match &node.value {
        tree::Value::Scalar { text, .. } => leaf(text, path),
        tree::Value::List(items) if items.is_empty() => leaf("", path),
        tree::Value::Map(entries) if entries.is_empty() => leaf("", path),
        tree::Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                collect(item, path, leaves);
                path.pop();
            }
        }
        tree::Value::Map(entries) => {
            for entry in entries {
                path.push(entry.key.clone());
                collect(&entry.value, path, leaves);
                path.pop();
            }
        }
    }
}
