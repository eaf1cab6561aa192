//! `hactl status`

use std::sync::Arc;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::run::{Run, looked};
use super::table::{self, Row};
use crate::engine::{ExtraQuestions, Summary, Survey};
use crate::error::{Kind, Result};
use crate::inventory::{Host, Inventory};
use crate::report::Note;
use crate::report::note::Verdict;
use crate::resource::clock;
use crate::role::health;
use crate::topology::{HostView, Topology};

/// Show what serves and what does not on every host
///
/// Every service is asked by the same test that apply waits for; and every host, whether it still is as the inventory
/// says. Exits with 4 when something does not serve.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    limit: LimitArg,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let prepared = Prepared::new(context, &args.inventory, &args.limit, Missing::StandIn)?;
    let hosts = prepared.hosts.clone();
    let inventory = Arc::clone(&prepared.inventory);
    let questions = questions(&inventory);
    context.block_on(async {
        let mut run = Run::start(context, prepared, "status", false)?;
        run.engine.extra_questions = Some(questions);
        let survey = match run.survey(&hosts).await {
            Ok(survey) => survey,
            Err(error) => return Err(run.fail(error).await),
        };
        let summary = show(context, &inventory, &survey);
        survey.close().await;
        let summary = run.end_quietly(summary).await?;
        if summary.skipped > 0 {
            context.hint(format!("hactl plan {}", args.inventory.in_command()).trim_end());
        }
        Ok(Ended { summary, told: true })
    })
}

fn questions(inventory: &Arc<Inventory>) -> ExtraQuestions {
    let inventory = Arc::clone(inventory);
    Box::new(move |host: &Host| {
        let topology = Topology::of(&inventory);
        health::questions(&health::checks(&HostView { topology, host }))
    })
}

fn show(context: &Context, inventory: &Inventory, survey: &Survey) -> Summary {
    let mut rows = Vec::new();
    let mut bad = false;
    for host in &survey.hosts {
        for (subject, verdict, detail, certificate) in findings(inventory, host, survey) {
            bad |= verdict == Verdict::Bad;
            context.console.line(&Note::Health {
                host: host.name.clone(),
                subject: subject.clone(),
                verdict,
                detail: detail.clone(),
                certificate,
            });
            rows.push(Row {
                cells: vec![host.name.clone(), subject],
                verdict,
                detail,
            });
        }
    }
    for failure in &survey.failures {
        rows.push(Row {
            cells: vec![failure.host.clone(), "connection".into()],
            verdict: Verdict::Bad,
            detail: failure.message.lines().next().unwrap_or_default().to_owned(),
        });
    }
    let text = table::render(&["HOST", "WHAT", "STATE", "DETAIL"], &rows, &context.console);
    context.console.result(&text);
    let mut summary = looked(survey, false);
    if summary.exit_code == 0 && bad {
        summary.exit_code = Kind::HostFailed.exit_code();
    }
    summary
}

type Line = (String, Verdict, String, Option<health::Certificate>);

fn findings(inventory: &Inventory, host: &crate::engine::Surveyed, survey: &Survey) -> Vec<Line> {
    let facts = &host.seen.facts;
    let system = format!(
        "{} {}, {} CPU, {} MiB memory",
        facts.os, facts.os_version, facts.cpus, facts.memory_mb
    );
    let mut lines = vec![("system".to_owned(), Verdict::Good, system, None)];
    if host.clock.seconds >= clock::SOME {
        let verdict = match host.clock.seconds < clock::TOO_MUCH {
            true => Verdict::Warning,
            false => Verdict::Bad,
        };
        lines.push(("clock".into(), verdict, host.clock.to_string(), None));
    }
    if let Some(view) = Topology::of(inventory).host(&host.name) {
        for finding in health::read(&health::checks(&view), &host.seen) {
            let verdict = match finding.state {
                health::State::Ok => Verdict::Good,
                health::State::Warn => Verdict::Warning,
                health::State::Bad => Verdict::Bad,
            };
            lines.push((finding.name, verdict, finding.detail, finding.certificate));
        }
    }
    let pending = survey
        .plan
        .hosts
        .iter()
        .find(|plan| plan.host == host.name)
        .map_or(0, |plan| plan.changes());
    let (verdict, detail) = match pending {
        0 => (Verdict::Good, "as the inventory says".to_owned()),
        1 => (Verdict::Warning, "1 change pending".to_owned()),
        many => (Verdict::Warning, format!("{many} changes pending")),
    };
    lines.push(("configuration".into(), verdict, detail, None));
    lines
}
