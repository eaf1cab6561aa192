//! Changing hosts: every verb that does so shows its plan, asks, and carries it out here.

use std::io::IsTerminal;

use super::args::InventoryArg;
use super::context::{Context, Ended, Prepared, keyring};
use super::hooks;
use super::run::{Run, looked};
use crate::engine::hooks::HookPlan;
use crate::engine::{Approved, Declare, ExtraQuestions, Summary, Survey};
use crate::error::{Error, Kind, Result};
use crate::inventory::Inventory;
use crate::inventory::secrets::{self, Secrets};
use crate::plan::Plan;
use crate::report::{DiffMode, Format, plan_text, summary};

/// What a run that changes hosts is about, beside its inventory.
pub struct Job<'a> {
    /// In events, journals and locks.
    pub verb: &'static str,
    /// The inventory as the user named it.
    pub inventory: &'a InventoryArg,
    /// How much of the diffs is shown.
    pub diff: DiffMode,
    /// Who agrees to the plan.
    pub consent: Consent<'a>,
    /// Takes out of the survey's plan what this run is not about.
    pub narrow: &'a (dyn Fn(&mut Survey) -> Result<()> + Sync),
    /// What hosts are asked besides.
    pub questions: Option<ExtraQuestions>,
    /// What hosts should have, when that is not what their roles say.
    pub declares: Option<Declare>,
    /// Whether hosts have all that their roles say afterwards.
    pub whole: bool,
    /// What is written down on this machine at the same time.
    pub deed: Option<&'a dyn Deed>,
}

/// Who agrees to a plan.
#[derive(Clone, Copy)]
pub enum Consent<'a> {
    /// Did so beforehand, or saved it for this.
    Given,
    /// Is asked yes or no.
    Ask,
    /// Is asked to type this.
    Type(&'a str),
}

/// Something on this machine that goes with the changes of hosts.
pub trait Deed {
    /// Done when the plan is agreed to, right before the first change.
    ///
    /// # Errors
    /// Then nothing is changed.
    fn begin(&self) -> Result<()>;

    /// Done when no host was changed after all.
    ///
    /// # Errors
    /// What is left as it is.
    fn undo(&self) -> Result<()>;
}

/// Surveys, shows the plan, asks and executes, with hooks around it.
///
/// # Errors
/// When nothing was changed and that is a failure: declined, refused by a hook, a plan that cannot be made.
pub fn change(context: &Context, prepared: Prepared, mut job: Job) -> Result<Ended> {
    let hosts = prepared.hosts.clone();
    let inventory = std::sync::Arc::clone(&prepared.inventory);
    let rotated = (job.whole && prepared.secrets.is_rotated()).then(|| prepared.secrets.clone());
    context.block_on(async {
        let mut run = Run::start(context, prepared, job.verb, true)?;
        run.engine.declares = job.declares.take();
        run.engine.extra_questions = job.questions.take();
        let mut planned = None;
        match carry_out(&job, context, &run, &hosts, &mut planned).await {
            Ok(summary) => {
                // Where nothing was to be done nothing has happened.
                if summary.exit_code != 0 || planned.as_ref().is_some_and(|plan| plan.changes > 0) {
                    hooks::after(context, &run, planned.as_ref(), &summary).await;
                }
                let summary = run.end(summary).await?;
                if let (0, Some(secrets)) = (summary.exit_code, &rotated) {
                    forget_previous(&inventory, secrets, context);
                }
                if let Some(next) = summary::next(job.verb, summary.exit_code, &job.inventory.in_command()) {
                    context.hint(&next);
                }
                Ok(Ended { summary, told: true })
            }
            Err(error) => {
                // Whoever declined knows it.
                if error.kind != Kind::Interrupted {
                    let summary = Summary {
                        exit_code: error.kind.exit_code(),
                        ..Summary::default()
                    };
                    hooks::after(context, &run, planned.as_ref(), &summary).await;
                }
                Err(run.fail(error).await)
            }
        }
    })
}

/// Every host has the new values: the ones before are not needed any more.
fn forget_previous(inventory: &Inventory, applied: &Secrets, context: &Context) {
    if let Err(error) = secrets::forget_previous(inventory, &keyring(), applied) {
        context.warn(&format!(
            "the rotated secrets were carried through, but their old values are still in the file: {}",
            error.message
        ));
    }
}

/// A run that would need an answer which nobody can give ends before anything is contacted.
///
/// # Errors
/// When nobody can be asked.
pub fn somebody_agrees(verb: &str, consent: Consent, context: &Context) -> Result<()> {
    let why = if context.console.format == Format::Json {
        "--format json"
    } else if !std::io::stdin().is_terminal() || !context.console.has_terminal() {
        "no terminal"
    } else {
        return Ok(());
    };
    let asks = format!("{verb} asks before it changes anything, and with {why} it cannot");
    match consent {
        Consent::Given => Ok(()),
        Consent::Ask if verb == "apply" => {
            Err(Error::usage(asks).hint("hactl apply --yes, or hactl plan --out FILE and then hactl apply --plan FILE"))
        }
        Consent::Ask => Err(Error::usage(asks).hint("--yes agrees beforehand")),
        Consent::Type(_) => Err(Error::new(Kind::Refused, asks).hint("--yes agrees beforehand")),
    }
}

