//! Whether the hosts that are to keep copies of the files belong together: a host that was taken out and returns with an old
//! copy, or was made anew under its old address, must not be taken for what it was.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judgement, Refusal, Unclear};
use crate::inventory::Host;
use crate::resource::Ask;
use crate::resource::Observed;
use crate::role::gluster;
use crate::topology::{HostView, Topology};

const KEY: &str = "gluster";

/// What a host that is to have the volume is asked.
pub(super) fn questions(view: &HostView, ask: &mut Ask) {
    if gluster::used(view) {
        ask.test(KEY, include_str!("gluster.sh"));
    }
}

/// What GlusterFS has on a host.
#[derive(Debug, Default)]
struct Said<'a> {
    uuid: Option<&'a str>,
    /// Has the volume's description.
    volume: bool,
    /// Has a copy that was in use.
    copy: bool,
    /// Hosts of its cluster, by their ids and by their addresses.
    knows: BTreeSet<&'a str>,
    at: BTreeSet<&'a str>,
}

impl<'a> Said<'a> {
    fn of(seen: &'a Observed, volume: &str) -> Option<Self> {
        let mut said = Said::default();
        for line in seen.tests.get(KEY)?.output.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("uuid", uuid) => said.uuid = Some(uuid),
                ("volume", name) => said.volume |= name == volume,
                ("knows", uuid) => drop(said.knows.insert(uuid)),
                ("at", address) => drop(said.at.insert(address)),
                ("copy", _) => said.copy = true,
                _ => {}
            }
        }
        Some(said)
    }
}

impl Said<'_> {
    /// Whether the other one is of its cluster.
    fn know(&self, other: &Said) -> bool {
        other.uuid.is_some_and(|uuid| self.knows.contains(uuid))
    }
}

/// Refuses all hosts that run the application when one of those with copies is not what the others take it for.
pub(super) fn judge(topology: Topology, answers: &BTreeMap<&str, &Observed>, judgement: &mut Judgement) {
    let volume = gluster::volume(topology);
    let keepers = gluster::keepers(topology);
    let hosts = || topology.hosts().filter(gluster::used).map(|view| view.host);
    for host in hosts() {
        let said = answers.get(host.name.as_str()).and_then(|seen| seen.tests.get(KEY));
        if said.is_some_and(|said| said.output.lines().any(|line| line == "no fuse")) {
            judgement.refused.push(Refusal {
                host: host.name.clone(),
                message: format!(
                    "{} has no FUSE (/dev/fuse), without which `files: gluster` cannot be mounted; nothing was changed",
                    host.name
                ),
                hint: "a container needs the device from its host; or write `files: rsync`".into(),
            });
        }
    }
    let said: Vec<_> = keepers
        .into_iter()
        .filter_map(|host| Some((host, Said::of(answers.get(host.name.as_str())?, &volume)?)))
        .collect();
    let Some((message, hint)) = stranger(topology, &said) else {
        return;
    };
    let answered = hosts().filter(|host| answers.contains_key(host.name.as_str()));
    judgement.refused.extend(answered.map(|host| Refusal {
        host: host.name.clone(),
        message: format!("{}: {message}; nothing was changed", host.name),
        hint: hint.clone(),
    }));
}

