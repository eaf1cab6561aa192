//! How a run ended, and what to run next.

use std::fmt::Write as _;

use super::paint::Paint;
use super::progress::duration;
use crate::engine::{HostSummary, Summary};
use crate::error::Kind;
use crate::quote::terminal;

/// A line per host, and one for all when there are several.
pub fn text(summary: &Summary, paint: Paint) -> String {
    let mut out = String::new();
    let several = summary.hosts.len() > 1;
    for host in &summary.hosts {
        // A host's own time begins with its first step; where it is the only one, the whole run is of interest.
        let line = host_line(host, if several { host.ms } else { summary.ms });
        let painted = match (host.outcome.as_str(), host.changed) {
            ("ok", 0) => paint.good(&line),
            ("ok", _) => paint.warn(&line),
            _ => paint.bad(&line),
        };
        let _ = writeln!(out, "{painted}");
    }
    if several {
        let counts = counts(summary.changed, summary.unchanged, summary.failed, summary.skipped);
        let hosts = summary.hosts.len();
        let slowest = summary
            .hosts
            .iter()
            .filter(|host| host.changed > 0)
            .max_by_key(|host| host.ms);
        let slowest = slowest.map_or_else(String::new, |host| format!(", slowest {}", terminal(&host.host)));
        let line = format!("{hosts} hosts: {counts}, {}{slowest}", duration(summary.ms));
        let _ = writeln!(out, "{}", paint.bold(&line));
    }
    out
}

/// `srv1: 74 changed, 0 unchanged, 41 s`.
fn host_line(host: &HostSummary, ms: u64) -> String {
    let name = terminal(&host.host);
    let counts = counts(host.changed, host.unchanged, host.failed, host.skipped);
    match host.outcome.as_str() {
        "ok" => format!("{name}: {counts}, {}", duration(ms)),
        outcome => {
            let reason = host.reason.as_deref().map(|reason| format!(" ({})", terminal(reason)));
            format!(
                "{name} {}: {counts}, {}{}",
                terminal(outcome),
                duration(ms),
                reason.unwrap_or_default()
            )
        }
    }
}

fn counts(changed: usize, unchanged: usize, failed: usize, skipped: usize) -> String {
    let mut text = format!("{changed} changed, {unchanged} unchanged");
    if failed > 0 {
        let _ = write!(text, ", {failed} failed");
    }
    if skipped > 0 {
        let _ = write!(text, ", {skipped} not reached");
    }
    text
}

/// What to run after this; `inventory` is how the user named it, already quoted for a shell.
pub fn next(verb: &str, exit_code: u8, inventory: &str) -> Option<String> {
    let command = |verb: &str| format!("hactl {verb} {inventory}").trim_end().to_owned();
    let is = |kind: Kind| kind.exit_code() == exit_code;
    Some(match verb {
        "apply" | "site create" if exit_code == 0 => command("status"),
        "apply" | "site create" if is(Kind::HostFailed) || is(Kind::Interrupted) => {
            format!("{}   (a plain run goes on where this one stopped)", command("apply"))
        }
        "plan" if is(Kind::Pending) => command("apply"),
        _ if is(Kind::Unreachable) => command("check --remote"),
        _ => return None,
    })
}
