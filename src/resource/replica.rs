//! MariaDB's roles at run time: one server takes the writes, the others follow it.

use std::net::IpAddr;
use std::time::Duration;

use super::observed::{PathKind, PathState, TestState};
use super::replication::{KEY, QUESTION, Replication};
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::{sh, sh_words, sql};
use crate::secret::Secret;

const SERVER: &str = "mariadb-server";

/// Longest copy of the primary's data.
const COPY: Duration = Duration::from_secs(12 * 3600);

/// That the server follows the primary: seeded from a copy of its data when it has none, pointed at it, both threads
/// running. A server that holds data and follows nobody is left alone: only `hactl rejoin` may decide about that.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The primary's name, for people.
    pub primary: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The account that replicates.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Path of the certificate that the primary's must be signed by; `None`: not encrypted.
    pub authority: Option<String>,
    /// Words of the command that runs another on the primary's host; `mariadb-backup` is added.
    pub reach: Vec<String>,
    /// What is known of the data of one that follows nobody.
    pub holds: Holds,
}

/// What a server that follows nobody holds, compared with the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nobody looked: it is left alone.
    Unjudged,
    /// Nothing that the primary lacks: it follows from where it is.
    Agrees,
    /// What it has of its own is given up: it is seeded anew, and what it had is kept beside.
    GivenUp,
}

impl Replica {
    /// `CHANGE MASTER` to that server.
    pub fn link(&self) -> Secret {
        let tls = match &self.authority {
            Some(path) => format!(
                ", MASTER_SSL=1, MASTER_SSL_CA={}, MASTER_SSL_VERIFY_SERVER_CERT=1",
                sql(path)
            ),
            None => String::new(),
        };
        // A lost connection is tried again at once and a silent one noticed within seconds (facts/ha.md 1.3).
        Secret::new(format!(
            "SET SESSION sql_mode='';\nCHANGE MASTER TO MASTER_HOST={}, MASTER_PORT={}, MASTER_USER={}, \
             MASTER_PASSWORD={}, MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1{tls}",
            sql(&self.address.to_string()),
            self.port,
            sql(&self.user),
            sql(self.password.reveal()),
        ))
    }

    fn follows(&self, said: &Replication) -> bool {
        matches!(said.sources.as_slice(), [link] if link.host == self.address.to_string()
            && link.port == self.port
            && link.using_gtid == "Slave_Pos"
            && link.encrypted == self.authority.is_some())
    }

    fn seeded(&self) -> Change {
        Change::new(Action::Create, format!("seeded from {}, then follows it", self.primary))
    }
}

impl Kind for Replica {
    fn id(&self) -> String {
        STEP.into()
    }

    fn ask(&self, ask: &mut Ask) {
        ask.test(KEY, QUESTION);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let Some(said) = Replication::seen(seen) else {
            return Some(self.seeded());
        };
        if self.holds == Holds::GivenUp {
            let summary = format!(
                "its own data are given up: seeded from {}, then follows it",
                self.primary
            );
            return Some(Change::new(Action::Create, summary));
        }
        if said.no_data || (said.error.is_some() && seen.fresh.contains(SERVER)) {
            return Some(self.seeded());
        }
        if let Some(error) = &said.error {
            return Some(Change::new(
                Action::Check,
                format!("made or mended if needed ({error})"),
            ));
        }
        if said.is_virgin() {
            return Some(self.seeded());
        }
        let update = |summary: String| Some(Change::new(Action::Update, summary));
        match said.sources.as_slice() {
            [] if self.holds == Holds::Agrees => update(format!("follows {} from where it is", self.primary)),
            [] if said.seeded.is_empty() || !said.logged.is_empty() => None,
            [] => update(format!("a copy of {} that does not follow it yet", self.primary)),
            [link] if self.follows(&said) && link.runs() => None,
            [link] if self.follows(&said) && link.cannot_apply => {
                update(format!("does not apply: {}; seeded anew if it stays so", link.error))
            }
            [link] if self.follows(&said) => update(match link.error.as_str() {
                "" => "is stopped: started".to_owned(),
                error => format!("is stopped ({error}): started"),
            }),
            [link] => update(format!(
                "follows {} ({}:{} until now)",
                self.primary, link.host, link.port
            )),
            _ => update(format!("follows {} and nobody else", self.primary)),
        }
    }

