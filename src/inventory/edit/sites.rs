//! Sites added to and taken out of the text of an inventory: only that place changes, comments and layout stay.
//!
//! Every edit is read again: the new text must mean what the old one did but for that one site. Layouts that this would
//! not hold for (a list behind an alias) are refused, and the user is told what to write.

use std::rc::Rc;

use super::super::diagnostics::{Diagnostic, Diagnostics, Source, Span};
use super::super::yaml::scalar::{Plain, resolve};
use super::super::yaml::tree::{self, Node, Value};
use crate::error::Error;

/// A site as it is going to be written down.
#[derive(Debug, Clone, Default)]
pub struct NewSite {
    /// Host name; checked by whoever reads the result.
    pub name: String,
    /// What stands behind `!secret` as the Administrator's password; `None`: generated.
    pub admin_password: Option<String>,
    /// Apps to install; `None`: all.
    pub apps: Option<Vec<String>>,
}

impl NewSite {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("name", scalar(&self.name))];
        if let Some(reference) = &self.admin_password {
            fields.push(("admin_password", format!("!secret {}", scalar(reference))));
        }
        if let Some(apps) = &self.apps {
            let apps: Vec<_> = apps.iter().map(|app| scalar(app)).collect();
            fields.push(("apps", format!("[{}]", apps.join(", "))));
        }
        fields
    }

    /// In one line.
    pub fn in_flow(&self) -> String {
        let fields: Vec<_> = self.fields().into_iter().map(|(k, v)| format!("{k}: {v}")).collect();
        format!("{{ {} }}", fields.join(", "))
    }

    /// A line for each key, the first for behind a dash.
    fn in_block(&self, indent: &str, end: &str) -> String {
        let fields: Vec<_> = self.fields().into_iter().map(|(k, v)| format!("{k}: {v}")).collect();
        fields.join(&format!("{end}{indent}  "))
    }
}

/// Text as one scalar that means that text.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/".contains(c))
        && resolve(text) == Plain::Text(text);
    if plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// The text of `source` with one more site.
///
/// # Errors
/// Usage errors: the name is taken (with its place), or the list of sites is written in a way that is not understood.
pub fn add(source: &Source, site: &NewSite) -> Result<String, Error> {
    let by_hand = || {
        Error::usage(format!(
            "the sites in {} are written in a way that hactl does not edit",
            source.name
        ))
        .hint(format!(
            "add the site there by hand, then run hactl apply: - {}",
            site.in_flow()
        ))
    };
    let root = read(&source.text).ok_or_else(by_hand)?;
    if let Some((span, what)) = taken(&root, &site.name) {
        let message = format!("there is a site that answers to `{}`", site.name);
        let diagnostic = Diagnostic::new("inventory::duplicate", message)
            .at(span, what)
            .help("every name belongs to one site; `hactl site list` shows them all");
        return Err(Diagnostics::new(source.clone(), vec![diagnostic]).into_error(super::super::colour()));
    }
    let text = &*source.text;
    let new = added(text, &root, site).ok_or_else(by_hand)?;
    let item = read(&site.in_flow()).ok_or_else(by_hand)?;
    let mut wanted: Vec<Rc<Node>> = sites(&root).ok_or_else(by_hand)?.to_vec();
    wanted.push(item);
    means(&new, &root, &wanted).then_some(new).ok_or_else(by_hand)
}

/// The text of `source` without the site of that name.
///
/// # Errors
/// Usage errors: there is no such site, or it is written in a way that is not understood.
pub fn remove(source: &Source, name: &str) -> Result<String, Error> {
    let by_hand = || {
        Error::usage(format!(
            "the sites in {} are written in a way that hactl does not edit",
            source.name
        ))
        .hint(format!("take `{name}` out of them by hand, then run it again"))
    };
    let root = read(&source.text).ok_or_else(by_hand)?;
    let list = sites(&root).ok_or_else(by_hand)?;
    let at = list
        .iter()
        .position(|site| text_of(site, "name").is_some_and(|(text, _)| text == name))
        .ok_or_else(by_hand)?;
    let text = &*source.text;
    let new = removed(text, &root, at).ok_or_else(by_hand)?;
    let mut wanted = list.to_vec();
    wanted.remove(at);
    means(&new, &root, &wanted).then_some(new).ok_or_else(by_hand)
}

