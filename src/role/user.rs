//! Roles of the user: the same resources as those of built-in ones, declared in YAML (see [`crate::inventory::roles`]).

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::app::{self, Supervised};
use super::{ROLES, Scope, Templates, passwords};
use crate::error::{Error, Kind, Result};
use crate::inventory::roles::{RoleCommand, RoleFile, RoleProgram, RoleService, UserRole};
use crate::inventory::{App, Inventory, suggest};
use crate::resource::{
    Command, File, Group, Guard, OnChange, Package, Service, Source, Spec, Sysctl, User, Validator, file::sha256,
};
use crate::secret::Text;

/// A role in the order of all.
#[derive(Clone, Copy)]
pub enum Entry<'a> {
    /// Built in.
    BuiltIn(&'static super::Role),
    /// The user's.
    User(&'a UserRole),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Entry::BuiltIn(role) => role.name,
            Entry::User(role) => &role.name,
        }
    }
}

/// Built-in roles with the user's among them: each right after the one that it names, the others at the end, in the order
/// of their use.
///
/// # Errors
/// A name that a built-in role has; an `after` that leads nowhere.
pub fn order(inventory: &Inventory) -> Result<Vec<Entry<'_>>> {
    let mut order: Vec<Entry> = ROLES.iter().map(Entry::BuiltIn).collect();
    let mut waiting: Vec<&UserRole> = inventory.roles.values().collect();
    for role in &waiting {
        let taken = ROLES.iter().any(|built_in| built_in.name == role.name) || role.name == inventory.app.name();
        if taken {
            let message = format!("{}: there is a built-in role `{}`", role.shown, role.name);
            return Err(Error::usage(message).hint("rename the file, and what uses it"));
        }
    }
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|role| {
            let Some((after, _)) = &role.after else {
                // The end of a rotation comes last of all: what a role of the user's puts into its files is the new value
                // by then.
                let end = order.iter().position(|entry| entry.name() == passwords::ROLE.name);
                order.insert(end.unwrap_or(order.len()), Entry::User(role));
                return false;
            };
            let Some(at) = order.iter().position(|entry| entry.name() == after) else {
                return true;
            };
            // Behind those that are there for the same reason, so that the order of use counts.
            let same = |entry: &&Entry| matches!(entry, Entry::User(other) if other.after.as_ref().is_some_and(|(a, _)| a == after));
            let behind = order[at + 1..].iter().take_while(same).count();
            order.insert(at + 1 + behind, Entry::User(role));
            false
        });
        if waiting.len() == before {
            return Err(nowhere(&waiting, &order));
        }
    }
    Ok(order)
}

/// Why the first role that is left cannot be placed.
fn nowhere(waiting: &[&UserRole], order: &[Entry]) -> Error {
    let left = waiting.first().and_then(|role| Some((role, role.after.as_ref()?)));
    let Some((role, (after, place))) = left else {
        return Error::internal("a role without `after` was not placed");
    };
    if waiting.iter().any(|other| other.name == *after) {
        let names: Vec<&str> = waiting.iter().map(|role| role.name.as_str()).collect();
        return Error::usage(format!(
            "{place}: each of the roles {} waits for another one of them",
            suggest::list(&names)
        ))
        .hint("take one `after` out");
    }
    let known = order
        .iter()
        .chain([])
        .map(|entry| entry.name())
        .filter(|name| *name != role.name);
    Error::usage(format!("{place}: there is no role `{after}`")).hint(suggest::among(after, known))
}

/// A name that lives as long as the process: plans and events carry names of roles as the built-in ones are. A process
/// reads few inventories, so that little is kept for ever.
pub fn interned(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match names.get(name) {
        Some(known) => known,
        None => {
            let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
            names.insert(kept);
            kept
        }
    }
}

/// Declares what the role says.
///
/// # Errors
/// A template that does not render; programs on a host without the app.
pub fn declare(scope: &mut Scope, role: &UserRole) -> Result<()> {
    for name in &role.packages {
        scope.add(Package { name: name.clone() });
    }
    for (name, gid) in &role.groups {
        scope.add(Group {
            name: name.clone(),
            gid: *gid,
        });
    }
    for user in &role.users {
        scope.add(Group {
            name: user.name.clone(),
            gid: user.uid,
        });
        scope.add(User {
            name: user.name.clone(),
            uid: user.uid,
            home: user.home.clone(),
            shell: user.shell.clone(),
            groups: Some(user.groups.clone()),
        });
    }
    for at in &role.directories {
        scope.directory(&at.path, &at.owner, &at.group, at.mode.unwrap_or(0o755));
    }
    let context = context(scope, role);
    for file in &role.files {
        let file = self::file(scope, file, &context)?;
        scope.add(file);
    }
    for (path, target) in &role.links {
        scope.link(path, target);
    }
    for path in &role.absent {
        scope.absent(path);
    }
    for (key, value) in &role.sysctls {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        scope.add(Sysctl {
            key: key.clone(),
            value,
        });
    }
    for command in &role.commands {
        scope.add(self::command(role, command));
    }
    for service in &role.services {
        let service = self::service(scope, role, service, &context)?;
        scope.add(service);
    }
    programs(scope, role)
}

