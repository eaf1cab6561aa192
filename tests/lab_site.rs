//! `hactl site` on a real host: a second site comes, is migrated, looked into, and goes; a backup of it stays.

mod common;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use common::stack::{Options, Said, Serves, Stack};
use serde_json::Value;

const BENCH: &str = "/srv/frappe/bench";
const SECOND: &str = "two.example.com";

/// One stack for all: booting and building is what takes time.
#[test]
fn a_site_comes_and_goes() {
    let stack = Stack::boot(30, Serves::MiniFrappe, false);
    stack.edit_inventory("sites:\n", "sites: # ours\n");
    // A host where everything may leave core files.
    stack.on_host(
        "mkdir -p /etc/systemd/system.conf.d && printf '[Manager]\\nDefaultLimitCORE=infinity\\n' >/etc/systemd/system.conf.d/core.conf && \
         systemctl daemon-reexec && echo 'root soft core unlimited' >/etc/security/limits.d/core.conf",
    );
    let _ = stack.apply(&[]).exits(0);

    what_is_wrong_changes_nothing(&stack);
    a_second_site_is_made(&stack);
    both_are_listed(&stack);
    it_is_migrated(&stack);
    its_console_answers(&stack);
    only_hactls_own_shells_have_no_core_files(&stack);
    let kept = it_is_dropped_with_a_backup(&stack);
    it_comes_back_from_its_backup(&stack, &kept);
    a_drop_that_was_cut_off_is_finished(&stack);
    what_is_not_its_own_is_not_dropped(&stack);
}

fn inventory(stack: &Stack) -> String {
    std::fs::read_to_string(&stack.inventory).unwrap()
}

fn sites(said: &Said) -> Vec<Value> {
    let events = said.events();
    events.into_iter().filter(|event| event["event"] == "site").collect()
}

fn list(stack: &Stack) -> Vec<Value> {
    sites(&stack.hactl(&["site", "list", "--format", "json"]).exits(0))
}

/// Asks a site by its name, whatever the test's own is.
fn fetch(stack: &Stack, site: &str, path: &str, more: &[&str]) -> (u16, String) {
    let output = std::process::Command::new("curl")
        .args(["-sk", "--max-time", "20", "-w", "\n%{http_code}", "--resolve"])
        .arg(format!("{site}:443:{}", stack.address))
        .args(more)
        .arg(format!("https://{site}{path}"))
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, code) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (code.parse().unwrap_or(0), body.to_owned())
}

fn what_is_wrong_changes_nothing(stack: &Stack) {
    let before = inventory(stack);
    for (words, code, says) in [
        (&["site", "create", "erp.example.com", "--yes"][..], 2, "inventory.yml:"),
        (&["site", "create", "a b; $(id)", "--yes"], 2, "is no host name"),
        (&["site", "create", "../etc", "--yes"], 2, "is no host name"),
        (
            &["site", "create", "x.example.com", "--apps", "nothere", "--yes"],
            2,
            "not among `app.apps`",
        ),
        (&["site", "create", "x.example.com"], 2, "it cannot"),
        (&["site", "drop", "erp.example.com"], 7, "only site"),
        (&["site", "drop", "nobody.example.com", "--yes"], 2, "no host has it"),
        (
            &["site", "migrate", "nobody.example.com", "--yes"],
            2,
            "there is no site",
        ),
        (
            &["site", "console", "erp.example.co"],
            2,
            "did you mean `erp.example.com`?",
        ),
    ] {
        let said = stack.hactl(words).exits(code);
        assert!(said.stderr.contains(says), "{words:?}: {}", said.stderr);
    }
    assert_eq!(inventory(stack), before);
}

