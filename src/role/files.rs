//! Files of the sites on every host that runs the application: each host takes what the others have every few seconds, and
//! until then its nginx asks theirs. See docs/clusters.md for what that cannot promise.

use std::time::Duration;

use serde_json::{Value, json};

use super::peers::{self, Circle};
use super::{Role, Scope, stage};
use crate::error::Result;
use crate::inventory::{App, Files, HostRole};
use crate::quote::{sh, sh_words};
use crate::resource::{OnChange, Service};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "files",
    applies: shared,
    declare,
};

/// Where nginx gives the others what it has on its disk.
pub const PORT: u16 = 9202;

/// What the others read, by rsync's own daemon, which one login starts for itself.
pub const MODULES: &str = "/etc/hactl/rsyncd.conf";

const SCRIPT: &str = "/usr/local/lib/hactl/files";
const SERVICE: &str = "/etc/systemd/system/hactl-files.service";
const TIMER: &str = "/etc/systemd/system/hactl-files.timer";

/// Whether this host takes files from others, and gives them its own.
pub fn shared(view: &HostView) -> bool {
    let inventory = view.topology.inventory;
    let has_files = matches!(inventory.app, App::Frappe(_)) && inventory.files == Files::Rsync;
    has_files && !peers::other_apps(view).is_empty()
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.barrier(stage::SERVES);
    scope.packages(&["rsync"]);
    let path = scope.inventory().app.path();
    let process = scope.inventory().app.process();
    let staged = format!("{path}/cache/files");
    scope.directory(&staged, &process.user, &process.user, 0o750);
    let sources: Vec<_> = peers::other_apps(&scope.view)
        .into_iter()
        .map(|host| {
            let address = match host.address.is_ipv6() {
                true => format!("[{}]", host.address),
                false => host.address.to_string(),
            };
            json!({
                "name": sh(&host.name),
                "ssh": sh(&sh_words(peers::ssh(Circle::Apps, host))),
                "from": sh(&format!("{address}::files/")),
            })
        })
        .collect();
    let sites: Vec<_> = scope.inventory().sites.iter().map(|site| &site.name).collect();
    let context = json!({ "path": path, "staged": staged, "sources": sources, "sites": sites });
    let script = scope.file(SCRIPT, "files/take", &context)?;
    scope.add(script.owned("root", "root", 0o755));
    let service = scope.file(
        SERVICE,
        "files/service",
        &json!({ "user": process.user, "script": SCRIPT }),
    )?;
    scope.add(service);
    let timer = scope.file(TIMER, "files/timer", &json!({}))?;
    scope.add(timer);
    scope.add(Service {
        unit: "hactl-files.timer".into(),
        watches: vec![TIMER.into(), SERVICE.into()],
        on_change: OnChange::Restart,
        health: "systemctl -q is-active hactl-files.timer".into(),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}

/// Passes when the last round took what every other host has.
pub(super) fn up_to_date() -> String {
    "if systemctl -q is-failed hactl-files.service; then\n\
     \x20   journalctl -u hactl-files.service -n 20 -o cat --no-pager | grep -v -e systemd -e '^hactl-files' | tail -n 1\n\
     \x20   exit 1\n\
     fi\n\
     echo 'taken from the other hosts every few seconds'"
        .into()
}

/// For nginx's templates: whose nginx to ask for a file that is not here, and who may ask this one. `null` where files are
/// not shared that way.
pub(super) fn nginx(view: &HostView) -> Value {
    if !shared(view) || !view.has(HostRole::App) {
        return Value::Null;
    }
    let all = peers::other_apps(view);
    let asked = all.iter().filter(|host| host.roles.contains(&HostRole::App));
    let asked = asked.map(|host| std::net::SocketAddr::new(host.address, PORT).to_string());
    json!({
        "asks": asked.collect::<Vec<_>>(),
        "listens": std::net::SocketAddr::new(view.host.address, PORT).to_string(),
        "allows": all.iter().map(|host| host.address.to_string()).collect::<Vec<_>>(),
    })
}
