//! Raw role → [`UserRole`]: defaults filled in, every rule checked.

use std::path::Path;
use std::time::Duration;

use super::model::{Owned, RoleCommand, RoleFile, RoleProgram, RoleService, RoleUser, UserRole};
use super::raw::{RawCommand, RawFile, RawOnChange, RawProgram, RawService, RawUser, RawUserRole};
use crate::inventory::build::check::{Check, Rule, Seen};
use crate::inventory::diagnostics::{Diagnostic, Source, Span};
use crate::inventory::raw::List;
use crate::inventory::rules;
use crate::inventory::yaml::{At, Entries, Lines};

/// Builds the role; what is wrong is in `check`. `templates` is the folder of its templates.
pub fn role(check: &mut Check, raw: &RawUserRole, name: &str, source: &Source, templates: &Path) -> UserRole {
    let after = check
        .text(&raw.after, rules::word)
        .map(|after| (after, source.place(raw.after.span)));
    let mut role = UserRole {
        name: name.to_owned(),
        shown: source.name.clone(),
        after,
        packages: check.texts(&raw.packages, rules::debian_package),
        absent: check.texts(&raw.absent, rules::host_path),
        sysctls: pairs(check, &raw.sysctls, "`sysctls`", rules::sysctl),
        ..UserRole::default()
    };
    for (group, span) in check.items(&raw.groups) {
        check.missing(&group.gid, "gid", "a group", span);
        let gid = check.number(&group.gid, 1000, 1, 4_000_000_000);
        let name = check.required(&group.name, "name", "a group", span, rules::user);
        role.groups.push((name, gid));
    }
    for (user, span) in check.items(&raw.users) {
        let user = self::user(check, user, span);
        role.users.push(user);
    }
    for (directory, span) in check.items(&raw.directories) {
        check.missing(&directory.path, "path", "a directory", span);
        let at = owned(
            check,
            [&directory.path, &directory.owner, &directory.group, &directory.mode],
        );
        role.directories.push(at);
    }
    for (file, span) in check.items(&raw.files) {
        let file = self::file(check, file, span, source, templates);
        role.files.extend(file);
    }
    for (link, span) in check.items(&raw.links) {
        let path = check.required(&link.path, "path", "a link", span, rules::host_path);
        let target = check.required(&link.target, "target", "a link", span, not_blank);
        role.links.push((path, target));
    }
    let mut seen = Seen::new("command");
    for (command, span) in check.items(&raw.commands) {
        let command = self::command(check, command, span);
        seen.add(check, &command.name, span);
        role.commands.push(command);
    }
    let paths = role.paths();
    for (service, span) in check.items(&raw.services) {
        let service = self::service(check, service, span, &paths);
        role.services.push(service);
    }
    let mut seen = Seen::new("program");
    for (program, span) in check.items(&raw.programs) {
        let program = self::program(check, program, span);
        seen.add(check, &program.name, span);
        role.programs.push(program);
    }
    role
}

fn not_blank(text: &str) -> Result<(), String> {
    match text.trim() {
        "" => Err("is empty".to_owned()),
        _ => Ok(()),
    }
}

/// Permission bits in octal.
fn mode(text: &str) -> Result<(), String> {
    let octal = (3..=5).contains(&text.len()) && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    if octal {
        Ok(())
    } else {
        Err("is no mode: permission bits in octal, such as 0644".to_owned())
    }
}

/// A unit that runs; `.service` when nothing else is said.
fn unit(text: &str) -> Result<(), String> {
    let known = [".service", ".socket", ".timer", ".path"];
    let stem = known.iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    let fine = !stem.is_empty()
        && stem.len() <= 128
        && !stem.starts_with(['-', '.'])
        && stem.chars().all(|c| c.is_ascii_alphanumeric() || "@_-.:".contains(c));
    if fine {
        Ok(())
    } else {
        Err("is no name of a systemd unit".to_owned())
    }
}

/// Path, owner, group and mode.
fn owned(check: &mut Check, [path, owner, group, bits]: [&At<String>; 4]) -> Owned {
    let owner = check.text(owner, rules::user).unwrap_or_else(|| "root".into());
    Owned {
        path: check.text(path, rules::host_path).unwrap_or_default(),
        group: check.text(group, rules::user).unwrap_or_else(|| owner.clone()),
        mode: check
            .text(bits, mode)
            .and_then(|text| u32::from_str_radix(&text, 8).ok()),
        owner,
    }
}

fn user(check: &mut Check, raw: &RawUser, span: Span) -> RoleUser {
    let name = check.required(&raw.name, "name", "a user", span, rules::user);
    check.missing(&raw.uid, "uid", "a user", span);
    RoleUser {
        uid: check.number(&raw.uid, 1000, 1, 4_000_000_000),
        home: check
            .text(&raw.home, rules::host_path)
            .unwrap_or_else(|| format!("/home/{name}")),
        shell: check
            .text(&raw.shell, rules::host_path)
            .unwrap_or_else(|| "/usr/sbin/nologin".into()),
        groups: check.texts(&raw.groups, rules::user),
        name,
    }
}

