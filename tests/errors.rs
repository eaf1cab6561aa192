//! Every error that a user can meet, provoked through the real code and written to one text, to be read as it will be
//! read at three in the morning: what, where, why, what to run next.

mod common;
#[path = "hostile/liar.rs"]
#[allow(dead_code, reason = "the test of hostile hosts uses all of it")]
mod liar;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::release_host::ReleaseHost;
use common::sshd::{Sshd, free_port, keygen};
use hactl::engine::link::{Links, ShellLinks};
use hactl::engine::{Approved, Engine, Event, Events, Interrupt};
use hactl::inventory::secrets::{Keyring, Secrets};
use hactl::inventory::{Become, Host, TransportKind};
use hactl::report::plain::Plain;
use hactl::report::{DiffMode, Paint, plan_text};
use hactl::role::Templates;
use hactl::transport::auto::{Connector, Options};
use hactl::transport::prompt::NoPrompt;
use hactl::transport::sshconfig::Sources;
use liar::{Act, Liar, Line};

const INVENTORY: &str = "\
cluster: acme
hosts:
  srv1: { address: 10.77.9.11 }
app: { kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }
sites:
  - { name: shop.example.com }
";

/// The text that is being written.
#[derive(Default)]
struct Book(String);

impl Book {
    fn chapter(&mut self, title: &str) {
        let _ = write!(self.0, "\n=== {title} ===\n");
    }

    fn entry(&mut self, what: &str, said: &str) {
        let _ = write!(self.0, "\n-- {what}\n{}\n", said.trim_end());
    }
}

/// A folder of its own, an empty environment.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
        };
        place.write("inventory.yml", INVENTORY);
        place
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// What an apply would say about the inventory's secrets; something must be wrong with them.
    fn resolves(&self) -> String {
        let home = self.folder.path().display().to_string();
        let loaded = match hactl::inventory::load(&self.folder.path().join("inventory.yml")) {
            Ok(loaded) => loaded,
            Err(error) => return error.message.replace(&home, "~"),
        };
        let keyring = Keyring {
            identity: None,
            home: Some(self.folder.path().to_owned()),
            ask: Keyring::nobody(),
        };
        let error = Secrets::resolve(&loaded.inventory, &keyring).expect_err("wrong secrets");
        let hints: String = error.hints.iter().map(|hint| format!("\n  next: {hint}")).collect();
        format!("{}{hints}", error.message.trim_end()).replace(&home, "~")
    }

    /// What the binary says on standard error, with its exit status; it must fail.
    fn fails(&self, args: &[&str]) -> String {
        let out = Command::new(env!("CARGO_BIN_EXE_hactl"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success(), "{args:?}: {text}");
        let home = self.folder.path().display().to_string();
        let said = format!(
            "$ hactl {}\n{text}[exit {}]",
            args.join(" "),
            out.status.code().unwrap_or(-1)
        );
        said.replace(&home, "~")
    }
}

