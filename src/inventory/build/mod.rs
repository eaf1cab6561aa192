//! Raw structures → [`Inventory`]: defaults filled in, every rule checked, every violation reported.
//!
//! Where something is wrong a stand-in value is used and building goes on, so that one run shows all errors; a file
//! with an error never becomes an inventory.

mod adopted;
mod app;
mod certbot;
pub(in crate::inventory) mod check;
mod hooks;
pub(in crate::inventory) mod hosts;
mod knobs;
mod ports;
mod power;
mod routes;
mod sites;
mod ssh;
mod survives;
mod vips;
mod workers;

use std::collections::BTreeMap;
use std::path::Path;

use super::backup;
use super::diagnostics::{Diagnostic, Source, Span};
use super::dns;
use super::model::{Inventory, SecretsFile};
use super::raw::RawInventory;
use super::rules;
use super::yaml::At;

use check::{Check, INVENTORY};

/// Builds the inventory; the caller decides by the severities whether it may be used.
pub fn inventory(raw: &RawInventory, path: &Path, source: &Source) -> (Inventory, Vec<Diagnostic>) {
    let base = path.parent().unwrap_or(Path::new("/"));
    let mut check = Check::new(base);
    let cluster = check.required(&raw.cluster, "cluster", INVENTORY, Span::default(), rules::cluster);
    let (ssh, become_password) = ssh::global(&mut check, &raw.ssh);
    let hosts = hosts::build(&mut check, &raw.hosts, &ssh);
    let vip = vips::build(&mut check, &raw.vip, &hosts, &raw.hosts);
    let dns = dns::build::build(&mut check, &raw.dns, &hosts, &raw.hosts);
    let backup = backup::build::build(&mut check, &raw.backup, &cluster);
    let app = app::build(&mut check, &raw.app);
    let sites = sites::build(&mut check, &raw.sites, &raw.tls, &app);
    let mariadb = knobs::mariadb(&mut check, &raw.mariadb);
    let redis = knobs::redis(&mut check, &raw.redis, &hosts);
    let memcached = knobs::memcached(&mut check, &raw.memcached);
    let nginx = knobs::nginx(&mut check, &raw.nginx, &hosts);
    let files = knobs::files(&mut check, &raw.files, &hosts, &app);
    let system = knobs::system(&mut check, &raw.system);
    let rolling = knobs::rolling(&mut check, &raw.rolling);
    let secrets = secrets(&mut check, raw);
    let mut inventory = Inventory {
        cluster,
        ssh,
        hosts,
        vip,
        dns,
        backup,
        app,
        sites,
        mariadb,
        redis,
        memcached,
        nginx,
        files,
        system,
        rolling,
        templates: check.path(&raw.templates),
        secrets,
        uses: hosts::uses(&mut check, raw),
        roles: indexmap::IndexMap::new(),
        hooks: hooks::build(&mut check, &raw.hooks),
        power: power::build(&mut check, &raw.crashplan),
        path: path.to_owned(),
        become_password,
        source: source.clone(),
        secret_spans: BTreeMap::new(),
    };
    hosts::check_workers(&mut check, &inventory, &raw.hosts);
    workers::check(&mut check, &inventory, &raw.hosts);
    routes::check_groups(&mut check, &inventory, raw);
    ports::check(&mut check, &inventory, raw);
    certbot::check(&mut check, &inventory, raw);
    knobs::check_replicas(&mut check, &inventory, raw);
    survives::warn(&mut check, raw, &inventory.hosts, &inventory.vip);
    adopted::check(&mut check, &inventory, raw);
    inventory.secret_spans = check.secret_spans;
    (inventory, check.list)
}

fn secrets(check: &mut Check, raw: &RawInventory) -> SecretsFile {
    let missing = At::default();
    let (file, recipients) = match raw.secrets.value.as_ref() {
        Some(secrets) => {
            let recipients = check.texts(&secrets.recipients, rules::recipient);
            (&secrets.file, recipients)
        }
        None => (&missing, Vec::new()),
    };
    let path = check.path(file).unwrap_or_else(|| check.base.join("secrets.age"));
    SecretsFile { path, recipients }
}
