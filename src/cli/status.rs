//! `hactl status`

use std::sync::Arc;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::run::{Run, looked};
use super::table::{self, Row};
use crate::engine::{ExtraQuestions, Summary, Survey};
use crate::error::{Kind, Result};
use crate::inventory::secrets::Secrets;
use crate::inventory::{Host, Inventory};
use crate::report::Note;
use crate::report::note::Verdict;
use crate::resource::{Ask, Facts};
use crate::role::{self, Templates, health};
use crate::topology::{HostView, Topology};

/// Free space on `/` below which a host deserves a look, MiB.
const LITTLE_DISK: u64 = 2048;

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
    let questions = questions(&prepared.inventory, &prepared.templates, prepared.secrets.clone());
    context.block_on(async {
        let mut run = Run::start(context, prepared, "status", false)?;
        run.engine.extra_questions = Some(questions);
        let survey = match run.survey(&hosts).await {
            Ok(survey) => survey,
            Err(error) => return Err(run.fail(error).await),
        };
        let summary = show(context, &survey);
        survey.close().await;
        let summary = run.end_quietly(summary).await?;
        if summary.skipped > 0 {
            context.hint(format!("hactl plan {}", args.inventory.in_command()).trim_end());
        }
        Ok(Ended { summary, told: true })
    })
}

fn questions(inventory: &Arc<Inventory>, templates: &Arc<Templates>, secrets: Secrets) -> ExtraQuestions {
    let (inventory, templates, store) = (Arc::clone(inventory), Arc::clone(templates), secrets);
    Box::new(move |host: &Host| {
        let topology = Topology::of(&inventory);
        let view = HostView { topology, host };
        // A host whose files cannot be rendered is told so by the survey itself.
        role::desired(view, &Facts::assumed(), &templates, &store)
            .map(|desired| health::questions(&desired))
            .unwrap_or_else(|_| Ask::default())
    })
}

fn show(context: &Context, survey: &Survey) -> Summary {
    let mut rows = Vec::new();
    let mut bad = false;
    for host in &survey.hosts {
        for (role, subject, verdict, detail) in findings(host, survey) {
            bad |= verdict == Verdict::Bad;
            context.console.line(&Note::Health {
                host: host.name.clone(),
                subject: subject.clone(),
                verdict,
                detail: detail.clone(),
            });
            rows.push(Row {
                cells: vec![host.name.clone(), role, subject],
                verdict,
                detail,
            });
        }
    }
    for failure in &survey.failures {
        rows.push(Row {
            cells: vec![failure.host.clone(), "host".into(), "connection".into()],
            verdict: Verdict::Bad,
            detail: failure.message.lines().next().unwrap_or_default().to_owned(),
        });
    }
    let text = table::render(&["HOST", "ROLE", "WHAT", "STATE", "DETAIL"], &rows, &context.console);
    context.console.result(&text);
    let mut summary = looked(survey, false);
    if summary.exit_code == 0 && bad {
        summary.exit_code = Kind::HostFailed.exit_code();
    }
    summary
}

type Line = (String, String, Verdict, String);

fn findings(host: &crate::engine::Surveyed, survey: &Survey) -> Vec<Line> {
    let facts = &host.seen.facts;
    let low = facts.disk_free_mb < LITTLE_DISK;
    let system = format!(
        "{} {}, {} CPU, {} MiB memory, {} MiB free on /",
        facts.os, facts.os_version, facts.cpus, facts.memory_mb, facts.disk_free_mb
    );
    let verdict = if low { Verdict::Warning } else { Verdict::Good };
    let mut lines = vec![("host".into(), "system".into(), verdict, system)];
    for finding in health::findings(&host.desired, &host.seen) {
        let verdict = if finding.healthy { Verdict::Good } else { Verdict::Bad };
        lines.push((finding.role.into(), finding.subject, verdict, finding.detail));
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
    lines.push(("host".into(), "configuration".into(), verdict, detail));
    lines
}
