//! `hactl plan`

use std::path::PathBuf;

use super::args::{DiffArg, InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::run::{Run, looked};
use super::saved::{Saved, may_hold_secrets};
use super::steps::StepArg;
use crate::error::Result;
use crate::inventory::secrets::Secrets;
use crate::report::{plan_text, summary};

/// Look at the hosts and print what apply would change, with diffs
///
/// Changes nothing. Exits with 0 whether there are changes or not, unless --exit-code is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    limit: LimitArg,
    #[command(flatten)]
    steps: StepArg,
    #[command(flatten)]
    diff: DiffArg,
    /// Save the plan for `apply --plan FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Put the secrets into that file, too, in clear: whoever applies it then needs no key, and whoever reads it has them all
    #[arg(long, requires = "out")]
    with_secrets: bool,
    /// Exit with 3 when there are changes
    #[arg(long)]
    exit_code: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    if let (true, Some(path)) = (args.with_secrets, &args.out) {
        may_hold_secrets(path)?;
    }
    // A saved plan must not be outdated by the very secrets that applying it would make.
    // With its secrets it is not: it is made when they are.
    let missing = if args.with_secrets {
        Missing::Generate
    } else {
        Missing::StandIn
    };
    let prepared = Prepared::new(context, &args.inventory, &args.limit, missing)?;
    let secrets = args.with_secrets.then(|| prepared.secrets.clone());
    context.block_on(async {
        let run = Run::start(context, prepared, "plan", false)?;
        match look(args, context, &run, secrets.as_ref()).await {
            Ok(summary) => {
                // The plan's own totals have said it all.
                let summary = run.end_quietly(summary).await?;
                next(context, &summary, args);
                Ok(Ended { summary, told: true })
            }
            Err(error) => Err(run.fail(error).await),
        }
    })
}

async fn look(args: &Args, context: &Context, run: &Run, secrets: Option<&Secrets>) -> Result<crate::engine::Summary> {
    let hosts = args.limit.hosts(&run.engine.inventory)?;
    let mut survey = run.survey(&hosts).await?;
    args.steps.narrow(&mut survey)?;
    let text = plan_text::plan(&survey.plan, args.diff.diff, context.console.paint());
    context.console.result(&text);
    if let Some(path) = &args.out
        && survey.failures.is_empty()
    {
        let saved = Saved::new(&run.engine, args.steps.wanted(), survey.plan.clone());
        match secrets {
            None => saved.write(path)?,
            Some(secrets) => saved.carrying(secrets).write(path)?,
        }
        context.console.say(&format!("saved in {}\n", path.display()));
        if secrets.is_some() {
            context.warn(&format!(
                "warning: {} holds every secret of the inventory in clear; nobody else may read it, and it should go when it \
                 is applied",
                path.display()
            ));
        }
    }
    let summary = looked(&survey, args.exit_code);
    survey.close().await;
    Ok(summary)
}

fn next(context: &Context, ended: &crate::engine::Summary, args: &Args) {
    let pending = ended.exit_code == 0 && ended.skipped > 0;
    let code = if pending {
        crate::error::Kind::Pending.exit_code()
    } else {
        ended.exit_code
    };
    let next = match &args.out {
        Some(path) if pending || code == 3 => {
            let file = crate::quote::sh(&path.display().to_string());
            Some(
                format!("hactl apply --plan {file} {}", args.inventory.in_command())
                    .trim_end()
                    .to_owned(),
            )
        }
        _ => summary::next("plan", code, &args.inventory.in_command()),
    };
    if let Some(next) = next {
        context.hint(&next);
    }
}
