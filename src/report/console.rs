//! The two streams of the process.
//!
//! `println!` panics when the reader of a pipe went away; here that only ends the output: a run must not die half way
//! because somebody closed a pager. A full disk is remembered and reported at the end.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

use serde::Serialize;

use super::paint::{ColorChoice, Paint};

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object a line on standard output; see `hactl schema events`
    Json,
}

/// Standard output and standard error.
pub struct Console {
    /// What standard output carries.
    pub format: Format,
    /// Whether more is said.
    pub verbose: bool,
    out: Stream,
    err: Stream,
}

struct Stream {
    to: Mutex<State>,
    paint: Paint,
    terminal: bool,
}

struct State {
    to: Box<dyn Write + Send>,
    /// Why nothing is written any more.
    ended: Option<ErrorKind>,
}

impl Stream {
    fn write(&self, text: &str) {
        let mut state = self.to.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if state.ended.is_some() {
            return;
        }
        let written = state.to.write_all(text.as_bytes()).and_then(|()| state.to.flush());
        state.ended = written.err().map(|error| error.kind());
    }
}

impl Console {
    /// The process's own streams.
    pub fn standard(format: Format, color: ColorChoice, verbose: bool) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let stream = |paint: bool, terminal: bool, to: Box<dyn Write + Send>| Stream {
            to: Mutex::new(State { to, ended: None }),
            paint: Paint { on: paint },
            terminal,
        };
        Console {
            format,
            verbose,
            out: stream(color.on(&out), out.is_terminal(), Box::new(out)),
            err: stream(color.on(&err), err.is_terminal(), Box::new(err)),
        }
    }

    /// The result, for people; nothing in JSON.
    pub fn result(&self, text: &str) {
        if self.format == Format::Text {
            self.out.write(text);
        }
    }

    /// The result, verbatim in both formats: for verbs whose output is a document.
    pub fn document(&self, text: &str) {
        self.out.write(text);
    }

    /// One JSON object on a line; nothing in text.
    pub fn line(&self, line: &impl Serialize) {
        if self.format == Format::Json {
            self.out.write(&super::json::line(line, jiff::Timestamp::now()));
        }
    }

    /// Progress, warnings, hints: standard error, for people.
    pub fn say(&self, text: &str) {
        self.err.write(text);
    }

    /// Paint of the result.
    pub fn paint(&self) -> Paint {
        self.out.paint
    }

    /// Paint of what is said on the side.
    pub fn side_paint(&self) -> Paint {
        self.err.paint
    }

    /// Whether progress goes to a terminal.
    pub fn has_terminal(&self) -> bool {
        self.err.terminal
    }

    /// Whether the result goes to a terminal.
    pub fn shows_on_terminal(&self) -> bool {
        self.out.terminal
    }

    /// Why the result could not be written, unless its reader just went away.
    pub fn trouble(&self) -> Option<ErrorKind> {
        let state = self.out.to.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.ended.filter(|kind| *kind != ErrorKind::BrokenPipe)
    }
}
