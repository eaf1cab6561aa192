//! The shapes that raw structures are made of: a value with its place, a mapping in its order, one of two shapes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::inventory::diagnostics::Span;

/// Asks the tree's deserializer for `(start, len, null, value?)`; no other deserializer knows the name.
pub(super) const AT: &str = "$hactl::At";
/// Asks for `(tag?, text)`.
pub(super) const TAGGED: &str = "$hactl::Tagged";
/// Asks for text that may have several lines.
pub(super) const LINES: &str = "$hactl::Lines";
/// An enum whose variants are `Map` and `List` for those, as far as it has them, and `Word` for anything else.
pub(super) const EITHER: &str = "$hactl::Either";
/// An enum whose variant is the value of the mapping's key `kind`.
pub(super) const KIND: &str = "$hactl::kind";

/// What the file says about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Given {
    /// Nothing.
    #[default]
    No,
    /// `key:` with nothing behind it.
    Null,
    /// Something of the wrong type; it was reported.
    Wrong,
    /// A value.
    Yes,
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// Present when `given` is [`Given::Yes`].
    pub value: Option<T>,
    /// Where; meaningless when `given` is [`Given::No`].
    pub span: Span,
    /// What the file says.
    pub given: Given,
}

impl<T> Default for At<T> {
    fn default() -> Self {
        At {
            value: None,
            span: Span::default(),
            given: Given::No,
        }
    }
}

impl<T> At<T> {
    /// Whether nothing was said, not even something wrong.
    pub fn is_missing(&self) -> bool {
        matches!(self.given, Given::No | Given::Null)
    }

    /// Whether anything was said, be it `null` or something wrong.
    pub fn is_given(&self) -> bool {
        self.given != Given::No
    }

    /// The value and its place.
    pub fn get(&self) -> Option<(&T, Span)> {
        self.value.as_ref().map(|value| (value, self.span))
    }
}

impl<T: Copy> At<T> {
    /// The value, or what stands when none was given.
    pub fn or(&self, default: T) -> T {
        self.value.unwrap_or(default)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
                let mut number = || parts.next_element::<u64>().map(Option::unwrap_or_default);
                let span = Span {
                    start: number()? as usize,
                    len: number()? as usize,
                };
                if number()? == 1 {
                    return Ok(At {
                        value: None,
                        span,
                        given: Given::Null,
                    });
                }
                let value = parts.next_element::<T>()?;
                let given = if value.is_some() { Given::Yes } else { Given::Wrong };
                Ok(At { value, span, given })
            }
        }
        deserializer.deserialize_newtype_struct(AT, AtVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A mapping with free keys, in the order written, each with its place.
#[derive(Debug, Clone)]
pub struct Entries<T>(pub Vec<(At<String>, At<T>)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": item })
    }
}

/// A word, or a mapping.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(rename = "$hactl::Either")]
#[schemars(untagged, inline)]
pub enum Either<W, M> {
    /// Written as one word.
    Word(W),
    /// Written as a mapping.
    Map(M),
}

/// One, or a list.
#[derive(Debug, Clone, serde::Deserialize, JsonSchema)]
#[serde(rename = "$hactl::Either")]
#[schemars(untagged, inline)]
pub enum OneOrList<T> {
    /// Written as one word.
    Word(T),
    /// Written as a list.
    List(Vec<At<T>>),
}

/// Text that may carry a tag: `hunter2` or `!secret NAME`.
#[derive(Clone)]
pub struct SecretText {
    /// The tag with its `!`.
    pub tag: Option<String>,
    /// The text behind it.
    pub text: String,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({:?}, ***)", self.tag)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = SecretText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or `!secret NAME`")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<SecretText, A::Error> {
                let text: Option<String> = parts.next_element()?;
                let tag: Option<String> = parts.next_element()?;
                let text = text.ok_or_else(|| de::Error::invalid_length(0, &"text"))?;
                Ok(SecretText { tag, text })
            }
        }
        deserializer.deserialize_newtype_struct(TAGGED, Parts)
    }
}

/// Text that may have several lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(pub String);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LinesVisitor;
        impl Visitor<'_> for LinesVisitor {
            type Value = Lines;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lines, E> {
                Ok(Lines(text.to_owned()))
            }
        }
        deserializer.deserialize_newtype_struct(LINES, LinesVisitor)
    }
}

impl JsonSchema for Lines {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Lines".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "`!secret NAME`, `!secret env:NAME`, `!secret file:PATH` or `!secret exec:COMMAND`"
        })
    }
}
