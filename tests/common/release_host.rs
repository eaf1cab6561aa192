//! The step that changes what serves (`src/resource/release.sh`), run for real by `sh` over a small world: folders for a
//! host's, and stand-ins for supervisorctl, MariaDB's clients and systemctl that keep their state in files. Each call of a
//! stand-in is a moment at which the whole step can be killed. The lab shows the same with the real programs, at moments
//! that are drawn; here they can be taken one by one.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use hactl::resource::script::PRELUDE;
use hactl::resource::{
    Command, Facts, Kind as _, Mark, Migration, Observed, Peer, Program, Release, ReleaseDatabase, Script, Together,
};

/// What begins every stand-in: counts the moments, and ends the whole step when it is its time.
const MOMENT: &str = "#!/bin/sh\n\
    exec 8>>\"$W/lock\"\n\
    flock 8\n\
    read -r n <\"$W/moment\" || n=0\n\
    n=$((n + 1))\n\
    echo $n >\"$W/moment\"\n\
    exec 8>&-\n\
    cut() { [ \"$n$1\" != \"${CUT-}\" ] || { : >\"$W/cut\"; sleep 1000; }; }\n\
    cut before\n";

/// A host with the application `app` below [`ReleaseHost::path`]: release `old` serves and its database says `old`.
pub struct ReleaseHost {
    folder: tempfile::TempDir,
    /// The world of the host that migrates for this one.
    leader: Option<PathBuf>,
    /// Those that this one migrates for.
    followers: Vec<PathBuf>,
}

impl ReleaseHost {
    /// A host that serves `old`; `new` is built.
    pub fn new() -> ReleaseHost {
        let host = ReleaseHost {
            folder: tempfile::tempdir().expect("a folder"),
            leader: None,
            followers: Vec::new(),
        };
        for folder in [
            "app/releases/old/.hactl",
            "app/releases/new/.hactl",
            "bin",
            "run",
            "lib",
            "log",
            "up",
            "B",
        ] {
            std::fs::create_dir_all(host.at(folder)).unwrap();
        }
        std::os::unix::fs::symlink("releases/old", host.at("app/current")).unwrap();
        host.write("db", "old\n");
        host.write("app/releases/old/.hactl/migrated", "");
        for key in ["app:web", "app:jobs"] {
            host.write(&format!("up/{key}"), "old\n");
        }
        host.program(
            "supervisorctl",
            "verb=$1\nshift\n\
             case $verb in\n\
             start) for key; do readlink \"$W/app/current\" | sed 's,.*/,,' >\"$W/up/$key\"; done ;;\n\
             stop) for key; do rm -f \"$W/up/$key\"; done ;;\n\
             status) for key; do if [ -e \"$W/up/$key\" ]; then echo \"$key RUNNING pid 7, uptime 0:00:01\"; else echo \"$key STOPPED\"; fi; done ;;\n\
             reread) echo 'No config updates to processes' ;;\n\
             tail) echo 'Traceback: it cannot be loaded' ;;\n\
             esac",
        );
        host.program(
            "mariadb-dump",
            "[ ! -e \"$W/broken-dump\" ] || { echo 'mariadb-dump: Got error: 2013: Lost connection' >&2; exit 2; }\ncat \"$W/db\"",
        );
        host.program(
            "mariadb",
            "case $* in *--batch*) if [ -e \"$W/large\" ]; then echo 99999999999; else echo 65536; fi; exit ;; esac\n\
             [ ! -e \"$W/broken-restore\" ] || { echo 'ERROR 2002 (HY000): cannot connect'; exit 1; }\n\
             cat >\"$W/db~\"\nmv \"$W/db~\" \"$W/db\"",
        );
        host.program("systemctl", "echo active");
        host.program("runuser", "while [ \"$1\" != -- ]; do shift; done\nshift\n\"$@\"");
        host
    }

    /// Two hosts that serve `old` of one database; the first one migrates.
    pub fn pair() -> [ReleaseHost; 2] {
        let (mut leader, mut follower) = (Self::new(), Self::new());
        leader.followers.push(follower.at(""));
        follower.leader = Some(leader.at(""));
        std::fs::remove_file(follower.at("db")).unwrap();
        std::os::unix::fs::symlink(leader.at("db"), follower.at("db")).unwrap();
        [leader, follower]
    }

    /// How the host of another world is asked how far it is.
    fn peer(name: &str, world: &Path) -> Peer {
        let world = world.display();
        Peer {
            name: name.into(),
            ask: format!(
                "cd {world}\nread -r run state _ <together || {{ run=none state=none; }}\n\
                 [ -e alive ] && alive=alive || alive=gone\n[ -e app/maintenance ] && gate=closed || gate=open\n\
                 current=$(readlink app/current)\necho \"$run $state $alive $gate ${{current##*/}}\""
            ),
        }
    }

