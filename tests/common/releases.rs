//! More releases of the lab's applications: tags in the repositories that a [`Stack`] serves.
//!
//! Release N says N as the version of its code and of its assets, and has a migration of its own, so that one answer of a
//! site shows whether code, database and assets belong together.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::stack::Stack;

/// What is wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Its migration destroys data and then fails.
    Migration,
    /// It cannot be imported.
    Start,
}

/// Statements of a guestbook's release in its migration; half of them is no schema of any release.
const STEPS: u32 = 3;

fn git(folder: &Path, words: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=lab", "-c", "user.email=lab@localhost"])
        .args(["-c", "safe.directory=*", "-c", "advice.detachedHead=false"])
        .args(words)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git");
    assert!(
        out.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A fresh working copy of what is tagged v1.
fn copy(stack: &Stack, name: &str) -> PathBuf {
    let work = stack.folder().join(format!("work-{name}"));
    let _ = std::fs::remove_dir_all(&work);
    let repository = stack.folder().join(format!("git/{name}.git"));
    git(
        stack.folder(),
        &[
            "clone",
            "-q",
            &repository.display().to_string(),
            &work.display().to_string(),
        ],
    );
    git(&work, &["checkout", "-q", "v1"]);
    work
}

fn publish(work: &Path, tag: &str) {
    git(work, &["add", "-A"]);
    git(work, &["commit", "-q", "-m", tag]);
    git(work, &["tag", tag]);
    git(work, &["push", "-q", "origin", tag]);
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("a file of the application");
    assert!(text.contains(from), "{from} is not in {}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).expect("written");
}

/// Tags a release of the guestbook as `vNUMBER`, or `vNUMBER-bad`; gives the tag. Its migration takes `seconds`.
pub fn guestbook(stack: &Stack, number: u32, seconds: f64, flaw: Flaw) -> String {
    let work = copy(stack, "guestbook");
    let package = work.join("guestbook");
    let code = package.join("__init__.py");
    edit(&code, "__version__ = \"1.0.0\"", &format!("__version__ = \"{number}\""));
    std::fs::write(package.join("static/version.txt"), format!("{number}\n")).unwrap();
    let steps: String = (2..=number)
        .map(|number| {
            format!(
                "    \"CREATE TABLE half_{number} (id INT)\",\n    \"SELECT SLEEP({seconds})\",\n    \
                 \"ALTER TABLE half_{number} RENAME TO whole_{number}\",\n"
            )
        })
        .collect();
    let bad = match flaw {
        Flaw::Migration => "    \"DROP TABLE job_result\",\n    \"DELETE FROM entry\",\n    \"THIS IS NO SQL\",\n",
        _ => "",
    };
    edit(
        &package.join("migrate.py"),
        "\n]\n\n\ndef main",
        &format!("\n{steps}{bad}]\n\n\ndef main"),
    );
    if flaw == Flaw::Start {
        // gunicorn cannot load it; the migration can.
        edit(&code, "\ndef app(", "\ndef other(");
    }
    let tag = match flaw {
        Flaw::None => format!("v{number}"),
        flaw => format!("v{number}-{flaw:?}").to_lowercase(),
    };
    publish(&work, &tag);
    tag
}

/// The release that a guestbook's answer belongs to.
///
/// # Errors
/// When code, schema and assets are not of one release.
pub fn guestbook_release(state: &serde_json::Value) -> Result<u32, String> {
    let number = |key: &str| match state[key].as_str() {
        Some("1.0.0") => Ok(1),
        Some(text) => text.parse::<u32>().map_err(|_| format!("{key} of {state}")),
        None => Err(format!("no {key} in {state}")),
    };
    let (code, assets) = (number("version")?, number("assets")?);
    let schema = state["schema"].as_u64().unwrap_or_default();
    if code != assets || schema != u64::from(2 + (code - 1) * STEPS) {
        return Err(format!("a mixture of releases: {state}"));
    }
    Ok(code)
}

/// Tags a release of minifrappe as `vNUMBER`, or `vNUMBER-bad`; gives the tag.
pub fn minifrappe(stack: &Stack, number: u32, flaw: Flaw) -> String {
    let work = copy(stack, "frappe");
    let package = work.join("frappe");
    let code = package.join("__init__.py");
    edit(
        &code,
        "__version__ = \"15.51.2\"",
        &format!("__version__ = \"{number}\""),
    );
    std::fs::write(
        package.join("public/js/login.bundle.js"),
        format!("document.body.setAttribute(\"data-release\", \"{number}\");\n"),
    )
    .unwrap();
    let patches = package.join("patches");
    std::fs::create_dir_all(&patches).unwrap();
    for number in 2..=number {
        std::fs::write(
            patches.join(format!("{number:04}.sql")),
            format!("CREATE TABLE release_{number} (id INT);\nSELECT SLEEP(1);\n"),
        )
        .unwrap();
    }
    match flaw {
        Flaw::None => {}
        Flaw::Migration => {
            let bad = "DELETE FROM tabNote;\nDROP TABLE tabFile;\nTHIS IS NO SQL;\n";
            std::fs::write(patches.join("9999.sql"), bad).unwrap();
        }
        Flaw::Start => edit(
            &package.join("app.py"),
            "import frappe\n",
            "import frappe\n\nraise RuntimeError(\"this release does not start\")\n",
        ),
    }
    let tag = match flaw {
        Flaw::None => format!("v{number}"),
        flaw => format!("v{number}-{flaw:?}").to_lowercase(),
    };
    publish(&work, &tag);
    tag
}

/// The release that a minifrappe's answer belongs to, as far as the answer alone tells: its assets have a hash for a name.
///
/// # Errors
/// When code and schema are not of one release, or its assets are not there.
pub fn minifrappe_release(state: &serde_json::Value) -> Result<u32, String> {
    let state = &state["message"];
    let code = match state["version"].as_str() {
        Some("15.51.2") => 1,
        Some(text) => text.parse::<u32>().map_err(|_| format!("version of {state}"))?,
        None => return Err(format!("no version in {state}")),
    };
    let assets = state["assets"].as_str().unwrap_or_default();
    if state["schema"].as_u64() != Some(u64::from(code - 1)) || !assets.starts_with("/assets/") || assets.contains(' ')
    {
        return Err(format!("a mixture of releases: {state}"));
    }
    Ok(code)
}
