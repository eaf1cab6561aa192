//! Which release of an application serves: one step from the running release to the wanted one, with its database, or
//! back. What happens in which order on the host is in `release.sh`.

use std::time::Duration;

use super::observed::PathState;
use super::program::all_running;
use super::{Action, Ask, Change, Command, Kind, Observed, PathKind, Program, Script};
use crate::quote::{sh, sh_words, sql};
use crate::secret::Text;

/// Longest time that a dump, or its return, may take.
const DUMP: Duration = Duration::from_secs(7200);

/// The release that an application runs, and all that has to move with it: schema, processes, caches.
#[derive(Debug, Clone)]
pub struct Release {
    /// Name of the application, for people and logs.
    pub name: String,
    /// Its folder: `releases/ID` are the builds, `current` leads to the one in service.
    pub path: String,
    /// The build that is wanted; it is there by now.
    pub id: String,
    /// What it is built from, for people: `v1.2`, or `frappe v15.52.0, erpnext v15.48.1`.
    pub refs: String,
    /// Owner of the builds.
    pub user: String,
    /// The programs that run it.
    pub programs: Vec<Program>,
    /// Port of gunicorn.
    pub port: u16,
    /// Databases that its migrations change; none where another host migrates.
    pub databases: Vec<ReleaseDatabase>,
    /// In order.
    pub migrations: Vec<Migration>,
    /// Runs when the site has been closed.
    pub before_migrating: Option<Command>,
    /// Runs before the release, or the one that is put back, is started.
    pub before_opening: Option<Command>,
    /// Shell that prints the HTTP status which a visitor gets from this host's nginx; `None`: it has no nginx.
    pub visitor: Option<String>,
    /// Shell test that passes when the application answers through this host's nginx, whether the gate is closed or not.
    pub through_nginx: Option<String>,
    /// How long it may take to answer.
    pub patience: Duration,
    /// The other hosts that change it with this one.
    pub together: Together,
}

/// Hosts that go from release to release together: one of them migrates for all, and none opens before all are ready to.
/// Nobody tells another what to do: each says how far it is in a file, and asks the others.
#[derive(Debug, Clone, Default)]
pub struct Together {
    /// Who migrates; `None`: this host does.
    pub leader: Option<Peer>,
    /// Whom this host migrates for.
    pub followers: Vec<Peer>,
}

/// Another host with the same application.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Shell command that prints how far it is: run, state, `alive` when it is still at it; `open` or `closed`; the release
    /// in service.
    pub ask: String,
}

/// Where a host says how far it is with its release.
pub const TOGETHER: &str = "/run/hactl-together";

/// A database and how its server is reached.
#[derive(Debug, Clone)]
pub struct ReleaseDatabase {
    /// Its name.
    pub name: String,
    /// Options file of MariaDB's clients; `None`: its server is here, and root needs no password.
    pub client: Option<Text>,
}

/// What brings a database to the schema of a release.
#[derive(Debug, Clone)]
pub struct Migration {
    /// What is migrated, for people.
    pub name: String,
    /// Runs with the wanted release in place. Its guards are not looked at.
    pub command: Command,
    /// How to see that it was done.
    pub mark: Mark,
    /// SQL that says 1 when there is something to migrate, asked of the `databases` entry of the same place; `None`: there
    /// always is.
    pub there: Option<String>,
}

/// Where it stands that a migration was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// `.hactl/migrated` in the release: once it was migrated to, it never needs that again. The command's own last act.
    InRelease,
    /// The first line of this file is the id of the release; without the file other steps take care of it.
    Stamp(String),
}

impl Release {
    fn current(&self) -> String {
        format!("{}/current", self.path)
    }

    /// While it is there the site is closed.
    fn gate(&self) -> String {
        gate(&self.path)
    }

    fn target(&self) -> String {
        format!("releases/{}", self.id)
    }

    fn marker(&self) -> String {
        format!("{}/releases/{}/.hactl/migrated", self.path, self.id)
    }

    fn pending(&self, seen: &Observed) -> Vec<&str> {
        let pending = |migration: &&Migration| match &migration.mark {
            Mark::InRelease => !seen.paths.contains_key(&self.marker()),
            Mark::Stamp(path) => seen.lines.get(path).is_some_and(|line| *line != self.id),
        };
        let migrations = self.migrations.iter().filter(pending);
        migrations.map(|migration| migration.name.as_str()).collect()
    }

