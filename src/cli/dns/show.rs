//! `hactl dns show`

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use super::super::table::{self, Row};
use crate::dns::decision::hosts_of;
use crate::dns::{Answer, Look};
use crate::error::{Kind, Result};
use crate::inventory::{self, dns::Place};
use crate::report::Note;
use crate::report::note::Verdict;

/// Show where every name leads, as each server that answers for it says
///
/// Exits with 4 when a server does not answer, when they disagree, or when a name leads to no host of the inventory.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory_in_need(&args.inventory)?;
    let (dns, _) = super::names(&loaded.inventory)?;
    let looks = context.block_on(async { Ok(dns.look().await) })?;
    let mut rows = Vec::new();
    let mut worst = Verdict::Good;
    for look in &looks {
        for (index, said) in look.said.iter().enumerate() {
            let finding = judge(&dns.section, look, index);
            worst = worst.max(finding.verdict);
            let answer = said.answer.as_ref().ok();
            context.console.line(&Note::DnsAnswer {
                name: look.record.name.clone(),
                record: look.record.kind.word().to_owned(),
                server: said.server.clone(),
                verdict: finding.verdict,
                addresses: answer.map(addresses).unwrap_or_default(),
                hosts: finding.hosts,
                ttl: answer.and_then(|answer| answer.ttl),
                detail: finding.detail.clone(),
            });
            rows.push(Row {
                cells: vec![look.record.to_string(), said.server.clone()],
                verdict: finding.verdict,
                detail: finding.detail,
            });
        }
    }
    context.console.result(&table::render(
        &["RECORD", "SERVER", "STATE", "DETAIL"],
        &rows,
        &context.console,
    ));
    Ok(Ended::with(match worst {
        Verdict::Bad => Kind::HostFailed.exit_code(),
        _ => 0,
    }))
}

struct Finding {
    verdict: Verdict,
    hosts: Vec<String>,
    detail: String,
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.values.iter().map(ToString::to_string).collect()
}

/// How one answer is; the first of a record is what the others are measured by.
fn judge(section: &inventory::Dns, look: &Look, index: usize) -> Finding {
    let bad = |hosts, detail| Finding {
        verdict: Verdict::Bad,
        hosts,
        detail,
    };
    let Some(said) = look.said.get(index) else {
        return bad(Vec::new(), "nobody was asked".to_owned());
    };
    let answer = match &said.answer {
        Ok(answer) => answer,
        Err(why) => return bad(Vec::new(), why.clone()),
    };
    let hosts = hosts(&section.places, answer);
    if answer.odd.is_some() {
        return bad(hosts, answer.to_string());
    }
    if answer.values.is_empty() {
        return bad(hosts, "does not exist".to_owned());
    }
    let first = look.said.first().and_then(|said| said.answer.as_ref().ok());
    let led = match hosts.is_empty() {
        true => format!("{answer}, no host of the inventory"),
        false => format!("{} ({answer})", hosts.join(", ")),
    };
    let ttl = match answer.ttl {
        Some(ttl) if ttl == section.ttl => format!(", TTL {ttl} s"),
        Some(ttl) => format!(", TTL {ttl} s, and the inventory says {} s", section.ttl),
        None => String::new(),
    };
    let detail = format!("{led}{ttl}");
    if hosts.is_empty() || answer.values.len() > 1 {
        return bad(hosts, detail);
    }
    if let Some(first) = first.filter(|first| first.values != answer.values) {
        return bad(hosts, format!("{detail}; the first server says {first}"));
    }
    let verdict = match answer.ttl.is_none_or(|ttl| ttl == section.ttl) {
        true => Verdict::Good,
        false => Verdict::Warning,
    };
    Finding { verdict, hosts, detail }
}

/// Hosts that all of an answer's addresses stand for.
fn hosts(places: &[Place], answer: &Answer) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for address in &answer.values {
        for host in hosts_of(places, *address) {
            if !hosts.iter().any(|known| known == host) {
                hosts.push(host.to_owned());
            }
        }
    }
    hosts
}
