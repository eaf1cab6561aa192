//! What a MariaDB server says of its part in a replication.

use super::Observed;
use super::gtid::{GivenUp, GtidState};

/// Key of the question.
pub const KEY: &str = "replication";

/// The question: a shell test.
pub const QUESTION: &str = include_str!("replication.sh");

/// A server's part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replication {
    /// Why it could not be asked.
    pub error: Option<String>,
    /// Whether it refuses writes of ordinary users.
    pub read_only: bool,
    /// Whether it keeps no binary log, so that nobody could follow it.
    pub keeps_no_log: bool,
    /// What it has logged.
    pub logged: GtidState,
    /// What it has applied of others, as it writes it.
    pub applied: String,
    /// Where its data were copied from another server; empty when they were not.
    pub seeded: GtidState,
    /// What restores of its data gave up.
    pub given_up: Vec<GivenUp>,
    /// Databases beside the system's.
    pub own_databases: u64,
    /// Why it must not run: by whom it was fenced.
    pub fenced: Option<String>,
    /// Whose places were taken in crash plans that this one took part in, until they have rejoined.
    pub replaced: Vec<Replaced>,
    /// Crash plans that took its own place, and from which it has rejoined.
    pub returned: Vec<String>,
    /// Whether there are no data at all.
    pub no_data: bool,
    /// Whether it waits for replicas before it acknowledges.
    pub semi_sync: SemiSyncState,
    /// What it replicates.
    pub sources: Vec<Link>,
}

/// A host whose place was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Its name.
    pub host: String,
    /// The run of the crash plan.
    pub plan: String,
}

/// Plans that still hold a host off, by the word of all that answered: it has rejoined from none of them. One who was away
/// then may believe in a plan that is long over.
pub fn held_off<'a>(said: &[(&str, &'a Replication)], host: &str) -> Vec<&'a str> {
    let own = said.iter().find(|(name, _)| *name == host);
    let over = |plan: &&str| own.is_some_and(|(_, own)| own.returned.iter().any(|known| known == plan));
    let named = said.iter().flat_map(|(_, said)| &said.replaced);
    let plans = named.filter(|replaced| replaced.host == host);
    plans
        .map(|replaced| replaced.plan.as_str())
        .filter(|plan| !over(plan))
        .collect()
}

/// Semi-synchronous replication, seen from the primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SemiSyncState {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it is in force; it is not after a timeout, until a replica acknowledges again.
    pub in_force: bool,
    /// Replicas that take part.
    pub clients: u64,
}

/// A replication link, seen from the replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Name of the connection; the usual one has none.
    pub name: String,
    /// Where it replicates from.
    pub host: String,
    /// Port there.
    pub port: u16,
    /// `Yes`, `No`, `Connecting`, `Preparing`: the receiving thread.
    pub receives: String,
    /// `Yes`, `No`: the applying thread.
    pub applies: String,
    /// `Slave_Pos`, `Current_Pos`, `No`.
    pub using_gtid: String,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// Last error of either thread with its number, empty when there is none.
    pub error: String,
    /// Whether the error is one of applying: what was received does not fit what is there.
    pub cannot_apply: bool,
    /// Whether the source has not, or not any more, what comes after what is here (error 1236); asking again does not help.
    pub cannot_receive: bool,
    /// Highest transaction received.
    pub received: String,
    /// Seconds behind; `None` when it does not replicate.
    pub lag: Option<u64>,
}

impl Link {
    /// Whether both threads run.
    pub fn runs(&self) -> bool {
        self.receives == "Yes" && self.applies == "Yes"
    }
}

impl Replication {
    /// What a host answered; `None` when it was not asked or MariaDB is not there.
    pub fn seen(seen: &Observed) -> Option<Self> {
        let said = Self::read(&seen.tests.get(KEY)?.output);
        let never = said.error.as_deref().is_some_and(|error| error.contains("not found"));
        (!never).then_some(said)
    }

