//! Where an application of a cluster finds its data stores: at 127.0.0.1, behind a HAProxy that follows the leaders. So a
//! failover needs no change of the application's configuration.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, app, redis, stage};
use crate::error::Result;
use crate::inventory::HostRole;
use crate::resource::{Command, Guard, OnChange, Service, Validator};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "endpoint",
    applies: |view| app::behind_endpoint(view),
    declare,
};

const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
const DROP_IN: &str = "/etc/systemd/system/haproxy.service.d";

/// Where HAProxy says on the host itself whether it is alive and whether all leaders are there.
const STATE_PORT: u16 = 8404;

/// Whether every leader can be reached from the host.
pub(super) fn ready() -> String {
    format!("curl -fsS --max-time 3 http://127.0.0.1:{STATE_PORT}/ready")
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.barrier(stage::APPLICATION);
    scope.packages(&["haproxy", "socat", "nftables"]);
    let topology = scope.view.topology;
    let inventory = scope.inventory();
    let hosts = |role| {
        // One whose place was taken is asked no more, whatever it says of itself.
        let replaced = &topology.live.replaced;
        let hosts = topology.with_role(role);
        let hosts = hosts.filter(|host| role != HostRole::Db || !replaced.contains(&host.name));
        hosts
            .map(|host| json!({ "name": host.name, "address": host.address }))
            .collect::<Vec<_>>()
    };
    let stores: Vec<_> = redis::instances(&inventory.redis)
        .iter()
        .map(|instance| {
            let (name, port, password) = (instance.name, instance.port, instance.password);
            json!({ "name": name, "port": port, "endpoint": app::endpoint_port(port), "password": password })
        })
        .collect();
    let mut file = scope.file(
        CONFIG,
        "haproxy/haproxy.cfg",
        &json!({
            "state_port": STATE_PORT,
            "writer_port": app::database(&scope.view).port,
            "reader_port": app::readers(&scope.view).port,
            "mariadb_port": inventory.mariadb.port,
            "check_port": super::dbcheck::PORT,
            "databases": hosts(HostRole::Db),
            "redis": stores,
            "stores": hosts(HostRole::Redis),
            "sentinels": topology.has_sentinels(),
        }),
    )?;
    file.validator = Some(Validator {
        name: "haproxy".into(),
        tree: None,
        check: "haproxy -c -q -f \"$FILE\"".into(),
    });
    scope.add(file.owned("root", "haproxy", 0o640));
    let unit = format!("{DROP_IN}/60-hactl.conf");
    scope.directory(DROP_IN, "root", "root", 0o755);
    let drop_in = scope.file(&unit, "haproxy/unit.conf", &json!({}))?;
    scope.add(drop_in);
    scope.add(Service {
        unit: "haproxy.service".into(),
        watches: vec![CONFIG.into(), unit],
        on_change: OnChange::Reload,
        health: format!("curl -fsS --max-time 3 http://127.0.0.1:{STATE_PORT}/alive"),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    if scope.view.waits() {
        return Ok(());
    }
    // What follows migrates and makes sites: it needs all of them.
    scope.add(Command::by_root(
        "data stores within reach",
        vec![Guard::Passes(ready())],
        format!(
            "end=$(($(date +%s) + 60))\n\
             until said=$({} 2>&1); do\n\
             \x20   [ \"$(date +%s)\" -lt \"$end\" ] || {{ curl -s --max-time 3 http://127.0.0.1:{STATE_PORT}/ready; echo; exit 1; }}\n\
             \x20   sleep 0.2\n\
             done",
            ready()
        )
    ));
    Ok(())
}

/// Whether a host has one.
pub fn has(view: &HostView) -> bool {
    (ROLE.applies)(view)
}
