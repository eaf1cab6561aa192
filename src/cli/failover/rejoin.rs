//! `hactl rejoin`

use super::super::args::{InventoryArg, known_host};
use super::super::change::{Consent, agrees, somebody_agrees};
use super::super::context::{Context, Ended, Prepared};
use super::super::run::Run;
use super::{Asked, finish, join, show};
use crate::engine::Summary;
use crate::error::{Error, Kind, Result};
use crate::failover::rejoin::{self, Histories};
use crate::plan::Desired;
use crate::report::{DiffMode, plan_text, summary};
use crate::resource::Holds;
use crate::topology::Topology;

/// Bring an old primary back as a replica
///
/// It starts closed, its history is compared with the primary's, and it follows. When it has transactions of its own they
/// are saved in a file on it and it is left closed (exit 7); --rebuild then gives them up and copies the primary anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,
    #[command(flatten)]
    inventory: InventoryArg,
    /// Give up what only it has, and copy the primary anew
    #[arg(long)]
    rebuild: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let consent = if args.yes { Consent::Given } else { Consent::Ask };
    somebody_agrees("rejoin", consent, context)?;
    let prepared = Prepared::in_need(context, &args.inventory)?;
    known_host(&prepared.inventory, &args.host)?;
    context.block_on(async {
        let run = Run::start(context, prepared, "rejoin", true)?;
        match carry_out(args, context, &run, consent).await {
            Ok(summary) => {
                let summary = run.end(summary).await?;
                if let Some(next) = summary::next("rejoin", summary.exit_code, &args.inventory.in_command()) {
                    context.hint(&next);
                }
                Ok(Ended { summary, told: true })
            }
            Err(error) => Err(run.fail(error).await),
        }
    })
}

async fn carry_out(args: &Args, context: &Context, run: &Run, consent: Consent<'_>) -> Result<Summary> {
    let topology = Topology::of(&run.engine.inventory);
    let (name, id) = (args.host.as_str(), run.engine.run.clone());
    let refused = |(message, hint): rejoin::No| Error::new(Kind::Refused, message).hint(hint);
    let asked = Asked::all(run).await;
    show::silent(context, &asked.heard.failures);
    let primary = match rejoin::primary(topology, &asked.said(), name) {
        Ok(primary) => primary,
        Err(no) => {
            asked.close().await;
            return Err(refused(no));
        }
    };
    if rejoin::is_replica(topology, &asked.said(), name, &primary) {
        context.console.result(&format!("{name} follows {primary} already\n"));
        asked.close().await;
        return Ok(Summary::default());
    }
    let question = format!("Bring {name} back as a replica of {primary}?");
    match agrees(consent, question).await {
        Ok(true) => {}
        Ok(false) => {
            asked.close().await;
            return Err(Error::new(Kind::Interrupted, "not confirmed; nothing was changed"));
        }
        Err(error) => {
            asked.close().await;
            return Err(error);
        }
    }
    let mut summary = step(context, run, asked, &rejoin::returns(name, &id)).await;
    if summary.exit_code != 0 {
        return Ok(summary);
    }

    // Only one that runs can say what it has.
    let asked = Asked::all(run).await;
    let said = asked.said();
    let of = |name: &str| said.get(name).and_then(|said| said.replication.clone());
    let (Some(own), Some(leads)) = (of(name), of(&primary)) else {
        asked.close().await;
        return Err(Error::new(
            Kind::HostFailed,
            format!("{name} or {primary} does not answer any more"),
        )
        .hint("run it again"));
    };
    let holds = match rejoin::compare(&own, &leads) {
        Histories::Agree => Holds::Agrees,
        Histories::Differ(errant, common) => {
            let saved = step(context, run, asked, &rejoin::saves(name, &id, &common)).await;
            join(&mut summary, saved);
            if !args.rebuild {
                let what = match own.lost(&leads.given_up).is_empty() {
                    true => format!("{name} has transactions that {primary} never had"),
                    false => format!("{name} has what was given up when {primary} was restored from a backup"),
                };
                return Err(Error::new(
                    Kind::Refused,
                    format!("{what}: {}; it is left closed", errant.join(", ")),
                )
                .hint(format!("they are in /var/lib/hactl/rejoin/{id}.sql on {name}"))
                .hint(format!("hactl rejoin {name} --rebuild gives them up")));
            }
            Holds::GivenUp
        }
    };
    let asked = Asked::all(run).await;
    let engine = &run.engine;
    let names = asked.names();
    let desired = rejoin::follows(
        topology,
        &asked.said(),
        (name, &primary),
        &id,
        holds,
        engine.secrets.as_ref(),
    )?;
    let second = step(context, run, asked, &desired).await;
    let failed = second.exit_code != 0;
    join(&mut summary, second);
    if !failed {
        join(&mut summary, finish(context, run, &names).await?);
    }
    Ok(summary)
}

async fn step(context: &Context, run: &Run, asked: Asked, desired: &[Desired]) -> Summary {
    let plan = asked.plan(run, desired);
    let text = plan_text::plan(&plan, DiffMode::None, context.console.paint());
    context.console.result(&text);
    asked.execute(run, plan).await
}
