//! One run over hosts: its engine, its reporter, its journal.

use std::sync::Arc;
use std::time::Instant;

use super::context::{Context, Prepared};
use crate::engine::{Engine, Event, Events, HostSummary, Interrupt, Summary, Survey, Urgency, journal};
use crate::error::{Kind, Result};
use crate::report::{Console, Reporter};

/// A run that began.
pub struct Run {
    /// What carries it out.
    pub engine: Engine,
    /// Names of the hosts it is about.
    pub hosts: Vec<String>,
    /// What it does: `apply`, `site create`.
    pub verb: String,
    reporter: Reporter,
    console: Arc<Console>,
    started: Instant,
}

impl Run {
    /// Begins: from here on there are events. `recorded`: also in the journal of this machine.
    ///
    /// # Errors
    /// When the journal cannot be written or sudo's password is missing.
    pub fn start(context: &Context, prepared: Prepared, verb: &str, recorded: bool) -> Result<Run> {
        let links = context.links(&prepared.inventory, Some(&prepared.secrets), &prepared.hosts)?;
        let run = journal::run_id();
        let cluster = prepared.inventory.cluster.clone();
        let recorder = match recorded {
            true => Some(Arc::new(journal::Recorder::start(&journal::folder(&cluster), &run)?)),
            false => None,
        };
        let (reporter, sender) = Reporter::start(Arc::clone(&context.console))?;
        let events = Events::new(sender, recorder);
        let since = crate::report::json::time(jiff::Timestamp::now());
        events.send(Event::RunStarted {
            run: run.clone(),
            verb: verb.to_owned(),
            cluster,
            hosts: prepared.hosts.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: since.clone(),
            by: journal::operator(),
        });
        let signals = events.clone();
        let interrupt = Interrupt::from_signals(move |urgency| {
            signals.send(Event::Interrupted {
                now: urgency == Urgency::Now,
            });
        });
        let engine = Engine {
            doing: format!("{verb} {}", prepared.inventory.path.display()),
            inventory: prepared.inventory,
            templates: prepared.templates,
            secrets: Arc::new(prepared.secrets),
            links: Arc::new(links),
            events,
            interrupt,
            run,
            who: journal::operator(),
            since,
            fingerprint: prepared.fingerprint,
            // Only what is going to change hosts waits for them; a look shows them as they are.
            settles: recorded,
            extra_questions: None,
            declares: None,
        };
        Ok(Run {
            engine,
            hosts: prepared.hosts,
            verb: verb.to_owned(),
            reporter,
            console: Arc::clone(&context.console),
            started: Instant::now(),
        })
    }

    /// Surveys the hosts; Ctrl-C ends that at once, since nothing is changed by it.
    ///
    /// # Errors
    /// Interrupted.
    pub async fn survey(&self, hosts: &[String]) -> Result<Survey> {
        self.unless_interrupted(self.engine.survey(hosts)).await
    }

    /// The same when all others are known not to answer.
    ///
    /// # Errors
    /// Interrupted.
    pub async fn survey_alone(&self, hosts: &[String]) -> Result<Survey> {
        self.unless_interrupted(self.engine.survey_alone(hosts)).await
    }

    async fn unless_interrupted(&self, survey: impl Future<Output = Survey>) -> Result<Survey> {
        let mut interrupt = self.engine.interrupt.clone();
        let survey = tokio::select! {
            survey = survey => survey,
            () = interrupt.reaches(Urgency::Soon) => {
                return Err(crate::error::Error::new(Kind::Interrupted, "interrupted; nothing was changed"));
            }
        };
        self.reporter.settle().await;
        Ok(survey)
    }

    /// Waits until everything said so far is printed.
    pub async fn settle(&self) {
        self.reporter.settle().await;
    }

    /// Milliseconds since the beginning.
    pub fn ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends: prints all that is left, and the summary.
    ///
    /// # Errors
    /// When the reporter failed.
    pub async fn end(self, summary: Summary) -> Result<Summary> {
        let console = Arc::clone(&self.console);
        let summary = self.end_quietly(summary).await?;
        console.result(&crate::report::summary::text(&summary, console.paint()));
        Ok(summary)
    }

    /// The same for verbs whose own text says it all.
    ///
    /// # Errors
    /// When the reporter failed.
    pub async fn end_quietly(self, mut summary: Summary) -> Result<Summary> {
        summary.run.clone_from(&self.engine.run);
        summary.ms = self.ms();
        self.engine.events.send(Event::Summary(summary.clone()));
        self.reporter.settle().await;
        self.reporter.finish()?;
        Ok(summary)
    }

    /// Ends with an error, which the caller prints.
    pub async fn fail(self, error: crate::error::Error) -> crate::error::Error {
        self.engine.events.record_only(&Event::Summary(Summary {
            run: self.engine.run.clone(),
            exit_code: error.kind.exit_code(),
            ..Summary::default()
        }));
        self.reporter.settle().await;
        match self.reporter.finish() {
            Ok(()) => error,
            Err(worse) => worse,
        }
    }
}

/// The summary of a run that changed nothing: what the survey found. `pending` says whether waiting changes are worth an
/// exit code of their own.
pub fn looked(survey: &Survey, pending: bool) -> Summary {
    let mut hosts: Vec<HostSummary> = Vec::new();
    for plan in &survey.plan.hosts {
        hosts.push(HostSummary {
            host: plan.host.clone(),
            outcome: "ok".into(),
            unchanged: plan.unchanged(),
            skipped: plan.changes(),
            ..HostSummary::default()
        });
    }
    let mut worst = None;
    for failure in &survey.failures {
        worst = worse(worst, Some(failure.kind));
        let outcome = match failure.kind {
            Kind::Unreachable => "unreachable",
            Kind::Locked => "locked",
            Kind::Refused => "refused",
            _ => "failed",
        };
        hosts.push(HostSummary {
            host: failure.host.clone(),
            outcome: outcome.into(),
            ..HostSummary::default()
        });
    }
    let changes = survey.plan.changes();
    let kind = worst.or_else(|| (pending && changes > 0).then_some(Kind::Pending));
    Summary {
        exit_code: kind.map_or(0, Kind::exit_code),
        unchanged: hosts.iter().map(|host| host.unchanged).sum(),
        skipped: changes,
        hosts,
        ..Summary::default()
    }
}

/// A defect or a wrong inventory outweighs a failed host, which outweighs one that cannot be reached.
fn worse(a: Option<Kind>, b: Option<Kind>) -> Option<Kind> {
    let weight = |kind: &Option<Kind>| match kind {
        None => 0,
        Some(Kind::Unreachable) => 1,
        Some(Kind::HostFailed) => 2,
        Some(_) => 3,
    };
    if weight(&a) >= weight(&b) { a } else { b }
}
