//! What a host is asked when the primary may be dead, and what it answers.

use std::collections::BTreeMap;

use super::record::{self, Fed, Moved, Record};
use crate::inventory::{Host, HostRole};
use crate::quote::sh_words;
use crate::resource::replication::{self, Replication};
use crate::resource::{Ask, Observed};
use crate::role::{dbcheck, endpoint};
use crate::topology::Topology;

const VANTAGE: &str = "vantage";
const ENDPOINT: &str = "endpoint";
/// Since when the application of this host has had nobody to write to: `STATE,SECONDS`.
const ENDPOINT_QUESTION: &str = "printf 'show stat mariadb_writer 2 -1\\n' | timeout 2 socat - UNIX-CONNECT:/run/haproxy/admin.sock \
     | sed -n 's/^mariadb_writer,BACKEND,//p' | cut -d , -f 16,22";
const RECORD: &str = "crash plans that were cut off";
const LEFT: &str = "what crash plans left";

/// How one host sees another's MariaDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Its own check says that it takes the writes.
    Writes,
    /// It answers, and does not take the writes.
    Answers,
    /// The host is there, MariaDB is not.
    Refuses,
    /// Nothing comes back: the host is gone or cut off, or its MariaDB hangs.
    Silent,
}

impl Sight {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Sight::Writes => "takes writes",
            Sight::Answers => "answers, takes no writes",
            Sight::Refuses => "refuses connections",
            Sight::Silent => "silent",
        }
    }
}

/// What one host said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The other databases, as it sees them.
    pub sees: BTreeMap<String, Sight>,
    /// Whether it still gets heartbeats from the one that it follows.
    pub hears: bool,
    /// Seconds that its application has had nobody to write to.
    pub nobody_writes: Option<u64>,
    /// Its MariaDB's part; `None` when it has none.
    pub replication: Option<Replication>,
    /// A crash plan that made it the primary and was cut off.
    pub unfinished: Option<Record>,
    /// Crash plans that made it the primary and could not read the old one's log.
    pub unread: Vec<String>,
    /// The last crash plan that moved the writer.
    pub moved: Option<Moved>,
    /// Who it was to get something from, by a plan that was cut off.
    pub fed: Option<Fed>,
}

/// The questions for a host.
pub fn questions(topology: Topology, host: &Host) -> Ask {
    let mut ask = Ask::default();
    let port = topology.inventory.mariadb.port.to_string();
    let check = dbcheck::PORT.to_string();
    let mut words: Vec<String> = Vec::new();
    for other in topology.with_role(HostRole::Db).filter(|other| other.name != host.name) {
        words.extend([
            other.name.clone(),
            other.address.to_string(),
            port.clone(),
            check.clone(),
        ]);
    }
    ask.test(
        VANTAGE,
        &format!("set -- {}\n{}", sh_words(&words), include_str!("vantage.sh")),
    );
    if topology.host(&host.name).is_some_and(|view| endpoint::has(&view)) {
        ask.test(ENDPOINT, ENDPOINT_QUESTION);
    }
    if host.roles.contains(&HostRole::Db) {
        ask.test(replication::KEY, replication::QUESTION);
        ask.test(RECORD, record::QUESTION);
        ask.test(LEFT, record::LEFT);
    }
    ask
}

