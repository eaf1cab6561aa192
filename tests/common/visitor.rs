//! Visitors who never leave a site alone, and look at every answer: whole, of one release, or 503, or none.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What visitors saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Whole answers by release.
    pub answers: std::collections::BTreeMap<u32, usize>,
    /// 503.
    pub closed: usize,
    /// Connection refused, reset, timed out; 502 and 504, where nginx says so for the application.
    pub nobody: usize,
    /// Longest time from a whole answer to the next.
    pub gap: Duration,
    /// What must not be.
    pub violations: Vec<String>,
    /// Entries that were taken (the application said so).
    pub taken: usize,
    last: Option<(Instant, u32)>,
}

/// A site under load.
pub struct Visitors {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

/// How a site is looked at.
#[derive(Clone, Copy)]
pub struct Look {
    /// Path of the state, in JSON.
    pub state: &'static str,
    /// The release of a state, or what is wrong with it.
    pub release: fn(&Value) -> Result<u32, String>,
    /// Path of an asset that says its release, or takes it from the state.
    pub asset: Option<&'static str>,
    /// Path that takes an entry, and its form.
    pub write: (&'static str, &'static str),
}

/// Status and body of each path, over one connection as far as the server keeps it.
fn fetch(address: &str, paths: &[&str], form: Option<&str>) -> Vec<(u16, String)> {
    let mut command = Command::new("curl");
    command
        .args(["-sk", "--max-time", "5", "-w", "\n#%{http_code}\n", "--resolve"])
        .arg(format!("erp.example.com:443:{address}"))
        .stderr(Stdio::null());
    if let Some(form) = form {
        command.args(["-d", form]);
    }
    command.args(paths.iter().map(|path| format!("https://erp.example.com{path}")));
    let text = String::from_utf8_lossy(&command.output().expect("curl").stdout).into_owned();
    let mut answers = Vec::new();
    let mut rest = text.as_str();
    while let Some((body, after)) = rest.split_once("\n#") {
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        answers.push((code.parse().unwrap_or(0), body.to_owned()));
        rest = after;
    }
    answers
}

impl Visitors {
    /// They come at once.
    pub fn come(address: &str, look: Look) -> Visitors {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let threads = (0..2)
            .map(|number| {
                let (stop, seen, address) = (Arc::clone(&stop), Arc::clone(&seen), address.to_owned());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match number {
                            0 => {
                                let closed = seen.lock().unwrap().closed;
                                read(&address, look, &seen);
                                // Whoever was sent away need not come back at once: the machine has other work.
                                let again = closed == seen.lock().unwrap().closed;
                                std::thread::sleep(Duration::from_millis(if again { 20 } else { 100 }));
                            }
                            _ => {
                                write(&address, look, &seen);
                                std::thread::sleep(Duration::from_millis(150));
                            }
                        }
                    }
                })
            })
            .collect();
        Visitors { stop, seen, threads }
    }

    /// What they saw so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Forgets the longest gap, to measure another.
    pub fn measure(&self) {
        self.seen.lock().unwrap().gap = Duration::ZERO;
    }

    /// They leave; what they saw, which must be whole.
    #[track_caller]
    pub fn leave(mut self) -> Seen {
        self.end();
        let seen = self.seen();
        assert!(seen.violations.is_empty(), "{:#?}", seen.violations);
        assert!(!seen.answers.is_empty(), "somebody looked: {seen:?}");
        seen
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.end();
    }
}

/// The state, then an asset, then the state again: an asset between two answers of one release is of that release.
fn read(address: &str, look: Look, seen: &Mutex<Seen>) {
    let asset = look.asset.unwrap_or(look.state);
    let answers = fetch(address, &[look.state, asset, look.state], None);
    let state = |at: usize| -> Option<Result<u32, String>> {
        let (200, body) = answers.get(at)? else { return None };
        Some(match serde_json::from_str(body) {
            Ok(value) => (look.release)(&value),
            Err(error) => Err(format!("no JSON ({error}): {body}")),
        })
    };
    let mut seen = seen.lock().unwrap();
    for (code, body) in answers.iter() {
        match code {
            200 => {}
            503 => seen.closed += 1,
            0 | 502 | 504 => seen.nobody += 1,
            code => seen.violations.push(format!("status {code}: {body}")),
        }
    }
    for found in [state(0), state(2)] {
        match found {
            None => {}
            Some(Err(why)) => seen.violations.push(why),
            Some(Ok(release)) => {
                let now = Instant::now();
                if let Some((before, _)) = seen.last {
                    seen.gap = seen.gap.max(now - before);
                }
                seen.last = Some((now, release));
                *seen.answers.entry(release).or_default() += 1;
            }
        }
    }
    if let (Some(_), Some(Ok(first)), Some(Ok(last)), Some((200, text))) =
        (look.asset, state(0), state(2), answers.get(1))
        && first == last
    {
        let of = match text.trim() {
            "1.0.0" => Some(1),
            text => text.parse().ok(),
        };
        if of != Some(first) {
            seen.violations
                .push(format!("assets {text:?} between two answers of release {first}"));
        }
    }
}

fn write(address: &str, look: Look, seen: &Mutex<Seen>) {
    let (path, form) = look.write;
    let answers = fetch(address, &[path], Some(form));
    let mut seen = seen.lock().unwrap();
    match answers.first() {
        Some((200 | 303, _)) => seen.taken += 1,
        Some((503, _)) => seen.closed += 1,
        None | Some((0 | 502 | 504, _)) => seen.nobody += 1,
        Some((code, body)) => seen.violations.push(format!("a write: status {code}: {body}")),
    }
}
