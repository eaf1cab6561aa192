//! An order as a script with its payload, and the reading of its answer.

use std::time::Duration;

use super::link::{Order, Progress, Verdict};
use crate::quote::{sh, terminal};
use crate::resource::script::PRELUDE;
use crate::transport::wire::Piece;

/// Longest wait for the last step of a run that was cut off, seconds.
const ORPHAN_PATIENCE: u64 = 900;

/// What goes over the wire.
pub struct Request {
    /// Runs in the session's shell; holds no secret.
    pub script: String,
    /// Step scripts and their data; may hold secrets.
    pub payload: zeroize::Zeroizing<Vec<u8>>,
    /// Longest silence to expect.
    pub patience: Duration,
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
    let longest = order.steps.iter().map(|step| step.deadline).max().unwrap_or(0);
    Request {
        script,
        payload,
        patience: Duration::from_secs(longest.max(ORPHAN_PATIENCE) + 60),
    }
}

/// Waits on the host for the last step of a run that was cut off.
pub fn settle() -> Request {
    Request {
        script: format!("RUN=settling\n{}\nsettle {ORPHAN_PATIENCE}\n", include_str!("apply.sh")),
        payload: zeroize::Zeroizing::new(Vec::new()),
        patience: Duration::from_secs(ORPHAN_PATIENCE + 60),
    }
}

/// Reads the answer as it comes.
pub struct Reading<'a> {
    progress: &'a mut (dyn FnMut(Progress) + Send),
    mark: String,
    said: Vec<u8>,
    failed: bool,
}

impl<'a> Reading<'a> {
    /// Reads on behalf of `progress`.
    pub fn new(progress: &'a mut (dyn FnMut(Progress) + Send)) -> Self {
        Reading {
            progress,
            mark: String::new(),
            said: Vec::new(),
            failed: false,
        }
    }

    /// Takes a piece.
    pub fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Mark(words) => {
                let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
                let index = number(1).and_then(|index| usize::try_from(index).ok());
                match (words.first().map(String::as_str), index) {
                    (Some("begin"), Some(index)) => (self.progress)(Progress::Began(index)),
                    (Some("end"), Some(index)) => {
                        let status = number(2).and_then(|status| i32::try_from(status).ok()).unwrap_or(1);
                        self.failed = !matches!(status, 0 | crate::resource::script::SAME);
                        (self.progress)(Progress::Ended(index, status));
                    }
                    _ => {}
                }
                self.mark = words.into_iter().next().unwrap_or_default();
                self.said.clear();
            }
            Piece::Data(data) if self.mark == "begin" => (self.progress)(Progress::Output(data)),
            Piece::Data(data) => {
                if self.said.len() < 4096 {
                    self.said.extend_from_slice(&data);
                }
                if self.mark == "waits" {
                    let reason = self.words();
                    (self.progress)(Progress::Waits(reason));
                }
            }
        }
    }

    fn words(&self) -> String {
        terminal(String::from_utf8_lossy(&self.said).trim())
    }

    /// How it ended.
    pub fn verdict(self, status: i32) -> Verdict {
        match (self.mark.as_str(), status) {
            (_, 0) => Verdict::Done,
            ("locked", _) => Verdict::Locked(self.words()),
            ("moved", _) => Verdict::Moved(self.words()),
            ("stopped", _) => Verdict::Stopped,
            (_, _) if self.failed => Verdict::StepFailed,
            _ => Verdict::Failed(self.words()),
        }
    }
}
