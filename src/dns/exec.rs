//! A command of the user's own that reads and writes records, for providers that hactl does not know.
//!
//! Its words are fixed: values travel in its environment, and all of them, the token too, as one JSON object on its standard
//! input. See docs/dns.md for what it is asked and what it answers.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Answer, Change, Provider, Record, Said, Trouble};
use crate::error::Result;
use crate::inventory;
use crate::inventory::secrets::Secrets;
use crate::secret::Secret;

/// Longest answer that is read.
const LONGEST: u64 = 64 * 1024;
/// Exit status for "the old value is another one".
const CONFLICT: i32 = 3;
/// Most of its complaint that is passed on, characters.
const COMPLAINT: usize = 500;
/// How long a command gets to end after it was told to.
const GRACE: Duration = Duration::from_secs(2);

/// The command.
pub struct Hook {
    run: String,
    folder: PathBuf,
    token: Option<Secret>,
    timeout: Duration,
}

/// What it prints when it is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    values: Vec<std::net::IpAddr>,
    #[serde(default)]
    ttl: Option<u32>,
}

enum Failed {
    Start(String),
    Status(i32, String),
    Other(String),
}

impl Hook {
    /// From the inventory, whose folder it runs in.
    ///
    /// # Errors
    /// A token that is missing.
    pub fn new(given: &inventory::dns::ExecHook, folder: &Path, secrets: &Secrets) -> Result<Self> {
        let token = given
            .token
            .is_some()
            .then(|| secrets.get(inventory::Dns::EXEC).cloned());
        Ok(Hook {
            run: given.run.clone(),
            folder: folder.to_owned(),
            token: token.transpose()?,
            timeout: given.timeout,
        })
    }

    /// Runs it with these values; gives what it printed.
    async fn ask(&self, action: &str, record: &Record, more: &[(&str, Value)]) -> std::result::Result<String, Failed> {
        let mut values = json!({ "action": action, "name": record.name, "type": record.kind.word() });
        for (name, value) in more {
            values[*name] = value.clone();
        }
        let mut command = Command::new("sh");
        for (name, value) in values.as_object().into_iter().flatten() {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            command.env(format!("HACTL_DNS_{}", name.to_uppercase()), text);
        }
        if let Some(token) = &self.token {
            values["token"] = token.reveal().into();
        }
        let mut child = command
            .arg("-c")
            .arg(&self.run)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for hactl: half a change is worse than a whole one.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failed::Start(format!("cannot start sh: {error}")))?;
        let input = format!("{values}\n").into_bytes();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // One that does not read is none the worse.
                let _ = stdin.write_all(&input).await;
            }
        };
        let talk = async {
            let ((), out, err) = tokio::join!(write, all(stdout), all(stderr));
            (out, err, child.wait().await)
        };
        let Ok((out, err, status)) = tokio::time::timeout(self.timeout, talk).await else {
            end(&mut child).await;
            let seconds = self.timeout.as_secs();
            return Err(Failed::Other(format!("took longer than {seconds} s and was ended")));
        };
        let err = self.complaint(&err);
        match status {
            Ok(status) if status.success() => Ok(String::from_utf8_lossy(&out).into_owned()),
            Ok(status) => Err(match status.code() {
                Some(code) => Failed::Status(code, err),
                None => Failed::Other(format!("was ended: {status}{err}")),
            }),
            Err(error) => Err(Failed::Other(format!("cannot be waited for: {error}"))),
        }
    }

    /// The last of what it said on standard error, without the token.
    fn complaint(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let text = crate::secret::masked(text.trim(), self.token.as_slice());
        let skip = text.chars().count().saturating_sub(COMPLAINT);
        match text.is_empty() {
            true => String::new(),
            false => format!(": {}", text.chars().skip(skip).collect::<String>()),
        }
    }

    fn words(&self, failed: Failed) -> String {
        match failed {
            Failed::Start(why) | Failed::Other(why) => why,
            Failed::Status(code, err) => format!("exit status {code}{err}"),
        }
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

#[async_trait]
impl Provider for Hook {
    async fn read(&self, record: &Record) -> Vec<Said> {
        let answer = match self.ask("read", record, &[]).await {
            Ok(text) => serde_json::from_str::<Read>(&text)
                .map(|read| Answer {
                    values: read.values.into_iter().collect(),
                    ttl: read.ttl,
                    odd: None,
                })
                .map_err(|error| {
                    format!("prints something else than {{\"values\":[\"ADDRESS\"],\"ttl\":SECONDS}}: {error}")
                }),
            Err(failed) => Err(self.words(failed)),
        };
        vec![Said {
            server: "the command of `dns.provider`".to_owned(),
            answer,
        }]
    }

    async fn swap(&self, changes: &[Change]) -> std::result::Result<(), Trouble> {
        for change in changes {
            let more = [
                ("expected", Value::from(change.expected.to_string())),
                ("wanted", Value::from(change.wanted.to_string())),
                ("ttl", Value::from(change.ttl)),
            ];
            match self.ask("swap", &change.record, &more).await {
                Ok(_) => {}
                Err(Failed::Start(why)) => return Err(Trouble::Unreachable(why)),
                Err(Failed::Status(CONFLICT, err)) => {
                    let why = format!("the command found another old value of {}{err}", change.record);
                    return Err(Trouble::Conflict(why));
                }
                // It may have done it before it failed; what is true is asked afterwards.
                Err(failed) => {
                    let why = self.words(failed);
                    return Err(Trouble::Unknown(format!(
                        "the command for {} failed: {why}",
                        change.record
                    )));
                }
            }
        }
        Ok(())
    }
}
