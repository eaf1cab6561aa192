//! `hactl plan`

use std::path::PathBuf;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::run::{Run, looked};
use super::saved::Saved;
use super::steps::StepArg;
use crate::error::Result;
use crate::report::{DiffMode, plan_text, summary};

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
    /// How much of the diffs is shown: none, short (changed files, 60 lines each) or full (new files, too)
    #[arg(
        long,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        value_name = "none|short|full"
    )]
    diff: DiffMode,
    /// Save the plan for `apply --plan FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 3 when there are changes
    #[arg(long)]
    exit_code: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    // A saved plan must not be outdated by the very secrets that applying it would make.
    let prepared = Prepared::new(context, &args.inventory, &args.limit, Missing::StandIn)?;
    context.block_on(async {
        let run = Run::start(context, prepared, "plan", false)?;
        match look(args, context, &run).await {
            Ok(summary) => {
                let summary = run.end(summary).await?;
                next(context, &summary, args);
                Ok(Ended { summary, told: true })
            }
            Err(error) => Err(run.fail(error).await),
        }
    })
}

async fn look(args: &Args, context: &Context, run: &Run) -> Result<crate::engine::Summary> {
    let hosts = args.limit.hosts(&run.engine.inventory)?;
    let mut survey = run.survey(&hosts).await?;
    args.steps.narrow(&mut survey)?;
    let text = plan_text::plan(&survey.plan, args.diff, context.console.paint());
    context.console.result(&text);
    if let Some(path) = &args.out
        && survey.failures.is_empty()
    {
        Saved::new(&run.engine, args.steps.wanted(), survey.plan.clone()).write(path)?;
        context.console.say(&format!("saved in {}\n", path.display()));
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
