//! A topology as SVG, readable on light and dark backgrounds.

use std::fmt::Write as _;

use crate::topology::graph::{Edge, EdgeKind, Graph, Health, Node};

const WIDTH: f64 = 168.0;
const LINE: f64 = 17.0;
const GAP: f64 = 28.0;
const ROW_GAP: f64 = 72.0;
const MARGIN: f64 = 24.0;
const LEGEND: f64 = 40.0;

/// Where a box is.
struct Place<'a> {
    node: &'a Node,
    x: f64,
    y: f64,
    height: f64,
}

impl Place<'_> {
    fn middle(&self) -> f64 {
        self.x + WIDTH / 2.0
    }
}

/// The picture.
pub fn text(graph: &Graph) -> String {
    let (places, width, height) = places(graph);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"ui-sans-serif, system-ui, sans-serif\" font-size=\"13\" role=\"img\">"
    );
    let _ = writeln!(out, "  <title>{}</title>", escape(&graph.cluster));
    out.push_str(STYLE);
    let _ = writeln!(out, "  <rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"8\"/>");
    for edge in &graph.edges {
        arrow(&mut out, &places, edge);
    }
    for place in &places {
        boxed(&mut out, place);
    }
    legend(&mut out, graph, height);
    out.push_str("</svg>\n");
    out
}

const STYLE: &str = "  <style>
    .paper { fill: #ffffff } .box { fill: #f4f6f8; stroke: #5b6770; stroke-width: 1.2 } .vip { fill: #e8f0fe }
    .good { fill: #d9f2df; stroke: #2f8f4e } .warning { fill: #fdf0cf; stroke: #b98900 } .bad { fill: #f9d7d7; stroke: #b3261e }
    .name { font-weight: 600 } text { fill: #1d2429 } .small { font-size: 11.5px; fill: #4a555c }
    .requests { stroke: #4a6fa5 } .data { stroke: #2d2d2d } .replication { stroke: #8a4fa3; stroke-dasharray: 5 4 }
    .edge { fill: none; stroke-width: 1.4; marker-end: url(#tip) }
  </style>
  <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path \
d=\"M0 0L8 4L0 8z\" fill=\"#5b6770\"/></marker></defs>
";

fn box_height(node: &Node) -> f64 {
    LINE.mul_add(node.lines.len() as f64 + 1.0, 16.0)
}

fn row_width(count: usize) -> f64 {
    (WIDTH + GAP).mul_add(count as f64, -GAP)
}

fn places(graph: &Graph) -> (Vec<Place<'_>>, f64, f64) {
    let widest = graph
        .rows
        .iter()
        .map(|row| row_width(row.len()))
        .fold(row_width(2), f64::max);
    let mut places = Vec::new();
    let mut y = MARGIN;
    for row in &graph.rows {
        let tallest = row.iter().map(box_height).fold(0.0, f64::max);
        let mut x = MARGIN + (widest - row_width(row.len())) / 2.0;
        for node in row {
            places.push(Place {
                node,
                x,
                y,
                height: tallest,
            });
            x += WIDTH + GAP;
        }
        y += tallest + ROW_GAP;
    }
    (places, MARGIN.mul_add(2.0, widest), y - ROW_GAP + MARGIN + LEGEND)
}

fn class(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Requests => "requests",
        EdgeKind::Data => "data",
        EdgeKind::Replication => "replication",
    }
}

fn arrow(out: &mut String, places: &[Place], edge: &Edge) {
    let find = |id: &str| places.iter().find(|place| place.node.id == id);
    let (Some(from), Some(to)) = (find(&edge.from), find(&edge.to)) else {
        return;
    };
    let class = class(edge.kind);
    let (x1, x2) = (from.middle(), to.middle());
    let path = if (from.y - to.y).abs() < 1.0 {
        // In one row: below the boxes, so that it crosses none.
        let (y, depth) = (from.y + from.height, from.y + from.height + ROW_GAP * 0.55);
        format!("M{x1:.0} {y:.0}C{x1:.0} {depth:.0} {x2:.0} {depth:.0} {x2:.0} {y:.0}")
    } else if from.y < to.y {
        let (y1, y2) = (from.y + from.height, to.y);
        let half = (y1 + y2) / 2.0;
        format!("M{x1:.0} {y1:.0}C{x1:.0} {half:.0} {x2:.0} {half:.0} {x2:.0} {y2:.0}")
    } else {
        let (y1, y2) = (from.y, to.y + to.height);
        let half = (y1 + y2) / 2.0;
        format!("M{x1:.0} {y1:.0}C{x1:.0} {half:.0} {x2:.0} {half:.0} {x2:.0} {y2:.0}")
    };
    let _ = writeln!(out, "  <path class=\"edge {class}\" d=\"{path}\"/>");
}

fn boxed(out: &mut String, place: &Place) {
    let node = place.node;
    let kind = if node.vip { " vip" } else { "" };
    let health = match node.health {
        None => "",
        Some(Health::Good) => " good",
        Some(Health::Warning) => " warning",
        Some(Health::Bad) => " bad",
    };
    let round = if node.vip { 18.0 } else { 6.0 };
    let (x, y, height, middle) = (place.x, place.y, place.height, place.middle());
    let _ = writeln!(
        out,
        "  <rect class=\"box{kind}{health}\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" rx=\"{round}\"/>"
    );
    let mut line = |text: &str, class: &str, at: usize| {
        let y = LINE.mul_add(at as f64, y + 20.0);
        let _ = writeln!(
            out,
            "  <text class=\"{class}\" x=\"{middle:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">{}</text>",
            escape(text)
        );
    };
    line(&node.title, "name", 0);
    for (at, text) in node.lines.iter().enumerate() {
        line(text, "small", at + 1);
    }
}

fn legend(out: &mut String, graph: &Graph, height: f64) {
    let mut x = MARGIN;
    let y = height - MARGIN;
    for (kind, word) in [
        (EdgeKind::Requests, "requests"),
        (EdgeKind::Data, "reads and writes"),
        (EdgeKind::Replication, "replication"),
    ] {
        if !graph.edges.iter().any(|edge| edge.kind == kind) {
            continue;
        }
        let class = class(kind);
        let (end, text) = (x + 30.0, x + 36.0);
        let _ = writeln!(out, "  <path class=\"edge {class}\" d=\"M{x:.0} {y:.0}H{end:.0}\"/>");
        let baseline = y + 4.0;
        let _ = writeln!(
            out,
            "  <text class=\"small\" x=\"{text:.0}\" y=\"{baseline:.0}\">{word}</text>"
        );
        x += 46.0 + 7.0 * word.len() as f64;
    }
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '&' => "&amp;".into(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            '"' => "&quot;".into(),
            c => c.to_string(),
        })
        .collect()
}
