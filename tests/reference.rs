//! `docs/inventory.md` is made from the types: every key with its type, default and meaning.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

const HEAD: &str = "\
# The inventory

One YAML file says which servers there are, what runs on them, and how. `hactl init` writes a first one, as in
[examples](examples/); `hactl check` says what is wrong in one. Made from the types by `tests/reference.rs`: do not edit.

Unknown keys, duplicate keys and wrong types are errors. Text needs no quotes as long as YAML takes it for text. Paths on
this machine are relative to the inventory; `~` is your home. A secret is written `!secret NAME` (in the encrypted secrets
file), `!secret env:NAME`, `!secret file:PATH` or `!secret exec:COMMAND`.
";

/// Writes sections, each structure once.
#[derive(Default)]
struct Reference {
    text: String,
    defs: Value,
    /// Title of the section of each structure.
    titles: BTreeMap<String, String>,
}

impl Reference {
    /// A section for a structure, then one for each structure that its keys lead to.
    fn section(&mut self, title: &str, path: &str, schema: &Value) {
        let _ = writeln!(self.text, "\n## {title}\n");
        if let Some(text) = schema["description"].as_str() {
            let _ = writeln!(self.text, "{text}\n");
        }
        let mut next: Vec<(String, String)> = Vec::new();
        let _ = writeln!(self.text, "| key | type | default | |\n|---|---|---|---|");
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let place = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let kind = self.kind(property, &place, &mut next);
            let (default, meaning) = meaning(property["description"].as_str().unwrap_or_default());
            let _ = writeln!(self.text, "| `{key}` | {kind} | {default} | {meaning} |");
        }
        for (name, place) in next {
            let schema = self.defs[&name].clone();
            let title = self.titles[&name].clone();
            self.section(&title, &place, &schema);
        }
    }

    /// A type in words; structures met for the first time are added to `next`.
    fn kind(&mut self, schema: &Value, place: &str, next: &mut Vec<(String, String)>) -> String {
        if let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|reference| reference.rsplit('/').next())
        {
            // What is one of several kinds has no table of its own.
            let forms = self.defs[name]["oneOf"].as_array().cloned().unwrap_or_default();
            if !forms.is_empty() {
                let one = |form: &Value| {
                    let kind = form["properties"]["kind"]["const"].as_str().unwrap_or_default();
                    self.kind(form, &format!("{place} (kind: {kind})"), next)
                };
                let all: Vec<String> = forms.iter().map(one).collect();
                return all.join(" or ");
            }
            if !self.titles.contains_key(name) {
                self.titles.insert(name.to_owned(), format!("`{place}`"));
                next.push((name.to_owned(), place.to_owned()));
            }
            let title = &self.titles[name];
            let anchor: String = title
                .to_lowercase()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
                    _ => None,
                })
                .collect();
            return format!("[{}](#{anchor})", title.trim_matches('`'));
        }
        if let Some(word) = schema["const"].as_str() {
            return format!("`{word}`");
        }
        for forms in ["anyOf", "oneOf"] {
            if let Some(forms) = schema[forms].as_array() {
                let mut all: Vec<String> = forms.iter().map(|form| self.kind(form, place, next)).collect();
                all.dedup();
                return all.join(" or ");
            }
        }
        let word = match &schema["type"] {
            Value::Array(words) => words[0].as_str().unwrap_or_default().to_owned(),
            word => word.as_str().unwrap_or("anything").to_owned(),
        };
        match word.as_str() {
            "array" => format!("list of {}", self.kind(&schema["items"], &format!("{place}[]"), next)),
            "object" if schema["additionalProperties"].is_object() => {
                let inner = self.kind(&schema["additionalProperties"], &format!("{place}.NAME"), next);
                format!("names with {inner}")
            }
            "object" => "names with anything".to_owned(),
            "string" => "text".to_owned(),
            "integer" => "number".to_owned(),
            "boolean" => "true/false".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// The default, and the rest of a doc comment, for cells of a table.
fn meaning(text: &str) -> (String, String) {
    let text = text.replace('\n', " ").replace('|', "\\|");
    let mut default = String::new();
    let mut rest: Vec<&str> = Vec::new();
    for sentence in sentences(&text) {
        if sentence == "Required." {
            default = "required".to_owned();
        } else if let Some(value) = sentence.strip_prefix("Default") {
            default = value.trim_start_matches([':', ' ']).trim_end_matches('.').to_owned();
        } else {
            rest.push(sentence);
        }
    }
    (default, rest.join(" "))
}

/// Sentences with their full stops; one ends where a capital letter follows.
fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(". ") {
        let next = text[at + 2..].chars().next();
        if next.is_some_and(|c| c.is_uppercase() || c == '`') {
            out.push(&text[start..=at]);
            start = at + 2;
        }
    }
    out.push(&text[start..]);
    out
}

