//! Inventories made in memory, for tests that need no YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hactl::inventory::*;
use indexmap::IndexMap;

/// An inventory of hosts `(name, address)` with every default.
pub fn of(cluster: &str, hosts: &[(&str, &str)]) -> Inventory {
    let ssh = Ssh {
        user: "root".into(),
        port: 22,
        identity_file: Some(PathBuf::from("/nonexistent/id")),
        known_hosts: None,
        jump: None,
        become_root: Become::None,
        transport: TransportKind::Auto,
        connect_timeout: 10,
    };
    let host = |(name, address): &(&str, &str)| {
        let host = Host {
            name: (*name).into(),
            address: address.parse().expect("an address"),
            roles: HostRole::ALL[1..].to_vec(),
            primary: false,
            standby: false,
            ssh: ssh.clone(),
        };
        ((*name).to_owned(), host)
    };
    let process = Process {
        user: "app".into(),
        uid: 1990,
        web_workers: None,
        web_threads: 1,
        http_timeout: 120,
        web_port: 8000,
        python: "python3".into(),
        packages: Vec::new(),
    };
    Inventory {
        cluster: cluster.into(),
        hosts: hosts.iter().map(host).collect(),
        ssh,
        vip: IndexMap::new(),
        app: App::Wsgi(Wsgi {
            process,
            name: "app".into(),
            url: "git://example.com/app".into(),
            git_ref: "main".into(),
            module: "app:app".into(),
            path: "/srv/app".into(),
            workers: Vec::new(),
            migrate: None,
            env: BTreeMap::new(),
            health: "/".into(),
            static_dir: None,
        }),
        sites: Vec::new(),
        mariadb: MariaDb::default(),
        redis: Redis::default(),
        nginx: Nginx::default(),
        system: System::default(),
        templates: None,
        secrets: SecretsFile {
            path: PathBuf::from("/nonexistent/secrets.age"),
            recipients: Vec::new(),
        },
        path: PathBuf::from("/nonexistent/inventory.yml"),
    }
}