    fn project(&self, seen: &mut Observed) {
        let output = Replication::following(&self.address.to_string(), self.port, self.authority.is_some());
        seen.tests.insert(KEY.into(), TestState { code: 0, output });
    }

    fn converge(&self, change: &Change, seen: &Observed) -> Script {
        let mut script = Script::default();
        let link = script.blob(self.link());
        let said = Replication::seen(seen).unwrap_or_default();
        let mode = match change.action {
            Action::Create => "seed",
            _ if self.follows(&said) || change.action == Action::Check => "mend",
            _ => "follow",
        };
        script.line(format!(
            "MODE={mode}\nKEEP_BEFORE={}\nDONOR={}\nLINK={link}\npeer() {{ {} \"$@\"; }}",
            u8::from(self.holds == Holds::GivenUp),
            sh(&self.address.to_string()),
            sh_words(&self.reach)
        ));
        script.line(include_str!("replica.sh"));
        script
    }

    fn deadline(&self) -> Duration {
        COPY
    }
}

/// That a replica which lost its data can start at all: an empty data directory is made, into which the primary's data are
/// copied later. Never declared for the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDirectory;

/// What a data directory that holds anything has.
const DATA: &str = "/var/lib/mysql/mysql";

impl Kind for DataDirectory {
    fn id(&self) -> String {
        "data directory".into()
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(DATA);
        ask.packages.insert(SERVER.into());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        // The package makes one when it is installed.
        let gone = seen.packages.contains_key(SERVER) && !seen.fresh.contains(SERVER) && !seen.paths.contains_key(DATA);
        gone.then(|| Change::new(Action::Create, "/var/lib/mysql is empty: made anew"))
    }

    fn project(&self, seen: &mut Observed) {
        if seen.packages.contains_key(SERVER) && !seen.fresh.contains(SERVER) {
            let folder = PathState {
                kind: PathKind::Directory,
                ..PathState::foretold()
            };
            seen.paths.entry(DATA.into()).or_insert(folder);
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        // One whose files were taken away under it still runs.
        Script::new(
            "[ ! -e /var/lib/mysql/mysql ] || same\n\
             systemctl stop mariadb.service\n\
             install -d -o mysql -g mysql -m 755 /var/lib/mysql\n\
             mariadb-install-db --user=mysql --skip-test-db --auth-root-authentication-method=socket >\"$R/install-db\" 2>&1 || \
             { tail -n 8 \"$R/install-db\"; fail 'cannot make an empty data directory'; }\n",
        )
    }
}

/// That this server takes the writes. Every server starts closed (`read_only`), so that one that returns from the dead
/// cannot take any; hactl opens the one that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer;

/// Key of the question whether it is open; its answer is good for one start of the server.
pub const WRITER_KEY: &str = "mariadb read_only";

impl Kind for Writer {
    fn id(&self) -> String {
        "writer".into()
    }

    fn ask(&self, ask: &mut Ask) {
        ask.sql(WRITER_KEY, "SELECT @@global.read_only");
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let open = |answers: &std::collections::BTreeMap<String, String>| {
            answers.get(WRITER_KEY).is_some_and(|answer| answer.trim() == "0")
        };
        if seen.sql.as_ref().is_ok_and(open) {
            return None;
        }
        Some(Change::new(
            Action::Start,
            "opened for writes: every start of it is closed",
        ))
    }

    fn project(&self, seen: &mut Observed) {
        if seen.sql.is_err() {
            seen.sql = Ok(Default::default());
        }
        if let Ok(answers) = &mut seen.sql {
            answers.insert(WRITER_KEY.into(), "0".into());
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        Script::new(
            "mariadb --no-defaults --skip-ssl --connect-timeout=5 -e 'SET GLOBAL read_only=OFF; SET GLOBAL event_scheduler=ON' || \
             fail 'MariaDB refused'\n",
        )
    }
}

/// The name of a step that makes a server follow another, in plans.
pub const STEP: &str = "replica";

/// The same of semi-synchronous replication.
pub const SEMI_SYNC: &str = "semi-sync";

/// That the primary waits for a replica before it acknowledges (semi-synchronous replication), proven with a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemiSync {
    /// Whether it should.
    pub on: bool,
}

impl Kind for SemiSync {
    fn id(&self) -> String {
        SEMI_SYNC.into()
    }

