//! Asking the person at the terminal for a passphrase.

use std::io::IsTerminal;

use crate::secret::Secret;

/// Answers questions that only a person can answer. Implementations may block; they are called off the async threads
/// and never two at a time.
pub trait Prompt: Send + Sync {
    /// Asks for a passphrase without echo. `None`: nobody is there to ask, or the question was declined.
    fn passphrase(&self, question: &str) -> Option<Secret>;
}

/// Asks on the terminal; answers `None` when standard input or standard error is not one.
#[derive(Debug, Default, Clone, Copy)]
pub struct TerminalPrompt;

impl Prompt for TerminalPrompt {
    fn passphrase(&self, question: &str) -> Option<Secret> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        dialoguer::Password::new()
            .with_prompt(question)
            .allow_empty_password(true)
            .interact_on(&console::Term::stderr())
            .ok()
            .filter(|answer| !answer.is_empty())
            .map(Secret::new)
    }
}

/// Declines every question: for CI and `--no-input`.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _question: &str) -> Option<Secret> {
        None
    }
}
