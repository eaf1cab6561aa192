//! The names that lead to the primary's host: a crash plan leads them to the new one.

use super::super::context::Context;
use super::super::dns;
use super::super::run::Run;
use crate::dns::decision::Wish;
use crate::dns::{Dns, Told};
use crate::failover::Decision;
use crate::inventory::Inventory;
use crate::quote::terminal;

/// Those of an inventory. A crash plan is carried out without them, too: what is missing is said before.
pub(super) fn of(context: &Context, inventory: &Inventory) -> Option<Dns> {
    inventory.dns.as_ref()?;
    match dns::names(inventory) {
        Ok((dns, _)) => Some(dns),
        Err(error) => {
            context.warn(&format!("no name will be switched: {}", error.message));
            None
        }
    }
}

/// Whether a decision moves them: they lead to the old primary's host, and the new one has an address for visitors.
pub(super) fn move_with(dns: &Dns, decision: &Decision) -> bool {
    decision.primary != decision.candidate && dns.has_place(&decision.primary) && dns.has_place(&decision.candidate)
}

/// How it went: text for the report, and the exit code.
#[derive(Debug, Default)]
pub(super) struct Led {
    pub text: String,
    pub exit_code: u8,
}

/// Leads them to the new primary. What goes wrong is told, and ends nothing else.
pub(super) async fn lead(run: &Run, dns: Option<&Dns>, decision: &Decision) -> Led {
    let Some(dns) = dns.filter(|dns| move_with(dns, decision)) else {
        return Led::default();
    };
    let wish = Wish {
        to: decision.candidate.clone(),
        from: None,
    };
    let tell = |told: Told| dns::waits(run, told);
    match crate::dns::switch(dns, &wish, &tell).await {
        Ok(switched) => {
            dns::tell(run, &switched);
            let silent = switched.unverified.iter();
            let silent = silent.map(|one| format!("{} does not say so yet: {}\n", one.server, terminal(&one.why)));
            Led {
                text: dns::lines(&switched) + &silent.collect::<String>(),
                exit_code: match switched.unverified.is_empty() {
                    true => 0,
                    false => crate::error::Kind::HostFailed.exit_code(),
                },
            }
        }
        Err(error) => Led {
            text: format!(
                "NOT SWITCHED: {}\n{}hactl dns switch --to {}   does it when that is mended\n",
                error.message,
                error.hints.iter().map(|hint| format!("{hint}\n")).collect::<String>(),
                decision.candidate
            ),
            exit_code: error.kind.exit_code(),
        },
    }
}
