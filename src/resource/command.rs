//! Commands with a guard: what no other kind covers. The guard says whether it is already done.

use std::time::Duration;

use super::observed::{Observed, PathState};
use super::{Action, Ask, Change, Kind, Script};
use crate::quote::{sh, sh_words};
use crate::secret::Text;

/// A command that runs when one of its guards says it is not done.
#[derive(Debug, Clone)]
pub struct Command {
    /// What it does, unique on the host, e.g. `python environment of release 3f2a`.
    pub name: String,
    /// All must hold for it to count as done. Never empty.
    pub guards: Vec<Guard>,
    /// Shell; runs with `set -e`. It must be restartable: it may have been cut anywhere before.
    pub run: String,
    /// User to run as; root when `None`.
    pub user: Option<String>,
    /// Working directory; `/` when `None`.
    pub dir: Option<String>,
    /// Environment (visible to the user's processes: no secrets).
    pub env: Vec<(String, String)>,
    /// Standard input; the place for secrets.
    pub input: Option<Text>,
    /// How long it may take.
    pub deadline: Duration,
    /// Files it makes or changes, for services that watch them.
    pub creates: Vec<String>,
}

/// How to see that a command is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// This path exists.
    Exists(String),
    /// The first line of this file (root's; written by the step when the command succeeded) is the value.
    Stamp {
        /// Absolute path of the stamp.
        path: String,
        /// What it must say, one line.
        value: String,
    },
    /// The same, but no stamp at all counts, too: it was done before hactl came.
    Inherited {
        /// Absolute path of the stamp.
        path: String,
        /// What it must say, one line.
        value: String,
    },
    /// This shell test passes. Runs in every probe: keep it cheap (builtins).
    Passes(String),
    /// Never done: a run of this very command was asked for.
    Asked,
    /// This query's first row is the value.
    Sql {
        /// SQL, one statement.
        query: String,
        /// Expected first row, columns separated by tabs.
        value: String,
        /// The package whose installation makes the question meaningful.
        package: String,
    },
}

enum Answer {
    Done,
    Not(String),
    Unknown(String),
}

impl Guard {
    fn answer(&self, seen: &Observed, key: &str) -> Answer {
        match self {
            Guard::Exists(path) if seen.paths.contains_key(path) => Answer::Done,
            Guard::Exists(path) => Answer::Not(format!("{path} is missing")),
            Guard::Inherited { path, .. } if !seen.lines.contains_key(path) => Answer::Done,
            Guard::Stamp { path, value } | Guard::Inherited { path, value } => match seen.lines.get(path) {
                Some(line) if line == value => Answer::Done,
                Some(_) => Answer::Not("done before, for something else".into()),
                None => Answer::Not("not done yet".into()),
            },
            Guard::Asked => Answer::Not("asked for".into()),
            Guard::Passes(_) => match seen.tests.get(key) {
                Some(test) if test.code == 0 => Answer::Done,
                _ => Answer::Not("not done yet".into()),
            },
            Guard::Sql { value, package, .. } => match &seen.sql {
                Ok(answers) => match answers.get(key) {
                    Some(rows) if rows.lines().next().unwrap_or_default() == value => Answer::Done,
                    None if !seen.fresh.contains(package) => Answer::Unknown("MariaDB could not be asked".into()),
                    _ => Answer::Not("not done yet".into()),
                },
                Err(_) if seen.fresh.contains(package) => Answer::Not("not done yet".into()),
                Err(why) => Answer::Unknown(why.clone()),
            },
        }
    }
}

impl Command {
    /// A command of root's, for five minutes at most, without input or environment of its own.
    pub fn by_root(name: impl Into<String>, guards: Vec<Guard>, run: impl Into<String>) -> Self {
        Command {
            name: name.into(),
            guards,
            run: run.into(),
            user: None,
            dir: None,
            env: Vec::new(),
            input: None,
            deadline: Duration::from_secs(300),
            creates: Vec::new(),
        }
    }

