//! `hactl init`: whatever is asked of it, what it writes passes `hactl check` without a remark.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const WSGI: &[&str] = &[
    "--app",
    "wsgi",
    "--url",
    "https://git.example.com/shop.git",
    "--ref",
    "v1",
    "--module",
    "shop:app",
];

/// Every way to combine the options: one choice of each list.
fn combinations() -> Vec<Vec<&'static str>> {
    let choices: Vec<Vec<&'static [&'static str]>> = vec![
        vec![&[], &["--topology", "single"]],
        vec![&["--host", "srv1=203.0.113.10"], &["--host", "db.example=2001:db8::1"]],
        vec![
            &["--site", "erp.example.com"],
            &["--site", "erp.example.com", "--site", "shop.example.com"],
        ],
        vec![
            WSGI,
            &["--app", "frappe"],
            &[
                "--app",
                "frappe",
                "--url",
                "https://git.example.com/frappe",
                "--ref",
                "1e5",
            ],
        ],
        vec![&[], &["--user", "root"], &["--user", "deploy"]],
        vec![&[], &["--identity-file", "~/keys/my key # 1"]],
        vec![&[], &["--cluster", "null"]],
        vec![&[], &["--schema"]],
    ];
    choices.into_iter().fold(vec![Vec::new()], |all, choice| {
        all.iter()
            .flat_map(|before: &Vec<&str>| choice.iter().map(move |more| [before.as_slice(), more].concat()))
            .collect()
    })
}

#[test]
fn every_combination_passes_check() {
    let schema = serde_json::to_value(hactl::inventory::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    // One key for all: making secrets is not what varies.
    let folder = tempfile::tempdir().unwrap();
    let all = combinations();
    assert_eq!(all.len(), 2 * 2 * 2 * 3 * 3 * 2 * 2 * 2);
    for (number, flags) in all.iter().enumerate() {
        let name = format!("{number}/inventory.yml");
        let out = run(folder.path(), &[&["init", name.as_str()], flags.as_slice()].concat());
        assert_eq!(out.status.code(), Some(0), "{flags:?}: {}", text(&out.stderr));
        let path = folder.path().join(&name);
        assert!(path.with_file_name("secrets.age").is_file(), "{flags:?}");
        let loaded = hactl::inventory::load(&path).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        assert_eq!(loaded.render_warnings(false), "", "{flags:?}");
        let written = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&written).unwrap();
        assert!(validator.is_valid(&value), "{written}");
        assert_eq!(
            written.starts_with("# yaml-language-server: $schema=hactl.schema.json\n"),
            path.with_file_name("hactl.schema.json").is_file()
        );
        // The program's own word, which also renders every file: for every twelfth, since it takes its time.
        if number % 12 == 0 || number + 1 == all.len() {
            let out = run(folder.path(), &["check", &name]);
            assert_eq!(out.status.code(), Some(0), "{flags:?}: {}", text(&out.stderr));
            assert_eq!(text(&out.stderr), "", "{flags:?}");
        }
    }
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        &[
            "init",
            "--host",
            "srv1=203.0.113.10",
            "--site",
            "a.example.com",
            "--schema",
        ],
        WSGI,
    ]
    .concat();
    for name in ["inventory.yml", "hactl.schema.json"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "precious").unwrap();
        let out = run(folder.path(), &flags);
        assert_eq!(out.status.code(), Some(7), "{}", text(&out.stderr));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "something was written all the same"
        );
    }
    // Nor through a link that points nowhere yet.
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("inventory.yml")).unwrap();
    assert_eq!(run(folder.path(), &flags).status.code(), Some(7));
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn what_is_refused_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let good = ["--host", "srv1=203.0.113.10", "--site", "a.example.com"];
    let seen = |args: &[&str]| {
        let out = run(folder.path(), &[&["init"], args].concat());
        format!(
            "$ hactl init {}\n[exit status: {}]\n{}\n",
            args.join(" "),
            out.status.code().unwrap_or(-1),
            text(&out.stderr).trim_end()
        )
    };
    let all = [
        seen(&[]),
        seen(&["--app", "wsgi", "--site", "a.example.com"]),
        seen(&["--topology", "pair"]),
        seen(&["--topology", "multi"]),
        seen(&["--host", "srv1"]),
        seen(&["--host", "srv1=db.example.com"]),
        seen(&[&good[..], &["--app", "frappe", "--module", "a:b"]].concat()),
        seen(&[&["--host", "srv1=203.0.113.10", "--site", "ERP"], WSGI].concat()),
        seen(&[&good[..], &["--app", "frappe", "--user", "no one"]].concat()),
    ]
    .join("\n");
    insta::assert_snapshot!(all);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "something was written"
    );
}

/// What a reader of the documents sees is what init writes.
#[test]
fn the_documents_show_what_is_written() {
    for (kind, more) in [("wsgi", WSGI), ("frappe", &["--app", "frappe"])] {
        let folder = tempfile::tempdir().unwrap();
        let flags = [
            &["init", "--host", "srv1=203.0.113.10", "--site", "erp.example.com"],
            more,
        ]
        .concat();
        let out = run(folder.path(), &flags);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let shown = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/examples/{kind}.yml"));
        let written = std::fs::read_to_string(folder.path().join("inventory.yml")).unwrap();
        if std::env::var_os("HACTL_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(shown.parent().unwrap()).unwrap();
            std::fs::write(&shown, &written).unwrap();
        }
        let documented = std::fs::read_to_string(&shown).unwrap_or_default();
        assert_eq!(
            documented, written,
            "HACTL_WRITE_DOCS=1 cargo test --test init writes it anew"
        );
        let said = text(&out.stderr);
        for next in ["hactl check --remote", "hactl plan", "hactl apply"] {
            assert!(said.contains(next), "{said}");
        }
    }
}

/// On a terminal it asks for what no option says.
#[test]
fn it_asks_on_a_terminal() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let hactl = env!("CARGO_BIN_EXE_hactl");
    let mut child = Command::new("script")
        .args(["-qec", &format!("{hactl} init --app wsgi"), "/dev/null"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .env("TERM", "xterm")
        .env_remove("HACTL_INVENTORY")
        .env_remove("HACTL_AGE_IDENTITY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script(1) of util-linux makes the terminal");
    // A wrong address is refused and asked for again.
    let answers = "web1\rnonsense\r203.0.113.7\r\rshop.example.com\rhttps://git.example.com/shop.git\rv2\rshop:app\r";
    child.stdin.as_mut().unwrap().write_all(answers.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let seen = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{seen}");
    assert!(seen.contains("is no IP address"), "{seen}");
    let loaded = hactl::inventory::load(&folder.path().join("inventory.yml")).unwrap();
    let host = &loaded.inventory.hosts["web1"];
    assert_eq!(
        (host.address.to_string().as_str(), host.ssh.user.as_str()),
        ("203.0.113.7", "root")
    );
    assert_eq!(loaded.inventory.sites[0].name, "shop.example.com");
}
