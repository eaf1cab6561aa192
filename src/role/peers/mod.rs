//! What hosts of a cluster may ask of each other, over ssh: one user, a key for each circle of hosts that have something to
//! ask of their like, and a list of answers that the key is held to.

pub mod identity;

use std::path::Path;

use serde_json::json;

use super::{Role, Scope, files, frappe};
use crate::error::Result;
use crate::inventory::{App, Host, HostRole};
use crate::resource::{Block, File, Group, OnlyBlocks, TOGETHER, User, Validator};
use crate::topology::{HostView, Topology};
use identity::Identity;

/// The role.
pub const ROLE: Role = Role {
    name: "peers",
    applies: |view| circles(view).next().is_some(),
    declare,
};

/// The user that peers log in as.
const USER: &str = "hactl-peer";
/// Its number, the same on every host; below those of people and of the app's user.
const UID: u32 = 989;
const HOME: &str = "/var/lib/hactl/peer";
const KNOWN_HOSTS: &str = "/etc/hactl/peer.known_hosts";
const ANSWERS: &str = "/usr/local/lib/hactl/peer";

/// Hosts that ask each other: an application's host has no business with a database's copy of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circle {
    /// MariaDB's hosts: a copy of all databases.
    Databases,
    /// Those that run the application: releases, the state of an update, files of the sites.
    Apps,
}

impl Circle {
    const ALL: [Circle; 2] = [Circle::Databases, Circle::Apps];

    fn holds(self, view: &HostView) -> bool {
        match self {
            Circle::Databases => view.has(HostRole::Db),
            Circle::Apps => view.runs_app(),
        }
    }

    /// Its hosts; none where nobody has a peer.
    fn hosts(self, topology: Topology<'_>) -> Vec<&Host> {
        let hosts: Vec<_> = topology
            .hosts()
            .filter(|view| self.holds(view))
            .map(|view| view.host)
            .collect();
        if hosts.len() > 1 { hosts } else { Vec::new() }
    }

    fn purpose(self) -> &'static str {
        match self {
            Circle::Databases => "ssh",
            Circle::Apps => "ssh/app",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Circle::Databases => "/etc/hactl/peer.key",
            Circle::Apps => "/etc/hactl/peer-app.key",
        }
    }

    fn answers(self) -> String {
        match self {
            Circle::Databases => ANSWERS.to_owned(),
            Circle::Apps => format!("{ANSWERS}-app"),
        }
    }
}

/// The circles that a host is in.
fn circles<'a>(view: &HostView<'a>) -> impl Iterator<Item = Circle> + use<'a> {
    let view = *view;
    Circle::ALL
        .into_iter()
        .filter(move |circle| circle.holds(&view) && !circle.hosts(view.topology).is_empty())
}

/// Hosts that this one must recognize, itself among them.
pub fn acquainted<'a>(topology: Topology<'a>, host: &'a Host) -> Vec<&'a Host> {
    let circles: Vec<_> = circles(&HostView { topology, host }).collect();
    let known = |view: &HostView| circles.iter().any(|circle| circle.holds(view));
    topology.hosts().filter(known).map(|view| view.host).collect()
}

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

/// Words of a command that logs in to another host of the circle, all but who and where.
pub fn ssh(circle: Circle, host: &Host) -> Vec<String> {
    let mut words: Vec<String> = ["ssh", "-F", "none", "-T", "-i", circle.key()]
        .map(str::to_owned)
        .to_vec();
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
    words.extend(["-l".to_owned(), USER.to_owned()]);
    words
}

/// Words of a command that runs what is added to it on another host of the circle, as far as that allows it.
pub fn reach(circle: Circle, host: &Host) -> Vec<String> {
    let mut words = ssh(circle, host);
    words.push(host.address.to_string());
    words
}

