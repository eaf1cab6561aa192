//! nginx as load balancer: which app hosts there are for which requests.

use serde_json::{Value, json};

use super::ROOT;
use crate::error::Result;
use crate::inventory::{App, Host, HostRole, Route};
use crate::resource::File;
use crate::role::Scope;
use crate::topology::Topology;

/// Pool of the app hosts that are in no group.
const EVERYBODY: &str = "app";

/// Pools, routes, and what a site's server block includes.
pub(super) fn files(scope: &Scope) -> Result<Vec<File>> {
    let inventory = scope.inventory();
    let topology = scope.view.topology;
    let socketio = matches!(inventory.app, App::Frappe(_));
    let balancer = json!({
        "pools": pools(topology),
        "socketio": if socketio { servers(topology, None) } else { Vec::new() },
        "choices": choices(&inventory.nginx.routes),
    });
    // An app host answers late itself when its application does: only a host that is gone says nothing for longer.
    let forward = json!({ "socketio": socketio, "timeout": inventory.app.process().http_timeout.saturating_add(15) });
    Ok(vec![
        scope.file(&format!("{ROOT}/hactl/balancer.conf"), "nginx/balancer.conf", &balancer)?,
        scope.file(&format!("{ROOT}/hactl/forward.conf"), "nginx/forward.conf", &forward)?,
    ])
}

/// Name of a group's pool.
fn pool_name(group: Option<&str>) -> String {
    match group {
        None => EVERYBODY.to_owned(),
        Some(group) => format!("{EVERYBODY}_{group}"),
    }
}

/// Where the app hosts of a group answer.
fn servers(topology: Topology, group: Option<&str>) -> Vec<String> {
    let hosts = topology.with_role(HostRole::App);
    let port = topology.inventory.nginx.app_port;
    hosts
        .filter(|host| host.group.as_deref() == group)
        .map(|host| std::net::SocketAddr::new(host.address, port).to_string())
        .collect()
}

fn pools(topology: Topology) -> Vec<Value> {
    let mut groups: Vec<Option<&str>> = Vec::new();
    for host in topology.with_role(HostRole::App) {
        let group = group(host);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let pool = |group: &Option<&str>| {
        let others = groups.iter().filter(|other| *other != group);
        let others: Vec<String> = others.flat_map(|other| servers(topology, *other)).collect();
        json!({ "name": pool_name(*group), "servers": servers(topology, *group), "others": others })
    };
    groups.iter().map(pool).collect()
}

fn group(host: &Host) -> Option<&str> {
    host.group.as_deref()
}

/// The routes as nginx's maps: each looks at one property of a request and leaves what does not fit to the next, the last
/// one to the pool of everybody. The first is the variable that requests are sent by.
fn choices(routes: &[Route]) -> Vec<Value> {
    let mut maps: Vec<(String, Vec<String>, String)> = Vec::new();
    for route in routes {
        let to = pool_name(Some(&route.to));
        let begin = route.paths.iter().map(|path| format!("~^{}", literal(path)));
        let named = route.cmds.iter().map(|cmd| match cmd.strip_suffix('*') {
            Some(begin) => format!("~^/api/(v[0-9]+/)?method/{}", literal(begin)),
            None => format!("~^/api/(v[0-9]+/)?method/{}(/|$)", literal(cmd)),
        });
        let cmds = || {
            let cmds = route.cmds.iter();
            cmds.map(|cmd| match cmd.strip_suffix('*') {
                Some(begin) => format!("~^{}", literal(begin)),
                None => whole(cmd),
            })
        };
        // Browsers send it encoded; who writes a script may not.
        let doctypes = route.doctypes.iter().map(|name| match encoded(name) {
            same if same == *name => whole(name),
            encoded => format!("~^({}|{})$", literal(&encoded), literal(name)),
        });
        let mut look = |at: String, patterns: Vec<String>| {
            if !patterns.is_empty() {
                maps.push((at, patterns, to.clone()));
            }
        };
        look("$uri".into(), begin.chain(named).collect());
        look("$http_x_frappe_cmd".into(), cmds().collect());
        look("$arg_cmd".into(), cmds().collect());
        look("$http_x_frappe_doctype".into(), doctypes.collect());
        for (name, value) in &route.headers {
            let name = name.to_ascii_lowercase().replace('-', "_");
            look(format!("$http_{name}"), vec![whole(value)]);
        }
    }
    if maps.is_empty() {
        maps.push(("$host".into(), Vec::new(), EVERYBODY.into()));
    }
    let variable = |number: usize| match number {
        0 => "$pool".to_owned(),
        number => format!("$pool_{number}"),
    };
    let last = maps.len() - 1;
    let map = |(number, (at, patterns, to)): (usize, &(String, Vec<String>, String))| {
        let otherwise = if number == last {
            EVERYBODY.to_owned()
        } else {
            variable(number + 1)
        };
        json!({ "at": at, "sets": variable(number), "patterns": patterns, "to": to, "otherwise": otherwise })
    };
    maps.iter().enumerate().map(map).collect()
}

/// A regular expression for nothing but this text.
fn whole(text: &str) -> String {
    format!("~^{}$", literal(text))
}

/// Text in a regular expression inside double quotes of nginx's configuration, which takes `\"` and `\\` for one
/// character and leaves other backslashes alone.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\\\\\"),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-' | ' ') => out.push(c),
            c if c.is_ascii() => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// As JavaScript's `encodeURIComponent` writes it.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_literally() {
        for (text, pattern) in [
            ("frappe.desk", "~^frappe\\.desk$"),
            ("a\"b", "~^a\\\"b$"),
            ("a\\b", "~^a\\\\\\\\b$"),
            ("${x};{", "~^\\$\\{x\\}\\;\\{$"),
            ("GL Entry", "~^GL Entry$"),
        ] {
            assert_eq!(whole(text), pattern);
        }
    }

    #[test]
    fn document_types_are_encoded_as_browsers_do() {
        assert_eq!(encoded("GL Entry"), "GL%20Entry");
        assert_eq!(encoded("Prüfung & Co (1)"), "Pr%C3%BCfung%20%26%20Co%20(1)");
    }

    #[test]
    fn the_first_route_that_fits_counts() {
        let route = |to: &str, paths: &[&str], cmds: &[&str], doctypes: &[&str]| Route {
            to: to.into(),
            paths: paths.iter().map(|&text| text.to_owned()).collect(),
            cmds: cmds.iter().map(|&text| text.to_owned()).collect(),
            doctypes: doctypes.iter().map(|&text| text.to_owned()).collect(),
            headers: Vec::new(),
        };
        let routes = [
            route("reports", &["/api/report"], &["frappe.desk.query_report.run"], &[]),
            route("ledger", &[], &[], &["GL Entry"]),
        ];
        let chain: Vec<_> = choices(&routes)
            .iter()
            .map(|map| ["at", "sets", "to", "otherwise"].map(|key| map[key].as_str().unwrap_or_default().to_owned()))
            .collect();
        let expected = [
            ["$uri", "$pool", "app_reports", "$pool_1"],
            ["$http_x_frappe_cmd", "$pool_1", "app_reports", "$pool_2"],
            ["$arg_cmd", "$pool_2", "app_reports", "$pool_3"],
            ["$http_x_frappe_doctype", "$pool_3", "app_ledger", "app"],
        ];
        assert_eq!(chain, expected);
        assert_eq!(choices(&[])[0]["otherwise"], "app");
    }
}