fn document() -> String {
    let mut reference = Reference::default();
    reference.text.push_str(HEAD);
    let mut roots = [
        ("Keys", "", serde_json::to_value(hactl::inventory::schema()).unwrap()),
        (
            "Roles of your own",
            "ROLE",
            serde_json::to_value(hactl::inventory::roles::schema()).unwrap(),
        ),
    ];
    for (title, path, root) in &mut roots {
        reference.defs = root["$defs"].take();
        reference.titles.clear();
        reference.section(title, path, root);
    }
    reference.text
}

#[test]
fn the_reference_of_the_inventory_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/inventory.md");
    let made = document();
    if std::env::var_os("HACTL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "docs/inventory.md is not what the types say: HACTL_WRITE_DOCS=1 cargo test --test reference writes it anew"
    );
}

/// Every key of the schema has a row with words in it.
#[test]
fn every_key_is_there_and_explained() {
    fn keys(schema: &Value, out: &mut Vec<(String, bool)>) {
        match schema {
            Value::Object(map) => {
                for (key, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if key != "kind" {
                        out.push((key.clone(), property["description"].is_string()));
                    }
                }
                map.values().for_each(|value| keys(value, out));
            }
            Value::Array(list) => list.iter().for_each(|value| keys(value, out)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for schema in [hactl::inventory::schema(), hactl::inventory::roles::schema()] {
        keys(&serde_json::to_value(schema).unwrap(), &mut all);
    }
    assert!(all.len() > 100, "{}", all.len());
    let document = document();
    for (key, explained) in all {
        assert!(explained, "{key} has no doc comment");
        assert!(document.contains(&format!("\n| `{key}` | ")), "{key}");
    }
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut seen = 0;
    for entry in std::fs::read_dir(&docs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with('#') || target.contains("://") {
                continue;
            }
            let file = target.split('#').next().unwrap_or(target);
            assert!(docs.join(file).exists(), "{}: {target}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}

/// What a page promises with the name of a test is really tested under that name.
#[test]
fn pages_name_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for page in std::fs::read_dir(root.join("docs")).expect("docs") {
        let page = page.expect("a page").path();
        if page.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).expect("text");
        // Without what stands in blocks.
        let text: Vec<&str> = text.split("```").step_by(2).collect();
        let text = text.concat();
        let words: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        for (place, file) in words.iter().enumerate() {
            if !file.starts_with("tests/") || !file.ends_with(".rs") {
                continue;
            }
            let source = std::fs::read_to_string(root.join(file));
            let source = source.unwrap_or_else(|error| panic!("{}: {file}: {error}", page.display()));
            named += 1;
            // `tests/FILE.rs`: `FUNCTION`
            let between = text.split('`').nth(2 * place + 2).unwrap_or_default();
            if between == ": " {
                let function = words[place + 1];
                assert!(
                    source.contains(&format!("fn {function}(")),
                    "{}: {file} has no test {function}",
                    page.display()
                );
            }
        }
    }
    assert!(named > 5, "{named}");
}
