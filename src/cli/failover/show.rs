//! What a crash plan tells: who says what, who may take over, what will hold the old primary off, and how it went.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::context::Context;
use super::super::table::{self, Row};
use super::crashplan::Clocks;
use crate::engine::HostFailure;
use crate::failover::candidate::Contender;
use crate::failover::decision::lost;
use crate::failover::vote::Votes;
use crate::failover::{Decision, Fence, Said};
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

/// How it went.
pub fn report(context: &Context, decision: &Decision, said: &BTreeMap<String, Said>, clocks: &Clocks, exit_code: u8) {
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let (old, new) = (&decision.primary, &decision.candidate);
    let loss = match loss(decision, said) {
        None => "0: what was acknowledged is here".to_owned(),
        Some(why) => format!("unknown: {why}"),
    };
    let text = format!(
        "\n{new} takes the writes in place of {old}\n\
         \x20 survey            {}\n\
         \x20 until writable    {} after it was agreed to\n\
         \x20 lost transactions {loss}\n",
        seconds(clocks.survey),
        seconds(clocks.writable),
    );
    context.console.result(&text);
    context.console.line(&Note::Failover {
        old: old.clone(),
        new: new.clone(),
        survey_ms: millis(clocks.survey),
        writable_ms: millis(clocks.writable),
        lost_unknown: self::loss(decision, said),
        complete: exit_code == 0,
    });
    match decision.fence {
        Fence::HandsOver | Fence::Itself => {}
        _ => context.hint(&format!(
            "hactl rejoin {old}   (when its host is back: it is held off until then)"
        )),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why it cannot be said that nothing is lost.
fn loss(decision: &Decision, said: &BTreeMap<String, Said>) -> Option<String> {
    match decision.fence {
        Fence::HandsOver | Fence::Itself => return None,
        Fence::Stopped if decision.rescue => return None,
        _ => {}
    }
    let missing = lost(decision);
    if missing > 0 {
        return Some(format!("another received {missing} transactions more"));
    }
    let silent: Vec<_> = decision
        .contenders
        .iter()
        .filter(|one| !said.contains_key(&one.host))
        .map(|one| one.host.as_str())
        .collect();
    if !silent.is_empty() {
        return Some(format!("{} may have received more", silent.join(", ")));
    }
    let received = said
        .values()
        .flat_map(|said| &said.replication)
        .flat_map(|said| &said.sources);
    match received.into_iter().any(|link| link.receives != "No") {
        true => None,
        false => Some("no replica was receiving when it died".into()),
    }
}
