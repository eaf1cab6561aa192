//! How a crash plan takes the power of a host away.

use std::time::Duration;

use crate::inventory::diagnostics::Diagnostic;
use crate::inventory::model::Power;
use crate::inventory::raw::{List, RawCrashplan};
use crate::inventory::yaml::At;

use super::check::Check;

/// Seconds that a power switch has unless it says otherwise.
const TIMEOUT: u64 = 60;

/// `crashplan`.
pub fn build(check: &mut Check, raw: &At<RawCrashplan>) -> Option<Power> {
    let (raw, span) = raw.get()?;
    let off = words(check, &raw.power_off, "power_off");
    let status = words(check, &raw.power_status, "power_status");
    let timeout = check.number(&raw.power_timeout, TIMEOUT, 1, 600);
    if off.is_none() && (status.is_some() || !raw.power_timeout.is_missing()) {
        check.missing(&raw.power_off, "power_off", "`crashplan`", span);
    }
    Some(Power {
        off: off?,
        status: status.unwrap_or_default(),
        timeout: Duration::from_secs(timeout),
    })
}

/// A program and its words.
fn words(check: &mut Check, list: &List<String>, key: &str) -> Option<Vec<String>> {
    let (_, span) = list.get()?;
    let mut words = Vec::new();
    for (word, span) in check.items(list) {
        // Neither can be handed to a program, and a placeholder that nobody fills in names the wrong host.
        if word.contains('\0') {
            check.refuse(word, "cannot be a word of a command", span);
        } else if let Some(unknown) = unknown_placeholder(word) {
            let why = format!("holds `{unknown}`, which stands for nothing: there are `{{host}}` and `{{address}}`");
            check.refuse(word, &why, span);
        }
        words.push(word.clone());
    }
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        let message = format!("`{key}` is no command");
        check.report(
            Diagnostic::new("inventory::value", message)
                .at(span, "empty")
                .help("the program and its words: [ ipmitool, -H, \"{host}-bmc\", chassis, power, off ]"),
        );
        return None;
    }
    Some(words)
}

/// The first `{word}` that is neither `{host}` nor `{address}`.
fn unknown_placeholder(word: &str) -> Option<&str> {
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        rest = &rest[open..];
        let end = rest[1..].find(|letter: char| !letter.is_ascii_lowercase() && letter != '_')? + 1;
        let name = &rest[..end];
        if rest[end..].starts_with('}') && end > 1 && !["{host", "{address"].contains(&name) {
            return Some(&rest[..=end]);
        }
        rest = &rest[1..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_that_stand_for_nothing_are_found() {
        for (word, wanted) in [
            ("-H", None),
            ("{host}-bmc", None),
            ("{address}:{host}", None),
            ("{name}-bmc", Some("{name}")),
            ("{host}{adress}", Some("{adress}")),
            // JSON and braces of other tools are their own
            ("{\"host\": 1}", None),
            ("{}", None),
            ("{", None),
            ("{ü}", None),
        ] {
            assert_eq!(unknown_placeholder(word), wanted, "{word}");
        }
    }
}
