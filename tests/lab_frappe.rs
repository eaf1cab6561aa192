//! `kind: frappe` on a real host: a bench made without `bench`, a site in it, and what must never happen to one.
//!
//! The application is tests/fixtures/minifrappe: Frappe's commands, files, tables and processes in small, installed,
//! built and run by the same steps. Its README says what it is not. Frappe itself is applied by hand; it takes minutes.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::stack::{Serves, Stack};
use serde_json::Value;

const BENCH: &str = "/srv/frappe/bench";

/// Waits until a site is half made in the database, kills what makes it, and says what is there then.
const KILL_IN_THE_MIDDLE: &str = "\
    unfinished() { mariadb -N -e \"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_NAME LIKE '\\_\\_hactl\\_unfinished%'\" 2>/dev/null; }\n\
    tries=0\n\
    until [ -n \"$(unfinished)\" ]; do tries=$((tries + 1)); [ $tries -lt 6000 ] || exit 1; sleep 0.02; done\n\
    kill -9 $(pgrep -f [b]ench/site.py)\n\
    unfinished";

fn finished(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .filter(|event| event["event"] == "step_finished" && event["outcome"] == "changed")
        .map(|event| event["step"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn state(stack: &Stack) -> Value {
    let (code, body) = stack.fetch("/api/method/frappe.notes.state", &[]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["message"].clone()
}

/// A whole life of one site, in the order in which an operator meets it; booting is too dear for a host per check.
#[test]
fn from_bare_to_a_site_that_is_never_lost() {
    let stack = Stack::boot(53, Serves::MiniFrappe, false);
    stack.edit_inventory(
        "{ name: erp.example.com }",
        "{ name: erp.example.com, admin_password: lab-pass }",
    );
    // Frappe's own tick is a minute.
    stack.edit_inventory(
        "kind: frappe\n",
        "kind: frappe\n  config: { scheduler_tick_interval: 1 }\n",
    );

    a_killed_creation_is_healed(&stack);
    it_serves(&stack);
    private_files_are_their_owners(&stack);
    second_apply_finds_nothing_to_do(&stack);
    a_release_is_built_beside_the_old_one(&stack);
    a_lost_folder_is_made_again_around_the_database(&stack);
    a_foreign_database_is_left_alone(&stack);
    what_an_app_wrote_is_kept_and_what_somebody_broke_is_mended(&stack);
}

/// kill -9 of hactl when the step of the site began, and of what makes the site when it is half made; then a plain apply
/// ends with the whole site, and the one after has nothing to do.
fn a_killed_creation_is_healed(stack: &Stack) {
    let killer = stack
        .ssh(KILL_IN_THE_MIDDLE)
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh");
    let at = stack.apply_killed_at("run site erp.example.com", Duration::ZERO);
    assert!(at.is_some(), "the run came to the site");
    let killer = killer.wait_with_output().expect("ssh ends");
    let left = String::from_utf8_lossy(&killer.stdout).into_owned();
    assert!(
        killer.status.success() && left.contains("__hactl_unfinished_"),
        "{left}"
    );

    let healed = stack.apply(&[]).exits(0);
    let steps = finished(&healed.events());
    println!("killed with {left:?} there; healed by {steps:?}");
    assert!(steps.contains(&"run site erp.example.com".to_owned()), "{steps:?}");
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// Through nginx, over TLS, by the site's name.
fn it_serves(stack: &Stack) {
    let (code, pong) = stack.fetch("/api/method/ping", &[]);
    assert_eq!((code, pong.as_str()), (200, r#"{"message":"pong"}"#));

    let (code, page) = stack.fetch("/login", &[]);
    assert_eq!(code, 200, "{page}");
    let asset = page.split('"').find(|part| part.starts_with("/assets/")).expect(&page);
    assert_eq!(asset.split('.').count(), 4, "a name with a hash: {asset}");
    assert_eq!(stack.fetch(asset, &[]).0, 200, "{asset}");
    let headers = stack.fetch(asset, &["-I"]).1.to_lowercase();
    assert!(headers.contains("cache-control: max-age=31536000"), "{headers}");

    let (code, hello) = stack.fetch("/socket.io/?EIO=4&transport=polling", &[]);
    assert_eq!(code, 200, "{hello}");
    assert!(hello.starts_with(r#"0{"sid""#), "{hello}");

    let (code, added) = stack.fetch("/api/method/frappe.notes.add", &["-d", "text=hello"]);
    assert_eq!(code, 200, "{added}");
    stack.wait_until("a worker did the job, the scheduler ticked", || {
        let state = state(stack);
        state["jobs_done"].as_u64() >= Some(1) && state["ticks"].as_u64() >= Some(1)
    });
    let scheduler = stack.on_host(&format!(
        "runuser -u frappe -- {BENCH}/run python -m frappe.utils.bench_helper frappe --site erp.example.com scheduler status -f json"
    ));
    assert!(scheduler.contains(r#""status": "enabled""#), "{scheduler}");
    assert_eq!(state(stack)["apps"], serde_json::json!(["frappe", "minierp"]));

    // What is nobody's to read.
    for path in ["/common_site_config.json", "/erp.example.com/site_config.json"] {
        assert_eq!(stack.fetch(path, &[]).0, 404, "{path}");
    }
}

fn private_files_are_their_owners(stack: &Stack) {
    let (jar, note) = (stack.folder().join("jar"), stack.folder().join("note.txt"));
    let (jar, upload) = (jar.display().to_string(), format!("file=@{}", note.display()));
    std::fs::write(&note, "top secret\n").unwrap();
    let login = ["-c", &jar, "-d", "usr=Administrator", "-d", "pwd=lab-pass"];
    assert_eq!(stack.fetch("/api/method/login", &login).0, 200);
    let (code, sent) = stack.fetch(
        "/api/method/upload_file",
        &["-b", &jar, "-F", &upload, "-F", "is_private=1"],
    );
    assert_eq!(code, 200, "{sent}");
    let path = "/private/files/note.txt";
    assert_eq!(stack.fetch(path, &["-b", &jar]), (200, "top secret\n".to_owned()));
    assert_eq!(stack.fetch(path, &[]).0, 403);
    assert_eq!(stack.fetch(&format!("/protected{path}"), &["-b", &jar]).0, 404);
}

fn second_apply_finds_nothing_to_do(stack: &Stack) {
    let second = stack.apply(&[]).exits(0).summary();
    println!("second apply: {second}");
    assert_eq!(second["changed"], 0, "{second}");
    assert!(second["unchanged"].as_u64() > Some(60), "{second}");
    assert_eq!(second["hosts"][0]["round_trips"], 1, "{second}");
    let _ = stack.hactl(&["plan", "--exit-code"]).exits(0);
    let _ = stack.hactl(&["status"]).exits(0);
}

/// Another ref is another release; the old one stays as it was, and going back to it builds nothing.
fn a_release_is_built_beside_the_old_one(stack: &Stack) {
    let current = || stack.on_host(&format!("readlink -f {BENCH}/current"));
    let content = |release: &str| {
        stack.on_host(&format!(
            "cd {release} && find apps sites env/bin -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum"
        ))
    };
    let old = current();
    let before = content(&old);
    stack.edit_inventory("ref: v1", "ref: main");
    let built = finished(&stack.apply(&[]).exits(0).events());
    assert!(
        built.iter().any(|step| step.starts_with("run assets of release ")),
        "{built:?}"
    );
    assert_ne!(current(), old);
    assert_eq!(content(&old), before, "the release that served meanwhile is untouched");
    assert_eq!(stack.fetch("/api/method/ping", &[]).0, 200);
    assert_eq!(state(stack)["db_writes"], 1);
    let running = |release: &str| {
        let count = stack.on_host(&format!("grep -lzs '^RELEASE={release}$' /proc/[0-9]*/environ | wc -l"));
        count.parse::<u32>().unwrap()
    };
    assert_eq!(running(&old), 0, "nothing runs from the old release any more");
    assert!(running(&current()) >= 5, "web, socketio, schedule and two workers do");

    stack.edit_inventory("ref: main", "ref: v1");
    let back = finished(&stack.apply(&[]).exits(0).events());
    assert!(!back.iter().any(|step| step.contains(" of release ")), "{back:?}");
    assert_eq!(current(), old);
    assert_eq!(stack.fetch("/api/method/ping", &[]).0, 200);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// A site is its database: when its folder is gone, the folder comes back and the data stays.
fn a_lost_folder_is_made_again_around_the_database(stack: &Stack) {
    let key = |stack: &Stack| {
        stack.on_host(&format!(
            "grep encryption_key {BENCH}/sites/erp.example.com/site_config.json"
        ))
    };
    let before = key(stack);
    stack.on_host(&format!("rm -r {BENCH}/sites/erp.example.com"));
    let _ = stack.apply(&[]).exits(0);
    assert_eq!(state(stack)["db_writes"], 1, "the note is still there");
    assert_eq!(key(stack), before);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// A database with tables that hactl did not make is never emptied: the step says so, and nothing else is broken by it.
fn a_foreign_database_is_left_alone(stack: &Stack) {
    stack.on_host("mariadb -e 'CREATE DATABASE payroll; CREATE TABLE payroll.salaries AS SELECT 1 AS id'");
    stack.edit_inventory(
        "sites:\n",
        "sites:\n  - { name: other.example.com, db_name: payroll }\n",
    );
    let refused = stack.hactl(&["apply", "--yes"]).exits(4);
    let text = refused.stdout + &refused.stderr;
    assert!(text.contains("refused: the database payroll has 1 tables"), "{text}");
    assert_eq!(
        stack.on_host("mariadb -N -e 'SELECT COUNT(*) FROM payroll.salaries'"),
        "1"
    );
    assert_eq!(stack.fetch("/api/method/ping", &[]).0, 200);
    stack.edit_inventory("  - { name: other.example.com, db_name: payroll }\n", "");
    // Its folder has a configuration that leads to a site that is none.
    stack.on_host(&format!("rm -r {BENCH}/sites/other.example.com"));
    let _ = stack.apply(&[]).exits(0);
}

/// Keys that Frappe or people added to its configuration are kept; keys of hactl's come back; so does the scheduler.
fn what_an_app_wrote_is_kept_and_what_somebody_broke_is_mended(stack: &Stack) {
    let site =
        "runuser -u frappe -- /srv/frappe/bench/run python -m frappe.utils.bench_helper frappe --site erp.example.com";
    stack.on_host(&format!(
        "cd /; {site} disable-scheduler; \
         runuser -u frappe -- ln -s /root/victim {BENCH}/sites/erp.example.com/.site_config.json.hactl~; \
         python3 -c 'import json; p = \"{BENCH}/sites/erp.example.com/site_config.json\"; c = json.load(open(p)); \
         c[\"mute_emails\"] = 1; c[\"db_port\"] = 1; c[\"encryption_key\"] = \"another\"; json.dump(c, open(p, \"w\"))'"
    ));
    let mended = finished(&stack.apply(&[]).exits(0).events());
    assert_eq!(
        mended,
        [
            &format!("keys of {BENCH}/sites/erp.example.com/site_config.json"),
            "run site erp.example.com"
        ]
    );
    let config = stack.on_host(&format!("cat {BENCH}/sites/erp.example.com/site_config.json"));
    let config: Value = serde_json::from_str(&config).unwrap();
    let victim = stack.on_host("ls /root/victim 2>/dev/null || echo none");
    assert_eq!(
        victim, "none",
        "root wrote through a link that the app's user had put there"
    );
    assert_eq!((&config["mute_emails"], &config["db_port"]), (&1.into(), &3306.into()));
    // Passwords in the database are encrypted with it: hactl sets one where there is none, and changes none.
    assert_eq!(config["encryption_key"], "another");
    assert_eq!(stack.fetch("/api/method/ping", &[]).0, 200);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}
