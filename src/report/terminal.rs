//! The live report: a line per host at the bottom, what ended above.

use std::time::Duration;

use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::paint::Paint;
use super::progress::{HostProgress, Progress, duration};
use crate::engine::Event;
use crate::quote::terminal;

/// A step that runs this long shows what it prints.
const PATIENCE: Duration = Duration::from_secs(3);

/// The live report.
pub struct Terminal {
    progress: Progress,
    bars: MultiProgress,
    hosts: IndexMap<String, Bars>,
    paint: Paint,
    verbose: bool,
    /// Nothing is drawn until the next event: something else uses the terminal.
    still: bool,
}

/// The lines of one host.
struct Bars {
    host: ProgressBar,
    /// The tail of a long step's output.
    tail: Option<ProgressBar>,
}

impl Terminal {
    /// A report on `target`.
    pub fn new(target: ProgressDrawTarget, paint: Paint, verbose: bool) -> Self {
        Terminal {
            progress: Progress::default(),
            bars: MultiProgress::with_draw_target(target),
            hosts: IndexMap::new(),
            paint,
            verbose,
            still: false,
        }
    }

    /// Shows an event that came `at` after the start.
    pub fn event(&mut self, at: Duration, event: &Event) {
        for line in self.progress.take(at, event) {
            if self.verbose || !line.detail {
                // The terminal went away: the run goes on without it.
                let _ = self.bars.println(line.painted(self.paint));
            }
        }
        self.still = false;
        self.draw(at);
    }

    /// Shows that time went by.
    pub fn tick(&mut self, at: Duration) {
        if !self.still {
            self.draw(at);
        }
    }

    /// Removes the live lines; the next event brings them back.
    pub fn clear(&mut self) {
        for (_, bars) in self.hosts.drain(..) {
            bars.remove_from(&self.bars);
        }
        let _ = self.bars.clear();
        self.still = true;
    }

    fn draw(&mut self, at: Duration) {
        for (name, now) in &self.progress.hosts {
            let Some(doing) = now.doing() else {
                if let Some(gone) = self.hosts.shift_remove(name) {
                    gone.remove_from(&self.bars);
                }
                continue;
            };
            let bars = self.hosts.entry(name.clone()).or_insert_with(|| Bars {
                host: self.bars.add(host_bar(&self.paint.place(&terminal(name)))),
                tail: None,
            });
            let since = at.saturating_sub(now.since);
            let message = match since.as_secs() {
                0 => doing,
                seconds => format!(
                    "{doing}{}",
                    self.paint.dim(&format!(" ({})", duration(seconds * 1_000)))
                ),
            };
            bars.host.set_message(message);
            bars.host.tick();
            show_tail(&self.bars, bars, now, since, self.paint);
        }
    }
}

fn show_tail(all: &MultiProgress, bars: &mut Bars, now: &HostProgress, since: Duration, paint: Paint) {
    match now.tail.as_deref().filter(|_| since >= PATIENCE) {
        Some(line) => {
            let tail = bars.tail.get_or_insert_with(|| {
                all.insert_after(&bars.host, styled(ProgressBar::no_length(), "    {wide_msg}"))
            });
            tail.set_message(paint.dim(line.trim()));
            tail.tick();
        }
        None => {
            if let Some(tail) = bars.tail.take() {
                tail.finish_and_clear();
                all.remove(&tail);
            }
        }
    }
}

impl Bars {
    fn remove_from(self, all: &MultiProgress) {
        for bar in self.tail.into_iter().chain([self.host]) {
            bar.finish_and_clear();
            all.remove(&bar);
        }
    }
}

fn host_bar(prefix: &str) -> ProgressBar {
    styled(ProgressBar::new_spinner(), "{prefix} {spinner} {wide_msg}").with_prefix(prefix.to_owned())
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
