//! An order as a script with its payload, and the reading of its answer.

use std::time::Duration;

use super::link::{Order, Progress, Verdict};
use crate::quote::{sh, terminal};
use crate::resource::script::PRELUDE;
use crate::transport::TransportError;
use crate::transport::wire::{Limits, Piece};

/// Longest wait for the last step of a run that was cut off, seconds.
const ORPHAN_PATIENCE: u64 = 900;

/// Most bytes of what a host says beside its steps' output, e.g. who holds its lock.
const SAID_LIMIT: usize = 2048;

/// What goes over the wire.
pub struct Request {
    /// Runs in the session's shell; holds no secret.
    pub script: String,
    /// Step scripts and their data; may hold secrets.
    pub payload: zeroize::Zeroizing<Vec<u8>>,
    /// What the host may take, as far as its steps keep their deadlines.
    pub limits: Limits,
}

/// Writes an order down.
pub fn write(order: &Order) -> Request {
    let mut script = format!("RUN={}\n{}", sh(order.run), include_str!("apply.sh"));
    let mut payload = zeroize::Zeroizing::new(Vec::new());
    let mut receive = String::new();
    let mut take = |name: String, bytes: &[u8]| {
        payload.extend_from_slice(bytes);
        receive.push_str(&format!(" &&\n    recv {name} {}", bytes.len()));
    };
    take("prelude".into(), PRELUDE.as_bytes());
    let mut folders = String::new();
    let mut steps = String::new();
    for (number, step) in order.steps.iter().enumerate() {
        folders.push_str(&format!(" \"$R/{number}\""));
        let run = format!(". \"$R/prelude\"\n{}\n:\n", step.script.body);
        take(format!("{number}/run"), run.as_bytes());
        for (index, blob) in step.script.blobs.iter().enumerate() {
            take(format!("{number}/{index}"), blob.reveal().as_bytes());
        }
        steps.push_str(&format!(
            " &&\n    step {number} {} {} {}",
            step.deadline,
            sh(&step.id),
            step.changes.len()
        ));
    }
    script.push_str(&format!(
        "order() {{\n    hold {} {} {} {} {ORPHAN_PATIENCE} || return $?\n    \
         rm -rf \"$R\"/[0-9]* && mkdir -m 700{folders} {receive} || return 4\n    listen\n    :{steps}\n    deaf $?\n}}\norder\nleave $? {}\n",
        sh(order.who),
        sh(order.since),
        sh(order.doing),
        sh(order.generation),
        u8::from(order.last),
    ));
    // `timeout` gives a step 15 s to end after its deadline.
    let deadlines = || order.steps.iter().map(|step| step.deadline.saturating_add(15));
    let (longest, all) = (deadlines().max().unwrap_or(0), deadlines().fold(0, u64::saturating_add));
    Request {
        script,
        payload,
        limits: Limits {
            silence: Duration::from_secs(longest.max(ORPHAN_PATIENCE).saturating_add(60)),
            total: Some(Duration::from_secs(all.saturating_add(ORPHAN_PATIENCE + 60))),
            bytes: 64 << 20,
        },
    }
}

/// Waits on the host for the last step of a run that was cut off.
pub fn settle() -> Request {
    Request {
        script: format!("RUN=settling\n{}\nsettle {ORPHAN_PATIENCE}\n", include_str!("apply.sh")),
        payload: zeroize::Zeroizing::new(Vec::new()),
        limits: Limits {
            silence: Duration::from_secs(ORPHAN_PATIENCE + 60),
            total: Some(Duration::from_secs(2 * ORPHAN_PATIENCE)),
            bytes: 1 << 20,
        },
    }
}

/// Reads the answer as it comes. What a host says about its steps must fit the order: each begins after the one before
/// ended, and it is done when all have.
pub struct Reading<'a> {
    progress: &'a mut (dyn FnMut(Progress) + Send),
    steps: usize,
    /// Steps that ended.
    ended: usize,
    running: bool,
    mark: String,
    said: Vec<u8>,
    failed: bool,
    /// Why nothing of this host is believed any more.
    nonsense: Option<String>,
}