/// What templates of users know. Documented in docs/user-roles.md: names only come, none goes.
fn context(scope: &Scope, role: &UserRole) -> Value {
    let inventory = scope.inventory();
    let host = |host: &crate::inventory::Host| {
        let roles: Vec<_> = host.roles.iter().map(|role| role.word()).collect();
        json!({ "name": host.name, "address": host.address, "roles": roles })
    };
    let kind = match &inventory.app {
        App::Frappe(_) => "frappe",
        App::Wsgi(_) => "wsgi",
    };
    let sites = inventory
        .sites
        .iter()
        .map(|site| json!({ "name": site.name, "aliases": site.aliases }));
    json!({
        "role": role.name,
        "cluster": inventory.cluster,
        "host": host(scope.view.host),
        "hosts": inventory.hosts.values().map(host).collect::<Vec<_>>(),
        "sites": sites.collect::<Vec<_>>(),
        "app": { "kind": kind, "name": inventory.app.name(), "user": inventory.app.process().user },
        "facts": {
            "os": scope.facts.os,
            "os_version": scope.facts.os_version,
            "cpus": scope.facts.cpus,
            "memory_mb": scope.facts.memory_mb,
            "arch": scope.facts.arch,
        },
    })
}

fn file(scope: &Scope, file: &RoleFile, context: &Value) -> Result<File> {
    let (text, source) = render(scope, &file.shown, &file.text, context)?;
    let mode = file.at.mode.unwrap_or(if text.is_secret() { 0o600 } else { 0o644 });
    let validator = file.check.as_ref().map(|check| Validator {
        name: format!("check of {}", file.at.path),
        tree: None,
        check: check.clone(),
    });
    Ok(File {
        source: Some(source),
        validator,
        ..File::new(&file.at.path, text).owned(&file.at.owner, &file.at.group, mode)
    })
}

fn command(role: &UserRole, command: &RoleCommand) -> Command {
    let mut guards = Vec::new();
    guards.extend(command.creates.clone().map(Guard::Exists));
    guards.extend(command.unless.clone().map(Guard::Passes));
    if let Some(value) = &command.once {
        // What it does may be said in any words; a file name is made of few.
        let digest = sha256(command.name.as_bytes());
        guards.push(Guard::Stamp {
            path: format!("/var/lib/hactl/stamps/{}.{}", role.name, &digest[..16]),
            value: value.clone(),
        });
    }
    Command {
        name: format!("{}: {}", role.name, command.name),
        guards,
        run: command.run.clone(),
        user: command.user.clone(),
        dir: command.dir.clone(),
        env: command.env.clone(),
        input: None,
        deadline: command.timeout,
        creates: command.makes.clone(),
    }
}

fn service(scope: &Scope, role: &UserRole, service: &RoleService, context: &Value) -> Result<Service> {
    let health = match &service.health {
        None => format!("systemctl is-active {}", crate::quote::sh(&service.unit)),
        Some(text) => {
            let shown = format!("{}: health of {}", role.shown, service.unit);
            let (text, _) = render(scope, &shown, text, context)?;
            let plain = text.shown().map(str::to_owned);
            plain.ok_or_else(|| {
                Error::usage(format!(
                    "{shown}: a test holds no secrets, since its words can be seen while it runs"
                ))
                .hint("put the secret into a file of the role, and let the test read it")
            })?
        }
    };
    Ok(Service {
        unit: service.unit.clone(),
        watches: service.watches.clone(),
        on_change: if service.reloads {
            OnChange::Reload
        } else {
            OnChange::Restart
        },
        health,
        patience: service.patience,
        forgets: Vec::new(),
    })
}

fn render(scope: &Scope, shown: &str, text: &str, context: &Value) -> Result<(Text, Source)> {
    let template = Templates::single(shown, text)?;
    scope.render(&template, context).map_err(|error| match error.kind {
        // For hactl's own templates that is a defect; a user may well name a secret that is not there.
        Kind::Internal => Error::usage(format!("{shown}: {}", error.message)),
        _ => error,
    })
}

fn programs(scope: &mut Scope, role: &UserRole) -> Result<()> {
    if role.programs.is_empty() {
        return Ok(());
    }
    if !scope.view.runs_app() {
        return Err(Error::usage(format!(
            "{}: `programs` run under supervisord, which only hosts with the app have; {} has none",
            role.shown, scope.view.host.name
        ))
        .hint("use the role on hosts with the role `app` or `worker`, or declare a service"));
    }
    let supervised = |program: &RoleProgram| Supervised {
        name: program.name.clone(),
        command: vec!["sh".into(), "-c".into(), program.command.clone()],
        directory: program.dir.clone(),
        count: program.count,
        priority: 300,
        stopwaitsecs: program.stop_seconds,
        // The shell between supervisord and the command passes no signal on.
        stop_group: true,
        ..Supervised::default()
    };
    let programs: Vec<Supervised> = role.programs.iter().map(supervised).collect();
    let patience = std::time::Duration::from_secs(60);
    app::supervise(
        scope,
        &app::Group {
            name: role.name.clone(),
            programs,
            watches: role.paths(),
            health: "true".into(),
            patience,
        },
    )
}

/// What two roles declare as the same: packages and directories may be, of everything else only one can be meant.
///
/// # Errors
/// Names the role that has it already.
pub fn collision(inventory: &Inventory, first: &'static str, second: &crate::resource::Resource) -> Result<()> {
    let of_user = |name: &str| inventory.roles.contains_key(name);
    let shareable = matches!(second.spec, Spec::Package(_) | Spec::Directory(_) | Spec::Group(_));
    if shareable || !(of_user(first) || of_user(second.role)) {
        return Ok(());
    }
    let id = second.spec.kind().id();
    let (own, other) = if of_user(second.role) {
        (second.role, first)
    } else {
        (first, second.role)
    };
    let shown = inventory.roles.get(own).map_or(own, |role| role.shown.as_str());
    let error = Error::usage(format!("{shown}: `{id}` belongs to the role `{other}`"));
    Err(match of_user(other) {
        true => error.hint("declare it in one of the two"),
        false => {
            error.hint("change built-in files by a template override (docs/templates.md), or knobs of the inventory")
        }
    })
}
