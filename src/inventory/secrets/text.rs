//! The decrypted text: one YAML mapping, name to value, with its author's comments and order.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::inventory::diagnostics::Source;
use crate::inventory::yaml::{self, Entries, SecretText};
use crate::secret::Secret;

use super::file::{Edits, Stored};
use super::source;

/// The mapping in a decrypted text. Errors name lines only: whatever stands there may be a secret.
pub fn parse(text: Zeroizing<String>, path: &Path) -> Result<Stored, Error> {
    let shown = path.display();
    let says_nothing = |line: &str| line.trim().is_empty() || line.starts_with('#');
    if text.lines().all(says_nothing) {
        let values = BTreeMap::new();
        return Ok(Stored { values, text });
    }
    let (root, errors) = yaml::read::<Entries<SecretText>>(&text);
    if let Some(error) = errors.first() {
        let at = error.labels.first().map_or(0, |(span, _)| span.start);
        let (line, _) = Source::new("", text.as_str()).line_column(at);
        return Err(Error::usage(format!(
            "{shown}: line {line} of the decrypted text is wrong ({})",
            error.code
        ))
        .hint("every line is `name: value`; values with special characters stand in double quotes"));
    }
    let mut values = BTreeMap::new();
    for (name, secret) in root.and_then(|root| root.value).map_or(Vec::new(), |entries| entries.0) {
        let (Some(name), Some(secret)) = (name.value, secret.value) else {
            continue;
        };
        if secret.tag.is_some() {
            return Err(Error::usage(format!(
                "{shown}: the value of `{name}` has a tag; values are plain text here"
            )));
        }
        source::check(&secret.text).map_err(|why| Error::usage(format!("{shown}: the value of `{name}` {why}")))?;
        values.insert(name, Secret::new(secret.text));
    }
    Ok(Stored { values, text })
}

/// The text after edits: lines replaced, dropped and added where that is possible, so that comments and order stay.
pub fn edited(stored: &Stored, edits: &Edits, path: &Path) -> Zeroizing<String> {
    let mut values = stored.values.clone();
    for (name, value) in edits {
        match value {
            Some(value) => values.insert(name.clone(), value.clone()),
            None => values.remove(name),
        };
    }
    let text = by_line(&stored.text, edits);
    // A text that is one `{...}`, or ends with `...`, cannot be edited by line.
    if parse(text.clone(), path).is_ok_and(|again| again.values == values) {
        return text;
    }
    let mut text = Zeroizing::new(String::new());
    values.iter().for_each(|(name, secret)| line(name, secret, &mut text));
    text
}

fn by_line(old: &str, edits: &Edits) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(old.len() + 256 * edits.len()));
    let mut done = vec![false; edits.len()];
    for old_line in old.lines() {
        let at = key(old_line).and_then(|key| edits.iter().position(|(name, _)| *name == key));
        match at.and_then(|at| Some((at, edits.get(at)?, done.get_mut(at)?))) {
            Some((_, (name, value), done)) => {
                if let Some(secret) = value.as_ref().filter(|_| !*done) {
                    line(name, secret, &mut text);
                }
                *done = true;
            }
            None => {
                text.push_str(old_line);
                text.push('\n');
            }
        }
    }
    for ((name, value), done) in edits.iter().zip(done) {
        if let Some(secret) = value.as_ref().filter(|_| !done) {
            line(name, secret, &mut text);
        }
    }
    text
}

/// The key that a line begins with, when it is at the left margin.
fn key(line: &str) -> Option<String> {
    if line.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(line).into_iter::<String>();
        return values.next()?.ok();
    }
    if line.starts_with([' ', '#', '{']) {
        return None;
    }
    line.split_once(':').map(|(key, _)| key.trim_matches('\'').to_owned())
}

/// JSON strings are YAML, whatever is in them.
fn line(name: &str, secret: &Secret, text: &mut String) {
    let value = Zeroizing::new(serde_json::Value::from(secret.reveal()).to_string());
    text.push_str(&format!("{}: ", serde_json::Value::from(name)));
    text.push_str(&value);
    text.push('\n');
}
