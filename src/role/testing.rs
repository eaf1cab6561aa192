//! Inventories and hosts for tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use serde_json::Map;

use super::{SecretStore, Templates, desired};
use crate::error::Result;
use crate::inventory::*;
use crate::plan::Desired;
use crate::resource::Facts;
use crate::secret::Secret;
use crate::topology::Topology;

/// Every secret is its own name, with what a careless writer would break on.
pub struct Named;

impl SecretStore for Named {
    fn secret(&self, name: &str) -> Result<Secret> {
        Ok(Secret::new(format!("<{name}>'\"%")))
    }
}

fn ssh() -> Ssh {
    Ssh {
        user: "root".into(),
        port: 22,
        identity_file: None,
        known_hosts: None,
        jump: None,
        become_root: Become::None,
        transport: TransportKind::Auto,
        connect_timeout: 10,
    }
}

fn process(user: &str) -> Process {
    Process {
        user: user.into(),
        uid: 1990,
        web_workers: None,
        web_threads: 1,
        http_timeout: 120,
        web_port: 8000,
        python: "python3".into(),
        packages: Vec::new(),
    }
}

/// A site with TLS of a kind.
pub fn site(name: &str, tls: Tls) -> Site {
    Site {
        name: name.into(),
        aliases: Vec::new(),
        admin_password: None,
        apps: Vec::new(),
        db_name: name.replace(['.', '-'], "_"),
        tls,
        config: Map::new(),
    }
}

/// A single server with this app and these sites.
pub fn single(app: App, sites: Vec<Site>) -> Inventory {
    let host = Host {
        name: "srv1".into(),
        address: [10, 77, 0, 11].into(),
        roles: HostRole::ALL[1..].to_vec(),
        primary: true,
        standby: false,
        ssh: ssh(),
    };
    Inventory {
        cluster: "demo".into(),
        ssh: ssh(),
        hosts: IndexMap::from([("srv1".to_owned(), host)]),
        vip: IndexMap::new(),
        app,
        sites,
        mariadb: MariaDb {
            port: 3306,
            max_connections: 200,
            semi_sync: true,
            ..MariaDb::default()
        },
        redis: Redis {
            cache_port: 13000,
            queue_port: 11000,
            ..Redis::default()
        },
        nginx: Nginx {
            client_max_body_mb: 50,
            http_port: 80,
            https_port: 443,
        },
        system: System::default(),
        become_password: None,
        source: crate::inventory::diagnostics::Source::new("inventory.yml", ""),
        secret_spans: Default::default(),
        templates: None,
        secrets: SecretsFile {
            path: PathBuf::from("/inventory/secrets.age"),
            recipients: Vec::new(),
        },
        path: PathBuf::from("/inventory/inventory.yml"),
    }
}

/// The guestbook of the demo: a WSGI app with a migration and a worker.
pub fn guestbook() -> Inventory {
    let app = Wsgi {
        process: process("app"),
        name: "guestbook".into(),
        url: "git://10.77.0.1/guestbook".into(),
        git_ref: "main".into(),
        module: "guestbook:app".into(),
        path: "/srv/guestbook".into(),
        workers: vec![WsgiWorker {
            name: "jobs".into(),
            command: "python -m guestbook.worker --name 'a b' # 50%".into(),
            count: 2,
        }],
        migrate: Some("python -m guestbook.migrate".into()),
        env: BTreeMap::from([("GREETING".into(), "it's me".into())]),
        health: "/health".into(),
        static_dir: Some("static".into()),
    };
    single(App::Wsgi(app), vec![site("erp.example.com", Tls::SelfSigned)])
}

/// Frappe with two sites, one of them with the operator's certificate.
pub fn frappe() -> Inventory {
    let app = Frappe {
        process: process("frappe"),
        apps: vec![GitApp {
            name: "frappe".into(),
            url: "https://github.com/frappe/frappe".into(),
            git_ref: "v15.51.2".into(),
        }],
        path: "/srv/frappe/bench".into(),
        workers: vec![QueueWorker {
            name: "short".into(),
            queues: vec!["short".into(), "default".into()],
            count: 1,
            timeout: 300,
        }],
        socketio_port: 9000,
        config: Map::new(),
    };
    let files = Tls::Files {
        certificate: "/inventory/erp.crt".into(),
        key: "/inventory/erp.key".into(),
    };
    let mut erp = site("erp.example.com", files);
    erp.aliases = vec!["www.example.com".into()];
    single(App::Frappe(app), vec![erp, site("plain.example.com", Tls::None)])
}

/// What the first host of an inventory should have.
pub fn first(inventory: &Inventory, facts: &Facts) -> Desired {
    let templates = Templates::load(None).unwrap();
    let view = Topology::of(inventory).hosts().next().unwrap();
    desired(view, facts, &templates, &Named).unwrap()
}
