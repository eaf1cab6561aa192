//! A plan for people: what would change, where, and why.

use std::fmt::Write as _;

use super::paint::Paint;
use crate::plan::{HostPlan, Plan, PlannedChange};
use crate::quote::terminal;
use crate::resource::Action;

/// Most lines of a diff that are shown unless all are asked for.
const DIFF_LINES: usize = 60;

/// `--diff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum DiffMode {
    /// No diffs
    None,
    /// Diffs of files that change, cut after 60 lines each
    #[default]
    Short,
    /// All of them, new files too
    Full,
}

/// The whole plan; ends with a line of totals per host.
pub fn plan(plan: &Plan, diffs: DiffMode, paint: Paint) -> String {
    let mut out = String::new();
    for host in plan.hosts.iter().filter(|host| !host.steps.is_empty()) {
        host_steps(&mut out, host, diffs, paint);
        out.push('\n');
    }
    for host in &plan.hosts {
        let line = totals(host);
        let painted = if host.steps.is_empty() {
            paint.good(&line)
        } else {
            paint.bold(&line)
        };
        let _ = writeln!(out, "{painted}");
    }
    for host in plan.hosts.iter().filter(|host| !host.after.is_empty()) {
        let others = terminal(&host.after.join(", "));
        let line = format!("{} waits for {others}: they serve together", terminal(&host.host));
        let _ = writeln!(out, "{}", paint.dim(&line));
    }
    out
}

fn host_steps(out: &mut String, host: &HostPlan, diffs: DiffMode, paint: Paint) {
    let _ = writeln!(out, "{}", paint.place(&terminal(&host.host)));
    let mut role = None;
    for step in &host.steps {
        if role != Some(&step.role) {
            role = Some(&step.role);
            let _ = writeln!(out, "  {}", paint.bold(&terminal(&step.role)));
        }
        for change in &step.changes {
            one_change(out, change, diffs, paint);
        }
    }
}

fn one_change(out: &mut String, planned: &PlannedChange, diffs: DiffMode, paint: Paint) {
    let change = &planned.change;
    let resource = terminal(&planned.resource);
    let sign = change.action.sign().to_string();
    let sign = match change.action {
        Action::Create | Action::Start => paint.good(&sign),
        Action::Update | Action::Reload | Action::Restart | Action::Run | Action::Check => paint.warn(&sign),
        Action::Remove => paint.bad(&sign),
    };
    let word = match change.action {
        Action::Start => "start: ",
        Action::Reload => "reload: ",
        Action::Restart => "restart: ",
        _ => "",
    };
    let summary = terminal(&change.summary).replace('\n', " ");
    let _ = writeln!(out, "    {sign} {resource}  {}", paint.dim(&format!("{word}{summary}")));
    let shown = match diffs {
        DiffMode::None => None,
        DiffMode::Short if change.action == Action::Create => None,
        DiffMode::Short | DiffMode::Full => change.diff.as_deref(),
    };
    if let Some(diff) = shown {
        diff_lines(out, diff, diffs, paint);
    }
}

fn diff_lines(out: &mut String, diff: &str, diffs: DiffMode, paint: Paint) {
    let limit = if diffs == DiffMode::Full {
        usize::MAX
    } else {
        DIFF_LINES
    };
    // The resource's own line already names the file.
    let headers = diff
        .lines()
        .take(2)
        .filter(|line| line.starts_with("--- ") || line.starts_with("+++ "))
        .count();
    let lines = || diff.lines().skip(headers);
    for line in lines().take(limit) {
        let clean = terminal(line);
        let painted = match line.as_bytes().first() {
            Some(b'+') => paint.good(&clean),
            Some(b'-') => paint.bad(&clean),
            Some(b'@') => paint.place(&clean),
            _ => clean,
        };
        let _ = writeln!(out, "        {painted}");
    }
    let rest = lines().count().saturating_sub(limit);
    if rest > 0 {
        let text = format!("… {rest} more lines, --diff full shows them");
        let _ = writeln!(out, "        {}", paint.dim(&text));
    }
}

/// `srv1: 71 to create, 3 to update, 0 unchanged`.
pub fn totals(host: &HostPlan) -> String {
    const WORDS: [(Action, &str); 8] = [
        (Action::Create, "create"),
        (Action::Update, "update"),
        (Action::Remove, "remove"),
        (Action::Start, "start"),
        (Action::Reload, "reload"),
        (Action::Restart, "restart"),
        (Action::Run, "run"),
        (Action::Check, "check"),
    ];
    let changes = || host.steps.iter().flat_map(|step| &step.changes);
    let mut parts: Vec<String> = WORDS
        .iter()
        .filter_map(|(action, word)| {
            let count = changes().filter(|planned| planned.change.action == *action).count();
            (count > 0).then(|| format!("{count} to {word}"))
        })
        .collect();
    if parts.is_empty() {
        parts.push("nothing to do".into());
    }
    parts.push(format!("{} unchanged", host.unchanged()));
    format!("{}: {}", terminal(&host.host), parts.join(", "))
}
