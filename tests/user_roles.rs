//! Roles of the user, as far as no host is needed: what they declare, where they stand, what is refused and how it is said.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const INVENTORY: &str = "\
cluster: acme
hosts:
  srv1: { address: 10.77.9.11, use: [ beacon ] }
app: { kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }
sites: [ { name: shop.example.com } ]
use: [ limits ]
";

/// Every key of a role.
const BEACON: &str = r#"
after: redis
packages: [ memcached ]
groups: [ { name: beacons, gid: 2199 } ]
users: [ { name: beacon, uid: 2200, groups: [ beacons ] } ]
directories:
  - { path: /srv/beacon, owner: beacon, mode: 0750 }
files:
  - path: /srv/beacon/beacon.conf
    owner: beacon
    mode: "0640"
    check: 'grep -q . "$FILE"'
    text: |
      # {{ cluster }} {{ role }}
      {% for site in sites %}
      site {{ site.name }}
      {% endfor %}
      workers {{ facts.cpus * 2 }} on {{ host.name }} {{ host.address }} of {{ hosts | length }}
      user {{ app.user }} {{ secret(name="redis/cache") }}
  - { path: /etc/systemd/system/beacon.service, template: beacon.service }
links: [ { path: /srv/beacon/current, target: beacon.conf } ]
absent: [ /etc/beacon.conf ]
sysctls: { net.ipv4.tcp_keepalive_time: 600 }
commands:
  - name: index of the beacon
    run: |
      date >/srv/beacon/index
      chmod 0644 /srv/beacon/index
    creates: /srv/beacon/index
    once: 1.2
    unless: test -s /srv/beacon/index
    user: beacon
    dir: /srv/beacon
    env: { LANG: C }
    makes: [ /srv/beacon/index ]
services:
  - { unit: beacon, on_change: reload, health: "test -e /run/beacon", patience: 5 }
programs:
  - { name: poll, command: "sleep 100 50%", count: 2 }
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new(roles: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("roles/templates")).unwrap();
        let place = Place(folder);
        place.write("inventory.yml", INVENTORY);
        place.write(
            "roles/templates/beacon.service",
            "[Service]\nExecStart=/bin/sleep {{ facts.memory_mb }}\n",
        );
        for (name, text) in roles {
            place.write(&format!("roles/{name}.yml"), text);
        }
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hactl"))
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What `check` says against it.
    fn refused(&self) -> String {
        let out = self.run(&["check"]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{said}");
        said.replace(&self.0.path().display().to_string(), "[HOME]")
    }

    fn rendered(&self, path: &str) -> String {
        let out = self.run(&["render", "--out", "out"]);
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::read_to_string(self.0.path().join("out/srv1").join(path)).unwrap()
    }
}

