//! What is wrong with a file, and where: collected while it is read, rendered with source excerpts at the edge.

use std::fmt;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};

use crate::error::{Error, Kind};

use super::mask;

/// More than this many are counted instead of printed: after that a reader starts over anyway.
const SHOWN: usize = 40;
/// A source line longer than this many bytes is not quoted (a 1 MiB file may be one line).
const QUOTED_LINE: usize = 400;

/// A byte range of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Bytes; 0 points between two characters.
    pub len: usize,
}

/// The text that spans refer to, with the name a user knows it by.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// The path as the user gave it.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
}

impl fmt::Debug for Source {
    // The text may hold literal secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.text.len())
    }
}

impl Source {
    /// A source text by name.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Source {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Line and column (both from 1, columns in characters) of a byte.
    pub fn line_column(&self, at: usize) -> (usize, usize) {
        let before = floor(&self.text, at);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// `file:line:column` of a span.
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.line_column(span.start);
        format!("{}:{line}:{column}", self.name)
    }
}

/// The text before byte `at`, moved back to a character boundary.
fn floor(text: &str, at: usize) -> &str {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    &text[..at]
}

/// Whether a diagnostic refuses the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Refused or only remarked.
    pub severity: Severity,
    /// Stable, for scripts and documentation: `inventory::unknown_key`.
    pub code: &'static str,
    /// What is wrong and why, one line.
    pub message: String,
    /// Places with what to say there; the first is the one that is named.
    pub labels: Vec<(Span, String)>,
    /// What to write instead, or what to run.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// A remark without a place yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Self::new(code, message)
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.labels.push((span, label.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Renders with the source lines it points at; literal secrets in those lines are masked.
    pub fn render(&self, source: &Source, colour: bool) -> String {
        let masked = mask::quotable(&source.text);
        self.render_masked(source, &masked, colour)
    }

    fn render_masked(&self, source: &Source, masked: &str, colour: bool) -> String {
        let quotable = self
            .labels
            .iter()
            .all(|(span, _)| line_around(masked, span.start).len() <= QUOTED_LINE);
        let shown = Shown {
            diagnostic: self,
            // miette puts file:line:column above an excerpt; without one it goes into the message.
            message: match self.labels.first() {
                Some((span, _)) if !quotable => format!("{}: {}", source.place(*span), self.message),
                Some(_) => self.message.clone(),
                None => format!("{}: {}", source.name, self.message),
            },
            labels: if quotable { clipped(self, masked) } else { Vec::new() },
            source: WholeLines {
                name: &source.name,
                text: masked,
            },
        };
        let theme = if colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let mut out = String::new();
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            .with_width(120)
            .with_context_lines(1);
        match handler.render_report(&mut out, &shown) {
            Ok(()) => out,
            Err(fmt::Error) => format!("{}\n", shown.message),
        }
    }
}

/// Labels cut at the end of their line: a mapping that spans half the file is pointed at, not underlined.
fn clipped(diagnostic: &Diagnostic, text: &str) -> Vec<LabeledSpan> {
    let label = |(i, (span, label)): (usize, &(Span, String))| {
        let start = floor(text, span.start).len();
        let end = floor(text, span.start.saturating_add(span.len)).len();
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let len = text[start..end.min(line_end)].trim_end().len();
        let text = (!label.is_empty()).then(|| label.clone());
        match i {
            0 => LabeledSpan::new_primary_with_span(text, (start, len)),
            _ => LabeledSpan::new_with_span(text, (start, len)),
        }
    };
    diagnostic.labels.iter().enumerate().map(label).collect()
}

fn line_around(text: &str, at: usize) -> &str {
    let at = floor(text, at).len();
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let end = text[at..].find('\n').map_or(text.len(), |i| at + i);
    &text[start..end]
}

/// A diagnostic as miette wants to see it.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    message: String,
    labels: Vec<LabeledSpan>,
    source: WholeLines<'a>,
}

/// Quotes the lines that are pointed at, whole, and no neighbours: these may hold secrets and say nothing.
#[derive(Debug)]
struct WholeLines<'a> {
    name: &'a str,
    text: &'a str,
}

impl SourceCode for WholeLines<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        if end > self.text.len() {
            return Err(MietteError::OutOfBounds);
        }
        // Asked without context, miette wants the place of the span itself, for the header.
        let (from, to) = if lines_before == 0 {
            (start, end)
        } else {
            let from = self.text[..start].rfind('\n').map_or(0, |i| i + 1);
            (from, self.text[end..].find('\n').map_or(self.text.len(), |i| end + i))
        };
        let before = &self.text[..from];
        let line = before.matches('\n').count();
        let column = before[before.rfind('\n').map_or(0, |i| i + 1)..].chars().count();
        let data = &self.text[from..to];
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.to_owned(),
            data.as_bytes(),
            SourceSpan::new(from.into(), to - from),
            line,
            column,
            data.matches('\n').count() + 1,
        )))
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_deref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty()).then(|| Box::new(self.labels.iter().cloned()) as Box<_>)
    }
}

/// Everything that is wrong with one file.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    /// The file.
    pub source: Source,
    /// In the order of the file.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Sorts what was collected by place.
    pub fn new(source: Source, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|d| d.labels.first().map_or(0, |(span, _)| span.start));
        Diagnostics { source, list }
    }

    /// Text for people: every diagnostic with its source lines, then a count.
    pub fn render(&self, colour: bool) -> String {
        let masked = mask::quotable(&self.source.text);
        let mut out = String::new();
        for diagnostic in self.list.iter().take(SHOWN) {
            out.push_str(&diagnostic.render_masked(&self.source, &masked, colour));
            out.push('\n');
        }
        let errors = self.list.iter().filter(|d| d.severity == Severity::Error).count();
        let warnings = self.list.len() - errors;
        let mut counts = Vec::new();
        for (count, one) in [(errors, "error"), (warnings, "warning")] {
            match count {
                0 => {}
                1 => counts.push(format!("1 {one}")),
                n => counts.push(format!("{n} {one}s")),
            }
        }
        out.push_str(&format!("{}: {}", self.source.name, counts.join(", ")));
        if self.list.len() > SHOWN {
            out.push_str(&format!(" (the first {SHOWN} are shown)"));
        }
        out
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostics {
    /// As the error that the command line prints (exit 2).
    pub fn into_error(self, colour: bool) -> Error {
        Error::new(Kind::Usage, self.render(colour))
    }
}
