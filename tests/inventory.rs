//! Inventories as data: every file under `tests/inventory/` is read, and what a user sees is a snapshot.

use std::path::{Path, PathBuf};

use hactl::inventory::{Inventory, load, parse};
use proptest::prelude::*;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of test inventories")
        .map(|entry| entry.expect("its entries").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no inventories in {}", folder.display());
    files
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// What the inventory holds, without the machine's own paths.
fn shown(inventory: &Inventory) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let text = format!("{inventory:#?}");
    let text = text.replace(env!("CARGO_MANIFEST_DIR"), "$ROOT");
    if home.len() > 1 {
        text.replace(&home, "$HOME")
    } else {
        text
    }
}

#[test]
fn refused_inventories_say_everything_at_once() {
    for path in files("tests/inventory/bad") {
        let text = std::fs::read_to_string(&path).expect("a test inventory");
        let found = parse(&text, Path::new("inventory.yml")).expect_err(&format!("{} is refused", path.display()));
        insta::with_settings!({ snapshot_path => "inventory/snapshots", prepend_module_to_snapshot => false, description => text }, {
            insta::assert_snapshot!(name(&path), found.render(false));
        });
    }
}

#[test]
fn accepted_inventories_are_complete() {
    for path in files("tests/inventory/good") {
        let loaded = load(&path).unwrap_or_else(|e| panic!("{} is accepted:\n{e}", path.display()));
        let text = format!("{}\n{}", shown(&loaded.inventory), loaded.render_warnings(false))
            .replace(env!("CARGO_MANIFEST_DIR"), "$ROOT");
        insta::with_settings!({ snapshot_path => "inventory/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name(&path), text);
        });
    }
}

#[test]
fn shipped_inventories_are_accepted_without_a_remark() {
    for path in files("inventories") {
        let loaded = load(&path).unwrap_or_else(|e| panic!("{} is accepted:\n{e}", path.display()));
        assert_eq!(loaded.render_warnings(false), "");
    }
}

#[test]
fn a_missing_file_says_what_to_run() {
    let error = load(Path::new("no/such/inventory.yml")).expect_err("there is none");
    assert_eq!(error.kind.exit_code(), 2);
    assert_eq!(error.message, "there is no inventory at no/such/inventory.yml");
    assert!(error.hints.iter().any(|hint| hint.contains("hactl init")));
}

#[test]
fn a_folder_and_binary_data_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = load(folder.path()).expect_err("a folder");
    assert!(error.message.contains("is a folder"), "{error}");
    let file = folder.path().join("inventory.yml");
    std::fs::write(&file, b"cluster: demo\nname: \xff\xfe\n").expect("a file");
    let error = load(&file).expect_err("not UTF-8");
    assert!(error.message.contains(":2: the file is not UTF-8"), "{error}");
    assert_eq!(error.kind.exit_code(), 2);
}

#[test]
fn a_huge_file_is_not_even_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("inventory.yml");
    // Sparse: reading it would still mean a gigabyte of memory.
    std::fs::File::create(&path)
        .and_then(|f| f.set_len(1 << 30))
        .expect("a sparse file");
    let error = load(&path).expect_err("too big");
    assert!(error.message.contains("the file has 1073741824 bytes"), "{error}");
    // A device has no length beforehand and no end.
    let error = load(Path::new("/dev/zero")).expect_err("no end");
    assert!(error.message.contains("is no inventory"), "{error}");
}

/// Each of these made some YAML library slow, deep or dead.
#[test]
fn hostile_files_are_refused_soon() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let prev = i - 1;
        laughs.push_str(&format!(
            "a{i}: &a{i} [*a{prev}, *a{prev}, *a{prev}, *a{prev}, *a{prev}, *a{prev}, *a{prev}]\n"
        ));
    }
    let used = format!(
        "{}sites:\n  - name: a.b\n    config: {{ x: *a9 }}\n",
        laughs.lines().take(10).map(|l| format!("{l}\n")).collect::<String>()
    );
    let mut chain = String::from("a0: &a0 [x]\n");
    for i in 1..20_000 {
        chain.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    let wide: String = (0..60_000).map(|i| format!("k{i}: 1\n")).collect();
    let merges = format!(
        "b: &b\n{}{}",
        (0..20_000).map(|i| format!("  k{i}: 1\n")).collect::<String>(),
        (0..20_000).map(|i| format!("m{i}: {{ <<: *b }}\n")).collect::<String>()
    );
    let cases = [
        ("laughs", laughs),
        ("laughs in free values", used),
        ("chain of aliases", chain),
        ("merges", merges),
        ("wide", wide),
        ("flow depth", "[".repeat(100_000)),
        ("map depth", "{a: ".repeat(100_000)),
        (
            "block depth",
            (0..1000).map(|i| format!("{}a:\n", " ".repeat(i))).collect(),
        ),
        ("dashes", "- ".repeat(100_000)),
        ("recursive alias", "a: &a [*a]\n".to_owned()),
        ("one long line", format!("cluster: {}\n", "x".repeat(1_000_000))),
        ("quotes", "\"".repeat(500_001)),
        ("keys", "? ".repeat(100_000)),
        ("too big", "#".repeat((1 << 20) + 1)),
    ];
    for (what, text) in cases {
        let found = parse(&text, Path::new("inventory.yml")).expect_err(what);
        let rendered = found.render(false);
        assert!(rendered.len() < 50_000, "{what}: {} bytes of complaint", rendered.len());
        assert!(rendered.contains("inventory.yml"), "{what}: {rendered}");
    }
}

