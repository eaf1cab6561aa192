//! Sites of a bench: names, databases, certificates, secrets.

use serde_json::{Map, Value, json};

use super::draft::{Remarks, is_line, is_plain, number, shown, string};
use super::nginx::Server;
use super::reading::{Found, Site};
use crate::inventory::rules;
use crate::secret::Secret;

/// The sites that can be taken over, as the template wants them; their secrets are added to `secrets`.
pub(super) fn sites(
    found: &Found,
    common: &Map<String, Value>,
    apps: &[&str],
    secrets: &mut Vec<(String, Secret)>,
    remarks: &mut Remarks,
) -> Vec<Value> {
    let mut taken: Vec<String> = found.sites.keys().cloned().collect();
    let mut list = Vec::new();
    for (name, site) in &found.sites {
        match one(found, common, apps, name, site, &mut taken, remarks) {
            Ok((value, own)) => {
                list.push(value);
                secrets.extend(own);
            }
            Err(why) => remarks.first(format!("site {} is not taken over: {why}", shown(name))),
        }
    }
    list
}

type Own = Vec<(String, Secret)>;

fn one(
    found: &Found,
    common: &Map<String, Value>,
    apps: &[&str],
    name: &str,
    site: &Site,
    taken: &mut Vec<String>,
    remarks: &mut Remarks,
) -> Result<(Value, Own), String> {
    rules::site(name).map_err(|why| format!("its name {why}"))?;
    if site.link {
        return Err("its folder is a link: make it a folder".into());
    }
    let config = site.config.as_ref().ok_or("its site_config.json is no JSON object")?;
    let either = |key: &str| string(config, key).or(string(common, key));
    let kind = either("db_type").unwrap_or("mariadb");
    if kind != "mariadb" {
        return Err(format!("its database is {}, and hactl keeps MariaDB", shown(kind)));
    }
    let db_host = either("db_host").unwrap_or("127.0.0.1");
    if !matches!(db_host, "127.0.0.1" | "localhost" | "::1") {
        return Err(format!("its database is on {}, another host", shown(db_host)));
    }
    if number(config, "db_port").is_some_and(|port| Some(port) != number(common, "db_port").or(Some(3306))) {
        return Err("its database has a port of its own".into());
    }
    let db_name = string(config, "db_name").ok_or("its site_config.json names no db_name")?;
    rules::database(db_name).map_err(|why| format!("its database `{}` {why}", shown(db_name)))?;
    if either("db_user").is_some_and(|user| user != db_name) {
        return Err("its database user has another name than its database".into());
    }
    let password = string(config, "db_password").ok_or("its site_config.json has no db_password")?;
    if !is_line(password) {
        return Err("its db_password has control characters".into());
    }
    let mut own = vec![(format!("site/{name}/database"), Secret::new(password))];
    match string(config, "encryption_key") {
        Some(key) if is_line(key) => own.push((format!("site/{name}/encryption_key"), Secret::new(key))),
        Some(_) => return Err("its encryption_key has control characters".into()),
        None => {}
    }
    let aliases = aliases(config, name, taken, remarks);
    let installed = installed(found, db_name, name, apps, remarks)?;
    let mut extra = Map::new();
    if let Some(origin) = string(config, "host_name").filter(|origin| is_plain(origin)) {
        extra.insert("host_name".into(), origin.into());
    }
    if found.scheduler.get(db_name) == Some(&false) {
        extra.insert("pause_scheduler".into(), 1.into());
        remarks.known(format!(
            "site {name}: its scheduler is off, and stays so by pause_scheduler in its config"
        ));
    }
    if number(config, "maintenance_mode").or(number(common, "maintenance_mode")) == Some(1) {
        remarks.known(format!("site {name} is in maintenance mode, and stays so"));
    }
    let extra: Vec<_> = extra
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value.to_string() }))
        .collect();
    let value = json!({
        "name": name,
        "aliases": aliases,
        "db_name": db_name,
        "has_apps": installed.is_some(),
        "apps": installed.unwrap_or_default(),
        "tls": certificate(found, config, common, name, &aliases, remarks),
        "config": extra,
    });
    Ok((value, own))
}

