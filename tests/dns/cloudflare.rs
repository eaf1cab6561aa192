//! Cloudflare's API: what is asked with which words, and what is never written.

use std::sync::{Arc, Mutex};

use hactl::error::Kind;
use serde_json::{Value, json};

use super::http::{Asked, Server};
use super::{dns, switch};

const ZONE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY";

fn entry(id: &str, name: &str, kind: &str, content: &str, ttl: u32, proxied: bool) -> Value {
    json!({
        "id": id, "type": kind, "name": name, "content": content, "ttl": ttl, "proxied": proxied,
        "proxiable": true, "created_on": "2026-01-01T05:20:00.12345Z", "modified_on": "2026-01-01T05:20:00.12345Z",
        "comment": "kept", "tags": [],
    })
}

fn wrapped(result: &Value) -> String {
    json!({ "success": true, "errors": [], "messages": [], "result": result,
            "result_info": { "page": 1, "per_page": 100, "count": 1, "total_count": 1 } })
    .to_string()
}

fn refusal(code: i64, message: &str) -> String {
    json!({ "success": false, "errors": [ { "code": code, "message": message } ], "messages": [], "result": null })
        .to_string()
}

fn provider(port: u16) -> String {
    format!("{{ kind: cloudflare, zone_id: {ZONE}, token: {TOKEN}, endpoint: 'http://127.0.0.1:{port}/client/v4' }}")
}

/// What Cloudflare does with a list of entries.
fn answer(entries: &mut [Value], asked: &Asked) -> (u16, String) {
    if asked.header("authorization") != format!("Bearer {TOKEN}") {
        return (403, refusal(10000, "Authentication error"));
    }
    let rest = asked
        .path
        .strip_prefix(&format!("/client/v4/zones/{ZONE}/dns_records"))
        .expect("the zone");
    if asked.method == "GET" {
        let name = rest.strip_prefix("?name=").expect("a name").split('&').next().unwrap();
        let found: Vec<&Value> = entries.iter().filter(|entry| entry["name"] == name).collect();
        return (200, wrapped(&json!(found)));
    }
    assert_eq!(
        (asked.method.as_str(), asked.header("content-type")),
        ("PATCH", "application/json")
    );
    let body: Value = serde_json::from_str(&asked.body).expect("JSON");
    let id = rest.trim_start_matches('/');
    let Some(entry) = entries.iter_mut().find(|entry| entry["id"] == id) else {
        return (404, refusal(81044, "Record does not exist."));
    };
    for (key, value) in body.as_object().expect("an object") {
        entry[key] = value.clone();
    }
    (200, wrapped(entry))
}

fn server(entries: Vec<Value>) -> (Server, Arc<Mutex<Vec<Value>>>) {
    let entries = Arc::new(Mutex::new(entries));
    let inner = Arc::clone(&entries);
    let server = Server::start(move |asked| answer(&mut inner.lock().unwrap(), asked));
    (server, entries)
}

#[test]
fn a_record_is_switched_and_the_rest_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (server, entries) = server(vec![
        entry("a1", "erp.example.com", "A", "198.51.100.11", 300, false),
        entry("t1", "erp.example.com", "TXT", "\"198.51.100.11\"", 300, false),
        // Clients see Cloudflare's own addresses here, and no TTL is the inventory's.
        entry("a2", "files.example.com", "A", "198.51.100.11", 1, true),
    ]);
    let dns = dns(
        folder.path(),
        &provider(server.port),
        "erp.example.com, files.example.com",
    );
    let switched = switch(&dns).unwrap();
    assert!(switched.records.iter().all(|done| done.changed) && switched.unverified.is_empty());
    let ttls: Vec<_> = switched.records.iter().map(|done| (done.old_ttl, done.ttl)).collect();
    assert_eq!(ttls, [(Some(300), Some(60)), (None, None)]);
    let bodies: Vec<Value> = server
        .writes()
        .iter()
        .map(|asked| serde_json::from_str(&asked.body).unwrap())
        .collect();
    assert_eq!(
        bodies,
        [
            json!({ "content": "198.51.100.12", "ttl": 60 }),
            json!({ "content": "198.51.100.12" })
        ]
    );
    let paths: Vec<String> = server.writes().into_iter().map(|asked| asked.path).collect();
    assert!(
        paths[0].ends_with("/dns_records/a1") && paths[1].ends_with("/dns_records/a2"),
        "{paths:?}"
    );
    let entries = entries.lock().unwrap();
    assert_eq!(
        (&entries[0]["comment"], &entries[2]["proxied"]),
        (&json!("kept"), &json!(true))
    );
    drop(entries);

    let again = switch(&dns).unwrap();
    assert!(again.records.iter().all(|done| !done.changed));
    assert_eq!(server.writes().len(), 2);
}

