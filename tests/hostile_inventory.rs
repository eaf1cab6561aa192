//! Hostile values through every free-text field of the inventory: refused with a position, or delivered as they are, with
//! nothing else changed. Fields come from the schema, so a new one is covered when it is added.

#[path = "hostile/artefacts.rs"]
mod artefacts;
#[path = "hostile/fields.rs"]
mod fields;
#[path = "hostile/values.rs"]
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use artefacts::{Bench, Delivered};
use fields::Field;
use hactl::inventory::{Loaded, parse};

/// Values in all, at least.
const VALUES: usize = 5000;

fn read(text: &str) -> Result<Loaded, String> {
    parse(text, Path::new("/inventory/inventory.yml")).map_err(|found| found.render(false))
}

/// What is said about a refused value names the line it stands on (or that of the mapping it is in), and moves no cursor.
fn refused(field: &Field, value: &str, text: &str, said: &str) {
    let shown = hactl::report::Paint::default().safe(said);
    let bad = shown
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || hactl::quote::deceives(*c));
    assert_eq!(bad, None, "{field}: {value:?}: {shown:?}");
    let line = field.line(text);
    let named: Vec<usize> = said
        .match_indices("inventory.yml:")
        .filter_map(|(at, name)| said[at + name.len()..].split(':').next()?.parse().ok())
        .collect();
    let near = named
        .iter()
        .any(|named| (field.opening(text, line)..=line).contains(named));
    assert!(
        near,
        "{field}: {value:?}: stands in line {line}, but {named:?} are named:\n{said}"
    );
}

#[test]
fn five_thousand_values_through_every_field() {
    let bench = Bench::new();
    let fields = fields::all();
    assert!(fields.len() > 60, "the schema has lost its fields: {}", fields.len());
    let each = VALUES.div_ceil(fields.len());
    let mut values = values::Values::new();
    let mut alone = Vec::new();
    let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
    let (mut tried, mut accepted) = (0, 0);
    for field in &fields {
        let harmless = field.with(field.harmless(), bench.folder());
        // Names that must be those of something else have no harmless text of their own.
        let expected = read(&harmless).map(|loaded| bench.make(&loaded.inventory));
        if let Err(said) = &expected {
            alone.push(format!("{field}: {}", said.lines().nth(2).unwrap_or_default()));
        }
        for value in values.some(each, field.harmless()) {
            tried += 1;
            let text = field.with(&value, bench.folder());
            let loaded = match read(&text) {
                Err(said) => {
                    refused(field, &value, &text, &said);
                    continue;
                }
                Ok(loaded) => loaded,
            };
            accepted += 1;
            let made = bench.make(&loaded.inventory);
            made.is_quiet(field, &value);
            if let Ok(expected) = &expected {
                made.has_the_structure_of(expected, field, &value);
            }
            if bench.delivers(field, &value, &made) == Delivered::Literally {
                *delivered.entry(field.to_string()).or_default() += 1;
            }
        }
    }
    println!(
        "{} fields, {tried} values, {accepted} accepted, {delivered:#?}",
        fields.len()
    );
    assert!(tried >= VALUES && accepted > 500, "{tried} {accepted}");
    assert!(alone.len() < 4, "{alone:#?}");
    // The fields that take free text must have taken some, or this test has looked at nothing.
    for field in [
        "app.wsgi.env.*",
        "app.wsgi.migrate",
        "app.wsgi.workers[].command",
        "app.wsgi.url",
        "mariadb.settings.*",
        "system.sysctl.*",
    ] {
        assert!(
            delivered.get(field).is_some_and(|count| *count > 5),
            "{field}: {delivered:#?}"
        );
    }
    bench.nothing_was_executed();
}
