//! `ssh`: the inventory's own, and a host's entries over it.

use crate::inventory::diagnostics::Diagnostic;
use crate::inventory::model::{Become, SecretRef, Ssh, TransportKind};
use crate::inventory::raw::{RawBecome, RawBecomeWord, RawSsh, RawTransport};
use crate::inventory::rules;
use crate::inventory::yaml::{At, Either};

use super::check::Check;

/// The inventory's `ssh`, and the password that `become` names.
pub fn global(check: &mut Check, raw: &At<RawSsh>) -> (Ssh, Option<SecretRef>) {
    let default = Ssh {
        user: "root".to_owned(),
        port: 22,
        identity_file: None,
        known_hosts: None,
        jump: None,
        become_root: Become::None,
        transport: TransportKind::Auto,
        connect_timeout: 10,
    };
    let ssh = merged(check, raw, &default);
    let password = raw
        .value
        .as_ref()
        .and_then(|ssh| password(&ssh.become_root))
        .and_then(|at| check.secret(at, "become_password"));
    (ssh, password)
}

/// A host's own entries over the inventory's.
pub fn of_host(check: &mut Check, raw: &At<RawSsh>, global: &Ssh) -> Ssh {
    if let Some(at) = raw.value.as_ref().and_then(|ssh| password(&ssh.become_root)) {
        check.report(
            Diagnostic::new("inventory::become", "there is one sudo password for all hosts")
                .at(at.span, "not possible for a single host")
                .help("move it to the inventory's own `ssh: { become: { password: !secret NAME } }` and write `become: password` here"),
        );
    }
    merged(check, raw, global)
}

fn password(raw: &At<RawBecome>) -> Option<&At<crate::inventory::yaml::SecretText>> {
    match raw.value.as_ref()? {
        Either::Map(map) => Some(&map.password),
        Either::Word(_) => None,
    }
}

fn merged(check: &mut Check, raw: &At<RawSsh>, under: &Ssh) -> Ssh {
    let Some((raw, _)) = raw.get() else {
        return under.clone();
    };
    let user = check.text(&raw.user, rules::user);
    let become_given = match raw.become_root.get() {
        Some((Either::Word(RawBecomeWord::Sudo | RawBecomeWord::True), _)) => Some(Become::Sudo),
        Some((Either::Word(RawBecomeWord::None | RawBecomeWord::False), _)) => Some(Become::None),
        Some((Either::Word(RawBecomeWord::Password), _)) => Some(Become::SudoPassword),
        Some((Either::Map(map), span)) => {
            check.missing(&map.password, "password", "`become`", span);
            Some(Become::SudoPassword)
        }
        None => None,
    };
    let become_root = become_given.unwrap_or_else(|| match user.as_deref() {
        Some("root") => Become::None,
        // A login that is not root cannot do the work; sudo without a password is what CI machines have.
        Some(_) if under.become_root == Become::None => Become::Sudo,
        _ => under.become_root,
    });
    let user = user.unwrap_or_else(|| under.user.clone());
    if let (Become::None, Some((_, span)), true) = (become_root, raw.become_root.get(), user != "root") {
        check.report(
            Diagnostic::new("inventory::become", format!("`{user}` is not root and must become it"))
                .at(span, "nothing can be installed without root")
                .help("write `become: sudo`, or log in as root"),
        );
    }
    let jump = match raw.jump.get() {
        // A host can be told to go without the jump host of the others.
        Some((text, _)) if text == "none" => None,
        Some(_) => check.text(&raw.jump, rules::jump),
        None => under.jump.clone(),
    };
    Ssh {
        user,
        port: check.port(&raw.port, under.port),
        identity_file: check.path(&raw.identity_file).or_else(|| under.identity_file.clone()),
        known_hosts: check.path(&raw.known_hosts).or_else(|| under.known_hosts.clone()),
        jump,
        become_root,
        transport: match raw.transport.value {
            None => under.transport,
            Some(RawTransport::Auto) => TransportKind::Auto,
            Some(RawTransport::Native) => TransportKind::Native,
            Some(RawTransport::Openssh) => TransportKind::OpenSsh,
            Some(RawTransport::Local) => TransportKind::Local,
        },
        connect_timeout: check.number(&raw.connect_timeout, under.connect_timeout, 1, 600),
    }
}
