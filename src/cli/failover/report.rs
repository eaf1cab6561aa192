//! How a crash plan went: printed, and kept beside the run's record as text and JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::context::Context;
use super::clocks::Clocks;
use crate::engine::{Engine, journal};
use crate::failover::decision::lost;
use crate::failover::verify::Standing;
use crate::failover::{Decision, Fence, Said};
use crate::report::Note;

/// What there is to say at the end.
pub(super) struct Report {
    note: Note,
    text: String,
    hints: Vec<String>,
}

impl Report {
    pub fn of(
        decision: &Decision,
        said: &BTreeMap<String, Said>,
        clocks: &Clocks,
        standing: &Standing,
        names: &str,
        exit_code: u8,
    ) -> Report {
        let (old, new) = (&decision.primary, &decision.candidate);
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let unknown = loss(decision, said, standing);
        let loss = match &unknown {
            None => "0: what was acknowledged is here".to_owned(),
            Some(why) => format!("unknown: {why}"),
        };
        let left = match standing.followers.as_slice() {
            [] => "none: the next failure loses data".to_owned(),
            all => {
                let (follow, it, one) = match all.len() {
                    1 => ("follows", "it", "it"),
                    _ => ("follow", "them", "one of them"),
                };
                let waits = match standing.semi_sync {
                    true => format!("commits wait for {one}"),
                    false => format!("commits do not wait for {it}"),
                };
                format!("{} {follow} {new}, {waits}", all.join(", "))
            }
        };
        let missing = match standing.missing.is_empty() {
            true => String::new(),
            false => format!("\n  without a part     {}", standing.missing.join(", ")),
        };
        let complete = exit_code == 0;
        let names: String = names
            .lines()
            .map(|line| format!("  names              {line}\n"))
            .collect();
        let text = format!(
            "\n{new} takes the writes{instead}\n\
             \x20 survey             {}\n\
             \x20 until writable     {} after it was agreed to\n\
             \x20 until all followed {}\n\
             \x20 nobody could write {}\n\
             \x20 lost transactions  {loss}\n\
             \x20 takes writes now   {}\n\
             \x20 replicas left      {left}{missing}\n\
             {names}\x20 tried              {}\n",
            seconds(clocks.survey),
            seconds(clocks.writable),
            seconds(clocks.finished),
            clocks.outage.text(),
            match standing.writers.is_empty() {
                true => "nobody".to_owned(),
                false => standing.writers.join(", "),
            },
            match complete {
                true => "the application writes and reads, visitors are answered",
                false => "not all is well, see above",
            },
            instead = match old == new {
                true => " again".to_owned(),
                false => format!(" in place of {old}"),
            },
        );
        let mut hints = Vec::new();
        if decision.fence.replaces() {
            hints.push(format!(
                "hactl rejoin {old}   (when its host is back: it is held off until then)"
            ));
        }
        let others = standing.missing.iter().filter(|host| *host != old);
        let others: Vec<_> = others.map(String::as_str).collect();
        if !others.is_empty() {
            hints.push(format!("hactl apply   (when {} can follow again)", others.join(", ")));
        }
        let note = Note::Failover {
            old: old.clone(),
            new: new.clone(),
            survey_ms: millis(clocks.survey),
            writable_ms: millis(clocks.writable),
            finished_ms: millis(clocks.finished),
            outage_ms: millis(clocks.outage.time),
            lost_unknown: unknown,
            writers: standing.writers.clone(),
            followers: standing.followers.clone(),
            semi_sync: standing.semi_sync,
            complete,
        };
        Report { note, text, hints }
    }

    /// Prints it, and keeps it.
    pub fn show(&self, context: &Context, engine: &Engine) {
        context.console.result(&self.text);
        context.console.line(&self.note);
        for hint in &self.hints {
            context.hint(hint);
        }
        let folder = journal::folder(&engine.inventory.cluster);
        let json = serde_json::to_string_pretty(&self.note).unwrap_or_default();
        for (ending, text) in [("txt", &self.text), ("json", &json)] {
            let path: PathBuf = folder.join(format!("{}.crashplan.{ending}", engine.run));
            // What was done is done.
            if let Err(error) = std::fs::write(&path, text) {
                context.warn(&format!("the report is not kept: {}: {error}", path.display()));
                return;
            }
        }
        let kept = folder.join(format!("{}.crashplan.txt", engine.run));
        context
            .console
            .result(&format!("  kept in            {}\n", kept.display()));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why it cannot be said that nothing is lost.
fn loss(decision: &Decision, said: &BTreeMap<String, Said>, standing: &Standing) -> Option<String> {
    if let Some(run) = &decision.resumes {
        return Some(format!("{run} was cut off before it could say"));
    }
    match decision.fence {
        Fence::HandsOver | Fence::Itself => return None,
        Fence::Stopped if decision.rescue && !standing.log_unread => return None,
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
