//! Inventories and hosts for tests.

use std::path::Path;

use super::{SecretStore, Templates, desired};
use crate::error::Result;
use crate::inventory::{Inventory, parse};
use crate::plan::Desired;
use crate::resource::Facts;
use crate::secret::Secret;
use crate::topology::{Live, Topology};

/// Every secret is its own name, with what a careless writer would break on.
pub struct Named;

impl SecretStore for Named {
    fn secret(&self, name: &str) -> Result<Secret> {
        Ok(Secret::new(format!("<{name}>'\"%")))
    }
}

/// The guestbook of the demo: a WSGI app with a migration and workers.
pub const GUESTBOOK: &str = r#"
cluster: demo
hosts:
  srv1: { address: 10.77.0.11 }
app:
  kind: wsgi
  url: git://10.77.0.1/guestbook
  ref: main
  module: guestbook:app
  migrate: python -m guestbook.migrate
  health: /health
  static_dir: static
  env: { GREETING: "it's me" }
  workers:
    - { name: jobs, command: "python -m guestbook.worker --name 'a b' # 50%", count: 2 }
sites:
  - { name: erp.example.com }
"#;

/// Frappe with two sites, one of them with the operator's certificate.
pub const FRAPPE: &str = r#"
cluster: demo
hosts:
  srv1: { address: 10.77.0.11 }
app:
  kind: frappe
  apps:
    - { name: frappe, url: "https://github.com/frappe/frappe", ref: v15.51.2 }
    - { name: erpnext, url: "https://github.com/frappe/erpnext", ref: version-15 }
  config: { http_timeout: 300, redis_socketio: null }
  workers:
    - { name: short, queues: [ short, default ], count: 2 }
    - { name: reports, timeout: 7200 }
sites:
  - { name: erp.example.com, aliases: [ www.example.com ], tls: { certificate: erp.crt, key: erp.key } }
  - { name: plain.example.com, tls: none, apps: [], config: { host_name: "https://elsewhere.example.com" } }
system:
  timezone: Europe/Vienna
  sysctl: { net.core.somaxconn: "1024" }
"#;

/// A site whose certificate certbot gets, from an authority of one's own.
pub const CERTBOT: &str = r#"
cluster: demo
hosts:
  srv1: { address: 10.77.0.11 }
app: { kind: wsgi, url: git://10.77.0.1/guestbook, ref: main, module: guestbook:app }
tls: { certbot: { email: ops@example.com, agree_tos: true, server: "https://ca.example.com:14000/dir" } }
sites:
  - { name: erp.example.com, aliases: [ www.example.com ] }
  - { name: lab.example.com, tls: self-signed }
"#;

/// Frappe on a server that `bench` built.
pub const ADOPTED: &str = r#"
cluster: demo
hosts:
  srv1: { address: 10.77.0.11 }
app:
  kind: frappe
  apps:
    - { name: frappe, url: "https://github.com/frappe/frappe", ref: v15.51.2 }
    - { name: erpnext, url: "https://github.com/frappe/erpnext", ref: v15.50.0 }
  adopted:
    from: /home/frappe/frappe-bench
    refs: { frappe: v15.51.2, erpnext: v15.50.0 }
  uid: 1000
  config: { bench_id: home-frappe-frappe-bench }
sites:
  - name: erp.example.com
    db_name: _5c8a1f2e9d3b4a67
    tls: { certificate: /etc/letsencrypt/live/erp/fullchain.pem, key: /etc/letsencrypt/live/erp/privkey.pem, on_server: true }
  - { name: plain.example.com, tls: none, apps: [] }
mariadb: { keep_config: true }
redis: { cache_port: 13001, queue_port: 11001 }
"#;

/// Three hosts with Redis.
pub const REDIS: &str = r#"
cluster: demo
hosts:
  app: { address: 10.0.0.1, roles: [ app, worker, db ] }
  rd1: { address: 10.0.0.41, roles: [ redis ] }
  rd2: { address: 10.0.0.42, roles: [ redis ] }
  rd3: { address: 10.0.0.43, roles: [ redis ] }
app: { kind: wsgi, url: "git://h/x", ref: main, module: "a:b" }
sites: [ { name: erp.example.com } ]
"#;

/// Load balancers with addresses, app hosts in groups, one of which is a load balancer itself.
pub const BALANCED: &str = r#"
cluster: demo
hosts:
  lb1: { address: 10.77.0.11, roles: [ lb ] }
  lb2: { address: 10.77.0.12, roles: [ lb, app ] }
  app1: { address: 10.77.0.21, roles: [ app, worker ] }
  app2: { address: 10.77.0.22, roles: [ app ], group: reports }
  db1: { address: 10.77.0.31, roles: [ db, redis ] }
vip:
  web: 192.0.2.100/24
  api: { address: 192.0.2.101/24, virtual_router_id: 51 }
app:
  kind: frappe
  apps: [ { name: frappe, url: "https://github.com/frappe/frappe", ref: v15.51.2 } ]
sites:
  - { name: erp.example.com }
  - { name: plain.example.com, tls: none }
nginx:
  routes:
    - to: reports
      path: [ /api/report ]
      cmd: [ frappe.desk.query_report.run, "frappe.desk.reportview.*" ]
      doctype: [ GL Entry ]
      header: { X-Report: "1" }
"#;

/// The same on two servers, of which `srv2` waits at birth.
pub fn pair(text: &str) -> String {
    let one = "  srv1: { address: 10.77.0.11 }\n";
    assert!(text.contains(one));
    let two = format!("{one}  srv2: {{ address: 10.77.0.12, standby: true }}\nvip: {{ web: 10.77.0.100/24 }}\n");
    text.replace(one, &two)
}

/// Reads an inventory that is known to be right.
pub fn inventory(text: &str) -> Inventory {
    match parse(text, Path::new("/inventory/inventory.yml")) {
        Ok(loaded) => loaded.inventory,
        Err(found) => panic!("{}", found.into_error(false)),
    }
}

/// What the first host of an inventory should have.
pub fn first(inventory: &Inventory, facts: &Facts) -> Desired {
    of_host(inventory, &inventory.hosts[0].name, facts)
}

/// What a host of an inventory should have.
pub fn of_host(inventory: &Inventory, host: &str, facts: &Facts) -> Desired {
    living(inventory, host, facts, &Live::UNKNOWN)
}

/// The same when it is known who leads.
pub fn living(inventory: &Inventory, host: &str, facts: &Facts, live: &Live) -> Desired {
    let templates = Templates::load(None).unwrap();
    let view = Topology::living(inventory, live).host(host).unwrap();
    desired(view, facts, &templates, &Named).unwrap()
}
