//! `hactl backup verify`

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use super::super::restore::drill;
use super::reach;
use super::{of, targets};
use crate::backup::{SCRIPT, Wish};
use crate::error::Result;
use crate::quote::sh;

/// Read every byte of the targets, and prove that the newest backup and its binary logs restore
///
/// The repository's own check reads and verifies all data; then the newest backup is restored into a throw-away server with
/// all binary logs after it. Nothing live is touched. Exits with 7 when something is damaged.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// The host that does it, instead of a replica
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let loaded = context.inventory_in_need(&args.inventory)?;
    let inventory = &loaded.inventory;
    let targets = targets(of(inventory)?, args.target.as_deref())?;
    let names: Vec<String> = inventory.hosts.keys().cloned().collect();
    let links = context.links(inventory, None, &names)?;
    let wish = Wish {
        everything: true,
        ..Wish::default()
    };
    context.block_on(async {
        let mut found = reach::databases(context, inventory, &links).await?;
        for target in &targets {
            super::super::restore::ship(context, &mut found, target, &wish).await;
            let at = drill::place(&mut found, target, args.on.as_deref(), &wish).await?;
            context.console.say(&format!("{}: reading all of {target}\n", at.name));
            let (status, said) = at.ask(&format!("{SCRIPT} check {} </dev/null", sh(target))).await?;
            if status != 0 {
                let said = format!("REFUSED: {}", reason(&said));
                return Err(at.failed(&format!("the repository of {target} is damaged"), &said));
            }
            context
                .console
                .result(&format!("{target}: every byte was read and is what was written\n"));
            drill::one(context, at, target, &wish).await?;
        }
        for at in found {
            at.close().await;
        }
        Ok(Ended::with(0))
    })
}

/// The most telling line of restic's.
fn reason(said: &str) -> &str {
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    let telling = |line: &&str| {
        ["does not match", "Pack ID", "missing", "error"]
            .iter()
            .any(|word| line.contains(word))
    };
    lines
        .clone()
        .find(telling)
        .or_else(|| lines.next_back())
        .unwrap_or("damaged")
}
