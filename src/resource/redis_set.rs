//! What a Redis and the sentinel beside it say of the set that they belong to.

use super::observed::TestState;
use super::redis::FUNCTIONS;
use super::{Ask, Observed};
use crate::quote::sh;

/// Where to ask a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisInstance {
    /// Name of the set that it is in, e.g. `cache`.
    pub set: String,
    /// Its configuration, which says the port.
    pub config: String,
    /// The file that holds its password.
    pub password_file: String,
}

/// Where to ask a sentinel for a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelInstance {
    /// Name of the set.
    pub set: String,
    /// The sentinel's configuration, which says port and password.
    pub config: String,
}

/// What a Redis says of its part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisSaid {
    /// Why it could not be asked.
    pub error: Option<String>,
    /// Whom it follows, and on which port; `None` when it takes the writes.
    pub follows: Option<(String, u16)>,
    /// Whether its link to whom it follows is up.
    pub link_up: bool,
    /// Whether it holds anything.
    pub has_data: bool,
    /// Those who follow it.
    pub replicas: Vec<FollowerSaid>,
}

/// A replica, seen from the one that it follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowerSaid {
    /// Its address.
    pub address: String,
    /// Whether it has all data, and gets what is new.
    pub online: bool,
    /// Seconds since it acknowledged something.
    pub lag: u64,
}

/// What a sentinel says of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelSaid {
    /// Who leads; its flags, e.g. `master,s_down`, and its port.
    pub leader: Known,
    /// How many must agree that the leader is gone.
    pub quorum: u32,
    /// Replicas and other sentinels that it knows.
    pub others: Vec<Known>,
    /// Whether enough sentinels are there to promote another: `OK 3 usable Sentinels. ...`, `NOQUORUM ...`.
    pub verdict: String,
}

/// Somebody that a sentinel knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
    /// What it is and how: `slave`, `sentinel,s_down,disconnected`.
    pub flags: String,
}

impl Known {
    /// Whether the sentinel cannot reach it.
    pub fn is_down(&self) -> bool {
        self.flags
            .split(',')
            .any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"))
    }

    /// Whether it is a sentinel.
    pub fn is_sentinel(&self) -> bool {
        self.flags.split(',').any(|flag| flag == "sentinel")
    }
}

impl RedisInstance {
    /// Key of the question.
    pub fn key(&self) -> String {
        format!("redis set {}", self.set)
    }

    /// Asks it.
    pub fn ask(&self, ask: &mut Ask) {
        let question = format!(
            "{FUNCTIONS}\n\
             [ -r {file} ] && [ -r {config} ] || exit 3\n\
             redis_port {config}\n\
             redis_password {file}\n\
             printf 'INFO replication\\nINFO keyspace\\n' | timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" 2>&1 | tr -d '\\r' |\n\
             \x20   sed -n 's/^\\(role\\|master_host\\|master_port\\|master_link_status\\|slave[0-9]*\\|db[0-9]*\\):\\(.*\\)/\\1=\\2/p; \
             s/^\\(NOAUTH\\|WRONGPASS\\|AUTH failed\\|Could not connect\\|ERR\\)/error=\\1/p'",
            file = sh(&self.password_file),
            config = sh(&self.config),
        );
        ask.test(&self.key(), &question);
    }

    /// What it answered; `None` when it was not asked or there is none.
    pub fn seen(&self, seen: &Observed) -> Option<RedisSaid> {
        let test = seen.tests.get(&self.key()).filter(|test| test.code == 0)?;
        Some(RedisSaid::read(&test.output))
    }

    /// Makes it look like a replica of that address.
    pub(super) fn project(&self, address: &str, port: u16, seen: &mut Observed) {
        let output = format!("role=slave\nmaster_host={address}\nmaster_port={port}\nmaster_link_status=up\n");
        seen.tests.insert(self.key(), TestState { code: 0, output });
    }
}

impl RedisSaid {
    /// Reads the answer. A host's word: what makes no sense is left out.
    fn read(text: &str) -> Self {
        let mut said = RedisSaid::default();
        let (mut role, mut address, mut port) = ("", "", 0);
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "error" => said.error = Some(value.to_owned()),
                "role" => role = value,
                "master_host" => address = value,
                "master_port" => port = value.parse().unwrap_or(0),
                "master_link_status" => said.link_up = value == "up",
                _ if name.starts_with("slave") => said.replicas.push(FollowerSaid::read(value)),
                _ if name.starts_with("db") => said.has_data = true,
                _ => {}
            }
        }
        match role {
            "slave" => said.follows = Some((address.to_owned(), port)),
            "master" => {}
            _ => said.error = Some(said.error.unwrap_or_else(|| "it does not answer".into())),
        }
        said
    }

    /// Whether it takes writes.
    pub fn leads(&self) -> bool {
        self.error.is_none() && self.follows.is_none()
    }
}

