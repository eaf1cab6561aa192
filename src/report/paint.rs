//! Colours, and text that is safe on a terminal although it holds some.

use std::io::IsTerminal;

use console::Style;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`
    #[default]
    Auto,
    /// Also into files and pipes
    Always,
    /// Nowhere
    Never,
}

impl ColorChoice {
    /// Whether a stream gets colours. `NO_COLOR` counts when it is not empty (no-color.org).
    pub fn on(self, stream: &impl IsTerminal) -> bool {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                stream.is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// Paints, or leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint {
    /// Whether there are colours.
    pub on: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.on {
            style.force_styling(true).apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }

    /// Something came to be, or went well.
    pub fn good(self, text: &str) -> String {
        self.with(Style::new().green(), text)
    }

    /// Something differs or deserves a look.
    pub fn warn(self, text: &str) -> String {
        self.with(Style::new().yellow(), text)
    }

    /// Something failed or goes away.
    pub fn bad(self, text: &str) -> String {
        self.with(Style::new().red(), text)
    }

    /// What is at stake.
    pub fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// Names of hosts, places in diffs.
    pub fn place(self, text: &str) -> String {
        self.with(Style::new().cyan(), text)
    }

    /// Details.
    pub fn dim(self, text: &str) -> String {
        self.with(Style::new().dim(), text)
    }

    /// A text that may already hold colours (diagnostics with source lines) and words of a host or a file: keeps the
    /// colours when there are any to be, and makes every other control character visible.
    pub fn safe(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("\x1b[") {
            let (before, from) = rest.split_at(start);
            let body = &from[2..];
            let length = body
                .find(|c: char| !(c.is_ascii_digit() || c == ';'))
                .filter(|at| body[*at..].starts_with('m'));
            out.push_str(&crate::quote::terminal(before));
            match length {
                Some(length) => {
                    if self.on {
                        out.push_str(&from[..length + 3]);
                    }
                    rest = &body[length + 1..];
                }
                None => {
                    out.push_str("\\x1b[");
                    rest = body;
                }
            }
        }
        out + &crate::quote::terminal(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::Paint;
    use proptest::prelude::*;

    #[test]
    fn only_colours_survive() {
        let text = "\x1b[31mred\x1b[0m \x1b[2Jgone \x1b]0;title\x07 \x1b[1;3";
        let with = Paint { on: true }.safe(text);
        assert_eq!(with, "\x1b[31mred\x1b[0m \\x1b[2Jgone \\x1b]0;title\\x07 \\x1b[1;3");
        let without = Paint { on: false }.safe(text);
        assert_eq!(without, "red \\x1b[2Jgone \\x1b]0;title\\x07 \\x1b[1;3");
    }

    proptest! {
        #[test]
        fn without_colours_no_control_character_survives(text in "[\\x00-\\x7f\u{9b}\u{202e}]*") {
            let clean = Paint { on: false }.safe(&text);
            let quiet = clean.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
            prop_assert!(quiet, "{clean:?}");
        }
    }
}