/// The other hosts that run the application, for one that does.
pub fn other_apps<'a>(view: &HostView<'a>) -> Vec<&'a Host> {
    if !view.runs_app() {
        return Vec::new();
    }
    let mut hosts = Circle::Apps.hosts(view.topology);
    hosts.retain(|host| host.name != view.host.name);
    hosts
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["openssh-client", "sudo"]);
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
    let identity = identity(scope)?;
    let (mut allowed, mut rules) = (String::new(), Vec::new());
    for circle in circles(&scope.view) {
        let ssh = identity.ssh(circle.purpose())?;
        // The app's user takes releases and files by itself; root has no business in folders of that user's.
        let (group, mode) = match circle {
            Circle::Databases => ("root".to_owned(), 0o600),
            Circle::Apps => (scope.inventory().app.process().user.clone(), 0o640),
        };
        scope.add(File::new(circle.key(), ssh.private).owned("root", &group, mode));
        allowed.push_str(&format!("restrict,command=\"{}\" {}\n", circle.answers(), ssh.public));
        match circle {
            Circle::Databases => databases(scope, &mut rules)?,
            Circle::Apps => apps(scope, &mut rules)?,
        }
    }
    let mut sudoers = scope
        .file(
            "/etc/sudoers.d/hactl-peer",
            "peers/sudoers",
            &json!({ "user": USER, "rules": rules }),
        )?
        .owned("root", "root", 0o440);
    sudoers.validator = Some(Validator {
        name: "visudo".into(),
        tree: None,
        check: "visudo -cqf \"$FILE\"".into(),
    });
    scope.add(sudoers);
    scope.add(File::new(
        Path::new(HOME).join(".ssh/authorized_keys").display().to_string(),
        allowed,
    ));
    let known = acquainted(scope.view.topology, scope.view.host);
    scope.add(OnlyBlocks {
        path: KNOWN_HOSTS.into(),
        names: known.iter().map(|host| host.name.clone()).collect(),
    });
    // A block for each peer: one that could not be asked now keeps the key it had.
    for (name, key) in &scope.view.topology.live.ssh_keys {
        if known.iter().any(|host| host.name == *name) {
            scope.add(Block {
                path: KNOWN_HOSTS.into(),
                name: name.clone(),
                text: format!("{name} {key}\n"),
            });
        }
    }
    Ok(())
}

/// A command that answers, and as whom it may be run for that.
fn rule(run_as: &str, command: &str) -> serde_json::Value {
    json!({ "as": run_as, "command": command })
}

fn databases(scope: &mut Scope, rules: &mut Vec<serde_json::Value>) -> Result<()> {
    let (copy, binlog) = (format!("{ANSWERS}-mariadb-backup"), format!("{ANSWERS}-binlog"));
    for (path, template) in [
        (ANSWERS, "peers/answers"),
        (&*copy, "peers/mariadb-backup"),
        (&*binlog, "peers/binlog"),
    ] {
        let file = scope.file(path, template, &json!({}))?.owned("root", "root", 0o755);
        scope.add(file);
    }
    for answer in [copy, binlog] {
        rules.push(rule("root", &format!("{answer} \"\"")));
    }
    Ok(())
}

fn apps(scope: &mut Scope, rules: &mut Vec<serde_json::Value>) -> Result<()> {
    let process = scope.inventory().app.process();
    let (take, give) = (format!("{ANSWERS}-take"), format!("{ANSWERS}-files"));
    let context = json!({
        "path": scope.inventory().app.path(),
        "together": TOGETHER,
        "user": process.user,
        "take": take,
        "takes": matches!(scope.inventory().app, App::Frappe(_)),
        "files": files::shared(&scope.view).then_some(&give),
    });
    let file = scope.file(&Circle::Apps.answers(), "peers/app", &context)?;
    scope.add(file.owned("root", "root", 0o755));
    if let App::Frappe(frappe) = &scope.inventory().app {
        let context = json!({ "path": frappe.path, "system": frappe::system(frappe) });
        let file = scope.file(&take, "peers/take", &context)?;
        scope.add(file.owned("root", "root", 0o755));
        rules.push(rule(&process.user, &format!("{take} \"\"")));
    }
    if files::shared(&scope.view) {
        let modules = scope.file(
            files::MODULES,
            "files/rsyncd.conf",
            &json!({ "path": scope.inventory().app.path(), "configuration": scope.view.topology.is_pair() }),
        )?;
        scope.add(modules);
        let file = scope.file(&give, "peers/files", &json!({ "modules": files::MODULES }))?;
        scope.add(file.owned("root", "root", 0o755));
        rules.push(rule(&process.user, &format!("{give} \"\"")));
    }
    Ok(())
}