impl FollowerSaid {
    /// `ip=10.0.0.42,port=13000,state=online,offset=416,lag=1`.
    fn read(text: &str) -> Self {
        let mut said = FollowerSaid::default();
        for (name, value) in text.split(',').filter_map(|field| field.split_once('=')) {
            match name {
                "ip" => value.clone_into(&mut said.address),
                "state" => said.online = value == "online",
                "lag" => said.lag = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        said
    }
}

impl SentinelInstance {
    /// Key of the question.
    pub fn key(&self) -> String {
        format!("sentinel {}", self.set)
    }

    /// Asks it.
    pub fn ask(&self, ask: &mut Ask) {
        let question = format!(
            "{FUNCTIONS}\n\
             [ -r {config} ] || exit 3\n\
             redis_port {config}\n\
             redis_password {config}\n\
             printf 'SENTINEL %s {set}\\n' MASTER REPLICAS SENTINELS CKQUORUM |\n\
             \x20   timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" 2>&1 |\n\
             \x20   sed -n '/^\\(ip\\|port\\|flags\\|quorum\\)$/{{N;s/\\n/=/p}}; s/^\\(OK\\|NOQUORUM\\|NOGOODSLAVE\\) /verdict=&/p'",
            config = sh(&self.config),
            set = self.set,
        );
        ask.test(&self.key(), &question);
    }

    /// What it answered; `None` when it was not asked, there is none, or it does not know the set.
    pub fn seen(&self, seen: &Observed) -> Option<SentinelSaid> {
        let test = seen.tests.get(&self.key()).filter(|test| test.code == 0)?;
        SentinelSaid::read(&test.output)
    }

    /// Makes it look like one that watches that leader.
    pub(super) fn project(&self, address: &str, port: u16, quorum: u32, seen: &mut Observed) {
        let output = format!("ip={address}\nport={port}\nflags=master\nquorum={quorum}\nverdict=OK\n");
        seen.tests.insert(self.key(), TestState { code: 0, output });
    }
}

impl SentinelSaid {
    /// Reads the answer: one `ip` after the other begins somebody, the leader first.
    fn read(text: &str) -> Option<Self> {
        let mut known: Vec<Known> = Vec::new();
        let (mut quorum, mut verdict) = (0, String::new());
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match (name, known.last_mut()) {
                ("ip", _) => known.push(Known {
                    address: value.to_owned(),
                    ..Known::default()
                }),
                ("port", Some(last)) => last.port = value.parse().unwrap_or(0),
                ("flags", Some(last)) => value.clone_into(&mut last.flags),
                ("quorum", _) => quorum = value.parse().unwrap_or(0),
                ("verdict", _) => value.clone_into(&mut verdict),
                _ => {}
            }
        }
        if known.is_empty() {
            return None;
        }
        let leader = known.remove(0);
        Some(SentinelSaid {
            leader,
            quorum,
            others: known,
            verdict,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let leader = RedisSaid::read(
            "role=master\nslave0=ip=10.0.0.43,port=13000,state=online,offset=416,lag=1\n\
             slave1=ip=10.0.0.42,port=13000,state=wait_bgsave,offset=0,lag=0\ndb0=keys=2,expires=0,avg_ttl=0\n",
        );
        assert!(leader.leads() && leader.has_data);
        assert_eq!(leader.replicas.len(), 2);
        assert_eq!((leader.replicas[0].lag, leader.replicas[1].online), (1, false));
        let replica =
            RedisSaid::read("role=slave\nmaster_host=10.0.0.41\nmaster_port=13000\nmaster_link_status=down\n");
        assert_eq!(replica.follows, Some(("10.0.0.41".into(), 13000)));
        assert!(!replica.link_up && !replica.leads());
        let refused = RedisSaid::read("error=NOAUTH\n");
        assert_eq!((refused.leads(), refused.error.as_deref()), (false, Some("NOAUTH")));
    }

    /// What Redis 7.0 prints, through the question's filter.
    #[test]
    fn a_sentinel_is_read() {
        let said = SentinelSaid::read(
            "ip=10.0.0.41\nport=11000\nflags=master\nquorum=2\nip=10.0.0.42\nport=11000\nflags=slave\n\
             ip=10.0.0.43\nport=26379\nflags=s_down,sentinel,disconnected\n\
             verdict=OK 2 usable Sentinels. Quorum and failover authorization can be reached\n",
        )
        .unwrap();
        assert_eq!((said.leader.address.as_str(), said.quorum), ("10.0.0.41", 2));
        assert!(!said.others[0].is_down() && !said.others[0].is_sentinel());
        assert!(said.others[1].is_down() && said.others[1].is_sentinel());
        assert!(said.verdict.starts_with("OK 2 usable"));
        assert_eq!(SentinelSaid::read("\n"), None);
    }
}
