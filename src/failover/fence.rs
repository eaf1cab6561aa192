//! What keeps an old primary from taking writes: the first rung of a ladder that holds; without any nobody is promoted.

use std::collections::BTreeMap;

use super::decision::Wish;
use super::survey::Said;
use crate::topology::Topology;

/// What keeps the old primary from taking writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// hactl is on its host: MariaDB is stopped there and kept from starting.
    Stopped,
    /// Its host has no power: the inventory's command took it away, and it was seen to be off.
    PoweredOff,
    /// Nobody who writes reaches it: every host that runs the application refuses to talk to it, and so do the databases.
    Network,
    /// The operator's word.
    Assumed(String),
    /// It hands over by itself.
    HandsOver,
    /// It takes the writes again itself.
    Itself,
}

impl Fence {
    /// Whether the old one is held off from outside its host.
    pub fn is_outside(&self) -> bool {
        matches!(self, Fence::PoweredOff | Fence::Network | Fence::Assumed(_))
    }

    /// Whether the place of the old one is taken, so that it must not lead before it has rejoined.
    pub fn replaces(&self) -> bool {
        *self == Fence::Stopped || self.is_outside()
    }
}

/// What became of the inventory's `power_off`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Power {
    /// Nobody tried.
    #[default]
    Untried,
    /// It did not do it; why.
    Failed(String),
}

/// A rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// What it is, for people.
    pub name: &'static str,
    /// What it comes to when it holds.
    pub fence: Option<Fence>,
    /// Why it does, or does not.
    pub why: String,
}

/// All rungs, the best one first.
pub fn ladder(topology: Topology, primary: &str, said: &BTreeMap<&str, Said>, wish: &Wish) -> Vec<Rung> {
    let rung = |name, holds: bool, fence, why| Rung {
        name,
        fence: holds.then_some(fence),
        why,
    };
    let answers = said.contains_key(primary);
    let stop = match (answers, wish.cannot_stop) {
        (true, false) => format!("{primary} answers hactl"),
        (true, true) => format!("{primary} answers hactl, and could not be stopped"),
        (false, _) => format!("{primary} does not answer hactl"),
    };
    let switch = topology.inventory.power.as_ref();
    let power = match (switch, &wish.power) {
        (None, _) => "the inventory names no command (crashplan.power_off)".to_owned(),
        (Some(power), Power::Untried) => {
            let program = power.off.first().map(String::as_str).unwrap_or_default();
            format!("{program} is run when the plan is agreed to; should it fail, the next one")
        }
        (Some(_), Power::Failed(why)) => why.clone(),
    };
    let lost = unheard(topology, said);
    let network = match lost.as_slice() {
        [] => "all hosts that write to it answer, and can be told to refuse it".to_owned(),
        lost => format!("{} write to it and do not answer", lost.join(", ")),
    };
    let word = match &wish.assume_fenced {
        Some(how) => how.clone(),
        None => "nobody gave it (--assume-fenced=HOW)".to_owned(),
    };
    vec![
        rung(
            "MariaDB is stopped there",
            answers && !wish.cannot_stop,
            Fence::Stopped,
            stop,
        ),
        rung(
            "its power is taken away",
            switch.is_some() && wish.power == Power::Untried,
            Fence::PoweredOff,
            power,
        ),
        rung("the others refuse it", lost.is_empty(), Fence::Network, network),
        Rung {
            name: "your word",
            fence: wish.assume_fenced.clone().map(Fence::Assumed),
            why: word,
        },
    ]
}

/// The first that holds.
///
/// # Errors
/// None does: what to say, and what to do.
pub fn fence(
    topology: Topology,
    primary: &str,
    said: &BTreeMap<&str, Said>,
    wish: &Wish,
) -> Result<Fence, (String, String)> {
    let ladder = ladder(topology, primary, said, wish);
    if let Some(fence) = ladder.into_iter().find_map(|rung| rung.fence) {
        return Ok(fence);
    }
    let power = match &wish.power {
        Power::Untried => String::new(),
        Power::Failed(why) => format!(", its power could not be taken away ({why})"),
    };
    let reach = match said.contains_key(primary) {
        true => "it could not be stopped",
        false => "it does not answer",
    };
    let mut writers = unheard(topology, said);
    let itself = writers.contains(&primary);
    writers.retain(|name| *name != primary);
    let who = match writers.as_slice() {
        _ if itself => "what runs on it writes to it".to_owned(),
        [one] => format!("{one}, which writes to it, does not answer either"),
        all => format!("{}, which write to it, do not answer either", all.join(", ")),
    };
    Err((
        format!("nothing keeps {primary} from taking writes: {reach}{power}, and {who}"),
        format!(
            "switch {primary} off, look that it is off, and say how: --assume-fenced=powered-off-by-hand; nothing was changed"
        ),
    ))
}

/// Hosts that write to the database and gave no answer.
fn unheard<'a>(topology: Topology<'a>, said: &BTreeMap<&str, Said>) -> Vec<&'a str> {
    let clients = topology.hosts().filter(|view| view.runs_app());
    clients
        .map(|view| view.host.name.as_str())
        .filter(|name| !said.contains_key(name))
        .collect()
}
