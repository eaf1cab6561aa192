//! Backups that go to another machine: here the host of the application, which restores do not touch.

use super::stack::{Options, Stack};

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker, redis ] }
  db1: { address: NET.31, roles: [ db ], primary: true }
  db2: { address: NET.32, roles: [ db ] }
";

/// An application's host and two databases, booted; their inventory says where backups go.
pub fn cluster(subnet: u8) -> Stack {
    let stack = Stack::with(Options {
        hosts: HOSTS,
        ..Options::warm(subnet)
    });
    let key = stack.folder().join("vault_key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.expect("ssh-keygen").success());
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("a key");
    stack.on(
        "11",
        &format!(
            "umask 077; echo {} >>/root/.ssh/authorized_keys",
            hactl::quote::sh(public.trim())
        ),
    );
    let host_key = stack.on("11", "cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    // No timer of the day goes off while this runs.
    let minute = (jiff::Timestamp::now().as_second() / 60 + 40) % 60;
    let backup = format!(
        "backup:\n  at: '00:{minute:02}'\n  targets:\n    vault: {{ kind: ssh, host: 10.77.{subnet}.11, user: root, path: /srv/vault, \
         key: !secret file:vault_key, host_key: {host_key:?} }}\n"
    );
    let inventory = std::fs::read_to_string(&stack.inventory).expect("the inventory");
    std::fs::write(&stack.inventory, inventory + &backup).expect("the inventory");
    stack
}

/// Name of the newest good copy of the database.
pub fn newest(stack: &Stack) -> String {
    let said = stack.hactl(&["backup", "list", "--format", "json"]).exits(0);
    let runs: Vec<String> = said
        .events()
        .iter()
        .filter_map(|event| event["run"].as_str().map(str::to_owned))
        .filter(|run| run.contains("-db"))
        .collect();
    runs.last().expect("a backup").clone()
}
