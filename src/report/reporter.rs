//! The thread that listens.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::ProgressDrawTarget;
use tokio::sync::{mpsc, oneshot};

use super::console::{Console, Format};
use super::plain::Plain;
use super::terminal::Terminal;
use crate::engine::Event;
use crate::error::{Error, Result};

/// How often a live report moves.
const FRAME: Duration = Duration::from_millis(100);

/// Listens to a run on a thread of its own.
pub struct Reporter {
    control: mpsc::UnboundedSender<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
}

enum View {
    Json,
    Plain(Plain),
    Terminal(Box<Terminal>),
}

impl Reporter {
    /// Starts to listen; events go into what is returned.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(console: Arc<Console>) -> Result<(Reporter, mpsc::UnboundedSender<Event>)> {
        let (events, receiver) = mpsc::unbounded_channel();
        let (control, commands) = mpsc::unbounded_channel();
        let failed = |error: std::io::Error| Error::internal(format!("cannot start the reporter: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("reporter".into())
            .spawn(move || runtime.block_on(listen(&console, receiver, commands)))
            .map_err(failed)?;
        Ok((Reporter { control, thread }, events))
    }

    /// Waits until everything sent so far is printed and the live lines are gone: before a question is asked or a result
    /// is printed.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.control.send(done).is_ok() {
            let _ = settled.await;
        }
    }

    /// Prints what is left and ends.
    ///
    /// # Errors
    /// When the reporter itself failed.
    pub fn finish(self) -> Result<()> {
        drop(self.control);
        self.thread
            .join()
            .map_err(|_| Error::internal("the reporter failed; the run itself is in the journal"))
    }
}

async fn listen(
    console: &Console,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut control: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
) {
    let start = Instant::now();
    let mut view = View::of(console);
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut open = true;
    loop {
        tokio::select! {
            // Events first, so that a settled report has them all.
            biased;
            event = events.recv(), if open => match event {
                Some(event) => view.event(console, start.elapsed(), &event),
                None => open = false,
            },
            command = control.recv() => match command {
                Some(done) => {
                    view.clear();
                    let _ = done.send(());
                }
                None => break,
            },
            _ = frames.tick() => view.tick(console, start.elapsed()),
        }
    }
    view.clear();
}

impl View {
    fn of(console: &Console) -> Self {
        let (paint, verbose) = (console.side_paint(), console.verbose);
        match console.format {
            Format::Json => View::Json,
            Format::Text => {
                // Hidden: no terminal, or one that cannot move its cursor.
                let target = ProgressDrawTarget::stderr();
                if target.is_hidden() {
                    View::Plain(Plain::new(paint, verbose))
                } else {
                    View::Terminal(Box::new(Terminal::new(target, paint, verbose)))
                }
            }
        }
    }

    fn event(&mut self, console: &Console, at: Duration, event: &Event) {
        match self {
            View::Json => console.line(event),
            View::Plain(plain) => print(console, &plain.event(at, event)),
            View::Terminal(terminal) => terminal.event(at, event),
        }
    }

    fn tick(&mut self, console: &Console, at: Duration) {
        match self {
            View::Json => {}
            View::Plain(plain) => print(console, &plain.tick(at)),
            View::Terminal(terminal) => terminal.tick(at),
        }
    }

    fn clear(&mut self) {
        if let View::Terminal(terminal) = self {
            terminal.clear();
        }
    }
}

fn print(console: &Console, text: &str) {
    if !text.is_empty() {
        console.say(text);
    }
}
