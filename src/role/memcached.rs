//! memcached: a cache without passwords, so only the hosts of the application may reach it.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope};
use crate::error::Result;
use crate::inventory::HostRole;
use crate::resource::{OnChange, Service, Validator};
use crate::topology::{HostView, Topology};

/// The role.
pub const ROLE: Role = Role {
    name: "memcached",
    applies: |view| view.has(HostRole::Memcached),
    declare,
};

/// Its unit.
pub(super) const UNIT: &str = "memcached.service";

const CONFIG: &str = "/etc/memcached.conf";
const FILTER: &str = "/etc/hactl/memcached.nft";
const DROP_IN: &str = "/etc/systemd/system/memcached.service.d";

/// `address:port` of all of them, in the order of the inventory: clients must agree on it, since it decides who keeps what.
pub(super) fn servers(topology: Topology) -> Vec<String> {
    let hosts = topology.with_role(HostRole::Memcached);
    let port = topology.inventory.memcached.port;
    hosts
        .map(|host| std::net::SocketAddr::new(host.address, port).to_string())
        .collect()
}

/// Passes when it answers.
pub(super) fn health(port: u16) -> String {
    format!(
        "answer=$(printf 'version\\r\\nquit\\r\\n' | curl -sS --max-time 3 telnet://127.0.0.1:{port} 2>&1)\n\
         case $answer in VERSION*) ;; *) printf '%s\\n' \"$answer\"; exit 1 ;; esac"
    )
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["memcached", "nftables"]);
    let topology = scope.view.topology;
    let knobs = &scope.inventory().memcached;
    let clients: Vec<_> = topology
        .hosts()
        .filter(HostView::runs_app)
        .map(|view| view.host.address)
        .map(|address| json!({ "family": if address.is_ipv6() { "ip6" } else { "ip" }, "address": address }))
        .collect();
    scope.directory("/etc/hactl", "root", "root", 0o755);
    let context = json!({ "port": knobs.port, "clients": clients });
    let mut file = scope.file(FILTER, "memcached/filter.nft", &context)?;
    file.validator = Some(Validator {
        name: "nft".into(),
        tree: None,
        check: "nft -c -f \"$FILE\"".into(),
    });
    scope.add(file);
    let unit = format!("{DROP_IN}/60-hactl.conf");
    scope.directory(DROP_IN, "root", "root", 0o755);
    let file = scope.file(&unit, "memcached/unit.conf", &json!({ "filter": FILTER }))?;
    scope.add(file);
    let context = json!({
        "address": scope.view.host.address,
        "port": knobs.port,
        "memory_mb": knobs.memory_mb,
    });
    let file = scope.file(CONFIG, "memcached/memcached.conf", &context)?;
    scope.add(file);
    scope.add(Service {
        unit: UNIT.into(),
        watches: vec![CONFIG.into(), FILTER.into(), unit],
        on_change: OnChange::Restart,
        health: health(knobs.port),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Facts, Spec};
    use crate::role::Templates;
    use crate::role::testing::{Named, inventory};

    const CLUSTER: &str = r#"
cluster: demo
hosts:
  app1: { address: 10.0.0.1, roles: [ app, worker ] }
  app2: { address: "fd00::2", roles: [ app ] }
  db1: { address: 10.0.0.31, roles: [ db, redis, memcached ] }
  mc1: { address: "fd00::41", roles: [ memcached ] }
app: { kind: wsgi, url: "git://h/x", ref: main, module: "a:b" }
sites: [ { name: erp.example.com } ]
memcached: { memory_mb: 512 }
"#;

    #[test]
    fn applications_know_all_of_them_and_nobody_else_may_ask() {
        let inventory = inventory(CLUSTER);
        let topology = Topology::of(&inventory);
        let templates = Templates::load(None).unwrap();
        let text = |host: &str, path: &str| {
            let view = topology.host(host).unwrap();
            let desired = crate::role::desired(view, &Facts::assumed(), &templates, &Named).unwrap();
            let mut files = desired.resources.iter().filter_map(|resource| match &resource.spec {
                Spec::File(file) if file.path == path => Some(file.text.reveal().to_owned()),
                _ => None,
            });
            files.next().unwrap_or_default()
        };
        let filter = text("mc1", FILTER);
        let allowed: Vec<_> = filter
            .lines()
            .filter(|line| line.contains("saddr"))
            .map(str::trim)
            .collect();
        assert_eq!(allowed, ["ip saddr 10.0.0.1 accept", "ip6 saddr fd00::2 accept"]);
        let config = text("mc1", CONFIG);
        assert!(
            config.contains("-l 127.0.0.1,fd00::41\n") && config.contains("-m 512\n"),
            "{config}"
        );
        let environment = text("app2", "/srv/x/env");
        assert!(
            environment.contains("MEMCACHED_SERVERS=10.0.0.31:11211,[fd00::41]:11211\n"),
            "{environment}"
        );
        assert_eq!(text("app1", CONFIG), "");
    }
}
