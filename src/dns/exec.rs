//! A command of the user's own that reads and writes records, for providers that hactl does not know.
//!
//! Its words are fixed: values travel in its environment, and all of them, the token too, as one JSON object on its standard
//! input. See docs/dns.md for what it is asked and what it answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Answer, Change, Provider, Record, Said, Trouble};
use crate::error::Result;
use crate::inventory;
use crate::inventory::secrets::Secrets;
use crate::local::{self, Failed};
use crate::secret::Secret;

/// Exit status for "the old value is another one".
const CONFLICT: i32 = 3;

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
        command.arg("-c").arg(&self.run).current_dir(&self.folder);
        let input = format!("{values}\n").into_bytes();
        local::ask(command, &input, self.timeout, self.token.as_slice()).await
    }
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
            Err(failed) => Err(failed.words()),
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
                    let why = failed.words();
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
