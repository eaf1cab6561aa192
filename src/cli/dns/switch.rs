//! `hactl dns switch`

use super::super::args::{InventoryArg, known_host};
use super::super::change::{Consent, agrees, somebody_agrees};
use super::super::context::{Context, Ended, Prepared};
use super::super::run::Run;
use crate::dns::decision::{Decision, Plan, Wish, hosts_of, plan};
use crate::dns::{Dns, Switched, Told, carry_out};
use crate::engine::{Summary, Urgency};
use crate::error::{Error, Kind, Result};
use crate::quote::terminal;
use crate::report::Note;

/// Lead all names to another host
///
/// A name is changed only when it leads to a host of the inventory now, and only if it still does at that moment; then
/// all servers that answer for it are asked until they say the new address. Exits with 7 when a name leads elsewhere,
/// with 5 when nobody says where it leads (in both cases nothing was written), and with 4 when a server does not
/// say the new address.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// The host that the names are to lead to
    #[arg(long, value_name = "HOST")]
    to: String,
    /// The host that they lead to now; a name that leads to another one is refused. Default: any host of the inventory
    #[arg(long, value_name = "HOST")]
    from: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory_in_need(&args.inventory)?;
    if loaded.inventory.dns.is_none() {
        return Err(super::without(&loaded.inventory));
    }
    for host in std::iter::once(&args.to).chain(&args.from) {
        known_host(&loaded.inventory, host)?;
    }
    let consent = if args.yes { Consent::Given } else { Consent::Ask };
    if !args.dry_run {
        somebody_agrees("dns switch", consent, context)?;
    }
    let (dns, secrets) = super::names(&loaded.inventory)?;
    // No host has a part in it.
    let prepared = Prepared::with(context, loaded, Vec::new(), secrets)?;
    context.block_on(async {
        let run = Run::start(context, prepared, "dns switch", !args.dry_run)?;
        match switch(args, context, &run, &dns, consent).await {
            Ok(summary) => {
                let summary = run.end_quietly(summary).await?;
                if summary.failed > 0 {
                    context.hint(format!("hactl dns show {}", args.inventory.in_command()).trim_end());
                }
                Ok(Ended { summary, told: true })
            }
            Err(error) => Err(run.fail(error).await),
        }
    })
}

async fn switch(args: &Args, context: &Context, run: &Run, dns: &Dns, consent: Consent<'_>) -> Result<Summary> {
    let mut interrupt = run.engine.interrupt.clone();
    let looks = tokio::select! {
        looks = dns.look() => looks,
        () = interrupt.reaches(Urgency::Soon) => {
            return Err(Error::new(Kind::Interrupted, "interrupted; nothing was changed"));
        }
    };
    let wish = Wish {
        to: args.to.clone(),
        from: args.from.clone(),
    };
    let plan = plan(&dns.section, &looks, &wish)?;
    run.settle().await;
    show(context, dns, &plan);
    let changes = plan.changes().len();
    if args.dry_run {
        return Ok(Summary {
            unchanged: plan.records.len() - changes,
            skipped: changes,
            ..Summary::default()
        });
    }
    if changes > 0 && !agrees(consent, format!("Lead these names to {}?", terminal(&plan.to))).await? {
        return Err(Error::new(Kind::Interrupted, "not confirmed; nothing was changed"));
    }
    let tell = |told: Told| super::waits(run, told);
    // What was sent cannot be taken back, so the first Ctrl-C waits for how it ends.
    let switched = tokio::select! {
        switched = carry_out(dns, &plan, &tell) => switched?,
        () = interrupt.reaches(Urgency::Now) => {
            return Err(Error::new(Kind::Interrupted, "interrupted; the names may have been switched")
                .hint("hactl dns show says where they lead"));
        }
    };
    super::tell(run, &switched);
    run.settle().await;
    context.console.result(&lines(&switched));
    let changed = switched.records.iter().filter(|done| done.changed).count();
    let failed = switched.unverified.len();
    Ok(Summary {
        exit_code: if failed > 0 { Kind::HostFailed.exit_code() } else { 0 },
        changed,
        unchanged: switched.records.len() - changed,
        failed,
        ..Summary::default()
    })
}

/// What would be done.
fn show(context: &Context, dns: &Dns, plan: &Plan) {
    let mut text = String::new();
    for (look, decision) in &plan.records {
        let record = &look.record;
        let Some(from) = look
            .said
            .first()
            .and_then(|said| said.answer.as_ref().ok())
            .and_then(|answer| answer.values.first())
        else {
            continue;
        };
        let to = match decision {
            Decision::Right => {
                text.push_str(&format!("  {record} leads to {} ({from}) already\n", plan.to));
                from
            }
            Decision::Swap(change) => {
                let hosts = hosts_of(&dns.section.places, change.expected).join(" or ");
                let ttl = match change.expected_ttl {
                    Some(old) if old != change.ttl => format!(", TTL {old} s -> {} s", change.ttl),
                    _ => String::new(),
                };
                text.push_str(&format!(
                    "~ {record} {hosts} ({}) -> {} ({}){ttl}\n",
                    change.expected, plan.to, change.wanted
                ));
                &change.wanted
            }
        };
        context.console.line(&Note::DnsPlanned {
            name: record.name.clone(),
            record: record.kind.word().to_owned(),
            from: from.to_string(),
            to: to.to_string(),
            host: plan.to.clone(),
            change: matches!(decision, Decision::Swap(_)),
        });
    }
    context.console.result(&text);
}

/// How it ended, for people.
pub fn lines(switched: &Switched) -> String {
    switched.records.iter().map(|done| line(switched, done)).collect()
}

fn line(switched: &Switched, done: &crate::dns::Done) -> String {
    let record = &done.record;
    let head = format!("{record} leads to {} ({})", switched.to, done.to);
    if !done.changed {
        return format!("{head}: unchanged\n");
    }
    if done.from == done.to {
        return format!("{head}; its TTL is {} s now\n", done.ttl.unwrap_or_default());
    }
    match done.old_ttl {
        Some(old) => format!(
            "{head}; resolvers may lead visitors to {} for another {old} s\n",
            done.from
        ),
        None => format!(
            "{head}; how long resolvers lead visitors to {}, the provider does not tell\n",
            done.from
        ),
    }
}
