//! What stands around a bench: supervisord, nginx, MariaDB, crontabs.

use super::draft::{Remarks, shown};
use super::reading::Found;
use crate::inventory::rules;

/// The bench's file among supervisord's or nginx's, when it is not where bench puts it.
pub(super) fn link(found: &Found, bench: &str, kind: &str, remarks: &mut Remarks) -> Option<String> {
    let name = bench.rsplit('/').next().unwrap_or_default();
    let usual = format!("/etc/{kind}/conf.d/{name}.conf");
    let target = format!("{bench}/config/{kind}.conf");
    let of_kind = || found.links.iter().filter(|link| link.kind == kind);
    let linked: Vec<_> = of_kind()
        .filter(|link| link.target == target || link.path == usual)
        .collect();
    for other in of_kind().filter(|link| link.names && !linked.iter().any(|one| one.path == link.path)) {
        remarks.known(format!(
            "{} names the bench, too: look whether it is still wanted",
            shown(&other.path)
        ));
    }
    if kind == "supervisor"
        && found
            .groups
            .iter()
            .any(|group| group == "frappe" || group == "frappe-workers")
    {
        remarks.first(
            "supervisord's groups of the bench are named like hactl's own (frappe, frappe-workers): rename the bench's folder, then bench setup supervisor and run init again".into(),
        );
    }
    match linked.as_slice() {
        [] if kind == "supervisor" => {
            let units: Vec<_> = found.targets.iter().take(3).map(|unit| shown(unit)).collect();
            remarks.first(match units.as_slice() {
                [] => format!("supervisord has no file that leads to {target}: is this bench in production? bench setup production"),
                units => format!(
                    "the bench runs under systemd ({}): bench setup supervisor, and disable those units, before it is taken over",
                    units.join(", ")
                ),
            });
            None
        }
        [] => {
            remarks.known(format!(
                "nginx has no file that leads to {target}: what serves the sites cannot be told"
            ));
            None
        }
        [one, rest @ ..] => {
            for other in rest {
                remarks.first(format!(
                    "{} leads to {target}, too: remove one of the two",
                    shown(&other.path)
                ));
            }
            Some(one.path.clone()).filter(|path| *path != usual && rules::host_path(path).is_ok())
        }
    }
}

/// What stands around the bench.
pub(super) fn surroundings(found: &Found, bench: &str, remarks: &mut Remarks) {
    if !found.rooted {
        remarks.first(format!(
            "MariaDB does not let root in by its socket ({}): ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('...')",
            shown(&found.version)
        ));
    }
    for unit in ["supervisor", "nginx", "mariadb"] {
        if found.units.get(unit).is_none_or(|state| state != "active") {
            let state = found
                .units
                .get(unit)
                .map_or_else(|| "unknown".to_owned(), |state| shown(state));
            remarks.first(format!(
                "{unit}.service is {state}: what runs now can only be taken over from what runs"
            ));
        }
    }
    for custom in &found.nginx.custom {
        remarks.known(format!(
            "config/nginx.conf has `{}`, which is not bench's: it is not taken over",
            shown(custom)
        ));
    }
    for link in found
        .links
        .iter()
        .filter(|link| link.kind == "nginx" && !link.names && !link.target.starts_with(bench))
    {
        let path = shown(&link.path);
        if link.path.starts_with("/etc/nginx/sites-enabled/") {
            remarks.known(format!(
                "{path} is not read by nginx any more: hactl's configuration includes conf.d only"
            ));
        } else {
            remarks.known(format!(
                "{path} stays and is included; hactl's nginx.conf has other defaults than yours"
            ));
        }
    }
    for (user, lines) in &found.cron {
        remarks.known(format!(
            "the crontab of {} has {lines} line(s) with `bench`; they go on in the old folder: look which are still wanted",
            shown(user)
        ));
    }
    if found.units.get("redis-server").is_some_and(|state| state == "active") {
        remarks.known(
            "redis-server.service (Debian's own, port 6379) is stopped and disabled: see that nothing else uses it"
                .into(),
        );
    }
    for other in &found.others {
        remarks.first(format!(
            "there is another bench, {}: it would share nginx with hactl's own, which reads no configuration of bench's. Move it to another server",
            shown(other)
        ));
    }
    for odd in &found.odd_sites {
        remarks.first(format!(
            "site {} has a name that is no host name: it is not taken over",
            shown(odd)
        ));
    }
}