    /// Reads the answer to [`QUESTION`]. A host's word: what makes no sense is left out.
    pub fn read(text: &str) -> Self {
        let mut said = Replication::default();
        let mut status = String::new();
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else {
                if line.contains("mariadb: not found") {
                    said.error = Some("mariadb: not found".into());
                }
                continue;
            };
            match name {
                "error" => said.error = Some(value.to_owned()),
                "read_only" => said.read_only = value != "0",
                "log_bin" => said.keeps_no_log = value == "0",
                "binlog_state" => said.logged = GtidState::read(value),
                "slave_pos" => value.clone_into(&mut said.applied),
                "seeded" => said.seeded = GtidState::read(value),
                "given_up" => said.given_up.extend(GivenUp::read(value)),
                "own_databases" => said.own_databases = value.parse().unwrap_or(0),
                "no_data" => said.no_data = true,
                "fenced" => said.fenced = Some(value.to_owned()),
                "replaced" => {
                    let (host, plan) = value.split_once(' ').unwrap_or((value, ""));
                    said.replaced.push(Replaced {
                        host: host.to_owned(),
                        plan: plan.to_owned(),
                    });
                }
                "returned" => said.returned.push(value.to_owned()),
                "semi_sync_primary" => said.semi_sync.enabled = value == "1",
                "status" => value.clone_into(&mut status),
                "value" if status == "rpl_semi_sync_master_status" => said.semi_sync.in_force = value == "ON",
                "value" if status == "rpl_semi_sync_master_clients" => {
                    said.semi_sync.clients = value.parse().unwrap_or(0);
                }
                "Connection_name" => said.sources.push(Link {
                    name: value.to_owned(),
                    ..Link::default()
                }),
                _ => {
                    if let Some(link) = said.sources.last_mut() {
                        link.take(name, value);
                    }
                }
            }
        }
        said
    }

    /// Whether it never held anything: what a package leaves behind.
    pub fn is_virgin(&self) -> bool {
        self.sources.is_empty() && self.own_databases == 0 && self.logged.is_empty() && self.applied.is_empty()
    }

    /// Whether it holds data and follows nobody, though it is no fresh copy: it took the writes once. Nothing points it at
    /// another by itself.
    pub fn is_old_primary(&self) -> bool {
        let fresh_copy = !self.seeded.is_empty() && self.logged.is_empty();
        self.sources.is_empty() && !self.no_data && !self.is_virgin() && !fresh_copy
    }

    /// Whether it takes writes and replicates from nobody.
    pub fn is_writer(&self) -> bool {
        self.error.is_none() && !self.read_only && self.sources.is_empty()
    }

    /// What it has, applied or only received, of what restores gave up.
    pub fn lost(&self, given_up: &[GivenUp]) -> Vec<String> {
        let mut all = self.logged.clone();
        all.join(&GtidState::read(&self.applied));
        for link in &self.sources {
            all.join(&GtidState::read(&link.received));
        }
        all.in_any(given_up)
    }

    /// The answer of a replica that is as it should be, for projections.
    pub(super) fn following(host: &str, port: u16, encrypted: bool) -> String {
        let ssl = if encrypted { "Yes" } else { "No" };
        format!(
            "Connection_name=\nSlave_IO_Running=Yes\nSlave_SQL_Running=Yes\nMaster_Host={host}\nMaster_Port={port}\n\
             Using_Gtid=Slave_Pos\nMaster_SSL_Allowed={ssl}\nread_only=1\nown_databases=1\n"
        )
    }
}

impl Link {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "Master_Host" => value.clone_into(&mut self.host),
            "Master_Port" => self.port = value.parse().unwrap_or(0),
            "Slave_IO_Running" => value.clone_into(&mut self.receives),
            "Slave_SQL_Running" => value.clone_into(&mut self.applies),
            "Using_Gtid" => value.clone_into(&mut self.using_gtid),
            "Master_SSL_Allowed" => self.encrypted = value == "Yes",
            "Gtid_IO_Pos" => value.clone_into(&mut self.received),
            "Seconds_Behind_Master" => self.lag = value.parse().ok(),
            "Last_IO_Errno" => self.cannot_receive = value == "1236",
            "Last_SQL_Errno" => self.cannot_apply = value != "0",
            "Last_IO_Error" | "Last_SQL_Error" if !value.is_empty() && self.error.is_empty() => {
                value.clone_into(&mut self.error);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_away_does_not_hold_off_one_that_has_rejoined() {
        let read = Replication::read;
        let (first, second) = (
            read("replaced=db1 plan1\n"),
            read("replaced=db3 plan0\nreplaced=db1 plan2\n"),
        );
        let cases = [
            ("", vec!["plan1", "plan2"]),
            ("returned=plan1\n", vec!["plan2"]),
            ("returned=plan1\nreturned=plan2\n", vec![]),
        ];
        for (own, wanted) in cases {
            let own = read(own);
            let all = [("db1", &own), ("db2", &first), ("db4", &second)];
            assert_eq!(held_off(&all, "db1"), wanted);
            assert_eq!(held_off(&all[1..], "db1"), ["plan1", "plan2"], "it does not answer");
        }
    }

    /// What MariaDB 10.11 prints, through the question's filter.
    #[test]
    fn a_replica_is_read() {
        let said = Replication::read(
            "Connection_name=\nMaster_Host=10.0.0.31\nMaster_Port=3306\nSlave_IO_Running=Connecting\n\
             Slave_SQL_Running=Yes\nMaster_SSL_Allowed=Yes\nSeconds_Behind_Master=NULL\nLast_IO_Errno=2003\n\
             Last_IO_Error=error connecting to master\nLast_SQL_Errno=0\nLast_SQL_Error=\nUsing_Gtid=Slave_Pos\n\
             Gtid_IO_Pos=0-1-60\nread_only=1\nbinlog_state=0-1-50\nslave_pos=0-1-50\nsemi_sync_primary=0\n\
             own_databases=2\nstatus=rpl_semi_sync_master_clients\nvalue=0\nstatus=rpl_semi_sync_master_status\nvalue=OFF\n\
             seeded=0-1-9\n",
        );
        assert!(said.read_only && !said.is_virgin() && !said.is_writer());
        assert_eq!(said.seeded, GtidState::read("0-1-9"));
        let link = &said.sources[0];
        assert_eq!((link.host.as_str(), link.port, link.lag), ("10.0.0.31", 3306, None));
        assert!(!link.runs() && link.encrypted && !link.cannot_apply);
        assert_eq!(link.error, "error connecting to master");
    }

    #[test]
    fn a_fresh_server_and_one_that_does_not_answer_are_told_apart() {
        let fresh = Replication::read("read_only=1\nbinlog_state=\nslave_pos=\nsemi_sync_primary=0\nown_databases=0\n");
        assert!(fresh.is_virgin() && fresh.error.is_none());
        let down = Replication::read("error=ERROR 2002 (HY000): Can't connect\nno_data=1\n");
        assert!(down.error.is_some() && down.no_data);
        assert!(Replication::following("h", 1, true).contains("Master_Host=h"));
        assert!(Replication::read(&Replication::following("h", 1, true)).sources[0].runs());
    }
}
