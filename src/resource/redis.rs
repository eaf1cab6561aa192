//! The password of a Redis, in a file of its own beside its configuration: a new one needs no restart. The daemon is told,
//! and asked for what it accepts; the file is for its next start.
//!
//! While a new password is on its way to the applications the file also holds, as hashes, what the daemon accepts beside
//! it, in the daemon's own words.

use std::collections::BTreeSet;
use std::time::Duration;

use super::file::sha256;
use super::observed::{PathKind, PathState, TestState};
use super::path::ownership;
use super::{Action, Ask, Change, Kind, OLD_PASSWORDS, Observed, Script};
use crate::quote::sh;
use crate::secret::Secret;

/// Shell functions that read port and password: `redis_port CONFIG`, `redis_password FILE`.
pub const FUNCTIONS: &str = include_str!("redis.sh");

/// Shell functions that talk to it then.
pub const STEP: &str = include_str!("redis_step.sh");

/// That a Redis accepts a password. Passwords that it had before stay good until [`RedisOldPasswords`].
#[derive(Debug, Clone)]
pub struct RedisPassword {
    /// Name of the instance, e.g. `cache`.
    pub instance: String,
    /// Its unit.
    pub unit: String,
    /// Its configuration, which says the port, and includes `file`.
    pub config: String,
    /// The file that holds the password and nothing else.
    pub file: String,
    /// The password: one line without control characters.
    pub password: Secret,
    /// Passwords that it may still have instead.
    pub previous: Vec<Secret>,
    /// Whether it may have to follow another with the same password, or is followed.
    pub replicates: bool,
    /// Shell test that passes when it serves.
    pub health: String,
    /// How long it may take to become healthy.
    pub patience: Duration,
}

/// That a Redis accepts its password and no other; declared after everything that may still use an older one.
#[derive(Debug, Clone)]
pub struct RedisOldPasswords {
    /// The password, as [`RedisPassword`] gives it.
    pub of: RedisPassword,
}

/// What a Redis said.
struct Live {
    /// SHA-256 of every password that it accepts.
    accepts: BTreeSet<String>,
    /// Its file holds the wanted password beside older ones.
    file_has_it: bool,
    /// SHA-256 of the password that it gives to one that it follows.
    gives: Option<String>,
}

/// The command that logs in with this password, as Redis reads it from the wire, in hexadecimal.
pub fn auth_hex(password: &str) -> String {
    let command = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len());
    command
        .bytes()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// A word of redis.conf, or of a command on redis-cli's standard input, in double quotes.
