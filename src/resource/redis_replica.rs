//! That a Redis follows the one that leads.

use std::net::IpAddr;
use std::time::Duration;

use super::redis::FUNCTIONS;
use super::redis_set::RedisInstance;
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;

/// Longest wait for a replica that takes its first copy.
const COPY: Duration = Duration::from_secs(3600);

/// That an instance replicates from the leader of its set. One that took writes itself gives up what the leader never had:
/// whether that may happen was judged before ([`crate::role::live`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisReplica {
    /// The instance.
    pub instance: RedisInstance,
    /// The leader's name, for people.
    pub leader: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

impl RedisReplica {
    fn follows(&self, whom: &(String, u16)) -> bool {
        *whom == (self.address.to_string(), self.port)
    }
}

impl Kind for RedisReplica {
    fn id(&self) -> String {
        format!("redis replica {}", self.instance.set)
    }

    fn ask(&self, ask: &mut Ask) {
        self.instance.ask(ask);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let leader = &self.leader;
        let Some(said) = self.instance.seen(seen) else {
            return Some(Change::new(Action::Create, format!("follows {leader}")));
        };
        match (&said.error, &said.follows) {
            (Some(error), _) => Some(Change::new(
                Action::Check,
                format!("pointed at {leader} if needed ({error})"),
            )),
            (None, Some(whom)) if self.follows(whom) => None,
            (None, Some((address, port))) => Some(Change::new(
                Action::Update,
                format!("follows {leader} ({address}:{port} until now)"),
            )),
            (None, None) => Some(Change::new(
                Action::Update,
                format!("follows {leader} (nobody until now)"),
            )),
        }
    }

    fn project(&self, seen: &mut Observed) {
        self.instance.project(&self.address.to_string(), self.port, seen);
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        script.line(format!(
            "{FUNCTIONS}\n{}\nLEADER={}\nLEADER_PORT={}\nMODE={}\nPATIENCE={}\n\
             redis_port {}\nredis_password {}",
            include_str!("redis_step.sh"),
            sh(&self.address.to_string()),
            self.port,
            if change.action == Action::Check {
                "check"
            } else {
                "point"
            },
            COPY.as_secs(),
            sh(&self.instance.config),
            sh(&self.instance.password_file),
        ));
        script.line(include_str!("redis_replica.sh"));
        script
    }

    fn deadline(&self) -> Duration {
        COPY + Duration::from_secs(60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::TestState;

    #[test]
    fn a_replica_is_pointed_only_when_it_follows_another() {
        let replica = RedisReplica {
            instance: RedisInstance {
                set: "queue".into(),
                config: "/etc/redis/redis-queue.conf".into(),
                password_file: "/etc/redis/redis-queue.password".into(),
            },
            leader: "rd1".into(),
            address: "10.0.0.41".parse().unwrap(),
            port: 11000,
        };
        let cases = [
            ("role=slave\nmaster_host=10.0.0.41\nmaster_port=11000\n", ""),
            (
                "role=slave\nmaster_host=10.0.0.42\nmaster_port=11000\n",
                "follows rd1 (10.0.0.42:11000 until now)",
            ),
            ("role=master\n", "follows rd1 (nobody until now)"),
            ("error=NOAUTH\n", "pointed at rd1 if needed (NOAUTH)"),
        ];
        let mut seen = Observed::bare(Facts::assumed());
        assert_eq!(replica.compare(&seen).unwrap().summary, "follows rd1");
        for (text, wanted) in cases {
            let output = text.to_owned();
            seen.tests.insert(replica.instance.key(), TestState { code: 0, output });
            let change = replica.compare(&seen);
            assert_eq!(
                change.map(|change| change.summary).unwrap_or_default(),
                wanted,
                "{text}"
            );
        }
        replica.project(&mut seen);
        assert_eq!(replica.compare(&seen), None);
    }
}
