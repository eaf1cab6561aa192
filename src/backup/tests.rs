use super::catalog::Catalog;
use super::choose::{self, Wish, base, index, logs, order};
use super::position::Position;

const SHA: &str = "0fc7e13f7c2af8473e13a347af7e0cbd2fe6705125a761262d3ae9ca117c78cf";

fn copy(run: &str, kind: &str, base: &str, gtid: &str, ended: i64) -> String {
    let based = if base.is_empty() {
        String::new()
    } else {
        format!(" base={base}")
    };
    format!(
        "aaaaaaaa hactl cluster=c stream type=db run={run} host=db1 began={began}\n\
         bbbbbbbb hactl cluster=c good type=db kind={kind} run={run} host=db1 stream=aaaaaaaa data=1.2 lsn=5 gtid={gtid} \
         canary=3 canarysum=99 sha={SHA} size=1000 began={began} ended={ended} version=10 timeline=0{based}\n",
        began = ended - 5
    )
}

fn shipped(id: &str, host: &str, from: &str, gtid: &str, until: i64) -> String {
    format!("{id} hactl cluster=c good type=binlog host={host} from={from} gtid={gtid} until={until} timeline=0\n")
}

fn wish(to: i64) -> Wish {
    Wish {
        to: Some(to),
        ..Wish::default()
    }
}

#[test]
fn only_what_is_called_good_and_has_its_base_is_listed() {
    let text = copy("full1", "full", "", "0-1-10", 100)
        + &copy("inc1", "incremental", "full1", "0-1-20", 200)
        + &copy("lost", "incremental", "gone", "0-1-30", 300)
        + "cccccccc hactl cluster=c stream type=db run=cut host=db1 began=400\n"
        + &copy("odd", "full", "", "$(reboot)", 500);
    let catalog = Catalog::read(&text);
    let runs: Vec<_> = catalog.databases.iter().map(|copy| copy.run.as_str()).collect();
    assert_eq!(runs, ["full1", "inc1"]);
    assert_eq!(catalog.unfinished, 2, "cut off, unreadable");
}

#[test]
fn the_newest_copy_before_the_moment_is_begun_with() {
    let catalog = Catalog::read(
        &(copy("full1", "full", "", "0-1-10", 100) + &copy("inc1", "incremental", "full1", "0-1-20", 200)),
    );
    let found = base(&catalog, &wish(250)).unwrap();
    assert_eq!((found.full.run.as_str(), found.last().run.as_str()), ("full1", "inc1"));
    assert_eq!(base(&catalog, &wish(150)).unwrap().last().run, "full1");
    assert!(base(&catalog, &wish(50)).unwrap_err().contains("1970-01-01T00:01:40Z"));
    let named = Wish {
        backup: Some("full1".into()),
        ..Wish::default()
    };
    assert_eq!(base(&catalog, &named).unwrap().last().run, "full1");
}

#[test]
fn a_moment_that_no_log_reaches_is_refused() {
    let text = copy("full1", "full", "", "0-1-10", 100) + &shipped("dddddddd", "db1", "none", "0-1-30", 160);
    let catalog = Catalog::read(&text);
    assert_eq!(catalog.window(), Some((100, 160)));
    let found = base(&catalog, &wish(161)).unwrap();
    let said = logs(&catalog, &found, &wish(161)).unwrap_err();
    assert!(said.contains("until 1970-01-01T00:02:40Z"), "{said}");
    assert_eq!(logs(&catalog, &found, &wish(160)).unwrap().len(), 1);
}

#[test]
fn logs_of_two_servers_make_one_history() {
    let text = copy("full1", "full", "", "0-1-10", 100)
        + &shipped("dddddddd", "db1", "0-1-5", "0-1-30", 160)
        + &shipped("eeeeeeee", "db2", "none", "0-2-50", 260);
    let catalog = Catalog::read(&text);
    let found = base(&catalog, &wish(250)).unwrap();
    let wanted = logs(&catalog, &found, &wish(250)).unwrap();
    assert_eq!(wanted.len(), 2);
    let one = index("dddddddd", "a.1 0-1-5 0-1-12\na.2 0-1-12 0-1-30\n");
    let two = index("eeeeeeee", "b.1 none 0-1-25\nb.2 0-1-25 0-2-40\nb.3 0-2-40 0-2-50\n");
    let all: Vec<_> = one.iter().chain(&two).cloned().collect();
    let names = |all| -> Result<Vec<String>, String> {
        Ok(order(&found, &wanted, all)?.into_iter().map(|log| log.name).collect())
    };
    assert_eq!(names(all.clone()).unwrap(), ["a.1", "a.2", "b.2", "b.3"]);
    // Without one of them there is a gap, which is named.
    let without: Vec<_> = all.iter().filter(|log| log.name != "b.2").cloned().collect();
    let said = names(without).unwrap_err();
    assert!(said.contains("from 0-1-30 to 0-2-40"), "{said}");
}

#[test]
fn two_servers_that_wrote_the_same_number_are_refused() {
    let text = copy("full1", "full", "", "0-1-10", 100)
        + &shipped("dddddddd", "db1", "0-1-5", "0-1-30", 160)
        + &shipped("eeeeeeee", "db2", "0-1-5", "0-2-50", 260);
    let catalog = Catalog::read(&text);
    let found = base(&catalog, &wish(250)).unwrap();
    let wanted = logs(&catalog, &found, &wish(250)).unwrap();
    let mut all = index("dddddddd", "a.1 0-1-5 0-1-30\n");
    all.extend(index("eeeeeeee", "b.1 0-2-30 0-2-50\n"));
    assert!(order(&found, &wanted, all).unwrap_err().contains("two histories"));
}

#[test]
fn the_host_is_told_in_lines() {
    let text = copy("full1", "full", "", "0-1-10", 100)
        + &copy("inc1", "incremental", "full1", "0-1-20", 200)
        + &shipped("dddddddd", "db1", "none", "0-1-30", 260);
    let catalog = Catalog::read(&text);
    let found = base(&catalog, &wish(250)).unwrap();
    let chosen = choose::Chosen {
        logs: index("dddddddd", "a.1 0-1-5 0-1-30\nb;reboot 0-1-5 0-1-30\n"),
        base: found,
        to: Some(250),
    };
    assert_eq!(
        chosen.lines(),
        format!(
            "full aaaaaaaa {SHA}\nincremental aaaaaaaa {SHA}\nsize 2000\ngtid 0-1-20\ncanary 3 99\nlog dddddddd a.1\nstop 1970-01-01 00:04:10\n"
        )
    );
}

#[test]
fn positions() {
    let at = Position::read("0-1-5+7-2-9").unwrap();
    assert_eq!(at.to_string(), "0-1-5+7-2-9");
    assert!(Position::read("none").unwrap().within(&at));
    assert!(Position::read("0-3-4").unwrap().within(&at));
    assert!(!Position::read("0-3-6").unwrap().within(&at));
    assert!(!Position::read("1-3-1").unwrap().within(&at));
    assert!(
        ["", "0-1", "0-1-x", "0-1-2-3"]
            .iter()
            .all(|text| Position::read(text).is_none())
    );
}