pub fn word(value: &str) -> String {
    let mut out = String::from("\"");
    // Bytes beyond ASCII stand for themselves; whoever reads the word back has nothing but backslashes to undo.
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

fn text(password: &Secret, replicates: bool) -> String {
    let password = word(password.reveal());
    let gives = match replicates {
        true => format!("masterauth {password}\n"),
        false => String::new(),
    };
    format!("# Made by hactl; changes here are overwritten.\nrequirepass {password}\n{gives}")
}

impl RedisPassword {
    fn file_text(&self) -> String {
        text(&self.password, self.replicates)
    }

    fn key(&self) -> String {
        format!("redis password {}", self.instance)
    }

    /// What its file holds when no older password is good any more.
    pub fn text(&self) -> Secret {
        Secret::new(self.file_text())
    }

    fn hash(&self) -> String {
        sha256(self.password.reveal().as_bytes())
    }

    /// Prints the hashes that the daemon accepts; `file HASH` when its file holds more than one password.
    fn question(&self) -> String {
        format!(
            "{FUNCTIONS}\n\
             [ -r {file} ] && [ -r {config} ] || exit 3\n\
             redis_port {config}\n\
             redis_password {file}\n\
             timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" ACL GETUSER default || exit 4\n\
             [ -z \"$REDIS_USER\" ] || printf 'file %s\\n' \"$(printf %s \"$REDISCLI_AUTH\" | sha256sum)\"{gives}",
            gives = match self.replicates {
                true => {
                    "\n{ read -r _; IFS= read -r given || :; } <<END\n\
                     $(timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" CONFIG GET masterauth)\n\
                     END\n\
                     printf 'gives %s\\n' \"$(printf %s \"$given\" | sha256sum)\""
                }
                false => "",
            },
            file = sh(&self.file),
            config = sh(&self.config),
        )
    }

    fn live(&self, seen: &Observed) -> Option<Live> {
        let test = seen.tests.get(&self.key()).filter(|test| test.code == 0)?;
        // Whoever is refused gets no list.
        if !test.output.lines().any(|line| line == "passwords") {
            return None;
        }
        let hex = |line: &&str| line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = self.hash();
        Some(Live {
            accepts: test.output.lines().filter(hex).map(str::to_owned).collect(),
            file_has_it: test
                .output
                .lines()
                .any(|line| line.strip_prefix("file ").is_some_and(|rest| rest.starts_with(&hash))),
            gives: test
                .output
                .lines()
                .find_map(|line| Some(line.strip_prefix("gives ")?.split(' ').next()?.to_owned())),
        })
    }

    /// Whether it would be let in where it follows.
    fn is_let_in(&self, live: &Live) -> bool {
        !self.replicates || live.gives.as_ref() == Some(&self.hash())
    }

    fn project_live<'a>(&self, accepts: impl Iterator<Item = &'a String>, file: bool, seen: &mut Observed) {
        let mut output = String::from("passwords\n");
        accepts.for_each(|hash| output.push_str(&format!("{hash}\n")));
        if file {
            output.push_str(&format!("file {}\n", self.hash()));
        }
        if self.replicates {
            output.push_str(&format!("gives {}\n", self.hash()));
        }
        seen.tests.insert(self.key(), TestState { code: 0, output });
    }

    fn project_file(&self, sha: Option<String>, seen: &mut Observed) {
        seen.paths.insert(
            self.file.clone(),
            PathState {
                kind: PathKind::File,
                mode: 0o640,
                owner: "redis".into(),
                group: "redis".into(),
                mtime: PathState::LATER,
                sha256: sha,
                target: None,
            },
        );
    }

    fn is_final(&self, seen: &Observed) -> bool {
        seen.sha256(&self.file) == Some(&sha256(self.file_text().as_bytes()))
    }

    fn runs(&self, seen: &Observed) -> bool {
        seen.units.get(&self.unit).is_some_and(|unit| unit.active == "active")
    }

    /// Functions, port and the files of all passwords that it may have; gives those and the wanted file's.
    fn begin(&self, script: &mut Script) -> (String, String) {
        script.body.push_str(FUNCTIONS);
        script.body.push_str(STEP);
        let wanted = script.blob(Secret::new(self.file_text()));
        let mut candidates = format!("{} {wanted}", sh(&self.file));
        for older in &self.previous {
            candidates.push(' ');
            candidates.push_str(&script.blob(Secret::new(text(older, self.replicates))));
        }
        (candidates, wanted)
    }

    fn put(&self, from: &str) -> String {
        format!("put {} redis redis 0640 {from}", sh(&self.file))
    }

    /// `if` condition: the daemon runs, and `$port` is set.
    fn running(&self) -> String {
        format!(
            "[ -r {config} ] && [ \"$(systemctl is-active {unit})\" = active ] && redis_port {config}",
            config = sh(&self.config),
            unit = sh(&self.unit)
        )
    }
}

impl Kind for RedisPassword {
    fn id(&self) -> String {
        self.key()
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.file);
        ask.units.insert(self.unit.clone());
        ask.test(&self.key(), &self.question());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        if !seen.paths.contains_key(&self.file) {
            return Some(Change::new(Action::Create, "holds secrets, redis:redis 0640"));
        }
        let change = || Some(Change::new(Action::Update, "password (changed)"));
        if !self.runs(seen) {
            return if self.is_final(seen) { None } else { change() };
        }
        match self.live(seen) {
            Some(live) if !live.accepts.contains(&self.hash()) || !self.is_let_in(&live) => change(),
            Some(live) if live.file_has_it || self.is_final(seen) => None,
            Some(_) => change(),
            None => Some(Change::new(
                Action::Update,
                "it does not accept the password in its file (changed)",
            )),
        }
    }

    fn project(&self, seen: &mut Observed) {
        let before = self.live(seen).filter(|_| self.runs(seen));
        let mut accepts = before.map(|live| live.accepts).unwrap_or_default();
        accepts.insert(self.hash());
        let several = accepts.len() > 1;
        self.project_live(accepts.iter(), several, seen);
        let only = sha256(self.file_text().as_bytes());
        self.project_file((!several).then_some(only), seen);
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        let (candidates, wanted) = self.begin(&mut script);
        let add = script.blob(Secret::new(format!(
            "ACL SETUSER default {}\n",
            word(&format!(">{}", self.password.reveal()))
        )));
        let gives = match self.replicates {
            true => {
                let give = format!("CONFIG SET masterauth {}\n", word(self.password.reveal()));
                format!("\x20       redis_do {}\n", script.blob(Secret::new(give)))
            }
            false => String::new(),
        };
        let health = script.blob(self.health.clone());
        script.line(format!(
            "if {running}; then\n\
             \x20   if redis_login {candidates}; then\n\
             \x20       redis_do {add}\n\
             {gives}\
             \x20       cat {wanted} >\"$R/password\"\n\
             \x20       redis ACL LIST | grep '^user default .*#.*#' >>\"$R/password\"\n\
             \x20       {put_both}\n\
             \x20       rm -f \"$R/password\"\n\
             \x20   else\n\
             \x20       {put}\n\
             \x20       load {unit} restart {health} {patience} {config}\n\
             \x20   fi\n\
             else\n\
             \x20   {put}\n\
             fi",
            running = self.running(),
            put_both = self.put("\"$R/password\""),
            put = self.put(&wanted),
            unit = sh(&self.unit),
            patience = self.patience.as_secs(),
            config = sh(&self.config),
        ));
        script
    }

    fn deadline(&self) -> Duration {
        self.patience * 2 + Duration::from_secs(120)
    }
}

