//! `hactl apply`

use std::io::IsTerminal;
use std::path::PathBuf;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared, keyring};
use super::hooks;
use super::run::{Run, looked};
use super::saved::Saved;
use super::steps::StepArg;
use crate::engine::hooks::HookPlan;
use crate::engine::{Approved, ExtraQuestions, Summary, Survey};
use crate::error::{Error, Kind, Result};
use crate::inventory::Inventory;
use crate::inventory::secrets::{self, Secrets};
use crate::plan::Plan;
use crate::report::{DiffMode, Format, plan_text, summary};

/// Show the plan, ask, and bring the hosts to it
///
/// Run it again after any failure: it goes on where it stopped. Ctrl-C once stops when the running steps are done, twice
/// stops now. When a host cannot be reached nothing is changed anywhere; --limit leaves hosts out.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    limit: LimitArg,
    #[command(flatten)]
    steps: StepArg,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Do exactly what this file of `plan --out` says; refuse when anything changed since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["limit", "step"])]
    plan: Option<PathBuf>,
    /// How much of the diffs is shown: none, short (changed files, 60 lines each) or full (new files, too)
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "none|short|full"
    )]
    diff: DiffMode,
}

/// A run that shows its plan, asks, and carries it out.
pub struct Order<'a> {
    /// The verb, as it is recorded.
    pub verb: &'static str,
    /// Do not ask.
    pub yes: bool,
    /// How much of the diffs is shown.
    pub diff: DiffMode,
    /// The inventory as an argument of a suggested command.
    pub inventory: String,
    /// Takes out of the survey's plan what this run is not about.
    pub narrow: &'a (dyn Fn(&mut Survey) -> Result<()> + Sync),
    /// Secrets whose older values nobody has any more when it ends well.
    pub rotated: Option<Secrets>,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let saved = args.plan.as_deref().map(Saved::read).transpose()?;
    somebody_agrees("apply", args.yes || args.plan.is_some(), context)?;
    if let Some(saved) = &saved {
        // Before secrets are generated, which changes what the plan was made from.
        saved.check(&context.inventory(&args.inventory)?)?;
    }
    let limit = match &saved {
        Some(saved) => LimitArg { limit: saved.hosts() },
        None => args.limit.clone(),
    };
    let prepared = Prepared::new(context, &args.inventory, &limit, Missing::Generate)?;
    // A run over a part leaves hosts or programs with older values.
    let everything = prepared.hosts.len() == prepared.inventory.hosts.len()
        && args.steps.wanted().is_empty()
        && saved.as_ref().is_none_or(|saved| saved.is_whole());
    let narrow = |survey: &mut Survey| match &saved {
        Some(saved) => saved.hold(survey),
        None => args.steps.narrow(survey),
    };
    let order = Order {
        verb: "apply",
        yes: args.yes || saved.is_some(),
        diff: args.diff,
        inventory: args.inventory.in_command(),
        narrow: &narrow,
        rotated: (everything && prepared.secrets.is_rotated()).then(|| prepared.secrets.clone()),
    };
    context.block_on(carried_out(&order, context, prepared, None))
}

/// Surveys, shows the plan, asks and executes, with hooks around it. `questions` are asked of every host besides.
///
/// # Errors
/// When nothing was changed and that is a failure: declined, refused by a hook, a plan that cannot be made.
pub async fn carried_out(
    order: &Order<'_>,
    context: &Context,
    prepared: Prepared,
    questions: Option<ExtraQuestions>,
) -> Result<Ended> {
    let hosts = prepared.hosts.clone();
    let inventory = std::sync::Arc::clone(&prepared.inventory);
    let mut run = Run::start(context, prepared, order.verb, true)?;
    run.engine.extra_questions = questions;
    let mut planned = None;
    match carry_out(order, context, &run, &hosts, &mut planned).await {
        Ok(summary) => {
            // Where nothing was to be done nothing has happened.
            if summary.exit_code != 0 || planned.as_ref().is_some_and(|plan| plan.changes > 0) {
                hooks::after(context, &run, planned.as_ref(), &summary).await;
            }
            let summary = run.end(summary).await?;
            if let (0, Some(secrets)) = (summary.exit_code, &order.rotated) {
                forget_previous(&inventory, secrets, context);
            }
            if let Some(next) = summary::next("apply", summary.exit_code, &order.inventory) {
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
pub fn somebody_agrees(verb: &str, yes: bool, context: &Context) -> Result<()> {
    if yes {
        return Ok(());
    }
    let why = if context.console.format == Format::Json {
        "--format json"
    } else if !std::io::stdin().is_terminal() || !context.console.has_terminal() {
        "no terminal"
    } else {
        return Ok(());
    };
    let hint = match verb {
        "apply" => "hactl apply --yes, or hactl plan --out FILE and then hactl apply --plan FILE".to_owned(),
        verb => format!("hactl {verb} --yes"),
    };
    Err(Error::usage(format!(
        "{verb} asks before it changes anything, and with {why} it cannot"
    ))
    .hint(hint))
}

async fn carry_out(
    order: &Order<'_>,
    context: &Context,
    run: &Run,
    hosts: &[String],
    planned: &mut Option<HookPlan>,
) -> Result<Summary> {
    let mut survey = run.survey(hosts).await?;
    if let Err(error) = (order.narrow)(&mut survey) {
        survey.close().await;
        return Err(error);
    }
    *planned = Some(HookPlan::from(&survey.plan));
    let text = plan_text::plan(&survey.plan, order.diff, context.console.paint());
    context.console.result(&text);
    if !survey.failures.is_empty() {
        let summary = looked(&survey, false);
        let names: Vec<_> = survey.failures.iter().map(|failure| failure.host.as_str()).collect();
        context.console.say(&format!(
            "nothing was changed: {} cannot take part; --limit leaves hosts out\n",
            names.join(", ")
        ));
        survey.close().await;
        return Ok(summary);
    }
    if !order.yes && !survey.plan.is_empty() && !ask(question(&survey.plan)).await? {
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
    Ok(execute(run, survey, plan).await)
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
    let answer = tokio::task::spawn_blocking(move || {
        dialoguer::Confirm::new()
            .with_prompt(question)
            .default(false)
            .interact_on(&console::Term::stderr())
    });
    match answer.await {
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
