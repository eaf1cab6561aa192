//! Databases and users of MariaDB, through the host's own client as root over the unix socket.

use std::collections::BTreeSet;

use sha1::{Digest, Sha1};

use super::{Action, Ask, Change, Kind, OLD_PASSWORDS, Observed, Script};
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

/// A user with a password and what it may do. Passwords that it had before stay good until [`DatabaseOldPasswords`], so
/// that a new one reaches the application without a moment at which it has the wrong one.
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

/// That a user has this password and no other; declared after everything that may still use an older one.
#[derive(Debug, Clone)]
pub struct DatabaseOldPasswords {
    /// The user, as [`DatabaseUser`] makes it.
    pub user: DatabaseUser,
}

/// MariaDB's stored form of a password (mysql_native_password): `*` and SHA1(SHA1(password)) in upper-case hex.
fn native_hash(password: &str) -> String {
    let twice = Sha1::digest(Sha1::digest(password.as_bytes()));
    twice
        .iter()
        .fold(String::from("*"), |hex, byte| hex + &format!("{byte:02X}"))
}

/// Where MariaDB keeps the passwords that an account has beside its first.
const OTHERS: &str = "'$.auth_or[*].authentication_string'";

/// The hashes in the answer to [`DatabaseUser::password_query`].
fn hashes(answer: &str) -> BTreeSet<&str> {
    let words = answer.split(|c: char| !(c == '*' || c.is_ascii_hexdigit()));
    words.filter(|word| word.len() == 41 && word.starts_with('*')).collect()
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
            "_answer=$(mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names <{blob}) || fail 'MariaDB does not answer'\n\
             [ \"$_answer\" != 1 ] || same"
        ));
    }
}

fn run_sql(script: &mut Script, statements: String) {
    // A server that is set to another mode would take the backslashes of a literal for themselves.
    let blob = script.blob(Secret::new(format!("SET SESSION sql_mode='';\n{statements}")));
    script.line(format!(
        "mariadb --no-defaults --skip-ssl --batch --skip-column-names <{blob} || fail 'MariaDB refused'"
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
        // All passwords that are good for it: the first, and those that `OR` adds.
        format!(
            "SELECT CONCAT_WS(' ',JSON_VALUE(Priv,'$.authentication_string'),JSON_EXTRACT(Priv,{OTHERS})) {}",
            self.where_account()
        )
    }

    fn where_account(&self) -> String {
        format!(
            "FROM mysql.global_priv WHERE User={} AND Host={}",
            sql(&self.name),
            sql(&self.host)
        )
    }

    fn hash(&self) -> String {
        native_hash(self.password.reveal())
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
        if !hashes(stored).contains(self.hash().as_str()) {
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
            let before = answers.get(&self.password_key()).cloned().unwrap_or_default();
            answers.insert(self.password_key(), format!("{} {before}", self.hash()));
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
            let hash = script.blob(Secret::new(format!("{}\n", self.hash())));
            script.line(format!(
                "mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names --force <{questions} >\"$R/user\" 2>/dev/null"
            ));
            let mut test = format!("grep -qF -f {hash} \"$R/user\"");
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
        let create = script.blob(Secret::new(format!(
            "CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password};\n"
        )));
        let alter = script.blob(Secret::new(format!(
            "ALTER USER {account} IDENTIFIED VIA mysql_native_password USING PASSWORD({password})"
        )));
        let mut rest = String::from(";\n");
        for grant in &self.grants {
            rest.push_str(&format!("GRANT {grant} TO {account};\n"));
        }
        let (query, rest) = (script.blob(self.password_query()), script.blob(rest));
        let new = script.blob(Secret::new(format!("{}\n", self.hash())));
        // What was good before stays good: the words are hashes, so nothing of them has to be quoted.
        script.line(format!(
            "set -f\n\
             {{ cat {create} {alter}\n\
             for _hash in $(mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names <{query} | grep -oE '[*][0-9A-F]{{40}}' | grep -vxF -f {new}); do\n\
             \x20   printf \" OR mysql_native_password USING '%s'\" \"$_hash\"\n\
             done\n\
             cat {rest}; }} >\"$R/sql\"\n\
             mariadb --no-defaults --skip-ssl --batch --skip-column-names <\"$R/sql\" || fail 'MariaDB refused'\n\
             rm -f \"$R/sql\""
        ));
        script
    }
}

impl Kind for DatabaseOldPasswords {
    fn id(&self) -> String {
        format!("{OLD_PASSWORDS}{}@{}", self.user.name, self.user.host)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.sql(&self.user.password_key(), &self.user.password_query());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let stored = match answer(seen, &self.user.password_key()) {
            Ok(stored) => stored,
            Err(_) => return Some(Change::new(Action::Check, "dropped if there are any")),
        };
        let hash = self.user.hash();
        let old = hashes(stored).into_iter().filter(|other| *other != hash).count();
        (old > 0).then(|| Change::new(Action::Remove, "refused from now on"))
    }

    fn project(&self, seen: &mut Observed) {
        if let Ok(answers) = &mut seen.sql {
            answers.insert(self.user.password_key(), self.user.hash());
        }
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        let query = format!(
            "SELECT COUNT(*) {} AND JSON_VALUE(Priv,'$.authentication_string')={} AND COALESCE(JSON_EXTRACT(Priv,{OTHERS}),'') NOT LIKE '%\"*%'",
            self.user.where_account(),
            sql(&self.user.hash()),
        );
        same_if(&mut script, change, query);
        let account = self.user.account();
        run_sql(
            &mut script,
            format!(
                "ALTER USER {account} IDENTIFIED BY {};\n",
                sql(self.user.password.reveal())
            ),
        );
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

    /// A rotation: the new password is added, and the old one goes only when that is declared.
    #[test]
    fn an_old_password_stays_good_until_it_is_dropped() {
        let user = user();
        let only = DatabaseOldPasswords { user: user.clone() };
        let mut seen = Observed::bare(Facts::assumed());
        let old = native_hash("old");
        seen.sql = Ok([
            (user.password_key(), old.clone()),
            (
                user.grants_key(),
                "GRANT ALL PRIVILEGES ON `erp`.* TO `erp`@`127.0.0.1`".to_owned(),
            ),
        ]
        .into());
        assert_eq!(user.compare(&seen).unwrap().summary, "password (changed)");
        user.project(&mut seen);
        assert_eq!(user.compare(&seen), None);
        assert!(hashes(seen.sql.as_ref().unwrap()[&user.password_key()].as_str()).contains(old.as_str()));
        assert_eq!(only.compare(&seen).unwrap().action, Action::Remove);
        only.project(&mut seen);
        assert_eq!((only.compare(&seen), user.compare(&seen)), (None, None));
        let both = format!("{} [\"{old}\"]", user.hash());
        assert_eq!(hashes(&both).len(), 2);
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