    fn ask(&self, ask: &mut Ask) {
        ask.test(KEY, QUESTION);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let said = Replication::seen(seen).unwrap_or_default().semi_sync;
        match (self.on, said.enabled, said.in_force) {
            (true, true, true) | (false, false, _) => None,
            (true, true, false) => Some(Change::new(Action::Update, "on, but not in force: tried with a write")),
            (true, false, _) => Some(Change::new(Action::Start, "on, then tried with a write")),
            (false, true, _) => Some(Change::new(Action::Update, "off")),
        }
    }

    fn project(&self, seen: &mut Observed) {
        let state = if self.on {
            "read_only=0\nown_databases=1\nsemi_sync_primary=1\nstatus=rpl_semi_sync_master_status\nvalue=ON\n"
        } else {
            "read_only=0\nown_databases=1\nsemi_sync_primary=0\n"
        };
        seen.tests.insert(
            KEY.into(),
            TestState {
                code: 0,
                output: state.into(),
            },
        );
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        if !self.on {
            return Script::new(
                "mariadb --no-defaults --skip-ssl -e 'SET GLOBAL rpl_semi_sync_master_enabled=OFF' || fail 'MariaDB refused'\n",
            );
        }
        Script::new(include_str!("semisync.sh"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    fn replica() -> Replica {
        Replica {
            primary: "db1".into(),
            address: "10.0.0.31".parse().unwrap(),
            port: 3306,
            user: "hactl_replica".into(),
            password: Secret::new("it's \\ secret"),
            authority: None,
            holds: Holds::Unjudged,
            reach: vec!["ssh".into(), "peer@10.0.0.31".into()],
        }
    }

    fn seen(text: &str) -> Observed {
        let mut seen = Observed::bare(Facts::assumed());
        let output = text.to_owned();
        seen.tests.insert(KEY.into(), TestState { code: 0, output });
        seen
    }

    #[test]
    fn what_a_replica_needs_follows_from_what_it_is() {
        let link = "Connection_name=\nMaster_Host=10.0.0.31\nMaster_Port=3306\nUsing_Gtid=Slave_Pos\n\
                    Master_SSL_Allowed=No\nown_databases=1\nread_only=1\n";
        let cases = [
            ("read_only=1\nown_databases=0\n", "seeded from db1, then follows it"),
            ("no_data=1\nerror=ERROR 2002\n", "seeded from db1, then follows it"),
            ("error=ERROR 2002\n", "made or mended if needed (ERROR 2002)"),
            // holds data and follows nobody: an old primary
            ("read_only=1\nown_databases=1\nbinlog_state=0-1-5\n", ""),
            (
                "read_only=1\nown_databases=1\nseeded=0-1-5\n",
                "a copy of db1 that does not follow it yet",
            ),
            (
                &format!("{link}Slave_IO_Running=No\nSlave_SQL_Running=No\n"),
                "is stopped: started",
            ),
            (
                &format!(
                    "{link}Slave_IO_Running=Yes\nSlave_SQL_Running=No\nLast_SQL_Errno=1062\nLast_SQL_Error=Duplicate\n"
                ),
                "does not apply: Duplicate; seeded anew if it stays so",
            ),
            (&format!("{link}Slave_IO_Running=Yes\nSlave_SQL_Running=Yes\n"), ""),
            (
                "Connection_name=\nMaster_Host=10.0.0.9\nMaster_Port=3306\nown_databases=1\n",
                "follows db1 (10.0.0.9:3306 until now)",
            ),
        ];
        for (text, wanted) in cases {
            let change = replica().compare(&seen(text));
            assert_eq!(
                change.map(|change| change.summary).unwrap_or_default(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn carried_out_nothing_is_left() {
        let mut host = Observed::bare(Facts::assumed());
        for kind in [&replica() as &dyn Kind, &Writer, &SemiSync { on: true }] {
            let change = kind.compare(&host).unwrap();
            let script = kind.converge(&change, &host);
            assert!(!script.body.contains("secret"), "{}", script.body);
            kind.project(&mut host);
            assert_eq!(kind.compare(&host), None, "{}", kind.id());
        }
    }
}