fn command_line(book: &mut Book) {
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

/// Names that are not switched, by a provider on this machine.
fn dns(book: &mut Book) {
    book.chapter("names");
    let place = Place::new();
    let inventory = |provider: &str| {
        format!(
            "cluster: acme\nhosts:\n  srv1: {{ address: 10.77.9.11, primary: true, public_address: 198.51.100.11 }}\n  \
             srv2: {{ address: 10.77.9.12, standby: true, public_address: 198.51.100.12 }}\n\
             app: {{ kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }}\n\
             sites:\n  - {{ name: shop.example.com }}\ndns:\n  names: [ shop.example.com ]\n  wait: 1\n  provider: {provider}\n"
        )
    };
    place.write(
        "inventory.yml",
        inventory("{ kind: exec, run: 'sh script', timeout: 2 }"),
    );
    let is = |address: &str| format!("[ $HACTL_DNS_ACTION = swap ] || echo '{{\"values\":[{address}],\"ttl\":60}}'\n");
    let old = is("\"198.51.100.11\"");
    for (what, script) in [
        ("nothing that makes sense", "echo hello".to_owned()),
        (
            "a command that fails",
            "echo 'no route to the office' >&2; exit 1".to_owned(),
        ),
        ("another address", is("\"203.0.113.9\"")),
        ("two addresses", is("\"198.51.100.11\",\"198.51.100.12\"")),
        ("no record", is("")),
        (
            "a change that is refused",
            format!("{old}[ $HACTL_DNS_ACTION = read ] || {{ echo denied >&2; exit 1; }}"),
        ),
        (
            "a change that came too late",
            format!("{old}[ $HACTL_DNS_ACTION = read ] || exit 3"),
        ),
        ("a change that does nothing", old),
    ] {
        place.write("script", script);
        book.entry(what, &place.fails(&["dns", "switch", "--yes", "--to", "srv2"]));
    }
    for args in [
        &["dns", "switch", "--to", "srv2"][..],
        &["dns", "switch", "--to", "srv22"],
        &["dns", "switch", "--yes", "--to", "srv2", "--from", "db"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    for (what, provider) in [
        (
            "a key that is no base64",
            "{ kind: rfc2136, server: 127.0.0.1:1, zone: example.com, key: k, secret: !secret file:script }",
        ),
        (
            "a secret that is not set",
            "{ kind: cloudflare, zone_id: 023e105f4ecef8ad9ca31a8372d0c353, token: !secret env:NOT_SET }",
        ),
        (
            "a name server that is down",
            "{ kind: rfc2136, server: 127.0.0.1:1, zone: example.com, key: k, secret: !secret file:key }",
        ),
    ] {
        place.write("script", "not/base64!");
        place.write("key", "c2VjcmV0");
        place.write("inventory.yml", inventory(provider));
        book.entry(what, &place.fails(&["dns", "switch", "--yes", "--to", "srv2"]));
    }
}

/// Backups that lead nowhere, and moments that nobody can go back to.
fn backup(book: &mut Book) {
    book.chapter("backups");
    let place = Place::new();
    let inventory = |backup: &str| {
        format!(
            "cluster: acme\nhosts:\n  srv1: {{ address: 10.77.9.11 }}\n\
             app: {{ kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }}\n\
             sites:\n  - {{ name: shop.example.com }}\n{backup}"
        )
    };
    place.write("inventory.yml", inventory(""));
    for args in [&["backup"][..], &["backup", "list"], &["restore", "--drill"]] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    for (what, backup) in [
        ("no target", "backup: { targets: {} }\n"),
        (
            "a target without a kind",
            "backup: { targets: { vault: { path: /srv/vault } } }\n",
        ),
        (
            "a target of another kind",
            "backup: { targets: { vault: { kind: ftp, path: /srv/vault } } }\n",
        ),
        (
            "a machine without its key",
            "backup: { targets: { vault: { kind: ssh, host: vault.example.com, user: backup, path: vault, host_key: abc } } }\n",
        ),
        (
            "a bucket that is none",
            "backup: { targets: { off: { kind: s3, endpoint: s3.example.com, bucket: My_Bucket, access_key_id: AK, secret_access_key: !secret env:NOT_SET } } }\n",
        ),
        (
            "times that are none",
            "backup: { at: '25:00', full_days: 0, keep: { daily: 0, weeks: 3 }, targets: { disk: { kind: directory, path: /srv/backup } } }\n",
        ),
    ] {
        place.write("inventory.yml", inventory(backup));
        book.entry(what, &place.fails(&["check"]));
    }
    place.write(
        "inventory.yml",
        inventory("backup: { targets: { off: { kind: s3, bucket: acme, access_key_id: AK, secret_access_key: !secret file:key } } }\n"),
    );
    place.write("key", "hunter2");
    for args in [
        &["backup", "--target", "of"][..],
        &["restore"],
        &["restore", "--to", "yesterday"],
        &["restore", "--to", "2026-11-22T10:00:05"],
        &["restore", "--to", "2026-11-22T10:00:05Z"],
        &["restore", "--site", "shop", "--newest", "--yes"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
}

/// What a server says about its bench, and what `init --from-bench` says then.
fn benches(book: &mut Book) {
    book.chapter("taking a bench over");
    let place = Place::new();
    let from = ["init", "new.yml", "--from-bench"];
    for args in [
        &[&from[..], &["nowhere.invalid"]].concat()[..],
        &[&from[..], &["srv1=nowhere"]].concat(),
        &[&from[..], &["203.0.113.10", "--bench-path", "frappe-bench"]].concat(),
        &[&from[..], &["203.0.113.10", "--site", "erp.example.com"]].concat(),
        &["init", "--bench-path", "/home/frappe/frappe-bench"],
        &["init", "--from-bench", "203.0.113.10"],
    ] {
        book.entry(&args.join(" "), &place.fails(args));
    }
    let bench = "/home/frappe/frappe-bench\n";
    for (what, asked, answers) in [
        ("no bench", None, &[][..]),
        ("none there", Some("/opt/bench"), &[]),
        (
            "hactl's own",
            Some("/srv/frappe/bench"),
            &[("own", "/srv/frappe/bench\n")],
        ),
        ("only hactl's own", None, &[("own", "/srv/frappe/bench\n")]),
        ("an odd name", None, &[("odd", "/home/frappe/my \u{1b}[2Jbench\n")]),
        (
            "several",
            None,
            &[("bench", bench), ("bench", "/home/frappe/test-bench\n")],
        ),
        (
            "nothing that makes sense",
            None,
            &[("bench", bench), ("file common", "\u{1b}]0;x\u{7}")],
        ),
        ("no apps", None, &[("bench", bench), ("file common", "{}")]),
        (
            "a bench elsewhere than a host says",
            None,
            &[("bench", "/../etc\n"), ("file common", "{}")],
        ),
        (
            "no site that can be taken over",
            None,
            &[
                ("bench", bench),
                ("file common", "{}"),
                (
                    "app frappe",
                    "url=https://github.com/frappe/frappe\ncommit=0123456789012345678901234567890123456789\ntag=v15.51.2\n",
                ),
                ("site erp.example.com", "{\"db_type\": \"postgres\"}"),
                ("site a_b", "{}"),
            ],
        ),
    ] {
        let section = |(mark, body): &(&str, &str)| hactl::resource::probe::Section {
            words: mark.split(' ').map(str::to_owned).collect(),
            body: body.as_bytes().to_vec(),
        };
        let found = hactl::bench::read(&answers.iter().map(section).collect::<Vec<_>>());
        let login = hactl::bench::Login {
            name: None,
            address: "203.0.113.10".into(),
            user: "root".into(),
            port: None,
            identity_file: None,
            cluster: None,
        };
        let drafted = hactl::bench::one_bench(&found, "203.0.113.10", asked)
            .and_then(|folder| hactl::bench::draft(&found, folder, &login));
        let Err(error) = drafted else {
            panic!("{what}: it was taken")
        };
        let hints: String = error.hints.iter().map(|hint| format!("\n  next: {hint}")).collect();
        book.entry(
            what,
            &format!("{}{hints}\n[exit {}]", error.message, error.kind.exit_code()),
        );
    }
    let adopted = |keys: &str, rest: &str| {
        format!(
            "cluster: acme\nhosts:\n  srv1: {{ address: 10.77.9.11 }}\n{rest}app:\n  kind: frappe\n  \
             apps: [ {{ name: frappe, url: 'https://github.com/frappe/frappe', ref: v15.51.2 }} ]\n  \
             adopted: {{ {keys} }}\nsites:\n  - {{ name: erp.example.com }}\n"
        )
    };
    for (what, text) in [
        ("an empty `adopted`", adopted("", "")),
        ("the same folder", adopted("from: /srv/frappe/bench", "")),
        ("hactl's own file", adopted("from: /home/frappe/frappe", "")),
        (
            "several hosts",
            adopted(
                "from: /home/frappe/frappe-bench",
                "  srv2: { address: 10.77.9.12, roles: [worker] }\n",
            ),
        ),
    ] {
        place.write("inventory.yml", text);
        book.entry(what, &place.fails(&["check"]));
    }
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

fn inventories(book: &mut Book) {
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

fn secrets(book: &mut Book) {
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

fn templates(book: &mut Book) {
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

fn saved_plans(book: &mut Book) {
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

fn sites(book: &mut Book) {
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

/// What is said about a host that cannot be reached.
fn unreachable(sshd: &Sshd, host: &Host) -> String {
    let sources = Sources {
        home: sshd.home(),
        config: None,
        system_config: "/nonexistent".into(),
    };
    let connector = Connector::new(Options {
        accept_new_host_keys: false,
        prompt: Arc::new(NoPrompt),
        sources,
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let links = ShellLinks {
        connect: Arc::new(connector),
        become_password: None,
    };
    let asked = runtime.block_on(async {
        match links.link(host).await {
            // The system's ssh connects with the first question.
            Ok(mut link) => link.ask(&hactl::resource::Ask::default()).await.err(),
            Err(error) => Some(error),
        }
    });
    let error = asked.expect("it must not be reached");
    let hint = error.hint.map(|hint| format!("\n  next: {hint}")).unwrap_or_default();
    format!("{}{hint}", error.message)
        .replace(&sshd.root.path().display().to_string(), "$SSHD")
        .replace(&host.ssh.port.to_string(), "PORT")
        .replace(&host.ssh.user, "USER")
}

fn transports(book: &mut Book) {
    book.chapter("connecting");
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for peer in other.incoming().flatten() {
            let mut peer = peer;
            let _ = std::io::Write::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let sshd = Sshd::start("");
    let mine = sshd.dot_ssh("id_ed25519");
    let stranger = sshd.dot_ssh("stranger");
    keygen(&stranger, "ed25519", "");
    let locked = sshd.dot_ssh("locked");
    keygen(&locked, "ed25519", "a passphrase");
    sshd.authorize(&locked);
    let known = |name: &str, key: &str| {
        let path = sshd.dot_ssh(name);
        std::fs::write(&path, format!("[127.0.0.1]:{} {key}\n", sshd.port)).unwrap();
        path
    };
    let right = known("known", &sshd.host_key("ed25519"));
    let public = std::fs::read_to_string(sshd.dot_ssh("stranger.pub")).unwrap();
    let changed = known("changed", &public.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let none = sshd.dot_ssh("none");
    let cases = [
        ("nobody listens", free_port(), &mine, &right, Become::None),
        (
            "a host that takes the connection and says nothing",
            mute.local_addr().unwrap().port(),
            &mine,
            &right,
            Become::None,
        ),
        (
            "a port that speaks something else",
            other_port,
            &mine,
            &right,
            Become::None,
        ),
        ("a host that nobody knows", sshd.port, &mine, &none, Become::None),
        ("a host key that has changed", sshd.port, &mine, &changed, Become::None),
        (
            "a key that the host does not take",
            sshd.port,
            &stranger,
            &right,
            Become::None,
        ),
        (
            "a key that is missing",
            sshd.port,
            &sshd.dot_ssh("missing"),
            &right,
            Become::None,
        ),
        (
            "a key whose passphrase nobody gives",
            sshd.port,
            &locked,
            &right,
            Become::None,
        ),
    ];
    for transport in [TransportKind::Native, TransportKind::OpenSsh] {
        for (what, port, key, known, become_root) in &cases {
            let mut host = sshd.host("srv1");
            host.ssh.port = *port;
            host.ssh.identity_file = Some((*key).clone());
            host.ssh.known_hosts = Some((*known).clone());
            host.ssh.become_root = *become_root;
            host.ssh.transport = transport;
            // Only one of them is about the time.
            host.ssh.connect_timeout = if *port == mute.local_addr().unwrap().port() {
                2
            } else {
                60
            };
            book.entry(&format!("{what} ({transport:?})"), &unreachable(&sshd, &host));
        }
    }
}

fn engine(host: &Liar) -> (Engine, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let loaded = hactl::inventory::parse(INVENTORY, Path::new("/nowhere/inventory.yml")).expect("a good inventory");
    let secrets = Secrets::existing_or_placeholder(&loaded.inventory, &Keyring::from_env(Keyring::nobody())).unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let engine = Engine {
        inventory: Arc::new(loaded.inventory),
        templates: Arc::new(Templates::load(None).unwrap()),
        secrets: Arc::new(secrets.secrets),
        links: Arc::new(ShellLinks {
            connect: Arc::new(host.clone()),
            become_password: None,
        }),
        events: Events::new(sender, None),
        interrupt: Interrupt::never(),
        run: "20261121T093015Z-7f3a".into(),
        who: "me@here".into(),
        since: "2026-11-21T09:30:15Z".into(),
        doing: "apply inventory.yml".into(),
        fingerprint: String::new(),
        extra_questions: None,
        declares: None,
        settles: true,
    };
    (engine, receiver)
}

/// The lines about hosts and steps that failed, as a pipe gets them.
fn told(host: &Liar) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (engine, mut receiver) = engine(host);
        let survey = engine.survey(&[]).await;
        let _ = plan_text::plan(&survey.plan, DiffMode::None, Paint::default());
        if survey.failures.is_empty() {
            let approved = Approved::by_user(survey.plan.clone());
            engine.execute(survey, approved).await;
        }
        drop(engine);
        let mut report = Plain::new(Paint::default(), false);
        let mut out = String::new();
        while let Some(event) = receiver.recv().await {
            let said = report.event(Duration::ZERO, &event);
            let failed = matches!(&event, Event::HostFailed { .. })
                || matches!(&event, Event::StepFinished { message: Some(_), .. });
            if failed {
                out += &said;
            }
        }
        out
    })
}

fn hosts(book: &mut Book) {
    book.chapter("hosts");
    let words = |text: &str| Line::Mark(text.to_owned());
    let facts = || vec![words("facts"), Line::text("ID=debian\nVERSION_ID=\"12\"\ncpus=2\n")];
    let late = || {
        let clock = hactl::resource::clock::now() - 3600;
        vec![
            words("facts"),
            Line::text(&format!("ID=debian\nVERSION_ID=\"12\"\nclock={clock}\n")),
        ]
    };
    let speaking = |lines: Vec<Line>| Liar::speaking(vec![Act::Say(lines), Act::Close]);
    let probe = |act: Act| Liar::answering(vec![act]);
    let order = |lines: Vec<Line>, status: &str| {
        Liar::answering(vec![
            Act::Answer(facts(), "0".into()),
            Act::Answer(lines, status.into()),
        ])
    };
    let closing = |lines: Vec<Line>| {
        Liar::answering(vec![
            Act::Answer(facts(), "0".into()),
            Act::Then(lines, Box::new(Act::Close)),
        ])
    };
    let cases = [
        (
            "no shell",
            speaking(vec![Line::text("This account is currently not available.\n")]),
        ),
        (
            "a session that is not root's",
            speaking(vec![Line::text("\u{1e}hactl 1000\n")]),
        ),
        (
            "a login shell that prints without end",
            Liar::speaking(vec![Act::Endless(Line::text(&"x".repeat(9999)))]),
        ),
        ("silence", probe(Act::Endless(Line::Silence))),
        ("slow drops", probe(Act::Endless(Line::Drip(b"x".to_vec())))),
        (
            "an answer without end",
            probe(Act::Endless(Line::text(&"x".repeat(60_000)))),
        ),
        (
            "a line without end",
            probe(Act::Then(
                vec![words("facts"), Line::Mark("x".repeat(9999))],
                Box::new(Act::Close),
            )),
        ),
        ("closed while it was asked", probe(Act::Close)),
        ("no status", probe(Act::Answer(facts(), "x".into()))),
        ("a clock that is an hour behind", probe(Act::Answer(late(), "0".into()))),
        (
            "locked by somebody",
            order(
                vec![
                    words("locked"),
                    Line::text(
                        "alice@laptop, since 2026-11-21T09:00:00Z: apply inventory.yml (run 20261121T090000Z-aaaa)\n",
                    ),
                ],
                "6",
            ),
        ),
        (
            "changed since it was looked at",
            order(
                vec![
                    words("moved"),
                    Line::text("another run (20261121T090000Z-aaaa) changed this host after it was looked at\n"),
                ],
                "7",
            ),
        ),
        (
            "a full disk",
            order(
                vec![
                    words("failed"),
                    Line::text("cannot write below /var/lib/hactl (is the disk full?)\n"),
                ],
                "4",
            ),
        ),
        ("an end without a reason", order(Vec::new(), "4")),
        (
            "a step that fails",
            order(
                vec![
                    words("begin 0"),
                    Line::text("E: Unable to locate package nginx\napt-get could not install: nginx\n"),
                    words("end 0 1"),
                ],
                "4",
            ),
        ),
        (
            "a step that says nothing",
            order(vec![words("begin 0"), words("end 0 1")], "4"),
        ),
        (
            "a step that takes too long",
            order(
                vec![words("begin 0"), Line::text("still waiting\n"), words("end 0 124")],
                "4",
            ),
        ),
        (
            "a step that finds the host changed",
            order(
                vec![
                    words("begin 0"),
                    Line::text("/etc/hosts changed on the host since the plan was made\n"),
                    words("end 0 98"),
                ],
                "4",
            ),
        ),
        (
            "closed while a step ran",
            closing(vec![words("begin 0"), Line::text("half a line")]),
        ),
        ("a report that makes no sense", order(vec![words("end 7 0")], "0")),
        ("done without having done it", order(Vec::new(), "0")),
    ];
    for (what, host) in cases {
        let said = told(&host);
        assert!(!said.is_empty(), "{what}: nothing was said");
        // Some seconds have passed since the answer was written.
        let said = (3601..3700).fold(said, |said, seconds| {
            said.replace(&format!("{seconds} s behind"), "3600 s behind")
        });
        book.entry(what, &said);
    }
}

/// What a host says when a release does not come into service: by the step itself, over a host's stand-ins.
fn releases(book: &mut Book) {
    book.chapter("an update of the application");
    let mut says = |what: &str, prepare: &dyn Fn(&ReleaseHost)| {
        let host = ReleaseHost::new();
        prepare(&host);
        let (code, text) = host.run("new", None);
        assert_eq!(code, Some(1), "{what}: {text}");
        // Times and places of this run.
        let lines = text
            .lines()
            .filter(|line| !line.contains(" UTC ") && !line.starts_with("waiting for it"));
        book.entry(what, &lines.collect::<Vec<_>>().join("\n"));
    };
    says("no room for the dump", &|host| host.write("large", ""));
    says("nginx does not know the gate", &|host| host.write("foreign-nginx", ""));
    says("the dump fails", &|host| host.write("broken-dump", ""));
    says("the migration fails", &|host| host.write("broken-migration", ""));
    says("the new release does not answer", &|host| host.write("sick-new", ""));
    says("and neither does the old one", &|host| {
        host.write("sick-new", "");
        host.write("sick-old", "");
    });
    says("the migration fails and the dump cannot be put back", &|host| {
        host.write("broken-migration", "");
        host.write("broken-restore", "");
    });
    says("nothing can be written", &|host| {
        std::fs::create_dir_all(host.at("app/maintenance~/x")).unwrap()
    });
}

#[test]
fn every_error_in_one_text() {
    let mut book = Book::default();
    command_line(&mut book);
    benches(&mut book);
    dns(&mut book);
    backup(&mut book);
    inventories(&mut book);
    secrets(&mut book);
    templates(&mut book);
    saved_plans(&mut book);
    sites(&mut book);
    transports(&mut book);
    hosts(&mut book);
    releases(&mut book);
    let text = book.0;
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "an error moves the cursor"
    );
    insta::with_settings!({ filters => vec![
        (r"SHA256:[A-Za-z0-9+/=]{20,}", "SHA256:[FINGERPRINT]"),
        (r"age1[a-z0-9]{50,}", "age1[KEY]"),
        (r"\d+ ms\b|\d+\.\d s\b", "[N] ms"),
        (r"\d+ MiB are free", "[N] MiB are free"),
        (r"\d+ of \d+ resources", "[N] of [N] resources"),
        (r"\[1/\d+\]", "[1/N]"),
        (r"and \d+ more", "and [N] more"),
        (r"of \d+ steps", "of [N] steps"),
        (r"roles are: .*; `", "roles are: [ROLES]; `"),
        (r"\.tmp[A-Za-z0-9]{6}", "[TMP]"),
        (r"hactl \d+\.\d+\.\d+", "hactl [VERSION]"),
    ] }, {
        insta::assert_snapshot!("all", text);
    });
}
