//! Hooks.

use std::time::Duration;

use crate::inventory::diagnostics::Diagnostic;
use crate::inventory::model::{Hook, Hooks};
use crate::inventory::raw::{List, RawHook, RawHooks};
use crate::inventory::yaml::{At, Either};

use super::check::Check;

/// Seconds that a hook has unless it says otherwise.
const TIMEOUT: u64 = 60;

/// `hooks`.
pub fn build(check: &mut Check, raw: &At<RawHooks>) -> Hooks {
    let empty = RawHooks::default();
    let raw = raw.value.as_ref().unwrap_or(&empty);
    Hooks {
        before_apply: list(check, &raw.before_apply),
        after_apply: list(check, &raw.after_apply),
        on_failure: list(check, &raw.on_failure),
    }
}

fn list(check: &mut Check, raw: &List<RawHook>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for (hook, span) in check.items(raw) {
        let (run, span, timeout) = match hook {
            Either::Word(run) => (run.0.clone(), span, TIMEOUT),
            Either::Map(map) => {
                check.missing(&map.run, "run", "a hook", span);
                let timeout = check.number(&map.timeout, TIMEOUT, 1, 86_400);
                match map.run.get() {
                    Some((run, span)) => (run.0.clone(), span, timeout),
                    None => continue,
                }
            }
        };
        if run.trim().is_empty() {
            check.report(Diagnostic::new("inventory::value", "this hook is no command").at(span, "empty"));
        }
        hooks.push(Hook {
            run,
            timeout: Duration::from_secs(timeout),
        });
    }
    hooks
}
