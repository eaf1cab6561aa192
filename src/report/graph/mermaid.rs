//! A topology as Mermaid text, which forges and wikis draw.

use std::fmt::Write as _;

use crate::topology::graph::{EdgeKind, Graph, Health, Node};

/// The text of a flowchart.
pub fn text(graph: &Graph) -> String {
    let mut out = String::from("flowchart TB\n");
    let nodes: Vec<&Node> = graph.rows.iter().flatten().collect();
    let key = |id: &str| nodes.iter().position(|node| node.id == id).map(|at| format!("n{at}"));
    for (at, node) in nodes.iter().enumerate() {
        let words: Vec<_> = std::iter::once(&node.title)
            .chain(&node.lines)
            .map(|line| escape(line))
            .collect();
        let label = words.join("<br/>");
        let shape = if node.vip {
            format!("([\"{label}\"])")
        } else {
            format!("[\"{label}\"]")
        };
        let class = match node.health {
            None => "",
            Some(Health::Good) => ":::good",
            Some(Health::Warning) => ":::warning",
            Some(Health::Bad) => ":::bad",
        };
        let _ = writeln!(out, "  n{at}{shape}{class}");
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (key(&edge.from), key(&edge.to)) {
            let arrow = match edge.kind {
                EdgeKind::Requests => "-->",
                EdgeKind::Data => "==>",
                EdgeKind::Replication => "-. copies .->",
            };
            let _ = writeln!(out, "  {from} {arrow} {to}");
        }
    }
    if nodes.iter().any(|node| node.health.is_some()) {
        out.push_str(
            "  classDef good fill:#d9f2df,stroke:#2f8f4e\n  classDef warning fill:#fdf0cf,stroke:#b98900\n  \
             classDef bad fill:#f9d7d7,stroke:#b3261e\n",
        );
    }
    out
}

/// Inside quotes, Mermaid takes entities.
fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '"' => "#quot;".into(),
            '#' => "#35;".into(),
            '<' => "#lt;".into(),
            '>' => "#gt;".into(),
            c => c.to_string(),
        })
        .collect()
}
