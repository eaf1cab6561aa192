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
use crate::resource::clock::{self, Skew};
use crate::resource::{Ask, Facts, Observed, System};
use crate::role::{self, live};
use crate::secret::{Secret, SecretStore};
use crate::topology::{HostView, Live, Topology};
use crate::transport::{Stage, TransportError};

/// What hosts answered, with their connections still open.
pub struct Survey {
    /// The plan for all hosts that answered.
    pub plan: Plan,
    /// Those hosts.
    pub hosts: Vec<Surveyed>,
    /// The others.
    pub failures: Vec<HostFailure>,
    /// Who leads.
    pub live: Live,
}

/// A host that answered.
pub struct Surveyed {
    /// Its name.
    pub name: String,
    /// What it has.
    pub seen: Observed,
    /// What it should have.
    pub desired: Desired,
    /// How far its clock is off.
    pub clock: Skew,
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
    /// One that was not waited for any longer.
    pub(super) fn silent(host: &str, waited: std::time::Duration) -> Self {
        HostFailure {
            host: host.into(),
            kind: Kind::Unreachable,
            message: format!("nothing came back in {:.1} s", waited.as_secs_f64()),
            hint: None,
        }
    }

    pub(super) fn transport(host: &str, error: &TransportError) -> Self {
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

    fn refused(refusal: &live::Refusal) -> Self {
        HostFailure {
            host: refusal.host.clone(),
            kind: Kind::Refused,
            message: refusal.message.clone(),
            hint: Some(refusal.hint.clone()),
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

/// A host that was asked what it has.
struct Asked<'a> {
    host: &'a Host,
    link: Box<dyn Link>,
    seen: Observed,
    ask: Ask,
    since: Instant,
    clock: Skew,
    /// Whether it takes part, or was only asked for the sake of others.
    planned: bool,
}

impl Engine {
    /// Surveys the named hosts (all when empty) side by side: what each has, who leads, then what each should have.
    pub async fn survey(&self, names: &[String]) -> Survey {
        self.survey_with(names, true).await
    }

    /// The same without the word of any other host: those are known not to answer.
    pub async fn survey_alone(&self, names: &[String]) -> Survey {
        self.survey_with(names, false).await
    }

    async fn survey_with(&self, names: &[String], with_others: bool) -> Survey {
        let topology = Topology::of(&self.inventory);
        let hosts = topology.hosts().map(|view| view.host);
        let wanted: Vec<_> = hosts
            .filter(|host| names.is_empty() || names.contains(&host.name))
            .collect();
        let all = wanted.len() == self.inventory.hosts.len();
        let others = match with_others {
            true => live::also_needed(topology, &wanted),
            false => Vec::new(),
        };
        let looks = wanted.iter().map(|host| self.look(host, all, true));
        let looks = looks.chain(others.iter().map(|host| self.look(host, all, false)));
        let mut survey = Survey {
            plan: self.empty_plan(),
            hosts: Vec::new(),
            failures: Vec::new(),
            live: Live::default(),
        };
        let mut asked = Vec::new();
        for answer in join_all(looks).await {
            match answer {
                Ok(host) => asked.push(host),
                Err(failure) if wanted.iter().any(|host| host.name == failure.host) => self.note(&mut survey, failure),
                // What it would have said is missed by the judgement, if anybody needs it.
                Err(_) => {}
            }
        }
        let answers = asked
            .iter()
            .map(|asked| (asked.host.name.as_str(), &asked.seen))
            .collect();
        let judgement = live::judge(topology, &answers);
        let living = Topology::living(&self.inventory, &judgement.live);
        let mut plans = Vec::new();
        for asked in asked {
            match judgement.refused.iter().find(|refusal| refusal.host == asked.host.name) {
                _ if !asked.planned => asked.link.close().await,
                Some(refusal) => {
                    self.note(&mut survey, HostFailure::refused(refusal));
                    asked.link.close().await;
                }
                None => plans.push(self.plan(living, asked, all)),
            }
        }
        for answer in join_all(plans).await {
            match answer {
                Ok((surveyed, plan)) => {
                    survey.plan.hosts.push(plan);
                    survey.hosts.push(surveyed);
                }
                Err(failure) => self.note(&mut survey, failure),
            }
        }
        let seen = survey.hosts.iter().map(|host| (host.name.as_str(), &host.seen));
        role::turns::take(&mut survey.plan, living, &seen.collect());
        self.events.send(Event::Planned {
            plan: survey.plan.clone(),
        });
        survey.live = judgement.live;
        survey
    }

    fn note(&self, survey: &mut Survey, failure: HostFailure) {
        self.events.send(Event::HostFailed {
            host: failure.host.clone(),
            kind: failure.kind.word().into(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        });
        survey.failures.push(failure);
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
    async fn look<'a>(&self, host: &'a Host, all: bool, planned: bool) -> Result<Asked<'a>, HostFailure> {
        let failed = |error: TransportError| HostFailure::transport(&host.name, &error);
        let started = Instant::now();
        let topology = Topology::of(&self.inventory);
        // What to ask hardly depends on the host's facts, so it is worked out while the connection is being made.
        let assumed = async {
            let mut ask = Ask::default();
            for live in live::possible(topology, host).iter().filter(|_| planned) {
                let topology = Topology::living(&self.inventory, live);
                let (desired, _) = self.desired(topology, host, &Facts::assumed(), all)?;
                ask.extend(&plan::questions(&desired));
            }
            Ok(ask)
        };
        let (ask, link) = futures::join!(assumed, self.links.link(host));
        let mut ask = ask?;
        let mut link = link.map_err(failed)?;
        self.events.send(Event::HostConnected {
            host: host.name.clone(),
            backend: link.backend().into(),
            ms: millis(started),
        });
        let since = Instant::now();
        ask.extend(&live::questions(&HostView { topology, host }));
        if planned {
            ask.extend(&self.also_ask(host));
        }
        let before = clock::now();
        let mut seen = link.ask(&ask).await.map_err(failed)?;
        let skew = match seen.facts.clock {
            // It did not say.
            0 => Skew::default(),
            theirs => Skew::of(theirs, before, clock::now()),
        };
        if planned {
            supported(host, &seen.facts)?;
            if self.settles {
                on_time(host, skew)?;
            }
            if self.settles && seen.facts.busy {
                self.settle(host, link.as_mut()).await?;
                seen = link.ask(&ask).await.map_err(failed)?;
            }
        }
        Ok(Asked {
            host,
            link,
            seen,
            ask,
            since,
            clock: skew,
            planned,
        })
    }

    async fn plan(
        &self,
        topology: Topology<'_>,
        asked: Asked<'_>,
        all: bool,
    ) -> Result<(Surveyed, HostPlan), HostFailure> {
        let Asked {
            host,
            mut link,
            mut seen,
            ask,
            since,
            clock,
            ..
        } = asked;
        let failed = |error: TransportError| HostFailure::transport(&host.name, &error);
        let (desired, secrets) = self.desired(topology, host, &seen.facts, all)?;
        // Facts can add questions (another package name on another release, another role), and a diff needs what is there
        // now.
        let mut more = plan::questions(&desired);
        if more.is_covered_by(&ask) {
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
            ms: millis(since),
        });
        let surveyed = Surveyed {
            name: host.name.clone(),
            seen,
            desired,
            clock,
            secrets,
            link,
        };
        Ok((surveyed, plan))
    }

    /// A plan for a host that something is still changing would be a plan for another host.
    pub(super) async fn settle(&self, host: &Host, link: &mut dyn Link) -> Result<(), HostFailure> {
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
    fn desired(
        &self,
        topology: Topology,
        host: &Host,
        facts: &Facts,
        all: bool,
    ) -> Result<(Desired, Vec<Secret>), HostFailure> {
        let view = HostView { topology, host };
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

/// Refuses a host whose clock is so wrong that what is done to it would fail half-way: package lists and certificates
/// are not valid yet, or no more.
fn on_time(host: &Host, skew: Skew) -> Result<(), HostFailure> {
    if skew.seconds < clock::TOO_MUCH {
        return Ok(());
    }
    let name = &host.name;
    Err(HostFailure {
        host: name.clone(),
        kind: Kind::Refused,
        message: format!("{name}: its clock is {skew}; nothing was changed"),
        hint: Some(format!(
            "{}; at once, when it is the host's that is wrong: hactl exec --limit {name} -- date -s @$(date +%s)",
            clock::MEND
        )),
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
