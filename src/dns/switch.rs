//! Carrying a decided switch out: write, and wait until everybody who answers for the zone says so.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::decision::{self, Decision, Plan, Refusal, Wish};
use super::{Dns, Look, Record, Trouble};
use crate::error::{Error, Kind, Result};

/// First pause between two looks; it doubles up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(2);
/// After so long somebody is told whom the switch waits for.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// What is said while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A server does not yet say the new address.
    Waits {
        /// The record.
        record: Record,
        /// Who.
        server: String,
        /// What it says, or why it says nothing.
        says: String,
    },
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The record.
    pub record: Record,
    /// Where it led before.
    pub from: IpAddr,
    /// Where it leads.
    pub to: IpAddr,
    /// How long resolvers may keep the new answer; `None`: the provider does not tell.
    pub ttl: Option<u32>,
    /// How long they may keep the old one: so long visitors can still come to the old address.
    pub old_ttl: Option<u32>,
    /// Whether this run changed it.
    pub changed: bool,
}

/// A server that does not say the new address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// The record.
    pub record: Record,
    /// Who.
    pub server: String,
    /// What it says, or why it says nothing.
    pub why: String,
    /// Whether it says nothing.
    pub silent: bool,
}

/// A switch that was done, or was not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The host that the names lead to.
    pub to: String,
    /// Every record.
    pub records: Vec<Done>,
    /// Who does not say so, when the time to wait for it was over. Whoever asks them is led to the old address.
    pub unverified: Vec<Unverified>,
}

/// Looks, decides and carries out.
///
/// # Errors
/// [`Kind::Refused`]: a record is something else than what may be replaced. [`Kind::Unreachable`]: whoever takes changes does
/// not answer. In both cases nothing was written. [`Kind::HostFailed`]: it refused, or nobody knows how it ended.
pub async fn switch(dns: &Dns, wish: &Wish, tell: &(dyn Fn(Told) + Sync)) -> Result<Switched> {
    let looks = dns.look().await;
    let plan = decision::plan(&dns.section, &looks, wish)?;
    carry_out(dns, &plan, tell).await
}

/// Writes what a plan says, and waits until everybody says so.
///
/// # Errors
/// As [`switch`].
pub async fn carry_out(dns: &Dns, plan: &Plan, tell: &(dyn Fn(Told) + Sync)) -> Result<Switched> {
    let changes = plan.changes();
    let mut written = true;
    if !changes.is_empty()
        && let Err(trouble) = dns.provider.swap(&changes).await
    {
        written = after(dns, plan, trouble).await?;
    }
    let unverified = verified(dns, plan, tell).await;
    if let Some(lie) = unverified.iter().find(|unverified| contradicts(plan, unverified)) {
        let message = format!("{} took the change of {}, and {}", lie.server, lie.record, lie.why);
        return Err(Error::new(Kind::HostFailed, message).hint("hactl dns show says where every name leads"));
    }
    let done = |(look, decision): &(Look, Decision)| {
        let before = look.said.first().and_then(|said| said.answer.as_ref().ok());
        let before_ttl = before.and_then(|answer| answer.ttl);
        match decision {
            Decision::Right => before.and_then(|answer| answer.values.first()).map(|address| Done {
                record: look.record.clone(),
                from: *address,
                to: *address,
                ttl: before_ttl,
                old_ttl: before_ttl,
                changed: false,
            }),
            Decision::Swap(change) => Some(Done {
                record: look.record.clone(),
                from: change.expected,
                to: change.wanted,
                ttl: before_ttl.map(|_| change.ttl),
                old_ttl: before_ttl,
                changed: written,
            }),
        }
    };
    Ok(Switched {
        to: plan.to.clone(),
        records: plan.records.iter().filter_map(done).collect(),
        unverified,
    })
}

/// Whether somebody took a change and says afterwards that there was none.
fn contradicts(plan: &Plan, unverified: &Unverified) -> bool {
    let takes = |(look, decision): &(Look, Decision)| {
        look.record == unverified.record
            && matches!(decision, Decision::Swap(_))
            && look.said.first().is_some_and(|said| said.server == unverified.server)
    };
    !unverified.silent && plan.records.iter().any(takes)
}

