//! Hostile values on a real host: what is written in the inventory and in secrets arrives as it is, and nothing runs.

mod common;

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use common::stack::{Serves, Stack};
use hactl::inventory::secrets::{Keyring, set};
use hactl::quote::sh;
use hactl::secret::Secret;
use serde_json::{Value, json};

/// What breaks out of shells, SQL, templates, option files, supervisord's and nginx's configuration, and URLs.
const VALUES: &[&str] = &[
    "'",
    "\"",
    "\\",
    "\\'",
    "\\\"",
    "'\\''",
    "`touch /canary`",
    "$(touch /canary)",
    "; touch /canary",
    "| touch /canary",
    "&& touch /canary",
    "' ; touch /canary; '",
    "\"; touch /canary; \"",
    "$HOME",
    "${HOME:-x}",
    "$$",
    "$",
    "%",
    "%%",
    "%(ENV_HOME)s",
    "%(program_name)s",
    "100% of it",
    "# not a comment",
    "a # b",
    "a ; b",
    " leading",
    "trailing ",
    "  ",
    "!",
    "!!",
    "~",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "{{ 7 * 7 }}",
    "{{ secret(name=\"redis/cache\") }}",
    "{% raw %}",
    "}}",
    "%}",
    "{# x #}",
    "'; DROP DATABASE mysql; -- ",
    "' OR '1'='1",
    "\\'; SELECT 1; #",
    "\\! touch /canary",
    "/* x */",
    "$remote_addr",
    "} location / { deny all; }",
    "ü",
    "日本語",
    "😀",
    "a\u{301}",
    "-",
    "--help",
    "-rf /",
    "a=b",
    "a,b",
    "a:b",
    "null",
    "true",
    "0755",
    "1e3",
    "<script>alert(1)</script>",
    "&amp;",
    "\\x41",
    "\\n",
    "\\0",
    "é\\é'é\"é$é",
    "\u{200e}",
];

/// Passwords: all of them for the database, the cache and the queue at once.
const PASSWORDS: [&str; 2] = [
    "q'u\"o$t%e s\\p`a;c#e ü€😀 ' \\\\ \" $(touch /canary) %20 +&=?/@:",
    "\\'; DROP USER root@localhost; -- \\",
];

/// A python that leaves its last arguments where the test finds them.
fn note(name: &str, value: &str) -> String {
    let program = "import sys, json; json.dump(sys.argv[2:], open(sys.argv[1], \"w\"))";
    format!("python -c {} /home/app/{name} {}", sh(program), sh(value))
}

fn worker(name: &str, value: &str) -> Value {
    json!({ "name": name, "command": format!("{}; exec sleep infinity", note(name, value)) })
}

/// The inventory that the stack made, with hostile values wherever free text goes.
fn inventory(plain: &str, shift: usize) -> String {
    let value = |at: usize| VALUES[(at + shift) % VALUES.len()];
    let (head, rest) = plain.split_once("app:\n").expect("an app");
    let env: serde_json::Map<String, Value> = VALUES
        .iter()
        .enumerate()
        .map(|(at, _)| (format!("H{at}"), json!(value(at))))
        .chain([("LONG".to_owned(), json!("x'".repeat(30_000)))])
        .collect();
    let mut workers = vec![json!({ "name": "jobs", "command": "python -m guestbook.worker" })];
    workers.extend((0..6).map(|at| worker(&format!("w{at}"), value(7 * at))));
    let app = json!({
        "kind": "wsgi",
        "url": rest.split_whitespace().find(|word| word.starts_with("git://")).expect("a url"),
        "ref": "v1",
        "module": "guestbook:app",
        "health": "/health",
        "migrate": format!("python -m guestbook.migrate && {}", note("migrated", value(3))),
        "env": env,
        "workers": workers,
    });
    let mut out = head.to_owned();
    writeln!(out, "app: {app}").expect("text");
    let settings = json!({ "settings": { "init_slave": value(11), "wsrep_sst_donor": value(5), "wsrep_notify_cmd": value(9), "report_host": value(13) } });
    writeln!(out, "mariadb: {settings}").expect("text");
    writeln!(
        out,
        "system: {}",
        json!({ "sysctl": { "kernel.hactl_a": value(15).trim(), "kernel.hactl_b": "x; touch /canary" } })
    )
    .expect("text");
    out.push_str("sites:\n  - { name: erp.example.com, admin_password: !secret 'env:HOME' }\n");
    out
}

