//! The published form of JSON lines.

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde_json::{Value, json};

use super::Note;
use crate::engine::Event;

/// Any line that a verb prints with `--format json`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Line {
    Event(Event),
    Note(Note),
}

/// JSON Schema of one line.
pub fn events() -> Schema {
    let mut schema = schema_for!(Line);
    schema.insert("title".into(), "A line of hactl --format json".into());
    schema.insert(
        "properties".into(),
        json!({ "time": { "description": "When, RFC 3339 in UTC.", "type": "string" } }),
    );
    schema.insert("required".into(), json!(["time"]));
    schema
}

/// A schema as text.
pub fn text(schema: &Schema) -> String {
    format!(
        "{:#}\n",
        schema
            .as_value()
            .as_object()
            .map_or(Value::Null, |map| map.clone().into())
    )
}
