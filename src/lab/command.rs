//! Running the machine's programs, each with a deadline.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::error::{LabError, Result};

/// Where the machine's administration programs are; a user's own PATH often lacks the sbin folders.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that is killed after `seconds`. Its environment is the caller's (proxies count), with a full PATH and plain
/// messages; its input is empty.
pub(super) fn program<S: AsRef<OsStr>>(seconds: u32, argv: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(seconds.to_string()).args(argv);
    command.env("PATH", PATH).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot start, ends with another status than 0, or does not end within `seconds`.
pub(super) fn run<S: AsRef<OsStr>>(doing: &str, seconds: u32, argv: impl IntoIterator<Item = S>) -> Result<String> {
    let mut command = program(seconds, argv);
    finish(doing, &mut command, None)
}

/// As [`run`], for a prepared command, with text on its standard input.
pub(super) fn finish(doing: &str, command: &mut Command, input: Option<&str>) -> Result<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|e| failed(doing, command, e.to_string(), ""))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ends without reading says why by its status.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|e| failed(doing, command, e.to_string(), ""))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(refused(doing, command, &output))
}

/// Runs a program to its end, handing each line it says to `line`.
pub(super) fn follow(doing: &str, command: &mut Command, line: &mut dyn FnMut(&str)) -> Result<()> {
    let (reader, writer) = std::io::pipe().map_err(|e| failed(doing, command, e.to_string(), ""))?;
    let other = writer
        .try_clone()
        .map_err(|e| failed(doing, command, e.to_string(), ""))?;
    let child = command.stdout(writer).stderr(other).spawn();
    // The command keeps copies of the pipe's writing end; reading would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.map_err(|e| failed(doing, command, e.to_string(), ""))?;
    let mut last: Vec<String> = Vec::new();
    for text in BufReader::new(reader).split(b'\n').map_while(std::result::Result::ok) {
        let text = String::from_utf8_lossy(&text).into_owned();
        line(&text);
        if last.len() == 20 {
            last.remove(0);
        }
        last.push(text);
    }
    let status = child.wait().map_err(|e| failed(doing, command, e.to_string(), ""))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(doing, command, ended(status), &last.join("\n")))
}

/// Full path of a program of this machine.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|folder| PathBuf::from(folder).join(program))
        .find(|path| path.is_file())
}

/// The last lines of a text.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn refused(doing: &str, command: &Command, output: &Output) -> LabError {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    failed(doing, command, ended(output.status), &tail(&text, 20))
}

fn ended(status: std::process::ExitStatus) -> String {
    match status.code() {
        Some(124 | 137) => "did not end in time".into(),
        Some(127) => "is not installed".into(),
        _ => format!("ended with {status}"),
    }
}

fn failed(doing: &str, command: &Command, ended: String, output: &str) -> LabError {
    // Without `timeout --kill-after=5 N` or what makes it join a group.
    let all: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    let own = all.iter().position(|word| word == "--").map_or(2, |dashes| dashes + 1);
    let words = all.get(own..).unwrap_or_default();
    LabError::Command {
        doing: doing.into(),
        command: tail(&words.join(" "), 1),
        ended,
        output: output.into(),
    }
}
