//! `hactl graph`

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use super::status;
use crate::error::{Error, Result};
use crate::report::graph::{mermaid, svg};
use crate::report::note::{Note, Verdict};
use crate::role::health::balance;
use crate::topology::Topology;
use crate::topology::graph::{self, Graph, Health};

/// Draw the topology: hosts, what they do, virtual addresses, who replicates from whom
///
/// Printed, or written with --out. With --live the hosts are asked: colours say how each is, and arrows follow who leads
/// now.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    /// As what; the end of --out decides when this is not given
    #[arg(long, value_enum)]
    r#as: Option<As>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask the hosts how they are
    #[arg(long)]
    live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// A picture
    Svg,
    /// Text that forges and wikis draw
    Mermaid,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let everyone = LimitArg::default();
    let prepared = Prepared::new(context, &args.inventory, &everyone, Missing::StandIn)?;
    let inventory = Arc::clone(&prepared.inventory);
    let drawn = match args.live {
        false => graph::of(Topology::of(&inventory)),
        true => {
            let looked = status::look(context, prepared)?;
            let drawn = graph::of(Topology::living(&inventory, &looked.live));
            coloured(carried(drawn, &looked.findings), &looked.findings)
        }
    };
    let form = args.r#as.unwrap_or_else(|| {
        let end = args.out.as_ref().and_then(|path| path.extension());
        match end.is_some_and(|end| end == "mmd" || end == "md") {
            true => As::Mermaid,
            false => As::Svg,
        }
    });
    let text = match form {
        As::Svg => svg::text(&drawn),
        As::Mermaid => mermaid::text(&drawn),
    };
    match &args.out {
        None => context.console.document(&text),
        Some(path) => {
            std::fs::write(path, text)
                .map_err(|error| Error::usage(format!("{}: cannot write the picture: {error}", path.display())))?;
            let path = path.display().to_string();
            context.console.result(&format!("{path}\n"));
            context.console.line(&Note::Written {
                path,
                what: "graph".into(),
            });
        }
    }
    Ok(Ended::with(0))
}

/// A virtual address leads to whoever carries it now, as far as that is known.
fn carried(mut graph: Graph, findings: &[status::Finding]) -> Graph {
    let carriers: Vec<(String, String)> = findings
        .iter()
        .filter(|finding| finding.detail == balance::HERE)
        .filter_map(|finding| {
            let vip = finding.subject.strip_prefix("vip ")?;
            Some((format!("vip/{vip}"), format!("host/{}", finding.host)))
        })
        .collect();
    graph.edges.retain(|edge| {
        let mut known = carriers.iter().filter(|(vip, _)| *vip == edge.from).peekable();
        known.peek().is_none() || known.any(|(_, host)| *host == edge.to)
    });
    graph
}

fn coloured(mut graph: Graph, findings: &[status::Finding]) -> Graph {
    for node in graph.rows.iter_mut().flatten().filter(|node| !node.vip) {
        let of_host = findings.iter().filter(|finding| finding.host == node.title);
        node.health = of_host
            .map(|finding| match finding.verdict {
                Verdict::Good => Health::Good,
                Verdict::Warning => Health::Warning,
                Verdict::Bad => Health::Bad,
            })
            .max();
    }
    graph
}
