//! Every place of an inventory where text can be written, from the published schema.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};

/// A step on the way to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Key(String),
    Item,
    /// A value of a mapping with free keys.
    Value,
    /// A key of one.
    Name,
}

/// A place where text can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    kind: &'static str,
    parts: Vec<Part>,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Key(key) if index == 0 => write!(f, "{key}")?,
                Part::Key(key) => write!(f, ".{key}")?,
                Part::Item => write!(f, "[]")?,
                Part::Value => write!(f, ".*")?,
                Part::Name => write!(f, ".?")?,
            }
            if index == 0 && self.parts[0] == Part::Key("app".into()) {
                write!(f, ".{}", self.kind)?;
            }
        }
        Ok(())
    }
}

/// All fields.
pub fn all() -> Vec<Field> {
    let schema = serde_json::to_value(hactl::inventory::schema()).expect("a schema");
    let mut found = Vec::new();
    walk(&schema, &schema, &mut Vec::new(), "wsgi", &mut found);
    for field in &mut found {
        // Only Frappe has workers that differ from host to host.
        if field.is_of_host_workers() {
            field.kind = "frappe";
        }
    }
    found.dedup();
    found
}

fn walk(root: &Value, node: &Value, at: &mut Vec<Part>, kind: &'static str, found: &mut Vec<Field>) {
    if let Some(name) = node["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).expect("a definition");
        walk(root, target, at, kind, found);
    }
    for forms in ["oneOf", "anyOf", "allOf"] {
        for form in node[forms].as_array().into_iter().flatten() {
            let kind = match form["properties"]["kind"]["const"].as_str() {
                Some("frappe") => "frappe",
                // Who changes DNS; the app is the same.
                Some("rfc2136") => "rfc2136",
                Some("route53") => "route53",
                Some("cloudflare") => "cloudflare",
                Some("exec") => "exec",
                // Where backups go.
                Some("directory") => "directory",
                Some("ssh") => "ssh",
                Some("s3") => "s3",
                Some("gs") => "gs",
                Some("azure") => "azure",
                _ => kind,
            };
            walk(root, form, at, kind, found);
        }
    }
    let mut enter = |part: Part, next: Option<&Value>| {
        at.push(part);
        match next {
            Some(next) => walk(root, next, at, kind, found),
            None => found.push(Field {
                kind,
                parts: at.clone(),
            }),
        }
        at.pop();
    };
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        if property["const"].is_null() {
            enter(Part::Key(name.clone()), Some(property));
        }
    }
    match &node["additionalProperties"] {
        Value::Bool(true) => {
            enter(Part::Name, None);
            enter(Part::Value, None);
        }
        Value::Object(map) => {
            enter(Part::Name, None);
            enter(Part::Value, Some(&Value::Object(map.clone())));
        }
        _ => {}
    }
    if node["items"].is_object() {
        enter(Part::Item, Some(&node["items"]));
    }
    let text = |kind: &Value| kind == "string";
    let is_text = text(&node["type"]) || node["type"].as_array().is_some_and(|types| types.iter().any(text));
    if is_text && node["enum"].is_null() && node["const"].is_null() {
        found.push(Field {
            kind,
            parts: at.clone(),
        });
    }
}

/// An inventory with an entry in every mapping and list that has free keys or items.
fn base(kind: &str, folder: &Path) -> Value {
    let app = match kind {
        "frappe" => json!({
            "kind": "frappe",
            "apps": [ { "name": "frappe", "url": "https://git.example.com/frappe", "ref": "v1" } ],
            "workers": [ { "name": "short", "queues": ["short"] } ],
            "config": { "note": "x" },
            "adopted": { "from": "/home/frappe/frappe-bench", "refs": { "frappe": "v1" } },
            "packages": ["git"],
        }),
        _ => json!({
            "kind": "wsgi", "name": "guestbook", "url": "https://git.example.com/guestbook", "ref": "v1",
            "module": "guestbook:app", "path": folder.join("app"), "migrate": "true", "env": { "NOTE": "x" },
            "workers": [ { "name": "jobs", "command": "true" } ], "packages": ["git"],
        }),
    };
    json!({
        "cluster": "demo",
        "hosts": { "srv1": { "address": "10.77.0.11", "roles": ["lb", "app", "worker", "db", "redis"] } },
        "vip": { "web": "10.77.0.100/24" },
        "app": app,
        "sites": [ { "name": "erp.example.com", "aliases": ["www.example.com"], "config": { "note": "x" },
                     "tls": { "certificate": "a.crt", "key": "a.key" }, "admin_password": "hunter2", "apps": [] } ],
        "tls": { "certificate": "a.crt", "key": "a.key" },
        "mariadb": { "settings": { "init_connect": "x" } },
        "system": { "packages": ["git"], "sysctl": { "vm.swappiness": "10" } },
        "secrets": { "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"] },
        "ssh": { "become": { "password": "hunter2" } },
        "crashplan": { "power_off": ["poff"], "power_status": ["pstatus"] },
    })
}