impl<'a> Reading<'a> {
    /// Reads on behalf of `progress` the answer to an order of so many steps.
    pub fn new(progress: &'a mut (dyn FnMut(Progress) + Send), steps: usize) -> Self {
        Reading {
            progress,
            steps,
            ended: 0,
            running: false,
            mark: String::new(),
            said: Vec::new(),
            failed: false,
            nonsense: None,
        }
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: Piece) {
        if self.nonsense.is_some() {
            return;
        }
        match piece {
            Piece::Mark(words) => {
                match words.first().map(String::as_str) {
                    Some("begin") => self.begin(&words),
                    Some("end") => self.end(&words),
                    _ => {}
                }
                self.mark = words.into_iter().next().unwrap_or_default();
                self.said.clear();
            }
            Piece::Data(data) if self.mark == "begin" => (self.progress)(Progress::Output(data)),
            Piece::Data(data) => self.words_of_a_mark(&data),
        }
    }

    fn begin(&mut self, words: &[String]) {
        if number(words, 1) != Some(self.ended) || self.running || self.failed || self.ended >= self.steps {
            self.nonsense = Some(format!("a step began that was not next ({})", shown(words)));
            return;
        }
        self.running = true;
        (self.progress)(Progress::Began(self.ended));
    }

    fn end(&mut self, words: &[String]) {
        let status = words.get(2).and_then(|word| word.parse::<i32>().ok());
        let (true, true, Some(status)) = (self.running, number(words, 1) == Some(self.ended), status) else {
            self.nonsense = Some(format!("a step ended that did not run ({})", shown(words)));
            return;
        };
        self.failed = !matches!(status, 0 | crate::resource::script::SAME);
        (self.progress)(Progress::Ended(self.ended, status));
        self.running = false;
        self.ended += 1;
    }

    fn words_of_a_mark(&mut self, data: &[u8]) {
        let room = SAID_LIMIT.saturating_sub(self.said.len());
        let told = self.said.contains(&b'\n');
        self.said.extend_from_slice(&data[..data.len().min(room)]);
        if self.mark == "waits" && !told && self.said.contains(&b'\n') {
            let reason = self.words();
            (self.progress)(Progress::Waits(reason));
        }
    }

    fn words(&self) -> String {
        terminal(String::from_utf8_lossy(&self.said).trim())
    }

    /// How it ended.
    ///
    /// # Errors
    /// When what the host said makes no sense.
    pub fn verdict(self, status: i32) -> Result<Verdict, TransportError> {
        let nonsense = match (self.nonsense.as_deref(), status) {
            (Some(why), _) => Some(why.to_owned()),
            (None, 0) if self.running || self.failed || self.ended != self.steps => Some(format!(
                "it says that it is done, but {} of {} steps ended well",
                self.ended - usize::from(self.failed),
                self.steps
            )),
            _ => None,
        };
        if let Some(why) = nonsense {
            return Err(
                TransportError::protocol(format!("the host's report makes no sense: {why}"))
                    .hint("look at the host before trusting it again; hactl plan asks it what it has now"),
            );
        }
        Ok(match (self.mark.as_str(), status) {
            (_, 0) => Verdict::Done,
            ("locked", _) => Verdict::Locked(self.words()),
            ("moved", _) => Verdict::Moved(self.words()),
            ("stopped", _) => Verdict::Stopped,
            (_, _) if self.failed => Verdict::StepFailed,
            _ => Verdict::Failed(match self.words() {
                words if words.is_empty() => format!("the host ended with status {status} and said nothing"),
                words => words,
            }),
        })
    }
}

fn number(words: &[String], at: usize) -> Option<usize> {
    words.get(at)?.parse().ok()
}

/// A mark's words, for an error.
fn shown(words: &[String]) -> String {
    terminal(&words.join(" ")).chars().take(60).collect()
}
