//! `common_site_config.json` and `site_config.json`: hactl's keys in files that Frappe writes too.

use serde_json::{Map, Value, json};

use super::super::app::{self, CACHE_PASSWORD, QUEUE_PASSWORD};
use super::super::templates::percent_encode;
use super::super::{adopt, memcached};
use super::Scope;
use crate::error::Result;
use crate::inventory::{Frappe, Site, Tls};
use crate::resource::JsonKeys;
use crate::secret::Secret;

/// Queues that Frappe has anyway.
const QUEUES: [&str; 3] = ["short", "default", "long"];

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Keys of all sites.
pub(super) fn common(scope: &Scope, frappe: &Frappe) -> Result<JsonKeys> {
    let process = &frappe.process;
    let database = app::database(&scope.view);
    let mut keys = map(json!({
        // Part of the names of queues: hosts with another one would never see each other's jobs.
        "bench_id": scope.inventory().cluster,
        "db_host": database.host,
        "db_port": database.port,
        "dns_multitenant": true,
        "frappe_user": process.user,
        "gunicorn_workers": app::web_workers(process, scope.facts),
        "http_timeout": process.http_timeout,
        "restart_supervisor_on_update": false,
        "serve_default_site": true,
        "socketio_port": frappe.socketio_port,
        "webserver_port": process.web_port,
    }));
    if frappe.read_from_replica {
        // The readers' endpoint knows which replicas serve, and falls back to the writer.
        let readers = app::readers(&scope.view);
        keys.insert("read_from_replica".into(), true.into());
        keys.insert("replica_host".into(), json!(readers.host));
        keys.insert("replica_db_port".into(), readers.port.into());
    }
    let memcached = memcached::servers(scope.view.topology);
    if !memcached.is_empty() {
        keys.insert("memcached_servers".into(), memcached.into());
    }
    if let Some(site) = scope.inventory().sites.first() {
        keys.insert("default_site".into(), site.name.clone().into());
    }
    let own: Map<String, Value> = own_queues(scope, frappe).collect();
    if !own.is_empty() {
        keys.insert("workers".into(), own.into());
    }
    let cache = redis_url(scope, CACHE_PASSWORD, &app::redis_cache(&scope.view))?;
    let queue = redis_url(scope, QUEUE_PASSWORD, &app::redis_queue(&scope.view))?;
    let secrets = vec![
        ("redis_cache".to_owned(), cache),
        ("redis_queue".to_owned(), queue.clone()),
        // Read by nothing since v15; apps written for older ones look here.
        ("redis_socketio".to_owned(), queue),
    ];
    Ok(with(
        JsonKeys {
            path: format!("{}/sites/common_site_config.json", frappe.path),
            base: adopt::of_bench(frappe, "common_site_config.json"),
            owner: process.user.clone(),
            group: process.user.clone(),
            mode: 0o640,
            keys,
            secrets,
            seeds: Vec::new(),
        },
        &frappe.config,
    ))
}

/// What the operator gave counts, whoever else has an opinion.
fn with(mut file: JsonKeys, given: &Map<String, Value>) -> JsonKeys {
    file.secrets.retain(|(key, _)| !given.contains_key(key));
    file.seeds.retain(|(key, _)| !given.contains_key(key));
    file.keys
        .extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
    file
}

/// Timeouts of queues that Frappe does not know by itself, whichever hosts serve them: jobs come from anywhere.
fn own_queues<'a>(scope: &Scope<'a>, frappe: &'a Frappe) -> impl Iterator<Item = (String, Value)> + use<'a> {
    let of_hosts = scope
        .inventory()
        .hosts
        .values()
        .filter_map(|host| host.workers.as_ref());
    let workers = frappe.workers.iter().chain(of_hosts.flatten());
    workers.flat_map(|worker| {
        let own = worker.queues.iter().filter(|queue| !QUEUES.contains(&queue.as_str()));
        own.map(|queue| (queue.clone(), json!({ "timeout": worker.timeout })))
    })
}

fn redis_url(scope: &Scope, password: &str, endpoint: &app::Endpoint) -> Result<Secret> {
    let password = scope.secret(password)?;
    Ok(Secret::new(format!(
        "redis://:{}@{}",
        percent_encode(password.reveal()),
        endpoint.authority()
    )))
}

/// Keys of one site. The key that passwords in its database are encrypted with is only ever set, never changed.
pub(super) fn site(scope: &Scope, frappe: &Frappe, site: &Site) -> Result<JsonKeys> {
    let process = &frappe.process;
    let database = app::database(&scope.view);
    let keys = map(json!({
        "db_host": database.host,
        "db_name": site.db_name,
        "db_port": database.port,
        "db_type": "mariadb",
        "host_name": origin(scope, site),
    }));
    Ok(with(
        JsonKeys {
            path: format!("{}/sites/{}/site_config.json", frappe.path, site.name),
            base: adopt::of_bench(frappe, &format!("{}/site_config.json", site.name)),
            owner: process.user.clone(),
            group: process.user.clone(),
            mode: 0o600,
            keys,
            secrets: vec![(
                "db_password".to_owned(),
                scope.secret(&app::site_database_password(site))?,
            )],
            seeds: vec![(
                "encryption_key".to_owned(),
                scope.secret(&format!("site/{}/encryption_key", site.name))?,
            )],
        },
        &site.config,
    ))
}

/// Where a browser finds the site; Frappe puts it into mails.
fn origin(scope: &Scope, site: &Site) -> String {
    let nginx = &scope.inventory().nginx;
    let (scheme, port, usual) = match site.tls {
        Tls::None => ("http", nginx.http_port, 80),
        Tls::SelfSigned | Tls::Files { .. } | Tls::OnServer { .. } | Tls::Certbot(_) => {
            ("https", nginx.https_port, 443)
        }
    };
    match port {
        port if port == usual => format!("{scheme}://{}", site.name),
        port => format!("{scheme}://{}:{port}", site.name),
    }
}
