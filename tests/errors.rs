//! Every error that a user can meet, provoked through the real code and written to one text, to be read as it will be
//! read at three in the morning: what, where, why, what to run next.

mod common;
#[path = "errors/hosts.rs"]
mod hosts;
#[path = "errors/inventory.rs"]
mod inventory;
#[path = "hostile/liar.rs"]
#[allow(dead_code, reason = "the test of hostile hosts uses all of it")]
mod liar;
#[path = "errors/verbs.rs"]
mod verbs;

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

#[test]
fn every_error_in_one_text() {
    let mut book = Book::default();
    inventory::command_line(&mut book);
    verbs::benches(&mut book);
    verbs::dns(&mut book);
    verbs::backup(&mut book);
    inventory::inventories(&mut book);
    inventory::secrets(&mut book);
    inventory::templates(&mut book);
    inventory::saved_plans(&mut book);
    inventory::sites(&mut book);
    hosts::transports(&mut book);
    hosts::hosts(&mut book);
    hosts::releases(&mut book);
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
