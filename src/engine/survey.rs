//! Connect to the hosts, ask each one what it has, make the plan. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use futures::future::join_all;

use super::link::{Link, Progress, Verdict};
use super::{Engine, Event};
use crate::error::Kind;
use crate::inventory::Host;
use crate::plan::{self, Desired, HostPlan, Plan};
use crate::quote::terminal;
use crate::resource::{Ask, Facts, Observed, System};
use crate::role;
use crate::secret::{Secret, SecretStore};
use crate::transport::{Stage, TransportError};

/// What hosts answered, with their connections still open.
pub struct Survey {
    /// The plan for all hosts that answered.
    pub plan: Plan,
    /// Those hosts.
    pub hosts: Vec<Surveyed>,
    /// The others.
    pub failures: Vec<HostFailure>,
}

/// A host that answered.
pub struct Surveyed {
    /// Its name.
    pub name: String,
    /// What it has.
    pub seen: Observed,
    /// What it should have.
    pub desired: Desired,
    /// Values of the secrets that went into it: what this host could print.
    pub secrets: Vec<Secret>,
    /// The open connection.
    pub link: Box<dyn Link>,
}

/// A host that did not.
#[derive(Debug, Clone)]
pub struct HostFailure {
    /// Its name.
    pub host: String,
    /// Decides the exit code.
    pub kind: Kind,
    /// What failed and why.
    pub message: String,
    /// What to run next.
    pub hint: Option<String>,
}

impl HostFailure {
    fn transport(host: &str, error: &TransportError) -> Self {
        let kind = if error.stage == Stage::Connect {
            Kind::Unreachable
        } else {
            Kind::HostFailed
        };
        HostFailure {
            host: host.into(),
            kind,
            message: error.message.clone(),
            hint: error.hint.clone().or_else(|| {
                let hint =
                    "nothing was changed; run it again, and if that fails look at the host: hactl check --remote";
                Some(hint.into())
            }),
        }
    }

    fn plain(host: &str, error: crate::error::Error) -> Self {
        let hint = (!error.hints.is_empty()).then(|| error.hints.join("\n"));
        HostFailure {
            host: host.into(),
            kind: error.kind,
            message: error.message,
            hint,
        }
    }
}

impl Engine {
    /// Surveys the named hosts (all when empty) side by side.
    pub async fn survey(&self, names: &[String]) -> Survey {
        let topology = crate::topology::Topology::of(&self.inventory);
        let views = topology
            .hosts()
            .filter(|view| names.is_empty() || names.contains(&view.host.name));
        let views: Vec<_> = views.collect();
        let all = views.len() == topology.hosts().count();
        let answers = join_all(views.iter().map(|view| self.look(view.host, all))).await;
        let mut survey = Survey {
            plan: self.empty_plan(),
            hosts: Vec::new(),
            failures: Vec::new(),
        };
        for answer in answers {
            match answer {
                Ok((surveyed, plan)) => {
                    survey.plan.hosts.push(plan);
                    survey.hosts.push(surveyed);
                }
                Err(failure) => {
                    self.events.send(Event::HostFailed {
                        host: failure.host.clone(),
                        kind: failure.kind.word().into(),
                        message: failure.message.clone(),
                        hint: failure.hint.clone(),
                    });
                    survey.failures.push(failure);
                }
            }
        }
        self.events.send(Event::Planned {
            plan: survey.plan.clone(),
        });
        survey
    }

    fn empty_plan(&self) -> Plan {
        Plan {
            version: env!("CARGO_PKG_VERSION").into(),
            cluster: self.inventory.cluster.clone(),
            fingerprint: self.fingerprint.clone(),
            hosts: Vec::new(),
        }
    }

