//! A serde `Deserializer` over the tree that goes on after errors.
//!
//! Inside an [`At`](super::At) an error is put on the list and the value left out. Unknown keys of a structure are
//! reported from the field list that serde's derive hands over, so there is no second list to keep.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::MAX_NODES;
use super::field::{AT, At, EITHER, KIND, LINES, TAGGED};
use super::problem::{Problem, control};
use super::scalar::{self, Plain};
use super::tree::{Entry, Node, Value, too_many};
use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::suggest;

/// Unknown keys of one mapping that are reported.
const MAX_UNKNOWN: usize = 100;

/// Reads a tree into a type; errors in the order they were met.
pub fn read<T: DeserializeOwned>(root: &Node) -> (Option<At<T>>, Vec<Diagnostic>) {
    let state = State::default();
    let value = match At::<T>::deserialize(Reader {
        node: root,
        state: &state,
    }) {
        Ok(value) => Some(value),
        Err(problem) => {
            state.report(problem, root.span);
            None
        }
    };
    (value, state.errors.into_inner())
}

#[derive(Default)]
struct State {
    errors: RefCell<Vec<Diagnostic>>,
    visited: Cell<usize>,
}

impl State {
    fn report(&self, problem: Problem, fallback: Span) {
        let mut diagnostic = *problem.0;
        if diagnostic.labels.is_empty() {
            diagnostic = diagnostic.at(fallback, "");
        }
        self.errors.borrow_mut().push(diagnostic);
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    state: &'a State,
}

impl<'a> Reader<'a> {
    fn child(self, node: &'a Node) -> Self {
        Reader { node, ..self }
    }

    fn kind(self) -> &'static str {
        match &self.node.value {
            Value::Scalar { text, plain: true } => match scalar::resolve(text) {
                Plain::Null => "nothing",
                Plain::Bool(_) => "true/false",
                Plain::Unsigned(_) | Plain::Signed(_) => "a number",
                Plain::Float(_) => "a fraction",
                Plain::Text(_) => "text",
            },
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn wrong(self, expected: &str) -> Problem {
        let found = self.kind();
        Problem::new(
            "inventory::type",
            format!("expected {expected}, found {found}"),
            self.node.span,
        )
        .label(format!("{found}, expected {expected}"))
    }

    /// Counts a visit (aliases make one node many) and refuses tags, which mean nothing here.
    fn enter(self) -> Result<(), Problem> {
        let visited = self.state.visited.get() + 1;
        self.state.visited.set(visited);
        if visited > MAX_NODES {
            // One report is enough; what follows is skipped without a word by the same check.
            let mut diagnostic = too_many(self.node.span);
            if visited > MAX_NODES + 1 {
                diagnostic.message.clear();
            }
            return Err(Problem(Box::new(diagnostic)));
        }
        let Some(tag) = &self.node.tag else { return Ok(()) };
        let problem = Problem::new(
            "inventory::tag",
            format!("the tag `{tag}` is not possible here"),
            self.node.span,
        )
        .label("not with this tag");
        Err(match tag.as_str() {
            "!secret" => problem.help("`!secret` goes with passwords: a site's admin_password, ssh.become.password"),
            _ => problem.help("the one tag of inventories is `!secret`"),
        })
    }

    fn text(self, expected: &str, allow_lines: bool) -> Result<&'a str, Problem> {
        let Value::Scalar { text, .. } = &self.node.value else {
            return Err(self.wrong(expected));
        };
        match scalar::forbidden(text, allow_lines) {
            None => Ok(text),
            Some(c) => Err(control(c, self.node.span)),
        }
    }

