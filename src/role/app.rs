//! What both kinds of application share: where the data stores are, how code is fetched, what runs under supervisord.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use super::{Scope, drain, peers};
use crate::error::{Error, Result};
use crate::inventory::{App, HostRole, Process, Site};
use crate::quote::{sh, sh_words, sql_name};
use crate::resource::{Facts, Program, Reloads, Validator, gate};
use crate::topology::{HostView, Topology};

/// Who serves files from the app's folders; Debian's own user and group of web servers.
pub const WEB_GROUP: &str = "www-data";

/// Secret of the cache's password.
pub const CACHE_PASSWORD: &str = "redis/cache";
/// Secret of the queue's password.
pub const QUEUE_PASSWORD: &str = "redis/queue";

/// Home of the app's user: caches of pip and yarn, nothing that is served.
pub fn home(process: &Process) -> String {
    format!("/home/{}", process.user)
}

/// gunicorn's workers: 2 x cores + 1 unless the inventory says.
pub fn web_workers(process: &Process, facts: &Facts) -> u32 {
    process
        .web_workers
        .unwrap_or_else(|| facts.cpus.saturating_mul(2).saturating_add(1))
}

/// Secret of a Frappe site's database password.
pub fn site_database_password(site: &Site) -> String {
    format!("site/{}/database", site.name)
}

/// Secret of a WSGI app's database password.
pub const APP_DATABASE_PASSWORD: &str = "app/database";

/// A database with its user of the same name, and the secret of the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAccount {
    /// Database and user.
    pub name: String,
    /// Name of the secret.
    pub password: String,
}

/// The databases that the application needs. Frappe v15 connects as a user named like the database.
pub fn databases(app: &App, sites: &[Site]) -> Vec<DatabaseAccount> {
    match app {
        App::Frappe(_) => sites
            .iter()
            .map(|site| DatabaseAccount {
                name: site.db_name.clone(),
                password: site_database_password(site),
            })
            .collect(),
        App::Wsgi(wsgi) => vec![DatabaseAccount {
            name: wsgi.name.clone(),
            password: APP_DATABASE_PASSWORD.into(),
        }],
    }
}

/// All rights on one database and on no other: `_` and `%` are wildcards in the names of a GRANT.
pub fn all_on(database: &str) -> String {
    let literal = database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
    format!("ALL PRIVILEGES ON {}.*", sql_name(&literal))
}

/// From where the app's hosts reach MariaDB, as the host part of an account. No `%`: an account holds for the addresses
/// that run the app. On one server that is 127.0.0.1 over TCP: with `skip_name_resolve` the server never takes that for
/// `localhost`, which is the socket's.
pub fn database_clients(topology: Topology) -> Vec<String> {
    if topology.is_single() {
        return vec!["127.0.0.1".into()];
    }
    let mut clients: Vec<String> = topology
        .hosts()
        .filter(HostView::runs_app)
        .map(|view| view.host.address.to_string())
        .collect();
    if topology.hosts().any(|view| view.runs_app() && view.has(HostRole::Db)) {
        clients.push("127.0.0.1".into());
    }
    clients
}

/// Host and port of a data store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Endpoint {
    /// Address.
    pub host: IpAddr,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// `host:port`, IPv6 in brackets: for URLs.
    pub fn authority(&self) -> String {
        std::net::SocketAddr::new(self.host, self.port).to_string()
    }
}

/// Whether the application of this host reaches its data stores through an endpoint that follows the leaders.
pub fn behind_endpoint(view: &HostView) -> bool {
    view.runs_app() && !view.topology.is_single()
}

/// The port of the endpoint for a store with this port: beside it, since both may be on one host.
pub fn endpoint_port(port: u16) -> u16 {
    port.saturating_add(1)
}

/// Where the application of this host finds a store with this port: always on the host itself.
fn near(view: &HostView, port: u16) -> Endpoint {
    let port = match behind_endpoint(view) {
        true => endpoint_port(port),
        false => port,
    };
    Endpoint {
        host: IpAddr::from([127, 0, 0, 1]),
        port,
    }
}

/// Where this host's application writes.
pub fn database(view: &HostView) -> Endpoint {
    near(view, view.topology.inventory.mariadb.port)
}

/// Where this host's application may read without writing: beside the writer's endpoint, or the one server there is.
pub fn readers(view: &HostView) -> Endpoint {
    let writer = database(view);
    Endpoint {
        port: match behind_endpoint(view) {
            true => endpoint_port(writer.port),
            false => writer.port,
        },
        ..writer
    }
}

