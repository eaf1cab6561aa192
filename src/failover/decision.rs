//! What is to be done, and whether it may.

use std::collections::BTreeMap;

use super::candidate::{self, Contender};
use super::fence::{Fence, Power, Rung, fence, ladder};
use super::record::Moved;
use super::survey::Said;
use super::vote::Votes;
use crate::inventory::HostRole;
use crate::resource::gtid::GtidState;
use crate::topology::Topology;

/// What the operator asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The primary is fine, and hands over.
    pub switchover: bool,
    /// Who is to take over; the best one when `None`.
    pub to: Option<String>,
    /// How the operator made sure that the old primary cannot write any more, e.g. `powered-off-by-hand`.
    pub assume_fenced: Option<String>,
    /// hactl reached the old primary's host and could not stop it.
    pub cannot_stop: bool,
    /// What became of taking its power away.
    pub power: Power,
    /// Another crash plan was carried out a short while ago, and the operator knows.
    pub ack: bool,
}

/// Seconds after a crash plan in which another one must be asked for: when it is needed, something else is wrong.
pub const BLOCK: u64 = 3600;

/// What a candidate gets from another replica before it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Who has more.
    pub from: String,
    /// Up to where.
    pub until: GtidState,
    /// Whether that one has to apply it first.
    pub applies: bool,
}

/// What is going to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who led.
    pub primary: String,
    /// Who says what about it.
    pub votes: Votes,
    /// Who may take over, best first.
    pub contenders: Vec<Contender>,
    /// Who does.
    pub candidate: String,
    /// What holds the old one off.
    pub fence: Fence,
    /// What could.
    pub ladder: Vec<Rung>,
    /// What the candidate lacks and another replica has.
    pub feed: Option<Feed>,
    /// Whether the old primary's disk can be read: what nobody received is fetched from there.
    pub rescue: bool,
    /// The run that was cut off and is gone on with.
    pub resumes: Option<String>,
}

impl Decision {
    /// Whether a database that is neither of the two may follow the new primary without a further look: it could have
    /// taken over itself, and the new one has all that it has.
    pub fn may_follow(&self, host: &str) -> bool {
        let find = |name: &str| self.contenders.iter().find(|one| one.host == name);
        match (find(host), find(&self.candidate)) {
            (Some(one), Some(new)) => one.excluded.is_none() && self.has(new).covers(&one.received),
            _ => false,
        }
    }

    /// What the candidate has when it takes the writes.
    fn has(&self, candidate: &Contender) -> GtidState {
        let mut all = candidate.received.clone();
        if let Some(feed) = &self.feed {
            all.join(&feed.until);
        }
        all.position()
    }
}

