//! `hactl schema`

use clap::ValueEnum;

use super::context::{Context, Ended};
use crate::error::Result;
use crate::report::schema;

/// Print the JSON Schema of inventories, of JSON lines, or of saved plans
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of what
    #[arg(value_enum, default_value_t = What::Inventory)]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Inventory files; editors complete and check with it
    Inventory,
    /// Files of roles of your own, roles/NAME.yml
    Role,
    /// Lines of --format json
    Events,
    /// Files of `plan --out`
    Plan,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let schema = match args.what {
        What::Inventory => crate::inventory::schema(),
        What::Role => crate::inventory::roles::schema(),
        What::Events => schema::events(),
        What::Plan => schemars::schema_for!(super::saved::Saved),
    };
    context.console.document(&schema::text(&schema));
    Ok(Ended::with(0))
}