    /// A place of this world.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of it.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    /// A file's text; empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.at("bin").join(name);
        std::fs::write(
            &path,
            format!("{MOMENT}(\n{body}\n)\nstatus=$?\ncut after\nexit $status\n"),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the roles would declare.
    pub fn release(&self, id: &str) -> Release {
        let migrates = self.leader.is_none();
        let (world, path) = (self.folder.path().display(), self.at("app").display().to_string());
        Release {
            name: "app".into(),
            path: path.clone(),
            id: id.into(),
            refs: format!("v-{id}"),
            user: "root".into(),
            programs: vec![Program {
                group: "app".into(),
                processes: vec!["web".into(), "jobs".into()],
                jobs: vec!["jobs".into()],
                watches: vec![format!("{path}/current")],
                reloads: Vec::new(),
                // It answers when it runs the release that the database is of.
                health: format!(
                    "[ ! -e {world}/sick-$(cat {world}/up/app:web) ] && [ \"$(cat {world}/up/app:web)\" = \"$(cat {world}/db)\" ]"
                ),
                patience: Duration::from_secs(1),
                stop: Duration::from_secs(1),
                drain: None,
            }],
            // Nothing of this machine listens there.
            port: 1,
            databases: migrates
                .then(|| ReleaseDatabase {
                    name: "app".into(),
                    client: None,
                })
                .into_iter()
                .collect(),
            migrations: migrates
                .then(|| Migration {
                    name: "app".into(),
                    command: Command {
                        name: "migrate".into(),
                        guards: Vec::new(),
                        // Half of it is no schema of any release.
                        run: format!(
                            "echo half >{world}/db\nsystemctl\n\
                         if [ -e {world}/broken-migration ]; then echo 'no such column'; exit 1; fi\n\
                         echo {id} >{world}/db\n: >{path}/releases/{id}/.hactl/migrated"
                        ),
                        user: None,
                        dir: None,
                        env: Vec::new(),
                        input: None,
                        deadline: Duration::from_secs(20),
                        creates: Vec::new(),
                    },
                    mark: Mark::InRelease,
                    there: None,
                })
                .into_iter()
                .collect(),
            before_migrating: None,
            before_opening: None,
            visitor: Some(format!(
                "systemctl >/dev/null; [ -e {path}/maintenance ] && [ ! -e {world}/foreign-nginx ] && echo 503 || echo 200"
            )),
            through_nginx: None,
            patience: Duration::from_secs(1),
            together: Together {
                leader: self.leader.as_deref().map(|world| Self::peer("leader", world)),
                followers: self
                    .followers
                    .iter()
                    .map(|world| Self::peer("follower", world))
                    .collect(),
            },
        }
    }

    /// Runs the step for a release, killed at a moment (`3before`, `3after`) if there is one; gives its exit status (`None`:
    /// killed) and what it printed.
    pub fn run(&self, id: &str, cut: Option<&str>) -> (Option<i32>, String) {
        self.run_struck(id, cut, false)
    }

    /// The same; at that moment the step is told to end, as by a second Ctrl-C, and `interrupted`, instead of killed.
    pub fn run_struck(&self, id: &str, cut: Option<&str>, interrupted: bool) -> (Option<i32>, String) {
        let release = self.release(id);
        let seen = Observed::bare(Facts::assumed());
        let change = release.compare(&seen).expect("a change");
        let Script { body, blobs } = release.converge(&change, &seen);
        for (index, blob) in blobs.iter().enumerate() {
            self.write(&format!("B/{index}"), blob.reveal());
        }
        let world = self.folder.path().display();
        let script = format!(
            "exec 2>&1\nmount --bind {world}/log /var/log\n\
             W={world} B={world}/B R={world}/run RUN=$(cat {world}/run-id || echo r) PATH={world}/bin:$PATH\nexport W B R RUN PATH\n\
             {PRELUDE}\nKEEP={world}/lib/keep LOADED={world}/lib/loaded TOGETHER={world}/together\n{}\n",
            // Nobody is silent here for longer than that but the dead.
            body.replace("SILENT=60", "SILENT=3")
        );
        self.write("script", &script);
        self.write("moment", "0\n");
        let _ = std::fs::remove_file(self.at("cut"));
        self.write("alive", "");
        // Processes of a namespace all go at once, as with the power.
        let mut child = Process::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "timeout",
                "-k",
                "15",
                "600",
                "sh",
            ])
            .arg(self.at("script"))
            .env_remove("CUT")
            .envs(cut.map(|cut| ("CUT", cut)))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(self.at("said")).unwrap())
            .spawn()
            .expect("run as root: it needs namespaces");
        let last = std::time::Instant::now() + Duration::from_secs(120);
        let code = loop {
            assert!(
                std::time::Instant::now() < last,
                "it does not end: {}",
                self.read("said")
            );
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if interrupted && self.at("cut").exists() {
                let id = child.id();
                let timeout = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
                let told = Process::new("kill").args(["-TERM", timeout.trim()]).status().unwrap();
                assert!(told.success());
                std::fs::remove_file(self.at("cut")).unwrap();
            } else if self.at("cut").exists() {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        std::fs::remove_file(self.at("alive")).unwrap();
        (code, self.read("said").replace(&world.to_string(), ""))
    }

    /// What a visitor could meet: `None` when the gate is closed, otherwise release, code that runs, and schema.
    pub fn met(&self) -> Option<[String; 3]> {
        if self.at("app/maintenance").exists() {
            return None;
        }
        let link = std::fs::read_link(self.at("app/current")).unwrap_or_default();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Some([name(&link), self.read("up/app:web"), self.read("db")])
    }

    /// The machine boots: supervisord starts everything with what is current; what works off jobs waits at the gate.
    pub fn boots(&self) {
        let link = std::fs::read_link(self.at("app/current")).unwrap_or_default();
        let release = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for key in ["app:web", "app:jobs"] {
            self.write(&format!("up/{key}"), &format!("{release}\n"));
        }
    }
}
