//! `hactl crashplan`

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::args::{InventoryArg, known_host};
use super::super::change::{Consent, agrees, somebody_agrees};
use super::super::context::{Context, Ended, Prepared};
use super::super::run::Run;
use super::clocks::{Clocks, Times};
use super::report::Report;
use super::{Asked, drill, finish, join, names, power, show};
use crate::dns::Dns;
use crate::engine::Summary;
use crate::error::{Error, Kind, Result};
use crate::failover::verify::{self, Standing};
use crate::failover::{self, Decision, Fence, Power, Said, Wish, steps};
use crate::inventory::HostRole;
use crate::plan::Desired;
use crate::report::{DiffMode, plan_text, summary};
use crate::resource::{Resource, Writer};
use crate::topology::Topology;

/// Fail over: ask all hosts who is dead, hold the old primary off, promote the best replica
///
/// Nothing is changed before you agree. It refuses (exit 7) when the primary is alive, when this may be the side that is cut
/// off, when nobody can take over without loss, or when nothing holds the old primary off.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// The primary is fine and hands over: a planned change
    #[arg(long)]
    switchover: bool,
    /// Who is to take over, instead of the best one
    #[arg(long, value_name = "HOST")]
    to: Option<String>,
    /// How you made sure that the old primary cannot write any more, e.g. powered-off-by-hand
    #[arg(long, value_name = "HOW", conflicts_with = "switchover")]
    assume_fenced: Option<String>,
    /// Another crash plan was carried out within the last hour, and you know why
    #[arg(long)]
    ack: bool,
    /// Only show what would be done: what each host says, and the exact commands
    #[arg(long)]
    dry_run: bool,
    /// Rehearse it: boot a copy of the cluster in a lab on this machine, write to it, kill its primary, fail over, and say how
    /// long that took and what was lost. Real hosts, names, hooks and backups are not touched. Needs root; NETWORK is a free
    /// private one, e.g. 10.79.0.0/24
    #[arg(
        long,
        value_name = "NETWORK",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["switchover", "to", "assume_fenced", "ack", "dry_run"]
    )]
    drill: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    if let Some(network) = &args.drill {
        return drill::run(context, &args.inventory, network);
    }
    let consent = if args.yes || args.dry_run {
        Consent::Given
    } else {
        Consent::Ask
    };
    somebody_agrees("crashplan", consent, context)?;
    let prepared = Prepared::in_need(context, &args.inventory)?;
    if let Some(to) = &args.to {
        known_host(&prepared.inventory, to)?;
    }
    let dns = names::of(context, &prepared.inventory);
    context.block_on(async {
        let started = Instant::now();
        let run = Run::start(context, prepared, "crashplan", !args.dry_run)?;
        match carry_out(args, context, &run, dns.as_ref(), consent, started).await {
            Ok(summary) => {
                let summary = run.end(summary).await?;
                if let Some(next) = summary::next("crashplan", summary.exit_code, &args.inventory.in_command()) {
                    context.hint(&next);
                }
                Ok(Ended { summary, told: true })
            }
            Err(error) => Err(run.fail(error).await),
        }
    })
}

async fn carry_out(
    args: &Args,
    context: &Context,
    run: &Run,
    dns: Option<&Dns>,
    consent: Consent<'_>,
    started: Instant,
) -> Result<Summary> {
    let mut asked = Asked::all(run).await;
    let surveyed = started.elapsed();
    show::silent(context, &asked.heard.failures);
    if let Some(busy) = asked.busy() {
        asked.close().await;
        return Err(busy);
    }
    let mut wish = Wish {
        switchover: args.switchover,
        to: args.to.clone(),
        assume_fenced: args.assume_fenced.clone(),
        ack: args.ack,
        ..Wish::default()
    };
    let mut agreed_to = None;
    loop {
        let (decision, plan) = match decided(context, run, dns, &asked, &wish) {
            Ok(decided) => decided,
            Err(error) => {
                asked.close().await;
                return Err(error);
            }
        };
        if args.dry_run {
            show::commands(context, run, &asked.said, &decision, &plan);
            asked.close().await;
            return Ok(Summary::default());
        }
        // Another way to hold the old one off needs no second word: it was shown with the first.
        if agreed_to.as_ref() != Some(&decision.candidate) {
            let question = format!(
                "Make {} the primary in place of {}?",
                decision.candidate, decision.primary
            );
            let answer = match agrees(consent, question).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::new(Kind::Interrupted, "not confirmed; nothing was changed")),
                Err(error) => Err(error),
            };
            if let Err(error) = answer {
                asked.close().await;
                return Err(error);
            }
            agreed_to = Some(decision.candidate.clone());
        }
        let times = Times {
            started,
            asked: asked.at,
            begun: Instant::now(),
            at: jiff::Timestamp::now(),
        };
        if let Err(why) = without_power(context, run, &decision).await {
            context.warn(&format!("{} is not held off by its power: {why}", decision.primary));
            wish.power = Power::Failed(why);
            continue;
        }
        let names = asked.names();
        let said = asked.said.clone();
        let summary = asked.execute(run, plan).await;
        if summary.exit_code != 0 {
            // Its host may have died since it answered, or its MariaDB hangs: the next rung.
            if could_not_stop(run, &decision, &summary) && !wish.cannot_stop {
                context.warn(&format!("{} could not be stopped", decision.primary));
                wish.cannot_stop = true;
                asked = Asked::all(run).await;
                continue;
            }
            if decision.fence == Fence::HandsOver {
                give_back(context, run, &decision).await;
            }
            return Ok(summary);
        }
        let clocks = Clocks::read(run, &decision, &said, surveyed, times);
        return follow_up(context, run, dns, &decision, (&names, &said), (clocks, times), summary).await;
    }
}

