//! What tells load balancers which part a MariaDB has. One process per server asks it, over one connection; whoever wants to
//! know is answered with what that heard last, and how long ago it asked decides whether it still counts.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, mariadb};
use crate::error::Result;
use crate::inventory::HostRole;
use crate::quote::sh;
use crate::resource::{OnChange, Service};

/// The role.
pub const ROLE: Role = Role {
    name: "dbcheck",
    applies: |view| view.has(HostRole::Db) && !view.topology.is_single(),
    declare,
};

/// Where it answers.
pub const PORT: u16 = 9201;

/// Seconds that a replica may be behind and still be read from.
const LAG: u32 = 30;

/// Seconds between two questions to MariaDB.
const EVERY: f32 = 0.3;

/// Hundredths of a second after which an answer counts no more. A server that was closed must not pass for open.
const FRESH: u32 = 100;

/// What MariaDB said last.
const STATE: &str = "/run/hactl-dbcheck/state";

/// What a writer touches that has lost a replica.
const ALONE: &str = "/run/hactl-dbcheck/alone";

/// Seconds between two such touches.
const AGAIN: u32 = 5;

const WATCH: &str = "/usr/local/lib/hactl/dbwatch";
const WATCHER: &str = "/etc/systemd/system/hactl-dbwatch.service";
const SCRIPT: &str = "/usr/local/lib/hactl/dbcheck";
const SOCKET: &str = "/etc/systemd/system/hactl-dbcheck.socket";
const SERVICE: &str = "/etc/systemd/system/hactl-dbcheck@.service";
const GATE_PATH: &str = "/etc/systemd/system/hactl-dbgate.path";
const GATE_SERVICE: &str = "/etc/systemd/system/hactl-dbgate.service";

fn declare(scope: &mut Scope) -> Result<()> {
    let address = scope.view.host.address;
    scope.directory("/usr/local/lib/hactl", "root", "root", 0o755);
    let topology = scope.view.topology;
    let replicas = topology.with_role(HostRole::Db).count().saturating_sub(1);
    let mut question = "SELECT @@global.read_only AS read_only,".to_owned();
    if replicas > 0 {
        // `%%`: a word of printf.
        question +=
            " (SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%%') AS receivers,";
    }
    let watch = scope
        .file(
            WATCH,
            "dbcheck/watch",
            &json!({
                "every": EVERY.to_string(), "state": STATE, "question": question,
                "alone": if replicas > 0 { ALONE } else { "" }, "replicas": replicas, "again": AGAIN,
            }),
        )?
        .owned("root", "root", 0o755);
    scope.add(watch);
    if topology.replicates() {
        declare_gate(scope)?;
    }
    let context = json!({ "lag": LAG, "fresh": FRESH, "state": STATE, "watch": WATCH });
    let script = scope
        .file(SCRIPT, "dbcheck/check", &context)?
        .owned("root", "root", 0o755);
    scope.add(script);
    let watcher = scope.file(WATCHER, "dbcheck/watcher", &json!({ "watch": WATCH }))?;
    scope.add(watcher);
    let service = scope.file(SERVICE, "dbcheck/service", &json!({}))?;
    scope.add(service);
    let listen = std::net::SocketAddr::new(address, PORT);
    let socket = scope.file(
        SOCKET,
        "dbcheck/socket",
        &json!({ "address": match address.is_ipv6() { true => format!("[{address}]"), false => address.to_string() }, "port": PORT }),
    )?;
    scope.add(socket);
    let ask = format!("curl -sS --max-time 5 {}", sh(&format!("http://{listen}/writer")));
    scope.add(Service {
        unit: "hactl-dbcheck.socket".into(),
        watches: vec![SOCKET.into(), SERVICE.into()],
        on_change: OnChange::Restart,
        // Any answer will do: which one is not its affair.
        health: format!("{ask} -o /dev/null"),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    scope.add(Service {
        unit: "hactl-dbwatch.service".into(),
        watches: vec![WATCH.into(), WATCHER.into()],
        on_change: OnChange::Restart,
        health: format!("said=$({ask}) || exit 1; case $said in 'no word'*) echo \"$said\"; exit 1 ;; esac"),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}

/// One that takes the writes and has lost a replica asks the others whether its place was taken, and ends when it was: after
/// a crash plan that could not reach it, as soon as it can be reached.
fn declare_gate(scope: &mut Scope) -> Result<()> {
    for (path, template, context) in [
        (GATE_SERVICE, "dbcheck/gate-service", json!({ "gate": mariadb::GATE })),
        (GATE_PATH, "dbcheck/gate-path", json!({ "alone": ALONE })),
    ] {
        let file = scope.file(path, template, &context)?;
        scope.add(file);
    }
    scope.add(Service {
        unit: "hactl-dbgate.path".into(),
        watches: vec![GATE_PATH.into(), GATE_SERVICE.into()],
        on_change: OnChange::Restart,
        health: "true".into(),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}
