//! Lines for pipes and CI: what ended, and a sign of life when nothing does.

use std::time::Duration;

use super::paint::Paint;
use super::progress::{Progress, duration};
use crate::engine::Event;

/// After so long without a line, there is a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Most hosts that one sign of life names.
const NAMED: usize = 8;

/// The plain report.
#[derive(Debug, Default)]
pub struct Plain {
    progress: Progress,
    last: Duration,
    paint: Paint,
    verbose: bool,
}

impl Plain {
    /// A report; `verbose` adds connections, starts and every line that a step prints.
    pub fn new(paint: Paint, verbose: bool) -> Self {
        Plain {
            paint,
            verbose,
            ..Plain::default()
        }
    }

    /// What to print for an event that came `at` after the start.
    pub fn event(&mut self, at: Duration, event: &Event) -> String {
        let mut out = String::new();
        for line in self.progress.take(at, event) {
            if self.verbose || !line.detail {
                out.push_str(&line.painted(self.paint));
                out.push('\n');
                self.last = at;
            }
        }
        out
    }

    /// What to print when it is `at` and nothing came.
    pub fn tick(&mut self, at: Duration) -> String {
        if at.saturating_sub(self.last) < HEARTBEAT {
            return String::new();
        }
        let mut out = String::new();
        let mut unnamed = 0;
        let busy = self.progress.hosts.iter().filter_map(|(host, now)| {
            let doing = now.doing()?;
            let since = at.saturating_sub(now.since).as_millis() as u64;
            Some((host, doing, since, now.tail.as_deref()))
        });
        for (index, (host, doing, since, tail)) in busy.enumerate() {
            if index >= NAMED {
                unnamed += 1;
                continue;
            }
            let host = crate::quote::terminal(host);
            let mut line = format!("{host}: still {doing} ({})", duration(since));
            if let Some(tail) = tail {
                line.push_str(": ");
                line.push_str(tail.trim());
            }
            out.push_str(&self.paint.dim(&line));
            out.push('\n');
        }
        if unnamed > 0 {
            out.push_str(&self.paint.dim(&format!("... and {unnamed} more hosts")));
            out.push('\n');
        }
        if !out.is_empty() {
            self.last = at;
        }
        out
    }
}