/// Takes the old primary's power away when that is what holds it off; a plan that is gone on with did it before.
async fn without_power(context: &Context, run: &Run, decision: &Decision) -> std::result::Result<(), String> {
    let inventory = &run.engine.inventory;
    let (Some(power), Some(host)) = (&inventory.power, inventory.hosts.get(&decision.primary)) else {
        return Ok(());
    };
    if decision.fence != Fence::PoweredOff || decision.resumes.is_some() {
        return Ok(());
    }
    context
        .console
        .say(&format!("the power of {} is taken away\n", decision.primary));
    power::off(run, power, host).await?;
    context
        .console
        .result(&format!("{} has no power any more\n", decision.primary));
    Ok(())
}

/// Whether the plan ended because hactl reached the old primary's host and could not stop it there, and there is more to try.
fn could_not_stop(run: &Run, decision: &Decision, summary: &Summary) -> bool {
    let its = summary.hosts.iter().find(|host| host.host == decision.primary);
    run.engine.inventory.power.is_some()
        && decision.fence == Fence::Stopped
        && decision.resumes.is_none()
        && matches!(its, Some(its) if its.outcome == "failed" || its.outcome == "unreachable")
}

/// What follows when somebody new takes the writes: names, the other hosts, whether it holds.
async fn follow_up(
    context: &Context,
    run: &Run,
    dns: Option<&Dns>,
    decision: &Decision,
    (names, said): (&[String], &BTreeMap<String, Said>),
    (clocks, times): (Clocks, Times),
    mut summary: Summary,
) -> Result<Summary> {
    let stopped = |name: &&String| decision.fence.replaces() && **name == decision.primary;
    let names: Vec<String> = names.iter().filter(|name| !stopped(name)).cloned().collect();
    let led = names::lead(run, dns, decision);
    let (rest, led) = futures::future::join(finish(context, run, &names), led).await;
    join(&mut summary, rest?);
    if summary.exit_code == 0 {
        summary.exit_code = led.exit_code;
    }
    let finished = times.begun.elapsed();
    let standing = verify(context, run, decision, &mut summary).await?;
    let clocks = Clocks { finished, ..clocks };
    let report = Report::of(decision, said, &clocks, &standing, &led.text, summary.exit_code);
    report.show(context, &run.engine);
    Ok(summary)
}

/// Tries it as the application and visitors do, and asks everybody once more.
async fn verify(context: &Context, run: &Run, decision: &Decision, summary: &mut Summary) -> Result<Standing> {
    let topology = Topology::of(&run.engine.inventory);
    let engine = &run.engine;
    let asked = Asked::all(run).await;
    let secrets = engine.secrets.as_ref();
    let desired = verify::checks(topology, decision, &asked.said(), &engine.run, secrets)?;
    let plan = asked.plan(run, &desired);
    let tried = asked.execute(run, plan).await;
    join(summary, tried);
    let asked = Asked::all(run).await;
    let standing = Standing::of(topology, decision, &asked.said(), &engine.run);
    asked.close().await;
    if let Some(wrong) = standing.wrong(decision) {
        context.warn(&wrong);
        summary.exit_code = Kind::HostFailed.exit_code();
    }
    Ok(standing)
}

/// Decides, and shows it.
fn decided(
    context: &Context,
    run: &Run,
    dns: Option<&Dns>,
    asked: &Asked,
    wish: &Wish,
) -> Result<(Decision, crate::plan::Plan)> {
    let topology = Topology::of(&run.engine.inventory);
    let said = asked.said();
    let decision = match failover::decide(topology, &said, wish) {
        Ok(decision) => decision,
        Err(refused) => {
            show::evidence(context, refused.primary.as_deref(), &refused.votes, &refused.contenders);
            return Err(Error::new(Kind::Refused, refused.message).hint(refused.hint));
        }
    };
    show::evidence(context, Some(&decision.primary), &decision.votes, &decision.contenders);
    show::decision(context, &decision);
    let engine = &run.engine;
    let by = (engine.run.as_str(), engine.who.as_str());
    let desired = steps::steps(topology, &decision, &said, by, engine.secrets.as_ref())?;
    let plan = asked.plan(run, &desired);
    let text = plan_text::plan(&plan, DiffMode::None, context.console.paint());
    context.console.result(&text);
    if dns.is_some_and(|dns| names::move_with(dns, &decision)) {
        let names = format!("the names of `dns` are led to {}\n", decision.candidate);
        context.console.result(&names);
    }
    Ok((decision, plan))
}

/// The old primary takes the writes again: the one that should have taken over did not.
async fn give_back(context: &Context, run: &Run, decision: &Decision) {
    let databases = Topology::of(&run.engine.inventory).with_role(HostRole::Db).count();
    let asked = Asked::all(run).await;
    let replications = || asked.said.values().filter_map(|said: &Said| said.replication.as_ref());
    if replications().any(|said| said.is_writer()) {
        return asked.close().await;
    }
    if replications().filter(|said| said.error.is_none()).count() < databases {
        context.warn("nobody takes writes, and not all databases answer: hactl crashplan decides anew");
        return asked.close().await;
    }
    let desired = Desired {
        host: decision.primary.clone(),
        resources: vec![Resource {
            role: steps::ROLE,
            stage: 0,
            spec: Writer.into(),
        }],
    };
    let plan = asked.plan(run, &[desired]);
    let given = asked.execute(run, plan).await;
    let text = match given.exit_code {
        0 => format!("{} takes the writes again", decision.primary),
        _ => format!(
            "{} could not be opened again: hactl crashplan decides anew",
            decision.primary
        ),
    };
    context.warn(&text);
}
