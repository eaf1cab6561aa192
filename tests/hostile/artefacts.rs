//! Everything that hactl writes for a host, looked at with the readers of its languages.

use std::path::{Path, PathBuf};
use std::process::Command;

use hactl::error::Result;
use hactl::inventory::{Inventory, SecretRef};
use hactl::plan::{self, Desired, Plan};
use hactl::quote::sh;
use hactl::report::{DiffMode, Paint, json, plan_text};
use hactl::resource::{Facts, Observed, Spec};
use hactl::role::{SecretStore, Templates, desired};
use hactl::secret::Secret;
use hactl::topology::Topology;

use super::fields::Field;

/// Every secret its own name; those that the inventory gives as they are.
struct Given<'a>(&'a Inventory);

impl SecretStore for Given<'_> {
    fn secret(&self, name: &str) -> Result<Secret> {
        let given = self
            .0
            .sites
            .iter()
            .find(|site| format!("site/{}/admin", site.name) == name);
        Ok(match given.and_then(|site| site.admin_password.as_ref()) {
            Some(SecretRef::Literal(secret)) => secret.clone(),
            _ => Secret::new(format!("<{name}>'\"%")),
        })
    }
}

/// Whether a value was found at its far side.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivered {
    /// As it was written.
    Literally,
    /// This field has no reader here; its structure was compared.
    NotRead,
}

/// Texts for one host, in order.
pub struct Made {
    desired: Desired,
    plan: Plan,
    /// Steps' scripts and their data, by what they are.
    texts: Vec<(String, String)>,
}

