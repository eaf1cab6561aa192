//! MariaDB: configuration from the host's memory, the app's databases and accounts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::peers::{self, Circle};
use super::{Role, Scope, app, replication, variables};
use crate::error::{Error, Result};
use crate::inventory::{HostRole, MariaDb};
use crate::quote::{sh, sh_words};
use crate::resource::{
    DataDirectory, Database, DatabaseAddresses, DatabaseServer, DatabaseUser, Facts, File, OnChange, Service,
    Validator, Writer, replica,
};
use crate::secret::Text;
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "mariadb",
    applies: |view| view.has(HostRole::Db),
    declare,
};

/// Read after Debian's `50-server.cnf`, so that what is set here counts.
const CONFIG: &str = "/etc/mysql/mariadb.conf.d/60-hactl.cnf";

/// Read after that; what it sets needs no restart.
const LIVE: &str = "/etc/mysql/mariadb.conf.d/61-hactl-runtime.cnf";

const DROP_IN: &str = "/etc/systemd/system/mariadb.service.d";

/// Asks the other databases before a start.
pub(super) const GATE: &str = "/usr/local/lib/hactl/mariadb-gate";

/// The certificate that all servers' certificates are signed by.
pub const AUTHORITY: &str = "/etc/mysql/hactl/authority.crt";
const CERTIFICATE: &str = "/etc/mysql/hactl/server.crt";
const CERTIFICATE_KEY: &str = "/etc/mysql/hactl/server.key";

/// How long a commit waits for a replica before it goes on without: longer than a failover takes, so that an isolated
/// primary acknowledges nothing in the meantime, and short enough to end (facts/ha.md 1.6).
const SEMI_SYNC_TIMEOUT_MS: u32 = 60_000;

fn declare(scope: &mut Scope) -> Result<()> {
    let inventory = scope.inventory();
    let knobs = &inventory.mariadb;
    let replicates = scope.view.topology.replicates();
    scope.packages(&["mariadb-server", "mariadb-client"]);
    let watches = match knobs.keep_config {
        true => Vec::new(),
        false => configuration(scope)?,
    };
    let leads = has_accounts(&scope.view);
    let service = Service {
        unit: "mariadb.service".into(),
        watches,
        on_change: OnChange::Restart,
        health: "mariadb --no-defaults --skip-ssl --connect-timeout=5 -e 'SELECT 1' >/dev/null".into(),
        // A recovery after a power cut reads the whole redo log; a replica gets what it missed.
        patience: Duration::from_secs(if leads { 120 } else { 600 }),
        // A replica starts as what it was.
        forgets: match leads {
            true => vec![replica::WRITER_KEY.into(), crate::resource::replication::KEY.into()],
            false => Vec::new(),
        },
    };
    scope.add(DatabaseServer {
        service,
        live: (!knobs.keep_config).then(|| LIVE.into()),
        follows: !leads,
    });
    if leads {
        if replicates {
            scope.add(Writer);
        }
        accounts(scope)?;
    }
    if replicates {
        replication::declare(scope)?;
    }
    Ok(())
}

/// A server starts when nobody took its place meanwhile.
fn declare_gate(scope: &mut Scope) -> Result<()> {
    let view = scope.view;
    let others = view.topology.with_role(HostRole::Db);
    let others = others.filter(|host| host.name != view.host.name);
    let ask: Vec<_> = others
        .map(|host| sh_words(peers::reach(Circle::Databases, host)))
        .collect();
    let stops = match view.topology.is_pair() {
        true => "mariadb.service nginx.service supervisor.service",
        false => "mariadb.service",
    };
    let context = json!({ "name": sh(&view.host.name), "ask": ask, "stops": stops });
    scope.directory("/usr/local/lib/hactl", "root", "root", 0o755);
    let gate = scope.file(GATE, "mariadb/gate", &context)?;
    scope.add(gate.owned("root", "root", 0o755));
    let unit = scope.file(
        &format!("{DROP_IN}/60-hactl.conf"),
        "mariadb/unit.conf",
        &json!({ "gate": GATE }),
    )?;
    scope.add(unit);
    Ok(())
}

