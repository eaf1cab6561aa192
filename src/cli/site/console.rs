//! `hactl site console`

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use super::super::ssh;
use super::known;
use crate::error::{Error, Result};
use crate::inventory::{App, Become, Inventory, Ssh, TransportKind};
use crate::quote::sh_words;
use crate::role::app;
use crate::topology::{HostView, Topology};

/// Open a Python console of a site on its host
///
/// Of Frappe its own console, connected to the site; of a WSGI app Python with the app's packages and environment. What is
/// piped in is run instead of asked for. Exits with the console's status.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site
    name: String,
    #[command(flatten)]
    inventory: InventoryArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let inventory = context.inventory(&args.inventory)?.inventory;
    known(&inventory, &args.name)?;
    let host = Topology::of(&inventory)
        .hosts()
        .find(app::leads)
        .map(|view: HostView| view.host)
        .ok_or_else(|| Error::usage("no host of the inventory runs the app").hint("give one the role `app`"))?;
    let command = command(&inventory, &args.name);
    let argv = match host.ssh.transport {
        TransportKind::Local => ["sh", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain([elevated(&host.ssh, &command)])
            .collect(),
        _ => {
            let mut argv = ssh::argv(host, context.global.accept_new_host_keys)?;
            let tty = if std::io::stdin().is_terminal() { "-t" } else { "-T" };
            argv.insert(1, tty.to_owned());
            argv.push(elevated(&host.ssh, &command));
            argv
        }
    };
    let (program, rest) = argv.split_first().ok_or_else(|| Error::internal("no command to run"))?;
    // Only returns when it failed.
    let error = Command::new(program).args(rest).exec();
    Err(Error::internal(format!("cannot run {program}: {error}")).hint("apt-get install openssh-client"))
}

/// What root runs: the console as the app's user, in the release that is in service.
fn command(inventory: &Inventory, site: &str) -> String {
    let process = inventory.app.process();
    let home = format!("HOME={}", app::home(process));
    let mut words = vec!["runuser", "-u", &process.user, "--", "env", &home];
    let wrapper = match &inventory.app {
        App::Frappe(frappe) => format!("{}/run", frappe.path),
        App::Wsgi(wsgi) => format!("{}/run", wsgi.path),
    };
    words.push(&wrapper);
    match &inventory.app {
        App::Frappe(_) => words.extend([
            "python",
            "-m",
            "frappe.utils.bench_helper",
            "frappe",
            "--site",
            site,
            "console",
        ]),
        App::Wsgi(_) => words.push("python"),
    }
    // From a folder that the app's user may be in.
    format!("cd / && exec {}", sh_words(words))
}

/// A line for the login shell. sudo asks on the terminal when it wants a password.
fn elevated(ssh: &Ssh, command: &str) -> String {
    let words: &[&str] = match ssh.become_root {
        Become::None => return command.to_owned(),
        Become::Sudo => &["sudo", "-n", "sh", "-c", command],
        Become::SudoPassword => &["sudo", "sh", "-c", command],
    };
    sh_words(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::testing::{FRAPPE, GUESTBOOK, inventory};

    #[test]
    fn the_console_is_the_apps() {
        let said = |text: &str, site: &str| command(&inventory(text), site);
        assert_eq!(
            said(FRAPPE, "erp.example.com"),
            "cd / && exec runuser -u frappe -- env 'HOME=/home/frappe' /srv/frappe/bench/run python -m \
             frappe.utils.bench_helper frappe --site erp.example.com console"
        );
        assert_eq!(
            said(GUESTBOOK, "erp.example.com"),
            "cd / && exec runuser -u app -- env 'HOME=/home/app' /srv/guestbook/run python"
        );
    }
}
