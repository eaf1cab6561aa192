//! Parser events → tree. Aliases share their node, so a small file cannot grow here.

use std::collections::HashMap;
use std::rc::Rc;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span as Range, Tag};

use super::{MAX_DEPTH, MAX_NODES};
use crate::inventory::diagnostics::{Diagnostic, Span};

/// A value with its place.
#[derive(Debug)]
pub struct Node {
    pub span: Span,
    /// A tag that is not one of YAML's own, e.g. `!secret`.
    pub tag: Option<String>,
    pub value: Value,
    /// Nesting below and including this node; limits every later recursion.
    depth: usize,
}

#[derive(Debug)]
pub enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Rc<Node>,
}

impl Node {
    /// `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        self.tag.is_none() && matches!(&self.value, Value::Scalar { text, plain: true } if super::scalar::is_null(text))
    }
}

/// A collection being filled.
struct Open {
    anchor: usize,
    span: Span,
    tag: Option<String>,
    /// Nesting of the deepest child so far.
    depth: usize,
    items: Items,
}

enum Items {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<Entry>,
        /// `<<` values, in order.
        merges: Vec<Rc<Node>>,
        key: Option<Key>,
    },
}

/// A key whose value is awaited. `None`: it was wrong and said so; its value is dropped.
type Key = Option<(String, Span, bool)>;

struct Builder<'a> {
    errors: &'a mut Vec<Diagnostic>,
    anchors: HashMap<usize, Rc<Node>>,
    open: Vec<Open>,
    root: Option<Rc<Node>>,
    nodes: usize,
}

/// A reason to stop reading.
type Stop = Box<Diagnostic>;

/// Parses one document. Syntax errors end the tree; duplicate keys and their like only add to `errors`.
pub fn build(text: &str, errors: &mut Vec<Diagnostic>) -> Option<Rc<Node>> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    options.disallow_directives = true;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut builder = Builder {
        errors,
        anchors: HashMap::new(),
        open: Vec::new(),
        root: None,
        nodes: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, range)) => builder.event(event, range),
            Err(error) => Err(Box::new(syntax(text, &error))),
        };
        if let Err(stop) = step {
            builder.errors.push(*stop);
            return None;
        }
    }
    if builder.root.is_none() {
        let empty = Diagnostic::new("inventory::empty", "the file is empty");
        builder.errors.push(empty.help("`hactl init` writes a first inventory"));
    }
    builder.root
}

