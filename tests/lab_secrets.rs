//! Secrets on a real host: a rotation that nobody notices, also when it is cut off, and that leaves no value anywhere.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::stack::{Said, Serves, Stack};
use hactl::inventory::secrets::{Keyring, Secrets};

type Values = BTreeMap<String, String>;

/// What the file holds now, values of before included as `NAME (old)`.
fn values(stack: &Stack) -> Values {
    let loaded = hactl::inventory::load(&stack.inventory).unwrap();
    let keyring = Keyring {
        identity: None,
        home: Some(stack.folder().to_owned()),
        ask: Keyring::nobody(),
    };
    let resolved = Secrets::resolve(&loaded.inventory, &keyring).unwrap();
    assert!(
        resolved.generated.is_empty(),
        "all were there: {:?}",
        resolved.generated
    );
    let mut values = Values::new();
    for (name, secret) in resolved.secrets.iter() {
        let mut name = name.to_owned();
        while values.contains_key(&name) {
            name.push_str(" (old)");
        }
        values.insert(name, secret.reveal().to_owned());
    }
    values
}

/// A visitor that reads and signs without a break; remembers what failed.
#[derive(Default)]
struct Visitor {
    requests: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Visitor {
    fn visit(&self, stack: &Stack, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let (read, state) = stack.fetch("/api/state", &[]);
            let (signed, page) = stack.fetch("/entries", &["-d", "author=Ada", "-d", "text=hello"]);
            for (what, code, wanted, body) in [("GET", read, 200, state), ("POST", signed, 303, page)] {
                self.requests.fetch_add(1, Ordering::Relaxed);
                if code != wanted {
                    self.failed.lock().unwrap().push(format!("{what}: {code} {body}"));
                }
            }
        }
    }
}

/// Watches what every process of this machine shows of itself; those of the lab's host are among them.
struct Watcher<'a> {
    values: Mutex<Vec<(String, String)>>,
    /// The app's user may know what its application was given.
    app: u32,
    seen: Mutex<Vec<String>>,
    words: Mutex<std::collections::BTreeSet<&'a str>>,
    samples: AtomicUsize,
}

impl Watcher<'_> {
    fn watch(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").unwrap().flatten() {
                if entry
                    .file_name()
                    .to_string_lossy()
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                {
                    self.look(&entry.path());
                }
            }
            self.samples.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processes come and go: one that is gone shows nothing.
    fn look(&self, process: &Path) {
        let Ok(uid) = std::fs::metadata(process).map(|meta| meta.uid()) else {
            return;
        };
        let mut shown = std::fs::read(process.join("cmdline")).unwrap_or_default();
        for word in ["hactl", "gunicorn", "redis-server", "mariadbd"] {
            if String::from_utf8_lossy(&shown).contains(word) {
                self.words.lock().unwrap().insert(word);
            }
        }
        if uid != 0 && uid != self.app {
            shown.extend(std::fs::read(process.join("environ")).unwrap_or_default());
        }
        let shown = String::from_utf8_lossy(&shown);
        for (name, value) in self.values.lock().unwrap().iter() {
            if shown.contains(value.as_str()) {
                self.seen
                    .lock()
                    .unwrap()
                    .push(format!("{name} of {}", process.display()));
            }
        }
    }

    fn learn(&self, values: &Values) {
        let mut all = self.values.lock().unwrap();
        all.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
        all.sort();
        all.dedup();
    }
}

fn count(stack: &Stack) -> usize {
    let text = stack.hactl(&["secrets", "show-names"]).exits(0).stdout;
    text.lines().filter(|line| line.contains("rotated:")).count()
}

