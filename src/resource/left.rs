//! What hosts that left the cluster leave on the others.

use std::collections::BTreeSet;

use super::observed::PathState;
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::{sh, sh_words, sql};
use crate::secret::Secret;

/// That a database user has no address but these: a host that left the cluster cannot log in any more. Accounts with a
/// name or a pattern instead of an address are none of hactl's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAddresses {
    /// The user.
    pub user: String,
    /// Where it may come from.
    pub addresses: Vec<String>,
}

impl DatabaseAddresses {
    fn others(&self) -> String {
        let known: Vec<_> = self.addresses.iter().map(|address| sql(address)).collect();
        format!(
            "FROM mysql.global_priv WHERE User={} AND Host REGEXP '^[0-9a-fA-F:.]*[:.][0-9a-fA-F:.]*$' AND Host NOT IN ({})",
            sql(&self.user),
            known.join(",")
        )
    }
}

impl Kind for DatabaseAddresses {
    fn id(&self) -> String {
        format!("addresses of database user {}", self.user)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.sql(&self.id(), &format!("SELECT Host {} ORDER BY Host", self.others()));
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        // A server that could not be asked has more to do first; the next run sees.
        let others = seen.sql.as_ref().ok()?.get(&self.id())?;
        let others: Vec<_> = others.split_whitespace().collect();
        (!others.is_empty()).then(|| Change::new(Action::Remove, others.join(", ")))
    }

    fn project(&self, seen: &mut Observed) {
        if let Ok(answers) = &mut seen.sql {
            answers.insert(self.id(), String::new());
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        let query = script.blob(Secret::new(format!(
            "SELECT CONCAT('DROP USER IF EXISTS ',QUOTE(User),'@',QUOTE(Host),';') {}",
            self.others()
        )));
        script.line(format!(
            "mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names <{query} >\"$R/drop\" && \
             mariadb --no-defaults --skip-ssl <\"$R/drop\" || fail 'MariaDB refused'"
        ));
        script
    }
}

/// That a file holds no blocks of hactl's but these (see [`super::Block`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyBlocks {
    /// Absolute path of the file.
    pub path: String,
    /// Names of its blocks.
    pub names: BTreeSet<String>,
}

impl Kind for OnlyBlocks {
    fn id(&self) -> String {
        format!("old blocks in {}", self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
        ask.contents.insert(self.path.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let content = String::from_utf8_lossy(seen.contents.get(&self.path)?);
        let names = content.lines().filter_map(|line| line.strip_prefix("# hactl begin "));
        let old: Vec<_> = names.filter(|name| !self.names.contains(*name)).collect();
        (!old.is_empty()).then(|| Change::new(Action::Remove, old.join(", ")))
    }

    fn project(&self, seen: &mut Observed) {
        let Some(content) = seen.contents.get_mut(&self.path) else {
            return;
        };
        let mut kept = String::new();
        let mut skips = false;
        for line in String::from_utf8_lossy(content).lines() {
            if let Some(name) = line.strip_prefix("# hactl begin ") {
                skips = !self.names.contains(name);
            }
            if !skips {
                kept.push_str(line);
                kept.push('\n');
            }
            skips = skips && !line.starts_with("# hactl end ");
        }
        *content = kept.into_bytes();
        let state = seen.paths.entry(self.path.clone()).or_insert_with(PathState::foretold);
        state.sha256 = None;
        state.mtime = PathState::LATER;
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        let names = script.blob(
            self.names
                .iter()
                .map(|name| format!("# hactl begin {name}\n"))
                .collect::<String>(),
        );
        let path = sh(&self.path);
        script.line(format!(
            "awk 'NR==FNR {{ known[$0]=1; next }} /^# hactl begin / {{ skip = !($0 in known) }} !skip {{ print }} \
             /^# hactl end / {{ skip = 0 }}' {names} {path} >\"$R/blocks\" || fail 'cannot compose the new file'\n\
             put {path} $(stat -c '%U %G %a' -- {path}) \"$R/blocks\" && forget {}",
            sh_words([&self.path])
        ));
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Block, Facts};

    #[test]
    fn blocks_of_hosts_that_left_go() {
        let mut seen = Observed::bare(Facts::assumed());
        for name in ["db1", "db2", "db3"] {
            let block = Block {
                path: "/etc/k".into(),
                name: name.into(),
                text: format!("{name} key\n"),
            };
            block.project(&mut seen);
        }
        let only = OnlyBlocks {
            path: "/etc/k".into(),
            names: ["db1", "db3"].map(str::to_owned).into(),
        };
        assert_eq!(only.compare(&seen).unwrap().summary, "db2");
        only.project(&mut seen);
        assert_eq!(only.compare(&seen), None);
        let content = String::from_utf8_lossy(&seen.contents["/etc/k"]).into_owned();
        assert_eq!(
            content,
            "# hactl begin db1\ndb1 key\n# hactl end db1\n# hactl begin db3\ndb3 key\n# hactl end db3\n"
        );
    }

    #[test]
    fn addresses_that_nobody_has_any_more_go() {
        let user = DatabaseAddresses {
            user: "o'hara".into(),
            addresses: vec!["10.0.0.1".into()],
        };
        let mut seen = Observed::bare(Facts::assumed());
        assert_eq!(user.compare(&seen), None, "not asked");
        seen.sql = Ok([(user.id(), "10.0.0.2\n10.0.0.3".to_owned())].into());
        assert_eq!(user.compare(&seen).unwrap().summary, "10.0.0.2, 10.0.0.3");
        user.project(&mut seen);
        assert_eq!(user.compare(&seen), None);
    }
}