fn read(text: &str) -> Option<Rc<Node>> {
    let mut errors = Vec::new();
    let root = tree::build(text, &mut errors)?;
    errors.is_empty().then_some(root)
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Rc<Node>> {
    match &node.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
        _ => None,
    }
}

fn sites(root: &Node) -> Option<&[Rc<Node>]> {
    match &entry(root, "sites")?.value {
        Value::List(list) => Some(list),
        _ => None,
    }
}

fn text_of<'a>(site: &'a Node, key: &str) -> Option<(&'a str, Span)> {
    let node = entry(site, key)?;
    match &node.value {
        Value::Scalar { text, .. } => Some((text, node.span)),
        _ => None,
    }
}

/// Where a host name is in use already, and as what.
fn taken(root: &Node, name: &str) -> Option<(Span, &'static str)> {
    sites(root)?.iter().find_map(|site| {
        let (text, span) = text_of(site, "name")?;
        if text == name {
            return Some((span, "this one"));
        }
        let Value::List(aliases) = &entry(site, "aliases")?.value else {
            return None;
        };
        aliases.iter().find_map(|alias| match &alias.value {
            Value::Scalar { text, .. } if text == name => Some((alias.span, "as an alias")),
            _ => None,
        })
    })
}

/// Whether `new` is the inventory `root` with `wanted` as its sites.
fn means(new: &str, root: &Node, wanted: &[Rc<Node>]) -> bool {
    let Some(new) = read(new) else { return false };
    let (Value::Map(before), Value::Map(after)) = (&root.value, &new.value) else {
        return false;
    };
    before.len() == after.len()
        && before.iter().zip(after).all(|(b, a)| {
            b.key == a.key
                && match (b.key.as_str(), &a.value.value) {
                    ("sites", Value::List(list)) => {
                        list.len() == wanted.len() && list.iter().zip(wanted).all(|(a, b)| same(a, b))
                    }
                    ("sites", _) => false,
                    _ => same(&a.value, &b.value),
                }
        })
}

/// Whether two values mean the same, wherever they stand.
fn same(a: &Node, b: &Node) -> bool {
    a.tag == b.tag
        && match (&a.value, &b.value) {
            (Value::Scalar { text: a, plain: p }, Value::Scalar { text: b, plain: q }) => {
                // Quotes only matter where they keep a word from being something else.
                a == b && (p == q || matches!(resolve(a), Plain::Text(_)))
            }
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && same(&a.value, &b.value))
            }
            _ => false,
        }
}

fn is_flow(text: &str, node: &Node) -> bool {
    text.get(node.span.start..)
        .is_some_and(|rest| rest.starts_with(['[', '{']))
}

/// The byte behind a value: of a block collection, behind its last value and not before what follows.
fn end(text: &str, node: &Node) -> usize {
    let whole = node.span.start + node.span.len;
    match &node.value {
        Value::List(items) if !is_flow(text, node) => items.iter().map(|item| end(text, item)).max().unwrap_or(whole),
        Value::Map(entries) if !is_flow(text, node) => entries
            .iter()
            .map(|entry| {
                let key = entry.key_span.start + entry.key_span.len;
                // Nothing behind a key: what follows is not its value.
                if entry.value.is_null() {
                    key
                } else {
                    end(text, &entry.value).max(key)
                }
            })
            .max()
            .unwrap_or(whole),
        _ => text.get(..whole).map_or(whole, |text| text.trim_end().len()),
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1)
}

