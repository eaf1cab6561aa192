//! Databases and users of MariaDB, through the host's own client as root over the unix socket.

use sha1::{Digest, Sha1};

use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::{sh, sql, sql_name};
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

/// The answer to one question: empty when MariaDB is yet to be installed, a [`Action::Check`] when it could not be asked.
/// An earlier step of the plan may have projected *its* answers; that says nothing about other questions.
fn answer<'a>(seen: &'a Observed, key: &str) -> Result<&'a str, Change> {
    let check = |why: &str| Change::new(Action::Check, format!("made or mended if needed ({why})"));
    match &seen.sql {
        Ok(answers) => match answers.get(key) {
            Some(answer) => Ok(answer),
            None if seen.fresh.contains(SERVER) => Ok(""),
            None => Err(check("MariaDB could not be asked")),
        },
        Err(_) if seen.fresh.contains(SERVER) => Ok(""),
        Err(why) => Err(check(why)),
    }
}

/// For a step that could not be decided before: ends it as [`super::script::SAME`] when `query` now answers 1.
fn same_if(script: &mut Script, change: &Change, query: String) {
    if change.action == Action::Check {
        let blob = script.blob(Secret::new(query));
        script.line(format!(
            "_answer=$(mariadb --no-defaults --batch --raw --skip-column-names <{blob}) || fail 'MariaDB does not answer'\n\
             [ \"$_answer\" != 1 ] || same"
        ));
    }
}

fn run_sql(script: &mut Script, statements: String) {
    // A server that is set to another mode would take the backslashes of a literal for themselves.
    let blob = script.blob(Secret::new(format!("SET SESSION sql_mode='';\n{statements}")));
    script.line(format!(
        "mariadb --no-defaults --batch --skip-column-names <{blob} || fail 'MariaDB refused'"
    ));
}

impl Database {
    fn query(&self) -> String {
        format!(
            "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}",
            sql(&self.name)
        )
    }
}

impl Kind for Database {
    fn id(&self) -> String {
        format!("database {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.sql(&self.id(), &self.query());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        match answer(seen, &self.id()) {
            Ok("1") => None,
            Ok(_) => Some(Change::new(Action::Create, "utf8mb4")),
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

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        same_if(&mut script, change, self.query());
        run_sql(
            &mut script,
            format!(
                "CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n",
                sql_name(&self.name)
            ),
        );
        script
    }
}

impl DatabaseUser {
    fn account(&self) -> String {
        format!("{}@{}", sql(&self.name), sql(&self.host))
    }

    fn password_query(&self) -> String {
        format!(
            "SELECT JSON_VALUE(Priv,'$.authentication_string') FROM mysql.global_priv WHERE User={} AND Host={}",
            sql(&self.name),
            sql(&self.host)
        )
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
        ask.sql(&self.password_key(), &self.password_query());
        ask.sql(&self.grants_key(), &format!("SHOW GRANTS FOR {}", self.account()));
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let (stored, granted) = match (answer(seen, &self.password_key()), answer(seen, &self.grants_key())) {
            (Ok(stored), Ok(granted)) => (stored, granted),
            (Err(change), _) | (_, Err(change)) => return Some(change),
        };
        if stored.is_empty() {
            return Some(Change::new(Action::Create, self.grants.join(", ")));
        }
        let mut reasons = Vec::new();
        if stored != native_hash(self.password.reveal()) {
            reasons.push("password (changed)".to_owned());
        }
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

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        if change.action == Action::Check {
            let questions = script.blob(format!(
                "{};\nSHOW GRANTS FOR {};\n",
                self.password_query(),
                self.account()
            ));
            let hash = script.blob(Secret::new(format!("{}\n", native_hash(self.password.reveal()))));
            script.line(format!(
                "mariadb --no-defaults --batch --raw --skip-column-names --force <{questions} >\"$R/user\" 2>/dev/null"
            ));
            let mut test = format!("grep -qxF -f {hash} \"$R/user\"");
            for grant in &self.grants {
                test.push_str(&format!(
                    " && grep -qF -e {} \"$R/user\"",
                    sh(&format!("GRANT {grant} TO "))
                ));
            }
            script.line(format!("if {test}; then same; fi"));
        }
        let account = self.account();
        let password = sql(self.password.reveal());
        let mut statements = format!(
            "CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password};\nALTER USER {account} IDENTIFIED BY {password};\n"
        );
        for grant in &self.grants {
            statements.push_str(&format!("GRANT {grant} TO {account};\n"));
        }
        run_sql(&mut script, statements);
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    fn user() -> DatabaseUser {
        DatabaseUser {
            name: "erp".into(),
            host: "127.0.0.1".into(),
            password: Secret::new("secret"),
            grants: vec!["ALL PRIVILEGES ON `erp`.*".into()],
        }
    }

    /// What an earlier step will do to MariaDB says nothing about what this one will find.
    #[test]
    fn a_database_that_cannot_be_asked_is_looked_at_later() {
        let mut seen = Observed::bare(Facts::assumed());
        seen.sql = Err("ERROR 2002".into());
        let database = Database { name: "erp".into() };
        assert_eq!(database.compare(&seen).unwrap().action, Action::Check);
        database.project(&mut seen);
        assert_eq!(database.compare(&seen), None);
        let change = user().compare(&seen).unwrap();
        assert_eq!(change.action, Action::Check);
        let script = user().converge(&change, &seen);
        assert!(script.body.contains("then same; fi"), "{}", script.body);
        user().project(&mut seen);
        assert_eq!(user().compare(&seen), None);
    }

    #[test]
    fn a_database_that_is_yet_to_be_installed_is_empty() {
        let mut seen = Observed::bare(Facts::assumed());
        seen.fresh.insert(SERVER.into());
        Database { name: "erp".into() }.project(&mut seen);
        assert_eq!(user().compare(&seen).unwrap().action, Action::Create);
    }

    #[test]
    fn native_hash_is_what_mariadb_stores() {
        // SELECT PASSWORD('secret') on MariaDB 10.11
        assert_eq!(
            super::native_hash("secret"),
            "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
        );
    }
}
