//! What is to be done, and whether it may.

use std::collections::BTreeMap;

use super::candidate::{self, Contender};
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
}

/// What keeps the old primary from taking writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// hactl is on its host: MariaDB is stopped there and kept from starting.
    Stopped,
    /// Nobody who writes reaches it: every host that runs the application refuses to talk to it, and so do the databases.
    Network,
    /// The operator's word.
    Assumed(String),
    /// It hands over by itself.
    HandsOver,
    /// It takes the writes again itself.
    Itself,
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
            (Some(one), Some(new)) => one.excluded.is_none() && new.received.covers(&one.received),
            _ => false,
        }
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
    Ok(Decision {
        rescue: fence == Fence::Stopped,
        resumes: None,
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
        rescue: false,
        resumes: Some(record.plan.clone()),
        primary: old,
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
        Some(one) if !wish.switchover && !one.received.covers(&best.received) => Err((
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

/// What will hold the old primary off; the first that can be had.
fn fence(topology: Topology, primary: &str, said: &BTreeMap<&str, Said>, wish: &Wish) -> Result<Fence, No> {
    if said.contains_key(primary) {
        return Ok(Fence::Stopped);
    }
    let clients = topology.hosts().filter(|view| view.runs_app());
    let lost: Vec<&str> = clients
        .filter(|view| !said.contains_key(view.host.name.as_str()))
        .map(|view| view.host.name.as_str())
        .collect();
    if lost.is_empty() {
        return Ok(Fence::Network);
    }
    match &wish.assume_fenced {
        Some(how) => Ok(Fence::Assumed(how.clone())),
        None => Err((
            format!(
                "nothing keeps {primary} from taking writes: it does not answer, and neither does {}, which writes to it",
                lost.join(", ")
            ),
            format!(
                "switch {primary} off, look that it is off, and say how: --assume-fenced=powered-off-by-hand; nothing was changed"
            ),
        )),
    }
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
    candidate.received.missing(&all)
}
