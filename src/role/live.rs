//! Who leads right now, worked out from what the hosts said; and which hosts hactl must not touch because of it.

mod gluster;
mod redis;

use std::collections::{BTreeMap, BTreeSet};

use super::peers;
use crate::inventory::{Host, HostRole};
use crate::quote::terminal;
use crate::resource::gtid::GtidState;
use crate::resource::replication::{self, Replication, held_off};
use crate::resource::{Ask, Observed};
use crate::topology::{HostView, Live, Topology};

/// sshd's own public key.
const SSH_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// What the hosts' answers come to.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Who leads.
    pub live: Live,
    /// Hosts that must stay as they are, and why.
    pub refused: Vec<Refusal>,
}

/// A host that hactl must not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub host: String,
    /// Why.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What a host is asked so that others can be configured.
pub fn questions(view: &HostView) -> Ask {
    let mut ask = Ask::default();
    if view.topology.replicates() && view.has(HostRole::Db) {
        ask.test(replication::KEY, replication::QUESTION);
    }
    if !peers::acquainted(view.topology, view.host).is_empty() {
        ask.lines.insert(SSH_KEY.into());
    }
    if view.topology.redis_replicates() && view.has(HostRole::Redis) {
        redis::questions(view.topology, &mut ask);
    }
    gluster::questions(view, &mut ask);
    ask
}

/// Who might turn out to lead, as far as it changes what `host` is asked: so one round trip is enough after a role has
/// moved, too.
pub fn possible(topology: Topology, host: &Host) -> Vec<Live> {
    let acquainted = peers::acquainted(topology, host);
    let ssh_keys: BTreeMap<_, _> = acquainted
        .iter()
        .map(|host| (host.name.clone(), String::new()))
        .collect();
    let mut possible = vec![Live {
        ssh_keys: ssh_keys.clone(),
        ..Live::UNKNOWN
    }];
    if topology.replicates() && host.roles.contains(&HostRole::Db) {
        let other = topology.with_role(HostRole::Db).find(|other| other.name != host.name);
        possible.extend([Some(host), other].into_iter().flatten().map(|writer| Live {
            writer: Some(writer.name.clone()),
            ssh_keys: ssh_keys.clone(),
            ..Live::UNKNOWN
        }));
    }
    possible
}

