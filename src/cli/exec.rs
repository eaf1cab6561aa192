//! `hactl exec`

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended};
use super::hosts::{self, Took};
use crate::engine::link::ShellLinks;
use crate::error::{Kind, Result};
use crate::inventory::{Host, Inventory};
use crate::quote::{sh_words, terminal};
use crate::report::{Console, Note};
use crate::transport::TransportError;
use crate::transport::wire::Piece;

/// Run a command as root on all hosts side by side
///
/// E.g. hactl exec -- systemctl is-active nginx. The words after `--` reach the host as they are; for a shell's syntax: hactl exec -- sh -c 'df -h | grep /srv'. Exits
/// with 4 when it fails on some host.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    limit: LimitArg,
    /// Seconds after which a host is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory(&args.inventory)?;
    let names = args.limit.hosts(&loaded.inventory)?;
    let links = context.links(&loaded.inventory, None, &names)?;
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let started = Instant::now();
    context.block_on(async {
        let each = chosen(&loaded.inventory, &names).map(|host| one(args, context, &links, host, width));
        let took = join_all(each).await;
        let blank = args.command.len() == 1 && args.command.iter().any(|word| word.contains(' '));
        if blank && took.iter().any(|took| took.kind == Some(Kind::HostFailed)) {
            context.hint("a command with blanks in one word is one word; for a shell: hactl exec -- sh -c '...'");
        }
        Ok(hosts::summary(took, started).into())
    })
}

fn chosen<'a>(inventory: &'a Inventory, names: &'a [String]) -> impl Iterator<Item = &'a Host> {
    names.iter().filter_map(|name| inventory.hosts.get(name))
}

async fn one(args: &Args, context: &Context, links: &ShellLinks, host: &Host, width: usize) -> Took {
    let started = Instant::now();
    let console = &context.console;
    let limit = Duration::from_secs(args.timeout.max(1));
    let result = tokio::time::timeout(limit, command(args, console, links, host, width)).await;
    let result = result.unwrap_or_else(|_| {
        Err(
            TransportError::lost(format!("{}: given up after {} s", host.name, limit.as_secs()))
                .hint("--timeout SECONDS gives it longer"),
        )
    });
    let ms = hosts::millis(started);
    let kind = match result {
        Ok(status) => {
            let (name, failed) = (host.name.clone(), status != 0);
            console.line(&Note::Exited { host: name, status, ms });
            if failed {
                let text = format!("{}: exit status {status}", host.name);
                context.trouble(&text, None);
            }
            failed.then_some(Kind::HostFailed)
        }
        Err(error) => {
            let kind = Took::kind_of(&error);
            context.host_failed(&host.name, kind, &error.message, error.hint.as_deref());
            Some(kind)
        }
    };
    Took {
        host: host.name.clone(),
        kind,
        ms,
    }
}

async fn command(
    args: &Args,
    console: &Console,
    links: &ShellLinks,
    host: &Host,
    width: usize,
) -> Result<i32, TransportError> {
    let mut session = hosts::open(links, host).await?;
    // In a shell of its own, so that `exit` ends only that; without the session's input, which is the next request.
    let script = format!("( {} ) </dev/null", sh_words(&args.command));
    let mut lines = Lines::default();
    let show = |line: &str| {
        let line = terminal(line);
        let name = console.paint().place(&format!("{:width$}", host.name));
        console.result(&format!("{name} | {line}\n"));
        console.line(&Note::Output {
            host: host.name.clone(),
            line,
        });
    };
    let mut sink = |piece| {
        if let Piece::Data(data) = piece {
            lines.take(&data, &show);
        }
    };
    let status = session
        .run(&script, &[], Duration::from_secs(args.timeout.max(1)), &mut sink)
        .await;
    lines.end(&show);
    session.close(false).await;
    status
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Longest line that is kept together, bytes.
    const LONGEST: usize = 16 * 1024;

    fn take(&mut self, data: &[u8], show: &impl Fn(&str)) {
        self.0.extend_from_slice(data);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            show(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        }
        if self.0.len() > Self::LONGEST {
            self.end(show);
        }
    }

    fn end(&mut self, show: &impl Fn(&str)) {
        if !self.0.is_empty() {
            show(&String::from_utf8_lossy(&self.0));
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use std::cell::RefCell;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let seen = RefCell::new(Vec::new());
        let show = |line: &str| seen.borrow_mut().push(line.to_owned());
        let mut lines = Lines::default();
        for part in ["on", "e\r\ntwo\n\nthr", "ee"] {
            lines.take(part.as_bytes(), &show);
        }
        lines.end(&show);
        assert_eq!(seen.into_inner(), ["one", "two", "", "three"]);
    }
}
