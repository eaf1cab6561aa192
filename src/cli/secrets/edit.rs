//! `hactl secrets edit`

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::super::context::{Context, keyring};
use super::super::edge;
use crate::error::{Error, Kind, Result};
use crate::inventory::Inventory;
use crate::inventory::secrets;

/// Where the decrypted copy lives: never on a disk.
const MEMORY: &str = "/dev/shm";

/// How long an editor gets to end when hactl has to.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn run(inventory: &Inventory, context: &Context) -> Result<()> {
    let keyring = keyring();
    let old = secrets::text(inventory, &keyring)?;
    let new = context.block_on(edited(inventory, &old, context))?;
    if new == old {
        context.console.say("nothing was changed\n");
        return Ok(());
    }
    secrets::replace_text(inventory, &keyring, &old, new)?;
    context
        .console
        .say(&format!("{} is written\n", inventory.secrets.path.display()));
    super::written(inventory, Vec::new(), context);
    Ok(())
}

async fn edited(inventory: &Inventory, old: &str, context: &Context) -> Result<Zeroizing<String>> {
    // Before there is a copy that a signal could leave behind.
    let mut signals = Signals::new()?;
    // The folder goes with this value, however this function is left; editors put their swap files into it, too.
    let folder = memory_folder()?;
    let path = folder.path().join("secrets.yml");
    write(&path, old)?;
    loop {
        let status = edit(&path, &mut signals).await?;
        if !status.success() {
            return Err(Error::usage(format!(
                "the editor ended with {status}; the secrets are as they were"
            )));
        }
        let new = read(&path)?;
        match secrets::check_text(inventory, &new) {
            Ok(()) => return Ok(new),
            Err(error) if !again(&error, context) => return Err(error.hint("the secrets are as they were")),
            Err(_) => {}
        }
    }
}

struct Signals {
    term: Signal,
    hup: Signal,
    quit: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let watch = |kind| signal(kind).map_err(|error| Error::internal(format!("cannot watch signals: {error}")));
        Ok(Signals {
            term: watch(SignalKind::terminate())?,
            hup: watch(SignalKind::hangup())?,
            quit: watch(SignalKind::quit())?,
            int: watch(SignalKind::interrupt())?,
        })
    }
}

fn memory_folder() -> Result<tempfile::TempDir> {
    let refused = |why: String| {
        Error::usage(format!(
            "a decrypted copy must not reach a disk, and {MEMORY} cannot be used: {why}"
        ))
        .hint("hactl secrets set NAME needs no copy")
    };
    if !in_memory().map_err(|error| refused(error.to_string()))? {
        return Err(refused("it is no memory file system".into()));
    }
    tempfile::Builder::new()
        .prefix("hactl-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(MEMORY)
        .map_err(|error| refused(error.to_string()))
}

#[cfg(target_os = "linux")]
fn in_memory() -> std::io::Result<bool> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let kind = rustix::fs::statfs(MEMORY)?.f_type;
    Ok([TMPFS, RAMFS]
        .into_iter()
        .any(|known| i128::from(known) == i128::from(kind)))
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> std::io::Result<bool> {
    Ok(false)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| Error::internal(format!("cannot write {}: {error}", path.display()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let bytes =
        std::fs::read(path).map_err(|error| Error::usage(format!("the editor left no {}: {error}", path.display())))?;
    String::from_utf8(bytes)
        .map(Zeroizing::new)
        .map_err(|_| Error::usage("the edited text is not UTF-8; the secrets are as they were"))
}

/// Runs the editor. A signal that would end hactl ends the editor first, so that the copy can be removed; Ctrl-C is the
/// editor's own business.
async fn edit(path: &Path, signals: &mut Signals) -> Result<ExitStatus> {
    let editor = editor();
    let mut child = Command::new("sh")
        .arg("-c")
        // An editor may come with options, as in `code --wait`.
        .arg({
            let mut words = OsString::from("exec ");
            words.push(&editor);
            words.push(" \"$1\"");
            words
        })
        .arg("sh")
        .arg(path)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::usage(format!("cannot start the editor: {error}")))?;
    loop {
        tokio::select! {
            status = child.wait() => {
                return status.map_err(|error| Error::internal(format!("cannot wait for the editor: {error}")));
            }
            _ = signals.int.recv() => {}
            _ = signals.term.recv() => break,
            _ = signals.hup.recv() => break,
            _ = signals.quit.recv() => break,
        }
    }
    end(&mut child).await;
    Err(Error::new(
        Kind::Interrupted,
        "ended by a signal; the secrets are as they were",
    ))
}

async fn end(child: &mut Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn editor() -> OsString {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into())
}

/// Shows what is wrong and asks whether to go on editing; without a terminal nobody can.
fn again(error: &Error, context: &Context) -> bool {
    if !std::io::stdin().is_terminal() || !context.console.has_terminal() {
        return false;
    }
    context.console.say(&edge::text(error, context.console.side_paint()));
    dialoguer::Confirm::new()
        .with_prompt("Edit again?")
        .default(true)
        .interact_on(&console::Term::stderr())
        .unwrap_or(false)
}
