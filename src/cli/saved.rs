//! Plans in files: written by `plan --out`, held to by `apply --plan`.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::steps::narrow;
use crate::engine::{Engine, Survey};
use crate::error::{Error, Kind, Result};
use crate::inventory::Loaded;
use crate::inventory::secrets::Secrets;
use crate::plan::{HostPlan, Plan};
use crate::quote::terminal;
use crate::secret::Secret;

/// Largest file that is read, bytes.
const LIMIT: u64 = 64 << 20;

/// A plan in a file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    /// When it was made, RFC 3339.
    made: String,
    /// Who made it.
    by: String,
    /// The inventory it was made from.
    inventory: PathBuf,
    /// What `--step` said; empty: everything.
    steps: Vec<String>,
    /// What is to be done. Holds no secrets.
    plan: Plan,
    /// Every secret of the inventory by its name, the present value first; only of `plan --with-secrets`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "carried")]
    #[schemars(with = "Option<BTreeMap<String, Vec<String>>>")]
    secrets: Option<BTreeMap<String, Vec<Secret>>>,
}

/// The one place where secrets become part of a file that is not encrypted.
mod carried {
    use super::{BTreeMap, Secret};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Values = Option<BTreeMap<String, Vec<Secret>>>;

    pub fn serialize<S: Serializer>(values: &Values, serializer: S) -> Result<S::Ok, S::Error> {
        let revealed = |list: &Vec<Secret>| list.iter().map(|secret| secret.reveal().to_owned()).collect::<Vec<_>>();
        let values = values.as_ref().map(|values| {
            let pairs = values.iter().map(|(name, list)| (name, revealed(list)));
            pairs.collect::<BTreeMap<_, _>>()
        });
        values.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
        let values: Option<BTreeMap<String, Vec<String>>> = Deserialize::deserialize(deserializer)?;
        let hidden = |(name, list): (String, Vec<String>)| (name, list.into_iter().map(Secret::new).collect());
        Ok(values.map(|values| values.into_iter().map(hidden).collect()))
    }
}

impl Saved {
    /// A plan made just now.
    pub fn new(engine: &Engine, steps: &[String], plan: Plan) -> Self {
        Saved {
            made: engine.since.clone(),
            by: engine.who.clone(),
            inventory: engine.inventory.path.clone(),
            steps: steps.to_vec(),
            plan,
            secrets: None,
        }
    }

    /// The same with the secrets that it takes to apply it.
    #[must_use]
    pub fn carrying(mut self, secrets: &Secrets) -> Self {
        self.secrets = Some(secrets.values());
        self
    }

    /// The secrets that it carries.
    pub fn secrets(&self) -> Option<Secrets> {
        self.secrets.clone().map(Secrets::from_values)
    }

    /// Whether it is of all steps.
    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// Names of its hosts.
    pub fn hosts(&self) -> Vec<String> {
        self.plan.hosts.iter().map(|host| host.host.clone()).collect()
    }