/// A folder with programs that say what they were given.
pub struct Bench {
    folder: tempfile::TempDir,
    templates: Templates,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tool = |path: PathBuf, text: &str| {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(&path, text).expect("a tool");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("a mode");
        };
        let given = folder.path().join("given");
        let note = format!("for word; do printf '%s\\0' \"$word\"; done >>{}\n", given.display());
        tool(folder.path().join("app/run"), &format!("#!/bin/sh\n{note}"));
        tool(
            folder.path().join("bin/git"),
            &format!("#!/bin/sh\n{note}case $* in *' init '*) for last; do :; done; mkdir -p \"$last\" ;; esac\n"),
        );
        std::fs::create_dir_all(folder.path().join("app/releases")).expect("a folder");
        Bench {
            folder,
            templates: Templates::load(None).expect("templates"),
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything for the first host, bare.
    pub fn make(&self, inventory: &Inventory) -> Made {
        let view = Topology::of(inventory).hosts().next().expect("a host");
        let desired =
            desired(view, &Facts::assumed(), &self.templates, &Given(inventory)).expect("what it should have");
        let host = plan::build(&desired, &Observed::bare(Facts::assumed()));
        let mut texts = Vec::new();
        for step in &host.steps {
            texts.push((format!("{} script", step.id), step.script.body.clone()));
            for blob in &step.script.blobs {
                texts.push((format!("{} data", step.id), blob.reveal().to_owned()));
            }
        }
        let probe = hactl::resource::probe::script(&plan::questions(&desired));
        texts.push(("probe script".into(), probe));
        let plan = Plan {
            version: String::new(),
            cluster: inventory.cluster.clone(),
            fingerprint: String::new(),
            hosts: vec![host],
        };
        Made { desired, plan, texts }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn shell(&self, script: &str) -> Vec<u8> {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display());
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .output()
            .expect("sh");
        assert!(
            output.stderr.is_empty(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// What the programs were given since the last question.
    fn given(&self) -> Vec<String> {
        let path = self.folder.path().join("given");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// Reads the value back with the reader of the language that it was written in.
    pub fn delivers(&self, field: &Field, value: &str, made: &Made) -> Delivered {
        match field.to_string().as_str() {
            "app.wsgi.env.*" => {
                let file = self.file("env", made.file("/env"));
                let read = format!("set -aeu; . {}; env -0", sh(&file.display().to_string()));
                let read = String::from_utf8(self.shell(&read)).expect("UTF-8");
                assert!(
                    read.split('\0').any(|pair| pair == format!("NOTE={value}")),
                    "{value:?}: {read}"
                );
            }
            "app.wsgi.workers[].command" => {
                let file = made.file("/workers/jobs");
                assert!(file.ends_with(&format!("\n{value}\n")), "{value:?}: {file}");
            }
            "app.wsgi.migrate" => {
                self.given();
                self.shell(made.command("migrations"));
                assert_eq!(self.given(), ["sh", "-c", value]);
            }
            "app.wsgi.url" => {
                self.given();
                self.shell(made.command("code of"));
                let given = self.given();
                assert!(
                    given
                        .windows(4)
                        .any(|words| words == ["remote", "add", "origin", value]),
                    "{value:?}: {given:?}"
                );
            }
            "mariadb.settings.*" => {
                let file = self.file("60-hactl.cnf", made.file("/60-hactl.cnf"));
                let output = Command::new("my_print_defaults")
                    .arg(format!("--defaults-file={}", file.display()))
                    .arg("mariadbd")
                    .output()
                    .expect("my_print_defaults");
                let read = String::from_utf8(output.stdout).expect("UTF-8");
                let last = read.lines().last();
                assert_eq!(last, Some(format!("--init_connect={value}").as_str()), "{read}");
            }
            "system.sysctl.*" => {
                let file = made.file("/60-hactl.conf");
                let line = format!("vm.swappiness = {value}");
                assert!(file.lines().any(|own| own == line), "{value:?}: {file}");
            }
            _ => return Delivered::NotRead,
        }
        Delivered::Literally
    }

    /// No value ran.
    pub fn nothing_was_executed(&self) {
        for folder in [
            self.folder.path(),
            &self.folder.path().join("app/releases"),
            Path::new("."),
            Path::new("/"),
        ] {
            assert!(
                !folder.join("CANARY").exists(),
                "a value was executed in {}",
                folder.display()
            );
        }
    }
}

impl Made {
    /// The text of the file whose path ends so.
    fn file(&self, end: &str) -> &str {
        let mut files = self
            .desired
            .resources
            .iter()
            .filter_map(|resource| match &resource.spec {
                Spec::File(file) => Some(file),
                _ => None,
            });
        let file = files
            .find(|file| file.path.ends_with(end))
            .unwrap_or_else(|| panic!("no file {end}"));
        file.text.reveal()
    }

    /// What the command whose name begins so runs.
    fn command(&self, name: &str) -> &str {
        let mut commands = self.desired.resources.iter().flat_map(|resource| match &resource.spec {
            Spec::Command(command) => vec![command],
            Spec::Release(release) => release.migrations.iter().map(|migration| &migration.command).collect(),
            _ => Vec::new(),
        });
        let command = commands.find(|command| command.name.starts_with(name));
        // The marker's folder is made by the checkout, which does nothing here.
        let run = command.map_or("", |command| command.run.split("\nsync\n").next().unwrap_or_default());
        run.rsplit_once("\n: >").map_or(run, |(run, _)| run)
    }

    /// What is shown of it moves no cursor.
    pub fn is_quiet(&self, field: &Field, value: &str) {
        let text = plan_text::plan(&self.plan, DiffMode::Full, Paint::default());
        let event = hactl::engine::Event::Planned {
            plan: self.plan.clone(),
        };
        for shown in [
            text,
            json::line(&event, "2026-01-01T00:00:00Z".parse().expect("a time")),
        ] {
            let bad = shown
                .chars()
                .find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || hactl::quote::deceives(*c));
            assert_eq!(bad, None, "{field}: {value:?}: {shown}");
        }
    }

    /// As many texts with as many lines as for a harmless value, and only lines that hold that value differ.
    pub fn has_the_structure_of(&self, other: &Made, field: &Field, value: &str) {
        let same = self.texts.len() == other.texts.len();
        assert!(
            same,
            "{field}: {value:?}: {} texts instead of {}",
            self.texts.len(),
            other.texts.len()
        );
        let harmless = [field.harmless(), "harmless"];
        for ((name, mine), (_, theirs)) in self.texts.iter().zip(&other.texts) {
            if mine == theirs {
                continue;
            }
            let (mine_lines, their_lines) = (lines(mine), lines(theirs));
            assert_eq!(
                mine_lines.len(),
                their_lines.len(),
                "{field}: {value:?}: {name}:\n{mine}\ninstead of\n{theirs}"
            );
            if field.is_name() {
                // A name decides where its line stands, and in JSON whether a comma ends it.
                let bare = |line: &str| line.strip_suffix(',').unwrap_or(line).to_owned();
                let mine_lines: Vec<_> = mine_lines.iter().map(|line| bare(line)).collect();
                for line in &their_lines {
                    let about = harmless.iter().any(|harmless| line.contains(harmless));
                    assert!(
                        about || mine_lines.contains(&bare(line)),
                        "{field}: {value:?}: {name}: no {line}:\n{mine}"
                    );
                }
                continue;
            }
            for (mine, theirs) in mine_lines.iter().zip(&their_lines) {
                let about = harmless.iter().any(|harmless| theirs.contains(harmless));
                assert!(
                    mine == theirs || about,
                    "{field}: {value:?}: {name}: changed another line:\n{mine}\ninstead of\n{theirs}"
                );
            }
            if name.ends_with(" script") {
                let mut check = Command::new("sh");
                check.arg("-n").stdin(std::process::Stdio::piped());
                let mut child = check.spawn().expect("sh");
                std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), mine.as_bytes()).expect("written");
                assert!(
                    child.wait().expect("sh").success(),
                    "{field}: {value:?}: {name}:\n{mine}"
                );
            }
        }
    }
}

/// Lines, with names that are made from a text (releases, configurations, databases) all alike.
fn lines(text: &str) -> Vec<String> {
    text.split('\n').map(alike).collect()
}

fn alike(line: &str) -> String {
    let is_hex = |c: &char| matches!(c, '0'..='9' | 'a'..='f');
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c| is_hex(&c)) {
        let length = rest[start..].chars().take_while(is_hex).count();
        out.push_str(&rest[..start]);
        match length {
            12 | 40 | 64 => out.push_str("DIGEST"),
            _ => out.push_str(&rest[start..start + length]),
        }
        rest = &rest[start + length..];
    }
    out + rest
}