    /// Keys of processes by what they do: jobs, or the web.
    fn keys(&self, jobs: bool) -> Vec<String> {
        let of = |program: &Program| {
            let web = program.processes.iter().filter(|name| !program.jobs.contains(name));
            let names: Vec<_> = if jobs {
                program.jobs.iter().collect()
            } else {
                web.collect()
            };
            names.into_iter().map(|name| program.key(name)).collect::<Vec<_>>()
        };
        self.programs.iter().flat_map(of).collect()
    }

    /// The script's variables and the functions that it calls.
    fn parameters(&self, script: &mut Script) {
        let (web, jobs) = (self.keys(false), self.keys(true));
        let mut health = match web.is_empty() {
            true => String::new(),
            false => all_running(web.clone()),
        };
        for test in self
            .programs
            .iter()
            .map(|program| &program.health)
            .chain(&self.through_nginx)
        {
            health.push_str(&format!("( {test}\n) || exit 1\n"));
        }
        let health = script.blob(health);
        let stay = |program: &Program| {
            let stay = program.jobs.iter().filter(|name| program.processes.contains(name));
            stay.map(|name| program.key(name)).collect::<Vec<_>>()
        };
        let stay: Vec<_> = self.programs.iter().flat_map(stay).collect();
        let jobs_run = script.blob(match stay.is_empty() {
            true => String::new(),
            false => all_running(stay),
        });
        script.line(format!(
            "NAME={} P={} TO={} REFS={} OWNER={} PORT={} PATIENCE={}",
            sh(&self.name),
            sh(&self.path),
            sh(&self.id),
            sh(&self.refs),
            sh(&self.user),
            self.port,
            self.patience.as_secs()
        ));
        script.line(format!(
            "HEALTH={health} JOBS_RUN={jobs_run} WEB={} JOBS={}",
            sh(&sh_words(web)),
            sh(&sh_words(jobs))
        ));
        let leader = self.together.leader.as_ref();
        let ask = leader.map(|leader| script.blob(leader.ask.clone()));
        script.line(format!(
            "TOGETHER=${{TOGETHER:-{TOGETHER}}} LEADER={} ASK_LEADER={} FOLLOWERS={}",
            sh(leader.map_or("", |leader| &leader.name)),
            ask.unwrap_or_default(),
            sh(&sh_words(self.together.followers.iter().map(|peer| &peer.name))),
        ));
        self.functions(script);
    }

    fn functions(&self, script: &mut Script) {
        let mut lines = vec![];
        for program in &self.programs {
            let watches = sh_words(program.watches.iter().map(String::as_str));
            lines.push(format!("\"$1\" {} {watches}", sh(&program.group)));
        }
        function(script, "each_group", &lines);
        lines.clear();
        let mut clients = Vec::new();
        for database in &self.databases {
            let client = match &database.client {
                Some(options) => format!("--defaults-file={}", script.blob(options.clone())),
                None => "--no-defaults".to_owned(),
            };
            let size = script.blob(format!(
                "SELECT COALESCE(CEIL(SUM(DATA_LENGTH)/1024),0)+65536 FROM information_schema.TABLES WHERE TABLE_SCHEMA={}",
                sql(&database.name)
            ));
            lines.push(format!("\"$1\" {} {client} {size}", sh(&database.name)));
            clients.push(client);
        }
        function(script, "each_database", &lines);
        lines.clear();
        for follower in &self.together.followers {
            let ask = script.blob(follower.ask.clone());
            lines.push(format!("\"$1\" {} {ask}", sh(&follower.name)));
        }
        function(script, "each_follower", &lines);
        lines.clear();
        for (number, migration) in self.migrations.iter().enumerate() {
            let mark = match &migration.mark {
                Mark::InRelease => "release",
                Mark::Stamp(path) => path,
            };
            lines.push(format!("\"$1\" {number} {} {}", sh(&migration.name), sh(mark)));
            // In the step's own process group, so that what ends the step ends it too.
            let limit = migration.command.deadline.as_secs();
            let command = migration.command.invocation(script);
            function(
                script,
                &format!("migrate_{number}"),
                &[format!("timeout --foreground -k 30 {limit} {command}")],
            );
            let there = migration
                .there
                .as_ref()
                .zip(clients.get(number))
                .map(|(query, client)| {
                    let query = script.blob(query.clone());
                    format!("[ \"$(sql {client} {query} | head -n 1)\" = 1 ]")
                });
            function(script, &format!("there_{number}"), there.as_slice());
        }
        function(script, "each_migration", &lines);
        for (name, command) in [
            ("before_migrating", &self.before_migrating),
            ("before_opening", &self.before_opening),
        ] {
            let line = command.as_ref().map(|command| {
                let limit = command.deadline.as_secs();
                format!("timeout --foreground -k 15 {limit} {}", command.invocation(script))
            });
            function(script, name, line.as_slice());
        }
        // Where nginx does not run nobody is served.
        let visitor = self.visitor.as_ref().map(|look| {
            format!("[ \"$(systemctl is-active nginx.service)\" = active ] || {{ echo 503; return; }}\n{look}")
        });
        function(
            script,
            "visitor_sees",
            &[visitor.unwrap_or_else(|| "echo 503".to_owned())],
        );
    }
}