    /// Writes it whole or not at all, readable by its owner only: a plan tells a lot about hosts.
    ///
    /// # Errors
    /// When the folder cannot be written; when a plan with secrets would replace a file that others can read.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::internal(format!("cannot save the plan in {}: {error}", path.display()))
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(
                failed(&format!("there is no folder {}", folder.display())).hint(format!(
                    "make it: mkdir -p {}",
                    crate::quote::sh(&folder.display().to_string())
                )),
            );
        }
        if self.secrets.is_some() {
            may_hold_secrets(path)?;
        }
        let text = Zeroizing::new(serde_json::to_vec_pretty(self).map_err(|error| failed(&error))?);
        // Made with mode 0600.
        let mut file =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(|error| failed(&error))?;
        file.write_all(&text).map_err(|error| failed(&error))?;
        file.as_file().sync_all().map_err(|error| failed(&error))?;
        file.persist(path).map_err(|error| failed(&error.error))?;
        Ok(())
    }

    /// Reads one.
    ///
    /// # Errors
    /// A file that is none.
    pub fn read(path: &Path) -> Result<Saved> {
        let shown = path.display();
        let failed = |error: std::io::Error| {
            Error::usage(format!("cannot read the plan {shown}: {error}")).hint("make one: hactl plan --out FILE")
        };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        if length > LIMIT {
            return Err(Error::usage(format!("{shown} is no plan: it has {length} bytes")));
        }
        let text = Zeroizing::new(std::fs::read(path).map_err(failed)?);
        let saved: Saved = serde_json::from_slice(&text).map_err(|error| {
            Error::usage(format!(
                "{shown} is no plan of hactl {}: {error}",
                env!("CARGO_PKG_VERSION")
            ))
            .hint("make one: hactl plan --out FILE")
        })?;
        let mode = std::fs::metadata(path).map_err(failed)?.mode() & 0o777;
        if saved.secrets.is_some() && mode & 0o077 != 0 {
            return Err(Error::new(
                Kind::Refused,
                format!("{shown} holds secrets, and others can read it (mode {mode:04o})"),
            )
            .hint(format!("chmod 600 {}", crate::quote::sh(&shown.to_string())))
            .hint("if somebody may have read it: hactl secrets rotate --all-generated"));
        }
        Ok(saved)
    }

    /// Refuses a plan that was made by another version or from another inventory, other secrets or templates.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, now: &Loaded) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        let why = if self.plan.version != version {
            format!(
                "it was made by hactl {}, this is {version}",
                terminal(&self.plan.version)
            )
        } else if self.plan.cluster != now.inventory.cluster {
            format!(
                "it is for the cluster {}, the inventory is of {}",
                terminal(&self.plan.cluster),
                now.inventory.cluster
            )
        } else if self.plan.fingerprint != now.fingerprint()? {
            "the inventory, its secrets or its templates changed since".to_owned()
        } else {
            return Ok(());
        };
        Err(refused(&why))
    }

    /// Refuses when the hosts would now get anything but what the plan says.
    ///
    /// # Errors
    /// With the first differences of each host.
    pub fn hold(&self, survey: &mut Survey) -> Result<()> {
        narrow(survey, &self.steps);
        let mut differences = Vec::new();
        for host in &survey.plan.hosts {
            if let Some(planned) = self.plan.hosts.iter().find(|planned| planned.host == host.host) {
                differences.extend(difference(planned, host));
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(refused(&format!("hosts changed since:\n{}", differences.join("\n"))))
    }
}

/// Refuses a place that somebody else reads, or has prepared.
///
/// # Errors
/// Why not.
pub fn may_hold_secrets(path: &Path) -> Result<()> {
    let Ok(there) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let mode = there.mode() & 0o777;
    let why = if !there.is_file() {
        "it is no plain file".to_owned()
    } else if there.uid() != rustix::process::geteuid().as_raw() {
        "it is somebody else's".to_owned()
    } else if mode & 0o077 != 0 {
        format!("others can read it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    let shown = path.display();
    Err(Error::new(
        Kind::Refused,
        format!("{shown} is not replaced by a plan with secrets: {why}"),
    )
    .hint(format!(
        "remove it or name another: rm {}",
        crate::quote::sh(&shown.to_string())
    )))
}

fn refused(why: &str) -> Error {
    Error::new(Kind::Refused, format!("this plan cannot be applied: {why}")).hint("look again: hactl plan --out FILE")
}

/// What is not the same any more, in a line or a few.
fn difference(planned: &HostPlan, now: &HostPlan) -> Vec<String> {
    const SHOWN: usize = 5;
    if planned == now {
        return Vec::new();
    }
    let host = terminal(&now.host);
    let changes = |plan: &HostPlan| -> Vec<_> { plan.steps.iter().flat_map(|step| step.changes.clone()).collect() };
    let (then, now) = (changes(planned), changes(now));
    let mut lines = Vec::new();
    for change in &then {
        let resource = terminal(&change.resource);
        match now.iter().find(|other| other.resource == change.resource) {
            None => lines.push(format!("  {host}: {resource} needs no change any more")),
            Some(other) if other != change => lines.push(format!("  {host}: {resource} is not as it was")),
            Some(_) => {}
        }
    }
    for change in &now {
        if !then.iter().any(|other| other.resource == change.resource) {
            lines.push(format!("  {host}: {} would change, too", terminal(&change.resource)));
        }
    }
    if lines.is_empty() {
        lines.push(format!(
            "  {host}: the same changes would be made in another order or number"
        ));
    }
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("  {host}: and {more} more"));
    }
    lines
}

#[cfg(test)]
#[path = "saved/tests.rs"]
mod tests;
