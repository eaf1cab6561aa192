//! Pictures of topologies.

use std::path::Path;

use hactl::report::graph::{mermaid, svg};
use hactl::topology::graph::{self, Health};
use hactl::topology::{Live, Topology};

fn loaded(name: &str) -> hactl::inventory::Inventory {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/inventory/good")
        .join(name);
    hactl::inventory::load(&path).unwrap().inventory
}

#[test]
fn the_multi_node_cluster_is_drawn() {
    let inventory = loaded("design.yml");
    let drawn = graph::of(Topology::of(&inventory));
    insta::assert_snapshot!("mermaid", mermaid::text(&drawn));
    insta::assert_snapshot!("svg", svg::text(&drawn));
}

/// After a failover the arrows follow who leads.
#[test]
fn arrows_follow_the_live_writer_and_colours_the_health() {
    let inventory = loaded("design.yml");
    let live = Live {
        writer: Some("db2".into()),
        redis: [("queue".to_owned(), "rd3".to_owned())].into(),
        ..Live::default()
    };
    let mut drawn = graph::of(Topology::living(&inventory, &live));
    for node in drawn
        .rows
        .iter_mut()
        .flatten()
        .filter(|node| node.title.starts_with("db"))
    {
        node.health = Some(if node.title == "db1" { Health::Bad } else { Health::Good });
    }
    let text = mermaid::text(&drawn);
    let key = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.contains(&format!("\"{name}<br/>")))
            .expect("a node");
        line.trim().split('[').next().unwrap().to_owned()
    };
    let (db1, db2) = (key("db1"), key("db2"));
    assert!(text.contains(&format!("{db2} -. copies .-> {db1}")), "{text}");
    assert!(
        text.contains(&format!("{} -. copies .-> {}", key("rd3"), key("rd1"))),
        "{text}"
    );
    assert!(
        text.contains("db (replica)\"]:::bad") && text.contains("db (writer)\"]:::good"),
        "{text}"
    );
    assert!(svg::text(&drawn).contains("class=\"box bad\""));
}

/// Nobody is sent to the host that waits, whichever it is.
#[test]
fn a_pair_is_drawn_with_the_one_that_waits() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/primary-replica.yml");
    let inventory = hactl::inventory::load(&path).unwrap().inventory;
    insta::assert_snapshot!("pair", mermaid::text(&graph::of(Topology::of(&inventory))));
    let live = Live {
        writer: Some("srv2".into()),
        ..Live::default()
    };
    let moved = graph::of(Topology::living(&inventory, &live));
    let of = |name: &str| {
        let mut nodes = moved.rows.iter().flatten();
        nodes.find(|node| node.title == name).unwrap().lines.clone()
    };
    assert!(of("srv1").contains(&"standby".to_owned()) && !of("srv2").contains(&"standby".to_owned()));
    let requests: Vec<_> = moved
        .edges
        .iter()
        .filter(|edge| edge.kind == graph::EdgeKind::Requests)
        .map(|edge| edge.to.as_str())
        .collect();
    assert_eq!(requests, ["host/srv2"]);
}

/// Names are words, but a picture must stay one whatever it is given.
#[test]
fn hostile_text_stays_text() {
    let inventory = loaded("design.yml");
    let mut drawn = graph::of(Topology::of(&inventory));
    drawn.rows[0][0].title = "</svg><script>\"#\u{1b}[31m".into();
    let (svg, mermaid) = (svg::text(&drawn), mermaid::text(&drawn));
    assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;&quot;#[31m") && !svg.contains("<script"));
    assert!(
        mermaid.contains("#lt;/svg#gt;#lt;script#gt;#quot;#35;[31m"),
        "{mermaid}"
    );
}