#[test]
fn passwords_never_appear_in_complaints() {
    let text = "cluster: demo\nhosts: { srv1: { address: nonsense } }\nsites:\n  - { name: BAD, admin_password: hunter2hunter2, nmae: x }\n  - { admin_password: [hunter2hunter2] }\n  - admin_password: \"hunter2hunter2\n      more\"\nmail_password: hunter2hunter2\nssh: { become: { password: hunter2hunter2 } }\n";
    let found = parse(text, Path::new("inventory.yml")).expect_err("refused");
    let shown = format!("{}{found:?}", found.render(true));
    assert!(!found.render(true).contains("hunter2"), "{}", found.render(false));
    assert!(!shown.contains("hunter2"), "in Debug");
    // The same when it does not even parse.
    for broken in ["\t- x: 1\n", "a: [\n", "b: @x\n"] {
        let found = parse(&format!("{text}{broken}"), Path::new("inventory.yml")).expect_err("refused");
        assert!(!found.render(false).contains("hunter2"), "{}", found.render(false));
    }
}

#[test]
fn nothing_in_a_file_steers_the_terminal() {
    for text in [
        "a: \x1b[2J\n",
        "\x1b]0;x\x07: 1\n",
        "a: !\x1bx y\n",
        "a: *\x1bx\n",
        "\"\\e[2J\": 1\n",
        "cluster: \"\\e[2J\"\n",
    ] {
        let shown = parse(text, Path::new("inventory.yml"))
            .expect_err("refused")
            .render(false);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    }
}

fn corpus() -> Vec<String> {
    ["tests/inventory/good", "tests/inventory/bad", "inventories"]
        .into_iter()
        .flat_map(files)
        .map(|path| std::fs::read_to_string(path).expect("a test inventory"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        if let Err(found) = parse(&text, Path::new("inventory.yml")) {
            prop_assert!(!found.render(false).is_empty());
        }
    }

    #[test]
    fn yaml_like_text_is_read_or_refused(text in "([a-c]: |- |\n|  |\\{|\\}|\\[|\\]|, |&a |\\*a|<<: |!secret |\"|'|\\||hosts:|sites:|app:|kind: wsgi|é|\t|#|---\n){0,60}") {
        if let Err(found) = parse(&text, Path::new("inventory.yml")) {
            prop_assert!(!found.render(false).is_empty());
        }
    }

    #[test]
    fn mutated_inventories_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[ -~\n\u{e9}\u{7}]{0,6}"), 1..5),
    ) {
        let corpus = corpus();
        let mut chars: Vec<char> = which.get(&corpus).chars().collect();
        for (at, len, new) in cuts {
            let start = at.index(chars.len() + 1);
            let end = (start + len).min(chars.len());
            chars.splice(start..end, new.chars());
        }
        let text: String = chars.into_iter().collect();
        match parse(&text, Path::new("inventory.yml")) {
            Ok(loaded) => prop_assert!(!loaded.inventory.hosts.is_empty() && !loaded.inventory.sites.is_empty()),
            Err(found) => prop_assert!(!found.render(false).is_empty()),
        }
    }

    /// Whatever is accepted can be written into a configuration file on one line.
    #[test]
    fn nothing_accepted_breaks_a_line(text in "[ -~\\x00-\\x1f\u{85}\u{2028}\u{202e}]{1,12}") {
        let quoted = serde_json::to_string(&text).expect("JSON is YAML");
        let inventory = format!(
            "cluster: demo\nhosts: {{ srv1: {{ address: 10.0.0.1 }} }}\nsites: [ {{ name: a.b }} ]\n\
             app: {{ kind: wsgi, url: \"git://h/x\", ref: main, module: a:b, env: {{ A: {quoted} }}, migrate: {quoted} }}\n"
        );
        if let Ok(loaded) = parse(&inventory, Path::new("inventory.yml")) {
            let hactl::inventory::App::Wsgi(app) = loaded.inventory.app else { unreachable!("kind is wsgi") };
            for value in app.env.values().chain(app.migrate.iter()) {
                let clean = value.chars().all(|c| !c.is_control() && !['\u{2028}', '\u{202e}'].contains(&c));
                prop_assert!(clean);
                prop_assert_eq!(value, &text);
            }
        }
    }
}

#[test]
fn the_schema_describes_what_is_accepted() {
    let schema = serde_json::to_value(hactl::inventory::schema()).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let json = |path: &Path| -> serde_json::Value {
        let text = std::fs::read_to_string(path).expect("an inventory");
        serde_saphyr::from_str(&text).expect("YAML")
    };
    for path in ["tests/inventory/good", "inventories"].into_iter().flat_map(files) {
        let mut value = json(&path);
        // Empty keys are allowed in the file but need no blessing by an editor.
        drop_nulls(&mut value);
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", path.display());
    }
    for name in ["unknown-keys", "types", "missing"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/inventory/bad/{name}.yml"));
        assert!(!validator.is_valid(&json(&path)), "{name}");
    }
    let tooltip = &schema["properties"]["cluster"]["description"];
    assert!(
        tooltip
            .as_str()
            .is_some_and(|text| text.contains("Name of the cluster")),
        "{tooltip}"
    );
}

fn drop_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
