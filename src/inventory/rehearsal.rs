//! An inventory's copy for a rehearsal in a lab on this machine: other addresses, another name, nothing in it that reaches
//! anything outside of the lab but where the application comes from.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::yaml::scalar;
use super::yaml::tree::{self, Node, Value};
use crate::error::{Error, Result};

/// What the copy has instead.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// Its name.
    pub cluster: String,
    /// Each address of a host or a VIP, and the one in the lab.
    pub addresses: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// The folder with template overrides, absolute.
    pub templates: Option<PathBuf>,
}

/// Keys that are left out wherever they are: how real hosts are reached, certificates, names, backups, commands of the
/// operator, and settings of sites, which hold keys of services.
const LEFT_OUT: [&str; 12] = [
    "ssh",
    "tls",
    "dns",
    "hooks",
    "crashplan",
    "secrets",
    "backup",
    "templates",
    "public_address",
    "interface",
    "config",
    "recipients",
];

/// How the lab's hosts are reached: keys beside the copy, which the lab makes.
const SSH: &str = "{\"user\": \"root\", \"identity_file\": \"id_ed25519\", \"known_hosts\": \"known_hosts\"}";

impl Rehearsal {
    /// The copy of an inventory's text. What is a secret there is another one here, made by `secret`.
    ///
    /// # Errors
    /// When the text is no inventory.
    pub fn copy(&self, text: &str, secret: &mut dyn FnMut() -> String) -> Result<String> {
        let mut errors = Vec::new();
        let root = tree::build(text, &mut errors).filter(|_| errors.is_empty());
        let Some(Value::Map(entries)) = root.as_deref().map(|root| &root.value) else {
            return Err(Error::usage("the inventory cannot be copied: it is no mapping").hint("hactl check"));
        };
        let mut out = String::new();
        let _ = writeln!(out, "\"cluster\": {}", quoted(&self.cluster));
        let _ = writeln!(out, "\"ssh\": {SSH}");
        if let Some(templates) = &self.templates {
            let _ = writeln!(out, "\"templates\": {}", quoted(&templates.display().to_string()));
        }
        for entry in entries {
            if entry.key == "cluster" || LEFT_OUT.contains(&entry.key.as_str()) {
                continue;
            }
            let _ = write!(out, "{}: ", quoted(&entry.key));
            self.node(&entry.value, &mut out, secret);
            out.push('\n');
        }
        Ok(out)
    }

    fn node(&self, node: &Node, out: &mut String, secret: &mut dyn FnMut() -> String) {
        match &node.value {
            _ if node.tag.is_some() => out.push_str(&quoted(&secret())),
            Value::Scalar { text, plain } if *plain && is_no_text(text) => {
                out.push_str(if scalar::is_null(text) { "null" } else { text });
            }
            Value::Scalar { text, .. } => out.push_str(&quoted(&self.moved(text))),
            Value::List(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    out.push_str(if number > 0 { ", " } else { "" });
                    self.node(item, out, secret);
                }
                out.push(']');
            }
            Value::Map(entries) => {
                out.push('{');
                let kept = entries.iter().filter(|entry| !LEFT_OUT.contains(&entry.key.as_str()));
                for (number, entry) in kept.enumerate() {
                    out.push_str(if number > 0 { ", " } else { "" });
                    let _ = write!(out, "{}: ", quoted(&entry.key));
                    self.node(&entry.value, out, secret);
                }
                out.push('}');
            }
        }
    }

    /// Text with the lab's addresses.
    fn moved(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
        while let Some(start) = rest.find(is_part) {
            let (before, number) = rest.split_at(start);
            let end = number.find(|letter| !is_part(letter)).unwrap_or(number.len());
            let (number, after) = number.split_at(end);
            let other = number
                .parse()
                .ok()
                .and_then(|address: Ipv4Addr| self.addresses.get(&address));
            out.push_str(before);
            match other {
                Some(other) => out.push_str(&other.to_string()),
                None => out.push_str(number),
            }
            rest = after;
        }
        out + rest
    }
}

/// Whether an unquoted scalar is a number, a truth value or nothing.
fn is_no_text(text: &str) -> bool {
    scalar::is_null(text)
        || scalar::is_integer(text)
        || scalar::is_float(text)
        || matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// A string of JSON, which is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn nothing_of_the_real_cluster_is_left() {
        let text = r#"
cluster: acme
ssh: { user: admin, identity_file: ~/.ssh/real, jump: bastion }
hosts:
  app1: { address: 10.0.0.21, roles: [ app, worker, redis ], ssh: { port: 2222 } }
  db1: { address: 10.0.0.31, roles: [ db ], primary: true, public_address: 203.0.113.9 }
  db2: { address: 10.0.0.3, roles: [ db ] }
app:
  kind: frappe
  apps: [ { name: frappe, url: "https://git.example.com/10.0.0.3/frappe", ref: "15" } ]
sites:
  - name: erp.example.com
    admin_password: !secret env:REAL
    config: { stripe_key: live-key }
    tls: { certificate: real.pem, key: real.key }
tls: { certbot: { email: a@example.com } }
dns: { names: [ erp.example.com ], provider: { kind: exec, run: ./real } }
hooks: { before_apply: [ ./real ] }
crashplan: { power_off: [ ./real ] }
secrets: { file: real.age }
mariadb: { semi_sync: yes-not, port: 3306 }
system: { sysctl: { vm.swappiness: 10, net.ipv4.ip_local_reserved_ports: "10.0.0.31" } }
"#;
        let text = text.replace("semi_sync: yes-not", "semi_sync: true");
        let address = |text: &str| text.parse().unwrap();
        let rehearsal = Rehearsal {
            cluster: "drill-acme".into(),
            addresses: BTreeMap::from([
                (address("10.0.0.21"), address("10.79.0.21")),
                (address("10.0.0.31"), address("10.79.0.31")),
                (address("10.0.0.3"), address("10.79.0.3")),
            ]),
            templates: None,
        };
        let mut made = 0;
        let copy = rehearsal
            .copy(&text, &mut || {
                made += 1;
                format!("made-{made}")
            })
            .unwrap();
        for real in [
            "real",
            "REAL",
            "live-key",
            "203.0.113.9",
            "bastion",
            "2222",
            "10.0.0.21",
            "certbot",
        ] {
            assert!(!copy.contains(real), "{real} in\n{copy}");
        }
        let parsed = super::super::parse(&copy, Path::new("/lab/inventory.yml"));
        let loaded = parsed.unwrap_or_else(|found| panic!("{}\n{copy}", found.render(false)));
        let inventory = loaded.inventory;
        assert_eq!(inventory.cluster, "drill-acme");
        let addresses: Vec<_> = inventory.hosts.values().map(|host| host.address.to_string()).collect();
        assert_eq!(addresses, ["10.79.0.21", "10.79.0.31", "10.79.0.3"]);
        assert!(inventory.dns.is_none() && inventory.power.is_none());
        assert_eq!(inventory.hooks, crate::inventory::Hooks::default());
        assert_eq!(inventory.system.sysctl["vm.swappiness"], "10");
        assert_eq!(made, 1);
        // An address of a host that is part of a longer word is not one.
        assert_eq!(
            rehearsal.moved("10.0.0.31/24, 110.0.0.3, 10.0.0.3.9, x10.0.0.3"),
            "10.79.0.31/24, 110.0.0.3, 10.0.0.3.9, x10.79.0.3"
        );
    }
}
