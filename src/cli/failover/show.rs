//! What a crash plan tells: who says what, who may take over, and what will hold the old primary off.

use super::super::context::Context;
use super::super::table::{self, Row};
use crate::engine::HostFailure;
use crate::failover::candidate::Contender;
use crate::failover::vote::Votes;
use crate::failover::{Decision, Fence};
use crate::plan::Plan;
use crate::quote::terminal;
use crate::report::Note;
use crate::report::note::Verdict;
use crate::resource::Spec;

/// Hosts that gave no answer.
pub fn silent(context: &Context, failures: &[HostFailure]) {
    for failure in failures {
        let first = failure.message.lines().next().unwrap_or_default();
        context.warn(&format!("{} does not answer: {}", failure.host, terminal(first)));
    }
}

/// Votes, and who might take over.
pub fn evidence(context: &Context, primary: Option<&str>, votes: &Votes, contenders: &[Contender]) {
    let Some(primary) = primary else { return };
    let mut rows = Vec::new();
    for vote in &votes.0 {
        let (verdict, word) = match vote.alive {
            Some(true) => (Verdict::Good, "alive"),
            Some(false) => (Verdict::Bad, "dead"),
            None => (Verdict::Warning, "cannot tell"),
        };
        rows.push(Row {
            cells: vec![vote.voter.clone(), word.to_owned()],
            verdict,
            detail: vote.why.clone(),
        });
        context.console.line(&Note::Vote {
            voter: vote.voter.clone(),
            primary: primary.to_owned(),
            alive: vote.alive,
            why: vote.why.clone(),
        });
    }
    let text = table::render(
        &["VOTER", &format!("{} IS", primary.to_uppercase()), "", ""],
        &rows,
        &context.console,
    );
    context.console.result(&text);
    let rows: Vec<Row> = contenders
        .iter()
        .map(|one| Row {
            cells: vec![one.host.clone(), one.position.clone()],
            verdict: match one.excluded {
                None => Verdict::Good,
                Some(_) => Verdict::Bad,
            },
            detail: match (&one.excluded, one.lag) {
                (Some(why), _) => why.clone(),
                (None, Some(lag)) => format!("{lag} s behind"),
                (None, None) => "has what it has received".into(),
            },
        })
        .collect();
    for one in contenders {
        context.console.line(&Note::Contender {
            host: one.host.clone(),
            position: one.position.clone(),
            excluded: one.excluded.clone(),
        });
    }
    let text = table::render(&["MAY TAKE OVER", "RECEIVED", "", ""], &rows, &context.console);
    context.console.result(&text);
}

/// What is going to happen.
pub fn decision(context: &Context, decision: &Decision) {
    let (old, new) = (&decision.primary, &decision.candidate);
    let fence = match &decision.fence {
        Fence::Stopped => format!("{old} is held off by stopping its MariaDB, which hactl can reach"),
        Fence::Network => {
            format!("{old} is held off by the network: every host that writes to it refuses to talk to it")
        }
        Fence::Assumed(how) => format!("{old} is held off by your word: {}", terminal(how)),
        Fence::HandsOver => format!("{old} hands over"),
        Fence::Itself => format!("{old} is only closed, and has all that anybody has"),
    };
    if let Some(run) = &decision.resumes {
        let text = format!(
            "crash plan {} made {new} the primary and was cut off: this goes on with it\n",
            terminal(run)
        );
        context.console.result(&text);
    }
    context.console.result(&format!("{new} takes the writes; {fence}\n"));
}

/// The exact commands, for `--dry-run`.
pub fn commands(context: &Context, plan: &Plan) {
    for host in &plan.hosts {
        for step in &host.steps {
            for resource in &step.resources {
                if let Spec::Command(command) = &resource.spec {
                    let text: String = command.run.lines().map(|line| format!("    {line}\n")).collect();
                    context.console.result(&format!(
                        "\n{}: {} (stage {})\n{text}",
                        host.host, command.name, step.stage
                    ));
                }
            }
        }
    }
}
