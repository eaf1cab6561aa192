//! Whose turn it is: hosts that serve together change one after the other, so that some of them always serve.
//!
//! A host that does not serve yet keeps nobody waiting and waits for nobody. Who leads comes last: the others can take over
//! from it with the change already made.

use std::collections::BTreeMap;

use super::stage;
use crate::inventory::{HostRole, Inventory};
use crate::plan::{Plan, Step};
use crate::resource::Observed;
use crate::topology::{HostView, Topology};

/// Hosts that serve together, by the role that they share. Web servers and workers of the application are one group: most
/// hosts are both.
const GROUPS: [&[HostRole]; 4] = [
    &[HostRole::Lb],
    &[HostRole::App, HostRole::Worker],
    &[HostRole::Db],
    &[HostRole::Redis],
];

/// A host with something to do that could be felt by those whom it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member<'a> {
    host: &'a str,
    /// Indices of [`GROUPS`].
    groups: Vec<usize>,
    /// Those of them that it leads.
    leads: Vec<usize>,
}

/// Fills in for whom each host of the plan waits; `seen` is what the hosts answered.
pub fn take(plan: &mut Plan, topology: Topology, seen: &BTreeMap<&str, &Observed>) {
    stage::join(plan);
    let waits = {
        let members = plan.hosts.iter().filter_map(|plan| {
            let view = topology.host(&plan.host)?;
            let felt = plan.steps.iter().any(|step| is_felt(topology.inventory, step));
            (felt && serves(&view, seen.get(plan.host.as_str())?)).then(|| member(&view))
        });
        turns(&members.collect::<Vec<_>>(), batch(topology))
    };
    for host in &mut plan.hosts {
        host.after = waits.get(&host.host).cloned().unwrap_or_default();
    }
}

/// Whether those whom a host serves may feel a step. What a role of the user runs, nobody else can tell.
pub fn is_felt(inventory: &Inventory, step: &Step) -> bool {
    step.is_felt() || inventory.roles.contains_key(&step.role)
}

fn batch(topology: Topology) -> usize {
    usize::try_from(topology.inventory.rolling.batch).unwrap_or(usize::MAX)
}

/// Whether somebody may miss this host.
fn serves(view: &HostView, seen: &Observed) -> bool {
    // What packages have started by themselves serves nobody.
    if seen.facts.generation.is_empty() {
        return false;
    }
    let active = |unit: &str| seen.units.get(unit).is_some_and(|unit| unit.active == "active");
    let runs = || {
        let mut programs = seen.programs.iter().flat_map(BTreeMap::values);
        programs.any(|program| program.state == "RUNNING")
    };
    let redis = || ["cache", "queue"].map(|name| active(&format!("redis-server@{name}.service")));
    view.has(HostRole::Lb) && active("nginx.service")
        || view.runs_app() && runs() && (active("nginx.service") || !view.has(HostRole::App))
        || view.has(HostRole::Db) && active("mariadb.service")
        || view.has(HostRole::Redis) && redis().contains(&true)
}

fn member<'a>(view: &HostView<'a>) -> Member<'a> {
    let live = view.topology.live;
    let name = &view.host.name;
    let has = |group: &[HostRole]| group.iter().any(|role| view.has(*role));
    let groups = (0..GROUPS.len()).filter(|group| has(GROUPS[*group]));
    let leads = |group: &usize| match GROUPS[*group] {
        [HostRole::Db] => live.writer.as_ref() == Some(name),
        [HostRole::Redis] => live.redis.values().any(|leader| leader == name),
        _ => false,
    };
    let groups: Vec<_> = groups.collect();
    Member {
        host: &view.host.name,
        leads: groups.iter().copied().filter(leads).collect(),
        groups,
    }
}