/// The file that closes the sites of an application in this folder.
pub fn gate(path: &str) -> String {
    format!("{path}/maintenance")
}

/// A shell function of these lines, which ends with the first one that fails.
fn function(script: &mut Script, name: &str, lines: &[String]) {
    script.line(format!("{name}() {{"));
    for line in lines {
        script.line(format!("{line} || return 1"));
    }
    script.line(":\n}");
}

impl Kind for Release {
    fn id(&self) -> String {
        format!("release {}", self.name)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.current());
        ask.lines.insert(self.gate());
        for migration in &self.migrations {
            match &migration.mark {
                Mark::InRelease => ask.path(&self.marker()),
                Mark::Stamp(path) => {
                    ask.lines.insert(path.clone());
                }
            }
        }
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let goal = format!("{} ({})", self.id, self.refs);
        let pending = self.pending(seen);
        let migrates = match pending.as_slice() {
            [] => String::new(),
            names => format!(", migrate {}", names.join(", ")),
        };
        if let Some(line) = seen.lines.get(&self.gate()) {
            let phase = line.split(' ').next().unwrap_or_default();
            let phase: String = phase.chars().filter(char::is_ascii_lowercase).take(12).collect();
            let why = format!("the site is closed: an update was cut off ({phase}); go on to {goal}");
            return Some(Change::new(Action::Update, why));
        }
        let Some(state) = seen.paths.get(&self.current()) else {
            return Some(Change::new(Action::Create, format!("→ {goal}{migrates}")));
        };
        let now = state.target.as_deref().unwrap_or("no link");
        if now != self.target() {
            let now = now.trim_start_matches("releases/");
            let why = format!("{now} → {goal}: end jobs, close the site{migrates}, switch, open");
            return Some(Change::new(Action::Update, why));
        }
        (!pending.is_empty()).then(|| {
            Change::new(
                Action::Update,
                format!("{goal}: end jobs, close the site{migrates}, open"),
            )
        })
    }

    fn project(&self, seen: &mut Observed) {
        let served = seen.paths.contains_key(&self.current());
        let state = PathState {
            kind: PathKind::Link,
            target: Some(self.target()),
            mode: 0o777,
            ..PathState::foretold()
        };
        seen.paths.insert(self.current(), state);
        seen.lines.remove(&self.gate());
        for migration in &self.migrations {
            match &migration.mark {
                Mark::InRelease => {
                    seen.paths.insert(self.marker(), PathState::foretold());
                }
                Mark::Stamp(path) => {
                    if let Some(line) = seen.lines.get_mut(path) {
                        line.clone_from(&self.id);
                    }
                }
            }
        }
        for program in self.programs.iter().filter(|_| served) {
            if program.is_known(seen) {
                program.project(seen);
            }
        }
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        self.parameters(&mut script);
        script.line(include_str!("together.sh"));
        script.line(include_str!("release.sh"));
        script
    }

    fn deadline(&self) -> Duration {
        let migrations: Duration = self.migrations.iter().map(|migration| migration.command.deadline).sum();
        let stop = self
            .programs
            .iter()
            .map(|program| program.stop)
            .max()
            .unwrap_or_default();
        migrations + (DUMP + stop + self.patience) * 2 + Duration::from_secs(600)
    }
}
