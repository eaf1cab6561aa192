//! The inventory's hooks around an apply.

use super::context::Context;
use super::run::Run;
use crate::engine::hooks::{HookEvent, HookPlan, Moment, run};
use crate::engine::{Summary, Urgency};
use crate::error::{Error, Kind, Result};

/// Runs `before_apply`.
///
/// # Errors
/// A hook refused; nothing was changed.
pub async fn before(of: &Run, plan: &HookPlan) -> Result<()> {
    let failures = at(of, Moment::BeforeApply, Some(plan), None).await;
    let Some(first) = failures.first() else { return Ok(()) };
    let message = format!("hook {}: {}; nothing was changed", first.name, first.why);
    Err(match first.interrupted {
        true => Error::new(Kind::Interrupted, message),
        false => Error::new(Kind::Refused, message)
            .hint("what it printed stands above; mend that, or take the hook out of the inventory"),
    })
}

/// Runs `after_apply` or `on_failure`, as the summary says; failures are warnings.
pub async fn after(context: &Context, of: &Run, plan: Option<&HookPlan>, summary: &Summary) {
    let moment = match summary.exit_code {
        0 => Moment::AfterApply,
        _ => Moment::OnFailure,
    };
    let failures = at(of, moment, plan, Some(summary)).await;
    of.settle().await;
    for failure in failures {
        context.warn(&format!(
            "warning: hook {}: {}; the apply itself ended before it",
            failure.name, failure.why
        ));
    }
}

async fn at(
    of: &Run,
    moment: Moment,
    plan: Option<&HookPlan>,
    summary: Option<&Summary>,
) -> Vec<crate::engine::hooks::HookFailure> {
    let engine = &of.engine;
    let inventory = &engine.inventory;
    // A first Ctrl-C may be why the hook for failures runs at all.
    let (hooks, stop) = match moment {
        Moment::BeforeApply => (&inventory.hooks.before_apply, Urgency::Soon),
        Moment::AfterApply => (&inventory.hooks.after_apply, Urgency::Now),
        Moment::OnFailure => (&inventory.hooks.on_failure, Urgency::Now),
    };
    if hooks.is_empty() {
        return Vec::new();
    }
    let event = HookEvent {
        hook: moment,
        run: engine.run.clone(),
        verb: of.verb.clone(),
        cluster: inventory.cluster.clone(),
        inventory: inventory.path.display().to_string(),
        by: engine.who.clone(),
        hosts: of.hosts.clone(),
        plan: plan.cloned(),
        summary: summary.map(|summary| Summary {
            run: engine.run.clone(),
            ms: of.ms(),
            ..summary.clone()
        }),
    };
    let folder = inventory.path.parent().unwrap_or(std::path::Path::new("/"));
    run(hooks, &event, folder, &engine.events, &engine.interrupt, stop).await
}
