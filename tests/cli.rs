//! The command line as a user meets it: help, usage errors, exit codes, files. No host is needed; where one is, it is
//! this machine (`--transport local`), and it is only looked at.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A folder of its own, an empty environment.
struct Place {
    folder: tempfile::TempDir,
}

/// One server with a WSGI application.
const INVENTORY: &str = "\
cluster: acme
hosts:
  srv1: { address: 10.77.9.11 }
app: { kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }
sites:
  - { name: shop.example.com }
";

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("inventory.yml"), INVENTORY).unwrap();
        Place { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// All that a user sees, in one text.
    fn seen(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all = format!(
            "$ hactl {}\n[exit status: {}]\n--- stdout\n{}--- stderr\n{}",
            args.join(" "),
            out.status.code().unwrap(),
            text(&out.stdout),
            text(&out.stderr)
        );
        all.replace(&self.path().canonicalize().unwrap().display().to_string(), "[HOME]")
            .replace(&self.path().display().to_string(), "[HOME]")
    }
}

const VERBS: [&str; 23] = [
    "init",
    "check",
    "plan",
    "apply",
    "app",
    "render",
    "status",
    "crashplan",
    "rejoin",
    "dns",
    "backup",
    "restore",
    "graph",
    "history",
    "exec",
    "ssh",
    "secrets",
    "site",
    "lab",
    "templates",
    "schema",
    "completions",
    "man",
];

#[test]
fn help_of_every_verb() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.seen(&["--help"]));
    for verb in VERBS {
        insta::assert_snapshot!(format!("help-{verb}"), place.seen(&[verb, "--help"]));
    }
    for verb in ["up", "down", "status", "cut", "heal", "kill", "boot"] {
        insta::assert_snapshot!(format!("help-lab-{verb}"), place.seen(&["lab", verb, "-h"]));
    }
    for verb in ["list", "create", "migrate", "drop", "console"] {
        insta::assert_snapshot!(format!("help-site-{verb}"), place.seen(&["site", verb, "-h"]));
    }
    for verb in ["update", "list", "jobs"] {
        insta::assert_snapshot!(format!("help-app-{verb}"), place.seen(&["app", verb, "--help"]));
    }
    for verb in ["show", "switch"] {
        insta::assert_snapshot!(format!("help-dns-{verb}"), place.seen(&["dns", verb, "--help"]));
    }
    for verb in ["init", "edit", "set", "rotate", "show-names"] {
        insta::assert_snapshot!(format!("help-secrets-{verb}"), place.seen(&["secrets", verb, "-h"]));
    }
}

#[test]
fn the_list_of_verbs_is_whole() {
    let help = String::from_utf8(Place::new().run(&["--help"]).stdout).unwrap();
    let listed: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, VERBS);
}

#[test]
fn usage_errors() {
    let place = Place::new();
    std::fs::write(place.path().join("bad.yml"), INVENTORY.replace("address", "adress")).unwrap();
    std::fs::write(place.path().join("noplan.json"), "{}").unwrap();
    std::fs::create_dir(place.path().join("full")).unwrap();
    std::fs::write(place.path().join("full/precious"), "").unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("unknown-verb", &["aply"]),
        ("unknown-option", &["plan", "--exitcode"]),
        ("bad-format", &["plan", "--format", "xml"]),
        ("no-inventory", &["plan", "nowhere.yml"]),
        ("bad-inventory", &["check", "bad.yml"]),
        ("unknown-host", &["plan", "--limit", "srv2"]),
        ("ssh-unknown-host", &["ssh", "db"]),
        ("nobody-to-ask", &["apply"]),
        ("json-cannot-ask", &["apply", "--format", "json"]),
        ("no-plan", &["apply", "--plan", "noplan.json"]),
        ("plan-and-limit", &["apply", "--plan", "p.json", "--limit", "srv1"]),
        ("app-update-nobody-to-ask", &["app", "update"]),
        (
            "app-update-no-such-app",
            &["app", "update", "--yes", "--set", "shpo=v2"],
        ),
        (
            "app-update-no-ref",
            &["app", "update", "--yes", "--set", "shop=--upload-pack=x"],
        ),
        (
            "app-update-twice",
            &["app", "update", "--yes", "--set", "v2", "--set", "v3"],
        ),
        ("exec-without-command", &["exec"]),
        ("render-into-a-full-folder", &["render", "--out", "full"]),
        ("templates-that-replace-nothing", &["check", "--templates", "full"]),
    ];
    for (name, args) in cases {
        insta::assert_snapshot!(format!("usage-{name}"), without_times(&place.seen(args)));
    }
    assert!(place.path().join("full/precious").exists());
}