    /// For a step that the plan could not decide because the database did not answer: ends it as
    /// [`super::script::SAME`] when the guards hold by now. The other guards were seen to hold.
    fn look_first(&self, script: &mut Script) {
        script.line("_done=1");
        for guard in &self.guards {
            if let Guard::Sql { query, value, .. } = guard {
                let (query, value) = (script.blob(query.clone()), sh(value));
                script.line(format!(
                    "_row=$(mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names <{query} | head -n 1)\n\
                     [ \"$_row\" = {value} ] || _done=0"
                ));
            }
        }
        script.line("[ \"$_done\" = 0 ] || same");
    }

    fn key(&self, index: usize) -> String {
        format!("{}#{index}", self.name)
    }

    /// The shell that runs it, without its guards.
    pub(super) fn invocation(&self, script: &mut Script) -> String {
        let body = script.blob(format!(
            "set -eu\ncd {}\n{}\n",
            sh(self.dir.as_deref().unwrap_or("/")),
            self.run
        ));
        let input = match &self.input {
            Some(input) => script.blob(input.clone()),
            None => "/dev/null".into(),
        };
        let env = sh_words(self.env.iter().map(|(key, value)| format!("{key}={value}")));
        // The body is read by root (the folder is root's) and handed over on a descriptor; nothing shows in argv.
        let shell = format!("env {env} sh -c 'eval \"$(cat <&3)\"'");
        let command = match &self.user {
            Some(user) => format!("runuser -u {} -- {shell}", sh(user)),
            None => shell,
        };
        format!("{command} 3<{body} <{input}")
    }
}

impl Kind for Command {
    fn id(&self) -> String {
        format!("run {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        for (index, guard) in self.guards.iter().enumerate() {
            match guard {
                Guard::Exists(path) => ask.path(path),
                Guard::Stamp { path, .. } | Guard::Inherited { path, .. } => {
                    ask.lines.insert(path.clone());
                }
                Guard::Asked => {}
                Guard::Passes(test) => ask.test(&self.key(index), test),
                Guard::Sql { query, .. } => ask.sql(&self.key(index), query),
            }
        }
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let mut unknown = None;
        for (index, guard) in self.guards.iter().enumerate() {
            match guard.answer(seen, &self.key(index)) {
                Answer::Done => {}
                Answer::Not(why) => return Some(Change::new(Action::Run, why)),
                Answer::Unknown(why) => unknown = Some(why),
            }
        }
        unknown.map(|why| Change::new(Action::Check, format!("runs if needed ({why})")))
    }

    fn project(&self, seen: &mut Observed) {
        for (index, guard) in self.guards.iter().enumerate() {
            match guard {
                Guard::Exists(path) => {
                    seen.paths.entry(path.clone()).or_insert_with(PathState::foretold);
                }
                Guard::Stamp { path, value } | Guard::Inherited { path, value } => {
                    seen.lines.insert(path.clone(), value.clone());
                }
                Guard::Asked => {}
                Guard::Passes(_) => {
                    let passed = super::observed::TestState {
                        code: 0,
                        output: String::new(),
                    };
                    seen.tests.insert(self.key(index), passed);
                }
                Guard::Sql { value, .. } => {
                    if seen.sql.is_err() {
                        seen.sql = Ok(Default::default());
                    }
                    if let Ok(answers) = &mut seen.sql {
                        answers.insert(self.key(index), value.clone());
                    }
                }
            }
        }
        for path in &self.creates {
            seen.paths.insert(path.clone(), PathState::foretold());
        }
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        if change.action == Action::Check {
            self.look_first(&mut script);
        }
        let command = self.invocation(&mut script);
        script.line(format!(
            "{command} || fail {}",
            sh(&format!("could not: {}", self.name))
        ));
        for guard in &self.guards {
            if let Guard::Stamp { path, value } | Guard::Inherited { path, value } = guard {
                let path = sh(path);
                script.line(format!(
                    "mkdir -p -- \"$(dirname -- {path})\" && printf '%s\\n' {} >{path}~ && sync {path}~ && mv -fT -- {path}~ {path} || fail 'cannot write the stamp'",
                    sh(value)
                ));
            }
        }
        script
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}