#[test]
fn what_is_not_an_address_of_a_host_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let name = "erp.example.com";
    let old = || entry("a1", name, "A", "198.51.100.11", 60, false);
    for (entries, found) in [
        (
            vec![entry("a1", name, "A", "203.0.113.9", 60, false)],
            "leads to 203.0.113.9, which is no host",
        ),
        (
            vec![old(), entry("a2", name, "A", "198.51.100.12", 60, false)],
            "more than one address",
        ),
        (
            vec![old(), entry("a2", name, "A", "198.51.100.11", 60, false)],
            "has 198.51.100.11 twice",
        ),
        (
            vec![entry("c1", name, "CNAME", "other.example.com", 60, false)],
            "is an alias of other.example.com",
        ),
        (vec![], "does not exist"),
    ] {
        let (server, _) = server(entries);
        let refused = switch(&dns(folder.path(), &provider(server.port), name)).unwrap_err();
        assert_eq!(refused.kind, Kind::Refused, "{refused}");
        assert!(refused.message.contains(found), "{refused}");
        assert!(server.writes().is_empty());
    }
}

/// Right before it writes hactl looks again.
#[test]
fn a_record_that_was_changed_meanwhile_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut times = 0;
    let server = Server::start(move |asked| {
        times += 1;
        let address = if times == 1 { "198.51.100.11" } else { "203.0.113.9" };
        answer(&mut [entry("a1", "erp.example.com", "A", address, 60, false)], asked)
    });
    let refused = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap_err();
    assert_eq!(refused.kind, Kind::Refused);
    assert!(refused.message.contains("leads to 203.0.113.9 now"), "{refused}");
    assert!(server.writes().is_empty());
}

#[test]
fn a_token_that_may_not_and_a_service_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let (good, _) = server(vec![entry("a1", "erp.example.com", "A", "198.51.100.11", 60, false)]);
    let wrong = provider(good.port).replace(TOKEN, "another-token-than-that");
    let failed = switch(&dns(folder.path(), &wrong, "erp.example.com")).unwrap_err();
    assert!(failed.message.contains("Authentication error (10000)"), "{failed}");
    assert!(
        failed.message.contains("nothing was changed") && !failed.message.contains("another-token"),
        "{failed}"
    );

    // It may read and not write.
    let server = Server::start(|asked| match asked.method.as_str() {
        "GET" => answer(
            &mut [entry("a1", "erp.example.com", "A", "198.51.100.11", 60, false)],
            asked,
        ),
        _ => (403, refusal(10000, "Authentication error")),
    });
    let failed = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap_err();
    assert_eq!(failed.kind, Kind::HostFailed);
    assert!(
        failed.message.contains("Zone / DNS / Edit") && failed.message.contains("still leads to"),
        "{failed}"
    );

    let down = switch(&dns(folder.path(), &provider(1), "erp.example.com")).unwrap_err();
    assert_eq!(down.kind, Kind::Unreachable, "{down}");
}

/// A redirect would carry the token elsewhere.
#[test]
fn nobody_is_followed_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (elsewhere, _) = server(vec![entry("a1", "erp.example.com", "A", "198.51.100.11", 60, false)]);
    let server = Server::start(|_| (302, String::new()));
    let failed = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap_err();
    assert_eq!(failed.kind, Kind::Unreachable, "{failed}");
    assert!(elsewhere.asked().is_empty());
}
