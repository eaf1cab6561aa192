//! A lab with an inventory, driven by the real binary: what a user types is what runs.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What the inventory's app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// `examples/guestbook`, kind wsgi.
    Guestbook,
    /// `tests/fixtures/minifrappe`, kind frappe.
    MiniFrappe,
}

/// What is different from a bare Debian 12 that root logs in to.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The server is `srv1` at `10.77.SUBNET.11`.
    pub subnet: u8,
    /// The app.
    pub serves: Serves,
    /// Debian's packages are installed already, though nothing is configured.
    pub warm: bool,
    /// Which Debian, as `lab up --suite` takes it.
    pub suite: &'static str,
    /// Who logs in.
    pub user: &'static str,
    /// Lines of the inventory's hosts, `NET` for the first three numbers of an address; empty: one full server.
    pub hosts: &'static str,
}

impl Options {
    /// The guestbook with its packages there, for root on Debian 12.
    pub fn warm(subnet: u8) -> Options {
        Options {
            subnet,
            serves: Serves::Guestbook,
            warm: true,
            suite: "bookworm",
            user: "root",
            hosts: "",
        }
    }
}

/// A run in another process.
pub struct Running {
    /// The process; its output is read to its end.
    child: Child,
    output: Option<std::thread::JoinHandle<String>>,
    errors: Option<std::thread::JoinHandle<String>>,
    /// Its last line that was waited for.
    pub at: String,
}

impl Running {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.pid().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Waits for its end, which must come within `limit`.
    #[track_caller]
    pub fn ends_within(mut self, limit: Duration) -> Said {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            if Instant::now() > end {
                self.kill();
                panic!("did not end within {limit:?}: {}", self.said(None).stderr);
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        self.said(status.code())
    }

    fn said(&mut self, code: Option<i32>) -> Said {
        let text = |thread: Option<std::thread::JoinHandle<String>>| thread.and_then(|thread| thread.join().ok());
        Said {
            code: code.unwrap_or(-1),
            stdout: text(self.output.take()).unwrap_or_default(),
            stderr: text(self.errors.take()).unwrap_or_default(),
        }
    }
}

/// One server in a lab of its own. Taken down when the test ends, also when it fails.
pub struct Stack {
    folder: tempfile::TempDir,
    /// The inventory.
    pub inventory: PathBuf,
    /// The server's address.
    pub address: String,
    /// Who logs in.
    user: &'static str,
    gateway: String,
}

/// What the binary said.
#[derive(Debug)]
#[must_use = "look at the exit code"]
pub struct Said {
    /// Exit code; -1 when killed.
    pub code: i32,
    /// Result.
    pub stdout: String,
    /// Progress and errors.
    pub stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails the test unless it ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "stdout:\n{}\nstderr:\n{}",
            tail(&self.stdout),
            tail(&self.stderr)
        );
        self
    }

    /// Its events, for `--format json`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}")))
            .collect()
    }

    /// For a run that failed in one step of srv1: the step's last words; it says what to run next.
    #[track_caller]
    pub fn failed_step(&self, step: &str) -> String {
        let events = self.events();
        let failed: Vec<&Value> = events
            .iter()
            .filter(|event| event["event"] == "step_finished" && event["outcome"] == "failed")
            .collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
        let failed = failed[0];
        assert_eq!(failed["host"], "srv1");
        assert!(failed["step"].as_str().unwrap().contains(step), "{failed}");
        assert!(failed["hint"].as_str().unwrap().contains("hactl apply"), "{failed}");
        failed["message"].as_str().unwrap().to_owned()
    }

    /// When the first step with `part` in its name began on a host.
    #[track_caller]
    pub fn began(&self, host: &str, part: &str) -> Instant {
        let events = self.events();
        let step = |event: &&Value| {
            event["event"] == "step_started"
                && event["host"] == host
                && event["step"].as_str().is_some_and(|step| step.contains(part))
        };
        let event = events.iter().find(step).expect("the step was begun");
        let at: jiff::Timestamp = event["time"].as_str().expect("a time").parse().expect("a time");
        let ago = jiff::Timestamp::now().duration_since(at);
        Instant::now() - Duration::try_from(ago).expect("it is over")
    }

    /// The last event, which is the summary.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let last = self.events().pop().expect("a summary");
        assert_eq!(last["event"], "summary", "{last}");
        last
    }

    /// Steps that changed something, each with its host. To wait until data stores can be reached is no change.
    pub fn changed(&self) -> Vec<String> {
        let events = self.events().into_iter();
        let finished = events.filter(|event| event["event"] == "step_finished");
        let changed = finished.filter(|event| event["step"] != "run data stores within reach");
        changed
            .map(|event| format!("{}: {}", event["host"], event["step"]))
            .collect()
    }
}

