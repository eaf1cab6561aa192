//! How an old primary comes back: it starts closed, its history is compared with the primary's, and it follows; or it is
//! refused with what it has of its own saved.

use std::collections::BTreeMap;

use super::steps::{ROLE, script};
use super::survey::Said;
use crate::error::Result;
use crate::inventory::HostRole;
use crate::plan::Desired;
use crate::quote::sh;
use crate::resource::gtid::GtidState;
use crate::resource::replication::{Replication, held_off};
use crate::resource::{Holds, Resource, Spec};
use crate::role::{SecretStore, replication};
use crate::topology::Topology;

/// Why it cannot rejoin, and what to do.
pub type No = (String, String);

/// What two histories come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Histories {
    /// The primary has all that the other has.
    Agree,
    /// These transactions are only there; the position is the last that both have.
    Differ(Vec<String>, String),
}

/// Who leads now, for a host that wants to come back.
///
/// # Errors
/// When it must not, or need not.
pub fn primary(topology: Topology, said: &BTreeMap<&str, Said>, name: &str) -> std::result::Result<String, No> {
    let server = |name: &str| said.get(name).and_then(|said| said.replication.as_ref());
    if !said.contains_key(name) {
        return Err((
            format!("{name} does not answer"),
            "start its host first: it comes up closed, and takes no writes".into(),
        ));
    }
    let others = topology.with_role(HostRole::Db).filter(|host| host.name != name);
    let open: Vec<&str> = others
        .filter(|host| server(&host.name).is_some_and(Replication::is_writer))
        .map(|host| host.name.as_str())
        .collect();
    match open.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err((
            format!("no other database takes writes: {name} has nobody to follow"),
            "hactl crashplan decides who leads".into(),
        )),
        [first, second, ..] => Err((
            format!("two servers take writes, {first} and {second}"),
            "close the wrong one at once: mariadb -e 'SET GLOBAL read_only=ON' there; nothing was changed".into(),
        )),
    }
}

/// Whether that host follows already, and nobody holds it off. One that has what a restore gave up cannot follow, whatever it
/// is set up to do.
pub fn is_replica(topology: Topology, said: &BTreeMap<&str, Said>, name: &str, primary: &str) -> bool {
    let held_off = !from(said, name).is_empty();
    let its = said.get(name);
    let own = its.and_then(|said| said.replication.as_ref());
    let leads = said.get(primary).and_then(|said| said.replication.as_ref());
    let lost = |own: &Replication| leads.is_some_and(|leads| !own.lost(&leads.given_up).is_empty());
    !held_off
        && own.is_some_and(|own| !lost(own))
        && own.is_some_and(|own| own.fenced.is_none())
        && its.is_some_and(|its| its.follows(topology, primary))
}

/// The plans that took its place, by the word of those that answer.
fn from<'a>(said: &'a BTreeMap<&str, Said>, name: &str) -> Vec<&'a str> {
    let servers: Vec<_> = said
        .iter()
        .filter_map(|(name, said)| Some((*name, said.replication.as_ref()?)))
        .collect();
    held_off(&servers, name)
}

/// Compares what the two have logged.
pub fn compare(own: &Replication, primary: &Replication) -> Histories {
    let mut has = primary.logged.clone();
    has.join(&GtidState::read(&primary.applied));
    let mut errant = own.logged.errant(&has, &primary.seeded);
    for lost in own.lost(&primary.given_up) {
        if !errant.contains(&lost) {
            errant.push(lost);
        }
    }
    let common = own.logged.without(&primary.given_up).common(&has);
    match errant.is_empty() {
        true => Histories::Agree,
        false => Histories::Differ(errant, common.to_string()),
    }
}

/// The first part: the server runs, closed.
pub fn returns(name: &str, plan: &str) -> Vec<Desired> {
    one(
        name,
        vec![script(plan, name, "", "start MariaDB, closed", include_str!("return.sh")).into()],
    )
}

