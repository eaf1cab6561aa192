//! Plans in files: written by `plan --out`, held to by `apply --plan`.

use std::io::Write;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::steps::narrow;
use crate::engine::{Engine, Survey};
use crate::error::{Error, Kind, Result};
use crate::inventory::Loaded;
use crate::plan::{HostPlan, Plan};
use crate::quote::terminal;

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
        }
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
    /// When the folder cannot be written.
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
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(&error))?;
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
        let text = std::fs::read(path).map_err(failed)?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::usage(format!(
                "{shown} is no plan of hactl {}: {error}",
                env!("CARGO_PKG_VERSION")
            ))
            .hint("make one: hactl plan --out FILE")
        })
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
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::plan::{PlannedChange, Step};
    use crate::resource::{Action, Change, Script};

    fn host(changes: &[(&str, &str)]) -> HostPlan {
        let step = |(resource, summary): &(&str, &str)| Step {
            id: (*resource).to_owned(),
            role: "nginx".into(),
            stage: 0,
            changes: vec![PlannedChange {
                resource: (*resource).to_owned(),
                change: Change::new(Action::Update, *summary),
            }],
            deadline: 60,
            script: Script::default(),
            resources: Vec::new(),
        };
        HostPlan {
            host: "srv1".into(),
            resources: 10,
            steps: changes.iter().map(step).collect(),
        }
    }

    fn saved(host: HostPlan) -> Saved {
        Saved {
            made: "2026-11-21T10:00:00Z".into(),
            by: "ann@laptop".into(),
            inventory: "/srv/inventory.yml".into(),
            steps: Vec::new(),
            plan: Plan {
                version: env!("CARGO_PKG_VERSION").into(),
                cluster: "acme".into(),
                fingerprint: "f".into(),
                hosts: vec![host],
            },
        }
    }

    fn survey(host: HostPlan) -> Survey {
        Survey {
            plan: saved(host).plan,
            hosts: Vec::new(),
            failures: Vec::new(),
            live: Default::default(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        std::fs::write(&path, "something older, readable by all").unwrap();
        saved(host(&[("file /a", "content")])).write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            Saved::read(&path).unwrap().plan,
            saved(host(&[("file /a", "content")])).plan
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "a temporary file was left"
        );
    }

    #[test]
    fn a_host_that_changed_since_is_refused_with_what_differs() {
        let plan = saved(host(&[("file /a", "content"), ("file /b", "mode 0644 → 0600")]));
        plan.hold(&mut survey(host(&[
            ("file /a", "content"),
            ("file /b", "mode 0644 → 0600"),
        ])))
        .unwrap();
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("file /a", "content")], "  srv1: file /b needs no change any more"),
            (
                &[("file /a", "content"), ("file /b", "content")],
                "  srv1: file /b is not as it was",
            ),
            (
                &[
                    ("file /a", "content"),
                    ("file /b", "mode 0644 → 0600"),
                    ("file /c", "x"),
                ],
                "  srv1: file /c would change, too",
            ),
            (
                &[("file /b", "mode 0644 → 0600"), ("file /a", "content")],
                "  srv1: the same changes would be made in another order or number",
            ),
        ];
        for (now, line) in cases {
            let error = plan.hold(&mut survey(host(now))).unwrap_err();
            assert_eq!(error.kind, Kind::Refused);
            assert_eq!(error.message.lines().skip(1).collect::<Vec<_>>(), [line], "{now:?}");
        }
    }

    #[test]
    fn a_plan_of_some_steps_ignores_the_others() {
        let mut plan = saved(host(&[("file /a", "content")]));
        plan.steps = vec!["/a".into()];
        let mut now = host(&[("file /a", "content"), ("file /b", "content")]);
        // `plan --step` counted what it left out neither as changed nor as unchanged.
        now.resources += 1;
        let mut survey = survey(now);
        plan.hold(&mut survey).unwrap();
        assert_eq!(survey.plan.changes(), 1, "only the planned step is carried out");
    }

    #[test]
    fn another_inventory_version_or_cluster_is_refused() {
        let text = "cluster: acme\nhosts: { srv1: { address: 10.0.0.1 } }\n\
                    app: { kind: wsgi, url: 'https://example.com/a.git', ref: main, module: 'a:b' }\n\
                    sites: [ { name: a.example.com } ]\n";
        let loaded = crate::inventory::parse(text, Path::new("/nowhere/inventory.yml")).unwrap();
        let mut plan = saved(host(&[]));
        plan.plan.fingerprint = loaded.fingerprint().unwrap();
        plan.check(&loaded).unwrap();
        let spoil: [fn(&mut Plan); 3] = [
            |plan| plan.version = "0.0.1".into(),
            |plan| plan.cluster = "other".into(),
            |plan| plan.fingerprint = "other".into(),
        ];
        for spoil in spoil {
            let mut spoilt = plan.clone();
            spoil(&mut spoilt.plan);
            assert_eq!(spoilt.check(&loaded).unwrap_err().kind, Kind::Refused);
        }
    }
}