/// Declares hactl's option file and what it names, and gives the paths that the server reads.
fn configuration(scope: &mut Scope) -> Result<Vec<String>> {
    let knobs = &scope.inventory().mariadb;
    let replicates = scope.view.topology.replicates();
    // Debian makes it only when its own defaults log to files.
    scope.directory("/var/log/mysql", "mysql", "adm", 0o2750);
    let alone = !scope.view.runs_app() && !scope.view.has(HostRole::Redis);
    let pool = knobs
        .buffer_pool_mb
        .unwrap_or_else(|| buffer_pool_mb(scope.facts, alone));
    let (live, taken) = variables::split(knobs, replicates.then_some(SEMI_SYNC_TIMEOUT_MS));
    let context = json!({
        "bind": if scope.view.topology.is_single() { "127.0.0.1" } else { "0.0.0.0" },
        "port": knobs.port,
        "buffer_pool_mb": pool,
        // A quarter of the pool, as far as that makes checkpoints cheaper without long recoveries.
        "log_file_mb": (pool / 4).clamp(96, 1024),
        "server_id": server_id(scope.view.host.address),
        "settings": settings(knobs, &taken)?,
        "replication": replicates.then(|| json!({
            "report_host": scope.view.host.address,
            "semi_sync": knobs.semi_sync,
            "authority": AUTHORITY, "certificate": CERTIFICATE, "key": CERTIFICATE_KEY,
        })),
    });
    let mut watches = vec![CONFIG.to_owned(), LIVE.to_owned()];
    if replicates {
        // Before the package starts it for the first time; it changes how it starts, so nothing restarts for it.
        scope.directory(DROP_IN, "root", "root", 0o755);
        declare_gate(scope)?;
        // nftables: a crash plan may have to cut this host off from another.
        scope.packages(&["mariadb-backup", "nftables"]);
        watches.extend(certificates(scope)?);
        if !has_accounts(&scope.view) {
            scope.add(DataDirectory);
        }
    }
    for (path, template, context) in [
        (CONFIG, "mariadb/server.cnf", context),
        (LIVE, "mariadb/runtime.cnf", json!({ "variables": live })),
    ] {
        let mut file = scope.file(path, template, &context)?;
        file.validator = Some(Validator {
            name: "mariadbd".into(),
            tree: None,
            check: "mariadbd --defaults-file=\"$FILE\" --user=mysql --help --verbose >/dev/null".into(),
        });
        scope.add(file);
    }
    Ok(watches)
}

/// The server's certificate under the cluster's authority: what it shows to replicas.
fn certificates(scope: &mut Scope) -> Result<Vec<String>> {
    let identity = peers::identity(scope)?;
    let host = scope.view.host;
    let own = identity.host(&host.name, host.address)?;
    scope.directory("/etc/mysql/hactl", "root", "mysql", 0o750);
    for (path, text, mode) in [
        (AUTHORITY, Text::from(identity.authority()?), 0o644),
        (CERTIFICATE, Text::from(own.public), 0o644),
        (CERTIFICATE_KEY, Text::from(own.private), 0o640),
    ] {
        scope.add(File::new(path, text).owned("root", "mysql", mode));
    }
    Ok([AUTHORITY, CERTIFICATE, CERTIFICATE_KEY].map(str::to_owned).to_vec())
}

/// Accounts are made where they can be written; replicas get them from there.
pub(super) fn has_accounts(view: &HostView) -> bool {
    view.topology
        .writer()
        .is_some_and(|writer| writer.name == view.host.name)
}

fn accounts(scope: &mut Scope) -> Result<()> {
    let inventory = scope.inventory();
    for account in app::databases(&inventory.app, &inventory.sites) {
        scope.add(Database { name: account.name });
    }
    for user in users(scope)? {
        scope.add(user);
    }
    Ok(())
}

