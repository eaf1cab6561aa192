//! `hactl restore`

pub(super) mod drill;
mod site;
mod whole;

use super::args::InventoryArg;
use super::backup::reach::{At, Part};
use super::backup::{of, targets};
use super::context::{Context, Ended};
use crate::backup::{SCRIPT, Wish};
use crate::error::{Error, Result};
use crate::quote::sh;

/// Bring data back from a backup: the whole database, one site, or into a throw-away server that proves it works
///
/// --drill touches nothing live: the backup is restored beside it, checked, timed and thrown away. --to goes back to a moment:
/// what was committed before that second is there, nothing after it. What the hosts have is kept aside, never deleted.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Restore into a throw-away server, check it, and say how long that took
    #[arg(long)]
    drill: bool,
    /// Back to this second, e.g. 2026-11-22T10:00:05Z: with what was committed before it
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Everything that the backups and binary logs have
    #[arg(long, conflicts_with = "to")]
    newest: bool,
    /// Begin with this backup, instead of the newest that serves
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Only this site: its database and its files
    #[arg(long, value_name = "SITE", conflicts_with = "drill")]
    site: Option<String>,
    /// From this target, instead of the first
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The host that does it; a drill takes a replica, a restore the one that takes the writes
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let wish = Wish {
        backup: args.backup.clone(),
        to: args.to.as_deref().map(moment).transpose()?,
        everything: args.newest,
    };
    if !args.drill && wish == Wish::default() {
        return Err(Error::usage("restore does not know which moment to go back to")
            .hint("--to TIME, --newest or --backup NAME; --drill tries it without touching anything"));
    }
    let loaded = context.inventory_in_need(&args.inventory)?;
    let target = targets(of(&loaded.inventory)?, args.target.as_deref())?.remove(0);
    if args.drill {
        return drill::run(args, context, &loaded.inventory, &target, &wish);
    }
    match &args.site {
        Some(site) => site::run(args, context, loaded, &target, &wish, site),
        None => whole::run(args, context, loaded, &target, &wish),
    }
}

/// What was written until now is in the target, too, as far as somebody is there who knows it.
pub(super) async fn ship(context: &Context, found: &mut [At], target: &str, wish: &Wish) {
    if wish.to.is_none() && !wish.everything {
        return;
    }
    let Some(writer) = found.iter_mut().find(|at| at.part == Part::Writer) else {
        return;
    };
    let shell = format!("{SCRIPT} binlog {} </dev/null", sh(target));
    match writer.ask(&shell).await {
        Ok((0, _)) => {}
        Ok((_, said)) => context.warn(&writer.failed("the latest binary logs cannot be sent", &said).message),
        Err(error) => context.warn(&error.message),
    }
}

/// A moment with its zone: at 3 in the morning nobody should have to guess whose clock is meant.
fn moment(text: &str) -> Result<i64> {
    match text.replacen(' ', "T", 1).parse::<jiff::Timestamp>() {
        Ok(at) if at.subsec_nanosecond() == 0 => Ok(at.as_second()),
        Ok(_) => Err(Error::usage(format!(
            "--to {}: whole seconds only",
            crate::quote::terminal(text)
        ))),
        Err(_) => Err(
            Error::usage(format!("--to {} is no time with a zone", crate::quote::terminal(text)))
                .hint("write it like 2026-11-22T10:00:05Z or 2026-11-22T11:00:05+01:00"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_needs_a_zone() {
        assert_eq!(moment("1970-01-01T00:01:00Z").unwrap(), 60);
        assert_eq!(moment("1970-01-01 01:01:00+01:00").unwrap(), 60);
        for wrong in ["1970-01-01T00:01:00", "yesterday", "1970-01-01T00:01:00.5Z", ""] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