/// The hosts that must be asked besides `wanted`, so that it is known who leads, and by which keys peers are recognized.
pub fn also_needed<'a>(topology: Topology<'a>, wanted: &[&'a Host]) -> Vec<&'a Host> {
    let among = |hosts: &[&Host], name: &str| hosts.iter().any(|host| host.name == name);
    let stores = wanted.iter().any(|host| host.roles.contains(&HostRole::Redis)) && topology.redis_replicates();
    let stores = topology.with_role(HostRole::Redis).filter(|_| stores);
    let peers = wanted.iter().flat_map(|host| peers::acquainted(topology, host));
    let mut needed: Vec<&Host> = Vec::new();
    for host in peers.chain(stores) {
        if !among(wanted, &host.name) && !among(&needed, &host.name) {
            needed.push(host);
        }
    }
    needed
}

/// Judges the answers of the hosts that gave any.
pub fn judge(topology: Topology, answers: &BTreeMap<&str, &Observed>) -> Judgement {
    let mut judgement = Judgement::default();
    ssh_keys(topology, answers, &mut judgement.live);
    if topology.replicates() {
        databases(topology, answers, &mut judgement);
    }
    if topology.redis_replicates() {
        redis::judge(topology, answers, &mut judgement);
    }
    gluster::judge(topology, answers, &mut judgement);
    judgement
}

/// Refuses every host that has the role and answered.
fn refuse(
    topology: Topology,
    answers: &BTreeMap<&str, &Observed>,
    role: HostRole,
    (message, hint): &Unclear,
    judgement: &mut Judgement,
) {
    let hosts = topology
        .with_role(role)
        .filter(|host| answers.contains_key(host.name.as_str()));
    judgement.refused.extend(hosts.map(|host| Refusal {
        host: host.name.clone(),
        message: format!("{}: {message}; nothing was changed", host.name),
        hint: hint.clone(),
    }));
}

/// The keys by which hosts are recognized.
fn ssh_keys(topology: Topology, answers: &BTreeMap<&str, &Observed>, live: &mut Live) {
    for host in topology.inventory.hosts.values() {
        let key = answers.get(host.name.as_str()).and_then(|seen| seen.lines.get(SSH_KEY));
        // Type and key; the comment is none of anybody's business.
        let words: Vec<_> = key.map(|line| line.split(' ').take(2).collect()).unwrap_or_default();
        if let [kind, key] = words.as_slice()
            && *kind == "ssh-ed25519"
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        {
            live.ssh_keys.insert(host.name.clone(), format!("{kind} {key}"));
        }
    }
}

/// Judges what the databases said.
fn databases(topology: Topology, answers: &BTreeMap<&str, &Observed>, judgement: &mut Judgement) {
    let databases = Databases::of(topology, answers);
    judgement.live.replaced = databases.replaced.iter().map(|name| (*name).to_owned()).collect();
    judgement.refused.extend(databases.held_off());
    match databases.writer() {
        Ok(writer) => judgement.live.writer = writer,
        Err(unclear) => return refuse(topology, answers, HostRole::Db, &unclear, judgement),
    }
    judgement.live.lone = topology.replicates() && databases.lone(judgement.live.writer.as_deref());
    let errant = databases.errant(judgement.live.writer.as_deref());
    judgement.refused.extend(errant);
}

/// The database servers and what they said; `None` for one that has no MariaDB, no entry for one that did not answer.
struct Databases<'a> {
    hosts: Vec<&'a Host>,
    said: BTreeMap<&'a str, Option<Replication>>,
    /// Those whose place was taken, and that have not rejoined.
    replaced: BTreeSet<&'a str>,
}

/// Why it cannot be told who leads, and what to do.
type Unclear = (String, String);

impl<'a> Databases<'a> {
    fn of(topology: Topology<'a>, answers: &BTreeMap<&str, &Observed>) -> Self {
        let hosts: Vec<_> = topology.with_role(HostRole::Db).collect();
        let said = hosts
            .iter()
            .filter_map(|host| Some((host.name.as_str(), Replication::seen(answers.get(host.name.as_str())?))))
            .collect();
        let mut databases = Databases {
            hosts,
            said,
            replaced: BTreeSet::new(),
        };
        databases.replaced = databases.replaced();
        databases
    }

