//! What an inventory is made of, and its text.

use std::path::Path;

use serde_json::json;

use crate::error::{Error, Result};
use crate::inventory::{self, Loaded, rules};
use crate::role::templates;

/// The file that becomes an inventory.
const TEMPLATE: &str = include_str!("../../../templates/init/inventory.yml.tera");
/// Where Frappe itself comes from.
pub const FRAPPE_URL: &str = "https://github.com/frappe/frappe";
/// The Frappe that hactl was tried with.
pub const FRAPPE_REF: &str = "v15.51.2";
/// Name of the schema's file, beside the inventory.
pub const SCHEMA: &str = "hactl.schema.json";

/// Which kind of application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AppKind {
    /// Frappe, ERPNext and other Frappe apps
    Frappe,
    /// Any WSGI application from git
    Wsgi,
}

impl AppKind {
    /// The word in the inventory.
    pub const fn word(self) -> &'static str {
        match self {
            AppKind::Frappe => "frappe",
            AppKind::Wsgi => "wsgi",
        }
    }
}

/// Everything that has no default.
#[derive(Debug, Clone)]
pub struct Answers {
    /// Name of the cluster.
    pub cluster: String,
    /// Login.
    pub user: String,
    /// Private key, as the user wrote it.
    pub identity_file: Option<String>,
    /// The server's name.
    pub host: String,
    /// Its address.
    pub address: String,
    /// Kind of application.
    pub app: AppKind,
    /// Git URL.
    pub url: String,
    /// Tag, branch or commit.
    pub git_ref: String,
    /// `package.module:callable`; empty for Frappe.
    pub module: String,
    /// Names of the sites.
    pub sites: Vec<String>,
}

impl Answers {
    /// The inventory's text; `schema`: with the line that tells editors of the schema beside it.
    ///
    /// # Errors
    /// A defect of the template.
    pub fn text(&self, schema: bool) -> Result<String> {
        let context = json!({
            "schema": schema.then_some(SCHEMA),
            "cluster": self.cluster,
            "user": self.user,
            "identity_file": self.identity_file,
            "host": self.host,
            "address": self.address,
            "app": self.app.word(),
            "url": self.url,
            "git_ref": self.git_ref,
            "module": self.module,
            "sites": self.sites,
        });
        templates::once("the inventory's template", TEMPLATE, &context)
    }

    /// The inventory that a text is, at the path where it will be.
    ///
    /// # Errors
    /// Everything that `check` would refuse.
    pub fn loaded(text: &str, path: &Path) -> Result<Loaded> {
        inventory::parse(text, path).map_err(|found| {
            let wrong = found.into_error(false);
            Error::usage(format!("these answers make no inventory:\n{}", wrong.message))
                .hint("give the refused value anew; hactl init --help explains them. Nothing was written")
        })
    }
}

/// `NAME=ADDRESS`.
pub fn host(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, address)) => {
            rules::host(name).map_err(|why| format!("`{name}` {why}"))?;
            address
                .parse::<std::net::IpAddr>()
                .map_err(|_| format!("`{address}` is no IP address"))?;
            Ok((name.to_owned(), address.to_owned()))
        }
        None => Err("write it as NAME=ADDRESS, e.g. srv1=203.0.113.10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is answered is data: it comes out of the parser as it went in, or is refused.
    #[test]
    fn answers_cannot_break_out_of_their_place() {
        let plain = Answers {
            cluster: "demo".into(),
            user: "root".into(),
            identity_file: None,
            host: "srv1".into(),
            address: "10.0.0.1".into(),
            app: AppKind::Wsgi,
            url: "https://git.example.com/a".into(),
            git_ref: "v1".into(),
            module: "a:b".into(),
            sites: vec!["a.example.com".into()],
        };
        for hostile in [
            "x, roles: [lb]",
            "x # y",
            "\"",
            "x\ny: z",
            "!secret x",
            "{{ 7 }}",
            "*x",
            "&x",
            "'",
            "null",
            "1e5",
            "- a",
            "~",
            "é: \u{7}",
        ] {
            let answers = Answers {
                identity_file: Some(format!("/keys/{hostile}")),
                git_ref: hostile.into(),
                ..plain.clone()
            };
            let text = answers.text(false).unwrap();
            if let Ok(loaded) = Answers::loaded(&text, Path::new("/i/inventory.yml")) {
                let inventory::App::Wsgi(wsgi) = &loaded.inventory.app else {
                    panic!("{text}")
                };
                assert_eq!(wsgi.git_ref, hostile, "{text}");
                assert_eq!(
                    loaded.inventory.ssh.identity_file.as_deref(),
                    Some(Path::new(&format!("/keys/{hostile}")))
                );
                assert_eq!(loaded.inventory.hosts.len(), 1);
            }
        }
    }
}
