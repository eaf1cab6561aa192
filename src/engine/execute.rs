//! Carries an approved plan out: all hosts side by side, one stage after the other, one round trip per host and stage.
//! Hosts that serve together take turns within a stage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures::future::join_all;
use tokio::sync::watch;

use super::interrupt::Urgency;
use super::link::{Order, Progress, Verdict};
use super::progress::Narrator;
use super::survey::{Surveyed, millis};
use super::{Engine, Event, HostSummary, Summary, Survey};
use crate::error::Kind;
use crate::plan::{HostPlan, Plan, Step};
use crate::role::turns;
use crate::secret::masked;

/// A plan that somebody agreed to. Without one nothing can be changed.
#[derive(Debug)]
pub struct Approved {
    plan: Plan,
}

impl Approved {
    /// The user saw this very plan and said yes, said yes beforehand (`--yes`), or saved it for this (`--plan`).
    pub fn by_user(plan: Plan) -> Self {
        Approved { plan }
    }
}

/// How hosts ended a stage, by name.
type Turns = BTreeMap<String, Ended>;

/// How a host ended a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It did all of it, or had nothing to do.
    Well,
    /// It failed, or was stopped.
    Badly,
    /// Its turn did not come.
    Skipped,
}

/// A host on its way through the stages.
struct Work {
    host: Surveyed,
    plan: HostPlan,
    summary: HostSummary,
    started: Instant,
    kind: Option<Kind>,
    /// Steps done or tried.
    reached: usize,
}

impl Engine {
    /// Carries the plan out on the hosts of the survey. Hosts whose connection failed in the survey are not in it; the
    /// caller decides beforehand whether that stops the run.
    pub async fn execute(&self, survey: Survey, approved: Approved) -> Summary {
        let started = Instant::now();
        let mut plans = approved.plan.hosts;
        let mut work: Vec<Work> = Vec::new();
        let takes_part: BTreeSet<_> = plans.iter().map(|plan| plan.host.clone()).collect();
        for host in survey.hosts {
            let mut plan = match plans.iter().position(|plan| plan.host == host.name) {
                Some(at) => plans.swap_remove(at),
                None => continue,
            };
            plan.after.retain(|other| takes_part.contains(other));
            let summary = HostSummary {
                host: host.name.clone(),
                unchanged: plan.unchanged(),
                ..HostSummary::default()
            };
            work.push(Work {
                host,
                plan,
                summary,
                started,
                kind: None,
                reached: 0,
            });
        }
        let stages: BTreeSet<u8> = work
            .iter()
            .flat_map(|work| work.plan.steps.iter().map(|step| step.stage))
            .collect();
        for stage in stages {
            if work.iter().any(|work| work.kind.is_some()) || self.interrupt.urgency() > Urgency::None {
                break;
            }
            let (ended, _) = watch::channel(Turns::new());
            join_all(work.iter_mut().map(|work| self.turn(work, stage, &ended))).await;
        }
        if self.interrupt.urgency() > Urgency::None {
            for work in &mut work {
                if work.reached < work.plan.steps.len() {
                    work.kind.get_or_insert(Kind::Interrupted);
                }
            }
        }
        self.finish(work, started).await
    }

    /// A host's part of a stage, when its turn comes.
    async fn turn(&self, work: &mut Work, stage: u8, ended: &watch::Sender<Turns>) {
        let host = work.plan.host.clone();
        let mut steps = work.plan.steps.iter().filter(|step| step.stage == stage);
        let end = match steps.any(|step| turns::is_felt(&self.inventory, step)) {
            true => self.comes(&work.plan, ended.subscribe()).await,
            false => Ok(()),
        };
        let end = match end {
            Ok(()) => {
                self.stage(work, stage).await;
                match work.kind {
                    None => Ended::Well,
                    Some(_) => Ended::Badly,
                }
            }
            Err(reason) => {
                self.events.send(Event::HostSkipped {
                    host: host.clone(),
                    reason: reason.clone(),
                });
                work.summary.reason = Some(reason);
                Ended::Skipped
            }
        };
        ended.send_modify(|turns| {
            turns.insert(host, end);
        });
    }

    /// Waits for a host's turn.
    ///
    /// # Errors
    /// Why it does not come.
    async fn comes(&self, plan: &HostPlan, mut ended: watch::Receiver<Turns>) -> Result<(), String> {
        let left = |turns: &Turns| {
            let open = plan.after.iter().filter(|host| !turns.contains_key(*host));
            open.cloned().collect::<Vec<_>>()
        };
        let waits = left(&ended.borrow());
        if !waits.is_empty() {
            self.events.send(Event::HostWaits {
                host: plan.host.clone(),
                reason: format!("for {}, which serves together with it", waits.join(", ")),
            });
        }
        let mut interrupt = self.interrupt.clone();
        let turns = tokio::select! {
            biased;
            () = interrupt.reaches(Urgency::Soon) => return Err("the run was interrupted before its turn".into()),
            turns = ended.wait_for(|turns| left(turns).is_empty()) => turns.map(|turns| turns.clone()).unwrap_or_default(),
        };
        let failed: Vec<_> = plan
            .after
            .iter()
            .filter(|host| turns.get(*host) == Some(&Ended::Badly))
            .collect();
        match failed.as_slice() {
            [] if plan.after.iter().all(|host| turns.get(host) == Some(&Ended::Well)) => Ok(()),
            [] => Err("its turn did not come".into()),
            [first, ..] => Err(format!("{first} failed before its turn came; it is left as it was")),
        }
    }

