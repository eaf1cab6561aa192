//! `hactl completions`

use clap_complete::Shell;

use super::context::{Context, Ended};
use crate::error::Result;

/// Print completions for a shell
///
/// E.g. hactl completions bash > /etc/bash_completion.d/hactl
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    shell: Shell,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "hactl", &mut script);
    context.console.document(&String::from_utf8_lossy(&script));
    Ok(Ended::with(0))
}
