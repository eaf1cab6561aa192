//! Arguments that verbs share.

use std::path::PathBuf;

use clap::Args;

use super::env;
use crate::error::{Error, Result};
use crate::inventory::{Inventory, TransportKind};
use crate::report::{ColorChoice, DiffMode, Format};

/// Options of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Global {
    /// What standard output carries
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "text|json"
    )]
    pub format: Format,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "auto|always|never"
    )]
    pub color: ColorChoice,
    /// Say more: connections, starts, every line that a step prints
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Carry every host's session by this transport, whatever the inventory says
    #[arg(
        long,
        global = true,
        value_enum,
        hide_possible_values = true,
        value_name = "auto|native|openssh|local"
    )]
    pub transport: Option<TransportArg>,
    /// Accept hosts that no known_hosts file names, and write their keys there. A changed key is refused even so
    #[arg(long, global = true)]
    pub accept_new_host_keys: bool,
    /// A folder whose files replace built-in templates of the same name
    #[arg(long, global = true, value_name = "DIR")]
    pub templates: Option<PathBuf>,
}

/// `--transport`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TransportArg {
    /// Native, unless the host's ssh configuration asks for something it lacks
    Auto,
    /// Built in
    Native,
    /// The system's ssh with all of ~/.ssh/config
    Openssh,
    /// This machine, no ssh
    Local,
}

impl From<TransportArg> for TransportKind {
    fn from(arg: TransportArg) -> Self {
        match arg {
            TransportArg::Auto => TransportKind::Auto,
            TransportArg::Native => TransportKind::Native,
            TransportArg::Openssh => TransportKind::OpenSsh,
            TransportArg::Local => TransportKind::Local,
        }
    }
}

/// Which inventory.
#[derive(Debug, Clone, Args)]
pub struct InventoryArg {
    /// The inventory file
    #[arg(env = env::INVENTORY, hide_env_values = true, default_value = "inventory.yml", value_name = "INVENTORY")]
    pub inventory: PathBuf,
}

impl InventoryArg {
    /// As an argument of a suggested command; empty when it is the default.
    pub fn in_command(&self) -> String {
        let shown = self.inventory.display().to_string();
        let by_default = shown == "inventory.yml" || std::env::var_os(env::INVENTORY).is_some_and(|v| v == *shown);
        if by_default {
            String::new()
        } else {
            crate::quote::sh(&shown)
        }
    }
}

/// How much of a plan is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct DiffArg {
    /// How much of the diffs is shown: none, short (changed files, 60 lines each) or full (new files, too)
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "none|short|full"
    )]
    pub diff: DiffMode,
}

/// Which hosts.
#[derive(Debug, Clone, Default, Args)]
pub struct LimitArg {
    /// Only these hosts; several are separated by commas
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub limit: Vec<String>,
}

impl LimitArg {
    /// Names of the chosen hosts, in inventory order.
    ///
    /// # Errors
    /// A name that the inventory does not have.
    pub fn hosts(&self, inventory: &Inventory) -> Result<Vec<String>> {
        for name in &self.limit {
            known_host(inventory, name)?;
        }
        let names = inventory.hosts.keys();
        Ok(names
            .filter(|name| self.limit.is_empty() || self.limit.contains(name))
            .cloned()
            .collect())
    }
}

/// Refuses a host that the inventory does not have.
///
/// # Errors
/// With the nearest name.
pub fn known_host(inventory: &Inventory, name: &str) -> Result<()> {
    if inventory.hosts.contains_key(name) {
        return Ok(());
    }
    let shown = crate::quote::terminal(name);
    let error = Error::usage(format!("there is no host `{shown}` in {}", inventory.path.display()));
    let nearest = inventory
        .hosts
        .keys()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    Err(match nearest {
        Some((_, known)) => error.hint(format!("did you mean `{known}`?")),
        None => {
            let names: Vec<_> = inventory.hosts.keys().map(String::as_str).collect();
            error.hint(format!("choose from: {}", names.join(", ")))
        }
    })
}
