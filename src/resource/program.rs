//! Groups of supervised programs.

use std::time::Duration;

use super::observed::{Loaded, Observed, ProgramState};
use super::service::{changed, digests, stale};
use super::{Action, Ask, Change, Drain, Kind, Script};
use crate::quote::{sh, sh_words};

/// The unit that runs supervisord.
const SUPERVISOR: &str = "supervisor.service";

/// A process that takes up changed files without an interruption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloads {
    /// Its name in the group.
    pub process: String,
    /// The watched files that it reads again on SIGHUP, whereupon it replaces its children. All other changes restart it.
    pub files: Vec<String>,
}

/// A group of programs under supervisord that must all run with their files as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name of the group.
    pub group: String,
    /// Process names in it, as supervisord reports them.
    pub processes: Vec<String>,
    /// Process names that work off jobs. While the app is brought to another release they end first and start last.
    pub jobs: Vec<String>,
    /// The group's configuration file and whatever else it reads at start (a release link, an environment file).
    pub watches: Vec<String>,
    /// Processes that need no restart for some of those files.
    pub reloads: Vec<Reloads>,
    /// Shell test that passes when it serves, besides all processes being up; `true` when there is none.
    pub health: String,
    /// How long it may take.
    pub patience: Duration,
    /// How long supervisord gives its programs to end.
    pub stop: Duration,
    /// How visitors are led past the host while these programs restart.
    pub drain: Option<Drain>,
}

impl Program {
    fn stamp(&self) -> String {
        format!("supervisor.{}", self.group)
    }

    /// The processes that take up all of these files without an interruption.
    fn gentle(&self, stale: &[String]) -> Vec<&str> {
        let takes = |reloads: &&Reloads| stale.iter().all(|path| reloads.files.contains(path));
        let able = self.reloads.iter().filter(takes);
        able.map(|reloads| reloads.process.as_str()).collect()
    }

    fn stale(&self, seen: &Observed) -> Vec<String> {
        let (Some(unit), Some(programs)) = (seen.units.get(SUPERVISOR), &seen.programs) else {
            return Vec::new();
        };
        let running = self
            .processes
            .iter()
            .filter_map(|process| programs.get(&self.key(process)));
        let since = running.map(|state| state.start).min().unwrap_or(0);
        stale(seen, &self.watches, &self.stamp(), &unit.invocation, since)
    }

    /// Whether supervisord has it at all.
    pub(super) fn is_known(&self, seen: &Observed) -> bool {
        let known = seen.programs.as_ref();
        known.is_some_and(|programs| self.processes.iter().any(|name| programs.contains_key(&self.key(name))))
    }

    fn restart(&self, why: String) -> Change {
        let change = Change::new(Action::Restart, why);
        match &self.drain {
            Some(drain) => drain.told(change),
            None => change,
        }
    }

    /// What supervisorctl calls a process.
    pub(super) fn key(&self, process: &str) -> String {
        format!("{}:{process}", self.group)
    }
}

/// Shell that ends the script with 1 unless all of these processes run. supervisorctl's exit status takes STARTING and
/// BACKOFF for running; the words tell.
pub(super) fn all_running(keys: impl IntoIterator<Item = String>) -> String {
    format!(
        "supervisorctl status {} | {{\n\
         \x20   state=1\n\
         \x20   while read -r name word rest; do\n\
         \x20       echo \"$name $word $rest\"\n\
         \x20       if [ \"$word\" != RUNNING ]; then state=1; break; fi\n\
         \x20       state=0\n\
         \x20   done\n\
         \x20   exit $state\n\
         }} || exit 1\n",
        sh_words(keys)
    )
}

impl Kind for Program {
    fn id(&self) -> String {
        format!("programs {}", self.group)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.programs = true;
        ask.units.insert(SUPERVISOR.into());
        ask.loaded.insert(self.stamp());
        for path in &self.watches {
            ask.path(path);
        }
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let start = || Some(Change::new(Action::Start, self.processes.join(", ")));
        if !seen.units.contains_key(SUPERVISOR) {
            return start();
        }
        let Some(programs) = &seen.programs else {
            return Some(Change::new(Action::Start, "supervisord does not answer"));
        };
        if self
            .processes
            .iter()
            .all(|process| !programs.contains_key(&self.key(process)))
        {
            return start();
        }
        let down: Vec<_> = self
            .processes
            .iter()
            .filter_map(|process| match programs.get(&self.key(process)) {
                Some(state) if state.state == "RUNNING" => None,
                Some(state) => Some(format!("{process} is {}", state.state)),
                None => Some(format!("{process} is missing")),
            })
            .collect();
        if !down.is_empty() {
            return Some(self.restart(down.join(", ")));
        }
        let stale = self.stale(seen);
        if stale.is_empty() {
            return None;
        }
        Some(match self.gentle(&stale).as_slice() {
            [] => self.restart(changed(&stale)),
            _ => Change::new(Action::Reload, changed(&stale)),
        })
    }