/// Further names: bench's `domains`.
fn aliases(config: &Map<String, Value>, site: &str, taken: &mut Vec<String>, remarks: &mut Remarks) -> Vec<String> {
    let mut aliases = Vec::new();
    for domain in config.get("domains").and_then(Value::as_array).into_iter().flatten() {
        let name = domain
            .as_str()
            .or_else(|| domain.get("domain")?.as_str())
            .unwrap_or_default();
        if name == site || aliases.iter().any(|alias| alias == name) {
            continue;
        }
        if rules::alias(name).is_err() || taken.iter().any(|other| other == name) {
            remarks.known(format!(
                "site {site}: its domain {} is no host name or another site's; it is left out",
                shown(name)
            ));
            continue;
        }
        taken.push(name.to_owned());
        aliases.push(name.to_owned());
    }
    aliases
}

/// Its apps besides frappe; `None`: all of the bench's, which is the default.
fn installed(
    found: &Found,
    db: &str,
    site: &str,
    apps: &[&str],
    remarks: &mut Remarks,
) -> Result<Option<Vec<String>>, String> {
    let Some(list) = found.installed.get(db) else {
        remarks.first(format!(
            "site {site}: which apps it has cannot be told, since its database {db} could not be asked"
        ));
        return Ok(Some(Vec::new()));
    };
    let missing: Vec<_> = list
        .iter()
        .filter(|app| !apps.contains(&app.as_str()))
        .map(|app| shown(app))
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "it has the apps {}, which the bench does not",
            missing.join(", ")
        ));
    }
    let own: Vec<String> = list.iter().filter(|app| *app != "frappe").cloned().collect();
    let all = apps
        .iter()
        .filter(|app| **app != "frappe")
        .all(|app| own.iter().any(|one| one == app));
    Ok((!all).then_some(own))
}

/// Certificate and key on the server, as nginx serves them, else as the site's configuration says.
fn certificate(
    found: &Found,
    config: &Map<String, Value>,
    common: &Map<String, Value>,
    site: &str,
    aliases: &[String],
    remarks: &mut Remarks,
) -> Option<Value> {
    let pair = |certificate: Option<&str>, key: Option<&str>| {
        let (certificate, key) = (certificate?, key?);
        let both = [certificate, key].iter().all(|path| rules::host_path(path).is_ok());
        both.then(|| json!({ "certificate": certificate, "key": key }))
    };
    let of_server = |server: &Server| pair(server.certificate.as_deref(), server.key.as_deref());
    let names: Vec<&str> = std::iter::once(site)
        .chain(aliases.iter().map(String::as_str))
        .collect();
    let mut pairs: Vec<Value> = Vec::new();
    for name in &names {
        let serves = |server: &&Server| server.names.iter().any(|one| one == name);
        pairs.extend(found.nginx.servers.iter().filter(serves).filter_map(of_server));
    }
    let of_map = |map: &Map<String, Value>| pair(string(map, "ssl_certificate"), string(map, "ssl_certificate_key"));
    pairs.extend(of_map(config));
    let domains = config.get("domains").and_then(Value::as_array).into_iter().flatten();
    pairs.extend(domains.filter_map(Value::as_object).filter_map(of_map));
    if let Some(wildcard) = common.get("wildcard").and_then(Value::as_object)
        && let Some(domain) = string(wildcard, "domain")
        && site.ends_with(&format!(".{}", domain.trim_start_matches("*.").trim_start_matches('.')))
    {
        pairs.extend(of_map(wildcard));
    }
    pairs.dedup();
    let first = pairs.first().cloned();
    if pairs.iter().any(|pair| Some(pair) != first.as_ref()) {
        remarks.first(format!(
            "site {site}: its names have several certificates, and hactl serves all names of a site with one: have one made for {}",
            names.join(", ")
        ));
    }
    first
}