/// When the histories differ: what is only there is saved.
pub fn saves(name: &str, plan: &str, common: &str) -> Vec<Desired> {
    let text = format!("COMMON={}\n{}", sh(common), include_str!("difference.sh"));
    one(
        name,
        vec![script(plan, name, "", "save what only it has", &text).into()],
    )
}

/// The second part: it follows, and nobody holds it off any more.
///
/// # Errors
/// A secret that is missing.
pub fn follows(
    topology: Topology,
    said: &BTreeMap<&str, Said>,
    (name, primary): (&str, &str),
    plan: &str,
    holds: Holds,
    secrets: &dyn SecretStore,
) -> Result<Vec<Desired>> {
    let mut all = Vec::new();
    for view in topology
        .hosts()
        .filter(|view| said.contains_key(view.host.name.as_str()))
    {
        let mut specs: Vec<Spec> = Vec::new();
        if view.host.name == name
            && let Some(writer) = topology.inventory.hosts.get(primary)
        {
            if holds == Holds::Agrees {
                specs.push(script(plan, name, primary, "be where its log ends", include_str!("agrees.sh")).into());
            }
            let password = secrets.secret(replication::PASSWORD)?;
            specs.push(replication::replica(topology, writer, password, holds).into());
        }
        let mut resources: Vec<Resource> = specs.into_iter().map(|spec| at(FOLLOW, spec)).collect();
        if view.has(HostRole::Db) || view.runs_app() {
            let lift = script(plan, name, primary, "let it through", include_str!("lift.sh"));
            resources.insert(0, at(LIFT, lift.into()));
            let text = format!(
                "HERE={}\nFROM={}\n{}",
                u8::from(view.host.name == name),
                sh(&from(said, name).join("\n")),
                include_str!("forget.sh")
            );
            let forget = script(plan, name, primary, "hold it off no more", &text);
            resources.push(at(FORGET, forget.into()));
        }
        if !resources.is_empty() {
            all.push(Desired {
                host: view.host.name.clone(),
                resources,
            });
        }
    }
    Ok(all)
}

const LIFT: u8 = 0;
const FOLLOW: u8 = 1;
/// Only one that follows is trusted again.
const FORGET: u8 = 2;

fn at(stage: u8, spec: Spec) -> Resource {
    Resource {
        role: ROLE,
        stage,
        spec,
    }
}

fn one(name: &str, specs: Vec<Spec>) -> Vec<Desired> {
    vec![Desired {
        host: name.to_owned(),
        resources: specs.into_iter().map(|spec| at(FOLLOW, spec)).collect(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_compared() {
        let server = |logged: &str, seeded: &str| {
            Replication::read(&format!("read_only=1\nbinlog_state={logged}\nseeded={seeded}\n"))
        };
        let cases = [
            // returned, primary, primary's seed
            ("0-1-66", "0-1-66,0-2-70", "", Histories::Agree),
            (
                "0-1-66",
                "0-2-70,0-1-60",
                "0-1-60",
                Histories::Differ(vec!["0-1-66".into()], "0-1-60".into()),
            ),
            (
                "0-1-68",
                "0-1-66,0-2-70",
                "",
                Histories::Differ(vec!["0-1-68".into()], "0-1-66".into()),
            ),
            // the primary was copied from it at 60 and has logged since
            ("0-1-60", "0-2-70", "0-1-60", Histories::Agree),
            // the primary was restored to 60, and its numbers have passed all that the other has
            (
                "0-1-66",
                "0-1-1000070\ngiven_up=0 60 1000060",
                "",
                Histories::Differ(vec!["0-1-66".into()], "0-1-60".into()),
            ),
            ("0-1-60", "0-1-1000070\ngiven_up=0 60 1000060", "", Histories::Agree),
        ];
        for (own, primary, seeded, wanted) in cases {
            assert_eq!(
                compare(&server(own, ""), &server(primary, seeded)),
                wanted,
                "{own} {primary}"
            );
        }
    }
}
