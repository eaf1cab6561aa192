//! Collects what is wrong while the parts of an inventory are built.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::SecretRef;
use crate::inventory::raw::List;
use crate::inventory::rules::{self, Refusal};
use crate::inventory::yaml::{At, Given, SecretText};
use crate::secret::Secret;

/// The owner of the outermost keys.
pub const INVENTORY: &str = "the inventory";

/// A rule for text.
pub type Rule = fn(&str) -> Result<(), Refusal>;

/// What has been found so far, and what relative paths refer to.
pub struct Check<'a> {
    /// Errors and warnings.
    pub list: Vec<Diagnostic>,
    /// Folder of the inventory.
    pub base: &'a Path,
    /// Where secrets are named, by their canonical name.
    pub secret_spans: BTreeMap<String, Span>,
}

impl<'a> Check<'a> {
    pub fn new(base: &'a Path) -> Self {
        Check {
            list: Vec::new(),
            base,
            secret_spans: BTreeMap::new(),
        }
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Text that follows a rule, if any was given.
    pub fn text(&mut self, at: &At<String>, rule: Rule) -> Option<String> {
        let (text, span) = at.get()?;
        if let Err(why) = rule(text) {
            self.refuse(text, &why, span);
            return None;
        }
        Some(text.clone())
    }

    pub fn refuse(&mut self, text: &str, why: &str, span: Span) {
        // Values may be long; the excerpt shows them anyway.
        let short: String = text.chars().take(60).collect();
        let dots = if short.len() < text.len() { "…" } else { "" };
        self.report(Diagnostic::new("inventory::value", format!("`{short}{dots}` {why}")).at(span, "refused"));
    }

    /// Text that must be there. Returns a stand-in when it is not.
    pub fn required(&mut self, at: &At<String>, key: &str, owner: &str, owner_span: Span, rule: Rule) -> String {
        self.missing(at, key, owner, owner_span);
        self.text(at, rule).unwrap_or_default()
    }

    /// Reports a key that is not there at all.
    pub fn missing<T>(&mut self, at: &At<T>, key: &str, owner: &str, owner_span: Span) {
        if !at.is_missing() {
            return;
        }
        let diagnostic = Diagnostic::new("inventory::missing", format!("{owner} needs `{key}`"));
        self.report(match at.given {
            Given::Null => diagnostic.at(at.span, "nothing here"),
            // What is missing from the whole file is missing nowhere in particular.
            _ if owner == INVENTORY => diagnostic,
            _ => diagnostic.at(owner_span, format!("`{key}` is missing")),
        });
    }

    /// Reports a name of a mapping that has no value.
    pub fn empty<T>(&mut self, at: &At<T>, what: &str, name: Span) {
        if at.is_missing() {
            self.report(
                Diagnostic::new("inventory::missing", format!("{what} has no value")).at(name, "nothing behind it"),
            );
        }
    }

    /// Items of a list that could be read; empty ones are reported.
    pub fn items<'l, T>(&mut self, list: &'l List<T>) -> Vec<(&'l T, Span)> {
        let items = list.value.as_deref().unwrap_or_default();
        for item in items.iter().filter(|item| item.given == Given::Null) {
            self.report(
                Diagnostic::new("inventory::value", "an item of this list is empty").at(item.span, "nothing here"),
            );
        }
        items.iter().filter_map(At::get).collect()
    }

    /// A list of texts, each following the rule, none twice.
    pub fn texts(&mut self, list: &List<String>, rule: Rule) -> Vec<String> {
        let mut seen = Seen::new("item");
        let mut out = Vec::new();
        for (text, span) in self.items(list) {
            match rule(text) {
                Err(why) => self.refuse(text, &why, span),
                Ok(()) if seen.add(self, text, span) => out.push(text.clone()),
                Ok(()) => {}
            }
        }
        out
    }

    /// A port, or its default.
    pub fn port(&mut self, at: &At<u16>, default: u16) -> u16 {
        if let Some((0, span)) = at.get().map(|(p, s)| (*p, s)) {
            self.report(Diagnostic::new("inventory::number", "0 is no port").at(span, "1 to 65535"));
        }
        at.or(default)
    }