/// A trouble came: what is true now is asked, not guessed. Gives whether this run wrote what is there, when all is as wanted.
async fn after(dns: &Dns, plan: &Plan, trouble: Trouble) -> Result<bool> {
    let changes = plan.changes();
    if let (Trouble::Unreachable(why), [_]) = (&trouble, changes.as_slice()) {
        return Err(unreachable(format!("{why}; nothing was changed")));
    }
    let (mut right, mut untouched, mut lines) = (0, 0, Vec::new());
    for change in &changes {
        let look = dns.look_at(change.record.clone()).await;
        let said = look.said.first().map(|said| &said.answer);
        let record = &change.record;
        lines.push(match said {
            Some(Ok(answer)) if answer.is(change.wanted, change.ttl) => {
                right += 1;
                format!("{record} leads to {answer} now")
            }
            Some(Ok(answer)) if answer.leads_to(change.expected) => {
                untouched += 1;
                format!("{record} still leads to {answer}")
            }
            Some(Ok(answer)) => format!("{record}: {answer}"),
            Some(Err(why)) => format!("{record}: nobody knows ({why})"),
            None => format!("{record}: nobody knows"),
        });
    }
    if right == changes.len() {
        // Somebody else did it, or the answer got lost on its way.
        return Ok(matches!(trouble, Trouble::Unknown(_)));
    }
    let kind = match &trouble {
        Trouble::Conflict(_) if right == 0 => Kind::Refused,
        Trouble::Unreachable(_) if untouched == changes.len() => Kind::Unreachable,
        _ => Kind::HostFailed,
    };
    let message = format!("{}\n{}", trouble.message(), lines.join("\n"));
    Err(Error::new(kind, message)
        .hint("hactl dns show says where every name leads; the same switch again goes on where this ended"))
}

/// Waits until everybody says what is wanted. Whoever did not answer before the switch, and does not now, is not waited for.
async fn verified(dns: &Dns, plan: &Plan, tell: &(dyn Fn(Told) + Sync)) -> Vec<Unverified> {
    let end = Instant::now() + dns.section.wait;
    let mut told = Instant::now();
    let mut pause = PAUSE;
    loop {
        let looks = dns.look().await;
        let open: Vec<(Unverified, bool)> = looks.iter().flat_map(|look| open(look, plan)).collect();
        if !open.iter().any(|(_, waits)| *waits) || Instant::now() >= end {
            return open.into_iter().map(|(open, _)| open).collect();
        }
        if told.elapsed() >= SIGN_OF_LIFE {
            told = Instant::now();
            for (open, _) in open.into_iter().filter(|(_, waits)| *waits) {
                tell(Told::Waits {
                    record: open.record,
                    server: open.server,
                    says: open.why,
                });
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Who does not say what is wanted of a record, and whether it is worth waiting for.
fn open(look: &Look, plan: &Plan) -> Vec<(Unverified, bool)> {
    let Some((before, decision)) = plan.records.iter().find(|(before, _)| before.record == look.record) else {
        return Vec::new();
    };
    let right = |answer: &super::Answer| match decision {
        Decision::Swap(change) => answer.is(change.wanted, change.ttl),
        Decision::Right => before
            .said
            .first()
            .and_then(|said| said.answer.as_ref().ok())
            .is_some_and(|first| first.values == answer.values && answer.odd.is_none()),
    };
    let mut all = Vec::new();
    for said in &look.said {
        let (why, silent) = match &said.answer {
            Ok(answer) if right(answer) => continue,
            Ok(answer) => (says(answer), false),
            Err(why) => (why.clone(), true),
        };
        let was_silent = before
            .said
            .iter()
            .any(|before| before.server == said.server && before.answer.is_err());
        let unverified = Unverified {
            record: look.record.clone(),
            server: said.server.clone(),
            why,
            silent,
        };
        all.push((unverified, !(silent && was_silent)));
    }
    all
}

fn says(answer: &super::Answer) -> String {
    match answer.ttl {
        Some(ttl) => format!("says {answer} (TTL {ttl} s)"),
        None => format!("says {answer}"),
    }
}

fn unreachable(message: String) -> Error {
    Error::new(Kind::Unreachable, message).hint("when it answers again, the same switch can be tried again")
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoPlace(host) => {
                let host = crate::quote::terminal(&host);
                Error::usage(format!("names cannot lead to `{host}`: it has no address for that"))
                    .hint("give it a `public_address` in the inventory")
            }
            Refusal::Silent { record, server, why } => unreachable(format!(
                "{server} does not say where {record} leads: {why}; nothing was changed"
            )),
            Refusal::Wrong { record, server, found } => Error::new(
                Kind::Refused,
                format!("{record} {found} (says {server}); nothing was changed"),
            )
            .hint(
                "hactl switches a name from one host of the inventory to another, and nothing else; \
                 hactl dns show says where every name leads. Mend the record by hand, or `public_address` in the inventory",
            ),
        }
    }
}