async fn carry_out(
    job: &Job<'_>,
    context: &Context,
    run: &Run,
    hosts: &[String],
    planned: &mut Option<HookPlan>,
) -> Result<Summary> {
    let mut survey = run.survey(hosts).await?;
    if let Err(error) = (job.narrow)(&mut survey) {
        survey.close().await;
        return Err(error);
    }
    *planned = Some(HookPlan::from(&survey.plan));
    let text = plan_text::plan(&survey.plan, job.diff, context.console.paint());
    context.console.result(&text);
    if !survey.failures.is_empty() {
        let summary = looked(&survey, false);
        let names: Vec<_> = survey.failures.iter().map(|failure| failure.host.as_str()).collect();
        let leave_out = if job.verb == "apply" {
            "; --limit leaves hosts out"
        } else {
            ""
        };
        context.console.say(&format!(
            "nothing was changed: {} cannot take part{leave_out}\n",
            names.join(", ")
        ));
        survey.close().await;
        return Ok(summary);
    }
    if !agreed(job, &survey.plan).await? {
        survey.close().await;
        return Err(Error::new(Kind::Interrupted, "not confirmed; nothing was changed"));
    }
    let plan = survey.plan.clone();
    if let Some(planned) = planned.as_ref().filter(|planned| planned.changes > 0)
        && let Err(refused) = hooks::before(run, planned).await
    {
        survey.close().await;
        return Err(refused);
    }
    if let Some(deed) = job.deed
        && let Err(error) = deed.begin()
    {
        survey.close().await;
        return Err(error);
    }
    let summary = execute(run, survey, plan).await;
    if let Some(deed) = job.deed.filter(|_| untouched(&summary)) {
        deed.undo()?;
    }
    Ok(summary)
}

/// Whether it is known that no step began anywhere: every host refused as a whole, or never came to its first.
fn untouched(summary: &Summary) -> bool {
    let whole = |outcome: &str| matches!(outcome, "locked" | "refused" | "skipped");
    let hosts = &summary.hosts;
    summary.exit_code != 0
        && hosts
            .iter()
            .all(|host| host.changed == 0 && host.failed == 0 && (whole(&host.outcome) || host.outcome == "ok"))
}

async fn agreed(job: &Job<'_>, plan: &Plan) -> Result<bool> {
    match job.consent {
        Consent::Ask if plan.is_empty() => Ok(true),
        consent => agrees(consent, question(plan)).await,
    }
}

/// Whether the user says yes.
///
/// # Errors
/// None today; a terminal that is gone counts as no.
pub async fn agrees(consent: Consent<'_>, question: String) -> Result<bool> {
    match consent {
        Consent::Given => Ok(true),
        Consent::Ask => ask(question).await,
        Consent::Type(word) => typed(word.to_owned()).await,
    }
}

async fn execute(run: &Run, survey: Survey, plan: Plan) -> Summary {
    run.engine.execute(survey, Approved::by_user(plan)).await
}

/// `Apply these 74 changes to srv1?`
fn question(plan: &Plan) -> String {
    let changing: Vec<_> = plan.hosts.iter().filter(|host| !host.steps.is_empty()).collect();
    let hosts = match changing.as_slice() {
        [one] => crate::quote::terminal(&one.host),
        many => format!("{} hosts", many.len()),
    };
    match plan.changes() {
        1 => format!("Apply this change to {hosts}?"),
        changes => format!("Apply these {changes} changes to {hosts}?"),
    }
}

async fn ask(question: String) -> Result<bool> {
    answer(move || {
        dialoguer::Confirm::new()
            .with_prompt(question)
            .default(false)
            .interact_on(&console::Term::stderr())
    })
    .await
}

async fn typed(word: String) -> Result<bool> {
    answer(move || {
        let answer: String = dialoguer::Input::new()
            .with_prompt(format!("Type {word} to go on"))
            .allow_empty(true)
            .interact_text_on(&console::Term::stderr())?;
        Ok(answer.trim() == word)
    })
    .await
}

async fn answer(question: impl FnOnce() -> dialoguer::Result<bool> + Send + 'static) -> Result<bool> {
    match tokio::task::spawn_blocking(question).await {
        Ok(Ok(yes)) => Ok(yes),
        // Ctrl-C at the question, or the terminal is gone. The question leaves without its cursor and line end.
        Ok(Err(_)) | Err(_) => {
            let terminal = console::Term::stderr();
            let _ = terminal.show_cursor();
            let _ = terminal.write_line("");
            Ok(false)
        }
    }
}
