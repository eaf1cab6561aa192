//! `hactl site migrate`

use super::super::args::{InventoryArg, LimitArg};
use super::super::change::{self, Consent, Job};
use super::super::context::{Context, Ended, Missing, Prepared};
use super::super::env;
use super::known;
use crate::error::{Error, Result};
use crate::inventory::App;
use crate::report::DiffMode;

/// Run the migrations of the release that is in service, for one site or all
///
/// In maintenance mode, and followed by a test that the site answers; a site whose migration fails stays in maintenance mode.
/// An apply does this by itself for a release that is new; this is for a migration that is wanted once more, e.g. after a
/// change of a doctype by hand.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The site; all when not given
    name: Option<String>,
    /// The inventory file
    #[arg(short, long, env = env::INVENTORY, hide_env_values = true, default_value = "inventory.yml", value_name = "INVENTORY")]
    inventory: std::path::PathBuf,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let consent = if args.yes { Consent::Given } else { Consent::Ask };
    let arg = InventoryArg {
        inventory: args.inventory.clone(),
    };
    let prepared = {
        let loaded = context.inventory(&arg)?;
        if let App::Wsgi(wsgi) = &loaded.inventory.app {
            return Err(
                Error::usage(format!("site migrate: the sites of {} share one database", wsgi.name))
                    .hint("`app.migrate` runs with each new release: hactl apply"),
            );
        }
        if let Some(name) = &args.name {
            known(&loaded.inventory, name)?;
        }
        change::somebody_agrees("site migrate", consent, context)?;
        let hosts = LimitArg::default().hosts(&loaded.inventory)?;
        Prepared::from(context, loaded, hosts, Missing::StandIn)?
    };
    let names: Vec<String> = match &args.name {
        Some(name) => vec![name.clone()],
        None => prepared.inventory.sites.iter().map(|site| site.name.clone()).collect(),
    };
    let job = Job {
        verb: "site migrate",
        inventory: &arg,
        diff: DiffMode::default(),
        consent,
        narrow: &|_| Ok(()),
        questions: None,
        declares: Some(Box::new(move |view, facts, templates, secrets| {
            crate::role::site::migrate(view, facts, templates, secrets, &names)
        })),
        whole: false,
        deed: None,
    };
    change::change(context, prepared, job)
}
