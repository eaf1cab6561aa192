//! JSON Schema of the inventory, for editors. The tooltips are the doc comments of the raw structures.

use schemars::Schema;
use schemars::generate::SchemaSettings;

use super::raw::RawInventory;

/// The schema, draft 2020-12. Editors complete and explain with it; [`parse`](super::parse) checks more.
pub fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<RawInventory>();
    schema.insert("title".to_owned(), "hactl inventory".into());
    schema.insert(
        "required".to_owned(),
        serde_json::json!(["cluster", "hosts", "app", "sites"]),
    );
    schema
}