/// Where this host's application finds the cache.
pub fn redis_cache(view: &HostView) -> Endpoint {
    near(view, view.topology.inventory.redis.cache_port)
}

/// Where this host's application finds the queue.
pub fn redis_queue(view: &HostView) -> Endpoint {
    near(view, view.topology.inventory.redis.queue_port)
}

/// Environment of commands that run as the app's user: its own home, and nothing that waits for somebody to type.
pub fn environment(process: &Process) -> Vec<(String, String)> {
    [
        ("HOME", home(process).as_str()),
        ("USER", process.user.as_str()),
        ("LANG", "C.UTF-8"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "https:http:git:ssh:file"),
        (
            "GIT_SSH_COMMAND",
            "ssh -o BatchMode=yes -o ConnectTimeout=15 -o StrictHostKeyChecking=accept-new",
        ),
        ("GIT_HTTP_LOW_SPEED_LIMIT", "1000"),
        ("GIT_HTTP_LOW_SPEED_TIME", "60"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_DEFAULT_TIMEOUT", "30"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// Shell that leaves a fresh checkout of a tag, branch or commit in `dest`, whatever was there before; runs as the app's
/// user in a folder that holds `dest`. Ends in `dest`.
pub fn checkout(url: &str, git_ref: &str, dest: &str) -> String {
    let (url, git_ref, dest) = (sh(url), sh(git_ref), sh(dest));
    // One commit is enough and much smaller; a server that gives out no bare commit ids gets asked for everything.
    format!(
        "rm -rf -- {dest}\n\
         git -c init.defaultBranch=main init -q -- {dest}\n\
         cd -- {dest}\n\
         git remote add origin {url}\n\
         if git fetch -q --depth 1 origin {git_ref}; then\n\
         \x20   git checkout -q --detach FETCH_HEAD\n\
         else\n\
         \x20   git fetch -q --tags origin '+refs/heads/*:refs/remotes/origin/*'\n\
         \x20   git checkout -q --detach {git_ref} -- || git checkout -q --detach refs/remotes/origin/{git_ref} --\n\
         fi\n"
    )
}

/// Shell that makes a marker, with what a step left for it in `MARKER~` if it did.
pub fn marked(marker: &str) -> String {
    let marker = sh(marker);
    format!("[ -e {marker}~ ] || : >{marker}~\nmv -fT -- {marker}~ {marker}")
}

/// Shell, in a fresh checkout, that keeps `NAME REF COMMIT` in `file`: what `app list` shows.
pub fn note_commit(name: &str, git_ref: &str, file: &str) -> String {
    format!(
        "printf '%s %s %s\\n' {} {} \"$(git rev-parse HEAD)\" >{}",
        sh(name),
        sh(git_ref),
        sh(file)
    )
}

/// Whether this host migrates, and makes sites, for all: the first that runs the app, of a pair the one that serves.
pub fn leads(view: &HostView) -> bool {
    if view.topology.is_pair() {
        return !view.waits();
    }
    let first = view.topology.hosts().find(HostView::runs_app);
    first.is_some_and(|first| first.host.name == view.host.name)
}

/// What follows waits for all hosts, where several run the application.
pub fn barrier(scope: &mut Scope, stage: u8) {
    if !peers::other_apps(&scope.view).is_empty() {
        scope.barrier(stage);
    }
}

/// Shell that keeps the release `id`, the current one, the one that an update which was cut off began with, and the newest
/// of the others.
pub fn prune_releases(path: &str, id: &str) -> String {
    format!(
        "now=$(readlink -- {path}/current || :)\n\
         kept=0 from=\n\
         [ ! -e {gate} ] || read -r _ from _ <{gate} || :\n\
         for old in $(ls -1t -- {path}/releases); do\n\
         \x20   case $old in {id} | \"${{now##*/}}\" | \"$from\") continue ;; esac\n\
         \x20   kept=$((kept + 1))\n\
         \x20   [ \"$kept\" -le 1 ] || rm -rf -- {path}/releases/\"$old\"\n\
         done",
        path = sh(path),
        gate = sh(&gate(path)),
    )
}

/// Debian packages of a Python and its venv; none when it is a path, which the operator has put there.
pub fn python_packages(process: &Process) -> Vec<String> {
    if process.python.starts_with('/') {
        return Vec::new();
    }
    vec![process.python.clone(), format!("{}-venv", process.python)]
}

/// A program under supervisord.
#[derive(Debug, Clone)]
pub struct Supervised {
    /// Its name in the group; supervisord knows it as `GROUP-NAME`.
    pub name: String,
    /// Words of the command.
    pub command: Vec<String>,
    /// Working directory.
    pub directory: String,
    /// Processes.
    pub count: u32,
    /// Start order: lower first.
    pub priority: u32,
    /// Whether an end with status 0 is one: it is not restarted then, nor missed.
    pub may_end: bool,
    /// Seconds after which a start counts.
    pub startsecs: u32,
    /// Seconds it gets to end.
    pub stopwaitsecs: u32,
    /// Whether its whole process group is told to end, for commands that run below a shell.
    pub stop_group: bool,
    /// Whether it works off jobs: while the app is brought to another release it ends first and starts last, and waits when
    /// it is started in between.
    pub jobs: bool,
    /// Environment besides HOME, USER and LANG; world-readable.
    pub environment: Vec<(String, String)>,
    /// Watched files that it takes up on SIGHUP without an interruption, as gunicorn does with what its configuration
    /// reads and its workers load. Only programs of one process.
    pub reloads: Vec<String>,
}

impl Default for Supervised {
    fn default() -> Self {
        Supervised {
            name: String::new(),
            command: Vec::new(),
            directory: "/".into(),
            count: 1,
            priority: 100,
            may_end: false,
            startsecs: 2,
            stopwaitsecs: 40,
            stop_group: false,
            jobs: false,
            environment: Vec::new(),
            reloads: Vec::new(),
        }
    }
}

impl Supervised {
    fn processes(&self, group: &str) -> Vec<String> {
        match self.count {
            1 => vec![format!("{group}-{}", self.name)],
            count => (0..count).map(|n| format!("{group}-{}-{n}", self.name)).collect(),
        }
    }
}

/// Text in supervisord's configuration: it expands `%`, and takes ` ;` and ` #` for comments whatever the quotes.
fn supervisor_text(text: &str) -> Result<String> {
    if text.contains(['\n', '\r']) || text.contains(" ;") || text.contains(" #") {
        return Err(Error::usage(format!(
            "`{text}`: supervisord cannot be given a line break, nor `;` or `#` after a blank"
        )));
    }
    Ok(text.replace('%', "%%"))
}

fn supervisor_environment(pairs: &[(String, String)]) -> Result<String> {
    let pair =
        |(key, value): &(String, String)| format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    supervisor_text(&pairs.iter().map(pair).collect::<Vec<_>>().join(","))
}

/// Folder of the logs of a group's programs. Root's: supervisord opens them as root, and what the app's user could turn
/// into a link must not be opened so.
pub fn logs(group: &str) -> String {
    format!("/var/log/supervisor/{group}")
}

/// A group of programs of the app.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name under supervisord.
    pub name: String,
    /// What is in it.
    pub programs: Vec<Supervised>,
    /// What they read at start besides their configuration.
    pub watches: Vec<String>,
    /// Shell test that passes when they serve.
    pub health: String,
    /// How long that may take.
    pub patience: Duration,
}

impl Group {
    fn configuration(&self) -> String {
        format!("/etc/supervisor/conf.d/{}.conf", self.name)
    }

    /// The programs as a resource.
    pub fn program(&self) -> Program {
        let group = &self.name;
        let stop = self.programs.iter().map(|program| program.stopwaitsecs).max();
        let names = |of: fn(&Supervised) -> bool| {
            let programs = self.programs.iter().filter(|program| of(program));
            programs.flat_map(|program| program.processes(group)).collect()
        };
        Program {
            group: group.clone(),
            processes: names(|program| !program.may_end),
            jobs: names(|program| program.jobs),
            watches: [vec![self.configuration()], self.watches.clone()].concat(),
            reloads: self
                .programs
                .iter()
                .filter(|program| program.count == 1 && !program.reloads.is_empty())
                .map(|program| Reloads {
                    process: format!("{group}-{}", program.name),
                    files: program.reloads.clone(),
                })
                .collect(),
            health: self.health.clone(),
            patience: self.patience,
            stop: Duration::from_secs(stop.unwrap_or(0).into()),
            drain: None,
        }
    }
}

/// Declares a group of programs: configuration, logs with their rotation, and, where nothing waits, that they run.
///
/// # Errors
/// A template's.
pub fn supervise(scope: &mut Scope, wanted: &Group) -> Result<()> {
    let (group, programs) = (wanted.name.as_str(), &wanted.programs);
    let process = scope.inventory().app.process();
    let logs = logs(group);
    scope.directory(&logs, "root", "adm", 0o750);
    let rotation = scope.file(
        &format!("/etc/logrotate.d/hactl-{group}"),
        "supervisor/logrotate",
        &json!({ "logs": logs }),
    )?;
    scope.add(rotation);
    let common = [
        ("HOME".to_owned(), home(process)),
        ("USER".to_owned(), process.user.clone()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ];
    let entries = programs
        .iter()
        .map(|program| {
            // `run` looks at it, see `waits_for_the_gate`.
            let jobs = program.jobs.then(|| ("HACTL_JOBS".to_owned(), "1".to_owned()));
            let environment: Vec<_> = common
                .iter()
                .chain(&jobs)
                .chain(&program.environment)
                .cloned()
                .collect();
            Ok(json!({
                "name": format!("{group}-{}", program.name),
                "command": supervisor_text(&sh_words(&program.command))?,
                "directory": supervisor_text(&program.directory)?,
                "environment": supervisor_environment(&environment)?,
                "count": program.count,
                "priority": program.priority,
                "autorestart": if program.may_end { "unexpected" } else { "true" },
                "startsecs": program.startsecs,
                "stopwaitsecs": program.stopwaitsecs,
                "stop_group": program.stop_group,
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = programs
        .iter()
        .map(|program| format!("{group}-{}", program.name))
        .collect();
    let mut file = scope.file(
        &wanted.configuration(),
        "supervisor/programs.conf",
        &json!({
            "group": group,
            "user": process.user,
            "logs": logs,
            "programs": entries,
            "names": names.join(","),
        }),
    )?;
    file.validator = Some(supervisor_validator());
    scope.add(file);
    if scope.view.waits() {
        return Ok(());
    }
    let mut program = wanted.program();
    // Only gunicorn answers visitors, and only it reloads.
    if programs.iter().any(|program| !program.reloads.is_empty()) {
        program.drain = drain::of(&scope.view);
    }
    scope.add(program);
    Ok(())
}

/// supervisord has no switch that only checks; its own reader of the configuration does.
fn supervisor_validator() -> Validator {
    Validator {
        name: "supervisord".into(),
        tree: None,
        check: "printf '[supervisord]\\n[include]\\nfiles = %s\\n' \"$FILE\" >\"$R/supervisord.conf\"\n\
                /usr/bin/python3 -c 'import sys; from supervisor.options import ServerOptions; \
                ServerOptions().realize([\"-c\", sys.argv[1]])' \"$R/supervisord.conf\""
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::role::testing::{FRAPPE, GUESTBOOK, inventory};

    fn shell(dir: &Path, script: &str) -> String {
        let out = Command::new("sh")
            .args(["-euc", script])
            .current_dir(dir)
            .env("HOME", dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{script}\n{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// Tag, branch and commit, also a commit that a server does not hand out by its id; over whatever was there.
    #[test]
    fn checkout_gets_tags_branches_and_commits() {
        let root = tempfile::tempdir().unwrap();
        let commit = "git -c user.name=t -c user.email=t@example.com commit -q -a -m";
        let first = shell(
            root.path(),
            &format!(
                "git -c init.defaultBranch=main init -q repo; cd repo; echo 1 >f; git add f; {commit} 1; git rev-parse HEAD\n\
                 echo 2 >f; {commit} 2; git tag v2; git checkout -q -b next; echo 3 >f; {commit} 3; git checkout -q main; echo 4 >f; {commit} 4"
            ),
        );
        let url = format!("file://{}", root.path().join("repo").display());
        let strict = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.version GIT_CONFIG_VALUE_0=0\n";
        for (git_ref, content, before) in [
            ("main", "4", ""),
            ("v2", "2", ""),
            ("next", "3", ""),
            (first.as_str(), "1", ""),
            (first.as_str(), "1", strict),
        ] {
            let script = format!("{before}{}cat f", checkout(&url, git_ref, "dest dir"));
            assert_eq!(shell(root.path(), &script), content, "{git_ref}");
        }
    }

    #[test]
    fn accounts_have_no_wildcards() {
        assert_eq!(all_on("a_b%`c"), "ALL PRIVILEGES ON `a\\_b\\%``c`.*");
        for text in [GUESTBOOK, FRAPPE] {
            let inventory = inventory(text);
            assert_eq!(database_clients(Topology::of(&inventory)), ["127.0.0.1"]);
        }
    }

    #[test]
    fn supervisord_is_given_only_what_it_reads_as_written() {
        assert_eq!(supervisor_text("a 50%").unwrap(), "a 50%%");
        assert!(supervisor_text("a ; b").is_err());
        assert!(supervisor_text("a #b").is_err());
        let pairs = [("A".to_owned(), "x \"y\"".to_owned())];
        assert_eq!(supervisor_environment(&pairs).unwrap(), "A=\"x \\\"y\\\"\"");
    }
}
