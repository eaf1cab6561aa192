//! What hosts say → what is decided.

use std::collections::BTreeMap;

use super::decision::{Fence, Wish, decide};
use super::survey::{Said, Sight};
use crate::inventory::Inventory;
use crate::resource::replication::Replication;
use crate::role::testing::inventory;
use crate::topology::Topology;

const CLUSTER: &str = r#"
cluster: demo
hosts:
  app1: { address: 10.0.0.11, roles: [ app, worker ] }
  app2: { address: 10.0.0.12, roles: [ app, worker, redis ] }
  db1: { address: 10.0.0.31, roles: [ db ], primary: true }
  db2: { address: 10.0.0.32, roles: [ db ] }
  db3: { address: 10.0.0.33, roles: [ db ] }
app: { kind: wsgi, url: "git://h/x", ref: main, module: "a:b" }
sites: [ { name: erp.example.com } ]
"#;

/// What the three databases say; `-`: no answer, `down`: the host answers, MariaDB does not. Position and server numbers are
/// 1, 2, 3 for db1, db2, db3.
fn database(text: &str) -> Option<Replication> {
    let mut words = text.split(' ');
    let state = words.next().unwrap_or_default();
    let position = |at: &str| {
        at.replace("0-1-", "0-167772191-")
            .replace("0-2-", "0-167772192-")
            .replace("0-3-", "0-167772193-")
    };
    let at = position(words.next().unwrap_or_default());
    let logged = position(words.next().unwrap_or_default());
    let logged = if logged.is_empty() { at.clone() } else { logged };
    let link = |of: &str, more: &str| {
        format!(
            "Connection_name=\nMaster_Host=10.0.0.3{of}\nSlave_IO_Running=Connecting\nSlave_SQL_Running=Yes\nGtid_IO_Pos={at}\n{more}"
        )
    };
    let closed = format!("read_only=1\nown_databases=2\nbinlog_state={logged}\nslave_pos={at}\n");
    let text = match state {
        "down" => "error=ERROR 2002 (HY000)\n".to_owned(),
        "open" => format!("read_only=0\nown_databases=2\nbinlog_state={logged}\n"),
        "closed" => closed,
        "fenced" => closed + "fenced=by a crash plan\n",
        "of1" => link("1", "") + &closed,
        "of2" => link("2", "") + &closed,
        "broken" => link("1", "Last_SQL_Errno=1032\nLast_SQL_Error=no such row\n") + &closed,
        "late" => link("1", "Seconds_Behind_Master=4000\n") + &closed,
        _ => return None,
    };
    Some(Replication::read(&text))
}

/// `databases`: what db1, db2, db3 say. `sights`: how app1, app2, db2, db3 see db1: `w`rites, `a`nswers, `r`efuses, `s`ilent, `h`ears
/// its heartbeats, `-` gives no answer at all.
fn said(databases: [&str; 3], sights: &str) -> BTreeMap<&'static str, Said> {
    let mut all = BTreeMap::new();
    for (name, text) in ["db1", "db2", "db3"].into_iter().zip(databases) {
        if text != "-" {
            all.insert(
                name,
                Said {
                    replication: database(text),
                    ..Said::default()
                },
            );
        }
    }
    for (name, sight) in ["app1", "app2", "db2", "db3"].into_iter().zip(sights.chars()) {
        if sight == '-' {
            all.remove(name);
            continue;
        }
        let host: &mut Said = all.entry(name).or_default();
        host.hears = sight == 'h';
        let sight = match sight {
            'w' => Sight::Writes,
            'a' => Sight::Answers,
            'r' => Sight::Refuses,
            _ => Sight::Silent,
        };
        host.sees.insert("db1".into(), sight);
    }
    all
}

fn verdict(inventory: &Inventory, databases: [&str; 3], sights: &str, wish: &Wish) -> String {
    match decide(Topology::of(inventory), &said(databases, sights), wish) {
        Ok(decision) => {
            let fence = match decision.fence {
                Fence::Stopped => "stopped",
                Fence::Network => "network",
                Fence::Assumed(_) => "assumed",
                Fence::HandsOver => "hands over",
                Fence::Itself => "itself",
            };
            format!("{} -> {}, {fence}", decision.primary, decision.candidate)
        }
        Err(refused) => refused.message,
    }
}

