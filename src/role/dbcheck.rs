//! What tells load balancers which part a MariaDB has: a socket that systemd listens on, and a script that asks.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope};
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

const SCRIPT: &str = "/usr/local/lib/hactl/dbcheck";
const SOCKET: &str = "/etc/systemd/system/hactl-dbcheck.socket";
const SERVICE: &str = "/etc/systemd/system/hactl-dbcheck@.service";

fn declare(scope: &mut Scope) -> Result<()> {
    let address = scope.view.host.address;
    scope.directory("/usr/local/lib/hactl", "root", "root", 0o755);
    let script = scope
        .file(SCRIPT, "dbcheck/check", &json!({ "lag": LAG }))?
        .owned("root", "root", 0o755);
    scope.add(script);
    let service = scope.file(SERVICE, "dbcheck/service", &json!({}))?;
    scope.add(service);
    let listen = std::net::SocketAddr::new(address, PORT);
    let socket = scope.file(
        SOCKET,
        "dbcheck/socket",
        &json!({ "address": match address.is_ipv6() { true => format!("[{address}]"), false => address.to_string() }, "port": PORT }),
    )?;
    scope.add(socket);
    scope.add(Service {
        unit: "hactl-dbcheck.socket".into(),
        watches: vec![SOCKET.into(), SERVICE.into()],
        on_change: OnChange::Restart,
        // Any answer will do: which one is not its affair.
        health: format!(
            "curl -sS -o /dev/null --max-time 5 {}",
            sh(&format!("http://{listen}/writer"))
        ),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}
