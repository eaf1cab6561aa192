//! Which secrets an inventory needs.

use crate::inventory::backup::Backup;
use crate::inventory::model::{App, Inventory, SecretRef};
use crate::secret::Secret;

use super::{PLACEHOLDER, PLACEHOLDER_KEY, generate};

/// A secret by its canonical name.
pub struct Wanted<'a> {
    pub name: String,
    /// What the inventory says; `None`: generated.
    pub given: Option<&'a SecretRef>,
    form: Form,
}

enum Form {
    /// 32 characters of `[A-Za-z0-9]`: safe in any configuration file, URL or SQL text.
    Password,
    /// What somebody else made, of several lines: a private key, a service account.
    Document,
    /// 32 random bytes in URL-safe base64, as Frappe's `encryption_key` must be.
    Fernet,
}

/// Whether a generated secret can be replaced by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The next apply carries a new value through.
    Carried,
    /// No apply would: why, and what to do instead.
    Refused(&'static str),
}

impl Wanted<'_> {
    /// Whether it can be rotated.
    pub fn rotation(&self) -> Rotation {
        if self.name.ends_with("/encryption_key") {
            return Rotation::Refused(
                "everything that the site has encrypted with it would be lost; it stays for the life of the site",
            );
        }
        if self.name.starts_with("site/") && self.name.ends_with("/admin") {
            return Rotation::Refused(
                "it is given to the site when that is made; change it in the site, then `hactl secrets set` notes it",
            );
        }
        if self.name == Backup::PASSWORD {
            return Rotation::Refused(
                "the backups that are there are encrypted with it; restic key passwd and hactl secrets set change it by hand",
            );
        }
        if self.name == "cluster/key" {
            return Rotation::Refused(
                "hosts know each other by what is derived from it; a new one would part them until all have it",
            );
        }
        Rotation::Carried
    }

    pub fn is_generated(&self) -> bool {
        self.given.is_none()
    }

    /// Whether it may have several lines.
    pub fn is_document(&self) -> bool {
        matches!(self.form, Form::Document)
    }

    pub fn generate(&self) -> Secret {
        match self.form {
            Form::Password | Form::Document => generate::password(),
            Form::Fernet => generate::fernet_key(),
        }
    }

    pub fn placeholder(&self) -> Secret {
        Secret::new(match self.form {
            Form::Password | Form::Document => PLACEHOLDER,
            Form::Fernet => PLACEHOLDER_KEY,
        })
    }
}

/// Those that `dns` names. No host has them, so no apply needs them.
pub fn of_dns(inventory: &Inventory) -> Vec<Wanted<'_>> {
    let named = inventory.dns.iter().flat_map(|dns| dns.secrets());
    named
        .map(|(name, given)| Wanted {
            name: name.to_owned(),
            given: Some(given),
            form: Form::Password,
        })
        .collect()
}

/// All of them, in a fixed order.
pub fn of(inventory: &Inventory) -> Vec<Wanted<'_>> {
    let password = |name: &str, given| Wanted {
        name: name.to_owned(),
        given,
        form: Form::Password,
    };
    let mut list: Vec<Wanted> = ["mariadb/root", "mariadb/replication", "redis/cache", "redis/queue"]
        .into_iter()
        .map(|name| password(name, None))
        .collect();
    if inventory.has_sentinels() {
        list.push(password("redis/sentinel", None));
    }
    if inventory.hosts.len() > 1 {
        list.push(password("cluster/key", None));
    }
    if let App::Wsgi(_) = inventory.app {
        list.push(password("app/database", None));
        list.push(password("app/secret_key", None));
    }
    for site in &inventory.sites {
        let name = &site.name;
        list.push(password(&format!("site/{name}/admin"), site.admin_password.as_ref()));
        list.push(password(&format!("site/{name}/database"), None));
        list.push(Wanted {
            name: format!("site/{name}/encryption_key"),
            given: None,
            form: Form::Fernet,
        });
    }
    if let Some(backup) = &inventory.backup {
        list.push(password(Backup::PASSWORD, None));
        list.extend(backup.secrets().map(|(name, given, document)| Wanted {
            name,
            given: Some(given),
            form: if document { Form::Document } else { Form::Password },
        }));
    }
    if let Some(given) = &inventory.become_password {
        list.push(password("become_password", Some(given)));
    }
    list
}
