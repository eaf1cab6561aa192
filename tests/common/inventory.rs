//! Inventories with every default, for tests that only care for hosts.

use std::path::Path;

use hactl::inventory::Inventory;

/// An inventory of hosts `(name, address)`: the first is the primary.
pub fn of(cluster: &str, hosts: &[(&str, &str)]) -> Inventory {
    let mut text = format!("cluster: {cluster}\nssh: {{ identity_file: /nonexistent/id }}\nhosts:\n");
    for (index, (name, address)) in hosts.iter().enumerate() {
        let primary = if index == 0 { ", primary: true" } else { "" };
        let roles = if hosts.len() > 1 {
            ", roles: [app, worker, db, redis]"
        } else {
            ""
        };
        text.push_str(&format!("  {name}: {{ address: {address}{primary}{roles} }}\n"));
    }
    text.push_str("app: { kind: wsgi, url: 'https://git.example.com/app', ref: v1, module: 'app:app' }\nsites: [ { name: erp.example.com } ]\n");
    let parsed = hactl::inventory::parse(&text, Path::new("/nonexistent/inventory.yml"));
    parsed
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)))
        .inventory
}