    fn number<N: std::str::FromStr>(self, low: &dyn fmt::Display, high: &dyn fmt::Display) -> Result<N, Problem> {
        self.enter()?;
        let expected = "a whole number";
        match &self.node.value {
            Value::Scalar { text, plain: true } if scalar::is_integer(text) => text.parse().map_err(|_| {
                Problem::new(
                    "inventory::number",
                    format!("{text} is not from {low} to {high}"),
                    self.node.span,
                )
                .label("out of range")
            }),
            Value::Scalar { text, plain: false } if scalar::is_integer(text) => {
                Err(self.wrong(expected).help("remove the quotes"))
            }
            _ => Err(self.wrong(expected)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $type:ty => $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            visitor.$visit(self.number::<$type>(&<$type>::MIN, &<$type>::MAX)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Problem;

    numbers! {
        deserialize_i8 i8 => visit_i8;
        deserialize_i16 i16 => visit_i16;
        deserialize_i32 i32 => visit_i32;
        deserialize_i64 i64 => visit_i64;
        deserialize_u8 u8 => visit_u8;
        deserialize_u16 u16 => visit_u16;
        deserialize_u32 u32 => visit_u32;
        deserialize_u64 u64 => visit_u64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.enter()?;
        match &self.node.value {
            Value::Scalar { plain: true, .. } => match scalar::resolve(self.text("text", true)?) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Unsigned(value) => visitor.visit_u64(value),
                Plain::Signed(value) => visitor.visit_i64(value),
                Plain::Float(value) => visitor.visit_f64(value),
                Plain::Text(text) => visitor.visit_str(text),
            },
            Value::Scalar { .. } => visitor.visit_str(self.text("text", true)?),
            Value::List(items) => visitor.visit_seq(List {
                items: items.iter(),
                of: self,
            }),
            Value::Map(entries) => visitor.visit_map(Map::new(entries, self)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.enter()?;
        if let Value::Scalar { text, plain } = &self.node.value {
            match (scalar::resolve(text), plain) {
                (Plain::Bool(value), true) => return visitor.visit_bool(value),
                _ => {
                    return Err(self
                        .wrong("true or false")
                        .help("write `true` or `false`, without quotes"));
                }
            }
        }
        Err(self.wrong("true or false"))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.enter()?;
        match &self.node.value {
            Value::Scalar { text, plain: true } if scalar::is_integer(text) || scalar::is_float(text) => {
                let value = text.parse().map_err(|_| self.wrong("a number"))?;
                visitor.visit_f64(value)
            }
            _ => Err(self.wrong("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.enter()?;
        visitor.visit_str(self.text("text", false)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.node.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        match name {
            AT => visitor.visit_seq(Placed { of: self, next: 0 }),
            TAGGED => {
                if self.node.tag.as_deref().is_none_or(|tag| tag == "!secret") {
                    // Never quotes what was found: it may be a password.
                    self.text("text or `!secret NAME`", false)?;
                    return visitor.visit_seq(Tagged { of: self, next: 0 });
                }
                self.enter()?;
                Err(self.wrong("text or `!secret NAME`"))
            }
            LINES => {
                self.enter()?;
                visitor.visit_str(self.text("text", true)?)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.enter()?;
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(List {
                items: items.iter(),
                of: self,
            }),
            _ => Err(self
                .wrong("a list")
                .help("a list is written `[a, b]` or as lines that start with `- `")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.enter()?;
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Map::new(entries, self)),
            _ => Err(self
                .wrong("a mapping")
                .help("a mapping is written `{ key: value }` or as lines `key: value`")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.enter()?;
        let Value::Map(entries) = &self.node.value else {
            return Err(self
                .wrong("a mapping")
                .help(format!("it takes the keys {}", suggest::list(fields))));
        };
        let unknown = entries.iter().filter(|e| !fields.contains(&e.key.as_str()));
        // A file of another kind may have nothing but unknown keys, and guessing what was meant takes time.
        for entry in unknown.take(MAX_UNKNOWN) {
            let diagnostic = Diagnostic::new("inventory::unknown_key", format!("`{}` is not a key here", entry.key))
                .at(entry.key_span, "unknown key")
                .help(suggest::among(&entry.key, fields.iter().copied()));
            self.state.errors.borrow_mut().push(diagnostic);
        }
        visitor.visit_map(Map {
            known: Some(fields),
            ..Map::new(entries, self)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let (variant, at) = match name {
            EITHER => match &self.node.value {
                Value::Map(_) if variants.contains(&"Map") => ("Map".to_owned(), self.node.span),
                Value::List(_) if variants.contains(&"List") => ("List".to_owned(), self.node.span),
                _ => ("Word".to_owned(), self.node.span),
            },
            KIND => self.kind_of_mapping(variants)?,
            _ => {
                self.enter()?;
                (self.text("a word", false)?.to_owned(), self.node.span)
            }
        };
        if !variants.contains(&variant.as_str()) {
            let message = format!("`{variant}` is not possible here");
            return Err(Problem::new("inventory::value", message, at)
                .label(format!("expected {}", suggest::or(variants)))
                .help(suggest::among(&variant, variants.iter().copied())));
        }
        visitor.visit_enum(Variant {
            of: self,
            name: variant,
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct }
}

impl Reader<'_> {
    fn kind_of_mapping(self, variants: &[&str]) -> Result<(String, Span), Problem> {
        self.enter()?;
        let Value::Map(entries) = &self.node.value else {
            return Err(self.wrong("a mapping"));
        };
        let Some(entry) = entries.iter().find(|e| e.key == "kind") else {
            let message = format!("`kind` is missing: {}", suggest::or(variants));
            return Err(Problem::new("inventory::missing", message, self.node.span)
                .label("of which kind?")
                .help(format!("add `kind: {}`", variants.join("` or `kind: "))));
        };
        let text = self.child(&entry.value).text("a word", false)?;
        Ok((text.to_owned(), entry.value.span))
    }
}

/// Elements of a list.
struct List<'a> {
    items: std::slice::Iter<'a, std::rc::Rc<Node>>,
    of: Reader<'a>,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        match self.items.next() {
            Some(item) => seed.deserialize(self.of.child(item)).map(Some),
            None => Ok(None),
        }
    }
}

/// Entries of a mapping; with `known`, only those.
struct Map<'a> {
    entries: std::slice::Iter<'a, Entry>,
    of: Reader<'a>,
    known: Option<&'static [&'static str]>,
    value: Option<&'a Node>,
}

impl<'a> Map<'a> {
    fn new(entries: &'a [Entry], of: Reader<'a>) -> Self {
        Map {
            entries: entries.iter(),
            of,
            known: None,
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Map<'_> {
    type Error = Problem;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        let known = self.known;
        let mut entries = self
            .entries
            .by_ref()
            .filter(|e| known.is_none_or(|known| known.contains(&e.key.as_str())));
        let Some(entry) = entries.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        seed.deserialize(Word {
            text: &entry.key,
            span: entry.key_span,
        })
        .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        match self.value.take() {
            Some(node) => seed.deserialize(self.of.child(node)),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// A key, or another piece of text with a place.
struct Word<'a> {
    text: &'a str,
    span: Span,
}

impl<'de> Deserializer<'de> for Word<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.text)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        if name != AT {
            return visitor.visit_newtype_struct(self);
        }
        struct Parts<'a>(Word<'a>, u8);
        impl<'de> SeqAccess<'de> for Parts<'_> {
            type Error = Problem;
            fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
                self.1 += 1;
                match place(self.1, self.0.span, false) {
                    Some(number) => seed.deserialize(number.into_deserializer()).map(Some),
                    None => seed.deserialize(StrDeserializer::new(self.0.text)).map(Some),
                }
            }
        }
        visitor.visit_seq(Parts(self, 0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The numbers that an `At` asks for before its value.
fn place(part: u8, span: Span, null: bool) -> Option<u64> {
    match part {
        1 => Some(span.start as u64),
        2 => Some(span.len as u64),
        3 => Some(u64::from(null)),
        _ => None,
    }
}

/// Parts of an [`At`]; here errors are caught.
struct Placed<'a> {
    of: Reader<'a>,
    next: u8,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        self.next += 1;
        if let Some(number) = place(self.next, self.of.node.span, self.of.node.is_null()) {
            return seed.deserialize(number.into_deserializer()).map(Some);
        }
        match seed.deserialize(self.of) {
            Ok(value) => Ok(Some(value)),
            Err(problem) => {
                if !problem.0.message.is_empty() {
                    self.of.state.report(problem, self.of.node.span);
                }
                Ok(None)
            }
        }
    }
}

/// Parts of a secret: text, then the tag.
struct Tagged<'a> {
    of: Reader<'a>,
    next: u8,
}

impl<'de> SeqAccess<'de> for Tagged<'_> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        self.next += 1;
        let part = match (self.next, &self.of.node.value) {
            (1, Value::Scalar { text, .. }) => Some(text.clone()),
            (2, _) => self.of.node.tag.clone(),
            _ => None,
        };
        match part {
            Some(text) => seed.deserialize(StringDeserializer::new(text)).map(Some),
            None => Ok(None),
        }
    }
}

/// A chosen variant and what it holds.
struct Variant<'a> {
    of: Reader<'a>,
    name: String,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Problem;
    type Variant = Reader<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Reader<'a>), Problem> {
        let value = seed.deserialize(StringDeserializer::<Problem>::new(self.name))?;
        Ok((value, self.of))
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Problem> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_struct("", fields, visitor)
    }
}
