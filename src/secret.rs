//! A value that cannot be printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Text that must never reach argv, a log, a journal, a diff, an error or a world-readable file.
///
/// There is no `Display` and no `Serialize`; `Debug` masks. The only way in is [`Secret::reveal`], which is easy to grep.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Secret(SecretString::from(value.into()))
    }

    /// The value itself. Use only to write it to a payload that travels to a host, or to compare.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.reveal() == other.reveal()
    }
}

impl Eq for Secret {}

/// Shortest value that is masked in other texts: of a shorter one every other word would be full.
const MASKED: usize = 6;

/// `text` without any of these values; the lines of a value that has several (a key) count one by one.
pub fn masked(text: &str, secrets: &[Secret]) -> String {
    let lines = secrets.iter().flat_map(|secret| secret.reveal().lines());
    lines
        .filter(|line| line.len() >= MASKED && !line.starts_with("-----"))
        .fold(text.to_owned(), |text, line| match text.contains(line) {
            true => text.replace(line, "***"),
            false => text,
        })
}

/// Where roles and templates ask for a secret's value.
pub trait SecretStore {
    /// The secret's value; the error names it and says how to set it.
    fn secret(&self, name: &str) -> crate::error::Result<Secret>;

    /// Its older values that hosts may still have, after a rotation that no apply has carried through; newest first.
    fn previous(&self, _name: &str) -> Vec<Secret> {
        Vec::new()
    }
}

/// Text that may or may not be secret, e.g. a rendered file: secret as soon as one secret went into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// May be shown.
    Plain(String),
    /// May not.
    Secret(Secret),
}

impl Text {
    /// The text itself; see [`Secret::reveal`].
    pub fn reveal(&self) -> &str {
        match self {
            Text::Plain(text) => text,
            Text::Secret(secret) => secret.reveal(),
        }
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self, Text::Secret(_))
    }

    /// The text when it may be shown.
    pub fn shown(&self) -> Option<&str> {
        match self {
            Text::Plain(text) => Some(text),
            Text::Secret(_) => None,
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text::Plain(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text::Plain(text.to_owned())
    }
}

impl From<Secret> for Text {
    fn from(secret: Secret) -> Self {
        Text::Secret(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_masks_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }
}