/// Behind the end of the line, its line end included.
fn line_end(text: &str, at: usize) -> usize {
    text.get(at..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |n| at + n + 1)
}

/// The line end that a file has.
fn line_break(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Start of the line with an item's dash.
fn dash(text: &str, item: &Node) -> Option<usize> {
    let mut start = line_start(text, item.span.start);
    loop {
        let line = text.get(start..line_end(text, start))?.trim_start();
        if line.starts_with('-') {
            return Some(start);
        }
        // The dash may stand on a line of its own, before comments.
        if start == 0
            || !(line.trim().is_empty() || line.starts_with('#') || start == line_start(text, item.span.start))
        {
            return None;
        }
        start = line_start(text, start - 1);
    }
}

/// Whether nothing else stands on the lines of a flow item: its lines, and whether a comma is behind it.
fn alone(text: &str, item: &Node) -> Option<(usize, usize, bool)> {
    let (start, last) = (line_start(text, item.span.start), end(text, item));
    let stop = line_end(text, last);
    let before = text.get(start..item.span.start)?;
    let behind = text.get(last..stop)?.trim();
    let comma = behind.starts_with(',');
    let rest = behind.strip_prefix(',').unwrap_or(behind).trim_start();
    (before.trim().is_empty() && (rest.is_empty() || rest.starts_with('#'))).then_some((start, stop, comma))
}

fn insert(text: &str, at: usize, what: &str) -> Option<String> {
    Some(format!("{}{what}{}", text.get(..at)?, text.get(at..)?))
}

fn cut(text: &str, from: usize, to: usize) -> Option<String> {
    Some(format!("{}{}", text.get(..from)?, text.get(to..)?))
}

fn indent(text: &str, line: usize) -> &str {
    let rest = text.get(line..).unwrap_or_default();
    &rest[..rest.len() - rest.trim_start_matches(' ').len()]
}

fn added(text: &str, root: &Node, site: &NewSite) -> Option<String> {
    let list = entry(root, "sites")?;
    let last = sites(root)?.last()?;
    let (behind, ending) = (end(text, last), line_break(text));
    if !is_flow(text, list) {
        let indent = indent(text, dash(text, last)?);
        let item = match is_flow(text, last) {
            true => site.in_flow(),
            false => site.in_block(indent, ending),
        };
        let at = line_end(text, behind);
        let before = if text.get(..at)?.ends_with('\n') { "" } else { ending };
        return insert(text, at, &format!("{before}{indent}- {item}{ending}"));
    }
    match alone(text, last) {
        Some((line, stop, comma)) if text.get(..stop)?.ends_with('\n') => {
            let item = format!(
                "{}{}{}{ending}",
                indent(text, line),
                site.in_flow(),
                if comma { "," } else { "" }
            );
            let text = insert(text, stop, &item)?;
            if comma { Some(text) } else { insert(&text, behind, ",") }
        }
        _ => insert(text, behind, &format!(", {}", site.in_flow())),
    }
}

fn removed(text: &str, root: &Node, at: usize) -> Option<String> {
    let list = entry(root, "sites")?;
    let items = sites(root)?;
    let item = items.get(at)?;
    let behind = end(text, item);
    if !is_flow(text, list) {
        return cut(text, dash(text, item)?, line_end(text, behind));
    }
    if let Some((start, stop, _)) = alone(text, item) {
        return cut(text, start, stop);
    }
    let rest = text.get(behind..)?.trim_start();
    if rest.starts_with(',') {
        let comma = text.len() - rest.len() + 1;
        let blanks = text.get(comma..)?;
        let blanks = blanks.len() - blanks.trim_start_matches(' ').len();
        return cut(text, item.span.start, comma + blanks);
    }
    match at.checked_sub(1).and_then(|at| items.get(at)) {
        Some(previous) if !text.get(end(text, previous)..item.span.start)?.contains('#') => {
            cut(text, end(text, previous), behind)
        }
        _ => cut(text, item.span.start, behind),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
