//! Debian 13 by the same inventory, and systems that hactl is not made for.

mod common;

use common::stack::{Options, Serves, Stack};

#[test]
fn debian_13_like_debian_12() {
    let stack = Stack::with(Options {
        warm: false,
        suite: "trixie",
        ..Options::warm(65)
    });
    let _ = stack.hactl(&["check", "--remote"]).exits(0);
    let first = stack.apply(&[]).exits(0).summary();
    println!("first apply: {first}");
    let second = stack.apply(&[]).exits(0).summary();
    assert_eq!(second["changed"], 0, "{second}");
    assert_eq!(second["hosts"][0]["round_trips"], 1, "{second}");
    let _ = stack.hactl(&["plan", "--exit-code"]).exits(0);
    let _ = stack.hactl(&["status"]).exits(0);
    assert_eq!(stack.fetch("/health", &[]).0, 200);
    assert_eq!(stack.on_host(". /etc/os-release; echo $VERSION_CODENAME"), "trixie");
    let tested = stack.on_host("nginx -t 2>&1");
    assert!(!tested.contains("warn"), "{tested}");
    assert_eq!(stack.on_host("systemctl --failed --no-legend"), "");

    // Another system is refused before anything is changed, whatever is to be done.
    stack.on_host("rm /etc/nginx/hactl/app.conf");
    for (release, name) in [
        ("ID=debian\nVERSION_ID=\"11\"\nVERSION_CODENAME=bullseye\n", "debian 11"),
        ("ID=alpine\nVERSION_ID=3.20.3\n", "alpine 3.20.3"),
        ("NAME=\"Made by hand\"\n", "is not supported"),
    ] {
        stack.on_host(&format!(
            "rm -f /etc/os-release; printf %s {} >/etc/os-release; touch /run/before",
            hactl::quote::sh(release)
        ));
        for (words, code) in [
            (&["check", "--remote"][..], 4),
            (&["plan"], 7),
            (&["apply", "--yes"], 7),
        ] {
            let said = stack.hactl(words).exits(code);
            let text = said.stdout + &said.stderr;
            assert!(text.contains(name), "{words:?}: {text}");
            assert!(
                text.contains("Debian 12, Debian 13, Ubuntu 22.04, Ubuntu 24.04"),
                "{words:?}: {text}"
            );
        }
        let changed = stack.on_host("find /etc /srv /var/lib/hactl /usr -xdev -newer /run/before -type f | head");
        assert_eq!(changed, "", "{name}");
    }
}

/// Its Python is 3.13, its MariaDB 11.8.
#[test]
fn a_frappe_bench_on_debian_13() {
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        suite: "trixie",
        ..Options::warm(70)
    });
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    let _ = stack.hactl(&["status"]).exits(0);
    assert_eq!(stack.fetch("/api/method/ping", &[]).0, 200);
}