#[test]
fn a_rotation_interrupts_nobody_and_shows_nothing() {
    let stack = Stack::boot(60, Serves::Guestbook, true);
    let mut said: Vec<Said> = vec![stack.apply(&[]).exits(0)];
    assert_eq!(stack.fetch("/", &[]).0, 200);

    let before = values(&stack);
    let user = hactl::inventory::load(&stack.inventory)
        .unwrap()
        .inventory
        .app
        .process()
        .user
        .clone();
    let app = stack.on_host(&format!("id -u {user}")).parse().unwrap();
    let visitor = Visitor::default();
    let watcher = Watcher {
        values: Mutex::default(),
        app,
        seen: Mutex::default(),
        words: Mutex::default(),
        samples: AtomicUsize::new(0),
    };
    watcher.learn(&before);
    let (stop, watched) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut all: Vec<Values> = vec![before.clone()];
    std::thread::scope(|scope| {
        // However this ends, the others end, too.
        let (_stop, _watched) = (Stop(&stop), Stop(&watched));
        scope.spawn(|| visitor.visit(&stack, &stop));
        scope.spawn(|| visitor.visit(&stack, &stop));
        scope.spawn(|| watcher.watch(&watched));
        stack.wait_until("visitors come", || visitor.requests.load(Ordering::Relaxed) > 20);

        // The whole rotation in one apply.
        said.push(stack.hactl(&["secrets", "rotate", "--all-generated"]).exits(0));
        watcher.learn(&values(&stack));
        all.push(values(&stack));
        assert_eq!(count(&stack), 7, "what was rotated is to be carried through");
        let plan = stack.hactl(&["plan", "--out", "saved.json"]).exits(0);
        assert!(plan.stdout.contains("(changed)"), "{}", plan.stdout);
        said.push(plan);
        said.push(stack.apply(&[]).exits(0));
        let changed = said.last().unwrap().summary();
        println!("rotation: {changed}");
        assert_eq!(count(&stack), 0, "it was carried through");
        assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);

        // Cut off at every step, the next apply finishes it. Looking at every process is left off: it slows visitors down.
        watched.store(true, Ordering::Relaxed);
        let steps = changed["changed"].as_u64().unwrap() as usize;
        for (step, delay) in (1..=steps).zip([0, 30, 120].into_iter().cycle()) {
            said.push(stack.hactl(&["secrets", "rotate", "--all-generated"]).exits(0));
            watcher.learn(&values(&stack));
            all.push(values(&stack));
            let cut = stack.apply_killed(step, Duration::from_millis(delay));
            assert!(cut.is_some(), "step {step} of {steps} was reached");
            said.push(stack.apply(&[]).exits(0));
            let next = stack.apply(&[]).exits(0).summary();
            assert_eq!(next["changed"], 0, "cut at step {step}: {next}");
        }
        println!("cut at each of {steps} steps and finished");
    });

    let requests = visitor.requests.load(Ordering::Relaxed);
    println!(
        "{requests} requests, {} samples of /proc",
        watcher.samples.load(Ordering::Relaxed)
    );
    assert_eq!(*visitor.failed.lock().unwrap(), [""; 0], "of {requests} requests");
    assert_eq!(*watcher.seen.lock().unwrap(), [""; 0], "shown by a process");
    assert_eq!(watcher.words.lock().unwrap().len(), 4, "the watcher saw both sides");

    assert_eq!(
        stack.on_host("ls -A /run/hactl/runs"),
        "",
        "data of steps that were cut off"
    );

    let now = values(&stack);
    stores_take_only(&stack, &now, &all);
    nothing_is_shown(&stack, &said, &all);
}

/// Sets the flag when the scope is left, by whatever way.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// MariaDB and Redis take the present passwords and none of those before.
fn stores_take_only(stack: &Stack, now: &Values, all: &[Values]) {
    let mariadb = |password: &str| {
        let script = format!(
            "MYSQL_PWD={password} mariadb --no-defaults -h 127.0.0.1 -u guestbook -N -e 'SELECT 7' guestbook 2>&1 || :"
        );
        stack.on_host(&script)
    };
    let redis = |port: u16, password: &str| {
        stack.on_host(&format!(
            "REDISCLI_AUTH={password} redis-cli -h 127.0.0.1 -p {port} PING 2>&1"
        ))
    };
    assert!(mariadb(&now["app/database"]).ends_with('7'));
    assert_eq!(redis(13000, &now["redis/cache"]), "PONG");
    assert_eq!(redis(11000, &now["redis/queue"]), "PONG");
    let mut older = 0;
    for values in all
        .iter()
        .filter(|values| values["app/database"] != now["app/database"])
    {
        older += 1;
        assert!(mariadb(&values["app/database"]).contains("Access denied"));
        assert!(redis(13000, &values["redis/cache"]).contains("WRONGPASS"));
        assert!(redis(11000, &values["redis/queue"]).contains("WRONGPASS"));
    }
    assert!(older > 1, "there were others");
}

/// No value, old or new, in anything that was printed, kept on this machine, or is readable by others on the host.
fn nothing_is_shown(stack: &Stack, said: &[Said], all: &[Values]) {
    let mut texts: Vec<(String, String)> = said
        .iter()
        .enumerate()
        .map(|(index, said)| (format!("output {index}"), format!("{}{}", said.stdout, said.stderr)))
        .collect();
    let files = Command::new("find")
        .arg(stack.folder())
        .args(["-type", "f"])
        .output()
        .unwrap();
    for path in String::from_utf8(files.stdout).unwrap().lines() {
        texts.push((
            path.to_owned(),
            String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
        ));
    }
    for wanted in ["saved.json", ".jsonl", "secrets.age"] {
        assert!(
            texts.iter().any(|(name, _)| name.contains(wanted)),
            "{wanted} was looked at"
        );
    }
    texts.push((
        "journals of the host".into(),
        stack.on_host("cat /var/lib/hactl/journal/*; journalctl -o cat --no-pager"),
    ));
    for (name, value) in all.iter().flatten() {
        for (place, text) in &texts {
            assert!(!text.contains(value.as_str()), "{name} is in {place}");
        }
    }
    let values: Vec<_> = all.iter().flat_map(|values| values.values()).collect();
    let patterns = values.iter().map(|value| format!("{value}\n")).collect::<String>();
    let found = stack.on_host(&format!(
        "umask 077; cat >/root/patterns <<'END'\n{patterns}END\n\
         find / \\( -path /proc -o -path /sys -o -path /usr/lib -o -path /usr/share \\) -prune -o -type f -perm -o+r -print0 |\n\
         xargs -0 grep -lF -f /root/patterns 2>/dev/null || :\n\
         echo; grep -rlF -f /root/patterns /srv /etc/redis | sort"
    ));
    let (shown, kept) = found.rsplit_once("\n\n").unwrap_or(("", found.trim_start()));
    assert_eq!(shown.trim(), "", "readable by others");
    assert!(
        kept.contains("/srv/guestbook/env") && kept.contains("/etc/redis/redis-cache.password"),
        "the search finds what is there: {kept}"
    );
}