    /// A number that lies in a range, or its default.
    pub fn number<N: Copy + PartialOrd + std::fmt::Display>(&mut self, at: &At<N>, default: N, low: N, high: N) -> N {
        self.optional(at, low, high).unwrap_or(default)
    }

    /// A number that lies in a range, if given.
    pub fn optional<N: Copy + PartialOrd + std::fmt::Display>(&mut self, at: &At<N>, low: N, high: N) -> Option<N> {
        let (value, span) = at.get()?;
        if *value < low || *value > high {
            let message = format!("{value} is not from {low} to {high}");
            self.report(Diagnostic::new("inventory::number", message).at(span, "out of range"));
        }
        Some(*value)
    }

    /// A path on this machine: `~` expanded, relative to the inventory, without `.` and `..`.
    pub fn path(&mut self, at: &At<String>) -> Option<PathBuf> {
        let (text, span) = at.get()?;
        if text.trim().is_empty() {
            self.refuse(text, "is no path", span);
            return None;
        }
        match expand(text, self.base) {
            Ok(path) => Some(path),
            Err(why) => {
                self.refuse(text, &why, span);
                None
            }
        }
    }

    /// A secret, and where it is named; a literal one is remarked.
    pub fn secret(&mut self, at: &At<SecretText>, canonical: &str) -> Option<SecretRef> {
        let (secret, span) = at.get()?;
        let text = secret.text.trim();
        if text.is_empty() {
            self.report(Diagnostic::new("inventory::value", "this secret is empty").at(span, "empty"));
            return None;
        }
        self.secret_spans.insert(canonical.to_owned(), span);
        if secret.tag.is_none() {
            self.report(
                Diagnostic::warning("inventory::literal_secret", "a secret is written in clear here")
                    .at(span, "readable by everyone who reads this file")
                    .help("write `!secret NAME` (encrypted file), `!secret env:NAME`, `!secret file:PATH` or `!secret exec:COMMAND`"),
            );
            return Some(SecretRef::Literal(Secret::new(secret.text.clone())));
        }
        let (source, rest) = match text.split_once(':') {
            Some((source, rest)) => (source, rest.trim()),
            None => ("", text),
        };
        let result = match source {
            "" => rules::secret_name(rest).map(|()| SecretRef::Stored(rest.to_owned())),
            "env" => rules::env_name(rest).map(|()| SecretRef::Env(rest.to_owned())),
            "file" if !rest.is_empty() => expand(rest, self.base).map(SecretRef::File),
            "exec" if !rest.is_empty() => Ok(SecretRef::Exec(rest.to_owned())),
            "file" | "exec" => Err(format!("says nothing behind `{source}:`")),
            _ => Err("is no source of secrets: `NAME`, `env:NAME`, `file:PATH` or `exec:COMMAND`".to_owned()),
        };
        match result {
            Ok(secret) => Some(secret),
            Err(why) => {
                self.refuse(text, &why, span);
                None
            }
        }
    }
}

fn expand(text: &str, base: &Path) -> Result<PathBuf, Refusal> {
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = std::env::home_dir().ok_or("needs $HOME, which is not set")?;
            home.join(rest.trim_start_matches('/'))
        }
        Some(_) => return Err("names another user's home; write the path itself".to_owned()),
        None => base.join(text),
    };
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    Ok(clean)
}

/// Finds things that are given twice.
pub struct Seen<K = String> {
    what: &'static str,
    first: HashMap<K, Span>,
}

impl<K: std::hash::Hash + Eq> Seen<K> {
    /// `what` is counted, e.g. `site`.
    pub fn new(what: &'static str) -> Self {
        Seen {
            what,
            first: HashMap::new(),
        }
    }

    /// Whether this is the first of its name; if not, both places are reported.
    pub fn add<Q>(&mut self, check: &mut Check, key: &Q, span: Span) -> bool
    where
        Q: ToOwned<Owned = K> + std::fmt::Display + ?Sized + std::hash::Hash + Eq,
        K: std::borrow::Borrow<Q>,
    {
        if let Some(first) = self.first.get(key) {
            check.report(
                Diagnostic::new("inventory::duplicate", format!("{} `{key}` is given twice", self.what))
                    .at(span, "again here")
                    .at(*first, "first here"),
            );
            return false;
        }
        self.first.insert(key.to_owned(), span);
        true
    }
}