fn file(check: &mut Check, raw: &RawFile, span: Span, source: &Source, templates: &Path) -> Option<RoleFile> {
    check.missing(&raw.path, "path", "a file", span);
    let at = owned(check, [&raw.path, &raw.owner, &raw.group, &raw.mode]);
    let shell = check.text(&raw.check, not_blank);
    let (text, shown) = match (raw.text.get(), raw.template.get()) {
        (Some((text, _)), None) => (text.0.clone(), format!("{}: text of {}", source.name, at.path)),
        (None, Some((name, span))) => template(check, name, span, templates)?,
        (Some(_), Some((_, span))) => {
            let both = Diagnostic::new("inventory::role", "a file has either `template` or `text`");
            check.report(both.at(span, "and `text` is here, too"));
            return None;
        }
        (None, None) => {
            // What was of the wrong type has been reported.
            if raw.text.is_missing() && raw.template.is_missing() {
                let none = Diagnostic::new("inventory::missing", "a file needs `text` or `template`");
                check.report(none.at(span, "neither is here"));
            }
            return None;
        }
    };
    Some(RoleFile {
        at,
        text,
        shown,
        check: shell,
    })
}

/// Text of a template, and its path.
fn template(check: &mut Check, name: &str, span: Span, folder: &Path) -> Option<(String, String)> {
    if rules::inner_path(name).is_err() {
        check.refuse(name, "is no name of a template: a relative path without `..`", span);
        return None;
    }
    let plain = folder.join(name);
    let path = if plain.is_file() {
        plain
    } else {
        folder.join(format!("{name}.tera"))
    };
    match super::read(&path) {
        Ok(text) => Some((text, path.display().to_string())),
        Err(why) => {
            let message = format!("cannot read the template `{name}`: {why}");
            let help = format!("templates of roles are files in {}", folder.display());
            check.report(
                Diagnostic::new("inventory::role", message)
                    .at(span, "named here")
                    .help(help),
            );
            None
        }
    }
}

fn command(check: &mut Check, raw: &RawCommand, span: Span) -> RoleCommand {
    let guards = [&raw.creates, &raw.once];
    if guards.iter().all(|guard| guard.is_missing()) && raw.unless.is_missing() {
        check.report(
            Diagnostic::new("inventory::missing", "a command needs a guard")
                .at(span, "`creates`, `unless` or `once` is missing")
                .help("without one it would run at every apply: say how to see that it has been done"),
        );
    }
    RoleCommand {
        name: check.required(&raw.name, "name", "a command", span, not_blank),
        run: lines(check, &raw.run, "run", "a command", span),
        creates: check.text(&raw.creates, rules::host_path),
        unless: raw.unless.get().map(|(text, _)| text.0.clone()),
        once: check.text(&raw.once, not_blank),
        user: check.text(&raw.user, rules::user).filter(|user| user != "root"),
        dir: check.text(&raw.dir, rules::host_path),
        env: pairs(check, &raw.env, "`env`", rules::env_name),
        makes: check.texts(&raw.makes, rules::host_path),
        timeout: Duration::from_secs(check.number(&raw.timeout, 300, 1, 86_400)),
    }
}

fn lines(check: &mut Check, at: &At<Lines>, key: &str, owner: &str, span: Span) -> String {
    check.missing(at, key, owner, span);
    let Some((text, span)) = at.get() else {
        return String::new();
    };
    if let Err(why) = not_blank(&text.0) {
        check.refuse(&text.0, &why, span);
    }
    text.0.clone()
}

fn service(check: &mut Check, raw: &RawService, span: Span, paths: &[String]) -> RoleService {
    let mut name = check.required(&raw.unit, "unit", "a service", span, unit);
    if ![".service", ".socket", ".timer", ".path"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        name.push_str(".service");
    }
    let watches = if raw.watches.is_missing() {
        paths.to_vec()
    } else {
        watched(check, &raw.watches)
    };
    RoleService {
        unit: name,
        watches,
        reloads: raw.on_change.value == Some(RawOnChange::Reload),
        health: check.text(&raw.health, not_blank),
        patience: Duration::from_secs(check.number(&raw.patience, 30, 1, 3600)),
    }
}

fn watched(check: &mut Check, list: &List<String>) -> Vec<String> {
    check.texts(list, rules::host_path)
}

fn program(check: &mut Check, raw: &RawProgram, span: Span) -> RoleProgram {
    RoleProgram {
        name: check.required(&raw.name, "name", "a program", span, rules::word),
        command: check.required(&raw.command, "command", "a program", span, not_blank),
        count: check.number(&raw.count, 1, 1, 256),
        dir: check.text(&raw.dir, rules::host_path).unwrap_or_else(|| "/".into()),
        stop_seconds: check.number(&raw.stop_seconds, 40, 1, 3600),
    }
}

fn pairs(check: &mut Check, at: &At<Entries<String>>, owner: &str, rule: Rule) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in at.value.as_ref().map_or(&[][..], |entries| entries.0.as_slice()) {
        let Some((name, span)) = key.get() else { continue };
        if let Err(why) = rule(name) {
            check.refuse(name, &why, span);
        }
        check.missing(value, name, owner, span);
        pairs.push((name.clone(), value.value.clone().unwrap_or_default()));
    }
    pairs
}
