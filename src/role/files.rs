//! Files of the sites on every host that runs the application: each host takes what the others have every few seconds, and
//! until then its nginx asks theirs. See docs/clusters.md for what that cannot promise.

use std::time::Duration;

use serde_json::{Value, json};

use super::peers::{self, Circle};
use super::{Role, Scope, gluster, stage};
use crate::error::Result;
use crate::inventory::{App, Files, HostRole};
use crate::quote::{sh, sh_words};
use crate::resource::{Command, Guard, OnChange, Service};
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
pub(super) const TIMER: &str = "/etc/systemd/system/hactl-files.timer";

/// Whether this host takes files from others, and gives them its own.
pub fn shared(view: &HostView) -> bool {
    let inventory = view.topology.inventory;
    let has_files = matches!(inventory.app, App::Frappe(_)) && inventory.files == Files::Rsync;
    has_files && !peers::other_apps(view).is_empty()
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["rsync"]);
    let path = scope.inventory().app.path();
    let process = scope.inventory().app.process();
    if scope.view.topology.is_pair() && !scope.view.waits() {
        hand_over(scope);
        return Ok(());
    }
    scope.barrier(stage::SERVES);
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
    let mut context = json!({ "path": path, "staged": staged, "sources": sources, "sites": sites });
    let template = if scope.view.waits() {
        scope.directory(&format!("{path}/{REMOVED}"), &process.user, &process.user, 0o750);
        context["removed"] = format!("{path}/{REMOVED}").into();
        context["taken"] = taken(path).into();
        "files/follow"
    } else {
        "files/take"
    };
    let script = scope.file(SCRIPT, template, &context)?;
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

/// Shell that ends it on a host that has the files in another way now.
pub(super) fn stop() -> String {
    format!(
        "if [ -e {TIMER} ]; then\n\
         \x20   systemctl disable --now hactl-files.timer >/dev/null 2>&1 || :\n\
         \x20   systemctl stop hactl-files.service >/dev/null 2>&1 || :\n\
         \x20   rm -f -- {SERVICE} {SCRIPT} {TIMER}\n\
         \x20   systemctl daemon-reload\n\
         \x20   systemctl reset-failed hactl-files.service >/dev/null 2>&1 || :\n\
         fi\n"
    )
}

/// On the host of a pair that serves: it takes nothing from the other. When it was the one that waited until now, it takes
/// what the other has and it has not, once, before anything is started; nothing is removed for that. A host that is lost
/// gives nothing.
fn hand_over(scope: &mut Scope) {
    scope.barrier(stage::HANDED_OVER);
    let process = scope.inventory().app.process();
    let others = peers::other_apps(&scope.view);
    let names: Vec<_> = others.iter().map(|host| host.name.as_str()).collect();
    let run = format!(
        "systemctl disable --now hactl-files.timer >/dev/null 2>&1 || :\n\
         systemctl stop hactl-files.service >/dev/null 2>&1 || :\n\
         if [ -x {SCRIPT} ]; then\n\
         \x20   timeout 1800 runuser -u {user} -- {SCRIPT} last 2>&1 || echo {without}\n\
         fi\n\
         rm -f -- {SERVICE} {TIMER} {SCRIPT}\n\
         systemctl daemon-reload",
        user = sh(&process.user),
        without = sh(&format!(
            "{} gives none; going on with what is here",
            names.join(" and ")
        )),
    );
    scope.add(Command {
        deadline: Duration::from_secs(2000),
        ..Command::by_root(
            format!("last files from {}: this host serves from now on", names.join(" and ")),
            vec![Guard::Passes(format!("[ ! -e {SCRIPT} ] && [ ! -e {TIMER} ]"))],
            run,
        )
    });
}

/// What a host that waits keeps for a while of files that are gone, or another, on the one that serves.
const REMOVED: &str = "cache/files-removed";

/// Touched when a host that waits has taken everything.
fn taken(path: &str) -> String {
    format!("{path}/config/files.taken")
}

/// Passes when a host that waits has taken what the other has not long ago, and says when.
pub(super) fn age(view: &HostView) -> String {
    let taken = sh(&taken(view.topology.inventory.app.path()));
    format!(
        "then=$(stat -c %Y -- {taken} 2>/dev/null) || then=0\n\
         age=$(($(date +%s) - then))\n\
         if [ \"$age\" -ge {LATE} ]; then\n\
         \x20   journalctl -u hactl-files.service -n 20 -o cat --no-pager | grep -v -e systemd -e '^hactl-files' | tail -n 1\n\
         \x20   [ \"$then\" = 0 ] && echo 'were never taken' || echo \"were last taken $age s ago\"\n\
         \x20   exit 1\n\
         fi\n\
         echo \"taken $age s ago\""
    )
}

/// Seconds after which files should have been taken again.
const LATE: u32 = 180;

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
    // Of a pair only one serves. With a volume a host asks the others when it has lost the volume.
    if !(shared(view) || gluster::used(view)) || !view.has(HostRole::App) || view.topology.is_pair() {
        return Value::Null;
    }
    let all = peers::other_apps(view);
    let asked = all.iter().filter(|host| host.roles.contains(&HostRole::App));
    let asked = asked.map(|host| std::net::SocketAddr::new(host.address, PORT).to_string());
    let asked: Vec<_> = asked.collect();
    // The others are workers only: nobody to ask, and nobody who asks.
    if asked.is_empty() {
        return Value::Null;
    }
    json!({
        "asks": asked,
        "listens": std::net::SocketAddr::new(view.host.address, PORT).to_string(),
        "allows": all.iter().map(|host| host.address.to_string()).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::testing::inventory;
    use crate::topology::Topology;

    #[test]
    fn nginx_asks_hosts_that_have_one() {
        for (role, asks) in [("app", json!(["10.0.0.2:9202"])), ("worker", Value::Null)] {
            for files in ["rsync", "gluster"] {
                let inventory = inventory(&format!(
                    "cluster: demo\n\
                     hosts:\n\
                     \x20 app1: {{ address: 10.0.0.1, roles: [ app, worker, db, redis ] }}\n\
                     \x20 app2: {{ address: 10.0.0.2, roles: [ {role} ] }}\n\
                     app: {{ kind: frappe, apps: [ {{ name: frappe, url: \"git://h/frappe\", ref: v15.1.0 }} ] }}\n\
                     sites: [ {{ name: erp.example.com }} ]\n\
                     files: {files}\n"
                ));
                let view = Topology::of(&inventory).host("app1").unwrap();
                assert_eq!(nginx(&view)["asks"], asks, "{role} {files}");
            }
        }
    }
}
