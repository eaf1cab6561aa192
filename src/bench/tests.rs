//! The reading as data: what a host may answer, and what is made of it.

use std::path::Path;

use super::draft::{Login, draft, one_bench};
use super::{nginx, reading, supervisor};
use crate::inventory::{self, Inventory};
use crate::resource::probe::Section;

const BENCH: &str = "/home/frappe/frappe-bench";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/bench/", $name))
    };
}

/// Answers of a server: mark → body.
type Answers = Vec<(String, String)>;

fn site(extra: &str) -> String {
    format!("{{\"db_name\": \"_5c8a1f2e9d3b4a67\", \"db_password\": \"s3cret-1\", \"db_type\": \"mariadb\"{extra}}}")
}

/// A server as bench leaves it.
fn server() -> Answers {
    let app = |url: &str, tag: &str| {
        format!("url={url}\ncommit={COMMIT}\ntag={tag}\nbranch=version-15\ndirty=0\nremote=yes\n")
    };
    [
        ("bench", format!("{BENCH}\n")),
        ("user", "frappe:x:1000:1000:,,,:/home/frappe:/bin/bash\n".into()),
        ("group", "frappe\n1000\n".into()),
        ("file common", fixture!("common_site_config.json").into()),
        ("file supervisor", fixture!("supervisor.conf").into()),
        ("file nginx", fixture!("nginx.conf").into()),
        ("file python", "home = /usr/bin\nimplementation = CPython\nversion_info = 3.11.2\n".into()),
        ("file apps", "frappe\nerpnext\n".into()),
        (
            "site erp.example.com",
            site(r#", "encryption_key": "s3cret-2", "domains": ["www.example.com", {"domain": "shop.example.com"}]"#),
        ),
        (
            "site plain.example.com",
            r#"{"db_name": "_0b7e6d5c4a392817", "db_password": "s3cret-3", "host_name": "https://plain.example.com"}"#.into(),
        ),
        ("app erpnext", app("https://github.com/frappe/erpnext", "v15.50.0")),
        ("app frappe", app("https://github.com/frappe/frappe", "v15.51.2")),
        (
            "links",
            format!(
                "supervisor\t/etc/supervisor/conf.d/frappe-bench.conf\t{BENCH}/config/supervisor.conf\tyes\n\
                 nginx\t/etc/nginx/conf.d/frappe-bench.conf\t{BENCH}/config/nginx.conf\tyes\n"
            ),
        ),
        ("devices", format!("{BENCH}/sites\t2049 /\n/srv\t2049 /\n")),
        ("host", "erp1\n2\n".into()),
        (
            "ports",
            "LISTEN 0 511 127.0.0.1:13000 0.0.0.0:*\nLISTEN 0 511 127.0.0.1:11000 0.0.0.0:*\nLISTEN 0 80 [::]:80 [::]:*\n".into(),
        ),
        ("units", "supervisor active\nnginx active\nmariadb active\nredis-server inactive\n".into()),
        ("version", "10.11.6-MariaDB\n".into()),
        ("rooted 0", String::new()),
        ("database _5c8a1f2e9d3b4a67", "[\"frappe\", \"erpnext\"]\n".into()),
        ("scheduler _5c8a1f2e9d3b4a67", "1\n".into()),
        ("database _0b7e6d5c4a392817", "[\"frappe\"]\n".into()),
        ("scheduler _0b7e6d5c4a392817", "0\n".into()),
    ]
    .map(|(mark, body)| (mark.to_owned(), body))
    .to_vec()
}

/// The server with other answers; an answer that is new is added.
fn with(changes: &[(&str, &str)]) -> Answers {
    let mut answers = server();
    for (mark, body) in changes {
        match answers.iter_mut().find(|(known, _)| known == mark) {
            Some(answer) => answer.1 = (*body).to_owned(),
            None => answers.push(((*mark).to_owned(), (*body).to_owned())),
        }
    }
    answers
}

fn sections(answers: &Answers) -> Vec<Section> {
    let section = |(mark, body): &(String, String)| Section {
        words: mark.split(' ').map(str::to_owned).collect(),
        body: body.clone().into_bytes(),
    };
    answers.iter().map(section).collect()
}

fn login() -> Login {
    Login {
        name: None,
        address: "203.0.113.10".into(),
        user: "root".into(),
        port: None,
        identity_file: None,
        cluster: None,
    }
}

fn parsed(text: &str, path: &Path) -> Result<Inventory, String> {
    let loaded = inventory::parse(text, path).map_err(|found| found.into_error(false).message)?;
    Ok(loaded.inventory)
}

/// The inventory, names of secrets, and remarks; or the error. What is written must be an inventory.
fn outcome(answers: &Answers) -> String {
    let found = reading::read(&sections(answers));
    let drafted = one_bench(&found, "203.0.113.10", None).and_then(|bench| draft(&found, bench, &login()));
    match drafted {
        Ok(draft) => {
            if let Err(error) = parsed(&draft.text, Path::new("/i/inventory.yml")) {
                panic!("{}\n{error}", draft.text);
            }
            let said: String = draft
                .remarks
                .iter()
                .map(|remark| format!("{}: {}\n", if remark.first { "first" } else { "note" }, remark.text))
                .collect();
            for secret in ["s3cret-1", "s3cret-2", "s3cret-3"] {
                assert!(
                    !draft.text.contains(secret) && !said.contains(secret),
                    "{secret} is shown"
                );
            }
            let names: Vec<_> = draft.secrets.iter().map(|(name, _)| name.as_str()).collect();
            format!("{}--- secrets\n{}\n--- said\n{said}", draft.text, names.join("\n"))
        }
        Err(error) => {
            let hints: String = error.hints.iter().map(|hint| format!("  next: {hint}\n")).collect();
            format!("{}: {}\n{hints}", error.kind.word(), error.message)
        }
    }
}

#[test]
fn a_plain_bench_becomes_an_inventory() {
    insta::assert_snapshot!("plain", outcome(&server()));
}

/// What a bench may have that cannot be taken over as it is; only what differs from the plain one is shown.
#[test]
fn what_cannot_be_mapped_is_said() {
    let plain = outcome(&server());
    let supervisor = format!(
        "{}\n[program:frappe-bench-frappe-reports-worker]\ncommand=/usr/local/bin/bench worker --queue reports\nnumprocs=3\nstopwaitsecs=7260\n\
         [program:whatsapp-bot]\ncommand=/opt/bot\n",
        fixture!("supervisor.conf").replace("-w 2", "-w 9 --threads 4 -k gevent")
    );
    let nginx = fixture!("nginx.conf")
        .replacen("client_max_body_size 50m", "client_max_body_size 1g", 1)
        .replacen(
            "location /assets",
            "include /etc/nginx/waf.conf;\n\tlocation /shop { proxy_pass http://shop; }\n\tlocation /assets",
            1,
        );
    let git = |lines: &str| format!("commit={COMMIT}\nbranch=version-15\n{lines}");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("custom programs and workers", &[("file supervisor", &supervisor)]),
        ("custom nginx", &[("file nginx", &nginx)]),
        (
            "local commits",
            &[("app erpnext", &git("url=https://github.com/frappe/erpnext\ndirty=0\n"))],
        ),
        (
            "a dirty tree, a commit without a tag",
            &[(
                "app erpnext",
                &git("url=git@github.com:frappe/erpnext.git\nremote=yes\ndirty=3\n"),
            )],
        ),
        ("no remote", &[("app erpnext", &git("dirty=0\n"))]),
        (
            "a token in the URL",
            &[(
                "app erpnext",
                &git("url=https://me:t0ken@github.com/a/erpnext\nremote=yes\n"),
            )],
        ),
        ("no git at all", &[("app erpnext", "git=no\n")]),
        (
            "postgres",
            &[(
                "site erp.example.com",
                &site(r#", "db_type": "postgres""#).replace(r#""db_type": "mariadb", "#, ""),
            )],
        ),
        (
            "a database elsewhere",
            &[("site erp.example.com", &site(r#", "db_host": "10.0.0.5""#))],
        ),
        ("a site that is a link", &[("site erp.example.com link", &site(""))]),
        (
            "an app that the bench lacks",
            &[("database _5c8a1f2e9d3b4a67", r#"["frappe", "hrms"]"#)],
        ),
        (
            "another file system",
            &[("devices", "/home/frappe/frappe-bench/sites\t2050 /home\n/srv\t2049 /\n")],
        ),
        (
            "under systemd",
            &[
                ("links", ""),
                ("targets", "frappe-bench-web.target frappe-bench-workers.target\n"),
            ],
        ),
        (
            "no root in MariaDB",
            &[
                (
                    "version",
                    "ERROR 1698 (28000): Access denied for user 'root'@'localhost'\n",
                ),
                ("rooted 0", ""),
                ("rooted 1", ""),
            ],
        ),
        (
            "another user",
            &[
                ("user", "erp:x:1001:100::/opt/erp:/bin/sh\n"),
                ("group", "users\n100\n"),
            ],
        ),
        (
            "around it",
            &[
                (
                    "links",
                    "supervisor\t/etc/supervisor/conf.d/frappe-bench.conf\t/home/frappe/frappe-bench/config/supervisor.conf\tyes\n\
                       nginx\t/etc/nginx/conf.d/bench.conf\t/home/frappe/frappe-bench/config/nginx.conf\tyes\n\
                       nginx\t/etc/nginx/conf.d/blog.conf\t/etc/nginx/conf.d/blog.conf\tno\n\
                       nginx\t/etc/nginx/sites-enabled/shop\t/etc/nginx/sites-available/shop\tno\n",
                ),
                ("cron", "frappe 1\n"),
                (
                    "units",
                    "supervisor active\nnginx inactive\nmariadb active\nredis-server active\n",
                ),
            ],
        ),
        (
            "another bench than the one that was asked for",
            &[("other", "/home/frappe/test-bench\n")],
        ),
        (
            "several benches",
            &[("bench", "/home/frappe/one\n"), ("bench ", "/home/frappe/two\n")],
        ),
        ("no bench", &[("bench", "")]),
        ("broken configuration", &[("file common", "{\"a\":")]),
        (
            "no sites",
            &[("site erp.example.com", "["), ("site plain.example.com", "[")],
        ),
        ("no frappe", &[("app frappe", "git=no\n")]),
    ];
    let mut out = String::new();
    for (name, changes) in cases {
        let mut answers = with(changes);
        let replaced = |mark: &str| mark == "rooted 0" && changes.iter().any(|(mark, _)| *mark == "rooted 1");
        answers.retain(|(mark, body)| !(mark == "bench" && body.is_empty() || replaced(mark)));
        let other = outcome(&answers);
        out.push_str(&format!("=== {name}\n"));
        for change in similar::TextDiff::from_lines(&plain, &other).iter_all_changes() {
            let is_error = other.lines().count() < 12;
            match change.tag() {
                similar::ChangeTag::Equal => {}
                similar::ChangeTag::Delete if is_error => {}
                tag => out.push_str(&format!("{tag}{change}")),
            }
        }
    }
    insta::assert_snapshot!("unmapped", out);
}

/// The host may lie, and may hold anything: what comes out is an inventory with exactly its words, or they are left out;
/// comments stay comments, and nothing reaches the terminal that it would act on.
#[test]
fn hostile_words_stay_words() {
    const WORDS: &[&str] = &[
        "x\ncluster: evil",
        "x, on_server: false }\n#",
        "\" }\nhosts: {}",
        "\u{1b}]0;owned\u{7}",
        "{{ 7 * 7 }}{% if x %}",
        "$(touch /tmp/x)`id`",
        "'; DROP TABLE x; --",
        "../../etc",
        "-oProxyCommand=x",
        "!secret redis/cache",
        "\u{202e}gpj.exe",
        "a\r\nb\u{2028}c",
        "",
    ];
    for word in WORDS {
        let quoted = serde_json::to_string(word).unwrap();
        let config = site(&format!(
            ", \"host_name\": {quoted}, \"domains\": [{quoted}, {{\"domain\": {quoted}}}], \"ssl_certificate\": {quoted}, \"ssl_certificate_key\": {quoted}"
        ));
        let common = format!("{{\"bench_id\": {quoted}, \"webserver_port\": {quoted}, \"redis_queue\": {quoted}}}");
        let git = format!("url={word}\ncommit={COMMIT}\ntag={word}\nbranch={word}\ndirty={word}\nremote=yes\n");
        let programs = format!(
            "[program:{word}]\ncommand={word}\n[program:x-frappe-{word}-worker]\ncommand=bench worker --queue {word}\nnumprocs={word}\n"
        );
        let servers = format!(
            "server {{ server_name \"{word}\" erp.example.com; listen {word}; include {word}; ssl_certificate {word}; }}"
        );
        let links = format!("supervisor\t{word}\t{BENCH}/config/supervisor.conf\tyes\nnginx\t{word}\t{word}\tyes\n");
        let cases: Vec<(&str, &str)> = vec![
            ("site erp.example.com", &config),
            ("file common", &common),
            ("app erpnext", &git),
            ("file supervisor", &programs),
            ("file nginx", &servers),
            ("links", &links),
            ("host", word),
            ("version", word),
            ("user", word),
            ("group", word),
            ("units", word),
            ("file python", word),
            ("oddsite", word),
            ("targets", word),
        ];
        let all: Vec<_> = cases.clone();
        for changes in cases.iter().map(std::slice::from_ref).chain([all.as_slice()]) {
            let text = outcome(&with(changes));
            assert!(
                !text
                    .chars()
                    .any(|c| c.is_control() && c != '\n' || crate::quote::deceives(c)),
                "{changes:?}\n{text}"
            );
            if !text.contains("--- secrets") {
                continue;
            }
            let inventory = parsed(text.split("--- secrets").next().unwrap(), Path::new("/i/inventory.yml")).unwrap();
            assert_eq!(inventory.cluster, "example", "{text}");
            assert_eq!(inventory.hosts.len(), 1);
            assert_eq!(inventory.sites.len(), 2);
            let host_name = inventory.sites[0]
                .config
                .get("host_name")
                .and_then(|value| value.as_str());
            assert!(host_name.is_none_or(|name| name == *word), "{text}");
        }
    }
}

#[test]
fn a_database_password_is_kept_as_it_is_or_refused() {
    for (password, kept) in [("pa\"ss '%41 $x\\", true), ("two\nlines", false), ("", false)] {
        let config = serde_json::json!({ "db_name": "_5c8a1f2e9d3b4a67", "db_password": password }).to_string();
        let found = reading::read(&sections(&with(&[("site erp.example.com", &config)])));
        let draft = draft(&found, BENCH, &login()).unwrap();
        let value = draft
            .secrets
            .iter()
            .find(|(name, _)| name == "site/erp.example.com/database");
        assert_eq!(value.map(|(_, secret)| secret.reveal()), kept.then_some(password));
    }
}

#[test]
fn configuration_files_are_read() {
    let nginx = nginx::read(fixture!("nginx.conf"));
    assert_eq!(nginx.servers.len(), 5);
    assert_eq!(nginx.servers[0].names, ["plain.example.com"]);
    assert_eq!(nginx.servers[0].listens, [(80, false)]);
    assert_eq!(nginx.servers[1].listens, [(443, true)]);
    assert_eq!(
        nginx.servers[1].key.as_deref(),
        Some("/etc/letsencrypt/live/erp.example.com/privkey.pem")
    );
    assert_eq!(nginx.max_body_mb, Some(50));
    assert!(nginx.custom.is_empty(), "{:?}", nginx.custom);
    let odd = nginx::read(
        "server { listen [::]:8443 ssl; server_name 'a b' c\\ # d;\n e; if ($x) { return ${y}; } } }}} ; ;",
    );
    assert_eq!(odd.servers[0].listens, [(8443, true)]);

    let (programs, groups) = supervisor::read(fixture!("supervisor.conf"));
    assert_eq!(
        groups,
        ["frappe-bench-web", "frappe-bench-workers", "frappe-bench-redis"]
    );
    assert_eq!(programs.len(), 7);
    assert_eq!(programs[0].option(&["-w", "--workers"]).as_deref(), Some("2"));
    assert_eq!(programs[0].option(&["-b"]).as_deref(), Some("127.0.0.1:8000"));
}
