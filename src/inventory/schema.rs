//! JSON Schema of the inventory, for editors. The tooltips are the doc comments of the raw structures.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::raw::RawInventory;

/// The schema, draft 2020-12. Editors complete and explain with it; [`parse`](super::parse) checks more.
pub fn schema() -> Schema {
    let mut schema = of::<RawInventory>();
    schema.insert("title".to_owned(), "hactl inventory".into());
    schema.insert("required".to_owned(), json!(["cluster", "hosts", "app", "sites"]));
    schema
}

/// The schema of a raw structure.
pub(super) fn of<T: schemars::JsonSchema>() -> Schema {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    for value in schema.ensure_object().values_mut() {
        loosen(value);
    }
    schema
}

/// Text that looks like a number or like `true` needs no quotes in an inventory; an editor must not ask for them.
fn loosen(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(free) = map.get_mut("additionalProperties")
                && free["type"] == "string"
            {
                free["type"] = json!(["string", "number", "boolean"]);
            }
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                for key in ["ref", "once", "mode"] {
                    if let Some(text) = properties.get_mut(key) {
                        text["type"] = json!(["string", "number"]);
                    }
                }
                if let Some(Value::Array(forms)) = properties.get_mut("become").and_then(|b| b.get_mut("anyOf")) {
                    forms.push(json!({ "type": "boolean" }));
                }
            }
            map.values_mut().for_each(loosen);
        }
        Value::Array(list) => list.iter_mut().for_each(loosen),
        _ => {}
    }
}
