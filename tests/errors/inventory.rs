//! What is wrong in an inventory, its secrets, its templates, and what was typed.

use super::*;

pub fn command_line(book: &mut Book) {
    book.chapter("command line");
    let place = Place::new();
    place.write("full/precious", "");
    // Another value is written as an alias of the ref.
    let shared = INVENTORY.replace("ref: v1", "ref: &ref v1, env: { RELEASE_REF: *ref }");
    place.write("shared.yml", shared);
    for args in [
        &["aply"][..],
        &["plan", "--exitcode"],
        &["plan", "--format", "xml"],
        &["plan", "--limit", "srv2"],
        &["plan", "--transport", "local", "--step", "ngnix"],
        &["ssh", "db"],
        &["exec"],
        &["apply"],
        &["apply", "--plan", "p.json", "--limit", "srv1"],
        &["app", "update"],
        &["app", "update", "--yes", "--set", "shpo=v2"],
        &["app", "update", "--yes", "--set", "a b"],
        &["app", "update", "--yes", "--set", "v2", "--set", "v3"],
        &["app", "update", "--yes", "shared.yml", "--set", "v2"],
        &["render", "--out", "full"],
        &["render", "--out", "full/precious"],
        &["lab", "cut", "srv1"],
        &["lab", "down", "nowhere.yml"],
        &["dns", "show"],
        &["dns", "switch"],
        &["dns", "switch", "--to", "srv1"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
}

pub fn inventories(book: &mut Book) {
    book.chapter("inventory file");
    let place = Place::new();
    place.write("folder/x", "");
    place.write("bytes.yml", b"cluster: a\nhosts: \xff\n");
    place.write("big.yml", "# x\n".repeat(300_000));
    for name in ["nowhere.yml", "folder", "bytes.yml", "big.yml"] {
        book.entry(name, &place.fails(&["check", name]));
    }
    book.chapter("inventory (without excerpts)");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory/bad");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 20);
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let found = hactl::inventory::parse(&text, Path::new(&name)).expect_err("bad");
        book.entry(&name, &short(&found.render(false)));
    }
    let hostile = [
        ("a variable that the shell keeps", "env: { OPTIND: x }"),
        (
            "a variable that is too long",
            &format!("env: {{ A: \"{}\" }}", "x".repeat(70_000)),
        ),
        ("a character that templates use", "env: { A: \"\\uE000x\\uE001\" }"),
    ];
    for (what, keys) in hostile {
        let text = INVENTORY.replace("ref: v1", &format!("ref: v1, {keys}"));
        let found = hactl::inventory::parse(&text, Path::new("inventory.yml")).expect_err("bad");
        book.entry(what, &short(&found.render(false)));
    }
    let text = format!(
        "{INVENTORY}mariadb: {{ settings: {{ init_connect: \"{}\" }} }}\n",
        "x".repeat(5000)
    );
    let found = hactl::inventory::parse(&text, Path::new("inventory.yml")).expect_err("bad");
    book.entry(
        "a setting that MariaDB would read as two lines",
        &short(&found.render(false)),
    );
}

/// Messages and helps without the excerpts, which tests/inventory shows.
fn short(said: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in said.lines() {
        let text = line.trim_start();
        inside = match text.chars().next() {
            Some('×' | '⚠') => true,
            Some('│') if inside => true,
            _ => {
                text.starts_with("help:")
                    || (inside
                        && !text.starts_with(['╭', '╰', '·'])
                        && line.starts_with("     ")
                        && !text.starts_with(|c: char| c.is_ascii_digit()))
            }
        };
        if inside {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

pub fn secrets(book: &mut Book) {
    book.chapter("secrets");
    let sources = [
        ("a variable that is not set", "!secret env:NOT_SET"),
        ("a file that is missing", "!secret file:missing"),
        ("a file of several lines", "!secret file:lines"),
        ("an empty file", "!secret file:empty"),
        ("a command that fails", "!secret 'exec:exit 3'"),
        ("a command that prints nothing", "!secret 'exec:true'"),
        ("a name that is not stored", "!secret adminn"),
        ("a source that there is not", "!secret vault:x"),
    ];
    for (what, source) in sources {
        let place = Place::new();
        place.write("lines", "a\nb\n");
        place.write("empty", "");
        place.write(
            "inventory.yml",
            INVENTORY.replace(
                "shop.example.com }",
                &format!("shop.example.com, admin_password: {source} }}"),
            ),
        );
        book.entry(what, &place.resolves());
    }
    let place = Place::new();
    place.write("secrets.age", "no age file");
    book.entry("a secrets file that is none", &place.resolves());
    let other = tempfile::tempdir().unwrap();
    let loaded = hactl::inventory::load(&place.folder.path().join("inventory.yml")).unwrap();
    std::fs::remove_file(place.folder.path().join("secrets.age")).unwrap();
    let keyring = Keyring {
        identity: None,
        home: Some(other.path().to_owned()),
        ask: Keyring::nobody(),
    };
    hactl::inventory::secrets::set(
        &loaded.inventory,
        &keyring,
        "redis/cache",
        hactl::secret::Secret::new("x y"),
    )
    .unwrap();
    book.entry("a secrets file of somebody else", &place.resolves());
    let path = place.folder.path().join("secrets.age");
    // A letter of the encrypted part, which is longer than a line: of random length is only what stands before it.
    let mut lines: Vec<_> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let line = lines.iter_mut().rfind(|line| !line.starts_with('-')).expect("armor");
    let letter = if line.starts_with('A') { "B" } else { "A" };
    line.replace_range(..1, letter);
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    std::fs::create_dir_all(place.folder.path().join(".config")).unwrap();
    copy(&other.path().join(".config"), &place.folder.path().join(".config"));
    book.entry("a secrets file that was changed", &place.resolves());
    for (what, tls) in [
        ("a certificate that is missing", "missing.crt"),
        ("a certificate that is none", "inventory.yml"),
    ] {
        let place = Place::new();
        place.write(
            "inventory.yml",
            format!("{INVENTORY}tls: {{ certificate: {tls}, key: missing.key }}\n"),
        );
        book.entry(what, &place.resolves());
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(
        Command::new("cp")
            .arg("-aT")
            .args([from, to])
            .status()
            .unwrap()
            .success()
    );
}

pub fn templates(book: &mut Book) {
    book.chapter("templates");
    for (what, name, text) in [
        ("one that replaces nothing", "nginx/ngnix.conf.tera", "x"),
        (
            "an end that is missing",
            "nginx/nginx.conf.tera",
            "http {\n{% if ipv6 %}\n}\n",
        ),
        ("an unknown name", "nginx/nginx.conf.tera", "a\nb {{ http_prot }}\n"),
        (
            "an unknown filter",
            "nginx/nginx.conf.tera",
            "a\n{{ http_port | nice }}\n",
        ),
        (
            "an unknown secret",
            "redis/redis.conf.tera",
            "{{ secret(name=\"redis/cash\") }}\n",
        ),
        (
            "an unknown form of a secret",
            "redis/redis.conf.tera",
            "a\n{{ secret(name=\"redis/cache\", as=\"xml\") }}\n",
        ),
        (
            "text in place of a number",
            "nginx/nginx.conf.tera",
            "{{ http_port / \"x\" }}\n",
        ),
    ] {
        let place = Place::new();
        place.write(&format!("t/{name}"), text);
        book.entry(what, &place.fails(&["check", "--templates", "t"]));
    }
    let place = Place::new();
    book.entry(
        "a folder that is missing",
        &place.fails(&["check", "--templates", "missing"]),
    );
}

pub fn saved_plans(book: &mut Book) {
    book.chapter("saved plans");
    let place = Place::new();
    place.write("none.json", "{}");
    place.write("broken.json", "{");
    for name in ["missing.json", "none.json", "broken.json"] {
        book.entry(name, &place.fails(&["apply", "--yes", "--plan", name]));
    }
    book.entry(
        "a folder that is missing",
        &place.fails(&["plan", "--transport", "local", "--out", "missing/p.json"]),
    );
    place.write(
        "open.json",
        r#"{"made":"","by":"","inventory":"","steps":[],"plan":{"version":"","cluster":"","fingerprint":"","hosts":[]},
            "secrets":{"redis/cache":["hidden"]}}"#,
    );
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(place.folder.path().join("open.json"), open).unwrap();
    for args in [
        &["apply", "--yes", "--plan", "open.json"][..],
        &["plan", "--with-secrets"],
        &["plan", "--transport", "local", "--with-secrets", "--out", "open.json"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
}

pub fn sites(book: &mut Book) {
    book.chapter("sites");
    let place = Place::new();
    for args in [
        &["site", "create", "shop.example.com", "--yes"][..],
        &["site", "create", "Shop.example.com", "--yes"],
        &["site", "create", "a b; $(id)", "--yes"],
        &["site", "create", "new.example.com"],
        &["site", "create", "new.example.com", "--apps", "erpnext", "--yes"],
        &["site", "migrate", "--yes"],
        &["site", "drop", "shop.example.com"],
        &["site", "console", "shop.example.co"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    let frappe = "{ kind: frappe, apps: [ { name: frappe, url: 'https://git.example.com/frappe', ref: v15 } ] }";
    let start = INVENTORY.find("app:").unwrap();
    let end = start + INVENTORY[start..].find('\n').unwrap();
    let two = "  - { name: two.example.com, aliases: [ www.example.com ] }\n";
    place.write(
        "inventory.yml",
        format!("{}app: {frappe}{}{two}", &INVENTORY[..start], &INVENTORY[end..]),
    );
    for args in [
        &["site", "create", "www.example.com", "--yes"][..],
        &["site", "create", "new.example.com", "--apps", "hrms", "--yes"],
        &[
            "site",
            "create",
            "new.example.com",
            "--admin-password",
            "nowhere",
            "--yes",
        ],
        &["site", "migrate", "www.example.com", "--yes"],
        &["site", "migrate", "two.example.com"],
        &["site", "drop", "two.example.com"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
}
