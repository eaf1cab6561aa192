//! Who leads each set of Redis: by the word of most sentinels, else by who follows whom.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judgement, Unclear, refuse};
use crate::inventory::{Host, HostRole};
use crate::quote::terminal;
use crate::resource::redis_set::{RedisSaid, SentinelSaid};
use crate::resource::{Ask, Observed};
use crate::role::{redis, sentinel};
use crate::topology::Topology;

/// What a host with Redis is asked.
pub(super) fn questions(topology: Topology, ask: &mut Ask) {
    for instance in redis::instances(&topology.inventory.redis) {
        instance.in_set().ask(ask);
        sentinel::of_set(instance.name).ask(ask);
    }
}

/// Judges the answers, set by set.
pub(super) fn judge(topology: Topology, answers: &BTreeMap<&str, &Observed>, judgement: &mut Judgement) {
    let writer_of_pair = judgement.live.writer.clone().filter(|_| topology.is_pair());
    for instance in redis::instances(&topology.inventory.redis) {
        let set = Set::of(topology, answers, &instance);
        match set.leader(writer_of_pair.as_deref()) {
            Ok(Some(leader)) => {
                judgement.live.redis.insert(instance.name.into(), leader);
            }
            Ok(None) => {}
            Err(unclear) => return refuse(topology, answers, HostRole::Redis, &unclear, judgement),
        }
    }
}

/// A set: its hosts and what they said; no entry for one that did not answer, `None` for one that has no Redis.
struct Set<'a> {
    name: &'static str,
    unit: String,
    hosts: Vec<&'a Host>,
    said: BTreeMap<&'a str, Option<RedisSaid>>,
    sentinels: Vec<SentinelSaid>,
}

impl<'a> Set<'a> {
    fn of(topology: Topology<'a>, answers: &BTreeMap<&str, &Observed>, instance: &redis::Instance) -> Self {
        let hosts: Vec<_> = topology.with_role(HostRole::Redis).collect();
        let answered = hosts
            .iter()
            .filter_map(|host| Some((host.name.as_str(), *answers.get(host.name.as_str())?)));
        let sentinel = sentinel::of_set(instance.name);
        let asked = instance.in_set();
        Set {
            name: instance.name,
            unit: instance.unit(),
            said: answered.clone().map(|(name, seen)| (name, asked.seen(seen))).collect(),
            sentinels: answered.filter_map(|(_, seen)| sentinel.seen(seen)).collect(),
            hosts,
        }
    }

