//! `hactl ssh`

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::args::{InventoryArg, known_host};
use super::context::{Context, Ended};
use crate::error::{Error, Result};
use crate::inventory::{Host, Ssh, TransportKind};
use crate::quote::sh_words;
use crate::transport::native::jump::Spec;

/// Open a shell on a host
///
/// Becomes the system's ssh with the inventory's user, port, key, known_hosts and jump host.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host's name in the inventory
    host: String,
    #[command(flatten)]
    inventory: InventoryArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory(&args.inventory)?;
    known_host(&loaded.inventory, &args.host)?;
    let Some(host) = loaded.inventory.hosts.get(&args.host) else {
        return Err(Error::internal(format!("host {} is gone", args.host)));
    };
    let mut argv = match host.ssh.transport {
        TransportKind::Local => vec![std::env::var("SHELL").unwrap_or_else(|_| "sh".into())],
        _ => argv(host, context.global.accept_new_host_keys)?,
    };
    let program = argv.remove(0);
    // Only returns when it failed.
    let error = Command::new(&program).args(&argv).exec();
    Err(Error::internal(format!("cannot run {program}: {error}")).hint("apt-get install openssh-client"))
}

/// The command line.
pub(super) fn argv(host: &Host, accept_new: bool) -> Result<Vec<String>> {
    let ssh = &host.ssh;
    let mut argv = vec!["ssh".to_owned()];
    argv.extend(options(ssh, accept_new));
    argv.extend(["-l".into(), ssh.user.clone(), "-p".into(), ssh.port.to_string()]);
    if let Some(jump) = &ssh.jump {
        let spec = Spec::parse(jump).map_err(|why| Error::usage(format!("{}: {why}", host.name)))?;
        // `-J` would pass neither the key nor the known_hosts file on to the jump host.
        let mut proxy = vec!["ssh".to_owned()];
        proxy.extend(options(ssh, accept_new));
        proxy.extend(["-l".into(), spec.user.clone().unwrap_or_else(|| ssh.user.clone())]);
        if let Some(port) = spec.port {
            proxy.extend(["-p".into(), port.to_string()]);
        }
        let words = sh_words(&proxy).replace('%', "%%");
        let to = sh_words([&spec.host]).replace('%', "%%");
        argv.extend(["-o".into(), format!("ProxyCommand={words} -W '[%h]:%p' -- {to}")]);
    }
    argv.extend(["--".into(), host.address.to_string()]);
    Ok(argv)
}

fn options(ssh: &Ssh, accept_new: bool) -> Vec<String> {
    let mut argv = Vec::new();
    if let Some(key) = &ssh.identity_file {
        argv.extend(["-i".into(), key.display().to_string()]);
    }
    let checking = if accept_new { "accept-new" } else { "ask" };
    argv.extend(["-o".into(), format!("StrictHostKeyChecking={checking}")]);
    if let Some(file) = &ssh.known_hosts {
        argv.extend(["-o".into(), format!("UserKnownHostsFile={}", config_word(file))]);
        argv.extend(["-o".into(), "GlobalKnownHostsFile=/dev/null".into()]);
    }
    argv
}

/// A path as a value in ssh's configuration language.
fn config_word(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn command_line(host: &str) -> String {
        let text = format!(
            "cluster: a\nssh: {{ user: ops, port: 2222, identity_file: /k/id, known_hosts: '/k/known hosts' }}\n\
             hosts:\n  srv1: {{ address: 10.0.0.1, {host} }}\n\
             app: {{ kind: wsgi, url: 'https://example.com/a.git', ref: main, module: 'a:b' }}\n\
             sites: [ {{ name: a.example.com }} ]\n"
        );
        let loaded = crate::inventory::parse(&text, Path::new("/k/inventory.yml")).unwrap();
        super::argv(&loaded.inventory.hosts["srv1"], true).unwrap().join("\n")
    }

    #[test]
    fn the_inventory_decides_how_a_host_is_reached() {
        insta::assert_snapshot!(command_line("roles: [app, worker, db, redis]"));
    }

    #[test]
    fn a_jump_host_gets_the_same_key_and_known_hosts() {
        insta::assert_snapshot!(command_line("ssh: { jump: 'gate@192.0.2.1:22' }"));
    }
}
