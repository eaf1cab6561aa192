//! The step that changes what serves, cut at every moment, each in a world of its own: it goes on, or back, and never
//! serves a mixture.

mod common;

use common::release_host::ReleaseHost;

fn whole(release: &str) -> Option<[String; 3]> {
    Some([release.to_owned(), release.to_owned(), release.to_owned()])
}

/// Every moment of a step that ends by itself with `code`, side by side: most of the time is waiting.
fn at_every_moment(prepare: fn(&ReleaseHost), code: i32, check: fn(&ReleaseHost, &str)) {
    let host = ReleaseHost::new();
    prepare(&host);
    let (ended, text) = host.run("new", None);
    assert_eq!(ended, Some(code), "{text}");
    let moments: u32 = host.read("moment").parse().expect("a number");
    assert!(moments > 10, "{moments} moments\n{text}");
    std::thread::scope(|scope| {
        for moment in 1..=moments {
            for when in ["before", "after"] {
                scope.spawn(move || {
                    let host = ReleaseHost::new();
                    prepare(&host);
                    let cut = format!("{moment}{when}");
                    let (ended, text) = host.run("new", Some(&cut));
                    if ended.is_some() {
                        // A busier machine looks at what it waits for more often, and so had more moments.
                        assert!(moment > 10, "{cut}: {text}");
                        return;
                    }
                    host.boots();
                    let met = host.met();
                    let fine = met.is_none() || met == whole("old") || met == whole("new");
                    assert!(fine, "{cut}: {met:?}\n{text}");
                    check(&host, &cut);
                });
            }
        }
    });
    println!("{moments} moments, before and after each");
}

#[test]
fn it_goes_on_after_a_cut_at_every_moment() {
    at_every_moment(
        |_| {},
        0,
        |host, cut| {
            let (code, text) = host.run("new", None);
            assert_eq!((code, host.met()), (Some(0), whole("new")), "{cut}: {text}");
            assert_eq!(host.read("up/app:jobs"), "new", "{cut}: {text}");
        },
    );
}

/// Somebody has thought better of it: as long as the new release has not served, the old one comes back with its database.
#[test]
fn it_goes_back_after_a_cut_at_every_moment() {
    at_every_moment(
        |_| {},
        0,
        |host, cut| {
            if host.met() == whole("new") {
                return;
            }
            let (code, text) = host.run("old", None);
            assert_eq!((code, host.met()), (Some(0), whole("old")), "{cut}: {text}");
            assert_eq!(host.read("up/app:jobs"), "old", "{cut}: {text}");
        },
    );
}

#[test]
fn a_cut_while_it_goes_back_is_mended() {
    at_every_moment(
        |host| host.write("broken-migration", ""),
        1,
        |host, cut| {
            let (code, text) = host.run("new", None);
            assert_eq!((code, host.met()), (Some(1), whole("old")), "{cut}: {text}");
            std::fs::remove_file(host.at("broken-migration")).unwrap();
            let (code, text) = host.run("new", None);
            assert_eq!((code, host.met()), (Some(0), whole("new")), "{cut}: {text}");
        },
    );
}

/// Ctrl-C twice: what runs is ended, and the old release serves again, or the new one does already.
#[test]
fn told_to_end_it_goes_back() {
    let closing = ["before", "after"].map(|when| (6..=9).map(move |moment| format!("{moment}{when}")));
    std::thread::scope(|scope| {
        for cut in closing.into_iter().flatten().chain(["2before".to_owned()]) {
            scope.spawn(move || {
                let host = ReleaseHost::new();
                let (code, text) = host.run_struck("new", Some(&cut), true);
                assert_ne!(code, Some(0), "{cut}: {text}");
                assert_eq!(host.met(), whole("old"), "{cut}: {text}");
                assert_eq!(host.read("up/app:jobs"), "old", "{cut}: {text}");
            });
        }
    });
}

/// Both hosts of a pair at once, the leader killed at a moment if there is one; gives how they ended and what they said.
fn together(pair: &[ReleaseHost; 2], run: &str, id: &str, cut: Option<&str>) -> [(Option<i32>, String); 2] {
    let [leader, follower] = pair;
    for host in pair {
        host.write("run-id", run);
    }
    std::thread::scope(|scope| {
        let follows = scope.spawn(|| follower.run(id, None));
        [leader.run(id, cut), follows.join().expect("it ends")]
    })
}

#[test]
fn several_hosts_change_together_or_not_at_all() {
    let pair = ReleaseHost::pair();
    let [(_, leads), (_, follows)] = together(&pair, "one", "new", None);
    let [leader, follower] = &pair;
    let met = [leader.met(), follower.met()];
    assert_eq!(met, [whole("new"), whole("new")], "{leads}\n\n{follows}");
    assert_eq!(follower.read("up/app:jobs"), "new");

    for (sick, of, why) in [
        ("broken-migration", 0, "the migration of app failed"),
        ("sick-new", 0, "it did not become healthy"),
        ("sick-new", 1, "follower gave up"),
        ("foreign-nginx", 1, "follower gave up"),
    ] {
        let pair = ReleaseHost::pair();
        pair[of].write(sick, "");
        let [(first, leads), (second, follows)] = together(&pair, "one", "new", None);
        assert_eq!((first, second), (Some(1), Some(1)), "{leads}\n\n{follows}");
        assert!(leads.contains(why), "{leads}\n\n{follows}");
        for host in &pair {
            assert_eq!(host.met(), whole("old"), "{sick} of {of}: {leads}\n\n{follows}");
            assert_eq!(host.read("up/app:jobs"), "old", "{sick} of {of}");
        }
        std::fs::remove_file(pair[of].at(sick)).unwrap();
        let [(first, leads), (second, follows)] = together(&pair, "two", "new", None);
        assert_eq!((first, second), (Some(0), Some(0)), "{leads}\n\n{follows}");
    }
}

/// Whoever leads dies; the other does not go on by itself into something that fits nothing, and the next run brings both on.
#[test]
fn the_death_of_the_leader_is_healed() {
    std::thread::scope(|scope| {
        for moment in (1..40).step_by(6) {
            scope.spawn(move || {
                let pair = ReleaseHost::pair();
                let cut = format!("{moment}before");
                let [(killed, _), (_, text)] = together(&pair, "one", "new", Some(&cut));
                for host in &pair {
                    host.boots();
                    let met = host.met();
                    let fine = met.is_none() || met == whole("old") || met == whole("new");
                    assert!(fine, "{cut}: {met:?}\n{text}");
                }
                if pair.iter().all(|host| host.met() == whole("new")) {
                    assert!(killed.is_some() || moment > 10, "{cut}");
                    return;
                }
                let [(first, leads), (second, follows)] = if pair[0].met() == whole("new") {
                    // It is there: only the other has something to do.
                    pair[1].write("run-id", "two");
                    [(Some(0), String::new()), pair[1].run("new", None)]
                } else {
                    together(&pair, "two", "new", None)
                };
                assert_eq!((first, second), (Some(0), Some(0)), "{cut}: {leads}\n\n{follows}");
                for host in &pair {
                    assert_eq!(host.met(), whole("new"), "{cut}: {leads}\n\n{follows}");
                }
            });
        }
    });
}
