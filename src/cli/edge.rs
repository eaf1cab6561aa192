//! Where a result becomes text and an exit code: the only place that renders errors.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::context::Ended;
use crate::engine::{Event, Summary};
use crate::error::{Error, Kind, Result};
use crate::report::{Console, Format, Note, Paint};

/// Ends the process: prints the error when there is one, in JSON the summary as last line.
pub fn finish(console: &Console, result: Result<Ended>) -> ExitCode {
    let code = match result {
        Ok(Ended { summary, told }) => {
            let code = summary.exit_code;
            if !told {
                console.line(&Event::Summary(summary));
            }
            code
        }
        Err(error) => {
            fail(console, &error);
            error.kind.exit_code()
        }
    };
    match console.trouble() {
        // Whoever reads the output must not take half of it for all of it.
        Some(why) => {
            console.say(&format!("error: cannot write to standard output: {why}\n"));
            ExitCode::from(if code == 0 { Kind::Internal.exit_code() } else { code })
        }
        None => ExitCode::from(code),
    }
}

fn fail(console: &Console, error: &Error) {
    match console.format {
        Format::Text => console.say(&text(error, console.side_paint())),
        Format::Json => {
            console.line(&Note::from(error));
            console.line(&Event::Summary(Summary {
                exit_code: error.kind.exit_code(),
                ..Summary::default()
            }));
        }
    }
}

/// An error for people.
pub fn text(error: &Error, paint: Paint) -> String {
    let message = paint.safe(error.message.trim_end());
    let mut out = format!("{} {message}\n", paint.bad("error:"));
    for hint in &error.hints {
        let hint = paint.safe(hint).replace('\n', "\n        ");
        let _ = writeln!(out, "  {} {hint}", paint.good("next:"));
    }
    out
}

/// The end of the process when the command line itself is wrong, or help or the version was asked for.
pub fn command_line(error: &clap::Error, json: bool) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(Kind::Internal.exit_code());
    if json && code != 0 {
        let console = Console::standard(Format::Json, crate::report::ColorChoice::Never, false);
        let message = error.to_string();
        let message = message.trim().trim_start_matches("error: ");
        return finish(&console, Err(Error::usage(message)));
    }
    // A reader that went away is no reason to fail.
    let _ = error.print();
    ExitCode::from(code)
}