    /// `all`: no host is left out, so that what others might still use can be taken away.
    async fn look(&self, host: &Host, all: bool) -> Result<(Surveyed, HostPlan), HostFailure> {
        let failed = |error: TransportError| HostFailure::transport(&host.name, &error);
        let started = Instant::now();
        // What to ask hardly depends on the host's facts, so it is worked out while the connection is being made.
        let connecting = self.links.link(host);
        let (assumed, link) = futures::join!(async { self.desired(host, &Facts::assumed(), all) }, connecting);
        let (assumed, _) = assumed?;
        let mut link = link.map_err(failed)?;
        self.events.send(Event::HostConnected {
            host: host.name.clone(),
            backend: link.backend().into(),
            ms: millis(started),
        });
        let asked = Instant::now();
        let mut ask = plan::questions(&assumed);
        ask.extend(&self.also_ask(host));
        let mut seen = link.ask(&ask).await.map_err(failed)?;
        supported(host, &seen.facts)?;
        if self.settles && seen.facts.busy {
            self.settle(host, link.as_mut()).await?;
            seen = link.ask(&ask).await.map_err(failed)?;
        }
        let (desired, secrets) = self.desired(host, &seen.facts, all)?;
        // Facts can add questions (another package name on another release), and a diff needs what is there now.
        let mut more = plan::questions(&desired);
        let covered = more.is_covered_by(&ask);
        if covered {
            more = Ask::default();
        }
        more.extend(&plan::wants_contents(&desired, &seen));
        if !more.is_empty() {
            let later = link.ask(&more).await.map_err(failed)?;
            seen.merge(later);
        }
        let plan = plan::build(&desired, &seen);
        self.events.send(Event::HostProbed {
            host: host.name.clone(),
            resources: plan.resources,
            changes: plan.changes(),
            ms: millis(asked),
        });
        Ok((
            Surveyed {
                name: host.name.clone(),
                seen,
                desired,
                secrets,
                link,
            },
            plan,
        ))
    }

    /// A plan for a host that something is still changing would be a plan for another host.
    async fn settle(&self, host: &Host, link: &mut dyn Link) -> Result<(), HostFailure> {
        let mut tell = |progress| {
            if let Progress::Waits(reason) = progress {
                self.events.send(Event::HostWaits {
                    host: host.name.clone(),
                    reason,
                });
            }
        };
        let verdict = link
            .settle(&mut tell)
            .await
            .map_err(|error| HostFailure::transport(&host.name, &error))?;
        let fail = |kind, message: String, hint: &str| {
            Err(HostFailure {
                host: host.name.clone(),
                kind,
                message,
                hint: Some(hint.into()),
            })
        };
        let name = &host.name;
        match verdict {
            Verdict::Done => Ok(()),
            Verdict::Locked(holder) => fail(
                Kind::Locked,
                format!("{name} is locked by another run: {holder}"),
                "wait until it ends; the lock goes with its connection",
            ),
            Verdict::Failed(why) => fail(
                Kind::HostFailed,
                format!("{name} does not become quiet: {why}"),
                &format!("look at the host: hactl ssh {name}"),
            ),
            _ => fail(
                Kind::HostFailed,
                format!("{name} does not become quiet"),
                &format!("look at the host: hactl ssh {name}"),
            ),
        }
    }

    /// What the host should have, and the secrets in it.
    fn desired(&self, host: &Host, facts: &Facts, all: bool) -> Result<(Desired, Vec<Secret>), HostFailure> {
        let topology = crate::topology::Topology::of(&self.inventory);
        let view = crate::topology::HostView { topology, host };
        let secrets = Noted {
            store: self.secrets.as_ref(),
            given: Mutex::default(),
        };
        let desired = match &self.declares {
            Some(declare) => declare(view, facts, &self.templates, &secrets),
            None => role::desired(view, facts, &self.templates, &secrets),
        };
        let mut desired = desired.map_err(|error| HostFailure::plain(&host.name, error))?;
        if !all {
            desired
                .resources
                .retain(|resource| resource.role != role::passwords::ROLE.name);
        }
        let given = secrets
            .given
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok((desired, given.into_values().collect()))
    }

    fn also_ask(&self, host: &Host) -> Ask {
        self.extra_questions
            .as_ref()
            .map(|questions| questions(host))
            .unwrap_or_default()
    }
}

/// Notes which secrets are asked for.
struct Noted<'a> {
    store: &'a (dyn SecretStore + Send + Sync),
    given: Mutex<BTreeMap<String, Secret>>,
}

impl SecretStore for Noted<'_> {
    fn secret(&self, name: &str) -> crate::error::Result<Secret> {
        let secret = self.store.secret(name)?;
        let mut given = self.given.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        given.insert(name.to_owned(), secret.clone());
        Ok(secret)
    }
}

/// Refuses a system that the roles are not made for: its package manager, paths and units may be others.
fn supported(host: &Host, facts: &Facts) -> Result<(), HostFailure> {
    if facts.system().is_some() {
        return Ok(());
    }
    let release = format!("{} {}", facts.os, facts.os_version);
    Err(HostFailure {
        host: host.name.clone(),
        kind: Kind::Refused,
        message: format!(
            "{}: its system, {}, is not supported; nothing was changed",
            host.name,
            terminal(release.trim())
        ),
        hint: Some(format!("supported are {}", System::supported())),
    })
}

impl Survey {
    /// Closes all connections.
    pub async fn close(self) {
        join_all(self.hosts.into_iter().map(|host| host.link.close())).await;
    }
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
