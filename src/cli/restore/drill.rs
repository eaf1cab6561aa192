//! `hactl restore --drill`

use super::super::backup::reach::{self, At};
use super::super::context::{Context, Ended};
use super::Args;
use crate::backup::{SCRIPT, Wish};
use crate::error::Result;
use crate::inventory::Inventory;
use crate::quote::{sh, terminal};
use crate::report::Note;

pub fn run(args: &Args, context: &Context, inventory: &Inventory, target: &str, wish: &Wish) -> Result<Ended> {
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    context.block_on(async {
        let mut found = reach::databases(context, inventory, &links).await?;
        super::ship(context, &mut found, target, wish).await;
        let at = place(&mut found, target, args.on.as_deref(), wish).await?;
        one(context, at, target, wish).await?;
        for at in found {
            at.close().await;
        }
        Ok(Ended::with(0))
    })
}

/// The host that does it: a replica before the one that takes the writes, and one that sees what is wanted. Where the target
/// is a folder of the hosts, each sees its own.
pub async fn place<'a>(found: &'a mut [At], target: &str, on: Option<&str>, wish: &Wish) -> Result<&'a mut At> {
    let mut name = on.map(str::to_owned);
    if name.is_none() {
        for at in found.iter_mut() {
            if at.chosen(target, wish).await.is_ok() {
                name = Some(at.name.clone());
                break;
            }
        }
    }
    reach::pick(found, name.as_deref())
}

/// Restores into a throw-away server there.
///
/// # Errors
/// Refused, when the backup is not what it should be.
pub async fn one(context: &Context, at: &mut At, target: &str, wish: &Wish) -> Result<()> {
    let chosen = at.chosen(target, wish).await?;
    let run = chosen.base.last().run.clone();
    context.console.say(&format!(
        "{}: restoring {run} of {target} beside the live data\n",
        at.name
    ));
    let shell = format!("{SCRIPT} scratch {} <<'END'\n{}END", sh(target), chosen.lines());
    let mut said = String::new();
    let mut restored = None;
    let status = at
        .run(&shell, &mut |line| {
            if let Some(step) = line.strip_prefix("step ") {
                context.console.result(&format!("  {}\n", terminal(step)));
            } else if let Some(end) = line.strip_prefix("restored ") {
                restored = end
                    .split_once(' ')
                    .map(|(seconds, at)| (seconds.to_owned(), at.to_owned()));
            }
            said.push_str(line);
            said.push('\n');
        })
        .await?;
    let (Some((seconds, position)), 0) = (restored, status) else {
        return Err(at.failed(&format!("{run} of {target} does not restore"), &said));
    };
    context.console.result(&format!(
        "{target}: {run} restores on {} in {seconds} s, up to {}\n",
        at.name,
        terminal(&position)
    ));
    context.console.line(&Note::Restored {
        target: target.to_owned(),
        host: at.name.clone(),
        run,
        position,
        ms: seconds
            .parse::<f64>()
            .map(|seconds| (seconds * 1000.0) as u64)
            .unwrap_or(0),
    });
    Ok(())
}