/// Times of JSON lines are not the same twice.
fn without_times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\"time\":\"") {
        out += before;
        out += "\"time\":\"[TIME]";
        rest = after.find('"').map_or("", |end| &after[end..]);
    }
    out + rest
}

#[test]
fn check_renders_everything_without_a_host() {
    // How many resources there are is the roles' business.
    insta::with_settings!({ filters => vec![(r"\b\d+ resources", "[N] resources")] }, {
        insta::assert_snapshot!(Place::new().seen(&["check"]));
    });
}

#[test]
fn exit_codes_are_those_of_the_document() {
    use hactl::error::Kind::*;
    let document = include_str!("../docs/exit-codes.md");
    let written: Vec<(u8, String)> = document
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let code = cells.next()?.parse().ok()?;
            Some((code, cells.next()?.trim_matches('`').to_owned()))
        })
        .filter(|(code, _)| *code != 0)
        .collect();
    let kinds = [
        Internal,
        Usage,
        Pending,
        HostFailed,
        Unreachable,
        Locked,
        Refused,
        Interrupted,
    ];
    let real: Vec<(u8, String)> = kinds
        .iter()
        .map(|kind| (kind.exit_code(), kind.word().to_owned()))
        .collect();
    assert_eq!(written, real);
}

/// Every line that a verb prints in JSON holds to the published schema, and the last one is the summary.
#[test]
fn json_of_every_verb_holds_to_the_schema() {
    let place = Place::new();
    let schema = serde_json::from_slice(&place.run(&["schema", "events"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let cases: &[(&[&str], i32)] = &[
        (&["check"], 0),
        (&["render", "--out", "rendered"], 0),
        (
            &[
                "exec",
                "--transport",
                "local",
                "--",
                "sh",
                "-c",
                "echo one; echo two; exit 3",
            ],
            4,
        ),
        (&["secrets", "init"], 0),
        (&["secrets", "rotate", "redis/cache"], 0),
        (&["secrets", "show-names"], 0),
        (&["check", "nowhere.yml"], 2),
        (&["apply"], 2),
        (&["no-such-verb"], 2),
    ];
    for (args, code) in cases {
        let args: Vec<&str> = ["--format", "json"].iter().chain(*args).copied().collect();
        let out = place.run(&args);
        assert_eq!(out.status.code(), Some(*code), "{args:?}: {out:?}");
        let text = String::from_utf8(out.stdout).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            assert!(validator.is_valid(line), "{args:?}: {line}");
        }
        let last = lines.last().unwrap();
        assert_eq!(last["event"], "summary", "{args:?}");
        assert_eq!(last["exit_code"], *code, "{args:?}");
        let summaries = lines.iter().filter(|line| line["event"] == "summary").count();
        assert_eq!(summaries, 1, "{args:?}");
    }
}

#[test]
fn exec_quotes_words_and_makes_output_harmless() {
    let place = Place::new();
    let args = [
        "exec",
        "--transport",
        "local",
        "--",
        "printf",
        "%s\\n",
        "$HOME 'x'; \"y\"",
        "\x1b[2Jz",
    ];
    let out = place.run(&args);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(text, "srv1 | $HOME 'x'; \"y\"\nsrv1 | \\x1b[2Jz\n");
}

#[test]
fn render_masks_secrets_and_replaces_only_its_own_folder() {
    let place = Place::new();
    let env = place.path().join("out/srv1/srv/shop/env");
    for _ in 0..2 {
        let out = place.run(&["render", "--out", "out"]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        let text = std::fs::read_to_string(&env).unwrap();
        assert!(text.contains("DB_PASSWORD=") && text.contains("********"), "{text}");
        assert!(!place.path().join("secrets.age").exists(), "render made secrets");
    }
    std::fs::remove_file(place.path().join("out/.hactl-render")).unwrap();
    assert_eq!(place.run(&["render", "--out", "out"]).status.code(), Some(7));
    assert!(env.exists());
}

/// An override tells which built-in it was copied from; when that is another one by now, that is a warning.
#[test]
fn overrides_older_than_their_built_in_are_warned_about() {
    let place = Place::new();
    let name = "nginx/nginx.conf";
    let listed = String::from_utf8(place.run(&["templates", "list"]).stdout).unwrap();
    assert!(listed.lines().any(|line| line == name), "{listed}");
    let export = ["templates", "export", name, "--out", "mine"];
    assert_eq!(place.run(&export).status.code(), Some(0));
    assert_eq!(place.run(&export).status.code(), Some(7), "nothing is replaced");
    assert_eq!(
        place.run(&["templates", "export", "nginx/ngnix.conf"]).status.code(),
        Some(2)
    );
    let path = place.path().join("mine/nginx/nginx.conf.tera");
    let copy = std::fs::read_to_string(&path).unwrap();
    assert_eq!(copy, String::from_utf8(place.run(&export[..3]).stdout).unwrap());
    let said = || {
        let out = place.run(&["check", "--templates", "mine"]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        String::from_utf8(out.stderr).unwrap()
    };
    assert_eq!(said(), "");
    let (first, rest) = copy.split_once('\n').unwrap();
    let words: Vec<&str> = first.split(' ').collect();
    std::fs::write(
        &path,
        copy.replace(words[3], "0123456789abcdef").replace(words[2], "0.0.9"),
    )
    .unwrap();
    let warned = said();
    assert!(
        warned.starts_with("warning: ") && warned.contains("of hactl 0.0.9, which has changed since"),
        "{warned}"
    );
    std::fs::write(&path, rest).unwrap();
    let hinted = said();
    assert!(hinted.starts_with("next: ") && !hinted.contains("warning"), "{hinted}");
}

/// A reader that goes away ends the output, not the process.
#[test]
fn a_closed_pipe_does_no_harm() {
    let place = Place::new();
    for args in [
        &["schema", "events"][..],
        &["man"],
        &["check"],
        &["--help"],
        &["exec", "--transport", "local", "--", "seq", "200000"],
    ] {
        let mut child = place
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Nobody reads: the first write that does not fit into the pipe fails.
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let err = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(0), "{args:?}: {err}");
        assert!(!err.contains("panicked"), "{args:?}: {err}");
    }
}

/// Half of a result must not pass for all of it.
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = Place::new().command(&["schema"]).stdout(full).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        String::from_utf8(out.stderr)
            .unwrap()
            .contains("cannot write to standard output")
    );
}

#[test]
fn colours_come_when_asked_for_and_else_only_on_a_terminal() {
    let place = Place::new();
    let err = |args: &[&str]| String::from_utf8(place.run(args).stderr).unwrap();
    assert!(err(&["plan", "nowhere.yml", "--color", "always"]).contains("\x1b["));
    assert!(!err(&["plan", "nowhere.yml"]).contains("\x1b["));
}

#[test]
fn schemas_and_completions_are_what_they_claim() {
    let place = Place::new();
    for what in ["inventory", "events", "plan"] {
        let out = place.run(&["schema", what]);
        let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef hactl"),
        ("fish", "complete -c hactl"),
    ] {
        let out = place.run(&["completions", shell]);
        assert!(String::from_utf8(out.stdout).unwrap().contains(sign), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_for_every_verb() {
    let place = Place::new();
    assert_eq!(place.run(&["man", "--out", "pages"]).status.code(), Some(0));
    for verb in VERBS {
        assert!(place.path().join(format!("pages/hactl-{verb}.1")).is_file(), "{verb}");
    }
}