    fn project(&self, seen: &mut Observed) {
        let files = digests(seen, &self.watches);
        let programs = seen.programs.get_or_insert_default();
        for process in &self.processes {
            programs.insert(
                self.key(process),
                ProgramState {
                    state: "RUNNING".into(),
                    start: 0,
                },
            );
        }
        let invocation = seen
            .units
            .get(SUPERVISOR)
            .map(|unit| unit.invocation.clone())
            .unwrap_or_default();
        seen.loaded.insert(self.stamp(), Loaded { invocation, files });
    }

    fn converge(&self, change: &Change, seen: &Observed) -> Script {
        let mut script = Script::default();
        if let (Action::Restart, Some(drain)) = (change.action, &self.drain) {
            drain.begin(&mut script);
        }
        if change.action == Action::Reload {
            let stale = self.stale(seen);
            let gentle = self.gentle(&stale);
            let others = self
                .processes
                .iter()
                .filter(|process| !gentle.contains(&process.as_str()));
            script.line(format!(
                "GENTLE={}\nHARSH={}",
                sh(&sh_words(gentle.iter().map(|process| self.key(process)))),
                sh(&sh_words(others.map(|process| self.key(process))))
            ));
        }
        let health = script.blob(format!(
            "{}\
             [ ! -e \"$R/leaving\" ] || while read -r pid; do\n\
             \x20   [ ! -d \"/proc/$pid\" ] || {{ echo \"process $pid still serves with what it had loaded before\"; exit 1; }}\n\
             done <\"$R/leaving\"\n{}\n",
            all_running(self.processes.iter().map(|process| self.key(process))),
            self.health
        ));
        script.line(format!(
            "load_programs {} {health} {} {}",
            sh(&self.group),
            self.patience.as_secs(),
            sh_words(&self.watches)
        ));
        script
    }

    fn is_felt(&self, change: &Change) -> bool {
        matches!(change.action, Action::Reload | Action::Restart)
    }

    fn deadline(&self) -> Duration {
        let drain = self.drain.as_ref().map(|drain| drain.patience).unwrap_or_default();
        // Once for the new files, once for the old ones put back.
        drain + (self.patience + self.stop) * 2 + Duration::from_secs(120)
    }
}

/// Reads supervisord's `getAllProcessInfo` answer; `None` when it is none.
///
/// XML-RPC of one known producer: members are `<name>key</name><value><type>text</type></value>` without attributes.
pub(super) fn read(xml: &str) -> Option<std::collections::BTreeMap<String, ProgramState>> {
    if !xml.contains("<methodResponse>") || xml.contains("<fault>") {
        return None;
    }
    let member = |block: &str, name: &str| {
        let rest = block.split_once(&format!("<name>{name}</name>"))?.1;
        let value = rest.split_once("<value>")?.1.split_once("</value>")?.0;
        let text = value.split_once('>')?.1.split_once('<')?.0;
        Some(text.to_owned())
    };
    let programs = xml.split("<struct>").skip(1).filter_map(|block| {
        let key = format!("{}:{}", member(block, "group")?, member(block, "name")?);
        let start = member(block, "start").and_then(|text| text.parse().ok()).unwrap_or(0);
        Some((
            key,
            ProgramState {
                state: member(block, "statename")?,
                start,
            },
        ))
    });
    Some(programs.collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_supervisords_answer() {
        let xml = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n<value><struct>\n\
            <member>\n<name>name</name>\n<value><string>web</string></value>\n</member>\n\
            <member>\n<name>group</name>\n<value><string>app</string></value>\n</member>\n\
            <member>\n<name>start</name>\n<value><int>1700000000</int></value>\n</member>\n\
            <member>\n<name>statename</name>\n<value><string>RUNNING</string></value>\n</member>\n\
            </struct></value>\n</data></array></value>\n</param>\n</params>\n</methodResponse>\n";
        let programs = super::read(xml).unwrap();
        assert_eq!(programs["app:web"].state, "RUNNING");
        assert_eq!(programs["app:web"].start, 1_700_000_000);
        assert!(super::read("curl: (7) refused").is_none());
    }
}