/// For each host the others that go before it: at most `batch` of a group at once, and who leads alone.
fn turns(members: &[Member], batch: usize) -> BTreeMap<String, Vec<String>> {
    let mut ordered: Vec<&Member> = members.iter().collect();
    ordered.sort_by_key(|member| member.leads.len());
    let mut placed: Vec<(usize, &Member)> = Vec::new();
    for member in ordered {
        let turn = |group: &usize| {
            let mates = || placed.iter().filter(|(_, mate)| mate.groups.contains(group));
            let Some(last) = mates().map(|(turn, _)| *turn).max() else {
                return 0;
            };
            let at_last = || mates().filter(|(turn, _)| *turn == last);
            let alone = member.leads.contains(group) || at_last().any(|(_, mate)| mate.leads.contains(group));
            match alone || at_last().count() >= batch {
                true => last + 1,
                false => last,
            }
        };
        let turn = member.groups.iter().map(turn).max().unwrap_or(0);
        placed.push((turn, member));
    }
    let before = |(turn, member): &(usize, &Member)| {
        let shares = |mate: &Member| mate.groups.iter().any(|group| member.groups.contains(group));
        let earlier = placed.iter().filter(|(other, mate)| other < turn && shares(mate));
        earlier.map(|(_, mate)| mate.host.to_owned()).collect::<Vec<_>>()
    };
    placed
        .iter()
        .map(|placed| (placed.1.host.to_owned(), before(placed)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{HostPlan, build};
    use crate::resource::observed::{ProgramState, UnitState};
    use crate::resource::{Facts, OnChange, Resource, Service};
    use crate::role::testing::inventory;
    use crate::topology::Live;

    const CLUSTER: &str = r#"
cluster: demo
hosts:
  lb1: { address: 10.0.0.11, roles: [ lb ] }
  lb2: { address: 10.0.0.12, roles: [ lb ] }
  app1: { address: 10.0.0.21, roles: [ app, worker ] }
  app2: { address: 10.0.0.22, roles: [ app ] }
  jobs: { address: 10.0.0.23, roles: [ worker ] }
  db1: { address: 10.0.0.31, roles: [ db ], primary: true }
  db2: { address: 10.0.0.32, roles: [ db, redis ] }
  db3: { address: 10.0.0.33, roles: [ db, redis ] }
app: { kind: wsgi, url: "git://h/x", ref: main, module: "a:b" }
sites: [ { name: erp.example.com } ]
"#;

    /// A host that hactl made and that serves; of `bare` none of it is true.
    fn host(bare: bool) -> Observed {
        let mut seen = Observed::bare(Facts::assumed());
        let units = [
            "nginx.service",
            "mariadb.service",
            "redis-server@queue.service",
            "x.service",
        ];
        for unit in units {
            let state = UnitState {
                active: "active".into(),
                enabled: "enabled".into(),
                invocation: "1".into(),
                since: 5,
            };
            seen.units.insert(unit.into(), state);
        }
        if !bare {
            seen.facts.generation = "r0".into();
            let running = ProgramState {
                state: "RUNNING".into(),
                start: 1,
            };
            seen.programs = Some([("x:web".to_owned(), running)].into());
        }
        seen
    }

    /// A plan that loads a service again.
    fn reload(name: &str, role: &'static str) -> HostPlan {
        let mut seen = host(false);
        seen.paths
            .insert("/etc/x".into(), crate::resource::observed::PathState::foretold());
        let service = Service {
            unit: "x.service".into(),
            watches: vec!["/etc/x".into()],
            on_change: OnChange::Reload,
            health: "true".into(),
            patience: std::time::Duration::from_secs(1),
            forgets: Vec::new(),
        };
        let resource = Resource {
            role,
            stage: 0,
            spec: service.into(),
        };
        let desired = crate::plan::Desired {
            host: name.into(),
            resources: vec![resource],
        };
        build(&desired, &seen)
    }

    /// `HOST after OTHERS` for each host that waits, when all of `hosts` have something to do.
    fn waits(writer: &str, bare: &[&str], batch: u32, hosts: &[&str]) -> Vec<String> {
        let mut inventory = inventory(CLUSTER);
        inventory.rolling.batch = batch;
        let live = Live {
            writer: Some(writer.into()),
            ..Live::default()
        };
        let mut plan = Plan {
            version: String::new(),
            cluster: String::new(),
            fingerprint: String::new(),
            hosts: hosts.iter().map(|name| reload(name, "x")).collect(),
        };
        let answers: Vec<_> = hosts.iter().map(|name| host(bare.contains(name))).collect();
        let seen = hosts.iter().copied().zip(&answers).collect();
        take(&mut plan, Topology::living(&inventory, &live), &seen);
        let waiting = plan.hosts.iter().filter(|host| !host.after.is_empty());
        waiting
            .map(|host| format!("{} after {}", host.host, host.after.join(" ")))
            .collect()
    }

    #[test]
    fn hosts_that_serve_together_take_turns() {
        const ALL: &[&str] = &["lb1", "lb2", "app1", "app2", "jobs", "db1", "db2", "db3"];
        const DATABASES: &[&str] = &["db1", "db2", "db3"];
        type Hosts = &'static [&'static str];
        let cases: [(&str, Hosts, u32, Hosts, Hosts); 7] = [
            (
                "db1",
                &[],
                1,
                ALL,
                &[
                    "lb2 after lb1",
                    "app2 after app1",
                    "jobs after app1 app2",
                    "db1 after db2 db3",
                    "db3 after db2",
                ],
            ),
            // The primary was moved.
            ("db2", &[], 1, DATABASES, &["db2 after db1 db3", "db3 after db1"]),
            // Replicas side by side, the primary alone.
            ("db1", &[], 2, DATABASES, &["db1 after db2 db3"]),
            ("db1", &[], 2, &["app1", "app2", "jobs"], &["jobs after app1 app2"]),
            // Bare hosts all at once, and beside those that serve.
            ("db1", ALL, 1, ALL, &[]),
            (
                "db1",
                &["app2", "db3"],
                1,
                ALL,
                &["lb2 after lb1", "jobs after app1", "db1 after db2"],
            ),
            // Who has nothing to do keeps nobody waiting.
            ("db1", &[], 1, &["lb2", "app2", "db1"], &[]),
        ];
        for (writer, bare, batch, hosts, wanted) in cases {
            assert_eq!(
                waits(writer, bare, batch, hosts),
                wanted,
                "{writer} {bare:?} {batch} {hosts:?}"
            );
        }
    }

    /// Packages and plain files are brought to all hosts at once.
    #[test]
    fn what_nobody_can_feel_keeps_nobody_waiting() {
        let inventory = inventory(CLUSTER);
        let file = |name: &str| HostPlan {
            steps: build(
                &crate::plan::Desired {
                    host: name.into(),
                    resources: vec![Resource {
                        role: "x",
                        stage: 0,
                        spec: crate::resource::File::new("/etc/y", "y").into(),
                    }],
                },
                &host(false),
            )
            .steps,
            ..reload(name, "x")
        };
        let mut plan = Plan {
            version: String::new(),
            cluster: String::new(),
            fingerprint: String::new(),
            hosts: vec![file("app1"), file("app2")],
        };
        let serving = host(false);
        let seen = BTreeMap::from([("app1", &serving), ("app2", &serving)]);
        take(&mut plan, Topology::of(&inventory), &seen);
        assert!(plan.hosts.iter().all(|host| host.after.is_empty()));
    }
}
