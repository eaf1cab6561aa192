//! One JSON object a line.

use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde_json::Value;

/// A moment in RFC 3339, to the millisecond.
pub fn time(at: Timestamp) -> String {
    at.round(Unit::Millisecond).unwrap_or(at).to_string()
}

/// The line of an event, with its `time`.
pub fn line(event: &impl Serialize, at: Timestamp) -> String {
    let mut value = serde_json::to_value(event).unwrap_or(Value::Null);
    if let Value::Object(map) = &mut value {
        map.entry("time").or_insert_with(|| Value::String(time(at)));
    }
    crate::quote::json(&value) + "\n"
}
