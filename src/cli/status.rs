//! `hactl status`

use std::sync::Arc;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::run::{Run, looked};
use super::table::{self, Row};
use crate::engine::{ExtraQuestions, Summary, Survey, Surveyed};
use crate::error::{Kind, Result};
use crate::inventory::{Host, Inventory};
use crate::report::Note;
use crate::report::note::Verdict;
use crate::resource::Ask;
use crate::resource::clock;
use crate::role::health::{self, balance};
use crate::role::{live, pair};
use crate::topology::{HostView, Live, Topology};

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

/// Something that was looked at on a host.
pub(super) struct Finding {
    /// The host's name.
    pub host: String,
    /// What was looked at.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
    /// In words.
    pub detail: String,
    /// Of a certificate: where it comes from and until when it is good.
    pub certificate: Option<health::Certificate>,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let prepared = Prepared::new(context, &args.inventory, &args.limit, Missing::StandIn)?;
    let looked = look(context, prepared)?;
    show(context, &looked.findings);
    if looked.summary.skipped > 0 {
        context.hint(format!("hactl plan {}", args.inventory.in_command()).trim_end());
    }
    Ok(Ended {
        summary: looked.summary,
        told: true,
    })
}

/// What a look at all hosts gave.
pub(super) struct Looked {
    /// Who leads.
    pub live: Live,
    /// All findings, host by host.
    pub findings: Vec<Finding>,
    /// How it ended.
    pub summary: Summary,
}

/// Asks the hosts how everything on them is.
///
/// # Errors
/// Interrupted, or a reporter that failed; hosts that do not answer are findings.
pub(super) fn look(context: &Context, prepared: Prepared) -> Result<Looked> {
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
        let findings = findings(&inventory, &survey);
        let mut summary = looked(&survey, false);
        if summary.exit_code == 0 && findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
            summary.exit_code = Kind::HostFailed.exit_code();
        }
        for finding in findings
            .iter()
            .filter(|finding| !FAILURES.contains(&finding.subject.as_str()))
        {
            context.console.line(&Note::Health {
                host: finding.host.clone(),
                subject: finding.subject.clone(),
                verdict: finding.verdict,
                detail: finding.detail.clone(),
                certificate: finding.certificate.clone(),
            });
        }
        let live = survey.live.clone();
        survey.close().await;
        let summary = run.end_quietly(summary).await?;
        Ok(Looked {
            live,
            findings,
            summary,
        })
    })
}

/// What stands for a host that gave no findings; events of its own tell of it.
const FAILURES: [&str; 2] = ["refused", "connection"];

fn questions(inventory: &Arc<Inventory>) -> ExtraQuestions {
    let inventory = Arc::clone(inventory);
    Box::new(move |host: &Host| {
        // Who leads is only known from the answers: what depends on it is asked for every case.
        let mut ask = Ask::default();
        for live in live::possible(Topology::of(&inventory), host) {
            let topology = Topology::living(&inventory, &live);
            ask.extend(&health::questions(&health::checks(&HostView { topology, host })));
        }
        ask
    })
}

fn show(context: &Context, findings: &[Finding]) {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| Row {
            cells: vec![finding.host.clone(), finding.subject.clone()],
            verdict: finding.verdict,
            detail: finding.detail.clone(),
        })
        .collect();
    let text = table::render(&["HOST", "WHAT", "STATE", "DETAIL"], &rows, &context.console);
    context.console.result(&text);
}

fn findings(inventory: &Inventory, survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in &survey.hosts {
        findings.extend(of_host(inventory, host, survey));
    }
    carried_twice(inventory, &mut findings);
    findings.extend(survey.failures.iter().map(|failure| {
        let [refused, connection] = FAILURES;
        Finding {
            host: failure.host.clone(),
            subject: if failure.kind == Kind::Refused {
                refused
            } else {
                connection
            }
            .to_owned(),
            verdict: Verdict::Bad,
            detail: failure.message.lines().next().unwrap_or_default().to_owned(),
            certificate: None,
        }
    }));
    findings
}

/// An address that several hosts carry at once leads to any of them.
fn carried_twice(inventory: &Inventory, findings: &mut [Finding]) {
    for vip in inventory.vip.values() {
        let subject = balance::vip_subject(vip);
        let carries = |finding: &Finding| finding.subject == subject && finding.detail == balance::HERE;
        let carriers: Vec<String> = findings
            .iter()
            .filter(|finding| carries(finding))
            .map(|finding| finding.host.clone())
            .collect();
        if carriers.len() < 2 {
            continue;
        }
        for finding in findings.iter_mut().filter(|finding| carries(finding)) {
            finding.verdict = Verdict::Bad;
            finding.detail = format!(
                "is carried by {}: they do not hear each other (is VRRP, protocol 112, let through?)",
                carriers.join(" and ")
            );
        }
    }
}

fn of_host(inventory: &Inventory, host: &Surveyed, survey: &Survey) -> Vec<Finding> {
    let finding = |subject: &str, verdict, detail: String| Finding {
        host: host.name.clone(),
        subject: subject.to_owned(),
        verdict,
        detail,
        certificate: None,
    };
    let facts = &host.seen.facts;
    let system = format!(
        "{} {}, {} CPU, {} MiB memory",
        facts.os, facts.os_version, facts.cpus, facts.memory_mb
    );
    let mut findings = vec![finding("system", Verdict::Good, system)];
    if host.clock.seconds >= clock::SOME {
        let verdict = match host.clock.seconds < clock::TOO_MUCH {
            true => Verdict::Warning,
            false => Verdict::Bad,
        };
        findings.push(finding("clock", verdict, host.clock.to_string()));
    }
    if let Some(view) = Topology::living(inventory, &survey.live).host(&host.name) {
        let mut healths = health::read(&health::checks(&view), &host.seen);
        let active = pair::serving(&view).and_then(|name| survey.hosts.iter().find(|host| host.name == name));
        let active = active.map(|active| &active.seen);
        healths.extend(pair::standby(&view, &healths, &host.seen, active));
        for health in healths {
            let verdict = match health.state {
                health::State::Ok => Verdict::Good,
                health::State::Warn => Verdict::Warning,
                health::State::Bad => Verdict::Bad,
            };
            findings.push(Finding {
                certificate: health.certificate,
                ..finding(&health.name, verdict, health.detail)
            });
        }
    }
    let plans = &survey.plan.hosts;
    let pending = plans
        .iter()
        .find(|plan| plan.host == host.name)
        .map_or(0, |plan| plan.changes());
    let (verdict, detail) = match pending {
        0 => (Verdict::Good, "as the inventory says".to_owned()),
        1 => (Verdict::Warning, "1 change pending".to_owned()),
        many => (Verdict::Warning, format!("{many} changes pending")),
    };
    findings.push(finding("configuration", verdict, detail));
    findings
}