impl Said {
    /// Reads a host's answer. Its word: what makes no sense is left out.
    pub fn of(seen: &Observed) -> Said {
        let text_of = |key: &str| seen.tests.get(key).map_or("", |test| test.output.as_str());
        let (records, left) = (text_of(RECORD), text_of(LEFT));
        let mut said = Said {
            replication: Replication::seen(seen),
            moved: Moved::read(left),
            fed: Fed::read(left),
            unfinished: Record::read(records),
            unread: record::unread(records),
            nobody_writes: match text_of(ENDPOINT).trim().split_once(',') {
                Some(("DOWN", seconds)) => seconds.parse().ok(),
                _ => None,
            },
            ..Said::default()
        };
        let text = seen
            .tests
            .get(VANTAGE)
            .map(|test| test.output.as_str())
            .unwrap_or_default();
        let mut writes = Vec::new();
        let mut beats = Vec::new();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["greeting", name, word] => {
                    let sight = match *word {
                        "answers" => Sight::Answers,
                        "closes" | "refuses" => Sight::Refuses,
                        _ => Sight::Silent,
                    };
                    said.sees.insert((*name).to_owned(), sight);
                }
                ["check", name, "200"] => writes.push((*name).to_owned()),
                ["beats", count] => beats.extend(count.parse::<u64>()),
                _ => {}
            }
        }
        // The check may be a second old; a server that nobody can connect to has died since.
        for name in writes {
            let sight = match said.sees.get(&name) {
                Some(Sight::Answers) => Sight::Writes,
                Some(Sight::Refuses) => Sight::Refuses,
                // Somebody is there, and it cannot be told who.
                _ => Sight::Answers,
            };
            said.sees.insert(name, sight);
        }
        said.hears = matches!(beats.as_slice(), [first, .., last] if last > first);
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::TestState;

    #[test]
    fn a_host_says_how_it_sees_the_others() {
        let mut seen = Observed::bare(Facts::assumed());
        let output = "beats 7\ncheck db1 200\ngreeting db1 answers\ngreeting db2 refuses\ncheck db2 200\n\
                      greeting db3 silent\ncheck db3 503\ncheck db4 200\ngreeting db4 silent\nnonsense\nbeats 9"
            .to_owned();
        seen.tests.insert(VANTAGE.into(), TestState { code: 0, output });
        let said = Said::of(&seen);
        assert_eq!(said.sees["db1"], Sight::Writes);
        assert_eq!(said.sees["db2"], Sight::Refuses);
        assert_eq!(said.sees["db3"], Sight::Silent);
        assert_eq!(said.sees["db4"], Sight::Answers);
        assert!(said.hears && said.replication.is_none() && said.nobody_writes.is_none());
        for (output, wanted) in [("DOWN,31\n", Some(31)), ("UP,31\n", None), ("", None), ("DOWN\n", None)] {
            let output = output.to_owned();
            seen.tests.insert(ENDPOINT.into(), TestState { code: 0, output });
            assert_eq!(Said::of(&seen).nobody_writes, wanted);
        }
    }

    /// A server that says `word` to whoever connects, when `late` has passed; nothing when it is empty. Gives its port.
    fn server(word: &'static str, late: std::time::Duration) -> u16 {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut one in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    std::thread::sleep(late);
                    let _ = one.write_all(word.as_bytes());
                    if word.is_empty() {
                        std::thread::park();
                    }
                });
            }
        });
        port
    }

    #[test]
    fn a_slow_host_is_no_silent_one() {
        use std::time::Duration;
        let now = Duration::ZERO;
        let (greets, silent) = (server("J\0\0\0", now), server("", now));
        let slow = server("HTTP/1.0 200 OK\r\n\r\n", Duration::from_millis(800));
        let closed = server("HTTP/1.0 503 Unavailable\r\n\r\n", now);
        // Bound and dropped: nobody listens there.
        let gone = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let databases = [
            ("db1", greets, slow),
            ("db2", greets, closed),
            ("db3", silent, slow),
            ("db4", gone.port(), slow),
        ];
        let words = databases.iter().flat_map(|(name, port, check)| {
            [
                (*name).to_owned(),
                "127.0.0.1".to_owned(),
                port.to_string(),
                check.to_string(),
            ]
        });
        let script = format!("set -- {}\n{}", sh_words(words), include_str!("vantage.sh"));
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let output = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut seen = Observed::bare(Facts::assumed());
        seen.tests.insert(VANTAGE.into(), TestState { code: 0, output });
        let sees = Said::of(&seen).sees;
        let sights = ["db1", "db2", "db3", "db4"].map(|name| sees[name]);
        assert_eq!(sights, [Sight::Writes, Sight::Answers, Sight::Silent, Sight::Refuses]);
    }
}
