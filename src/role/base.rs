//! What every host has: tools, the app's user, names of the cluster, kernel settings, time zone.
//!
//! The clock is not set here: Debian's systemd-timesyncd, a chrony that somebody installed, or the hypervisor does that,
//! and two that do it fight. `check --remote` measures the difference instead. The host name is left alone too.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::{Role, Scope, adopt, app};
use crate::error::Result;
use crate::inventory::HostRole;
use crate::resource::{Block, Group, Sysctl, User};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "base",
    applies: |_| true,
    declare,
};

/// What hactl's own steps and probes use: curl asks supervisord and sites, openssl makes certificates.
const PACKAGES: &[&str] = &["ca-certificates", "curl", "git", "logrotate", "openssl"];

fn declare(scope: &mut Scope) -> Result<()> {
    let inventory = scope.inventory();
    scope.packages(PACKAGES);
    for name in &inventory.system.packages {
        scope.packages(&[name]);
    }
    scope.directory("/var/lib/hactl", "root", "root", 0o755);
    // What was done, and files as they were before a change: some of those hold secrets.
    scope.directory("/var/lib/hactl/stamps", "root", "root", 0o700);
    scope.directory("/var/lib/hactl/previous", "root", "root", 0o700);
    names(scope);
    user(scope);
    kernel(scope)?;
    if let Some(zone) = &inventory.system.timezone {
        scope.packages(&["tzdata"]);
        scope.link("/etc/localtime", &format!("/usr/share/zoneinfo/{zone}"));
        scope.add(crate::resource::File::new("/etc/timezone", format!("{zone}\n")));
    }
    Ok(())
}

/// Every host by name; on hosts that serve the web the sites too, since Frappe's realtime server calls its own site by
/// its public name. Behind load balancers that leads to those.
fn names(scope: &mut Scope) {
    let mut text = String::from("127.0.0.1 localhost\n");
    for host in scope.inventory().hosts.values() {
        text.push_str(&format!("{} {}\n", host.address, host.name));
    }
    if scope.view.serves_web() {
        let address = front(&scope.view);
        for site in &scope.inventory().sites {
            text.push_str(&format!("{address} {}", site.name));
            for alias in site.aliases.iter().filter(|alias| !alias.starts_with('*')) {
                text.push_str(&format!(" {alias}"));
            }
            text.push('\n');
        }
    }
    scope.add(Block {
        path: "/etc/hosts".into(),
        name: scope.inventory().cluster.clone(),
        text,
    });
}

/// Where a host finds the sites as visitors do.
fn front(view: &HostView) -> IpAddr {
    if view.meets_visitors() {
        return view.host.address;
    }
    let inventory = view.topology.inventory;
    let vip = inventory.vip.values().next().map(|vip| vip.address.addr());
    let balancer = view.topology.with_role(HostRole::Lb).next().map(|host| host.address);
    vip.or(balancer).unwrap_or(view.host.address)
}

/// The app's user has the same number on every host, which shared files need; hosts that run no app have none.
fn user(scope: &mut Scope) {
    if !scope.view.runs_app() {
        return;
    }
    let process = scope.inventory().app.process();
    let adopted = adopt::of(&scope.inventory().app).is_some();
    let home = app::home(process);
    scope.add(Group {
        name: process.user.clone(),
        gid: process.uid,
    });
    scope.add(User {
        name: process.user.clone(),
        uid: process.uid,
        home: home.clone(),
        shell: "/bin/bash".into(),
        // Of a server that was taken over, people log in as this user, with its groups.
        groups: (!adopted).then(Vec::new),
    });
    // The old bench is in there, and nginx serves its files.
    if !adopted {
        scope.directory(&home, &process.user, &process.user, 0o750);
    }
}

fn kernel(scope: &mut Scope) -> Result<()> {
    let mut settings = BTreeMap::from(
        [
            // Redis forks to save: without overcommit that fails when it holds half of the memory.
            ("vm.overcommit_memory", "1"),
            ("vm.swappiness", "10"),
            ("net.core.somaxconn", "4096"),
            ("fs.inotify.max_user_instances", "1024"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    if scope.view.has(HostRole::Lb) {
        // Requests that wait for an app host that died are noticed within seconds, see nginx/forward.conf.
        let keepalive = [("time", "4"), ("intvl", "1"), ("probes", "3")];
        settings.extend(keepalive.map(|(key, value)| (format!("net.ipv4.tcp_keepalive_{key}"), value.to_owned())));
    }
    settings.extend(scope.inventory().system.sysctl.clone());
    let file = scope.file(
        "/etc/sysctl.d/60-hactl.conf",
        "base/sysctl.conf",
        &json!({ "settings": settings }),
    )?;
    scope.add(file);
    for (key, value) in settings {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        scope.add(Sysctl { key, value });
    }
    Ok(())
}