    async fn stage(&self, work: &mut Work, stage: u8) {
        let first = work.plan.steps.iter().position(|step| step.stage == stage);
        let Some(first) = first else { return };
        let steps: Vec<Step> = work
            .plan
            .steps
            .iter()
            .filter(|step| step.stage == stage)
            .cloned()
            .collect();
        let name = work.host.name.clone();
        let order = Order {
            run: &self.run,
            who: &self.who,
            since: &self.since,
            doing: &self.doing,
            generation: &work.host.seen.facts.generation,
            last: first + steps.len() == work.plan.steps.len(),
            steps: &steps,
        };
        let secrets = work.host.secrets.clone();
        let mut narrator = Narrator::new(&self.events, &name, &steps, first, work.plan.steps.len()).masking(&secrets);
        let stopper = work.host.link.stopper(&self.run);
        let mut interrupt = self.interrupt.clone();
        let mut tell = |progress: Progress| narrator.take(progress);
        let result = {
            let carry = work.host.link.carry_out(order, &mut tell);
            let stop = async {
                interrupt.reaches(Urgency::Soon).await;
                stopper.soon().await;
                interrupt.reaches(Urgency::Now).await;
                stopper.now().await;
                // The step's own end is waited for, but not for ever.
                tokio::time::sleep(std::time::Duration::from_secs(20)).await;
            };
            tokio::select! {
                result = carry => Some(result),
                () = stop => None,
            }
        };
        let counts = narrator.finish(matches!(&result, Some(Ok(_))));
        work.reached = first + counts.reached;
        work.summary.changed += counts.changed;
        work.summary.unchanged += counts.unchanged;
        work.summary.failed += counts.failed;
        work.kind = match result {
            Some(Ok(Verdict::Done)) => None,
            // A step that was ended on demand did not fail by itself.
            Some(Ok(Verdict::StepFailed)) if self.interrupt.urgency() == Urgency::Now => Some(Kind::Interrupted),
            Some(Ok(Verdict::StepFailed)) => Some(Kind::HostFailed),
            Some(Ok(Verdict::Stopped)) | None => Some(Kind::Interrupted),
            Some(Ok(Verdict::Locked(holder))) => {
                let holder = masked(&holder, &secrets);
                let message = format!("{name} is locked by another run: {holder}");
                self.fail(
                    &name,
                    Kind::Locked,
                    message,
                    "wait until it ends; the lock goes with its connection",
                )
            }
            Some(Ok(Verdict::Moved(why))) => {
                let why = masked(&why, &secrets);
                self.fail(&name, Kind::Refused, format!("{name}: {why}"), "look again: hactl plan")
            }
            Some(Ok(Verdict::Failed(why))) => self.fail(
                &name,
                Kind::HostFailed,
                format!("{name}: {}", masked(&why, &secrets)),
                match why.contains("disk") || why.contains("cannot") {
                    true => "free space on the host, then run hactl apply again",
                    false => "look at the host, then run hactl apply again",
                },
            ),
            Some(Err(error)) => {
                let hint = "run hactl apply again: it continues where this ended";
                self.fail(
                    &name,
                    Kind::HostFailed,
                    error.message.clone(),
                    error.hint.as_deref().unwrap_or(hint),
                )
            }
        };
        if work.kind == Some(Kind::HostFailed) && counts.moved {
            work.kind = Some(Kind::Refused);
        }
    }

    fn fail(&self, host: &str, kind: Kind, message: String, hint: &str) -> Option<Kind> {
        self.events.send(Event::HostFailed {
            host: host.into(),
            kind: kind.word().into(),
            message,
            hint: Some(hint.into()),
        });
        Some(kind)
    }

    async fn finish(&self, work: Vec<Work>, started: Instant) -> Summary {
        let mut summary = Summary {
            run: self.run.clone(),
            ..Summary::default()
        };
        let mut worst: Option<Kind> = None;
        for mut work in work {
            let planned = work.plan.changes();
            let left: usize = work
                .plan
                .steps
                .iter()
                .skip(work.reached)
                .map(|step| step.changes.len())
                .sum();
            work.summary.skipped = left.min(planned);
            work.summary.outcome = match work.kind {
                None if left > 0 => "skipped",
                None => "ok",
                Some(Kind::Locked) => "locked",
                Some(Kind::Refused) => "refused",
                Some(Kind::Interrupted) => "interrupted",
                Some(_) => "failed",
            }
            .into();
            work.summary.round_trips = work.host.link.round_trips();
            work.summary.ms = millis(work.started);
            worst = worst_of(worst, work.kind);
            work.host.link.close().await;
            summary.hosts.push(work.summary);
        }
        summary.changed = summary.hosts.iter().map(|host| host.changed).sum();
        summary.unchanged = summary.hosts.iter().map(|host| host.unchanged).sum();
        summary.failed = summary.hosts.iter().map(|host| host.failed).sum();
        summary.skipped = summary.hosts.iter().map(|host| host.skipped).sum();
        summary.ms = millis(started);
        summary.exit_code = worst.map_or(0, Kind::exit_code);
        summary
    }
}

/// A failed host outweighs an interrupted run, which outweighs a refusal, which outweighs a lock.
fn worst_of(a: Option<Kind>, b: Option<Kind>) -> Option<Kind> {
    let weight = |kind: &Option<Kind>| match kind {
        None => 0,
        Some(Kind::Locked) => 1,
        Some(Kind::Refused) => 2,
        Some(Kind::Interrupted) => 3,
        Some(_) => 4,
    };
    if weight(&a) >= weight(&b) { a } else { b }
}