#[test]
fn a_role_renders_as_a_built_in_one() {
    let place = Place::new(&[("beacon", BEACON), ("limits", "")]);
    let text = place.rendered("srv/beacon/beacon.conf");
    assert!(
        text.starts_with("# acme beacon\nsite shop.example.com\nworkers 4 on srv1 10.77.9.11 of 1\nuser app "),
        "{text}"
    );
    assert!(text.contains("********"), "secrets are masked: {text}");
    assert_eq!(
        place.rendered("etc/systemd/system/beacon.service"),
        "[Service]\nExecStart=/bin/sleep 4096\n"
    );
    assert!(
        place
            .rendered("etc/supervisor/conf.d/beacon.conf")
            .contains("beacon-poll")
    );
    let out = place.run(&["check"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    // Editors get it, too.
    let out = place.run(&["schema", "role"]);
    let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let role: serde_json::Value = serde_saphyr::from_str(BEACON).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&role)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
}

/// A saved plan must know when a role has changed.
#[test]
fn roles_count_for_the_fingerprint() {
    let place = Place::new(&[("beacon", BEACON), ("limits", "")]);
    let path = place.0.path().join("inventory.yml");
    let fingerprint = || hactl::inventory::load(&path).unwrap().fingerprint().unwrap();
    let before = fingerprint();
    assert_eq!(fingerprint(), before);
    for name in ["roles/limits.yml", "roles/templates/beacon.service"] {
        let text = std::fs::read_to_string(place.0.path().join(name)).unwrap();
        place.write(name, &format!("{text}\n# changed\n"));
        assert_ne!(fingerprint(), before, "{name}");
        place.write(name, &text);
    }
}

#[test]
fn what_is_refused_and_why() {
    let bad = "\
aftr: nginx
packages: [ 'a b' ]
users: [ { name: Root, uid: 0 } ]
directories: [ { path: relative, mode: rwx }, { owner: x } ]
files:
  - { path: /srv/a }
  - { path: /srv/b, text: x, template: y }
  - { path: /srv/c, template: ../../etc/passwd }
  - { path: /srv/d, template: nowhere.conf, onwer: root }
  - { path: /srv/../etc, text: [ x ] }
commands:
  - { name: x, run: 'true' }
  - { run: ' ', once: 1 }
services: [ { unit: 'a b' }, { unit: x.mount/y, on_change: bounce } ]
programs: [ { name: UP } ]
sysctls: { 'vm/../x': 1 }
";
    let mut all = Place::new(&[("beacon", bad), ("limits", "files: 7\n")]).refused();
    all += &Place::new(&[("beacn", BEACON), ("limits", "")]).refused();
    for (beacon, limits) in [
        ("after: ngnix\n", ""),
        ("after: limits\n", "after: beacon\n"),
        ("files: [ { path: /etc/nginx/nginx.conf, text: mine } ]\n", ""),
        (
            "files: [ { path: /srv/same, text: mine } ]\n",
            "links: []\nfiles: [ { path: /srv/same, text: his } ]\n",
        ),
        ("files: [ { path: /srv/a, text: \"one\\n{{ hosst.name }}\\n\" } ]\n", ""),
        ("files: [ { path: /srv/a, text: \"one\\n{{ host.nme }}\\n\" } ]\n", ""),
        ("files: [ { path: /srv/a, text: \"one\\n{% if %}\\n\" } ]\n", ""),
        ("files: [ { path: /srv/a, text: '{{ secret(name=\"mine\") }}' } ]\n", ""),
    ] {
        all += "\n";
        all += &Place::new(&[("beacon", beacon), ("limits", limits)]).refused();
    }
    let place = Place::new(&[("nginx", ""), ("limits", "")]);
    place.write("inventory.yml", &INVENTORY.replace("beacon", "nginx"));
    all += "\n";
    all += &place.refused();
    insta::assert_snapshot!(all);
}

#[test]
fn roles_stand_where_they_say() {
    use hactl::resource::Facts;
    use hactl::role::{Templates, desired};
    use hactl::secret::{Secret, SecretStore};
    struct Named;
    impl SecretStore for Named {
        fn secret(&self, name: &str) -> hactl::error::Result<Secret> {
            Ok(Secret::new(name))
        }
    }
    let one = |name: &str, after: &str| format!("{after}files: [ {{ path: /srv/{name}, text: x }} ]\n");
    let place = Place::new(&[
        ("beacon", one("beacon", "after: second\n").as_str()),
        ("limits", one("limits", "").as_str()),
        ("first", one("first", "after: redis\n").as_str()),
        ("second", one("second", "after: redis\n").as_str()),
    ]);
    place.write(
        "inventory.yml",
        &INVENTORY.replace("[ limits ]", "[ limits, first, second ]"),
    );
    let loaded = hactl::inventory::load(&place.0.path().join("inventory.yml")).unwrap();
    let view = hactl::topology::Topology::of(&loaded.inventory).hosts().next().unwrap();
    let templates = Templates::load(None).unwrap();
    let desired = desired(view, &Facts::assumed(), &templates, &Named).unwrap();
    let mut roles: Vec<&str> = Vec::new();
    for resource in &desired.resources {
        let is_package = resource.spec.kind().id().starts_with("package ");
        if !is_package && roles.last() != Some(&resource.role) {
            roles.push(resource.role);
        }
    }
    let at = |name: &str| {
        roles
            .iter()
            .position(|role| *role == name)
            .unwrap_or_else(|| panic!("{name}: {roles:?}"))
    };
    assert_eq!(
        roles[at("redis")..at("redis") + 4],
        ["redis", "first", "second", "beacon"],
        "{roles:?}"
    );
    assert_eq!(at("limits"), roles.len() - 1, "{roles:?}");
}

/// The example in the documents is one that works.
#[test]
fn the_documented_role_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/user-roles.md")).unwrap();
    let block = |mark: &str| {
        let start = document
            .find(&format!("```yaml\n# {mark}\n"))
            .unwrap_or_else(|| panic!("{mark}"));
        document[start + 8..].split("```").next().unwrap().to_owned()
    };
    let place = Place::new(&[("exporter", block("roles/exporter.yml").as_str())]);
    place.write(
        "inventory.yml",
        &INVENTORY.replace("beacon", "exporter").replace("use: [ limits ]\n", ""),
    );
    let out = place.run(&["check"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
}