/// Reads a stream to its end, so that its writer never waits.
fn drain(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

impl Stack {
    /// Boots a bare server `srv1` at `10.77.SUBNET.11`. `warm`: its base has Debian's packages installed already, though
    /// nothing configured.
    pub fn boot(subnet: u8, serves: Serves, warm: bool) -> Stack {
        Self::with(Options {
            serves,
            warm,
            ..Options::warm(subnet)
        })
    }

    /// Boots a server.
    pub fn with(options: Options) -> Stack {
        let Options {
            subnet,
            serves,
            warm,
            suite,
            user,
            hosts,
        } = options;
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = format!("10.77.{subnet}.1");
        let address = format!("10.77.{subnet}.11");
        let inventory = folder.path().join("inventory.yml");
        let app = match serves {
            Serves::Guestbook => format!(
                "app:\n  kind: wsgi\n  url: git://{gateway}/guestbook\n  ref: v1\n  module: guestbook:app\n  \
                 migrate: python -m guestbook.migrate\n  health: /health\n  workers:\n    \
                 - {{ name: jobs, command: python -m guestbook.worker }}\n"
            ),
            Serves::MiniFrappe => format!(
                "app:\n  kind: frappe\n  apps:\n    - {{ name: frappe, url: \"git://{gateway}/frappe\", ref: v1 }}\n    \
                 - {{ name: minierp, url: \"git://{gateway}/minierp\", ref: v1 }}\n"
            ),
        };
        let hosts = match hosts {
            "" => format!("  srv1: {{ address: {address} }}\n"),
            hosts => hosts.replace("NET", &format!("10.77.{subnet}")),
        };
        std::fs::write(
            &inventory,
            format!(
                "cluster: t{subnet}\nssh: {{ user: {user}, identity_file: id_ed25519, known_hosts: known_hosts }}\n\
                 hosts:\n{hosts}{app}sites:\n  - {{ name: erp.example.com }}\n"
            ),
        )
        .expect("an inventory");
        let stack = Stack {
            folder,
            inventory,
            address,
            user,
            gateway,
        };
        // What an earlier run of this test that was killed left.
        let down = stack.hactl(&["lab", "down"]);
        assert!(
            down.code == 0 || down.stderr.contains("there is no lab"),
            "{}",
            down.stderr
        );
        let mut up = vec!["lab", "up", "--suite", suite];
        if warm {
            up.push("--warm");
        }
        let _ = stack.hactl(&up).exits(0);
        stack.serve(serves);
        // A host lets people log in before it has started all of its services.
        let started = "systemctl is-system-running --wait || systemctl --failed --no-legend";
        let _ = stack.hactl(&["exec", "--", "sh", "-c", started]).exits(0);
        stack
    }

    fn serve(&self, serves: Serves) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let apps = match serves {
            Serves::Guestbook => root.join("examples"),
            Serves::MiniFrappe => root.join("tests/fixtures/minifrappe"),
        };
        let script = root.join("scripts/lib/serve-git.sh");
        let started = Command::new("sh")
            .arg(script)
            .arg("start")
            .arg(apps)
            .arg(&self.gateway)
            .arg(self.folder.path().join("git"))
            .output()
            .expect("serve-git.sh");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    }

    /// The binary with a verb, ready to be started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        let home = self.folder.path();
        // Its own home: no configuration, identity or journal of whoever runs the tests.
        for name in [
            "XDG_STATE_HOME",
            "XDG_CONFIG_HOME",
            "SSH_AUTH_SOCK",
            "HACTL_INVENTORY",
            "HACTL_AGE_IDENTITY",
        ] {
            command.env_remove(name);
        }
        command.env("HOME", home).current_dir(home).stdin(Stdio::null());
        command.args(words);
        command
    }

    /// Runs a verb on the inventory (its default name, in the working directory) to its end.
    pub fn hactl(&self, words: &[&str]) -> Said {
        Said::of(self.command(words).output().expect("hactl starts"))
    }

    /// The same with other variables, and killed when it does not end within `limit`, which fails the test.
    #[track_caller]
    pub fn hactl_within(&self, limit: Duration, variables: &[(&str, &str)], words: &[&str]) -> Said {
        let mut command = self.command(words);
        command.envs(variables.iter().copied());
        Self::start(command).ends_within(limit)
    }

    /// Starts an apply with more words and gives it back when `moment` holds for a line of its events; `None` when it
    /// ended before.
    pub fn apply_until(
        &self,
        variables: &[(&str, &str)],
        more: &[&str],
        moment: impl FnMut(&str) -> bool,
    ) -> Option<Running> {
        self.started_until(
            &[&["apply", "--yes", "--format", "json"], more].concat(),
            variables,
            moment,
        )
    }

    /// The same for any verb.
    pub fn started_until(
        &self,
        words: &[&str],
        variables: &[(&str, &str)],
        mut moment: impl FnMut(&str) -> bool,
    ) -> Option<Running> {
        let mut command = self.command(words);
        command
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("hactl starts");
        let errors = drain(child.stderr.take().expect("a pipe"));
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while output.read_line(&mut line).expect("a line") > 0 {
            if moment(&line) {
                return Some(Running {
                    child,
                    output: Some(drain(output)),
                    errors: Some(errors),
                    at: line,
                });
            }
            line.clear();
        }
        child.wait().expect("ended");
        None
    }

    fn start(mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hactl starts");
        let output = Some(drain(child.stdout.take().expect("a pipe")));
        let errors = Some(drain(child.stderr.take().expect("a pipe")));
        Running {
            child,
            output,
            errors,
            at: String::new(),
        }
    }

    /// Nothing to do anywhere, in one round trip for each host. A machine with other work loses its data stores for a
    /// moment, and an apply waits for them: then it is tried again.
    #[track_caller]
    pub fn settled(&self) {
        self.wait_until("nothing is left to do", || {
            let again = self.apply(&[]).exits(0);
            assert_eq!(again.changed(), [""; 0]);
            let summary = again.summary();
            let hosts = summary["hosts"].as_array().expect("hosts");
            summary["changed"] == 0 && hosts.iter().all(|host| host["round_trips"] == 1)
        });
    }

    /// `hactl apply --yes --format json` with more words.
    pub fn apply(&self, more: &[&str]) -> Said {
        self.hactl(&[&["apply", "--yes", "--format", "json"], more].concat())
    }

    /// Kills an apply (SIGKILL) when it has begun its `steps`th step, after a further `delay`. Gives the last line that was
    /// seen; `None` when the run ended before.
    pub fn apply_killed(&self, steps: usize, delay: Duration) -> Option<String> {
        let mut begun = 0;
        self.apply_killed_when(delay, |_| {
            begun += 1;
            begun >= steps
        })
    }

    /// The same for the moment when it begins a step with this in its name.
    pub fn apply_killed_at(&self, step: &str, delay: Duration) -> Option<String> {
        self.apply_killed_when(delay, |line| line.contains(step))
    }

    /// `now` is asked about the event of each step that begins.
    fn apply_killed_when(&self, delay: Duration, mut now: impl FnMut(&str) -> bool) -> Option<String> {
        let mut running = self.apply_until(&[], &[], |line| line.contains("\"step_started\"") && now(line))?;
        std::thread::sleep(delay);
        running.kill();
        let at = running.at.clone();
        let _ = running.ends_within(Duration::from_secs(10));
        Some(at)
    }

    /// Runs a script as root on the server and gives what it printed; fails the test when it fails.
    #[track_caller]
    pub fn on_host(&self, script: &str) -> String {
        self.on(&self.address, script)
    }

    /// The same on another host of the cluster; `11` stands for `10.77.SUBNET.11`.
    #[track_caller]
    pub fn on(&self, address: &str, script: &str) -> String {
        let output = self.ssh_to(address, script).output().expect("ssh");
        assert!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// The command that runs a script as root on the server, by the system's ssh.
    pub fn ssh(&self, script: &str) -> Command {
        self.ssh_to(&self.address, script)
    }

    /// The same on another host of the cluster.
    pub fn ssh_to(&self, address: &str, script: &str) -> Command {
        let address = match address.contains('.') {
            true => address.to_owned(),
            false => format!("{}{address}", self.gateway.trim_end_matches('1')),
        };
        let mut command = Command::new("ssh");
        command
            .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o"])
            .arg(format!(
                "UserKnownHostsFile={}",
                self.folder.path().join("known_hosts").display()
            ))
            .arg("-i")
            .arg(self.folder.path().join("id_ed25519"))
            .arg(format!("{}@{address}", self.user))
            .arg(match self.user {
                "root" => script.to_owned(),
                _ => format!("sudo -n sh -c {}", hactl::quote::sh(script)),
            })
            .stdin(Stdio::null());
        command
    }

    /// Asks the site over HTTPS, by its name; gives status and body.
    pub fn fetch(&self, path: &str, more: &[&str]) -> (u16, String) {
        self.fetch_at(&self.address, path, more)
    }

    /// The same of another address of the lab's network, or of its last part.
    pub fn fetch_at(&self, address: &str, path: &str, more: &[&str]) -> (u16, String) {
        let address = match (address.contains('.'), self.address.rsplit_once('.')) {
            (false, Some((network, _))) => format!("{network}.{address}"),
            _ => address.to_owned(),
        };
        let output = Command::new("curl")
            .args(["-sk", "--max-time", "20", "-w", "\n%{http_code}", "--resolve"])
            .arg(format!("erp.example.com:443:{address}"))
            .args(more)
            .arg(format!("https://erp.example.com{path}"))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (code.parse().unwrap_or(0), body.to_owned())
    }

    /// Waits until `holds`, or fails the test.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(180);
        while !holds() {
            assert!(Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A folder of the test, the working directory of the binary.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces a part of the inventory, which must be there.
    pub fn edit_inventory(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.inventory).expect("the inventory");
        assert!(text.contains(from), "{from} is not in\n{text}");
        std::fs::write(&self.inventory, text.replace(from, to)).expect("the inventory");
    }

    /// Puts a template override in place and switches the inventory to it.
    pub fn override_template(&self, name: &str, text: &str) {
        let path = self.folder().join("templates").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a template");
        let inventory = std::fs::read_to_string(&self.inventory).expect("the inventory");
        if !inventory.contains("templates:") {
            std::fs::write(&self.inventory, inventory + "templates: templates\n").expect("the inventory");
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let _ = Command::new("sh")
            .arg(root.join("scripts/lib/serve-git.sh"))
            .arg("stop")
            .arg(self.folder.path().join("git"))
            .output();
        if std::env::var_os("HACTL_KEEP_LAB").is_none() {
            let down = self.hactl(&["lab", "down"]);
            if down.code != 0 {
                println!("the lab stays: {}{}", down.stdout, down.stderr);
            }
        }
    }
}