fn syntax(text: &str, error: &ScanError) -> Diagnostic {
    let start = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let len = text
        .get(start..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let code = "inventory::syntax";
    let message: String = error
        .info()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if message.contains("nesting") || message.contains("recursion") {
        return Diagnostic::new(code, format!("more than {MAX_DEPTH} levels of nesting"))
            .at(Span { start, len }, "here");
    }
    let diagnostic = Diagnostic::new(code, format!("this is no YAML: {message}")).at(Span { start, len }, "here");
    let line = text[..start].rfind('\n').map_or(0, |i| i + 1);
    if text[line..].trim_start_matches(' ').starts_with('\t') {
        return diagnostic.help("indent with spaces, never with tabs");
    }
    diagnostic
}

fn span(range: &Range) -> Span {
    let start = range.start.byte_offset().unwrap_or(0);
    let end = range.end.byte_offset().unwrap_or(start);
    Span {
        start,
        len: end.saturating_sub(start),
    }
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, range: Range) -> Result<(), Stop> {
        let at = span(&range);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Box::new(
                Diagnostic::new("inventory::documents", "a second document starts here")
                    .at(at, "second document")
                    .help("an inventory is one document; remove the `---`"),
            )),
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, forced_text) = self.tag(tag.as_deref());
                let plain = style == ScalarStyle::Plain && !forced_text;
                let node = Node {
                    span: at,
                    tag,
                    value: Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                    depth: 1,
                };
                self.finish(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.open(at, anchor, tag.as_deref(), Items::List(Vec::new())),
            Event::MappingStart(_, anchor, tag) => {
                let items = Items::Map {
                    entries: Vec::new(),
                    merges: Vec::new(),
                    key: None,
                };
                self.open(at, anchor, tag.as_deref(), items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.put(node, at),
                None => Err(Box::new(
                    Diagnostic::new("inventory::alias", "this alias is inside the very value it stands for")
                        .at(at, "refers to what contains it"),
                )),
            },
            Event::UnresolvedAlias(name) => Err(Box::new(
                Diagnostic::new("inventory::alias", format!("no `&{name}` stands before this alias"))
                    .at(at, "unknown alias")
                    .help(format!("text that starts with `*` needs quotes: \"*{name}\"")),
            )),
            _ => Ok(()),
        }
    }

    /// A tag of the file's own, and whether the scalar under it is text in any case.
    fn tag(&self, tag: Option<&Tag>) -> (Option<String>, bool) {
        let Some(tag) = tag else { return (None, false) };
        let name = tag.to_string();
        let core = name
            .strip_prefix("tag:yaml.org,2002:")
            .or_else(|| name.strip_prefix("!!"));
        match core {
            Some("str") => (None, true),
            Some("int" | "float" | "bool" | "null" | "map" | "seq") => (None, false),
            _ if name == "!" => (None, true),
            _ => (Some(name), false),
        }
    }

    fn open(&mut self, span: Span, anchor: usize, tag: Option<&Tag>, items: Items) -> Result<(), Stop> {
        let (tag, _) = self.tag(tag);
        self.open.push(Open {
            anchor,
            span,
            tag,
            depth: 0,
            items,
        });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.items {
            Items::List(items) => Value::List(items),
            Items::Map { entries, merges, .. } => Value::Map(self.merge(entries, merges)?),
        };
        let last = end.start + end.len;
        let node = Node {
            span: Span {
                start: open.span.start,
                len: last.saturating_sub(open.span.start),
            },
            tag: open.tag,
            value,
            depth: open.depth + 1,
        };
        self.finish(node, open.anchor)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        let span = node.span;
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.put(node, span)
    }

    /// Hands a complete node to the collection it stands in.
    fn put(&mut self, node: Rc<Node>, at: Span) -> Result<(), Stop> {
        self.count(1, at)?;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.depth = open.depth.max(node.depth);
        if open.depth > MAX_DEPTH {
            let text = format!("more than {MAX_DEPTH} levels of nesting");
            return Err(Box::new(Diagnostic::new("inventory::syntax", text).at(at, "here")));
        }
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, merges, key } => match key.take() {
                None => *key = Some(read_key(&node, at, self.errors)),
                Some(None) => {}
                Some(Some((_, _, true))) => merges.push(node),
                Some(Some((key, key_span, false))) => entries.push(Entry {
                    key,
                    key_span,
                    value: node,
                }),
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Span) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(Box::new(too_many(at)));
        }
        Ok(())
    }

    /// Reports duplicate keys and applies `<<`: what the mapping says itself comes first.
    fn merge(&mut self, entries: Vec<Entry>, merges: Vec<Rc<Node>>) -> Result<Vec<Entry>, Stop> {
        let mut seen: HashMap<String, Span> = HashMap::with_capacity(entries.len());
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(first) = seen.get(&entry.key) {
                self.errors.push(
                    Diagnostic::new("inventory::duplicate_key", format!("`{}` is given twice", entry.key))
                        .at(entry.key_span, "again here")
                        .at(*first, "first here")
                        .help("keep one of them"),
                );
                continue;
            }
            seen.insert(entry.key.clone(), entry.key_span);
            kept.push(entry);
        }
        for merge in merges {
            let sources: Vec<&Rc<Node>> = match &merge.value {
                Value::List(list) => list.iter().collect(),
                _ => vec![&merge],
            };
            for source in sources {
                let Value::Map(from) = &source.value else {
                    let text = "`<<` takes a mapping or a list of mappings";
                    self.errors
                        .push(Diagnostic::new("inventory::type", text).at(source.span, "no mapping"));
                    continue;
                };
                self.count(from.len(), source.span)?;
                for entry in from {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.key_span);
                        kept.push(entry.clone());
                    }
                }
            }
        }
        Ok(kept)
    }
}

/// What is said about a file whose aliases multiply without end.
pub fn too_many(at: Span) -> Diagnostic {
    Diagnostic::new(
        "inventory::too_big",
        format!("aliases make more than {MAX_NODES} values of this file"),
    )
    .at(at, "counted up to here")
}

fn read_key(node: &Node, at: Span, errors: &mut Vec<Diagnostic>) -> Key {
    let Value::Scalar { text, plain } = &node.value else {
        errors.push(
            Diagnostic::new("inventory::type", "a key must be a word, not a list or a mapping").at(at, "this key"),
        );
        return None;
    };
    if let Some(c) = super::scalar::forbidden(text, false) {
        let message = format!("a key holds the control character U+{:04X}", u32::from(c));
        errors.push(Diagnostic::new("inventory::control", message).at(at, "this key"));
        return None;
    }
    Some((text.clone(), at, *plain && text == "<<"))
}
