//! Hosts that have backups, and what they say of them.

use std::time::Duration;

use futures::future::join_all;

use super::super::context::Context;
use super::super::hosts::{self, Took};
use crate::backup::choose::{self, Chosen, Wish};
use crate::backup::{Catalog, SCRIPT};
use crate::engine::link::ShellLinks;
use crate::error::{Error, Kind, Result};
use crate::inventory::{Host, HostRole, Inventory};
use crate::quote::{sh, terminal};
use crate::transport::TransportError;
use crate::transport::wire::{Piece, Session};

/// What a host's MariaDB is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Follows, and is close.
    Replica,
    /// Takes the writes.
    Writer,
    /// Follows, but not closely, or not at all.
    Behind,
    /// Does not answer.
    Down,
    /// The host has no database.
    None,
}

/// A host and its root shell.
pub struct At {
    /// Its name.
    pub name: String,
    /// What its MariaDB is.
    pub part: Part,
    session: Session,
}

/// Longest silence of a host: restic reads and writes for hours without a word.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

fn lost(error: &TransportError) -> Error {
    let failed = Error::new(Took::kind_of(error), error.message.clone());
    match &error.hint {
        Some(hint) => failed.hint(hint.clone()),
        None => failed,
    }
}

impl At {
    /// Opens a host and asks what it is.
    pub async fn open(links: &ShellLinks, host: &Host) -> Result<At> {
        let session = hosts::open(links, host).await.map_err(|error| lost(&error))?;
        let mut at = At {
            name: host.name.clone(),
            part: Part::None,
            session,
        };
        let (status, _) = at
            .ask(&format!("[ -x {SCRIPT} ] && [ -r {} ]", crate::backup::CONFIG))
            .await?;
        if status != 0 {
            return Err(
                Error::new(Kind::HostFailed, format!("{}: backups are not set up there", host.name))
                    .hint("hactl apply"),
            );
        }
        if host.roles.contains(&HostRole::Db) {
            let (_, said) = at.ask(&format!("{SCRIPT} part")).await?;
            at.part = match said.trim() {
                "writer" => Part::Writer,
                "replica" => Part::Replica,
                "behind" => Part::Behind,
                _ => Part::Down,
            };
        }
        Ok(at)
    }

    /// Runs shell; each line goes to `show` as it comes.
    pub async fn run(&mut self, shell: &str, show: &mut (dyn FnMut(&str) + Send)) -> Result<i32> {
        let script = format!("(\n{shell}\n) 2>&1");
        let mut left: Vec<u8> = Vec::new();
        let mut sink = |piece| {
            if let Piece::Data(data) = piece {
                left.extend_from_slice(&data);
                while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = left.drain(..=end).collect();
                    show(String::from_utf8_lossy(&line).trim_end());
                }
            }
        };
        let status = self.session.run(&script, &[], SILENCE, &mut sink).await;
        if !left.is_empty() {
            show(String::from_utf8_lossy(&left).trim_end());
        }
        status.map_err(|error| lost(&error))
    }

    /// The same, and what it said as a whole.
    pub async fn ask(&mut self, shell: &str) -> Result<(i32, String)> {
        let mut text = String::new();
        let status = self
            .run(shell, &mut |line| {
                text.push_str(line);
                text.push('\n');
            })
            .await?;
        Ok((status, text))
    }

    /// What a target has, as this host sees it.
    pub async fn catalog(&mut self, target: &str) -> Result<Catalog> {
        let (status, said) = self.ask(&format!("{SCRIPT} catalog {} </dev/null", sh(target))).await?;
        match status {
            0 => Ok(Catalog::read(&said)),
            _ => Err(self.failed(&format!("the target {target} cannot be read"), &said)),
        }
    }

    /// What leads to the wanted moment.
    ///
    /// # Errors
    /// Refused, when nothing does.
    pub async fn chosen(&mut self, target: &str, wish: &Wish) -> Result<Chosen> {
        let catalog = self.catalog(target).await?;
        let refused = |why: String| {
            Error::new(Kind::Refused, format!("{target}: {why}")).hint("hactl backup list shows what there is")
        };
        let base = choose::base(&catalog, wish).map_err(refused)?;
        let wanted = choose::logs(&catalog, &base, wish).map_err(refused)?;
        let mut all = Vec::new();
        for logs in &wanted {
            let shell = format!("{SCRIPT} index {} {} </dev/null", sh(target), sh(&logs.id));
            let (status, said) = self.ask(&shell).await?;
            if status != 0 {
                return Err(self.failed("the index of binary logs cannot be read", &said));
            }
            all.extend(choose::index(&logs.id, &said));
        }
        let logs = choose::order(&base, &wanted, all).map_err(refused)?;
        Ok(Chosen {
            base,
            logs,
            to: wish.to,
        })
    }

    /// What went wrong here, by a script's last words.
    pub fn failed(&self, what: &str, said: &str) -> Error {
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let refused = said.lines().rev().find_map(|line| line.split("REFUSED: ").nth(1));
        match refused {
            Some(why) => Error::new(Kind::Refused, format!("{}: {what}: {}", self.name, terminal(why))),
            None => Error::new(Kind::HostFailed, format!("{}: {what}: {}", self.name, terminal(last))),
        }
    }

    /// Ends the session.
    pub async fn close(self) {
        self.session.close(false).await;
    }
}

/// All hosts with a database that answer, replicas first; those that do not are told of.
///
/// # Errors
/// None answers.
pub async fn databases(context: &Context, inventory: &Inventory, links: &ShellLinks) -> Result<Vec<At>> {
    let hosts = inventory
        .hosts
        .values()
        .filter(|host| host.roles.contains(&HostRole::Db));
    open(context, links, hosts).await
}

/// Those of some hosts that answer.
///
/// # Errors
/// None answers.
pub async fn open(context: &Context, links: &ShellLinks, hosts: impl Iterator<Item = &Host>) -> Result<Vec<At>> {
    let mut found = Vec::new();
    let mut worst = None;
    for result in join_all(hosts.map(|host| At::open(links, host))).await {
        match result {
            Ok(at) => found.push(at),
            Err(error) => {
                if let Some(earlier) = worst.replace(error) {
                    context.warn(&earlier.message);
                }
            }
        }
    }
    match (found.is_empty(), worst) {
        (true, Some(error)) => return Err(error),
        (false, Some(error)) => context.warn(&error.message),
        _ => {}
    }
    found.sort_by_key(|at| at.part);
    Ok(found)
}

/// The one that is meant: by name, or the first.
///
/// # Errors
/// It is not among them.
pub fn pick<'a>(found: &'a mut [At], name: Option<&str>) -> Result<&'a mut At> {
    let index = match name {
        None => (!found.is_empty()).then_some(0),
        Some(name) => found.iter().position(|at| at.name == name),
    };
    index.and_then(|index| found.get_mut(index)).ok_or_else(|| match name {
        Some(name) => Error::usage(format!("{} has no database that answers", terminal(name))),
        None => Error::new(Kind::HostFailed, "no host with a database answers"),
    })
}
