//! What each rule takes and refuses.

use super::*;

#[test]
fn the_cluster_is_named_after_the_site() {
    for (site, cluster) in [
        ("erp.example.com", "example"),
        ("localhost", "localhost"),
        ("10.example", "main"),
        ("", "main"),
    ] {
        assert_eq!(cluster_of(site), cluster, "{site}");
    }
}

type Case = (
    fn(&str) -> Result<(), Refusal>,
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn rules_take_what_is_usual_and_refuse_what_is_dangerous() {
    let cases: &[Case] = &[
        (
            git_url,
            &[
                "https://github.com/frappe/frappe",
                "ssh://git@h:22/x.git",
                "git://10.77.0.1/guestbook",
                "file:///srv/git/x",
                "git@github.com:a/b.git",
                "h:x",
            ],
            &[
                "",
                "-x",
                "--upload-pack=id",
                "ext::sh",
                "ext://x",
                "ssh://-oProxyCommand=x/y",
                "ssh://a@-o/y",
                "-h:x",
                "a@-h:x",
                "https://",
                "file:///",
                "/srv/x",
                "x",
                "h:-x",
                "https://h/a b",
                "git@h:",
            ],
        ),
        (
            email,
            &["ops@example.com", "first.last+tag@mail.example.com", "a_b-c@x.y"],
            &[
                "",
                "ops",
                "ops@",
                "@example.com",
                "ops@localhost",
                "-x@example.com",
                "a b@example.com",
                "a@b@example.com",
                "a'b@example.com",
                "a..b@example.com",
                "ops@Example.com",
                "$(id)@example.com",
            ],
        ),
        (
            acme_directory,
            &[
                "https://acme-v02.api.letsencrypt.org/directory",
                "https://ca.lan:14000/dir",
                "https://10.0.0.9/acme/acme/directory",
            ],
            &[
                "",
                "http://ca.lan/dir",
                "https://",
                "https://ca.lan:0/dir",
                "https://ca.lan:x/dir",
                "https://u:p@ca.lan/dir",
                "https://ca.lan/a b",
                "https://ca.lan/$(id)",
                "https://ca.lan/../x",
                "https://ca.lan/dir?x=1",
                "-https://ca.lan/",
            ],
        ),
        (
            git_ref,
            &["main", "v15.51.2", "feature/x", "1.10", "0a1b2c3d", "release-1_2"],
            &[
                "", "-x", "a..b", "a b", "a~1", "a^", "a:b", "x.lock", "/a", "a/", "@{u}", "$(id)", "a;b", "a\"b",
                "a//b",
            ],
        ),
        (
            jump,
            &[
                "bastion",
                "ops@bastion:2200",
                "10.0.0.1",
                "[fd00::1]:22",
                "ops@[fd00::1]",
            ],
            &[
                "",
                "-o",
                "a b",
                "@h",
                "-x@h",
                "h:",
                "h:0",
                "h:70000",
                "[h]:22",
                "[fd00::1",
                "[fd00::1]x",
                "h;id",
                "a,b",
            ],
        ),
        (
            debian_package,
            &[
                "git",
                "g++",
                "libstdc++6",
                "libffi-dev",
                "libc6:amd64",
                "wkhtmltopdf=0.12.6-2+b1",
                "7zip",
            ],
            &[
                "", "a", "-y", "vim-", "vim+", "A", "a b", "x=", "x:", "x=1;id", "./x.deb",
            ],
        ),
        (
            host_path,
            &["/srv/app", "/srv/frappe/bench"],
            &[
                "",
                "/",
                "/etc",
                "srv",
                "/srv/../etc",
                "/srv/a b",
                "/srv/",
                "/srv//x",
                "/srv/%x",
            ],
        ),
        (
            site,
            &["erp.example.com", "localhost", "a-b.c1"],
            &[
                "", ".", "..", "a..b", "A.b", "-a.b", "a/b", "a_b", "a.", "assets", "apps.txt",
            ],
        ),
        (
            module,
            &["guestbook:app", "a.b.c:create.app"],
            &["", "a", "a:", ":a", "a:b()", "a-b:c", "a.:b", "a:b;c"],
        ),
        (user, &["frappe", "_x", "a-b"], &["", "1a", "A", "a b", "a;b", "root\n"]),
        (
            database,
            &["erp", "_1bd3e0294da19198"],
            &["", "a-b", "mysql", "SYS", "a`b", "aaaaaaaaaabbbbbbbbbbccccccccccddd"],
        ),
        (
            secret_name,
            &["admin_password", "site/a.b/admin"],
            &["", "/a", "a/", "a//b", "a b", "a:b"],
        ),
        (
            timezone,
            &["UTC", "Europe/Vienna", "Etc/GMT+1"],
            &["", "../x", "/etc", "Europe/", "Europe/..", "a"],
        ),
        (
            url_path,
            &["/", "/health", "/a?b=c"],
            &["", "x", "//h", "/a b", "/a;b", "/{a}", "/$a"],
        ),
        (
            python,
            &["python3.11", "/opt/py/bin/python3"],
            &["", "-c", "a b", "../python", "python3;id"],
        ),
    ];
    for (i, (rule, good, bad)) in cases.iter().enumerate() {
        for text in *good {
            assert_eq!(rule(text), Ok(()), "rule {i}: {text:?}");
        }
        for text in *bad {
            assert!(rule(text).is_err(), "rule {i}: {text:?}");
        }
    }
}
