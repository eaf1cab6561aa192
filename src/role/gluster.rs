//! Files of the sites on a volume of GlusterFS: the first three hosts that run the application keep a copy each, all mount
//! it. See docs/clusters.md for what a lost host means.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, app, stage};
use crate::error::Result;
use crate::inventory::{App, Files, Host, Site};
use crate::quote::sh;
use crate::resource::{Command, Guard, OnChange, Service, Validator};
use crate::topology::{HostView, Topology};

/// The role.
pub const ROLE: Role = Role {
    name: "gluster",
    applies: |view| used(view) || could_have_left(view),
    declare,
};

/// The daemon that manages copies.
pub(super) const DAEMON: &str = "glusterd.service";
/// The client that mounts the volume.
pub(super) const UNIT: &str = "hactl-gluster.service";

const SCRIPT: &str = "/usr/local/lib/hactl/gluster";
const SERVICE: &str = "/etc/systemd/system/hactl-gluster.service";
const CONFIG: &str = "/etc/glusterfs/glusterd.vol";
const FILTER: &str = "/etc/hactl/gluster.nft";
const FILTER_SCRIPT: &str = "/usr/local/lib/hactl/gluster-filter";
const FILTER_UNIT: &str = "hactl-gluster-filter.service";
const FILTER_SERVICE: &str = "/etc/systemd/system/hactl-gluster-filter.service";
const DROP_IN: &str = "/etc/systemd/system/glusterd.service.d";
pub(super) const BASE: &str = "/var/lib/hactl/gluster";
const MOUNT: &str = "/var/lib/hactl/gluster/mount";

/// Where glusterd listens.
pub const PORT: u16 = 24007;
/// Ports of bricks; the volume has one on each host, and gets another one while the old one's connections end.
const BRICKS: (u16, u16) = (24010, 24040);

/// Copies that there are at most: of three a majority is left when one is lost, and every write goes to all.
const COPIES: usize = 3;

/// Whether this host has the sites' files on the volume.
pub fn used(view: &HostView) -> bool {
    view.runs_app() && view.topology.inventory.files == Files::Gluster && is_frappe(view)
}

/// Whether it may have had them there before the inventory changed.
fn could_have_left(view: &HostView) -> bool {
    view.runs_app() && is_frappe(view)
}

fn is_frappe(view: &HostView) -> bool {
    matches!(view.topology.inventory.app, App::Frappe(_))
}

/// The hosts that keep a copy, in the order of the inventory.
pub(super) fn keepers(topology: Topology<'_>) -> Vec<&Host> {
    let hosts = topology.hosts().filter(HostView::runs_app);
    hosts.map(|view| view.host).take(COPIES).collect()
}

/// Whether this host keeps a copy.
pub fn keeps(view: &HostView) -> bool {
    let hosts = keepers(view.topology);
    hosts.iter().any(|host| host.name == view.host.name)
}

/// The volume's name.
pub(super) fn volume(topology: Topology) -> String {
    format!("hactl-{}", topology.inventory.cluster)
}

/// Where a copy is on its host, in a folder that only root may enter: files in it have the modes that they have in the
/// volume.
fn brick() -> String {
    format!("{BASE}/copy/brick")
}

fn declare(scope: &mut Scope) -> Result<()> {
    if !used(&scope.view) {
        leave(scope);
        return Ok(());
    }
    scope.packages(&["glusterfs-client", "rsync"]);
    scope.directory("/etc/hactl", "root", "root", 0o755);
    scope.directory(BASE, "root", "root", 0o755);
    if keeps(&scope.view) {
        daemon(scope)?;
        scope.barrier(stage::VOLUME);
        if app::leads(&scope.view) {
            let command = make(scope)?;
            scope.add(command);
        }
    }
    scope.barrier(stage::MOUNTED);
    if keeps(&scope.view) {
        if !app::leads(&scope.view) {
            let command = acquaint(scope);
            scope.add(command);
        }
        let command = shut_out(scope);
        scope.add(command);
    }
    mount(scope)
}