    fn at(&self, address: &str) -> Option<&'a Host> {
        let address: std::net::IpAddr = address.parse().ok()?;
        self.hosts.iter().find(|host| host.address == address).copied()
    }

    /// Those that answered and take writes.
    fn leading(&self) -> impl Iterator<Item = (&'a str, &RedisSaid)> {
        let said = self
            .said
            .iter()
            .filter_map(|(name, said)| Some((*name, said.as_ref()?)));
        said.filter(|(_, said)| said.leads())
    }

    /// Who leads; `None` where the inventory decides, since there is nothing yet. Of a pair, `writer` takes MariaDB's writes:
    /// when its Redis leads, too, and the other host is silent, nobody else is asked for by anything that runs.
    fn leader(&self, writer: Option<&str>) -> Result<Option<String>, Unclear> {
        if let Some(address) = self.elected() {
            return match self.at(address) {
                Some(host) => Ok(Some(host.name.clone())),
                None => Err((
                    format!(
                        "redis {}: {} leads, and is not in the inventory",
                        self.name,
                        terminal(address)
                    ),
                    format!(
                        "keep it in the inventory, let another take over on one of its hosts (redis-cli -p {} SENTINEL \
                         FAILOVER {}), then take it out",
                        sentinel::PORT,
                        self.name
                    ),
                )),
            };
        }
        let followed: Vec<_> = self.leading().filter(|(_, said)| !said.replicas.is_empty()).collect();
        match followed.as_slice() {
            [(one, _)] => return Ok(Some((*one).to_owned())),
            [(first, _), (second, _), ..] => return Err(self.two(first, second)),
            [] => {}
        }
        if let Some(writer) = writer
            && self.silent().is_some_and(|silent| silent != writer)
            && self.leading().any(|(name, _)| name == writer)
        {
            return Ok(Some(writer.to_owned()));
        }
        // What one that takes writes holds, nobody else may have; and who is followed may be down.
        let holds = self.leading().filter(|(_, said)| said.has_data).map(|(name, _)| name);
        let candidates: BTreeSet<&str> = holds.chain(self.followed()).collect();
        let mut candidates = candidates.into_iter();
        let silent = self.silent().filter(|_| self.followed().next().is_none());
        match (candidates.next(), candidates.next(), silent) {
            (Some(first), Some(second), _) => Err(self.two(first, second)),
            (_, None, Some(silent)) if self.said.values().any(Option::is_some) => Err(self.unknown(silent)),
            (one, _, _) => Ok(one.map(str::to_owned)),
        }
    }

    /// The address that most sentinels of the set name. A majority of those that should be there: fewer may be cut off.
    fn elected(&self) -> Option<&str> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for said in &self.sentinels {
            *votes.entry(said.leader.address.as_str()).or_default() += 1;
        }
        let (address, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 2 > self.hosts.len()).then_some(address)
    }

    /// Hosts of the set that others follow.
    fn followed(&self) -> impl Iterator<Item = &'a str> {
        let links = self.said.values().flatten().filter_map(|said| said.follows.as_ref());
        links
            .filter_map(|(address, _)| self.at(address))
            .map(|host| host.name.as_str())
    }

    fn silent(&self) -> Option<&'a str> {
        let mut names = self.hosts.iter().map(|host| host.name.as_str());
        names.find(|name| !self.said.contains_key(name))
    }

    fn two(&self, first: &str, second: &str) -> Unclear {
        (
            format!(
                "redis {}: {first} and {second} both lead, and no majority of sentinels says which",
                self.name
            ),
            format!(
                "find out which one holds what counts; on the other, stop {} and empty /var/lib/redis/{}",
                self.unit, self.name
            ),
        )
    }

    fn unknown(&self, silent: &str) -> Unclear {
        (
            format!(
                "redis {}: it cannot be told who leads while {silent} does not answer",
                self.name
            ),
            "bring it back, or take it out of the inventory".into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::TestState;
    use crate::role::testing::{GUESTBOOK, inventory, pair};

    const CLUSTER: &str = r#"
cluster: demo
hosts:
  app: { address: 10.0.0.1, roles: [ app, worker, db ] }
  rd1: { address: 10.0.0.41, roles: [ redis ] }
  rd2: { address: 10.0.0.42, roles: [ redis ] }
  rd3: { address: 10.0.0.43, roles: [ redis ] }
app: { kind: wsgi, url: "git://h/x", ref: main, module: "a:b" }
sites: [ { name: erp.example.com } ]
"#;

    /// What hosts say, as `PART SENTINEL`: `0` leads and holds nothing, `0d` leads with data, `0s` leads and is followed,
    /// `2` follows rd2, `-` no Redis; then whom the sentinel names. `silent`: no answer.
    fn verdict(said: [&str; 3]) -> String {
        let inventory = inventory(CLUSTER);
        let mut hosts = Vec::new();
        for (name, text) in ["rd1", "rd2", "rd3"].into_iter().zip(said) {
            let Some((part, sentinel)) = text.split_once(' ') else {
                continue;
            };
            let mut seen = Observed::bare(Facts::assumed());
            let part = match part {
                "-" => None,
                "0" => Some("role=master".to_owned()),
                "0d" => Some("role=master\ndb0=keys=1".to_owned()),
                "0s" => Some("role=master\nslave0=ip=10.0.0.43,state=online,lag=0".to_owned()),
                n => Some(format!(
                    "role=slave\nmaster_host=10.0.0.4{n}\nmaster_port=1\ndb0=keys=1"
                )),
            };
            let sentinel = (sentinel != "-").then(|| format!("ip=10.0.0.4{sentinel}\nport=1\nflags=master\nquorum=2"));
            for set in ["cache", "queue"] {
                for (key, output) in [("redis set", &part), ("sentinel", &sentinel)] {
                    if let Some(output) = output {
                        let output = output.clone();
                        seen.tests.insert(format!("{key} {set}"), TestState { code: 0, output });
                    }
                }
            }
            hosts.push((name, seen));
        }
        let answers = hosts.iter().map(|(name, seen)| (*name, seen)).collect();
        let judgement = super::super::judge(Topology::of(&inventory), &answers);
        match judgement.refused.first() {
            Some(refusal) => refusal.message.clone(),
            None => judgement
                .live
                .redis
                .get("queue")
                .cloned()
                .unwrap_or_else(|| "nobody yet".into()),
        }
    }

    /// Of a pair: `srv2` takes MariaDB's writes; what the two Redis say, as role and keys.
    #[test]
    fn of_a_pair_one_beside_the_writer_leads_while_the_other_is_silent() {
        let inventory = inventory(&pair(GUESTBOOK));
        let verdict = |said: [&str; 2]| {
            let hosts: Vec<_> = ["srv1", "srv2"]
                .into_iter()
                .zip(said)
                .filter(|(_, said)| *said != "silent")
                .map(|(name, said)| {
                    let mut seen = Observed::bare(Facts::assumed());
                    let output = said.to_owned();
                    let state = TestState { code: 0, output };
                    seen.tests.insert("redis set queue".into(), state);
                    (name, seen)
                })
                .collect();
            let answers = hosts.iter().map(|(name, seen)| (*name, seen)).collect();
            let mut judgement = Judgement::default();
            judgement.live.writer = Some("srv2".into());
            judge(Topology::of(&inventory), &answers, &mut judgement);
            match judgement.refused.first() {
                Some(refusal) => refusal.message.split(';').next().unwrap_or_default().to_owned(),
                None => {
                    let live = judgement.live;
                    let leader = Topology::living(&inventory, &live).redis_leader("queue");
                    leader.unwrap().name.clone()
                }
            }
        };
        let (data, empty) = ("role=master\ndb0=keys=1", "role=master");
        let of_srv1 = "role=slave\nmaster_host=10.77.0.11\nmaster_port=1\ndb0=keys=1";
        assert_eq!(verdict(["silent", data]), "srv2");
        assert_eq!(verdict(["silent", empty]), "srv2");
        assert_eq!(verdict([empty, empty]), "srv2");
        // MariaDB alone has moved: nobody points Redis after it.
        assert_eq!(verdict([data, of_srv1]), "srv1");
        assert_eq!(verdict(["silent", of_srv1]), "srv1");
        assert!(verdict([data, data]).contains("both lead"));
        // Beside the writer nobody leads; the other one might.
        assert!(verdict([data, "silent"]).contains("cannot be told"));
    }

    #[test]
    fn leaders_are_told_from_what_hosts_say() {
        let two = |names| {
            format!("rd1: redis cache: {names} both lead, and no majority of sentinels says which; nothing was changed")
        };
        let cases = [
            (["- -", "- -", "- -"], "nobody yet".to_owned()),
            // bare hosts, one of which cannot be reached
            (["- -", "- -", "silent"], "nobody yet".into()),
            (["0 -", "- -", "- -"], "nobody yet".into()),
            // a single one that others join
            (["- -", "0d -", "- -"], "rd2".into()),
            (["0 -", "0d -", "- -"], "rd2".into()),
            (["0s 1", "1 1", "1 1"], "rd1".into()),
            // promoted; the old one is gone, has just returned, or follows
            (["silent", "0s 2", "2 2"], "rd2".into()),
            (["0d 1", "0s 2", "2 2"], "rd2".into()),
            (["2 2", "0s 2", "2 2"], "rd2".into()),
            // about to be: nobody is pointed anywhere
            (["silent", "1 1", "1 1"], "rd1".into()),
            // without sentinels: who is followed leads
            (["0d -", "0s -", "2 -"], "rd2".into()),
            (["silent", "1 -", "1 -"], "rd1".into()),
            (
                ["silent", "0d -", "- -"],
                "rd2: redis cache: it cannot be told who leads while rd1 does not answer; nothing was changed".into(),
            ),
            (["0d -", "0d -", "- -"], two("rd1 and rd2")),
            (["0s -", "0s -", "2 -"], two("rd1 and rd2")),
            (["0d -", "- -", "2 -"], two("rd1 and rd2")),
            // fewer than a majority of sentinels are no majority
            (["0d 1", "0d 2", "- -"], two("rd1 and rd2")),
            (
                ["3 9", "3 9", "- 9"],
                "rd1: redis cache: 10.0.0.49 leads, and is not in the inventory; nothing was changed".into(),
            ),
        ];
        for (said, wanted) in cases {
            assert_eq!(verdict(said), wanted, "{said:?}");
        }
    }
}
