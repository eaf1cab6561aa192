//! Inventories with every default, for tests that only care for hosts.

use std::path::Path;

use hactl::inventory::Inventory;

/// An inventory of hosts `(name, address)`.
pub fn of(cluster: &str, hosts: &[(&str, &str)]) -> Inventory {
    let mut text = format!("cluster: {cluster}\nssh: {{ identity_file: /nonexistent/id }}\nhosts:\n");
    for (index, (name, address)) in hosts.iter().enumerate() {
        // Two hosts that do everything would be a pair, which wants to know who waits.
        let roles = if index == 0 { "app, worker, db, redis" } else { "app" };
        text.push_str(&format!("  {name}: {{ address: {address}, roles: [{roles}] }}\n"));
    }
    text.push_str("app: { kind: wsgi, url: 'https://git.example.com/app', ref: v1, module: 'app:app' }\nsites: [ { name: erp.example.com } ]\n");
    let parsed = hactl::inventory::parse(&text, Path::new("/nonexistent/inventory.yml"));
    parsed
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)))
        .inventory
}
