//! `backup` as written → as hactl uses it.

use super::model::{Backup, Keep, Store, Target};
use super::raw::{RawBackup, RawTarget};
use super::rules as own;
use crate::inventory::build::check::Check;
use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::SecretRef;
use crate::inventory::rules;
use crate::inventory::yaml::{At, SecretText};
use crate::secret::Secret;

/// `backup`.
pub fn build(check: &mut Check, raw: &At<RawBackup>, cluster: &str) -> Option<Backup> {
    let (backup, span) = raw.get()?;
    check.missing(&backup.targets, "targets", "`backup`", span);
    let targets = targets(check, backup, cluster);
    let away = |target: &Target| !matches!(target.store, Store::Directory { .. });
    if let (Some((given, span)), false) = (backup.targets.get(), targets.iter().any(away))
        // What was refused may be one.
        && targets.len() == given.0.len()
    {
        check.report(match targets.is_empty() {
            true => Diagnostic::new("inventory::missing", "no target: copies go nowhere").at(span, "name at least one"),
            false => Diagnostic::warning("inventory::backup", "every copy is in a folder of the hosts themselves")
                .at(span, "no other machine")
                .help(
                    "a lost disk takes such copies along, unless the folder is mounted from elsewhere; add a target of kind ssh, s3, gs or azure",
                ),
        });
    }
    let empty = super::raw::RawKeep::default();
    let keep = backup.keep.value.as_ref().unwrap_or(&empty);
    Some(Backup {
        targets,
        at: check
            .text(&backup.at, own::time_of_day)
            .and_then(|text| own::clock(&text))
            .unwrap_or((2, 0)),
        full_days: check.number(&backup.full_days, 7, 1, 90),
        binlog_seconds: check.number(&backup.binlog_seconds, 60, 10, 86_400),
        files_minutes: check.number(&backup.files_minutes, 60, 1, 10_080),
        keep: Keep {
            daily: check.number(&keep.daily, 7, 1, 3_660),
            weekly: check.number(&keep.weekly, 5, 0, 520),
            monthly: check.number(&keep.monthly, 12, 0, 240),
            binlog_days: check.number(&keep.binlog_days, 14, 1, 3_660),
        },
        limit_upload: check.optional(&backup.limit_upload, 1, 100_000_000),
    })
}

fn targets(check: &mut Check, backup: &RawBackup, cluster: &str) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let given = backup
        .targets
        .value
        .as_ref()
        .map_or(&[][..], |entries| entries.0.as_slice());
    for (key, value) in given {
        let Some((name, name_span)) = key.get() else { continue };
        if let Err(why) = rules::word(name) {
            check.refuse(name, &why, name_span);
        }
        check.empty(value, &format!("target `{name}`"), name_span);
        let Some((raw, span)) = value.get() else { continue };
        let owner = Owner {
            name,
            cluster,
            span,
            label: format!("target `{name}`"),
        };
        targets.push(Target {
            name: name.clone(),
            store: owner.store(check, raw),
        });
    }
    targets
}

struct Owner<'a> {
    name: &'a str,
    cluster: &'a str,
    span: Span,
    label: String,
}

impl Owner<'_> {
    fn store(&self, check: &mut Check, raw: &RawTarget) -> Store {
        let (owner, span) = (self.label.as_str(), self.span);
        match raw {
            RawTarget::Directory(raw) => Store::Directory {
                path: check.required(&raw.path, "path", owner, span, rules::host_path),
            },
            RawTarget::Ssh(raw) => Store::Ssh {
                host: check.required(&raw.host, "host", owner, span, own::machine),
                port: check.port(&raw.port, 22),
                user: check.required(&raw.user, "user", owner, span, rules::user),
                path: check.required(&raw.path, "path", owner, span, rules::host_path),
                key: self.secret(check, &raw.key, "key"),
                host_key: check.required(&raw.host_key, "host_key", owner, span, own::host_key),
            },
            RawTarget::S3(raw) => {
                let endpoint = check.text(&raw.endpoint, own::s3_endpoint);
                Store::S3 {
                    endpoint: endpoint.unwrap_or_else(|| "https://s3.amazonaws.com".to_owned()),
                    bucket: check.required(&raw.bucket, "bucket", owner, span, own::bucket),
                    path: self.folder(check, &raw.path),
                    region: check.text(&raw.region, own::region),
                    id: self.public(check, &raw.access_key_id, "access_key_id"),
                    key: self.secret(check, &raw.secret_access_key, "secret_access_key"),
                }
            }
            RawTarget::Gs(raw) => Store::Gs {
                bucket: check.required(&raw.bucket, "bucket", owner, span, own::bucket),
                path: self.folder(check, &raw.path),
                credentials: self.secret(check, &raw.credentials, "credentials"),
            },
            RawTarget::Azure(raw) => Store::Azure {
                account: check.required(&raw.account, "account", owner, span, own::azure_account),
                key: self.secret(check, &raw.key, "key"),
                container: check.required(&raw.container, "container", owner, span, own::bucket),
                path: self.folder(check, &raw.path),
            },
        }
    }

    fn folder(&self, check: &mut Check, raw: &At<String>) -> String {
        let given = check.text(raw, own::folder);
        given.unwrap_or_else(|| self.cluster.to_owned())
    }

    fn secret(&self, check: &mut Check, raw: &At<SecretText>, key: &str) -> SecretRef {
        check.missing(raw, key, &self.label, self.span);
        let canonical = format!("backup/{}/{key}", self.name);
        // Where the file has an error it never becomes an inventory.
        let secret = check.secret(raw, &canonical);
        secret.unwrap_or_else(|| SecretRef::Literal(Secret::new("")))
    }

    /// The id of a key is no secret, though it often comes from where secrets do.
    fn public(&self, check: &mut Check, raw: &At<SecretText>, key: &str) -> SecretRef {
        match raw.get() {
            Some((text, _)) if text.tag.is_none() && !text.text.trim().is_empty() => {
                SecretRef::Literal(Secret::new(text.text.trim()))
            }
            _ => self.secret(check, raw, key),
        }
    }
}
