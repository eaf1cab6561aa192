//! Roles of the user: `roles/NAME.yml` beside the inventory, named by `use`.

mod build;
mod model;
mod raw;

use std::io::Read;
use std::path::Path;

use indexmap::IndexMap;
use schemars::Schema;

pub use model::{Owned, RoleCommand, RoleFile, RoleProgram, RoleService, RoleUser, UserRole};

use super::build::check::Check;
use super::diagnostics::{Diagnostic, Diagnostics, Severity, Source, Span};
use super::model::Inventory;
use super::{suggest, yaml};
use crate::error::Error;

/// The folder beside the inventory.
pub const FOLDER: &str = "roles";

/// A `use` of a role.
#[derive(Debug, Clone)]
pub struct Use {
    /// The role's name.
    pub role: String,
    /// Where it is written.
    pub span: Span,
    /// The host that uses it; `None`: all.
    pub host: Option<String>,
}

/// Reads the roles that an inventory uses.
///
/// # Errors
/// Everything that is wrong in them, each with its place in its file.
pub fn load(inventory: &Inventory, colour: bool) -> Result<IndexMap<String, UserRole>, Error> {
    let folder = inventory.path.parent().unwrap_or(Path::new("/")).join(FOLDER);
    // As the user writes paths.
    let shown = Path::new(&inventory.source.name)
        .parent()
        .unwrap_or(Path::new(""))
        .join(FOLDER);
    let mut roles: IndexMap<String, UserRole> = IndexMap::new();
    let (mut missing, mut wrong) = (Vec::new(), Vec::new());
    for used in &inventory.uses {
        if !roles.contains_key(&used.role) {
            let path = folder.join(format!("{}.yml", used.role));
            let name = shown.join(format!("{}.yml", used.role)).display().to_string();
            let role = match read(&path) {
                Ok(text) => parse(&used.role, &text, &name, &folder).unwrap_or_else(|found| {
                    wrong.push(found);
                    UserRole::default()
                }),
                Err(why) => {
                    missing.push(unreadable(used, &name, &why, &folder));
                    UserRole::default()
                }
            };
            roles.insert(used.role.clone(), role);
        }
        let Some(role) = roles.get_mut(&used.role) else {
            continue;
        };
        for host in inventory.hosts.keys() {
            let meant = used.host.as_ref().is_none_or(|only| only == host);
            if meant && !role.hosts.contains(host) {
                role.hosts.push(host.clone());
            }
        }
    }
    if !missing.is_empty() {
        wrong.insert(0, Diagnostics::new(inventory.source.clone(), missing));
    }
    if wrong.is_empty() {
        return Ok(roles);
    }
    let messages: Vec<String> = wrong
        .into_iter()
        .map(|found| found.into_error(colour).message)
        .collect();
    Err(Error::usage(messages.join("\n")))
}

/// Checks the text of a role. `folder` holds its templates' folder.
///
/// # Errors
/// Everything that is wrong.
pub fn parse(name: &str, text: &str, shown: &str, folder: &Path) -> Result<UserRole, Diagnostics> {
    let source = Source::new(shown, text);
    let (raw, mut list) = yaml::read::<raw::RawUserRole>(text);
    let mut check = Check::new(folder);
    let role = match raw.as_ref().and_then(|raw| raw.value.as_ref()) {
        Some(raw) => build::role(&mut check, raw, name, &source, &folder.join("templates")),
        None => {
            // An empty file is a role that declares nothing yet.
            list.retain(|found| found.code != "inventory::empty");
            UserRole {
                name: name.to_owned(),
                shown: shown.to_owned(),
                ..UserRole::default()
            }
        }
    };
    list.extend(check.list);
    if list.iter().any(|d| d.severity == Severity::Error) {
        return Err(Diagnostics::new(source, list));
    }
    Ok(role)
}

/// JSON Schema of a role's file.
pub fn schema() -> Schema {
    let mut schema = super::schema::of::<raw::RawUserRole>();
    schema.insert("title".to_owned(), "hactl role".into());
    schema
}

fn unreadable(used: &Use, shown: &str, why: &str, folder: &Path) -> Diagnostic {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".yml")?.to_owned()))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let help = match suggest::closest(&used.role, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "a role NAME is the file roles/NAME.yml beside the inventory; docs/user-roles.md shows one".to_owned(),
    };
    Diagnostic::new(
        "inventory::role",
        format!("cannot read the role `{}`: {shown}: {why}", used.role),
    )
    .at(used.span, "used here")
    .help(help)
}

/// A file's text, no larger than an inventory may be.
fn read(path: &Path) -> Result<String, String> {
    let limit = yaml::MAX_BYTES as u64;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let bytes = file
        .take(limit + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if bytes as u64 > limit {
        return Err(format!("it has more than {limit} bytes"));
    }
    Ok(text)
}