#[test]
fn who_takes_over_and_when_nobody_may() {
    let inventory = inventory(CLUSTER);
    let plain = Wish::default();
    let cases = [
        // its mariadbd was killed: the host can be reached
        (["down", "of1 0-1-9", "of1 0-1-9"], "rrrr", "db1 -> db2, stopped"),
        // the one that received more
        (["down", "of1 0-1-8", "of1 0-1-9"], "rrrr", "db1 -> db3, stopped"),
        // cut off or without power
        (["-", "of1 0-1-9", "of1 0-1-9"], "ssss", "db1 -> db2, network"),
        // alive for somebody, or heard by a replica
        (["-", "of1 0-1-9", "of1 0-1-9"], "swss", "db1 is alive: app2 see it"),
        (["-", "of1 0-1-9", "of1 0-1-9"], "sssh", "db1 is alive: db3 see it"),
        (
            ["open 0-1-9", "of1 0-1-9", "of1 0-1-9"],
            "wwww",
            "db1 is alive: app1, app2, db2, db3 see it",
        ),
        // open, but nobody reaches it: hactl does, and stops it
        (["open 0-1-9", "of1 0-1-9", "of1 0-1-9"], "ssss", "db1 -> db2, stopped"),
        // this may be the side that is cut off
        (
            ["-", "of1 0-1-9", "-"],
            "--s-",
            "1 of 4 voters call db1 dead, which is no majority: this may be the side that is cut off",
        ),
        (
            ["-", "of1 0-1-9", "-"],
            "s-s-",
            "2 of 4 voters call db1 dead, which is no majority: this may be the side that is cut off",
        ),
        // a majority, but an application's host might still write to it
        (
            ["-", "of1 0-1-9", "of1 0-1-9"],
            "-sss",
            "nothing keeps db1 from taking writes: it does not answer, and neither does app1, which writes to it",
        ),
        // all were without power: closed, and the one that led has all
        (["closed 0-1-9", "of1 0-1-9", "of1 0-1-8"], "aaaa", "db1 -> db1, itself"),
        // the one that led lacks something that another has
        (
            ["closed 0-1-7", "of1 0-1-9", "of1 0-1-8"],
            "aaaa",
            "db1 -> db2, stopped",
        ),
        // one that is fenced does not come back by itself
        (
            ["fenced 0-1-9", "of1 0-1-9", "of1 0-1-9"],
            "aaaa",
            "db1 -> db2, stopped",
        ),
        // somebody was not heard: who knows what it has
        (["closed 0-1-9", "of1 0-1-8", "-"], "aaa-", "db1 -> db2, stopped"),
        // candidates that must not lead
        (["-", "broken 0-1-9", "of1 0-1-8"], "ssss", "db1 -> db3, network"),
        (["-", "late 0-1-9", "of1 0-1-9"], "ssss", "db1 -> db3, network"),
        (
            ["-", "of1 0-1-9 0-1-9,0-2-10", "of1 0-1-9"],
            "ssss",
            "db1 -> db3, network",
        ),
        (["-", "of1 0-1-9 0-1-9,0-2-10", "down"], "ssss", "db1 -> db2, network"),
        (
            ["-", "broken 0-1-9", "down"],
            "ssss",
            "nobody can take over: db2 cannot apply what it received: no such row; db3 its MariaDB does not answer",
        ),
        // nobody knows who led
        (["-", "of1 0-1-9", "of2 0-1-9"], "ssss", "db1 -> db2, network"),
        (
            ["closed 0-1-9", "closed 0-1-9", "closed 0-1-9"],
            "aaaa",
            "no database takes writes and none follows another: it cannot be told who led",
        ),
        (
            ["open 0-1-9", "open 0-2-10", "of1 0-1-9"],
            "wwww",
            "two servers take writes, db1 and db2",
        ),
    ];
    for (databases, sights, wanted) in cases {
        assert_eq!(
            verdict(&inventory, databases, sights, &plain),
            wanted,
            "{databases:?} {sights}"
        );
    }
}

#[test]
fn what_the_operator_asks_for() {
    let inventory = inventory(CLUSTER);
    let over = |to: Option<&str>| Wish {
        switchover: true,
        to: to.map(str::to_owned),
        assume_fenced: None,
    };
    let to = |to: &str| Wish {
        to: Some(to.to_owned()),
        ..Wish::default()
    };
    let off = Wish {
        assume_fenced: Some("powered-off-by-hand".into()),
        ..Wish::default()
    };
    let alive = ["open 0-1-9", "of1 0-1-9", "of1 0-1-9"];
    let dead = ["-", "of1 0-1-8", "of1 0-1-9"];
    let cases = [
        (alive, "wwww", over(None), "db1 -> db2, hands over"),
        (alive, "wwww", over(Some("db3")), "db1 -> db3, hands over"),
        (
            alive,
            "wwww",
            over(Some("app1")),
            "--to app1: it is no database that could take over",
        ),
        (
            alive,
            "wwww",
            over(Some("db1")),
            "--to db1: it is no database that could take over",
        ),
        (
            dead,
            "ssss",
            over(None),
            "db1 does not take writes now: there is nothing to hand over",
        ),
        (
            dead,
            "ssss",
            to("db2"),
            "--to db2: db3 has 1 transactions that it lacks",
        ),
        (dead, "ssss", to("db3"), "db1 -> db3, network"),
        (dead, "-sss", off.clone(), "db1 -> db3, assumed"),
        // a word is no majority
        (
            ["-", "of1 0-1-9", "-"],
            "--s-",
            off,
            "1 of 4 voters call db1 dead, which is no majority: this may be the side that is cut off",
        ),
    ];
    for (databases, sights, wish, wanted) in cases {
        assert_eq!(
            verdict(&inventory, databases, sights, &wish),
            wanted,
            "{databases:?} {sights} {wish:?}"
        );
    }
}