fn set_passwords(stack: &Stack, password: &str) {
    let loaded = hactl::inventory::load(&stack.inventory).unwrap_or_else(|error| panic!("{error}"));
    let keyring = Keyring {
        identity: None,
        home: Some(stack.folder().to_owned()),
        ask: Keyring::nobody(),
    };
    for name in ["app/database", "redis/cache", "redis/queue"] {
        set(&loaded.inventory, &keyring, name, Secret::new(password)).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What a command of the host printed, byte for byte.
fn bytes(stack: &Stack, script: &str) -> Vec<u8> {
    let text = stack.on_host(&format!("{{ {script}\n}} | base64 -w0"));
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

fn text(stack: &Stack, script: &str) -> String {
    String::from_utf8(bytes(stack, script)).expect("UTF-8")
}

fn read_back(stack: &Stack, shift: usize, password: &str) {
    let value = |at: usize| VALUES[(at + shift) % VALUES.len()];
    // The environment of the process that serves.
    let environ = text(stack, "cat /proc/$(pgrep -u app -o -f gunicorn)/environ");
    let variable = |name: &str| {
        environ
            .split('\0')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name}"))
    };
    for at in 0..VALUES.len() {
        assert_eq!(variable(&format!("H{at}")), value(at));
    }
    assert_eq!(variable("LONG"), "x'".repeat(30_000));
    assert_eq!(variable("DB_PASSWORD"), password);
    // Arguments of the workers and of the migration.
    let argument = |name: &str| -> Vec<String> {
        serde_json::from_str(&text(stack, &format!("cat /home/app/{name}"))).expect("arguments")
    };
    for at in 0..6 {
        assert_eq!(argument(&format!("w{at}")), [value(7 * at)]);
    }
    if shift == 0 {
        assert_eq!(
            argument("migrated"),
            [value(3)],
            "the migration runs once for a release"
        );
    }
    // MariaDB: its variables, and its accounts through the password.
    for (name, at) in [
        ("init_slave", 11),
        ("wsrep_sst_donor", 5),
        ("wsrep_notify_cmd", 9),
        ("report_host", 13),
    ] {
        let read = text(stack, &format!("mariadb --no-defaults -Nre 'SELECT @@global.{name}'"));
        let config = text(stack, "grep -A9 settings /etc/mysql/mariadb.conf.d/60-hactl.cnf");
        assert_eq!(read.trim_end_matches('\n'), value(at), "{name}: {config}");
    }
    let database = text(
        stack,
        "set -a; . /srv/guestbook/env; MYSQL_PWD=$DB_PASSWORD mariadb --no-defaults -h 127.0.0.1 -u guestbook -Ne 'SELECT CURRENT_USER()'",
    );
    assert_eq!(database, "guestbook@127.0.0.1\n");
    assert_eq!(
        text(
            stack,
            "mariadb --no-defaults -Ne \"SELECT COUNT(*) FROM mysql.global_priv WHERE User='root'\""
        ),
        "1\n"
    );
    // Redis knows a password by its digest, whichever way it was set; there is one, and it logs in.
    let digest = text(stack, &format!("printf %s {} | sha256sum", sh(password)));
    let digest = digest.split(' ').next().unwrap_or_default().to_owned();
    for port in [13000, 11000] {
        let users = text(
            stack,
            &format!("REDISCLI_AUTH={} redis-cli -p {port} ACL LIST", sh(password)),
        );
        let known: Vec<_> = users
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('#'))
            .collect();
        assert_eq!(known, [digest.as_str()], "{port}: {users}");
    }
    assert!(text(stack, "cat /etc/sysctl.d/60-hactl.conf").contains("\nkernel.hactl_b = x; touch /canary\n"));
    // The site serves, and writes to all three.
    assert_eq!(
        stack.fetch("/entries", &["-d", "author=Ada", "-d", "text=hello"]).0 / 100,
        3
    );
    stack.wait_until("the worker did the job", || {
        let state: Value = serde_json::from_str(&stack.fetch("/api/state", &[]).1).unwrap_or_default();
        ["db_writes", "redis_counter", "jobs_done"]
            .iter()
            .all(|key| state[key].as_u64() >= Some(1))
    });
    assert_eq!(
        stack.on_host("find / -xdev -name 'canary*' -not -path '/proc/*'"),
        "",
        "a value was executed"
    );
}

#[test]
fn hostile_values_arrive_as_they_are() {
    let stack = Stack::boot(80, Serves::Guestbook, true);
    let plain = std::fs::read_to_string(&stack.inventory).expect("the inventory");
    for (round, password) in PASSWORDS.into_iter().enumerate() {
        let shift = round * 17;
        let text = inventory(&plain, shift);
        std::fs::write(&stack.inventory, text).expect("an inventory");
        set_passwords(&stack, password);
        let said = stack.apply(&["--verbose"]);
        for secret in password.split(' ').filter(|part| part.len() > 8) {
            assert!(
                !said.stdout.contains(secret) && !said.stderr.contains(secret),
                "a password was printed"
            );
        }
        let _ = said.exits(0);
        let again = stack.hactl(&["plan", "--exit-code"]);
        assert_eq!(again.code, 0, "{}", again.stdout);
        read_back(&stack, shift, password);
    }
    let journals = stack.folder().join(".local/state/hactl");
    assert!(Path::new(&journals).exists());
    let grep = std::process::Command::new("grep")
        .args(["-rlF", "DROP USER root"])
        .arg(&journals)
        .output()
        .expect("grep");
    assert!(
        grep.stdout.is_empty(),
        "a password is in the journal: {}",
        String::from_utf8_lossy(&grep.stdout)
    );
}
