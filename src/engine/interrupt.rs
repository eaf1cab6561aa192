//! Ctrl-C once: finish the running step and stop cleanly. Twice: stop now.

use tokio::sync::watch;

/// How urgently the user wants to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    None,
    /// After the running step.
    Soon,
    /// At once.
    Now,
}

/// Shared by everything that can be interrupted.
#[derive(Debug, Clone)]
pub struct Interrupt {
    state: watch::Receiver<Urgency>,
}

impl Interrupt {
    /// Never interrupts.
    pub fn never() -> Self {
        let (_, state) = watch::channel(Urgency::None);
        Interrupt { state }
    }

    /// Driven by the given channel.
    pub fn from_channel(state: watch::Receiver<Urgency>) -> Self {
        Interrupt { state }
    }

    /// Driven by SIGINT and SIGTERM of this process (SIGTERM counts as one Ctrl-C). `said` is called for each.
    pub fn from_signals(said: impl Fn(Urgency) + Send + 'static) -> Self {
        let (sender, state) = watch::channel(Urgency::None);
        tokio::spawn(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return;
            };
            for urgency in [Urgency::Soon, Urgency::Now] {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                said(urgency);
                if sender.send(urgency).is_err() {
                    return;
                }
            }
            sender.closed().await;
        });
        Interrupt { state }
    }

    /// How urgent it is.
    pub fn urgency(&self) -> Urgency {
        *self.state.borrow()
    }

    /// Waits until it is at least this urgent; for ever when nobody will.
    pub async fn reaches(&mut self, urgency: Urgency) {
        if self.state.wait_for(|state| *state >= urgency).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