/// Who changes DNS.
fn provider(kind: &str) -> Value {
    match kind {
        "rfc2136" => json!({
            "kind": kind, "server": "10.77.0.53", "zone": "example.com", "key": "update", "secret": "hunter2",
        }),
        "route53" => json!({
            "kind": kind, "zone_id": "Z2FDTNDATAQYW2", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "hunter2",
        }),
        "cloudflare" => json!({
            "kind": kind, "zone_id": "023e105f4ecef8ad9ca31a8372d0c353", "token": "hunter2",
        }),
        _ => json!({ "kind": "exec", "run": "true" }),
    }
}

/// A public host key.
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHarmlessHarmlessHarmlessHarmlessHarmlessHar";

/// Where backups go.
fn backup_target(kind: &str) -> Value {
    match kind {
        "ssh" => json!({
            "kind": kind, "host": "10.77.0.54", "user": "vault", "path": "/srv/vault", "key": "hunter2", "host_key": HOST_KEY,
        }),
        "s3" => json!({
            "kind": kind, "bucket": "acme", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "hunter2",
        }),
        "gs" => json!({ "kind": kind, "bucket": "acme", "credentials": "hunter2" }),
        "azure" => json!({ "kind": kind, "account": "acme", "key": "hunter2", "container": "acme" }),
        _ => json!({ "kind": "directory", "path": "/srv/backup" }),
    }
}

