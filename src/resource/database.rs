//! Databases and users of MariaDB, through the host's own client as root over the unix socket.

use sha1::{Digest, Sha1};

use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::{sql, sql_name};
use crate::secret::Secret;

/// The package whose presence decides whether the database's answers mean anything.
const SERVER: &str = "mariadb-server";

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
}

/// A user with a password and what it may do.
#[derive(Debug, Clone)]
pub struct DatabaseUser {
    /// Its name.
    pub name: String,
    /// From where: `localhost`, `%`, `10.0.0.%`.
    pub host: String,
    /// Its password.
    pub password: Secret,
    /// What it may do, as in `GRANT ... TO`: ``ALL PRIVILEGES ON `db`.*``.
    pub grants: Vec<String>,
}

/// MariaDB's stored form of a password (mysql_native_password): `*` and SHA1(SHA1(password)) in upper-case hex.
fn native_hash(password: &str) -> String {
    let twice = Sha1::digest(Sha1::digest(password.as_bytes()));
    twice
        .iter()
        .fold(String::from("*"), |hex, byte| hex + &format!("{byte:02X}"))
}

fn answers(seen: &Observed) -> Result<&std::collections::BTreeMap<String, String>, Change> {
    match &seen.sql {
        Ok(answers) => Ok(answers),
        Err(_) if seen.fresh.contains(SERVER) => Err(Change::new(Action::Create, "")),
        Err(why) => Err(Change::new(Action::Check, format!("made or mended if needed ({why})"))),
    }
}

fn run_sql(statements: String) -> Script {
    let mut script = Script::default();
    let blob = script.blob(Secret::new(statements));
    script.line(format!(
        "mariadb --batch --skip-column-names <{blob} || fail 'MariaDB refused'"
    ));
    script
}

impl Kind for Database {
    fn id(&self) -> String {
        format!("database {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        let query = format!(
            "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}",
            sql(&self.name)
        );
        ask.sql(&self.id(), &query);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        match answers(seen) {
            Ok(answers) if answers.get(&self.id()).map(String::as_str) == Some("1") => None,
            Ok(_) => Some(Change::new(Action::Create, "utf8mb4")),
            Err(change) if change.action == Action::Create => Some(Change::new(Action::Create, "utf8mb4")),
            Err(change) => Some(change),
        }
    }

    fn project(&self, seen: &mut Observed) {
        if seen.sql.is_err() {
            seen.sql = Ok(Default::default());
        }
        if let Ok(answers) = &mut seen.sql {
            answers.insert(self.id(), "1".into());
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        run_sql(format!(
            "CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n",
            sql_name(&self.name)
        ))
    }
}

impl DatabaseUser {
    fn account(&self) -> String {
        format!("{}@{}", sql(&self.name), sql(&self.host))
    }

    fn password_key(&self) -> String {
        format!("{} password", self.id())
    }

    fn grants_key(&self) -> String {
        format!("{} grants", self.id())
    }
}

impl Kind for DatabaseUser {
    fn id(&self) -> String {
        format!("database user {}@{}", self.name, self.host)
    }

    fn ask(&self, ask: &mut Ask) {
        let query = format!(
            "SELECT JSON_VALUE(Priv,'$.authentication_string') FROM mysql.global_priv WHERE User={} AND Host={}",
            sql(&self.name),
            sql(&self.host)
        );
        ask.sql(&self.password_key(), &query);
        ask.sql(&self.grants_key(), &format!("SHOW GRANTS FOR {}", self.account()));
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let created = || Some(Change::new(Action::Create, self.grants.join(", ")));
        let answers = match answers(seen) {
            Ok(answers) => answers,
            Err(change) if change.action == Action::Create => return created(),
            Err(change) => return Some(change),
        };
        let stored = answers
            .get(&self.password_key())
            .map(String::as_str)
            .unwrap_or_default();
        if stored.is_empty() {
            return created();
        }
        let mut reasons = Vec::new();
        if stored != native_hash(self.password.reveal()) {
            reasons.push("password (changed)".to_owned());
        }
        let granted = answers.get(&self.grants_key()).map(String::as_str).unwrap_or_default();
        for grant in &self.grants {
            if !granted
                .lines()
                .any(|line| line.starts_with(&format!("GRANT {grant} TO ")))
            {
                reasons.push(format!("grant {grant}"));
            }
        }
        super::change::update_for(reasons)
    }

    fn project(&self, seen: &mut Observed) {
        if seen.sql.is_err() {
            seen.sql = Ok(Default::default());
        }
        if let Ok(answers) = &mut seen.sql {
            answers.insert(self.password_key(), native_hash(self.password.reveal()));
            let grants = self
                .grants
                .iter()
                .map(|grant| format!("GRANT {grant} TO x\n"))
                .collect();
            answers.insert(self.grants_key(), grants);
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let account = self.account();
        let password = sql(self.password.reveal());
        let mut statements = format!(
            "CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password};\nALTER USER {account} IDENTIFIED BY {password};\n"
        );
        for grant in &self.grants {
            statements.push_str(&format!("GRANT {grant} TO {account};\n"));
        }
        run_sql(statements)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn native_hash_is_what_mariadb_stores() {
        // SELECT PASSWORD('secret') on MariaDB 10.11
        assert_eq!(
            super::native_hash("secret"),
            "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
        );
    }
}