/// The application's accounts, one for each address that it comes from.
pub(super) fn users(scope: &Scope) -> Result<Vec<DatabaseUser>> {
    let inventory = scope.inventory();
    let mut users = Vec::new();
    for account in app::databases(&inventory.app, &inventory.sites) {
        let password = scope.secret(&account.password)?;
        for host in app::database_clients(scope.view.topology) {
            users.push(DatabaseUser {
                name: account.name.clone(),
                host,
                password: password.clone(),
                grants: vec![app::all_on(&account.name)],
            });
        }
    }
    Ok(users)
}

/// Where accounts of the cluster may come from; what is elsewhere belongs to a host that left.
pub(super) fn addresses(scope: &Scope) -> Vec<DatabaseAddresses> {
    let inventory = scope.inventory();
    let topology = scope.view.topology;
    let accounts = app::databases(&inventory.app, &inventory.sites).into_iter();
    let app = accounts.map(|account| DatabaseAddresses {
        user: account.name,
        addresses: app::database_clients(topology),
    });
    let databases = topology.with_role(HostRole::Db).map(|host| host.address.to_string());
    let replicas = topology.replicates().then(|| DatabaseAddresses {
        user: replication::REPLICATION_USER.into(),
        addresses: databases.collect(),
    });
    app.chain(replicas).collect()
}

/// Two thirds of the memory where nothing else runs; a third on a full server, where gunicorn, workers and Redis take
/// about as much again. In steps of 64 MiB, at least 128.
fn buffer_pool_mb(facts: &Facts, alone: bool) -> u64 {
    let share = if alone { 65 } else { 35 };
    (facts.memory_mb * share / 100 / 64 * 64).max(128)
}

/// Unique in a cluster and the same for ever: the address.
pub fn server_id(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address).max(1),
        // The interface identifier's end; hosts of one network differ there.
        IpAddr::V6(address) => u32::try_from(u128::from(address) & 0xffff_ffff).unwrap_or(1).max(1),
    }
}

/// `mariadb.settings` as lines of an option file, without those that are `taken` by another.
fn settings(knobs: &MariaDb, taken: &[&str]) -> Result<Vec<Value>> {
    let known: BTreeMap<String, &Value> = knobs
        .settings
        .iter()
        .filter(|(key, _)| !taken.contains(&key.as_str()))
        .map(|(key, value)| (key.replace('-', "_"), value))
        .collect();
    known
        .into_iter()
        .map(|(key, value)| {
            let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
            let value = match value {
                Value::Bool(true) => "ON".to_owned(),
                Value::Bool(false) => "OFF".to_owned(),
                Value::Number(number) => number.to_string(),
                Value::String(text) => quoted(text),
                _ => {
                    return Err(Error::usage(format!(
                        "mariadb.settings.{key}: is no text, number or boolean"
                    )));
                }
            };
            if word {
                Ok(json!({ "key": key, "value": value }))
            } else {
                Err(Error::usage(format!(
                    "mariadb.settings.{key}: is no name of a variable"
                )))
            }
        })
        .collect()
}

/// A value of an option file; without quotes `#` would start a comment.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_pool_leaves_room_for_what_else_runs() {
        let pool = |memory_mb, alone| {
            let facts = Facts {
                memory_mb,
                ..Facts::assumed()
            };
            buffer_pool_mb(&facts, alone)
        };
        assert_eq!(
            [pool(512, false), pool(4096, false), pool(4096, true), pool(65536, true)],
            [128, 1408, 2624, 42560]
        );
    }

    #[test]
    fn server_ids_come_from_addresses() {
        assert_eq!(server_id("10.77.0.11".parse().unwrap()), 172_818_443);
        assert_eq!(server_id("fd00::2".parse().unwrap()), 2);
    }

    #[test]
    fn settings_are_quoted_and_odd_names_refused() {
        let mut knobs = MariaDb::default();
        knobs.settings.insert("init-connect".into(), json!("SET x = \"#\"\n"));
        knobs.settings.insert("local_infile".into(), json!(true));
        let lines = settings(&knobs, &[]).unwrap();
        assert_eq!(lines[0]["value"], "\"SET x = \\\"#\\\"\\n\"");
        assert_eq!(lines[1]["value"], "ON");
        knobs.settings.insert("a\nb".into(), json!(1));
        assert!(settings(&knobs, &[]).is_err());
    }
}
