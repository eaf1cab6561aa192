//! A diagnostic in the shape of a serde error.

use std::fmt;

use serde::de;

use crate::inventory::diagnostics::{Diagnostic, Span};

/// A serde error that is a diagnostic.
#[derive(Debug)]
pub struct Problem(pub Box<Diagnostic>);

impl Problem {
    pub fn new(code: &'static str, message: impl Into<String>, at: Span) -> Self {
        Problem(Box::new(Diagnostic::new(code, message).at(at, "")))
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(first) = self.0.labels.first_mut() {
            first.1 = label.into();
        }
        self
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Problem(Box::new(self.0.help(help)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Problem(Box::new(Diagnostic::new("inventory::type", message.to_string())))
    }
}

/// What is said about a control character.
pub fn control(c: char, at: Span) -> Problem {
    let what = match c {
        '\n' | '\r' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        '\u{e000}'..='\u{e002}' => format!("U+{:04X}, which hactl's templates use themselves", u32::from(c)),
        c => format!("the control character U+{:04X}", u32::from(c)),
    };
    Problem::new("inventory::control", format!("this text holds {what}"), at)
        .label("must be one line of printable text")
        .help("it would break the configuration files it goes into; write it on one line")
}