/// Why nothing is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Who led, as far as that is known.
    pub primary: Option<String>,
    /// Who says what about it.
    pub votes: Votes,
    /// Who might take over.
    pub contenders: Vec<Contender>,
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Decides by what the hosts that answered said.
///
/// # Errors
/// A guard refuses; nothing must be changed then.
pub fn decide(topology: Topology, said: &BTreeMap<&str, Said>, wish: &Wish) -> Result<Decision, Box<Refused>> {
    let plain = |message: String, hint: &str| {
        Box::new(Refused {
            message,
            hint: hint.into(),
            ..Refused::default()
        })
    };
    if !topology.replicates() {
        return Err(plain(
            "there is only one database: nobody can take over".into(),
            "add a second host with the role `db`; or restore a backup",
        ));
    }
    let primary = primary(topology, said).map_err(|(message, hint)| plain(message, hint))?;
    if let Some(decision) = resumed(topology, &primary, said) {
        return Ok(decision);
    }
    let votes = Votes::count(topology, &primary, said);
    let contenders = candidate::contenders(topology, &primary, said);
    let refused = |message: String, hint: String| {
        Box::new(Refused {
            primary: Some(primary.clone()),
            votes: votes.clone(),
            contenders: contenders.clone(),
            message,
            hint,
        })
    };
    let its = said.get(primary.as_str());
    let server = its
        .and_then(|said| said.replication.as_ref())
        .filter(|said| said.error.is_none());
    let open = server.is_some_and(|server| server.is_writer());
    let alive = votes.saying(Some(true));
    if wish.switchover {
        if !open {
            return Err(refused(
                format!("{primary} does not take writes now: there is nothing to hand over"),
                "without --switchover the crash plan looks for who takes over".into(),
            ));
        }
        let candidate = chosen(&contenders, wish).map_err(|(message, hint)| refused(message, hint))?;
        return Ok(Decision {
            candidate,
            fence: Fence::HandsOver,
            ladder: Vec::new(),
            feed: None,
            rescue: false,
            resumes: None,
            primary,
            votes,
            contenders,
        });
    }
    if !alive.is_empty() {
        return Err(refused(
            format!("{primary} is alive: {} see it", alive.join(", ")),
            "a planned change of the primary is --switchover; nothing was changed".into(),
        ));
    }
    // Its server runs and is only closed, as every one is after a start: nothing is lost when it goes on, if nobody has more.
    if let Some(server) = server.filter(|_| !open && wish.to.as_ref().is_none_or(|to| *to == primary)) {
        let own = candidate::received(server);
        let more: Vec<&str> = contenders
            .iter()
            .filter(|contender| !own.covers(&contender.received))
            .map(|contender| contender.host.as_str())
            .collect();
        if more.is_empty() && server.fenced.is_none() && all_databases_answer(topology, said) {
            return Ok(Decision {
                candidate: primary.clone(),
                fence: Fence::Itself,
                ladder: Vec::new(),
                feed: None,
                rescue: false,
                resumes: None,
                primary,
                votes,
                contenders,
            });
        }
    }
    if !votes.majority_dead() && server.is_none() {
        let (dead, all) = (votes.saying(Some(false)).len(), votes.0.len());
        return Err(refused(
            format!(
                "{dead} of {all} voters call {primary} dead, which is no majority: this may be the side that is cut off"
            ),
            "run it where more of the cluster can be reached; nothing was changed".into(),
        ));
    }
    let candidate = chosen(&contenders, wish).map_err(|(message, hint)| refused(message, hint))?;
    let fence = fence(topology, &primary, said, wish).map_err(|(message, hint)| refused(message, hint))?;
    if let Some(moved) = recent(said).filter(|_| !wish.ack) {
        return Err(refused(
            format!("{}: a second one within an hour needs --ack", moved.words()),
            "find out first why the new primary failed so soon; --ack goes on all the same; nothing was changed".into(),
        ));
    }
    Ok(Decision {
        rescue: fence == Fence::Stopped,
        resumes: None,
        feed: feed(&contenders, &candidate),
        ladder: ladder(topology, &primary, said, wish),
        candidate,
        fence,
        primary,
        votes,
        contenders,
    })
}

/// What is left of a plan that was cut off when it had made somebody the primary. Each of its steps looks whether it is done.
fn resumed(topology: Topology, primary: &str, said: &BTreeMap<&str, Said>) -> Option<Decision> {
    let its = said.get(primary)?;
    let open = its.replication.as_ref().is_some_and(|server| server.is_writer());
    let record = its.unfinished.as_ref().filter(|_| open)?;
    let old = topology.inventory.hosts.get(&record.old)?.name.clone();
    let returned = said.get(old.as_str());
    if old == primary || returned.is_some_and(|its| its.follows(topology, primary)) {
        return None;
    }
    let answers = returned
        .and_then(|its| its.replication.as_ref())
        .is_some_and(|server| server.error.is_none());
    let fence = match (&record.fence, returned) {
        (Fence::HandsOver, Some(_)) if answers => Fence::HandsOver,
        (_, Some(_)) => Fence::Stopped,
        // It was stopped, and does not start again; nobody talks to it all the same.
        (Fence::Stopped | Fence::HandsOver, None) => Fence::Network,
        (recorded, None) => recorded.clone(),
    };
    Some(Decision {
        votes: Votes::count(topology, &old, said),
        contenders: candidate::contenders(topology, &old, said),
        candidate: primary.to_owned(),
        fence,
        ladder: Vec::new(),
        feed: None,
        rescue: false,
        resumes: Some(record.plan.clone()),
        primary: old,
    })
}

/// The last crash plan, when it is not long ago.
fn recent<'a>(said: &'a BTreeMap<&str, Said>) -> Option<&'a Moved> {
    let all = said.values().filter_map(|said| said.moved.as_ref());
    all.filter(|moved| moved.age < BLOCK).min_by_key(|moved| moved.age)
}

