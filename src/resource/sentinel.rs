//! That a sentinel watches a set of Redis. Its own file is its own: what it should do is told to it, not written there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::redis::{FUNCTIONS, word};
use super::redis_set::{SentinelInstance, SentinelSaid};
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;
use crate::secret::Secret;

/// That the sentinel of this host watches a set, with this quorum, and remembers nobody who is gone for good.
#[derive(Debug, Clone)]
pub struct SentinelWatch {
    /// Where to ask it.
    pub instance: SentinelInstance,
    /// The leader's name, for people.
    pub leader: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The file on this host that holds the password of the set.
    pub password_file: String,
    /// That password.
    pub password: Secret,
    /// How many sentinels must agree that the leader is gone.
    pub quorum: u32,
    /// `down-after-milliseconds 2000` and so on: what its configuration says, for a set that it lost.
    pub settings: Vec<(String, String)>,
    /// Addresses of all hosts that belong to the set.
    pub members: BTreeSet<IpAddr>,
}

impl SentinelWatch {
    /// Whom it remembers although they are neither members nor there. A stranger that answers is left: forgotten, it
    /// would be found again.
    fn gone(&self, said: &SentinelSaid) -> Vec<String> {
        let member = |address: &str| address.parse().is_ok_and(|address| self.members.contains(&address));
        let strangers = said.others.iter().filter(|known| known.is_down());
        let mut gone: Vec<_> = strangers.map(|known| known.address.clone()).collect();
        gone.retain(|address| !member(address));
        gone.sort();
        gone.dedup();
        gone
    }

    fn watches(&self, said: &SentinelSaid) -> bool {
        said.leader.address == self.address.to_string() && said.leader.port == self.port
    }

    /// Commands that make it watch the set anew.
    fn commands(&self) -> Secret {
        let set = &self.instance.set;
        let mut text = format!(
            "SENTINEL MONITOR {set} {} {} {}\n",
            self.address, self.port, self.quorum
        );
        text.push_str(&format!(
            "SENTINEL SET {set} auth-pass {}\n",
            word(self.password.reveal())
        ));
        for (name, value) in &self.settings {
            text.push_str(&format!("SENTINEL SET {set} {name} {}\n", word(value)));
        }
        Secret::new(text)
    }
}

impl Kind for SentinelWatch {
    fn id(&self) -> String {
        self.instance.key()
    }

    fn ask(&self, ask: &mut Ask) {
        self.instance.ask(ask);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let (leader, quorum) = (&self.leader, self.quorum);
        let Some(said) = self.instance.seen(seen) else {
            let summary = format!("watches {leader}, {quorum} must agree that it is gone");
            return Some(Change::new(Action::Create, summary));
        };
        let mut reasons = Vec::new();
        if !self.watches(&said) {
            let before = &said.leader;
            reasons.push(format!(
                "watches {leader} ({}:{} until now)",
                before.address, before.port
            ));
        }
        if said.quorum != quorum {
            reasons.push(format!("quorum {} → {quorum}", said.quorum));
        }
        let gone = self.gone(&said);
        if !gone.is_empty() {
            reasons.push(format!("forgets {}", gone.join(", ")));
        }
        super::change::update_for(reasons)
    }

    fn project(&self, seen: &mut Observed) {
        self.instance
            .project(&self.address.to_string(), self.port, self.quorum, seen);
    }

    fn converge(&self, _: &Change, seen: &Observed) -> Script {
        let mut script = Script::default();
        let watch = script.blob(self.commands());
        let said = self.instance.seen(seen).unwrap_or_default();
        script.line(format!(
            "{FUNCTIONS}\n{}\nSET={}\nWANTED={}\nQUORUM={}\nGONE={}\nPASSWORD={}\nWATCH={watch}\nredis_port {config}\nredis_password {config}",
            include_str!("redis_step.sh"),
            sh(&self.instance.set),
            sh(&format!("{} {}", self.address, self.port)),
            self.quorum,
            sh(&self.gone(&said).join(" ")),
            sh(&self.password_file),
            config = sh(&self.instance.config),
        ));
        script.line(include_str!("sentinel.sh"));
        script
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(120)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::TestState;

    #[test]
    fn a_sentinel_is_told_what_differs_and_nothing_else() {
        let members = ["10.0.0.41", "10.0.0.42", "10.0.0.43"].map(|text| text.parse().unwrap());
        let watch = SentinelWatch {
            instance: SentinelInstance {
                set: "queue".into(),
                config: "/etc/redis/redis-sentinel.conf".into(),
            },
            leader: "rd1".into(),
            address: members[0],
            port: 11000,
            password_file: "/etc/redis/redis-queue.password".into(),
            password: Secret::new("s3cr\"t"),
            quorum: 2,
            settings: vec![("down-after-milliseconds".into(), "2000".into())],
            members: members.into(),
        };
        let leads = "ip=10.0.0.41\nport=11000\nflags=master\nquorum=2\n";
        let cases = [
            (leads.to_owned(), ""),
            // dead, but of the set; a stranger that is there; one that is gone
            (
                format!("{leads}ip=10.0.0.43\nport=11000\nflags=slave,s_down,disconnected\n"),
                "",
            ),
            (format!("{leads}ip=10.0.0.44\nport=11000\nflags=slave\n"), ""),
            (
                format!("{leads}ip=10.0.0.44\nport=26379\nflags=s_down,sentinel\n"),
                "forgets 10.0.0.44",
            ),
            (leads.replace("=2", "=1"), "quorum 1 → 2"),
            (leads.replace(".41", ".42"), "watches rd1 (10.0.0.42:11000 until now)"),
        ];
        let mut seen = Observed::bare(Facts::assumed());
        assert_eq!(
            watch.compare(&seen).unwrap().summary,
            "watches rd1, 2 must agree that it is gone"
        );
        for (output, wanted) in cases {
            seen.tests.insert(
                watch.instance.key(),
                TestState {
                    code: 0,
                    output: output.clone(),
                },
            );
            let change = watch.compare(&seen);
            if let Some(change) = &change {
                assert!(!watch.converge(change, &seen).body.contains("s3cr"));
            }
            assert_eq!(
                change.map(|change| change.summary).unwrap_or_default(),
                wanted,
                "{output}"
            );
        }
        watch.project(&mut seen);
        assert_eq!(watch.compare(&seen), None);
    }
}