fn a_second_site_is_made(stack: &Stack) {
    let before = inventory(stack);
    nothing_is_written_when_no_host_is_changed(stack);
    let said = stack
        .hactl(&["site", "create", SECOND, "--yes", "--format", "json"])
        .exits(0);
    assert!(said.summary()["changed"].as_u64() >= Some(5), "{}", said.summary());
    assert_eq!(
        inventory(stack),
        before.replace(
            "  - { name: erp.example.com }\n",
            "  - { name: erp.example.com }\n  - { name: two.example.com }\n"
        )
    );
    let (code, pong) = fetch(stack, SECOND, "/api/method/ping", &[]);
    assert_eq!((code, pong.as_str()), (200, r#"{"message":"pong"}"#));
    // Its own database: what is noted in one is not in the other.
    let note = ["-d", "text=kept for ever"];
    assert_eq!(fetch(stack, SECOND, "/api/method/frappe.notes.add", &note).0, 200);
    let writes = |site: &str| {
        let (code, body) = fetch(stack, site, "/api/method/frappe.notes.state", &[]);
        assert_eq!(code, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["message"]["db_writes"].clone()
    };
    assert_eq!((writes(SECOND), writes("erp.example.com")), (1.into(), 0.into()));
    let names = stack.hactl(&["secrets", "show-names"]).exits(0).stdout;
    assert!(names.contains("site/two.example.com/admin"), "{names}");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// Another run takes the host between the plan and the first change. To this one it looks like a run of hactl.
const HOLD: &str = r#"
mkdir -p /run/hactl/runs/other
born=$(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 20)
printf '%s %s other\nalice@laptop, since now: apply\n' $$ "$born" >/run/hactl/holder
while [ ! -e /run/release ]; do cut -d . -f 1 /proc/uptime >/run/hactl/runs/other/heard; sleep 0.2; done
"#;

fn nothing_is_written_when_no_host_is_changed(stack: &Stack) {
    let before = inventory(stack);
    let hook = |run: &str| {
        let text = format!("{before}hooks: {{ before_apply: [ {run} ] }}\n");
        std::fs::write(&stack.inventory, &text).unwrap();
        text
    };
    let with_hook = hook("'false'");
    let _ = stack.hactl(&["site", "create", SECOND, "--yes"]).exits(7);
    assert_eq!(inventory(stack), with_hook);

    stack.on_host(&format!("cat >/root/hold <<'END'{HOLD}END"));
    let ssh = stack.ssh(
        "setsid flock /run/hactl/lock sh /root/hold >/dev/null 2>&1 </dev/null & \
         until ! flock -n /run/hactl/lock true && [ -e /run/hactl/runs/other/heard ]; do sleep 0.1; done",
    );
    let words: Vec<_> = std::iter::once(ssh.get_program()).chain(ssh.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    std::fs::write(stack.folder().join("take"), hactl::quote::sh_words(&words)).unwrap();
    let with_hook = hook("sh ./take");
    let locked = stack.hactl(&["site", "create", SECOND, "--yes"]).exits(6);
    let text = locked.stdout + &locked.stderr;
    assert!(text.contains("alice@laptop") && text.contains("was added to"), "{text}");
    assert!(text.contains("is as it was"), "{text}");
    assert_eq!(inventory(stack), with_hook);
    stack.on_host("touch /run/release; flock -w 10 /run/hactl/lock rm -r /run/hactl/runs/other");
    std::fs::write(&stack.inventory, before).unwrap();
}

fn both_are_listed(stack: &Stack) {
    let listed = list(stack);
    assert_eq!(listed.len(), 2, "{listed:?}");
    for site in &listed {
        assert_eq!(
            (&site["host"], &site["in_inventory"]),
            (&"srv1".into(), &true.into()),
            "{site}"
        );
        assert_eq!(
            (&site["maintenance"], &site["scheduler"]),
            (&false.into(), &true.into()),
            "{site}"
        );
        assert_eq!(site["apps"][0]["name"], "frappe", "{site}");
        assert_eq!(site["apps"][0]["version"], "15.51.2", "{site}");
        assert_eq!(site["apps"][1]["name"], "minierp", "{site}");
        assert!(site["database_bytes"].as_u64() > Some(0), "{site}");
        assert!(site["files_bytes"].as_u64() > Some(0), "{site}");
        assert_eq!(site["remark"], "", "{site}");
    }
    assert_ne!(listed[0]["database"], listed[1]["database"]);
    let text = stack.hactl(&["site", "list"]).exits(0).stdout;
    println!("{text}");
    assert!(text.contains("frappe 15.51.2, minierp 1.0.0"), "{text}");
}

fn it_is_migrated(stack: &Stack) {
    let database = database(stack);
    stack.on_host(&format!(
        "mariadb -e 'DELETE FROM `{database}`.`tabInstalled Application`; DELETE FROM `{database}`.`tabPatch Log`; \
         DROP TABLE `{database}`.`tabSales Order`'"
    ));
    let said = stack
        .hactl(&["site", "migrate", SECOND, "--yes", "--format", "json"])
        .exits(0);
    assert_eq!(said.summary()["changed"], 2, "{}", said.summary());
    assert_eq!(
        stack.on_host(&format!(
            "mariadb -N -e 'SELECT COUNT(*) FROM `{database}`.`tabPatch Log`'"
        )),
        "1"
    );
    let _ = stack.hactl(&["site", "migrate", "--yes"]).exits(0);
    let runs = stack.hactl(&["history"]).exits(0).stdout;
    assert!(runs.contains("site migrate") && runs.contains("site create"), "{runs}");
    // A migration that fails keeps people out.
    let rename = |from: &str, to: &str| {
        stack.on_host(&format!(
            "mariadb -e 'RENAME TABLE `{database}`.`{from}` TO `{database}`.`{to}`'"
        ));
    };
    rename("tabPatch Log", "away");
    let failed = stack.hactl(&["site", "migrate", SECOND, "--yes"]).exits(4);
    let text = failed.stdout + &failed.stderr;
    assert!(text.contains("stays in maintenance mode"), "{text}");
    assert_eq!(fetch(stack, SECOND, "/api/method/ping", &[]).0, 503);
    let second = list(stack).into_iter().find(|site| site["site"] == SECOND).unwrap();
    assert_eq!(second["maintenance"], true, "{second}");
    rename("away", "tabPatch Log");
    let _ = stack.hactl(&["site", "migrate", SECOND, "--yes"]).exits(0);
    assert_eq!(fetch(stack, SECOND, "/api/method/ping", &[]).0, 200);
}

fn database(stack: &Stack) -> String {
    database_of(stack, SECOND)
}

fn database_of(stack: &Stack, name: &str) -> String {
    let listed = list(stack);
    let site = listed.iter().find(|site| site["site"] == name).expect("it is listed");
    site["database"].as_str().expect("a database").to_owned()
}

fn its_console_answers(stack: &Stack) {
    for (expression, answer, code) in [
        (
            "print('site', frappe.local.site, frappe.db.sql('SELECT COUNT(*) FROM tabNote')[0][0])\n",
            "site two.example.com 1",
            0,
        ),
        (
            "import os\nprint('user', os.getuid())\nraise SystemExit(3)\n",
            "user 1990",
            3,
        ),
    ] {
        let mut child = stack
            .command(&["site", "console", SECOND])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hactl starts");
        child.stdin.take().unwrap().write_all(expression.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let (said, errors) = (
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
        );
        assert_eq!(out.status.code(), Some(code), "{said}{errors}");
        assert!(said.contains(answer), "{said}{errors}");
    }
}

/// What hactl runs on a host leaves no core file; what it starts for good is systemd's, with systemd's limits.
fn only_hactls_own_shells_have_no_core_files(stack: &Stack) {
    assert_eq!(stack.on_host("ulimit -S -c"), "unlimited", "a login of somebody else");
    let said = stack.hactl(&["exec", "--", "sh", "-c", "ulimit -S -c"]).exits(0).stdout;
    assert_eq!(said.trim(), "srv1 | 0");
    for process in [
        "mariadbd",
        "gunicorn",
        "redis-server",
        "nginx",
        "supervisord",
        "socketio.js",
    ] {
        let limit = stack.on_host(&format!(
            "grep 'Max core file size' /proc/$(pgrep -o -f {process})/limits | tr -s ' ' | cut -d ' ' -f 5"
        ));
        assert_eq!(limit, "unlimited", "{process}");
    }
}

/// Gives the folder where it is kept.
fn it_is_dropped_with_a_backup(stack: &Stack) -> String {
    let database = database(stack);
    let before = inventory(stack);
    let refused = stack.hactl(&["site", "drop", SECOND]).exits(7);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(inventory(stack), before);
    assert_eq!(fetch(stack, SECOND, "/api/method/ping", &[]).0, 200);

    let said = stack
        .hactl(&["site", "drop", SECOND, "--yes", "--format", "json"])
        .exits(0);
    let archived = said
        .events()
        .into_iter()
        .find(|event| event["event"] == "archived")
        .expect("where it is");
    let folder = archived["path"].as_str().unwrap().to_owned();
    println!("{archived}");
    assert_eq!(inventory(stack), before.replace("  - { name: two.example.com }\n", ""));
    // Nothing is left that serves it, or that it could be served from.
    assert_ne!(fetch(stack, SECOND, "/api/method/ping", &[]).0, 200);
    assert_eq!(fetch(stack, "erp.example.com", "/api/method/ping", &[]).0, 200);
    let left = stack.on_host(&format!(
        "ls -d {BENCH}/sites/{SECOND} /etc/nginx/tls/{SECOND}.* /var/lib/hactl/stamps/*{SECOND} 2>/dev/null; \
         mariadb -N -e \"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='{database}'; \
         SELECT User FROM mysql.global_priv WHERE User='{database}'\"; grep -rl {SECOND} /etc/nginx || true"
    ));
    assert_eq!(left, "");
    assert_eq!(list(stack).len(), 1);
    // The dump is whole: it makes the site's data again.
    assert_eq!(
        stack.on_host(&format!("stat -c '%a %U' {folder} {folder}/database.sql.gz")),
        "700 root\n600 root"
    );
    let text = stack.on_host(&format!(
        "mariadb -e 'CREATE DATABASE proof' && gzip -dc {folder}/database.sql.gz | mariadb proof && \
         mariadb -N -e 'SELECT text FROM proof.tabNote' && mariadb -e 'DROP DATABASE proof' && \
         grep -c encryption_key {folder}/site/site_config.json"
    ));
    assert_eq!(text, "kept for ever\n1");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    let again = stack.hactl(&["site", "drop", SECOND, "--yes"]).exits(2);
    assert!(again.stderr.contains("no host has it"), "{}", again.stderr);
    // Its secrets are still there.
    let names = stack.hactl(&["secrets", "show-names"]).exits(0).stdout;
    assert!(names.contains("site/two.example.com/encryption_key"), "{names}");
    folder
}

/// As docs/sites.md says.
fn it_comes_back_from_its_backup(stack: &Stack, kept: &str) {
    let _ = stack.hactl(&["site", "create", SECOND, "--yes"]).exits(0);
    let database = database(stack);
    stack.on_host(&format!(
        "cd {kept} && gzip -dc database.sql.gz | mariadb {database} && \
         for part in public private; do cp -a site/$part/. {BENCH}/sites/{SECOND}/$part/; done"
    ));
    let _ = stack.hactl(&["site", "migrate", SECOND, "--yes"]).exits(0);
    let (code, body) = fetch(stack, SECOND, "/api/method/frappe.notes.state", &[]);
    assert_eq!(code, 200, "{body}");
    assert!(
        body.contains(r#""db_writes": 1"#) || body.contains(r#""db_writes":1"#),
        "{body}"
    );
    let key = |folder: &str| {
        stack.on_host(&format!(
            "grep -o '\"encryption_key\": *\"[^\"]*' {folder}/site_config.json"
        ))
    };
    assert_eq!(key(&format!("{BENCH}/sites/{SECOND}")), key(&format!("{kept}/site")));
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// kill -9 of hactl when the database goes: the same words again finish it, and what was kept is whole.
fn a_drop_that_was_cut_off_is_finished(stack: &Stack) {
    assert_eq!(
        fetch(stack, SECOND, "/api/method/frappe.notes.add", &["-d", "text=cut"]).0,
        200
    );
    let database = database(stack);
    let words = ["site", "drop", SECOND, "--yes", "--format", "json"];
    let at = |line: &str| line.contains("\"step_started\"") && line.contains("run drop of the database");
    let mut running = stack.started_until(&words, &[], at).expect("it came to the database");
    running.kill();
    let _ = running.ends_within(Duration::from_secs(10));
    assert!(
        !inventory(stack).contains(SECOND),
        "it is taken out before anything is done"
    );

    let listed = list(stack);
    println!("killed with {listed:?} there");
    assert!(
        listed.iter().any(|site| site["site"] == SECOND && site["remark"] != ""),
        "{listed:?}"
    );
    let said = stack.hactl(&words).exits(0);
    let archived = said
        .events()
        .into_iter()
        .find(|event| event["event"] == "archived")
        .expect("where it is");
    let folder = archived["path"].as_str().unwrap();
    let kept = format!("gzip -dc {folder}/database.sql.gz | grep -c \"'cut'\"; ls {folder}/site/site_config.json");
    assert_eq!(stack.on_host(&kept), format!("1\n{folder}/site/site_config.json"));
    let left = format!(
        "mariadb -N -e \"SELECT COUNT(*) FROM mysql.global_priv WHERE User='{database}'\"; ls -d {BENCH}/archived_sites/*.dropping 2>/dev/null || true"
    );
    assert_eq!(stack.on_host(&left), "0");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// Nothing of a site but its folder, and a configuration that names what is not its own: nothing is taken that is others'.
fn what_is_not_its_own_is_not_dropped(stack: &Stack) {
    let ours = database_of(stack, "erp.example.com");
    stack.on_host("mariadb -e 'CREATE DATABASE payroll; CREATE TABLE payroll.salaries AS SELECT 1 AS id'");
    for (name, says) in [
        (ours.as_str(), "which is that of erp.example.com"),
        ("payroll", "no site's database"),
    ] {
        stack.on_host(&format!(
            "mkdir -p {BENCH}/sites/foreign.example.com && echo '{{\"db_name\": \"{name}\"}}' >{BENCH}/sites/foreign.example.com/site_config.json"
        ));
        let refused = stack.hactl(&["site", "drop", "foreign.example.com", "--yes"]).exits(7);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    assert_eq!(
        stack.on_host("mariadb -N -e 'SELECT COUNT(*) FROM payroll.salaries'"),
        "1"
    );
    assert_eq!(fetch(stack, "erp.example.com", "/api/method/ping", &[]).0, 200);
    stack.on_host(&format!("rm -r {BENCH}/sites/foreign.example.com"));
}

/// A WSGI app's sites are names of the one app.
#[test]
fn a_name_of_a_wsgi_app_comes_and_goes() {
    let stack = Stack::with(Options::warm(31));
    let _ = stack.apply(&[]).exits(0);
    let before = inventory(&stack);
    let _ = stack.hactl(&["site", "create", SECOND, "--yes"]).exits(0);
    assert_eq!(fetch(&stack, SECOND, "/health", &[]).0, 200);
    let listed = list(&stack);
    assert_eq!(listed.len(), 2, "{listed:?}");
    for site in &listed {
        assert_eq!(
            (&site["database"], &site["in_inventory"]),
            (&"guestbook".into(), &true.into()),
            "{site}"
        );
        assert_eq!(site["apps"][0]["version"].as_str().map(str::len), Some(12), "{site}");
    }
    let mut child = stack
        .command(&["site", "console", SECOND])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("hactl starts");
    let expression = b"import guestbook, os\nprint(os.environ['DB_NAME'], os.getuid())\n";
    child.stdin.take().unwrap().write_all(expression).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(
        (String::from_utf8_lossy(&out.stdout).trim(), out.status.code()),
        ("guestbook 1990", Some(0))
    );
    let _ = stack.hactl(&["site", "migrate", "--yes"]).exits(2);
    let _ = stack.hactl(&["site", "drop", SECOND, "--yes"]).exits(0);
    assert_eq!(inventory(&stack), before);
    assert_eq!(list(&stack).len(), 1);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    let again = stack.hactl(&["site", "drop", SECOND, "--yes"]).exits(2);
    assert!(again.stderr.contains("no host has it"), "{}", again.stderr);
}
