//! Where a secret named in the inventory comes from: the inventory itself, the file, a variable, a file, a command.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::inventory::diagnostics::Diagnostics;
use crate::inventory::model::{Inventory, SecretRef};
use crate::inventory::yaml::forbidden;
use crate::secret::Secret;

use super::at_place;
use super::wanted::Wanted;

/// A secret is a line, not a document.
const MAX_BYTES: u64 = 64 * 1024;
/// How long a command may take; password managers ask people, who need a while.
const DEADLINE: Duration = Duration::from_secs(120);

/// Every secret that the inventory names, by canonical name; all that fail are reported.
pub fn resolve_given(
    inventory: &Inventory,
    wanted: &[Wanted],
    stored: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, Secret>, Error> {
    let mut values = BTreeMap::new();
    let mut failed = Vec::new();
    for want in wanted {
        let Some(given) = want.given else { continue };
        match value(given, inventory, stored, want.is_document()) {
            Ok(secret) => {
                values.insert(want.name.clone(), secret);
            }
            Err(why) => failed.push(at_place(inventory, &want.name, why)),
        }
    }
    if failed.is_empty() {
        return Ok(values);
    }
    Err(Diagnostics::new(inventory.source.clone(), failed).into_error(crate::inventory::colour()))
}

/// One secret's value; what it is must never be in the error. `document`: it may have several lines.
pub fn value(
    given: &SecretRef,
    inventory: &Inventory,
    stored: &BTreeMap<String, Secret>,
    document: bool,
) -> Result<Secret, String> {
    let secret = match given {
        SecretRef::Literal(secret) => secret.clone(),
        SecretRef::Stored(name) => stored
            .get(name)
            .cloned()
            .ok_or(format!("the secret `{name}` does not exist"))?,
        SecretRef::Env(name) => match std::env::var(name) {
            Ok(value) => Secret::new(value),
            Err(std::env::VarError::NotPresent) => {
                return Err(format!(
                    "the environment variable `{name}` is not set; set it where hactl runs: export {name}=..."
                ));
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(format!("the environment variable `{name}` is not UTF-8"));
            }
        },
        SecretRef::File(path) => {
            let shown = path.display();
            let file = std::fs::File::open(path).map_err(|e| format!("cannot read the secret in {shown}: {e}"))?;
            read(file).map_err(|why| format!("the secret in {shown} {why}"))?
        }
        SecretRef::Exec(command) => exec(command, inventory, document)?,
    };
    if document && !secret.reveal().is_empty() && forbidden(secret.reveal(), true).is_none() {
        return Ok(secret);
    }
    match check(secret.reveal()) {
        Ok(()) => Ok(secret),
        Err(why) => Err(format!("this secret {why}")),
    }
}

/// Whether a value can go into configuration files.
pub fn check(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    match forbidden(value, false) {
        Some(_) => Err("has more than one line, or control characters".to_owned()),
        None => Ok(()),
    }
}

fn read(from: impl Read) -> Result<Secret, String> {
    let mut text = Zeroizing::new(String::new());
    let read = from.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|e| format!("cannot be read: {e}"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("has more than {MAX_BYTES} bytes"));
    }
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

/// First line of a command's output, or all of a document. Its complaints go where ours go; so do questions it asks on the terminal.
fn exec(command: &str, inventory: &Inventory, document: bool) -> Result<Secret, String> {
    let folder = inventory.path.parent().unwrap_or(std::path::Path::new("/"));
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run `{command}`: {e}"))?;
    let stdout = child.stdout.take().ok_or("the command has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more after the deadline.
        let _ = sender.send(read(stdout));
    });
    let output = receiver.recv_timeout(DEADLINE);
    if output.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| format!("`{command}`: {e}"))?;
    let output = output.map_err(|_| format!("`{command}` took longer than {} seconds", DEADLINE.as_secs()))?;
    if !status.success() {
        return Err(format!("`{command}` failed: {status}"));
    }
    let output = output.map_err(|why| format!("the output of `{command}` {why}"))?;
    if document {
        return Ok(output);
    }
    Ok(Secret::new(output.reveal().lines().next().unwrap_or_default()))
}
