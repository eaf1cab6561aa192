//! `hactl secrets` as operators use it: the real binary, real keys, real files.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hactl::inventory::secrets::{Keyring, Secrets};

const INVENTORY: &str = "\
cluster: acme
hosts:
  srv1: { address: 10.77.9.11 }
app: { kind: frappe, apps: [ { name: frappe, url: 'https://git.example.com/frappe.git', ref: main } ] }
sites:
  - { name: a.example.com, admin_password: !secret admin }
  - { name: b.example.com, admin_password: !secret env:ADMIN }
";

/// A project folder, and operators with a home of their own in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::write(place.at("inventory.yml"), INVENTORY).unwrap();
        for operator in ["ann", "bob"] {
            std::fs::create_dir(place.at(operator)).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, operator: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command
            .arg("secrets")
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.at(operator))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, operator: &str, args: &[&str]) -> Output {
        self.command(operator, args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    fn ok(&self, operator: &str, args: &[&str]) -> String {
        let out = self.run(operator, args);
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    /// Exit code and standard error.
    fn refused(&self, operator: &str, args: &[&str]) -> (i32, String) {
        let out = self.run(operator, args);
        (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
    }

    fn set(&self, operator: &str, name: &str, value: &str) -> Output {
        let mut child = self
            .command(operator, &["set", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn value(&self, operator: &str, name: &str) -> String {
        let text = std::fs::read_to_string(self.at("inventory.yml")).unwrap();
        let mut text = text.replace("!secret admin }", &format!("!secret {name} }}"));
        text = text.replace("!secret env:ADMIN", "!secret file:pw");
        std::fs::write(self.at("pw"), "x").unwrap();
        std::fs::write(self.at("looking.yml"), text).unwrap();
        let inventory = hactl::inventory::load(&self.at("looking.yml")).unwrap().inventory;
        let keyring = Keyring {
            identity: None,
            home: Some(self.at(operator)),
            ask: Keyring::nobody(),
        };
        let resolved = Secrets::resolve(&inventory, &keyring).unwrap_or_else(|error| panic!("{error}"));
        resolved
            .secrets
            .get("site/a.example.com/admin")
            .unwrap()
            .reveal()
            .to_owned()
    }

    fn names(&self, operator: &str) -> String {
        self.ok(operator, &["show-names"])
    }

    /// An editor that does this to the file `$1`.
    fn editor(&self, script: &str) -> String {
        let path = self.at("editor");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }
}

#[test]
fn operators_share_a_file() {
    let place = Place::new();
    let ann = place.ok("ann", &["init"]);
    assert!(ann.starts_with("age1") && ann.lines().count() == 1, "{ann}");
    assert_eq!(place.ok("ann", &["init"]), ann, "the key stays");
    assert!(place.set("ann", "admin", "from ann\n").status.success());

    // Bob gets a key, and is told what to do with it.
    let out = place.run("bob", &["init"]);
    let (bob, said) = (
        String::from_utf8(out.stdout).unwrap(),
        String::from_utf8(out.stderr).unwrap(),
    );
    assert!(
        said.contains("not encrypted for you") && said.contains("init --recipients"),
        "{said}"
    );
    let (code, said) = place.refused("bob", &["show-names"]);
    assert_eq!(code, 2);
    assert!(said.contains("hactl secrets init"), "{said}");

    let recipients = |list: &[&str]| {
        let text = format!("{INVENTORY}secrets: {{ recipients: [ {} ] }}\n", list.join(", "));
        std::fs::write(place.at("inventory.yml"), text).unwrap();
    };
    recipients(&[ann.trim(), bob.trim()]);
    let _ = place.ok("ann", &["init", "--recipients"]);
    assert_eq!(place.value("bob", "admin"), "from ann");
    assert!(place.set("bob", "admin", "from bob").status.success());
    assert_eq!(place.value("ann", "admin"), "from bob");

    // Nobody is locked out by the way; only on purpose.
    recipients(&[ann.trim()]);
    let out = place.set("ann", "admin", "third");
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(
        said.contains("lock the others out") && said.contains("init --recipients"),
        "{said}"
    );
    let _ = place.ok("ann", &["init", "--recipients"]);
    assert_eq!(place.refused("bob", &["show-names"]).0, 2);
    assert_eq!(place.value("ann", "admin"), "from bob");
}

#[test]
fn names_are_shown_and_values_are_not() {
    let place = Place::new();
    let _ = place.ok("ann", &["init"]);
    assert!(place.set("ann", "admin", "geheim").status.success());
    assert!(place.set("ann", "mine", "geheim").status.success());
    let _ = place.ok("ann", &["rotate", "redis/cache"]);
    insta::assert_snapshot!(place.names("ann"));
    let json = place.ok("ann", &["show-names", "--format", "json"]);
    assert!(
        json.contains("\"event\":\"secret\"") && !json.contains("geheim"),
        "{json}"
    );
}

#[test]
fn what_is_set_is_what_was_typed_and_nothing_else() {
    let place = Place::new();
    for (typed, kept) in [("a b\n", "a b"), ("\"$(x)' \\\r\n", "\"$(x)' \\"), (" ü# ", " ü# ")] {
        assert!(place.set("ann", "admin", typed).status.success());
        assert_eq!(place.value("ann", "admin"), kept);
    }
    for (name, typed) in [
        ("admin", ""),
        ("admin", "\n"),
        ("admin", "two\nlines\n"),
        ("a b", "x"),
        ("previous/1/x", "x"),
    ] {
        let out = place.set("ann", name, typed);
        assert_eq!(out.status.code(), Some(2), "{name} {typed:?}");
    }
    assert_eq!(place.value("ann", "admin"), " ü# ");
}

#[test]
fn what_cannot_be_rotated_says_why() {
    let place = Place::new();
    let _ = place.ok("ann", &["init"]);
    let names = [
        "redis/cash",
        "site/a.example.com/encryption_key",
        "site/a.example.com/admin",
        "site/b.example.com/admin",
    ];
    let said: Vec<String> = names
        .iter()
        .map(|name| place.refused("ann", &["rotate", name]).1)
        .collect();
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(place.refused("ann", &["rotate"]).0, 2);
}

#[test]
fn a_rotation_keeps_what_was_and_all_of_them_leave_keys_alone() {
    let place = Place::new();
    assert!(place.set("ann", "admin", "x").status.success());
    assert_eq!(place.value("ann", "admin"), "x", "and the others are made");
    let before = place.value("ann", "redis/queue");
    let key = place.value("ann", "site/a.example.com/encryption_key");
    let out = place.run("ann", &["rotate", "--all-generated"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        out.status.success() && said.contains("encryption_key is left"),
        "{said}"
    );
    assert_ne!(place.value("ann", "redis/queue"), before);
    assert_eq!(place.value("ann", "previous/1/redis/queue"), before);
    assert_eq!(place.value("ann", "site/a.example.com/encryption_key"), key);
    // A value of one's own for a generated secret is a rotation, too.
    assert!(place.set("ann", "redis/queue", "mine").status.success());
    assert_eq!(place.value("ann", "previous/2/redis/queue"), before);
    assert_eq!(place.value("ann", "admin"), "x");
}

#[test]
fn an_edited_file_is_checked_and_leaves_no_copy() {
    let place = Place::new();
    let _ = place.ok("ann", &["init"]);
    let edit = |script: &str| {
        let editor = place.editor(&format!("echo \"$1\" >{}\n{script}", place.at("copy").display()));
        let out = place.command("ann", &["edit"]).env("EDITOR", editor).output().unwrap();
        let copy = std::fs::read_to_string(place.at("copy")).unwrap();
        let copy = Path::new(copy.trim()).to_owned();
        assert!(
            copy.starts_with("/dev/shm") && !copy.parent().unwrap().exists(),
            "{}",
            copy.display()
        );
        (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let checks = "[ \"$(stat -c %a \"$1\")\" = 600 ] && [ \"$(stat -c %a \"$(dirname \"$1\")\")\" = 700 ] || exit 9";
    let (code, said) = edit(&format!("{checks}\necho '# ours' >>\"$1\"; echo 'admin: one' >>\"$1\""));
    assert_eq!(code, 0, "{said}");
    assert_eq!(place.value("ann", "admin"), "one");
    // Editors write a new file and rename it.
    let (code, said) = edit("sed 's/one/two/' \"$1\" >\"$1.new\" && mv \"$1.new\" \"$1\"");
    assert_eq!(code, 0, "{said}");
    assert_eq!(place.value("ann", "admin"), "two");

    let (code, said) = edit("echo 'geheim: [' >>\"$1\"");
    assert_eq!(code, 2);
    assert!(said.contains("line ") && !said.contains("geheim"), "{said}");
    assert_eq!(edit("echo 'admin: three' >>\"$1\"").0, 2, "twice the same name");
    assert_eq!(edit("exit 3").0, 2);
    assert_eq!(edit("rm \"$1\"").0, 2);
    assert_eq!(place.value("ann", "admin"), "two");
    assert!(edit("true").1.contains("nothing was changed"));

    // Somebody else was faster.
    let other = format!(
        "printf x | env -u EDITOR {} secrets set other && echo 'mine: y' >>\"$1\"",
        env!("CARGO_BIN_EXE_hactl")
    );
    let (code, said) = edit(&other);
    assert_eq!(code, 7, "{said}");
    assert_eq!(place.value("ann", "other"), "x");
}

#[test]
fn a_signal_removes_the_copy() {
    let place = Place::new();
    let _ = place.ok("ann", &["init"]);
    for signal in ["TERM", "HUP", "QUIT"] {
        let copy = place.at(&format!("copy-{signal}"));
        let editor = place.editor(&format!(
            "echo \"$1\" >{0}.~ && mv {0}.~ {0}\nexec sleep 600",
            copy.display()
        ));
        let mut child = place.command("ann", &["edit"]).env("EDITOR", editor).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !copy.exists() {
            assert!(
                Instant::now() < end && child.try_wait().unwrap().is_none(),
                "no editor for {signal}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let path = PathBuf::from(std::fs::read_to_string(&copy).unwrap().trim());
        assert!(path.exists());
        let killed = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert!(!path.parent().unwrap().exists(), "{signal} left the copy");
    }
}