/// glusterd, which nobody but the application's hosts may talk to.
fn daemon(scope: &mut Scope) -> Result<()> {
    scope.packages(&["glusterfs-server", "nftables"]);
    scope.directory(&format!("{BASE}/copy"), "root", "root", 0o700);
    let (first, last) = BRICKS;
    let file = scope.file(CONFIG, "gluster/glusterd.vol", &json!({ "first": first, "last": last }))?;
    scope.add(file);
    let clients = clients(scope.view.topology).join(", ");
    let context = json!({ "first": PORT, "last": last, "clients": clients });
    let mut file = scope.file(FILTER, "gluster/filter.nft", &context)?;
    file.validator = Some(Validator {
        name: "nft".into(),
        tree: None,
        check: "nft -c -f \"$FILE\"".into(),
    });
    scope.add(file);
    let file = scope.file(FILTER_SCRIPT, "gluster/filter.sh", &json!({ "filter": FILTER }))?;
    scope.add(file.owned("root", "root", 0o755));
    let context = json!({ "script": FILTER_SCRIPT });
    let file = scope.file(FILTER_SERVICE, "gluster/filter.service", &context)?;
    scope.add(file);
    scope.add(Service {
        unit: FILTER_UNIT.into(),
        watches: vec![FILTER.into(), FILTER_SCRIPT.into(), FILTER_SERVICE.into()],
        on_change: OnChange::Restart,
        health: "nft list table inet hactl_gluster >/dev/null".into(),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    let unit = format!("{DROP_IN}/60-hactl.conf");
    scope.directory(DROP_IN, "root", "root", 0o755);
    let file = scope.file(&unit, "gluster/unit.conf", &context)?;
    scope.add(file);
    scope.add(Service {
        unit: DAEMON.into(),
        watches: vec![CONFIG.into(), unit],
        // Copies are processes of their own, which serve on meanwhile.
        on_change: OnChange::Restart,
        health: "timeout 10 gluster --mode=script pool list >/dev/null".into(),
        patience: Duration::from_secs(60),
        forgets: Vec::new(),
    });
    Ok(())
}

fn clients(topology: Topology) -> Vec<String> {
    let hosts = topology.hosts().filter(HostView::runs_app);
    hosts.map(|view| view.host.address.to_string()).collect()
}

/// Options of the volume that differ from GlusterFS's defaults.
fn options(topology: Topology) -> Vec<(&'static str, String)> {
    vec![
        // Who may mount it; copies prove themselves to each other with a password of their own.
        ("auth.allow", clients(topology).join(",")),
        // After which a host that is silent is left out. 42 s is GlusterFS's default, and stops every visitor who needs a
        // file for as long.
        ("network.ping-timeout", "5".to_owned()),
        // Without a majority of the copies nothing is written. Of two, the first one counts.
        ("cluster.quorum-type", "auto".to_owned()),
        // A host that sees no other keeps its copy to itself. Of two, that would end the files with either of them.
        (
            "cluster.server-quorum-type",
            match keepers(topology).len() >= COPIES {
                true => "server".to_owned(),
                false => "none".to_owned(),
            },
        ),
    ]
}

/// The volume, made and changed by one host through its daemon.
fn make(scope: &Scope) -> Result<Command> {
    let topology = scope.view.topology;
    let (volume, brick, keepers) = (volume(topology), brick(), keepers(topology));
    let addresses: Vec<_> = keepers.iter().map(|host| host.address.to_string()).collect();
    let options = options(topology);
    let context = json!({
        "volume": sh(&volume),
        "brick": sh(&brick),
        "here": sh(&scope.view.host.address.to_string()),
        "wanted": sh(&addresses.join(" ")),
        "replica": addresses.len(),
        "options": options.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>(),
    });
    let run = scope
        .file("/volume", "gluster/volume", &context)?
        .text
        .reveal()
        .to_owned();
    let mut lines = vec![
        "Status: Started".to_owned(),
        format!("Number of Bricks: 1 x {0} = {0}", addresses.len()),
    ];
    lines.extend(options.iter().map(|(key, value)| format!("{key}: {value}")));
    let lines: Vec<_> = lines
        .iter()
        .map(|line| format!("printf '%s\\n' \"$info\" | grep -qxF -- {} || exit 1", sh(line)))
        .chain(addresses.iter().map(|address| {
            let end = sh(&format!(": {address}:{brick}"));
            format!("printf '%s\\n' \"$info\" | grep '^Brick[0-9]' | grep -qF -- {end} || exit 1")
        }))
        .collect();
    let done = format!(
        "info=$(timeout 20 gluster --mode=script volume info {volume} 2>/dev/null) || exit 1\n\
         {lines}\n\
         for peer in /var/lib/glusterd/peers/*; do\n\
         \x20   [ -e \"$peer\" ] || continue\n\
         \x20   known=\n\
         \x20   while IFS='=' read -r key name; do\n\
         \x20       case $key/{known} in hostname*/*\" $name \"*) known=yes ;; esac\n\
         \x20   done <\"$peer\"\n\
         \x20   [ -n \"$known\" ] || exit 1\n\
         done",
        volume = sh(&volume),
        lines = lines.join("\n"),
        known = sh(&format!(" {} ", addresses.join(" "))),
    );
    let names: Vec<_> = keepers.iter().map(|host| host.name.as_str()).collect();
    Ok(Command {
        deadline: Duration::from_secs(600),
        ..Command::by_root(
            format!("volume {volume}: a copy on each of {}", names.join(", ")),
            vec![Guard::Passes(done)],
            run,
        )
    })
}

/// Whoever is taken into the cluster knows the one that did that by whatever name its address has there. When that name is
/// gone with its host, nobody could take the host's copy out: it must be known by its address, as the others are.
fn acquaint(scope: &Scope) -> Command {
    let others = keepers(scope.view.topology).into_iter();
    let others = others.filter(|host| host.name != scope.view.host.name);
    let addresses: Vec<_> = others.map(|host| sh(&host.address.to_string())).collect();
    let known = "grep -hs '^hostname' /var/lib/glusterd/peers/* | cut -d = -f 2 | grep -qxF -- \"$one\"";
    let addresses = addresses.join(" ");
    Command {
        deadline: Duration::from_secs(120),
        ..Command::by_root(
            "addresses of the volume's other hosts",
            vec![Guard::Passes(format!(
                "for one in {addresses}; do {known} || exit 1; done"
            ))],
            // Others do the same at this moment, and what one does all learn.
            format!(
                "for try in $(seq 20); do\n\
                 \x20   left=\n\
                 \x20   for one in {addresses}; do\n\
                 \x20       {known} || left=\"$one: $(timeout 20 gluster --mode=script peer probe \"$one\" 2>&1 </dev/null || :)\"\n\
                 \x20   done\n\
                 \x20   [ -n \"$left\" ] || exit 0\n\
                 \x20   sleep 0.5\n\
                 done\n\
                 echo \"$left\"\n\
                 exit 1"
            ),
        )
    }
}

/// Hosts that have left the cluster may not talk to it any more. They had to until then.
fn shut_out(scope: &Scope) -> Command {
    let known = sh(&format!(" {} ", clients(scope.view.topology).join(" ")));
    let nobody_else = format!(
        "stray=\n\
         for one in $(nft list set inet hactl_gluster clients 2>/dev/null | grep -oE '[0-9]+([.][0-9]+){{3}}'); do\n\
         \x20   case {known} in *\" $one \"*) ;; *) stray=$one ;; esac\n\
         done\n\
         [ -z \"$stray\" ]"
    );
    Command::by_root(
        "filter of GlusterFS without hosts that have left",
        vec![Guard::Passes(nobody_else.clone())],
        format!(
            "for try in $(seq 20); do\n\
             \x20   {FILTER_SCRIPT}\n\
             \x20   if {nobody_else}; then exit 0; fi\n\
             \x20   sleep 0.5\n\
             done\n\
             echo \"$stray has left, and is in the cluster of GlusterFS still: gluster pool list\"\n\
             exit 1"
        ),
    )
}

/// The volume mounted on this host, and what puts the sites' folders on it.
fn mount(scope: &mut Scope) -> Result<()> {
    let topology = scope.view.topology;
    // Its own first.
    let mut servers: Vec<_> = keepers(topology).iter().map(|host| host.address).collect();
    servers.sort_by_key(|address| *address != scope.view.host.address);
    let servers = servers.iter().map(|address| format!("--volfile-server={address}"));
    let context = json!({
        "volume": sh(&volume(topology)),
        "base": BASE,
        "mount": MOUNT,
        "host": sh(&scope.view.host.name),
        "path": sh(scope.inventory().app.path()),
        "user": sh(&scope.inventory().app.process().user),
        "servers": servers.collect::<Vec<_>>().join(" "),
    });
    let script = scope.file(SCRIPT, "gluster/files", &context)?;
    scope.add(script.owned("root", "root", 0o755));
    let service = scope.file(SERVICE, "gluster/service", &json!({ "script": SCRIPT }))?;
    scope.add(service);
    scope.add(Service {
        unit: UNIT.into(),
        // Not its script: whom it asks for the volume matters when it starts, and a restart takes the files away for a
        // moment.
        watches: vec![SERVICE.into()],
        on_change: OnChange::Restart,
        health: format!("timeout 10 {SCRIPT} answers"),
        patience: Duration::from_secs(60),
        forgets: Vec::new(),
    });
    Ok(())
}

/// A site's folders of files, before anything is in them; what is in them already moves to the volume.
pub(super) fn join(site: &Site) -> Command {
    let name = sh(&site.name);
    Command {
        deadline: Duration::from_secs(7200),
        ..Command::by_root(
            format!("files of {} on the volume", site.name),
            vec![Guard::Passes(format!(
                "[ -x {SCRIPT} ] && {SCRIPT} joined {name} && [ ! -e {timer} ]",
                timer = super::files::TIMER,
            ))],
            format!("{stop}{SCRIPT} join {name}", stop = super::files::stop()),
        )
    }
}

/// The inventory has the files elsewhere now: they come back to this host's disk. The volume stays as it is.
fn leave(scope: &mut Scope) {
    scope.barrier(stage::APPLICATION);
    scope.add(Command {
        deadline: Duration::from_secs(7200),
        ..Command::by_root(
            "files of the sites back from the volume",
            vec![Guard::Passes(format!("[ ! -e {SERVICE} ]"))],
            format!(
                "systemctl is-active -q {UNIT} || systemctl start {UNIT}\n\
                 {SCRIPT} off\n\
                 systemctl -q disable --now {UNIT}\n\
                 rm -f -- {SERVICE} {SCRIPT}\n\
                 systemctl daemon-reload"
            ),
        )
    });
}

/// Shell before a site's folder is put away as `name`, on a host that may have its files on the volume.
pub(super) fn dropped(view: &HostView, site: &str, name: &str) -> String {
    match used(view) {
        true => format!("[ ! -x {SCRIPT} ] || {SCRIPT} drop {} {}\n", sh(site), sh(name)),
        false => String::new(),
    }
}

/// Says how the files are, for `status`: fails when this host has none of them.
pub(super) fn health(view: &HostView) -> String {
    let topology = view.topology;
    let sites = topology.inventory.sites.iter();
    let places: Vec<_> = sites
        .map(|site| {
            format!(
                "{SCRIPT} joined {} || {{ echo {}; exit 1; }}\n",
                sh(&site.name),
                sh(&format!("the files of {} are not on the volume", site.name))
            )
        })
        .collect();
    let mounted = format!(
        "timeout 15 {SCRIPT} answers || {{ echo 'the volume is not mounted, or does not answer'; exit 1; }}\n{}",
        places.concat()
    );
    if !keeps(view) {
        return format!("{mounted}echo 'the volume is mounted'");
    }
    let keepers = keepers(topology);
    let expected: Vec<_> = keepers
        .iter()
        .map(|host| format!("{}={}", host.address, host.name))
        .collect();
    format!(
        "volume={volume} expected={expected} copies={copies}\n{look}\n{mounted}\
         echo \"${{look:-$copies copies, all the same}}\"",
        volume = sh(&volume(topology)),
        expected = sh(&expected.join(" ")),
        copies = keepers.len(),
        look = include_str!("gluster_health.sh"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::resource::{Facts, Observed, Spec};
    use crate::role::Templates;
    use crate::role::testing::{Named, inventory};

    const CLUSTER: &str = r#"
cluster: demo
hosts:
  db1: { address: 10.0.0.31, roles: [ db, redis ] }
  app1: { address: 10.0.0.21, roles: [ app, worker ] }
  app2: { address: 10.0.0.22, roles: [ app ] }
  w1: { address: 10.0.0.23, roles: [ worker ] }
  app3: { address: 10.0.0.24, roles: [ app ] }
app: { kind: frappe, apps: [ { name: frappe, url: "git://h/frappe", ref: v15.1.0 } ] }
sites: [ { name: erp.example.com } ]
files: gluster
"#;

    fn desired(text: &str, host: &str) -> plan::Desired {
        let inventory = inventory(text);
        let view = Topology::of(&inventory).host(host).unwrap();
        let templates = Templates::load(None).unwrap();
        crate::role::desired(view, &Facts::assumed(), &templates, &Named).unwrap()
    }

    fn ids(desired: &plan::Desired) -> Vec<String> {
        desired
            .resources
            .iter()
            .map(|resource| resource.spec.kind().id())
            .collect()
    }

    #[test]
    fn three_keep_a_copy_and_one_of_them_makes_the_volume() {
        let volume = "run volume hactl-demo: a copy on each of app1, app2, w1".to_owned();
        for (host, copy, makes) in [
            ("app1", true, true),
            ("app2", true, false),
            ("w1", true, false),
            ("app3", false, false),
        ] {
            let ids = ids(&desired(CLUSTER, host));
            let has = |id: &str| ids.iter().any(|one| one == id);
            assert!(has("service hactl-gluster.service"), "{host}");
            assert_eq!(has("service glusterd.service"), copy, "{host}");
            assert_eq!(has(&volume), makes, "{host}");
            assert!(has("run files of erp.example.com on the volume"), "{host}");
            // Who waits for the volume must not make the folders below it.
            assert!(
                !has("directory /srv/frappe/bench/sites/erp.example.com/public/files"),
                "{host}"
            );
        }
        assert!(!ids(&desired(CLUSTER, "db1")).iter().any(|id| id.contains("gluster")));
    }

    #[test]
    fn only_the_application_s_hosts_may_ask() {
        let desired = desired(CLUSTER, "w1");
        let filter = desired.resources.iter().find_map(|resource| match &resource.spec {
            Spec::File(file) if file.path == FILTER => Some(file.text.reveal().to_owned()),
            _ => None,
        });
        let filter = filter.unwrap();
        let let_in = "elements = { 10.0.0.21, 10.0.0.22, 10.0.0.23, 10.0.0.24 }";
        assert!(filter.lines().any(|line| line.trim() == let_in), "{filter}");
    }

    #[test]
    fn a_site_is_made_on_the_volume() {
        let plan = plan::build(&desired(CLUSTER, "app1"), &Observed::bare(Facts::assumed()));
        let place = |part: &str| plan.steps.iter().position(|step| step.id.contains(part)).unwrap();
        let order = [
            place("run volume"),
            place("service hactl-gluster.service"),
            place("run files of erp.example.com"),
            place("run site erp.example.com"),
        ];
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn hosts_with_files_of_their_own_look_whether_they_were_on_a_volume() {
        let leaves = "run files of the sites back from the volume".to_owned();
        for (files, host, looks) in [
            ("files: gluster", "app1", false),
            ("files: rsync", "app1", true),
            ("files: local", "w1", true),
            ("files: rsync", "db1", false),
        ] {
            let text = CLUSTER.replace("files: gluster", files);
            assert_eq!(ids(&desired(&text, host)).contains(&leaves), looks, "{files} {host}");
        }
    }
}
