//! `hactl man`

use std::path::PathBuf;

use clap_mangen::Man;

use super::context::{Context, Ended};
use crate::error::{Error, Result};

/// Print the manual page
///
/// E.g. hactl man | man -l -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write hactl.1 and a page per verb into this folder instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.out {
        Some(folder) => {
            let failed = |error| Error::internal(format!("{}: cannot write manual pages: {error}", folder.display()));
            std::fs::create_dir_all(folder).map_err(failed)?;
            clap_mangen::generate_to(super::command(), folder).map_err(failed)?;
        }
        None => {
            let mut page = Vec::new();
            let render = |page: &mut Vec<u8>| {
                let man = Man::new(super::command());
                man.render(page)?;
                environment(page)
            };
            render(&mut page).map_err(|error| Error::internal(format!("cannot make the manual page: {error}")))?;
            context.console.document(&String::from_utf8_lossy(&page));
        }
    }
    Ok(Ended::with(0))
}

fn environment(page: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(page, ".SH ENVIRONMENT")?;
    for (name, meaning) in super::env::ALL {
        writeln!(page, ".TP\n\\fB{name}\\fR\n{meaning}")?;
    }
    Ok(())
}
