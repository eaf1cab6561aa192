//! What a crash plan tells: who says what, who may take over, and what will hold the old primary off.

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::run::Run;
use super::super::table::{self, Row};
use crate::engine::HostFailure;
use crate::failover::candidate::Contender;
use crate::failover::vote::Votes;
use crate::failover::{Decision, Fence, Said};
use crate::plan::Plan;
use crate::quote::{sh_words, terminal};
use crate::report::Note;
use crate::report::note::Verdict;
use crate::resource::replication::Replication;
use crate::role::replication;
use crate::secret::{Secret, Text, masked};

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
        Fence::PoweredOff => format!("{old} is held off by taking its power away"),
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
    if let Some(feed) = &decision.feed {
        let text = format!(
            "{new} gets what it lacks from {} first, up to {}\n",
            feed.from, feed.until
        );
        context.console.result(&text);
    }
    // Should the first one not hold after all, the next one is tried.
    let next = decision.ladder.iter().filter(|rung| rung.fence.is_some()).nth(1);
    if let Some(next) = next.filter(|_| matches!(decision.fence, Fence::Stopped | Fence::PoweredOff)) {
        context
            .console
            .result(&format!("should that fail: {} ({})\n", next.name, terminal(&next.why)));
    }
}

/// For `--dry-run`: what each host says, what could hold the old primary off, and what is sent to which host, to the letter but
/// for secrets.
pub fn commands(context: &Context, run: &Run, said: &BTreeMap<String, Said>, decision: &Decision, plan: &Plan) {
    let mut text = String::from("\nwhat the databases say\n");
    for (host, said) in said {
        if let Some(server) = &said.replication {
            text.push_str(&format!("  {host}: {}\n", terminal(&values(server))));
        }
    }
    if !decision.ladder.is_empty() {
        text.push_str(&format!(
            "what holds {} off: the first that can be had\n",
            decision.primary
        ));
    }
    for rung in &decision.ladder {
        let holds = match (&rung.fence, rung.fence.as_ref() == Some(&decision.fence)) {
            (_, true) => "this one",
            (Some(_), false) => "could",
            (None, _) => "no",
        };
        text.push_str(&format!("  {}: {holds}: {}\n", rung.name, terminal(&rung.why)));
    }
    let inventory = &run.engine.inventory;
    if let (Fence::PoweredOff, Some(power), Some(host)) = (
        &decision.fence,
        &inventory.power,
        inventory.hosts.get(&decision.primary),
    ) {
        text.push_str("\non this machine: take the power away\n");
        for words in [&power.off, &power.status]
            .into_iter()
            .filter(|words| !words.is_empty())
        {
            text.push_str(&format!(
                "    {}\n",
                terminal(&sh_words(super::power::filled(words, host)))
            ));
        }
    }
    context.console.result(&text);
    // Steps keep what is secret in data that is marked so; this is for a slip.
    let secrets: Vec<Secret> = run.engine.secrets.secret(replication::PASSWORD).into_iter().collect();
    for host in &plan.hosts {
        for step in &host.steps {
            let mut text = format!("\n{}: {} (stage {})\n", host.host, step.id, step.stage);
            for line in masked(&step.script.body, &secrets).lines() {
                text.push_str(&format!("    {line}\n"));
            }
            for (number, blob) in step.script.blobs.iter().enumerate() {
                text.push_str(&format!("  its data {number}:\n"));
                for line in masked(&shown(blob), &secrets).lines() {
                    text.push_str(&format!("    {line}\n"));
                }
            }
            context.console.result(&terminal(&text));
        }
    }
}

/// A database's part in a line.
fn values(server: &Replication) -> String {
    if let Some(error) = &server.error {
        return error.clone();
    }
    let mut parts = vec![
        match server.read_only {
            true => "closed".to_owned(),
            false => "takes writes".to_owned(),
        },
        format!("logged {}", server.logged),
    ];
    for link in &server.sources {
        parts.push(format!(
            "from {}:{}: receiving {}, applying {}, received {}, applied {}, {}",
            link.host,
            link.port,
            link.receives,
            link.applies,
            link.received,
            server.applied,
            match link.lag {
                Some(lag) => format!("{lag} s behind"),
                None => "lag unknown".into(),
            }
        ));
        if !link.error.is_empty() {
            parts.push(link.error.clone());
        }
    }
    if let Some(why) = &server.fenced {
        parts.push(format!("fenced: {why}"));
    }
    for old in &server.replaced {
        parts.push(format!("holds {} off", old.host));
    }
    if server.semi_sync.enabled {
        let force = if server.semi_sync.in_force {
            "in force"
        } else {
            "not in force"
        };
        parts.push(format!("semi-sync {force}, {} acknowledge", server.semi_sync.clients));
    }
    parts.join("; ")
}

/// Data of a step without what is secret in it: the values of passwords; of others nothing is shown.
fn shown(blob: &Text) -> String {
    let Text::Secret(secret) = blob else {
        return blob.reveal().to_owned();
    };
    let text = secret.reveal();
    let hides = |text: &str| text.contains(SQL_PASSWORD) || text.lines().any(|line| line.starts_with(OPTION_PASSWORD));
    if !hides(text) {
        return "***".into();
    }
    let mut out = String::new();
    for line in without_strings(text).lines() {
        out.push_str(if line.starts_with(OPTION_PASSWORD) {
            "password=***"
        } else {
            line
        });
        out.push('\n');
    }
    out
}

const SQL_PASSWORD: &str = "MASTER_PASSWORD=";
const OPTION_PASSWORD: &str = "password=";

/// SQL without the string behind each [`SQL_PASSWORD`].
fn without_strings(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(SQL_PASSWORD) {
        let (before, string) = rest.split_at(at + SQL_PASSWORD.len());
        out.push_str(before);
        out.push_str("'***'");
        let mut letters = string.char_indices().skip(1).peekable();
        let mut end = string.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => drop(letters.next()),
                '\'' if letters.peek().is_some_and(|(_, next)| *next == '\'') => drop(letters.next()),
                '\'' => {
                    end = at + 1;
                    break;
                }
                _ => {}
            }
        }
        rest = string.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let cases = [
            ("a key", "***"),
            (
                "[client]\nhost=1\npassword=\"x\\\"y\"\nport=2\n",
                "[client]\nhost=1\npassword=***\nport=2\n",
            ),
            (
                "CHANGE MASTER TO MASTER_PASSWORD='it\\'s', MASTER_PORT=1",
                "CHANGE MASTER TO MASTER_PASSWORD='***', MASTER_PORT=1\n",
            ),
            ("MASTER_PASSWORD='it''s\nx', A=1", "MASTER_PASSWORD='***', A=1\n"),
            ("MASTER_PASSWORD='unended", "MASTER_PASSWORD='***'\n"),
        ];
        for (text, wanted) in cases {
            assert_eq!(shown(&Text::Secret(Secret::new(text.to_owned()))), wanted, "{text}");
        }
        assert_eq!(shown(&Text::Plain("password=1".into())), "password=1");
    }
}