    fn replaced(&self) -> BTreeSet<&'a str> {
        let said = || {
            self.said
                .iter()
                .filter_map(|(name, said)| Some((*name, said.as_ref()?)))
        };
        let fenced = said().filter(|(_, said)| said.fenced.is_some()).map(|(name, _)| name);
        let all: Vec<_> = said().collect();
        let named = self.hosts.iter().filter(|host| !held_off(&all, &host.name).is_empty());
        fenced.chain(named.map(|host| host.name.as_str())).collect()
    }

    /// Hosts that must be left alone until they have rejoined.
    fn held_off(&self) -> Vec<Refusal> {
        let answered = self.replaced.iter().filter(|name| self.said.contains_key(**name));
        let refusal = |name: &&str| {
            let why = self.said.get(*name).and_then(|said| said.as_ref()?.fenced.as_deref());
            Refusal {
                host: (*name).to_owned(),
                message: match why {
                    Some(why) => format!("{name}: its MariaDB is held off {}; nothing was changed", terminal(why)),
                    None => format!(
                        "{name}: another took its place as the primary, and it has not rejoined; nothing was changed"
                    ),
                },
                hint: format!("hactl rejoin {name}"),
            }
        };
        answered.map(refusal).collect()
    }

    fn with_data(&self) -> impl Iterator<Item = (&'a str, &Replication)> {
        let said = self
            .said
            .iter()
            .filter_map(|(name, said)| Some((*name, said.as_ref()?)));
        said.filter(|(name, said)| !said.is_virgin() && !said.no_data && !self.replaced.contains(name))
    }

    /// Who takes the writes; `None` where there are no data yet.
    fn writer(&self) -> Result<Option<String>, Unclear> {
        let open: Vec<_> = self
            .with_data()
            .filter(|(_, said)| said.is_writer())
            .map(|(name, _)| name)
            .collect();
        match open.as_slice() {
            [one] => return Ok(Some((*one).to_owned())),
            [first, second, ..] => {
                return Err((
                    format!("two servers take writes, {first} and {second}"),
                    "close the wrong one at once: mariadb -e 'SET GLOBAL read_only=ON' there; then look which of them has \
                     what the other lacks"
                        .into(),
                ));
            }
            [] => {}
        }
        let mut followed: Vec<&str> = Vec::new();
        for (_, said) in self.with_data() {
            for link in &said.sources {
                let hosts = self
                    .hosts
                    .iter()
                    .filter(|host| !self.replaced.contains(host.name.as_str()));
                let host = hosts.into_iter().find(|host| host.address.to_string() == link.host);
                followed.extend(host.map(|host| host.name.as_str()));
            }
        }
        followed.sort_unstable();
        followed.dedup();
        match followed.as_slice() {
            [one] => self.closed(one).map(|()| Some((*one).to_owned())),
            [] => self.first(),
            [first, second, ..] => Err((
                format!("replicas follow different servers, {first} and {second}, and none takes writes"),
                "find out which one leads, and point the others at it".into(),
            )),
        }
    }

    /// A server that is followed but takes no writes: whether it may be opened.
    fn closed(&self, name: &str) -> Result<(), Unclear> {
        match self.said.get(name) {
            Some(Some(said)) if said.is_virgin() || said.no_data => Err((
                format!("{name}, which the others follow, has lost its data; they still have them"),
                "promote one of the others before anything else: its data are the only ones".into(),
            )),
            _ => Ok(()),
        }
    }

    /// Nobody takes writes and nobody follows anybody.
    fn first(&self) -> Result<Option<String>, Unclear> {
        let with_data: Vec<_> = self.with_data().map(|(name, _)| name).collect();
        let silent: Vec<_> = self
            .hosts
            .iter()
            .filter(|host| !self.said.contains_key(host.name.as_str()) && !self.replaced.contains(host.name.as_str()))
            .collect();
        match (with_data.as_slice(), silent.as_slice()) {
            ([], []) => Ok(None),
            ([one], []) => Ok(Some((*one).to_owned())),
            (_, [silent, ..]) => Err((
                format!(
                    "it cannot be told which server leads while {} does not answer",
                    silent.name
                ),
                "bring it back, or take it out of the inventory".into(),
            )),
            ([first, second, ..], []) => Err((
                format!("{first} and {second} both hold data, and neither takes writes or follows the other"),
                "open the right one by hand (SET GLOBAL read_only=OFF) after comparing their gtid_binlog_state".into(),
            )),
        }
    }

    /// Whether nobody follows the writer, and nobody is made to.
    fn lone(&self, writer: Option<&str>) -> bool {
        let mut others = self.hosts.iter().filter(|host| Some(host.name.as_str()) != writer);
        writer.is_some()
            && others.all(|host| match self.said.get(host.name.as_str()) {
                None => true,
                Some(None) => false,
                Some(Some(said)) => said.is_old_primary() || (said.error.is_some() && !said.no_data),
            })
    }

    /// Hosts with transactions that the writer never had.
    fn errant(&self, writer: Option<&str>) -> Vec<Refusal> {
        let Some((name, Some(Some(primary)))) = writer.map(|name| (name, self.said.get(name))) else {
            return Vec::new();
        };
        let nothing = GtidState::default();
        let mut refused = Vec::new();
        for (host, said) in self.with_data().filter(|(host, _)| *host != name) {
            let lost = said.lost(&primary.given_up);
            if !lost.is_empty() {
                let list = terminal(&lost.join(", "));
                refused.push(Refusal {
                    host: host.to_owned(),
                    message: format!(
                        "{host} was away when {name} was restored from a backup, and has what was given up then ({list}); nothing \
                         was changed"
                    ),
                    hint: format!("hactl rejoin {host} saves that in a file; with --rebuild it copies {name} anew"),
                });
                continue;
            }
            // A primary that was never seeded says nothing about what is older than it.
            let seeded = if primary.seeded.is_empty() {
                &nothing
            } else {
                &primary.seeded
            };
            // The writer's own transactions of the moments between the two questions are no differences.
            let own = self
                .hosts
                .iter()
                .find(|other| other.name == name)
                .map(|host| super::mariadb::server_id(host.address));
            let errant: Vec<_> = said
                .logged
                .errant(&primary.logged, seeded)
                .into_iter()
                .filter(|gtid| gtid.split('-').nth(1).and_then(|id| id.parse().ok()) != own)
                .collect();
            if !errant.is_empty() {
                let list = terminal(&errant.join(", "));
                refused.push(Refusal {
                    host: host.to_owned(),
                    message: format!("{host} holds transactions that {name} never had ({list}); nothing was changed"),
                    hint: format!(
                        "look at them there with mariadb-binlog; to give them up, stop MariaDB on {host} and empty \
                         /var/lib/mysql: the next apply copies {name} anew"
                    ),
                });
            }
        }
        refused
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
  app: { address: 10.0.0.1, roles: [ app, worker, redis ] }
  db1: { address: 10.0.0.31, roles: [ db ], primary: true }
  db2: { address: 10.0.0.32, roles: [ db ] }
  db3: { address: 10.0.0.33, roles: [ db ] }
app: { kind: wsgi, url: "git://h/x", ref: main, module: "a:b" }
sites: [ { name: erp.example.com } ]
"#;

    const OPEN: &str = "read_only=0\nown_databases=1\nbinlog_state=0-167772191-9\n";
    const CLOSED: &str = "read_only=1\nown_databases=1\nbinlog_state=0-167772191-9\n";
    const VIRGIN: &str = "read_only=1\nown_databases=0\n";
    const OF1: &str =
        "Connection_name=\nMaster_Host=10.0.0.31\nread_only=1\nown_databases=1\nbinlog_state=0-167772191-9\n";
    const OF2: &str =
        "Connection_name=\nMaster_Host=10.0.0.32\nread_only=1\nown_databases=1\nbinlog_state=0-167772191-9\n";
    const ERRANT: &str = "Connection_name=\nMaster_Host=10.0.0.31\nread_only=1\nown_databases=1\n\
                          binlog_state=0-167772191-12,0-3-10\n";

    fn verdict(said: [&str; 3]) -> String {
        let inventory = inventory(CLUSTER);
        let mut hosts = Vec::new();
        for (name, text) in ["db1", "db2", "db3"].into_iter().zip(said) {
            let mut seen = Observed::bare(Facts::assumed());
            let output = text.to_owned();
            seen.tests
                .insert(replication::KEY.into(), TestState { code: 0, output });
            seen.lines
                .insert(SSH_KEY.into(), format!("ssh-ed25519 AAAA{name} root@x"));
            if text != "silent" {
                hosts.push((name, seen));
            }
        }
        let answers = hosts.iter().map(|(name, seen)| (*name, seen)).collect();
        let judgement = judge(Topology::of(&inventory), &answers);
        let mut out = judgement.live.writer.unwrap_or_else(|| "nobody yet".into());
        for refusal in judgement.refused {
            out += &format!("\n{}", refusal.message);
        }
        out
    }

    #[test]
    fn live_roles_are_told_from_what_hosts_say() {
        let cases = [
            ([VIRGIN, VIRGIN, "mariadb: not found"], "nobody yet"),
            ([OPEN, VIRGIN, VIRGIN], "db1"),
            // cut off in a first apply, then booted: closed
            ([CLOSED, VIRGIN, VIRGIN], "db1"),
            ([OPEN, OF1, OF1], "db1"),
            // rebooted: closed, still followed
            ([CLOSED, OF1, OF1], "db1"),
            // a replica was promoted by hand; the old primary follows, is gone, or waits
            ([OF2, OPEN, OF2], "db2"),
            (["silent", OPEN, OF2], "db2"),
            ([CLOSED, OPEN, OF2], "db2"),
            // two of them
            (
                [OPEN, OPEN, OF2],
                "nobody yet\ndb1: two servers take writes, db1 and db2; nothing was changed\n\
                 db2: two servers take writes, db1 and db2; nothing was changed\n\
                 db3: two servers take writes, db1 and db2; nothing was changed",
            ),
            // lost its data, but not its followers
            (
                [VIRGIN, OF1, "silent"],
                "nobody yet\ndb1: db1, which the others follow, has lost its data; they still have them; nothing was changed\n\
                 db2: db1, which the others follow, has lost its data; they still have them; nothing was changed",
            ),
            (
                [CLOSED, CLOSED, "silent"],
                "nobody yet\ndb1: it cannot be told which server leads while db3 does not answer; nothing was changed\n\
                 db2: it cannot be told which server leads while db3 does not answer; nothing was changed",
            ),
            (
                [OPEN, ERRANT, OF1],
                "db1\ndb2 holds transactions that db1 never had (0-3-10); nothing was changed",
            ),
        ];
        for (said, wanted) in cases {
            assert_eq!(verdict(said), wanted, "{said:?}");
        }
    }

    /// The one that is left serves, whatever has become of the others.
    #[test]
    fn a_writer_whom_nobody_will_follow_is_told_apart() {
        let (of_pair, of_cluster) = (pair(GUESTBOOK), CLUSTER.to_owned());
        let of_writer = "Connection_name=\nMaster_Host=10.77.0.11\nread_only=1\nown_databases=1\n";
        let copy = "read_only=1\nown_databases=1\nseeded=0-1-5\n";
        for (said, lone) in [
            ("silent", true),
            (CLOSED, true),
            ("error=ERROR 2002\nown_databases=1\n", true),
            ("mariadb: not found", false),
            (VIRGIN, false),
            ("error=ERROR 2002\nno_data=1\n", false),
            (of_writer, false),
            (copy, false),
        ] {
            for (text, hosts) in [
                (&of_pair, [("srv1", OPEN), ("srv2", said)].as_slice()),
                (&of_cluster, &[("db1", OPEN), ("db2", "silent"), ("db3", said)]),
            ] {
                let inventory = inventory(text);
                let hosts: Vec<_> = hosts
                    .iter()
                    .filter(|(_, said)| *said != "silent")
                    .map(|(name, said)| {
                        let mut seen = Observed::bare(Facts::assumed());
                        let output = (*said).to_owned();
                        seen.tests
                            .insert(replication::KEY.into(), TestState { code: 0, output });
                        (*name, seen)
                    })
                    .collect();
                let answers = hosts.iter().map(|(name, seen)| (*name, seen)).collect();
                let mut judgement = Judgement::default();
                databases(Topology::of(&inventory), &answers, &mut judgement);
                assert_eq!(judgement.live.writer.as_deref(), Some(hosts[0].0), "{said}");
                assert_eq!(judgement.live.lone, lone, "{said}");
            }
        }
    }

    #[test]
    fn who_leads_is_asked_of_all_databases_even_when_one_is_meant() {
        let inventory = inventory(CLUSTER);
        let topology = Topology::of(&inventory);
        let names = |wanted: &str| {
            let wanted = [&inventory.hosts[wanted]];
            also_needed(topology, &wanted)
                .iter()
                .map(|host| host.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("db2"), ["db1", "db3"]);
        assert!(names("app").is_empty());
    }
}