impl Kind for RedisOldPasswords {
    fn id(&self) -> String {
        format!("{OLD_PASSWORDS}redis {}", self.of.instance)
    }

    fn ask(&self, ask: &mut Ask) {
        self.of.ask(ask);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let live = self.of.live(seen).filter(|_| self.of.runs(seen));
        let hash = self.of.hash();
        if live.is_some_and(|live| live.accepts.iter().any(|other| *other != hash)) {
            return Some(Change::new(Action::Remove, "refused from now on"));
        }
        if !self.of.is_final(seen) {
            return Some(Change::new(Action::Remove, "gone from its file"));
        }
        let state = seen.paths.get(&self.of.file)?;
        super::change::update_for(ownership(state, "redis", "redis", 0o640))
    }

    fn project(&self, seen: &mut Observed) {
        self.of.project_live([self.of.hash()].iter(), false, seen);
        self.of.project_file(Some(sha256(self.of.file_text().as_bytes())), seen);
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let mut script = Script::default();
        let (_, wanted) = self.of.begin(&mut script);
        let only = script.blob(Secret::new(format!(
            "ACL SETUSER default resetpass {}\n",
            word(&format!(">{}", self.of.password.reveal()))
        )));
        script.line(format!(
            "if {running}; then\n\
             \x20   redis_login {wanted} || fail 'it does not accept its password yet; apply again'\n\
             \x20   redis_do {only}\n\
             fi\n\
             {put}\n\
             forget {file}",
            running = self.of.running(),
            put = self.of.put(&wanted),
            file = sh(&self.of.file),
        ));
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;
    use crate::resource::observed::UnitState;

    fn password(value: &str) -> RedisPassword {
        RedisPassword {
            instance: "cache".into(),
            unit: "redis-server@cache.service".into(),
            config: "/etc/redis/redis-cache.conf".into(),
            file: "/etc/redis/redis-cache.password".into(),
            password: Secret::new(value),
            previous: Vec::new(),
            replicates: true,
            health: "true".into(),
            patience: Duration::from_secs(1),
        }
    }

    fn running(with: &RedisPassword) -> Observed {
        let mut seen = Observed::bare(Facts::assumed());
        let unit = UnitState {
            active: "active".into(),
            enabled: "enabled".into(),
            invocation: "a".into(),
            since: 0,
        };
        seen.units.insert(with.unit.clone(), unit);
        RedisOldPasswords { of: with.clone() }.project(&mut seen);
        seen
    }

    #[test]
    fn both_passwords_are_good_until_the_old_one_is_dropped() {
        let (old, new) = (password("old"), password("new"));
        let mut seen = running(&old);
        assert_eq!(old.compare(&seen), None);
        assert_eq!(new.compare(&seen).unwrap().summary, "password (changed)");
        new.project(&mut seen);
        assert_eq!(new.compare(&seen), None);
        assert_eq!(new.live(&seen).unwrap().accepts.len(), 2);
        let only = RedisOldPasswords { of: new.clone() };
        assert_eq!(only.compare(&seen).unwrap().action, Action::Remove);
        only.project(&mut seen);
        assert_eq!((only.compare(&seen), new.compare(&seen)), (None, None));
    }

    /// Nobody but the daemon knows what it accepts: a right file alone says nothing.
    #[test]
    fn a_daemon_that_refuses_its_own_file_is_mended() {
        let wanted = password("new");
        let mut seen = running(&wanted);
        let refused = TestState {
            code: 0,
            output: "AUTH failed: WRONGPASS\nNOAUTH Authentication required.".into(),
        };
        seen.tests.insert(wanted.key(), refused);
        assert_eq!(wanted.compare(&seen).unwrap().action, Action::Update);
        wanted.project(&mut seen);
        assert_eq!(wanted.compare(&seen), None);
    }

    #[test]
    fn files_that_are_read_back_say_what_was_written() {
        for value in ["abc", "a\"b\\c", "'$(x)`;#%"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("f");
            std::fs::write(&file, text(&Secret::new(value), true)).unwrap();
            let script = format!(
                "{FUNCTIONS}\nredis_password {}\nprintf %s \"$REDISCLI_AUTH\"",
                file.display()
            );
            let out = std::process::Command::new("sh")
                .args(["-euc", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
        }
    }
}