impl Field {
    /// Text that is taken here and that nothing else in the inventory holds.
    pub fn harmless(&self) -> &'static str {
        let name = self.to_string();
        match name.as_str() {
            "hosts.*.address" => "10.77.0.99",
            "vip.*" | "vip.*.address" => "10.77.0.177/24",
            "nginx.routes[].path[]" => "/harmless",
            "app.wsgi.module" => "harmless:harmless",
            "tls" | "sites[].tls" => "none",
            "system.timezone" => "Harmless",
            "system.sysctl.?" => "harmless.harmless",
            "secrets.recipients[]" => "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "app.frappe.apps[].name" => "frappe",
            "sites[].apps[]" => "frappe",
            "hosts.*.ssh.become.password" => "unused",
            "app.wsgi.health" => "/harmless",
            _ if name.starts_with("hosts.*.public_address") => "198.51.100.99",
            "dns.provider.zone_id" => match self.kind {
                "cloudflare" => "0123456789abcdef0123456789abcdef",
                _ => "ZHARMLESS",
            },
            "dns.provider.endpoint" => "https://harmless.example.com/harmless",
            "dns.provider.zone" => "com",
            "backup.at" => "03:33",
            "backup.targets.*.host_key" => HOST_KEY,
            "backup.targets.*.endpoint" => "https://harmless.example.com",
            "backup.targets.*.path" if matches!(self.kind, "ssh" | "directory") => "/srv/harmless",
            _ if name.ends_with("certbot.email") => "harmless@example.com",
            _ if name.ends_with("certbot.server") => "https://harmless.example.com/harmless",
            "app.frappe.adopted.from" | "app.frappe.adopted.supervisor" | "app.frappe.adopted.nginx" => "/srv/harmless",
            _ if name.ends_with(".url") => "https://harmless.example.com/harmless",
            _ if name.starts_with("app.") && name.ends_with(".path") => "/srv/harmless",
            _ => "harmless",
        }
    }

    fn is_of_host_workers(&self) -> bool {
        self.parts[0] == Part::Key("hosts".into()) && self.parts.contains(&Part::Key("workers".into()))
    }

    /// Whether it is the key of a mapping.
    pub fn is_name(&self) -> bool {
        self.parts.last() == Some(&Part::Name)
    }

    /// The inventory with this value here, each value on a line of its own.
    pub fn with(&self, value: &str, folder: &Path) -> String {
        let mut inventory = base(self.kind, folder);
        if self.parts.contains(&Part::Key("certbot".into())) {
            // Files and certbot exclude each other, and a site's own choice hides that of all.
            inventory["tls"] = json!({ "certbot": { "email": "ops@example.com", "agree_tos": true } });
            inventory["sites"][0]["tls"] = inventory["tls"].clone();
            if self.parts[0] == Part::Key("tls".into()) {
                inventory["sites"][0].as_object_mut().expect("a site").remove("tls");
            }
        }
        let has = |key: &str| self.parts.contains(&Part::Key(key.into()));
        if has("vip") && self.parts.len() > 2 {
            inventory["vip"]["web"] = json!({ "address": "10.77.0.100/24" });
        }
        if has("dns") || has("public_address") {
            inventory["hosts"]["srv1"]["public_address"] = json!("198.51.100.11");
            inventory["hosts"]["srv2"] =
                json!({ "address": "10.77.0.12", "roles": ["app"], "public_address": "198.51.100.12" });
            inventory["dns"] = json!({ "names": ["erp.example.com"], "provider": provider(self.kind) });
        }
        if has("backup") {
            inventory["backup"] = json!({ "targets": { "vault": backup_target(self.kind) } });
        }
        if has("group") || has("routes") {
            // A group leaves somebody for the other requests.
            let (first, second) = if has("group") {
                (Value::Null, Value::Null)
            } else {
                (json!("b"), json!("harmless"))
            };
            inventory["hosts"]["srv1"]["group"] = first;
            inventory["hosts"]["srv2"] = json!({ "address": "10.77.0.12", "roles": ["app"], "group": second });
            inventory["hosts"]["srv3"] = json!({ "address": "10.77.0.13", "roles": ["app"] });
        }
        if has("routes") {
            inventory["nginx"] = json!({ "routes": [ { "to": "b", "path": ["/a"], "header": { "X-A": "b" } } ] });
        }
        if self.is_of_host_workers() {
            // They take the place of the application's.
            inventory["hosts"]["srv1"]["workers"] = json!([ { "name": "own", "queues": ["own"] } ]);
        }
        let mut node = &mut inventory;
        let (last, way) = self.parts.split_last().expect("a way");
        for part in way {
            node = enter(node, part);
        }
        match last {
            Part::Name => {
                let old = node.as_object_mut().expect("a mapping");
                let inner = old.values().next().cloned().unwrap_or_else(|| json!("x"));
                *node = Value::Object(Map::from_iter([(value.to_owned(), inner)]));
            }
            last => *enter(node, last) = Value::String(value.to_owned()),
        }
        serde_json::to_string_pretty(&inventory).expect("JSON")
    }

    /// Line (from 1) of the field's value.
    pub fn line(&self, text: &str) -> usize {
        let mut other = self.clone();
        other.kind = self.kind;
        let folder = Path::new("/srv/harmless-folder");
        let one = self.with("\u{1}one", folder);
        let two = other.with("\u{1}two", folder);
        let at = one
            .lines()
            .zip(two.lines())
            .position(|(a, b)| a != b)
            .expect("it is in there");
        assert!(at < text.lines().count());
        at + 1
    }

    /// Line on which the mapping or list around the value opens.
    pub fn opening(&self, text: &str, line: usize) -> usize {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let lines: Vec<&str> = text.lines().collect();
        let own = indent(lines[line - 1]);
        let above = lines[..line - 1].iter().rposition(|above| indent(above) < own);
        above.map_or(1, |at| at + 1)
    }
}

fn enter<'a>(node: &'a mut Value, part: &Part) -> &'a mut Value {
    match part {
        Part::Key(key) => {
            if !node.is_object() {
                *node = json!({});
            }
            node.as_object_mut()
                .expect("a mapping")
                .entry(key.clone())
                .or_insert(Value::Null)
        }
        Part::Item => {
            if node.as_array().is_none_or(Vec::is_empty) {
                *node = json!([Value::Null]);
            }
            &mut node[0]
        }
        Part::Value | Part::Name => {
            if node.as_object().is_none_or(Map::is_empty) {
                *node = json!({ "k": Value::Null });
            }
            node.as_object_mut()
                .expect("a mapping")
                .values_mut()
                .next()
                .expect("an entry")
        }
    }
}