/// What the candidate lacks and another can give: that one's history holds all that the candidate has.
fn feed(contenders: &[Contender], candidate: &str) -> Option<Feed> {
    let one = contenders.iter().find(|one| one.host == candidate)?;
    let others = contenders.iter().filter(|other| other.host != candidate);
    let more = others.filter(|other| other.gives.covers(&one.received) && !one.received.covers(&other.gives));
    // Backwards: among equals the first one counts.
    let most = more.rev().max_by_key(|other| one.received.missing(&other.gives))?;
    Some(Feed {
        from: most.host.clone(),
        until: most.gives.clone(),
        applies: !most.applied.covers(&most.gives),
    })
}

fn all_databases_answer(topology: Topology, said: &BTreeMap<&str, Said>) -> bool {
    let answers = |name: &str| {
        let replication = said.get(name).and_then(|said| said.replication.as_ref());
        replication.is_some_and(|said| said.error.is_none())
    };
    topology.with_role(HostRole::Db).all(|host| answers(&host.name))
}

/// Who led: the one that takes the writes, else the one that the others follow.
fn primary(topology: Topology, said: &BTreeMap<&str, Said>) -> Result<String, (String, &'static str)> {
    let databases = || topology.with_role(HostRole::Db);
    let server = |name: &str| said.get(name).and_then(|said| said.replication.as_ref());
    let open: Vec<&str> = databases()
        .filter(|host| server(&host.name).is_some_and(|said| said.is_writer() && !said.is_virgin()))
        .map(|host| host.name.as_str())
        .collect();
    match open.as_slice() {
        [one] => return Ok((*one).to_owned()),
        [first, second, ..] => {
            return Err((
                format!("two servers take writes, {first} and {second}"),
                "close the wrong one at once: mariadb -e 'SET GLOBAL read_only=ON' there; nothing was changed",
            ));
        }
        [] => {}
    }
    let mut followed: Vec<&str> = databases()
        .filter(|host| said.values().any(|its| its.follows(topology, &host.name)))
        .map(|host| host.name.as_str())
        .collect();
    // One that follows another itself does not lead.
    if followed.len() > 1 {
        followed.retain(|name| server(name).is_none_or(|said| said.sources.is_empty()));
    }
    match followed.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err((
            "no database takes writes and none follows another: it cannot be told who led".into(),
            "hactl status shows what each says; hactl apply builds a cluster that was never built",
        )),
        [first, second, ..] => Err((
            format!("replicas follow different servers, {first} and {second}"),
            "find out which one led, and point the others at it; nothing was changed",
        )),
    }
}

/// Why not, and what to do.
type No = (String, String);

fn chosen(contenders: &[Contender], wish: &Wish) -> Result<String, No> {
    let reasons = || {
        let all = contenders
            .iter()
            .filter_map(|one| Some((&one.host, one.excluded.as_ref()?)));
        let all: Vec<_> = all.map(|(host, why)| format!("{host} {why}")).collect();
        all.join("; ")
    };
    let best = contenders.iter().find(|contender| contender.excluded.is_none());
    let Some(best) = best else {
        return Err((
            format!("nobody can take over: {}", reasons()),
            "mend one of them first; nothing was changed".into(),
        ));
    };
    let Some(to) = &wish.to else {
        return Ok(best.host.clone());
    };
    match contenders.iter().find(|contender| contender.host == *to) {
        None => Err((
            format!("--to {to}: it is no database that could take over"),
            format!("best is {}", best.host),
        )),
        Some(one) if one.excluded.is_some() => Err((
            format!("--to {to}: it {}", one.excluded.as_deref().unwrap_or_default()),
            format!("best is {}; nothing was changed", best.host),
        )),
        Some(one) if !wish.switchover && !gets(contenders, one).covers(&best.received) => Err((
            format!(
                "--to {to}: {} has {} transactions that it lacks",
                best.host,
                one.received.missing(&best.received)
            ),
            format!("best is {}; nothing was changed", best.host),
        )),
        Some(one) => Ok(one.host.clone()),
    }
}

/// What a database has after it got what another one can give.
fn gets(contenders: &[Contender], one: &Contender) -> GtidState {
    let mut all = one.received.clone();
    if let Some(feed) = feed(contenders, &one.host) {
        all.join(&feed.until);
    }
    all.position()
}

/// What may be lost, in words: `had` is what the candidate has, `others` what anybody is known to have had.
pub fn lost(decision: &Decision) -> u64 {
    let find = |name: &str| decision.contenders.iter().find(|one| one.host == name);
    let Some(candidate) = find(&decision.candidate) else {
        return 0;
    };
    let mut all = GtidState::default();
    for contender in &decision.contenders {
        all.join(&contender.received);
    }
    decision.has(candidate).missing(&all)
}
