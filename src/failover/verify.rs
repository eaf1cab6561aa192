//! Whether it holds: the application writes and reads through its endpoint, visitors are answered, and nobody else takes
//! writes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decision::Decision;
use super::steps::{ROLE, script};
use super::survey::{Said, Sight};
use crate::error::Result;
use crate::inventory::{Host, Site};
use crate::plan::Desired;
use crate::quote::{sh, sql, sql_name};
use crate::resource::{Command, Resource};
use crate::role::{SecretStore, app, gate, health};
use crate::topology::{HostView, Topology};

/// Seconds that an endpoint gets to notice who leads.
const PATIENCE: u64 = 20;

/// Questions to the hosts that run the application: each is a step that fails when the answer is wrong.
///
/// # Errors
/// A secret that is missing.
pub fn checks(
    topology: Topology,
    decision: &Decision,
    said: &BTreeMap<&str, Said>,
    plan: &str,
    secrets: &dyn SecretStore,
) -> Result<Vec<Desired>> {
    let inventory = topology.inventory;
    let account = app::databases(&inventory.app, &inventory.sites).into_iter().next();
    let mut all = Vec::new();
    for view in topology.hosts().filter(|view| serves(view, decision, said)) {
        let mut commands = Vec::new();
        if let Some(account) = account.as_ref().filter(|_| view.runs_app()) {
            let text = format!(
                "PATIENCE={PATIENCE}\nTABLE={}\nVALUE={}\n{}",
                sh(&format!("{}.{}", sql_name(&account.name), sql_name("hactl_canary"))),
                sh(&sql(plan)),
                include_str!("verify.sh")
            );
            let password = secrets.secret(&account.password)?;
            commands.push(Command {
                input: Some(gate::account_options(&view, account, &password)),
                ..step(plan, decision, "write and read as the application", &text)
            });
        }
        for site in inventory.sites.iter().filter(|_| view.meets_visitors()) {
            commands.push(visit(&view, site, plan, decision));
        }
        let resources = commands.into_iter().map(|command| Resource {
            role: ROLE,
            stage: 0,
            spec: command.into(),
        });
        let resources: Vec<_> = resources.collect();
        if !resources.is_empty() {
            all.push(Desired {
                host: view.host.name.clone(),
                resources,
            });
        }
    }
    Ok(all)
}

/// Whether a host is asked. Of a pair only one serves.
fn serves(view: &HostView, decision: &Decision, said: &BTreeMap<&str, Said>) -> bool {
    let name = &view.host.name;
    let fenced = decision.fence.replaces() && *name == decision.primary;
    said.contains_key(name.as_str())
        && !(view.topology.is_pair() && (*name != decision.candidate || fenced))
        && (view.runs_app() || view.meets_visitors())
}

fn step(plan: &str, decision: &Decision, name: &str, text: &str) -> Command {
    Command {
        deadline: Duration::from_secs(PATIENCE + 40),
        ..script(plan, &decision.primary, &decision.candidate, name, text)
    }
}

/// The site, by the address that visitors come to where there is one.
fn visit(view: &HostView, site: &Site, plan: &str, decision: &Decision) -> Command {
    let vip = view.topology.inventory.vip.values().next();
    let address = vip.map_or(view.host.address, |vip| vip.address.addr());
    let text = format!(
        "end=$(($(date +%s) + {PATIENCE}))\n\
         until said=$({look} 2>&1) && case ${{said%% *}} in 2?? | 3??) true ;; *) false ;; esac; do\n\
         \x20   [ \"$(date +%s)\" -lt \"$end\" ] || {{ echo \"it answers $said\"; exit 1; }}\n\
         \x20   sleep 0.2\n\
         done\n\
         echo \"it answers ${{said%% *}} at {address}\"",
        look = health::visit(view, site, address),
    );
    step(plan, decision, &format!("visit {}", site.name), &text)
}

/// What is true at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who takes writes.
    pub writers: Vec<String>,
    /// Hosts that still see the old primary take writes.
    pub old_seen: Vec<String>,
    /// Replicas that receive from the new primary.
    pub followers: Vec<String>,
    /// Whether commits wait for a replica.
    pub semi_sync: bool,
    /// Databases that have no part in it now.
    pub missing: Vec<String>,
    /// Whether the old primary's log was to be read, and could not be.
    pub log_unread: bool,
}

impl Standing {
    /// By what the hosts say.
    pub fn of(topology: Topology, decision: &Decision, said: &BTreeMap<&str, Said>, plan: &str) -> Standing {
        let mut standing = Standing::default();
        let names = |holds: &dyn Fn(&Host) -> bool| -> Vec<String> {
            let hosts = topology.with_role(crate::inventory::HostRole::Db);
            hosts.filter(|host| holds(host)).map(|host| host.name.clone()).collect()
        };
        let server = |host: &Host| said.get(host.name.as_str()).and_then(|said| said.replication.as_ref());
        standing.writers = names(&|host| server(host).is_some_and(|its| its.is_writer()));
        standing.followers = names(&|host| {
            let follows = said
                .get(host.name.as_str())
                .is_some_and(|its| its.follows(topology, &decision.candidate));
            follows && server(host).is_some_and(|its| its.sources.iter().all(|link| link.receives == "Yes"))
        });
        standing.missing = names(&|host| {
            let part = [&standing.writers, &standing.followers];
            !part.iter().any(|hosts| hosts.contains(&host.name))
        });
        standing.old_seen = said
            .iter()
            .filter(|(_, its)| its.sees.get(&decision.primary) == Some(&Sight::Writes))
            .filter(|_| decision.candidate != decision.primary)
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let new = said.get(decision.candidate.as_str());
        standing.log_unread = new.is_some_and(|its| its.unread.iter().any(|unread| unread == plan));
        standing.semi_sync = new
            .and_then(|its| its.replication.as_ref())
            .is_some_and(|its| its.semi_sync.enabled && its.semi_sync.in_force);
        standing
    }

    /// What is wrong with it, if anything.
    pub fn wrong(&self, decision: &Decision) -> Option<String> {
        if self.writers != [decision.candidate.clone()] {
            return Some(match self.writers.as_slice() {
                [] => format!("{} does not take writes", decision.candidate),
                all => format!("these take writes: {}", all.join(", ")),
            });
        }
        match self.old_seen.is_empty() {
            true => None,
            false => Some(format!(
                "{} see {} take writes",
                self.old_seen.join(", "),
                decision.primary
            )),
        }
    }
}
