//! What somebody changes by hand: `plan` names exactly that and what follows from it, `apply` mends exactly that.

mod common;

use std::collections::BTreeSet;

use common::stack::{Serves, Stack};
use serde_json::Value;

/// Changes by hand that do not meet each other, and the resources that a plan must name for them.
struct Drift {
    what: &'static str,
    by_hand: &'static str,
    named: &'static [&'static str],
}

const ROUNDS: &[&[Drift]] = &[
    &[
        Drift {
            what: "file edited",
            by_hand: "echo '# by hand' >>/etc/redis/redis-cache.conf",
            named: &["file /etc/redis/redis-cache.conf"],
        },
        Drift {
            what: "file removed",
            by_hand: "rm /etc/sysctl.d/60-hactl.conf",
            named: &["file /etc/sysctl.d/60-hactl.conf"],
        },
        Drift {
            what: "permission changed",
            by_hand: "chmod 666 /etc/nginx/nginx.conf",
            named: &["file /etc/nginx/nginx.conf"],
        },
        Drift {
            what: "owner changed",
            by_hand: "chown nobody:nogroup /srv/guestbook/run",
            named: &["file /srv/guestbook/run"],
        },
        Drift {
            what: "permission of a folder changed",
            by_hand: "chmod 777 /etc/nginx/tls",
            named: &["directory /etc/nginx/tls"],
        },
        Drift {
            what: "user added to a group",
            by_hand: "usermod -a -G adm app",
            named: &["user app"],
        },
        Drift {
            what: "service stopped",
            by_hand: "systemctl stop redis-server@queue.service",
            named: &["service redis-server@queue.service"],
        },
        Drift {
            what: "grant revoked",
            by_hand: "mariadb -e 'REVOKE ALL PRIVILEGES ON guestbook.* FROM guestbook@127.0.0.1'",
            named: &["database user guestbook@127.0.0.1"],
        },
        Drift {
            what: "hosts block edited",
            by_hand: "sed -i 's/^127.0.0.1 localhost$/127.0.0.1 elsewhere/' /etc/hosts",
            named: &["block t81 in /etc/hosts"],
        },
    ],
    &[
        Drift {
            what: "shell changed",
            by_hand: "usermod -s /bin/false app",
            named: &["user app"],
        },
        Drift {
            what: "service disabled",
            by_hand: "systemctl -q disable nginx.service",
            named: &["service nginx.service"],
        },
        Drift {
            what: "service masked",
            by_hand: "systemctl -q mask --now redis-server@cache.service",
            named: &["service redis-server@cache.service"],
        },
        Drift {
            what: "password of an account changed",
            by_hand: "mariadb -e \"ALTER USER guestbook@127.0.0.1 IDENTIFIED BY 'other'\"",
            // As in a rotation: both are good until everything has the right one, then the other goes.
            named: &[
                "database user guestbook@127.0.0.1",
                "old passwords of guestbook@127.0.0.1",
            ],
        },
        Drift {
            what: "supervised program stopped",
            by_hand: "supervisorctl stop guestbook:guestbook-jobs",
            named: &["programs guestbook"],
        },
        Drift {
            what: "a package's own service started",
            by_hand: "systemctl start redis-server.service",
            named: &["stopped redis-server.service"],
        },
        Drift {
            what: "package removed",
            by_hand: "apt-get -qq -y remove logrotate >/dev/null 2>&1",
            named: &["package logrotate"],
        },
    ],
    &[
        Drift {
            what: "link pointed elsewhere",
            by_hand: "cp -a /srv/guestbook/releases/* /srv/guestbook/releases/other; ln -sfn releases/other /srv/guestbook/current",
            // What runs from there is restarted.
            named: &["release guestbook"],
        },
        Drift {
            what: "file edited and loaded",
            by_hand: "sed -i 's/keepalive_timeout 30s/keepalive_timeout 31s/' /etc/nginx/nginx.conf; systemctl reload nginx; echo >/run/hactl/loaded/nginx.service",
            named: &["file /etc/nginx/nginx.conf", "service nginx.service"],
        },
        Drift {
            what: "a folder in place of a missing file",
            by_hand: "rm /etc/logrotate.d/hactl-guestbook",
            named: &["file /etc/logrotate.d/hactl-guestbook"],
        },
        Drift {
            what: "account dropped",
            by_hand: "mariadb -e 'DROP USER guestbook@127.0.0.1'",
            named: &["database user guestbook@127.0.0.1"],
        },
    ],
];

/// Resources that the events' plan changes.
fn planned(events: &[Value]) -> BTreeSet<String> {
    let plan = events.iter().find(|event| event["event"] == "planned").expect("a plan");
    let steps = plan["plan"]["hosts"][0]["steps"].as_array().expect("steps");
    let changes = steps
        .iter()
        .flat_map(|step| step["changes"].as_array().expect("changes"));
    changes
        .map(|change| change["resource"].as_str().expect("a resource").to_owned())
        .collect()
}

#[test]
fn what_is_changed_by_hand_is_named_and_mended_and_nothing_else() {
    let stack = Stack::boot(81, Serves::Guestbook, true);
    let _ = stack.apply(&[]).exits(0);
    for round in ROUNDS {
        let mut expected = BTreeSet::new();
        for drift in *round {
            stack.on_host(drift.by_hand);
            expected.extend(drift.named.iter().map(|name| (*name).to_owned()));
        }
        let names: Vec<_> = round.iter().map(|drift| drift.what).collect();
        let plan = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
        assert_eq!(planned(&plan.events()), expected, "{names:?}");
        let mended = stack.apply(&[]).exits(0);
        assert_eq!(planned(&mended.events()), expected, "{names:?}");
        let summary = mended.summary();
        assert_eq!(
            summary["changed"].as_u64(),
            Some(expected.len() as u64),
            "{names:?}: {summary}"
        );
        let _ = stack.hactl(&["plan", "--exit-code"]).exits(0);
        assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0, "{names:?}");
        assert_eq!(stack.fetch("/", &[]).0, 200, "{names:?}");
    }
}