/// The first thing that is not as it should be. Who is the odd one must be certain: its copy is given up.
fn stranger(topology: Topology, said: &[(&Host, Said)]) -> Option<Unclear> {
    let manages = gluster::keepers(topology).first().map(|host| host.name.as_str());
    let mut apart = None;
    for (host, of) in said {
        let name = &host.name;
        let others = || said.iter().filter(|(other, of)| other.name != *name && of.volume);
        let strange = || others().filter(|(_, theirs)| !theirs.know(of));
        // Without any volume there is nothing that it could be a copy of.
        if of.copy && !of.volume && others().next().is_none() {
            return Some(old_copy(name, &format!("there is no volume, and {name} has")));
        }
        let Some((other, _)) = strange().next() else {
            continue;
        };
        let address = host.address.to_string();
        let anew = strange().find(|(_, theirs)| !of.volume && theirs.at.contains(address.as_str()));
        if let Some((other, _)) = anew {
            let other = &other.name;
            return Some((
                format!(
                    "{other} knows {name} as a host with a copy of the files, and there is none: {name} was made anew"
                ),
                format!(
                    "take {name} out of the inventory and apply; then put it back, behind the other hosts, and apply again"
                ),
            ));
        }
        // It was taken out when it did not hear of it; or several others know each other, and not this one.
        let out = strange().find(|(_, theirs)| of.know(theirs));
        let circle = strange().find(|(_, theirs)| strange().any(|(_, third)| theirs.know(third) && third.know(theirs)));
        match out.or(circle) {
            Some((other, _)) if of.volume => {
                return Some(old_copy(
                    name,
                    &format!("{} does not know {name}, which has", other.name),
                ));
            }
            _ if of.volume => apart = apart.or(Some((name, &other.name))),
            _ if of.copy => {
                return Some(old_copy(
                    name,
                    &format!("{} does not know {name}, which has", other.name),
                ));
            }
            _ if manages == Some(name) => {
                let other = &other.name;
                return Some((
                    format!("{name} would manage the volume of the files, and has none; {other} has it"),
                    format!("put {name} behind {other} in the inventory"),
                ));
            }
            _ => {}
        }
    }
    apart.map(|(one, other)| {
        (
            format!("{one} and {other} have the volume of the files each, and do not know each other"),
            format!(
                "look at {}/copy/brick on both, and take the one whose files are old out of the inventory",
                gluster::BASE
            ),
        )
    })
}

