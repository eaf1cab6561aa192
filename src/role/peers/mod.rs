//! What hosts of a cluster may ask of each other, over ssh: one user, one key, and a list of answers that it is held to.

pub mod identity;

use std::path::Path;

use serde_json::json;

use super::{Role, Scope};
use crate::error::Result;
use crate::inventory::{Host, HostRole};
use crate::resource::{Block, File, Group, OnlyBlocks, User, Validator};
use identity::Identity;

/// The role.
pub const ROLE: Role = Role {
    name: "peers",
    applies: |view| view.topology.replicates() && view.has(HostRole::Db),
    declare,
};

/// The user that peers log in as.
const USER: &str = "hactl-peer";
/// Its number, the same on every host; below those of people and of the app's user.
const UID: u32 = 989;
const HOME: &str = "/var/lib/hactl/peer";
const KEY: &str = "/etc/hactl/peer.key";
const KNOWN_HOSTS: &str = "/etc/hactl/peer.known_hosts";
const ANSWERS: &str = "/usr/local/lib/hactl/peer";

/// What the cluster's keys are derived from.
///
/// # Errors
/// A missing secret.
pub fn identity(scope: &Scope) -> Result<Identity> {
    Ok(Identity::new(
        scope.secret(identity::SECRET)?,
        &scope.inventory().cluster,
    ))
}

/// Words of a command that runs what is added to it on another host of the cluster, as far as that allows it.
pub fn reach(host: &Host) -> Vec<String> {
    let mut words: Vec<String> = ["ssh", "-F", "none", "-T", "-i", KEY].map(str::to_owned).to_vec();
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "StrictHostKeyChecking=yes",
        "HostKeyAlgorithms=ssh-ed25519",
        &format!("UserKnownHostsFile={KNOWN_HOSTS}"),
        &format!("HostKeyAlias={}", host.name),
    ] {
        words.extend(["-o".to_owned(), option.to_owned()]);
    }
    words.extend(["-p".to_owned(), host.ssh.port.to_string()]);
    words.extend(["-l".to_owned(), USER.to_owned(), host.address.to_string()]);
    words
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["openssh-client", "sudo"]);
    let ssh = identity(scope)?.ssh()?;
    scope.add(Group {
        name: USER.into(),
        gid: UID,
    });
    scope.add(User {
        name: USER.into(),
        uid: UID,
        home: HOME.into(),
        shell: "/bin/sh".into(),
        groups: Some(Vec::new()),
    });
    for path in ["/etc/hactl", "/usr/local/lib/hactl", HOME, &format!("{HOME}/.ssh")] {
        scope.directory(path, "root", "root", 0o755);
    }
    for (path, template) in [
        (ANSWERS, "peers/answers"),
        (&*format!("{ANSWERS}-mariadb-backup"), "peers/mariadb-backup"),
    ] {
        let file = scope.file(path, template, &json!({}))?.owned("root", "root", 0o755);
        scope.add(file);
    }
    let mut sudoers = scope
        .file("/etc/sudoers.d/hactl-peer", "peers/sudoers", &json!({ "user": USER }))?
        .owned("root", "root", 0o440);
    sudoers.validator = Some(Validator {
        name: "visudo".into(),
        tree: None,
        check: "visudo -cqf \"$FILE\"".into(),
    });
    scope.add(sudoers);
    scope.add(File::new(KEY, ssh.private).owned("root", "root", 0o600));
    let line = format!("restrict,command=\"{ANSWERS}\" {}\n", ssh.public);
    scope.add(File::new(
        Path::new(HOME).join(".ssh/authorized_keys").display().to_string(),
        line,
    ));
    scope.add(OnlyBlocks {
        path: KNOWN_HOSTS.into(),
        names: scope
            .view
            .topology
            .with_role(HostRole::Db)
            .map(|host| host.name.clone())
            .collect(),
    });
    // A block for each peer: one that could not be asked now keeps the key it had.
    for (name, key) in &scope.view.topology.live.ssh_keys {
        scope.add(Block {
            path: KNOWN_HOSTS.into(),
            name: name.clone(),
            text: format!("{name} {key}\n"),
        });
    }
    Ok(())
}
