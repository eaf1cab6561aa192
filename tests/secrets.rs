//! The secrets of an inventory, with real age files, real keys and real files.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hactl::inventory::secrets::{Keyring, PLACEHOLDER, Secrets, set};
use hactl::inventory::{Inventory, Loaded, load};
use hactl::secret::Secret;
use tempfile::TempDir;

/// A folder with an inventory and a home without keys.
struct Place {
    folder: TempDir,
}

const FRAPPE: &str = "cluster: demo
hosts: { srv1: { address: 10.0.0.1 } }
app: { kind: frappe, apps: [ { name: frappe, url: \"https://h/frappe\", ref: main } ] }
";

impl Place {
    fn new(rest: &str) -> Self {
        let place = Place {
            folder: TempDir::new().expect("a temporary folder"),
        };
        std::fs::create_dir(place.at("home")).expect("a home");
        place.write(rest);
        place
    }

    fn write(&self, rest: &str) {
        std::fs::write(self.at("inventory.yml"), format!("{FRAPPE}{rest}")).expect("an inventory");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn loaded(&self) -> Loaded {
        load(&self.at("inventory.yml")).unwrap_or_else(|e| panic!("{e}"))
    }

    fn inventory(&self) -> Inventory {
        self.loaded().inventory
    }

    fn keyring(&self) -> Keyring {
        Keyring {
            identity: None,
            home: Some(self.at("home")),
            ask: Keyring::nobody(),
        }
    }

    fn set(&self, name: &str, value: &str) {
        set(&self.inventory(), &self.keyring(), name, Secret::new(value)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// An error text without this run's own folder.
    fn neutral(&self, error: &hactl::error::Error) -> String {
        let hints: String = error.hints.iter().map(|hint| format!("\nhint: {hint}")).collect();
        format!("{}{hints}", error.message).replace(&self.folder.path().display().to_string(), "$DIR")
    }

    fn ssh_key(&self, kind: &str, passphrase: &str) {
        std::fs::create_dir_all(self.at("home/.ssh")).expect("a folder");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", passphrase, "-C", "operator", "-f"])
            .arg(self.at(&format!("home/.ssh/id_{kind}")))
            .status()
            .expect("ssh-keygen");
        assert!(made.success());
    }
}

const SITE: &str = "sites: [ { name: a.example.com } ]\n";

fn values(secrets: &Secrets) -> Vec<(String, String)> {
    secrets
        .iter()
        .map(|(n, s)| (n.to_owned(), s.reveal().to_owned()))
        .collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[test]
fn what_nobody_gave_is_generated_once_and_kept_encrypted() {
    let place = Place::new(SITE);
    let first = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    let names = [
        "mariadb/root",
        "mariadb/replication",
        "redis/cache",
        "redis/queue",
        "site/a.example.com/admin",
        "site/a.example.com/database",
        "site/a.example.com/encryption_key",
    ];
    assert_eq!(first.generated, names);
    assert!(first.placeholders.is_empty());
    for name in names {
        let length = if name.ends_with("encryption_key") { 44 } else { 32 };
        assert_eq!(first.secrets.get(name).expect("there").reveal().len(), length, "{name}");
    }
    let distinct: BTreeSet<String> = values(&first.secrets).into_iter().map(|(_, value)| value).collect();
    assert_eq!(distinct.len(), names.len());

    let second = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    assert!(second.generated.is_empty());
    assert_eq!(values(&first.secrets), values(&second.secrets));

    let file = std::fs::read_to_string(place.at("secrets.age")).expect("the file");
    assert!(file.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    assert_eq!(mode(&place.at("secrets.age")), 0o600);
    assert_eq!(mode(&place.at("home/.config/hactl/identity.txt")), 0o600);
    assert_eq!(mode(&place.at("home/.config/hactl")), 0o700);
    for (name, value) in values(&first.secrets) {
        assert!(!file.contains(&value), "{name} in clear");
        assert!(!format!("{first:?}").contains(&value), "{name} in Debug");
    }
    // Nothing else is left beside the inventory.
    let mut beside: Vec<String> = std::fs::read_dir(place.folder.path())
        .expect("the folder")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    beside.sort();
    assert_eq!(beside, ["home", "inventory.yml", "secrets.age"]);
}

#[test]
fn a_new_site_adds_only_its_own_secrets() {
    let place = Place::new(SITE);
    let before = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    place.write("sites: [ { name: a.example.com }, { name: b.example.com } ]\n");
    let after = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    assert_eq!(
        after.generated,
        [
            "site/b.example.com/admin",
            "site/b.example.com/database",
            "site/b.example.com/encryption_key"
        ]
    );
    for (name, value) in values(&before.secrets) {
        assert_eq!(after.secrets.get(&name).expect("still there").reveal(), value);
    }
}

#[test]
fn runs_at_the_same_time_agree() {
    let place = Place::new(SITE);
    let inventory = place.inventory();
    let results: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Secrets::resolve(&inventory, &place.keyring()).expect("resolved")))
            .collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    for result in &results {
        assert_eq!(values(&result.secrets), values(&results[0].secrets));
    }
    let made: usize = results.iter().map(|r| r.generated.len()).sum();
    assert_eq!(made, 7, "each is generated by one run");
    // Each stores a name of its own: none is lost.
    std::thread::scope(|scope| {
        for i in 0..8 {
            let (inventory, place) = (&inventory, &place);
            scope.spawn(move || {
                set(
                    inventory,
                    &place.keyring(),
                    &format!("mine/{i}"),
                    Secret::new(format!("v{i}")),
                )
            });
        }
    });
    let refs: String = (0..8)
        .map(|i| format!("  - {{ name: s{i}.example.com, admin_password: !secret mine/{i} }}\n"))
        .collect();
    place.write(&format!("sites:\n{refs}"));
    let all = Secrets::resolve(&place.inventory(), &place.keyring()).expect("none was lost");
    for i in 0..8 {
        assert_eq!(
            all.secrets
                .get(&format!("site/s{i}.example.com/admin"))
                .expect("there")
                .reveal(),
            format!("v{i}")
        );
    }
}

#[test]
fn every_source_of_a_secret_is_read() {
    let place = Place::new(
        "sites:
  - { name: stored.example.com, admin_password: !secret shared/admin }
  - { name: env.example.com, admin_password: !secret env:CARGO_PKG_NAME }
  - { name: file.example.com, admin_password: !secret file:pw.txt }
  - { name: exec.example.com, admin_password: !secret \"exec:echo first; echo second; cat pw.txt >/dev/null\" }
  - { name: literal.example.com, admin_password: hunter2 }
ssh: { user: deploy, become: { password: !secret file:pw.txt } }
",
    );
    std::fs::write(place.at("pw.txt"), "from file\n").expect("a file");
    place.set("shared/admin", "it's \"quoted\": {yes}");
    let resolved = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    let admin = |site: &str| {
        resolved
            .secrets
            .get(&format!("site/{site}.example.com/admin"))
            .expect("there")
            .reveal()
    };
    assert_eq!(admin("stored"), "it's \"quoted\": {yes}");
    assert_eq!(admin("env"), std::env::var("CARGO_PKG_NAME").expect("cargo sets it"));
    assert_eq!(admin("file"), "from file");
    assert_eq!(admin("exec"), "first");
    assert_eq!(admin("literal"), "hunter2");
    assert_eq!(
        resolved.secrets.get("become_password").expect("there").reveal(),
        "from file"
    );
    assert!(!resolved.generated.iter().any(|name| name.ends_with("/admin")));
    assert_eq!(place.loaded().warnings.len(), 1, "the literal one is remarked");
}

#[test]
fn sources_that_fail_are_shown_with_their_place_and_nothing_is_written() {
    let place = Place::new(
        "sites:
  - { name: a.example.com, admin_password: !secret env:HACTL_TEST_NOT_SET }
  - { name: b.example.com, admin_password: !secret file:none.txt }
  - { name: c.example.com, admin_password: !secret \"exec:echo geheim; exit 3\" }
  - { name: d.example.com, admin_password: !secret exec:true }
  - { name: e.example.com, admin_password: !secret file:two.txt }
",
    );
    std::fs::write(place.at("two.txt"), "geheim\ngeheim\n").expect("a file");
    let error = Secrets::resolve(&place.inventory(), &place.keyring()).expect_err("refused");
    assert_eq!(error.kind.exit_code(), 2);
    assert!(!place.at("secrets.age").exists());
    insta::assert_snapshot!(place.neutral(&error));
}

#[test]
fn missing_names_are_shown_with_their_place_and_a_guess() {
    let place = Place::new(
        "sites:\n  - { name: a.example.com, admin_password: !secret admin_pasword }\n  - { name: b.example.com, admin_password: !secret other }\n",
    );
    let without_file = Secrets::resolve(&place.inventory(), &place.keyring()).expect_err("refused");
    assert!(!place.at("secrets.age").exists(), "nothing is written");
    place.set("admin_password", "x1");
    let error = Secrets::resolve(&place.inventory(), &place.keyring()).expect_err("refused");
    assert_eq!(error.kind.exit_code(), 2);
    let looked = Secrets::existing_or_placeholder(&place.inventory(), &place.keyring()).expect_err("refused, too");
    assert_eq!(looked.message, error.message);
    // The folder's name has another length in every run, which moves line breaks.
    let shown = format!("{}\n\n{}", place.neutral(&without_file), place.neutral(&error));
    let joined = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "the secret `admin_pasword` is not there: there is no",
        "did you mean `admin_password`?",
        "inventory.yml:5:52",
        "inventory.yml:6:52",
        "!secret other",
        "Leave the key out and one is generated",
    ] {
        assert!(joined.contains(part), "{part:?} in\n{shown}");
    }
}

#[test]
fn somebody_elses_file_is_refused_and_left_alone() {
    let place = Place::new(SITE);
    Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    let before = std::fs::read(place.at("secrets.age")).expect("the file");
    std::fs::remove_dir_all(place.at("home/.config")).expect("removed");
    let error = Secrets::resolve(&place.inventory(), &place.keyring()).expect_err("no key at all");
    assert_eq!(error.kind.exit_code(), 2);
    insta::assert_snapshot!("no_key", place.neutral(&error));
    assert!(!place.at("home/.config").exists(), "a new identity would not help");

    std::fs::write(
        place.at("other.txt"),
        age::x25519::Identity::generate().to_string().expose(),
    )
    .expect("a key");
    let keyring = Keyring {
        identity: Some(place.at("other.txt")),
        ..place.keyring()
    };
    let error = Secrets::resolve(&place.inventory(), &keyring).expect_err("another key");
    insta::assert_snapshot!("wrong_key", place.neutral(&error));
    let keyring = Keyring {
        identity: Some(place.at("none.txt")),
        ..place.keyring()
    };
    let error = Secrets::resolve(&place.inventory(), &keyring).expect_err("no such key");
    insta::assert_snapshot!("no_such_key", place.neutral(&error));
    assert_eq!(std::fs::read(place.at("secrets.age")).expect("the file"), before);

    // Looking still works, with placeholders.
    let looked = Secrets::existing_or_placeholder(&place.inventory(), &place.keyring()).expect("looked");
    assert_eq!(looked.placeholders.len(), 7);
    assert_eq!(looked.secrets.get("mariadb/root").expect("there").reveal(), PLACEHOLDER);
}

trait Expose {
    fn expose(&self) -> &str;
}

impl Expose for age::secrecy::SecretString {
    fn expose(&self) -> &str {
        age::secrecy::ExposeSecret::expose_secret(self)
    }
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let place = Place::new(SITE);
    Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    let whole = std::fs::read_to_string(place.at("secrets.age")).expect("the file");
    let lines: Vec<&str> = whole.lines().collect();
    let middle = lines.len() - 3;
    let flipped: String = lines[middle]
        .chars()
        .map(|c| if c == 'A' { 'B' } else { 'A' })
        .collect();
    let tampered: String = lines
        .iter()
        .enumerate()
        .map(|(i, line)| format!("{}\n", if i == middle { &flipped } else { *line }))
        .collect();
    let cases = [
        ("tampered", tampered),
        ("cut", whole[..whole.len() / 2].to_owned()),
        ("text", "mariadb/root: geheim\n".to_owned()),
        ("empty", String::new()),
    ];
    for (what, text) in cases {
        std::fs::write(place.at("secrets.age"), &text).expect("written");
        for result in [
            Secrets::resolve(&place.inventory(), &place.keyring()),
            Secrets::existing_or_placeholder(&place.inventory(), &place.keyring()),
        ] {
            let error = result.expect_err(what);
            assert_eq!(error.kind.exit_code(), 2, "{what}");
            assert!(error.message.contains("secrets.age"), "{what}: {error}");
            assert!(
                error.message.contains("damaged") || error.message.contains("no age file"),
                "{what}: {error}"
            );
            assert!(!error.message.contains("geheim"));
        }
        assert_eq!(
            std::fs::read_to_string(place.at("secrets.age")).expect("the file"),
            text
        );
    }
}

#[test]
fn looking_changes_nothing() {
    let place = Place::new(
        "sites: [ { name: a.example.com, admin_password: !secret \"exec:touch ran; echo x\" }, { name: b.example.com } ]\n",
    );
    let looked = Secrets::existing_or_placeholder(&place.inventory(), &place.keyring()).expect("looked");
    assert!(looked.generated.is_empty());
    assert_eq!(looked.placeholders.len(), looked.secrets.iter().count());
    for made in ["ran", "secrets.age", "home/.config"] {
        assert!(!place.at(made).exists(), "{made}");
    }
    let known = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    assert!(place.at("ran").exists());
    let looked = Secrets::existing_or_placeholder(&place.inventory(), &place.keyring()).expect("looked");
    assert_eq!(looked.placeholders, ["site/a.example.com/admin"]);
    let root = |secrets: &Secrets| secrets.get("mariadb/root").expect("there").clone();
    assert_eq!(root(&looked.secrets), root(&known.secrets));
}

#[test]
fn the_teams_ssh_keys_are_recipients() {
    for kind in ["ed25519", "rsa"] {
        let place = Place::new(SITE);
        place.ssh_key(kind, "");
        let public = std::fs::read_to_string(place.at(&format!("home/.ssh/id_{kind}.pub"))).expect("the public key");
        let other = age::x25519::Identity::generate();
        place.write(&format!(
            "{SITE}secrets: {{ recipients: [ \"{}\", {} ] }}\n",
            public.trim(),
            other.to_public()
        ));
        let mine = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
        assert!(!place.at("home/.config").exists(), "the ssh key is enough");
        std::fs::write(place.at("other.txt"), other.to_string().expose()).expect("a key");
        let keyring = Keyring {
            identity: Some(place.at("other.txt")),
            ..place.keyring()
        };
        let theirs = Secrets::resolve(&place.inventory(), &keyring).expect("the other one reads it, too");
        assert_eq!(values(&mine.secrets), values(&theirs.secrets));
        assert!(theirs.generated.is_empty());
    }
}

#[test]
fn an_ssh_key_with_a_passphrase_asks_once() {
    let place = Place::new(SITE);
    place.ssh_key("ed25519", "open sesame");
    let public = std::fs::read_to_string(place.at("home/.ssh/id_ed25519.pub")).expect("the public key");
    // A foreign reader first: age tries every key on every reader.
    let other = age::x25519::Identity::generate().to_public();
    place.write(&format!(
        "{SITE}secrets: {{ recipients: [ {other}, \"{}\" ] }}\n",
        public.trim()
    ));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let asking = |answer: &'static str| Keyring {
        ask: {
            let counter = counter.clone();
            Arc::new(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
                Some(Secret::new(answer))
            })
        },
        ..place.keyring()
    };
    Secrets::resolve(&place.inventory(), &asking("open sesame")).expect("written and read again");
    asked.store(0, Ordering::SeqCst);
    Secrets::resolve(&place.inventory(), &asking("open sesame")).expect("read");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let error = Secrets::resolve(&place.inventory(), &asking("wrong")).expect_err("refused");
    assert!(error.message.contains("wrong passphrase"), "{error}");
    let error = Secrets::resolve(&place.inventory(), &place.keyring()).expect_err("nobody to ask");
    assert!(error.message.contains("not encrypted for you"), "{error}");
}

#[test]
fn readers_are_never_locked_out() {
    let place = Place::new(SITE);
    Secrets::resolve(&place.inventory(), &place.keyring()).expect("made");
    let own = std::fs::read_to_string(place.at("home/.config/hactl/identity.txt")).expect("the identity");
    let own = own
        .lines()
        .find_map(|l| l.strip_prefix("# public key: "))
        .expect("its public key")
        .to_owned();
    let other = age::x25519::Identity::generate().to_public();
    // Two readers ...
    place.write(&format!("{SITE}secrets: {{ recipients: [ {own}, {other} ] }}\n"));
    place.set("mine", "x");
    // ... of whom the inventory forgets one.
    let before = std::fs::read(place.at("secrets.age")).expect("the file");
    place.write(SITE);
    let error = set(&place.inventory(), &place.keyring(), "mine", Secret::new("y")).expect_err("refused");
    assert!(
        error.message.contains("has 2 readers, but the inventory names 1"),
        "{error}"
    );
    // A file that its writer could not read again.
    let third = age::x25519::Identity::generate().to_public();
    place.write(&format!("{SITE}secrets: {{ recipients: [ {other}, {third} ] }}\n"));
    let error = set(&place.inventory(), &place.keyring(), "mine", Secret::new("y")).expect_err("refused");
    assert!(error.message.contains("not be readable by you"), "{error}");
    assert_eq!(std::fs::read(place.at("secrets.age")).expect("the file"), before);
}

/// What an operator wrote with `age` itself.
fn encrypt_by_hand(place: &Place, text: &str) -> age::x25519::Identity {
    let identity = age::x25519::Identity::generate();
    std::fs::create_dir_all(place.at("home/.config/hactl")).expect("a folder");
    std::fs::write(
        place.at("home/.config/hactl/identity.txt"),
        identity.to_string().expose(),
    )
    .expect("a key");
    let bytes = age::encrypt(&identity.to_public(), text.as_bytes()).expect("encrypted");
    std::fs::write(place.at("secrets.age"), bytes).expect("written");
    identity
}

#[test]
fn a_file_made_by_hand_is_read_and_its_comments_stay() {
    for text in [
        "# ours\nmariadb/root: 1.10 # old\nother: \"a: b\"",
        "{ \"mariadb/root\": \"1.10\", \"other\": \"a: b\" }\n",
    ] {
        let place = Place::new(&format!(
            "{}\n",
            "sites: [ { name: a.example.com, admin_password: !secret other } ]"
        ));
        let identity = encrypt_by_hand(&place, text);
        let resolved = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
        assert_eq!(resolved.secrets.get("mariadb/root").expect("there").reveal(), "1.10");
        assert_eq!(
            resolved
                .secrets
                .get("site/a.example.com/admin")
                .expect("there")
                .reveal(),
            "a: b"
        );
        assert!(!resolved.generated.contains(&"mariadb/root".to_owned()));
        let bytes = std::fs::read(place.at("secrets.age")).expect("the file");
        let plain = String::from_utf8(age::decrypt(&identity, &bytes).expect("decrypted")).expect("text");
        if text.starts_with('#') {
            assert!(plain.starts_with(text), "{plain}");
        }
        let again = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
        assert_eq!(values(&again.secrets), values(&resolved.secrets));
    }
}

#[test]
fn a_file_made_wrong_by_hand_says_which_line_and_not_what() {
    for (text, expected) in [
        ("a: 1\nb: [geheim]\n", "line 2"),
        ("a: 1\na: geheim\n", "line 2"),
        ("a: *geheim\n", "line 1"),
        ("geheim\n", "line 1"),
        ("a: {\n", "line "),
        ("a: !x geheim\n", "line 1"),
        ("a: \"\"\n", "the value of `a` is empty"),
        ("a: \"geheim\\ngeheim\"\n", "line 1"),
    ] {
        let place = Place::new(SITE);
        encrypt_by_hand(&place, text);
        let error = Secrets::resolve(&place.inventory(), &place.keyring()).expect_err(text);
        assert!(error.message.contains(expected), "{text:?}: {error}");
        assert!(!format!("{error:?}").contains("geheim"), "{error}");
        assert_eq!(error.kind.exit_code(), 2);
    }
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let place = Place::new(SITE);
    std::fs::create_dir(place.at("shared")).expect("a folder");
    Secrets::resolve(&place.inventory(), &place.keyring()).expect("made");
    std::fs::rename(place.at("secrets.age"), place.at("shared/all.age")).expect("moved");
    std::os::unix::fs::symlink("shared/all.age", place.at("secrets.age")).expect("linked");
    place.set("mine", "x");
    assert!(
        std::fs::symlink_metadata(place.at("secrets.age"))
            .expect("there")
            .is_symlink()
    );
    place.write("sites: [ { name: a.example.com, admin_password: !secret mine } ]\n");
    let resolved = Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    assert_eq!(
        resolved
            .secrets
            .get("site/a.example.com/admin")
            .expect("there")
            .reveal(),
        "x"
    );
}

#[test]
fn the_fingerprint_follows_every_input() {
    let place = Place::new(&format!("{SITE}templates: tpl\n"));
    std::fs::create_dir_all(place.at("tpl/nginx")).expect("a folder");
    let mut seen = vec![place.loaded().fingerprint().expect("a fingerprint")];
    assert_eq!(seen[0], place.loaded().fingerprint().expect("the same again"));
    let mut differs = |what: &str| {
        let now = place.loaded().fingerprint().expect("a fingerprint");
        assert!(!seen.contains(&now), "{what}");
        seen.push(now);
    };
    Secrets::resolve(&place.inventory(), &place.keyring()).expect("resolved");
    differs("a secrets file");
    place.set("mine", "x");
    differs("another secret");
    std::fs::write(place.at("tpl/nginx/site.conf"), "a").expect("written");
    differs("an override");
    std::fs::write(place.at("tpl/nginx/site.conf"), "b").expect("written");
    differs("its content");
    std::fs::rename(place.at("tpl/nginx/site.conf"), place.at("tpl/site.conf")).expect("moved");
    differs("its place");
    place.write(&format!("{SITE}templates: tpl # remark\n"));
    differs("the inventory");
    std::fs::remove_dir_all(place.at("tpl")).expect("removed");
    let error = place.loaded().fingerprint().expect_err("no folder");
    assert_eq!(error.kind.exit_code(), 2);
}
