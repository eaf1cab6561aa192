//! What hosts say → what is decided.

use std::collections::BTreeMap;

use super::decision::{Wish, decide};
use super::fence::{Fence, Power};
use super::record::{Fed, Moved, Record};
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
        "of3" => link("3", "") + &closed,
        "broken" => link("1", "Last_SQL_Errno=1032\nLast_SQL_Error=no such row\n") + &closed,
        "without-log" => link("1", "") + &closed + "log_bin=0\n",
        "cut-off" => link("1", "Last_IO_Errno=1236\nLast_IO_Error=not in the master's binlog\n") + &closed,
        "late-restored" => link("1", "Seconds_Behind_Master=4000\n") + &closed + "given_up=0 50 90\n",
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
    judged(Topology::of(inventory), &said(databases, sights), wish)
}

fn judged(topology: Topology, said: &BTreeMap<&str, Said>, wish: &Wish) -> String {
    match decide(topology, said, wish) {
        Ok(decision) => {
            let fence = match decision.fence {
                Fence::Stopped => "stopped",
                Fence::PoweredOff => "power",
                Fence::Network => "network",
                Fence::Assumed(_) => "assumed",
                Fence::HandsOver => "hands over",
                Fence::Itself => "itself",
            };
            let feed = match &decision.feed {
                Some(feed) => format!(", {} gives", feed.from),
                None => String::new(),
            };
            format!("{} -> {}, {fence}{feed}", decision.primary, decision.candidate)
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
            "nothing keeps db1 from taking writes: it does not answer, and app1, which writes to it, does not answer either",
        ),
        // all were without power: closed, and the one that led has all
        (["closed 0-1-9", "of1 0-1-9", "of1 0-1-8"], "aaaa", "db1 -> db1, itself"),
        // its replicas have found it again, and hear it, though it takes no writes
        (["closed 0-1-9", "of1 0-1-9", "of1 0-1-8"], "aahh", "db1 -> db1, itself"),
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
        // candidates that must not lead, and what they give: what they have in their log
        (
            ["-", "broken 0-1-9", "of1 0-1-8"],
            "ssss",
            "db1 -> db3, network, db2 gives",
        ),
        (["-", "broken 0-1-8", "of1 0-1-8"], "ssss", "db1 -> db3, network"),
        (["-", "late 0-1-9", "of1 0-1-9"], "ssss", "db1 -> db3, network"),
        (
            ["-", "late 0-1-9", "of1 0-1-8"],
            "ssss",
            "db1 -> db3, network, db2 gives",
        ),
        (["-", "without-log 0-1-9", "of1 0-1-9"], "ssss", "db1 -> db3, network"),
        (["-", "without-log 0-1-9", "of1 0-1-8"], "ssss", "db1 -> db3, network"),
        // the log was gone, or of another history, before the primary was
        (["-", "cut-off 0-1-9", "of1 0-1-9"], "ssss", "db1 -> db3, network"),
        // one that was away when the others were restored: it has what was given up then
        (
            ["-", "late-restored 0-1-95", "of1 0-1-80"],
            "ssss",
            "nobody can take over: db2 is 4000 s behind; db3 has what a restore from a backup gave up (0-167772191-80)",
        ),
        // a history that does not hold what the candidate has is none to follow
        (["-", "broken 0-1-7", "of1 0-1-8"], "ssss", "db1 -> db3, network"),
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
        ..Wish::default()
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
        (dead, "ssss", to("db2"), "db1 -> db2, network, db3 gives"),
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

#[test]
fn the_ladder_of_what_holds_the_old_one_off() {
    let plain = inventory(CLUSTER);
    let switch = inventory(&(CLUSTER.to_owned() + "crashplan: { power_off: [ poff, \"{host}\" ] }\n"));
    let failed = |wish: Wish| Wish {
        power: Power::Failed("exit status 1: no such chassis".into()),
        ..wish
    };
    let stuck = Wish {
        cannot_stop: true,
        ..Wish::default()
    };
    let word = Wish {
        assume_fenced: Some("unplugged".into()),
        ..Wish::default()
    };
    let gone = ["-", "of1 0-1-9", "of1 0-1-9"];
    let down = ["down", "of1 0-1-9", "of1 0-1-9"];
    let cases = [
        // SSH comes first, whatever else there is
        (&switch, down, "rrrr", Wish::default(), "db1 -> db2, stopped"),
        (&switch, down, "rrrr", stuck.clone(), "db1 -> db2, power"),
        (&switch, gone, "ssss", Wish::default(), "db1 -> db2, power"),
        (&switch, gone, "-sss", Wish::default(), "db1 -> db2, power"),
        (&switch, gone, "-sss", word.clone(), "db1 -> db2, power"),
        // the switch does not do it: the next one
        (&switch, gone, "ssss", failed(Wish::default()), "db1 -> db2, network"),
        (&switch, gone, "-sss", failed(word.clone()), "db1 -> db2, assumed"),
        (
            &switch,
            gone,
            "-sss",
            failed(Wish::default()),
            "nothing keeps db1 from taking writes: it does not answer, its power could not be taken away (exit status 1: no \
             such chassis), and app1, which writes to it, does not answer either",
        ),
        (&switch, down, "rrrr", failed(stuck.clone()), "db1 -> db2, network"),
        (&plain, down, "rrrr", stuck, "db1 -> db2, network"),
        // a switch makes no majority
        (
            &switch,
            ["-", "of1 0-1-9", "-"],
            "--s-",
            Wish::default(),
            "1 of 4 voters call db1 dead, which is no majority: this may be the side that is cut off",
        ),
    ];
    for (inventory, databases, sights, wish, wanted) in cases {
        assert_eq!(
            verdict(inventory, databases, sights, &wish),
            wanted,
            "{databases:?} {sights} {wish:?}"
        );
    }
}

#[test]
fn a_second_one_within_an_hour_is_asked_for() {
    let inventory = inventory(CLUSTER);
    let topology = Topology::of(&inventory);
    let moved = |age| Moved {
        plan: "1-a".into(),
        old: "db3".into(),
        new: "db1".into(),
        by: "root@desk".into(),
        age,
    };
    let verdict = |said: &BTreeMap<&str, Said>, wish: &Wish| match decide(topology, said, wish) {
        Ok(decision) => format!("{} -> {}", decision.primary, decision.candidate),
        Err(refused) => refused.message,
    };
    let ack = Wish {
        ack: true,
        ..Wish::default()
    };
    let over = Wish {
        switchover: true,
        ..Wish::default()
    };
    let refused = "root@desk made db1 the primary in place of db3 12 minutes ago (crash plan 1-a): a second one within an hour \
                   needs --ack";
    let dead = || said(["-", "of1 0-1-9", "of1 0-1-9"], "ssss");
    for (ages, wish, wanted) in [
        ([None, None], Wish::default(), "db1 -> db2"),
        // one of them knows it
        ([None, Some(720)], Wish::default(), refused),
        ([Some(720), Some(90_000)], Wish::default(), refused),
        ([Some(720), Some(720)], ack, "db1 -> db2"),
        ([Some(3600), Some(3600)], Wish::default(), "db1 -> db2"),
    ] {
        let mut said = dead();
        for (name, age) in ["db2", "db3"].into_iter().zip(ages) {
            said.get_mut(name).unwrap().moved = age.map(moved);
        }
        assert_eq!(verdict(&said, &wish), wanted, "{ages:?}");
    }
    // Neither one that hands over, nor what a plan that was cut off left to do.
    let mut alive = said(["open 0-1-9", "of1 0-1-9", "of1 0-1-9"], "wwww");
    alive.get_mut("db2").unwrap().moved = Some(moved(60));
    assert_eq!(verdict(&alive, &over), "db1 -> db2");
    let mut cut_off = said(["open 0-1-9", "of1 0-1-9", "-"], "wwww");
    cut_off.get_mut("db1").unwrap().moved = Some(moved(60));
    cut_off.get_mut("db1").unwrap().unfinished = Some(Record {
        plan: "1-a".into(),
        old: "db3".into(),
        fence: Fence::Network,
    });
    assert_eq!(verdict(&cut_off, &Wish::default()), "db3 -> db1");
}

/// What a plan that was cut off took from a replica, its link, does not exclude it.
#[test]
fn one_that_was_being_fed_is_what_it_was_before() {
    let inventory = inventory(CLUSTER);
    let topology = Topology::of(&inventory);
    let fed = Fed {
        old: "db1".into(),
        from: "db3".into(),
    };
    let to = Wish {
        to: Some("db2".into()),
        ..Wish::default()
    };
    for (state, known, wanted) in [
        ("closed 0-1-8", true, "db1 -> db2, network, db3 gives"),
        ("closed 0-1-9", true, "db1 -> db2, network"),
        ("of3 0-1-8", true, "db1 -> db2, network, db3 gives"),
        (
            "closed 0-1-8",
            false,
            "--to db2: it follows nobody, so what it has is not what the primary had",
        ),
        ("of3 0-1-8", false, "--to db2: it follows another server"),
    ] {
        let mut said = said(["-", state, "of1 0-1-9"], "ssss");
        said.get_mut("db2").unwrap().fed = known.then(|| fed.clone());
        assert_eq!(judged(topology, &said, &to), wanted, "{state} {known}");
    }
}
