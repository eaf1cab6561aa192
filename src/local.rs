//! A command of the user's own on this machine that is asked something: its input is given, its output read to the end, and
//! it is ended with everything it started when its time is up.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::secret::Secret;

/// Longest answer that is read.
const LONGEST: u64 = 64 * 1024;
/// Most of its complaint that is passed on, characters.
const COMPLAINT: usize = 500;
/// How long a command gets to end after it was told to.
const GRACE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// It could not be started.
    Start(String),
    /// It ended with another status than 0; and the last of what it said on standard error, behind a colon.
    Status(i32, String),
    /// It was ended.
    Other(String),
}

impl Failed {
    /// For people.
    pub fn words(self) -> String {
        match self {
            Failed::Start(why) | Failed::Other(why) => why,
            Failed::Status(code, err) => format!("exit status {code}{err}"),
        }
    }
}

/// Runs it to its end and gives what it printed. `secrets` are cut out of what it complains.
///
/// # Errors
/// It did not start, took longer than `timeout`, or ended with another status than 0.
pub async fn ask(
    mut command: Command,
    input: &[u8],
    timeout: Duration,
    secrets: &[Secret],
) -> std::result::Result<String, Failed> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for hactl: half a change is worse than a whole one.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failed::Start(format!("cannot start {program}: {error}")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read is none the worse.
            let _ = stdin.write_all(input).await;
        }
    };
    let talk = async {
        let ((), out, err) = tokio::join!(write, all(stdout), all(stderr));
        (out, err, child.wait().await)
    };
    let Ok((out, err, status)) = tokio::time::timeout(timeout, talk).await else {
        end(&mut child).await;
        let seconds = timeout.as_secs();
        return Err(Failed::Other(format!("took longer than {seconds} s and was ended")));
    };
    let err = complaint(&err, secrets);
    match status {
        Ok(status) if status.success() => Ok(String::from_utf8_lossy(&out).into_owned()),
        Ok(status) => Err(match status.code() {
            Some(code) => Failed::Status(code, err),
            None => Failed::Other(format!("was ended: {status}{err}")),
        }),
        Err(error) => Err(Failed::Other(format!("cannot be waited for: {error}"))),
    }
}

/// The last of what it said on standard error, without secrets.
fn complaint(bytes: &[u8], secrets: &[Secret]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = crate::secret::masked(text.trim(), secrets);
    let skip = text.chars().count().saturating_sub(COMPLAINT);
    match text.is_empty() {
        true => String::new(),
        false => format!(": {}", text.chars().skip(skip).collect::<String>()),
    }
}

/// All that comes from there, as far as anybody reads.
async fn all(from: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = (&mut from).take(LONGEST).read_to_end(&mut bytes).await;
        // The rest, so that its writer ends.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    bytes
}

/// Ends it and everything in its group.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let Some(group) = group else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let _ = tokio::time::timeout(GRACE, child.wait()).await;
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}