fn old_copy(name: &str, why: &str) -> Unclear {
    (
        format!("{why} an old copy of the files"),
        format!(
            "when {name} has no file that is nowhere else, put its copy away there: systemctl stop hactl-gluster glusterd; \
             pkill -x glusterfsd; rm -rf /var/lib/glusterd/vols /var/lib/glusterd/peers; \
             mv -T {base}/copy/brick {base}/copy/old-$(date +%s)",
            base = gluster::BASE,
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::TestState;
    use crate::role::testing::inventory;

    const CLUSTER: &str = r#"
cluster: demo
hosts:
  app1: { address: 10.0.0.1, roles: [ app, worker, db, redis ] }
  app2: { address: 10.0.0.2, roles: [ app ] }
  app3: { address: 10.0.0.3, roles: [ app ] }
  app4: { address: 10.0.0.4, roles: [ app ] }
app: { kind: frappe, apps: [ { name: frappe, url: "git://h/frappe", ref: v15.1.0 } ] }
sites: [ { name: erp.example.com } ]
files: gluster
"#;

    const BARE: &str = "";
    /// The first three, as glusterd notes them: the one that was asked to know another notes an address.
    const ONE: &str = "uuid a\nvolume hactl-demo\nknows b\nat 10.0.0.2\nknows c\nat 10.0.0.3\ncopy\n";
    const TWO: &str = "uuid b\nvolume hactl-demo\nknows a\nat app1.example.com\nknows c\nat 10.0.0.3\ncopy\n";
    const THREE: &str = "uuid c\nvolume hactl-demo\nknows a\nat 10.0.0.1\nknows b\nat 10.0.0.2\ncopy\n";

    /// What is refused, without the hosts' names; all hosts must be refused alike, but those that are silent.
    fn verdict(said: [&str; 3]) -> String {
        let inventory = inventory(CLUSTER);
        let topology = Topology::of(&inventory);
        let seen: Vec<_> = ["app1", "app2", "app3", "app4"]
            .into_iter()
            .zip(said.into_iter().chain(["none"]))
            .filter(|(_, text)| *text != "silent")
            .map(|(name, text)| {
                let mut seen = Observed::bare(Facts::assumed());
                let output = text.to_owned();
                if text != "none" {
                    seen.tests.insert(KEY.into(), TestState { code: 0, output });
                }
                (name, seen)
            })
            .collect();
        let answers = seen.iter().map(|(name, seen)| (*name, seen)).collect();
        let mut judgement = Judgement::default();
        judge(topology, &answers, &mut judgement);
        let mut each = judgement.refused.iter().map(|refusal| {
            let message = refusal.message.strip_prefix(&format!("{}: ", refusal.host));
            message.expect("its name").to_owned()
        });
        let first = each.next().unwrap_or_default();
        assert!(first.is_empty() || each.filter(|other| *other == first).count() == seen.len() - 1);
        first
    }

    #[test]
    fn hosts_that_belong_together_or_are_new_are_taken() {
        for said in [
            [BARE, BARE, BARE],
            [ONE, TWO, THREE],
            [ONE, TWO, BARE],
            ["silent", TWO, THREE],
            ["silent", TWO, BARE],
            // Cut between the peers and the volume.
            [
                "uuid a\nknows b\nat 10.0.0.2\n",
                "uuid b\nknows a\nat 10.0.0.1\n",
                "uuid c\n",
            ],
        ] {
            // Of a new third one the others know nothing.
            let without = |text: &str| text.replace("knows c\nat 10.0.0.3\n", "");
            let said = match said[2] {
                BARE => [without(said[0]), without(said[1]), BARE.to_owned()],
                _ => said.map(str::to_owned),
            };
            assert_eq!(verdict([&said[0], &said[1], &said[2]]), "", "{said:?}");
        }
    }

    #[test]
    fn a_host_that_cannot_mount_is_refused() {
        let inventory = inventory(CLUSTER);
        let mut seen = Observed::bare(Facts::assumed());
        let output = "no fuse\n".to_owned();
        seen.tests.insert(KEY.into(), TestState { code: 0, output });
        let answers = [("app4", &seen)].into_iter().collect();
        let mut judgement = Judgement::default();
        judge(Topology::of(&inventory), &answers, &mut judgement);
        let [refused] = &judgement.refused[..] else {
            panic!("{:?}", judgement.refused)
        };
        assert!(refused.message.starts_with("app4 has no FUSE"), "{}", refused.message);
    }

    #[test]
    fn hosts_that_are_not_what_they_were_are_refused() {
        let without = |text: &str, id: &str, address: &str| text.replace(&format!("knows {id}\nat {address}\n"), "");
        let (one, two) = (without(ONE, "c", "10.0.0.3"), without(TWO, "c", "10.0.0.3"));
        for (said, expected) in [
            (
                [one.as_str(), two.as_str(), THREE],
                "app1 does not know app3, which has an old copy of the files; nothing was changed",
            ),
            // It knows the others, which do not know it, and would be the one that manages.
            (
                [
                    ONE,
                    &without(TWO, "a", "app1.example.com"),
                    &without(THREE, "a", "10.0.0.1"),
                ],
                "app2 does not know app1, which has an old copy of the files; nothing was changed",
            ),
            // It was taken out while it was off, and has not heard of one that came later.
            (
                [
                    one.as_str(),
                    two.as_str(),
                    "uuid c\nvolume hactl-demo\nknows x\nat 10.0.0.9\ncopy\n",
                ],
                "app1 does not know app3, which has an old copy of the files; nothing was changed",
            ),
            (
                [
                    one.as_str(),
                    two.as_str(),
                    "uuid c\nvolume hactl-demo\nknows b\nat 10.0.0.2\ncopy\n",
                ],
                "app2 does not know app3, which has an old copy of the files; nothing was changed",
            ),
            // Nobody can tell which one is old.
            (
                [
                    &without(&one, "b", "10.0.0.2"),
                    "silent",
                    "uuid c\nvolume hactl-demo\ncopy\n",
                ],
                "app1 and app3 have the volume of the files each, and do not know each other; nothing was changed",
            ),
            (
                [one.as_str(), two.as_str(), "uuid c\ncopy\n"],
                "app1 does not know app3, which has an old copy of the files; nothing was changed",
            ),
            (
                [ONE, TWO, BARE],
                "app1 knows app3 as a host with a copy of the files, and there is none: app3 was made anew; nothing was changed",
            ),
            (
                [ONE, TWO, "uuid z\n"],
                "app1 knows app3 as a host with a copy of the files, and there is none: app3 was made anew; nothing was changed",
            ),
            (
                [
                    BARE,
                    &without(TWO, "a", "app1.example.com"),
                    &without(THREE, "a", "10.0.0.1"),
                ],
                "app1 would manage the volume of the files, and has none; app2 has it; nothing was changed",
            ),
            (
                ["uuid a\ncopy\n", BARE, "silent"],
                "there is no volume, and app1 has an old copy of the files; nothing was changed",
            ),
        ] {
            assert_eq!(verdict(said), expected, "{said:?}");
        }
    }
}
