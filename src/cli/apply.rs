//! `hactl apply`

use std::path::PathBuf;

use super::args::{DiffArg, InventoryArg, LimitArg};
use super::change::{Consent, Job, change, somebody_agrees};
use super::context::{Context, Ended, Missing, Prepared};
use super::saved::Saved;
use super::steps::StepArg;
use crate::engine::Survey;
use crate::error::Result;

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
    #[command(flatten)]
    diff: DiffArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let saved = args.plan.as_deref().map(Saved::read).transpose()?;
    let consent = match args.yes || saved.is_some() {
        true => Consent::Given,
        false => Consent::Ask,
    };
    somebody_agrees("apply", consent, context)?;
    if let Some(saved) = &saved {
        // Before secrets are generated, which changes what the plan was made from.
        saved.check(&context.inventory(&args.inventory)?)?;
    }
    let limit = match &saved {
        Some(saved) => LimitArg { limit: saved.hosts() },
        None => args.limit.clone(),
    };
    let carried = saved.as_ref().and_then(Saved::secrets);
    let carries = carried.is_some();
    let prepared = match carried {
        None => Prepared::new(context, &args.inventory, &limit, Missing::Generate)?,
        Some(secrets) => {
            let loaded = context.inventory(&args.inventory)?;
            let hosts = limit.hosts(&loaded.inventory)?;
            Prepared::with(context, loaded, hosts, secrets)?
        }
    };
    let narrow = |survey: &mut Survey| match &saved {
        Some(saved) => saved.hold(survey),
        None => args.steps.narrow(survey),
    };
    let job = Job {
        verb: "apply",
        inventory: &args.inventory,
        diff: args.diff.diff,
        consent,
        narrow: &narrow,
        questions: None,
        declares: None,
        // A run over a part leaves hosts or programs with older values.
        whole: prepared.hosts.len() == prepared.inventory.hosts.len()
            && args.steps.wanted().is_empty()
            && saved.as_ref().is_none_or(|saved| saved.is_whole()),
        deed: None,
    };
    let ended = change(context, prepared, job)?;
    if let (true, 0, Some(path)) = (carries, ended.summary.exit_code, &args.plan) {
        let file = crate::quote::sh(&path.display().to_string());
        context.hint(&format!("rm {file}   (it is applied, and it holds secrets)"));
    }
    Ok(ended)
}
