//! Frappe on several hosts: one build for all, files of one host seen through the others, one update of all of them or of
//! none. Real hosts; the application is tests/fixtures/minifrappe.

mod common;

use std::process::Command;

use common::releases::{Flaw, minifrappe, minifrappe_release};
use common::stack::{Options, Said, Serves, Stack};
use serde_json::Value;

const BENCH: &str = "/srv/frappe/bench";
const SITE: &str = "/srv/frappe/bench/sites/erp.example.com";

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker ] }
  app2: { address: NET.12, roles: [ app, worker ] }
  db1: { address: NET.31, roles: [ db, redis ] }
";

fn release(stack: &Stack, host: &str) -> u32 {
    let (code, body) = stack.fetch_at(host, "/api/method/frappe.notes.state", &[]);
    assert_eq!(code, 200, "{host}: {body}");
    minifrappe_release(&serde_json::from_str(&body).expect("JSON")).expect("a whole release")
}

fn releases(stack: &Stack) -> [u32; 2] {
    ["11", "12"].map(|host| release(stack, host))
}

/// `HOST STEP` of each step that ended so.
fn steps(said: &Said, outcome: &str) -> Vec<String> {
    let events = said.events();
    let ended = events
        .iter()
        .filter(|event| event["event"] == "step_finished" && event["outcome"] == outcome);
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    ended
        .map(|event| format!("{} {}", word(event, "host"), word(event, "step")))
        .collect()
}

fn building(said: &Said) -> Vec<String> {
    let built = steps(said, "changed").into_iter();
    built
        .filter(|step| step.contains("run assets of") || step.contains(" run release "))
        .collect()
}

#[test]
fn several_hosts_serve_one_site() {
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        hosts: HOSTS,
        ..Options::warm(91)
    });
    stack.edit_inventory(
        "{ name: erp.example.com }",
        "{ name: erp.example.com, admin_password: lab-pass }",
    );
    let first = stack.apply(&[]).exits(0);
    let built = building(&first);
    assert_eq!(
        built.iter().filter(|step| step.contains("assets of")).count(),
        1,
        "{built:?}"
    );
    assert!(
        built.iter().any(|step| step.starts_with("app2 run release ")),
        "{built:?}"
    );
    stack.settled();

    both_serve_the_same(&stack);
    files_of_one_host_are_seen_through_the_other(&stack);
    sites_come_and_go(&stack);
    all_are_updated_or_none(&stack);
    a_host_is_added(&stack);
}

fn both_serve_the_same(stack: &Stack) {
    let page = stack.fetch_at("11", "/login", &[]);
    assert_eq!(page.0, 200, "{}", page.1);
    assert_eq!(
        stack.fetch_at("12", "/login", &[]),
        page,
        "one page names the assets of both"
    );
    let asset = page
        .1
        .split('"')
        .find(|part| part.starts_with("/assets/"))
        .expect("an asset");
    let bodies = ["11", "12"].map(|host| stack.fetch_at(host, asset, &[]));
    assert_eq!(bodies[0].0, 200);
    assert_eq!(bodies[0], bodies[1]);
    let same = |of: &str| {
        let each = ["11", "12"].map(|host| stack.on(host, of));
        assert_eq!(each[0], each[1], "{of}");
    };
    same(&format!(
        "cd {BENCH}/current && find apps sites -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum"
    ));
    // A migration leaves behind that it is over, on the host where it was.
    let keys = "import json, sys; \
                print([{k: v for k, v in json.load(open(p)).items() if k != 'maintenance_mode'} for p in sys.argv[1:]])";
    same(&format!(
        "python3 -c {} {SITE}/site_config.json {BENCH}/sites/common_site_config.json",
        hactl::quote::sh(keys)
    ));
    let list = stack.hactl(&["app", "list"]).exits(0).stdout;
    assert_eq!(list.matches(" serves ").count(), 2, "{list}");
}

fn files_of_one_host_are_seen_through_the_other(stack: &Stack) {
    let (jar, note) = (stack.folder().join("jar"), stack.folder().join("a note.txt"));
    let (jar, upload) = (jar.display().to_string(), format!("file=@{}", note.display()));
    std::fs::write(&note, "of app1\n").expect("written");
    let login = ["-c", &jar, "-d", "usr=Administrator", "-d", "pwd=lab-pass"];
    assert_eq!(stack.fetch_at("11", "/api/method/login", &login).0, 200);
    // Nobody takes anything meanwhile: what is seen comes over http.
    for host in ["11", "12"] {
        stack.on(host, "systemctl stop hactl-files.timer hactl-files.service");
    }
    for private in ["0", "1"] {
        let is_private = format!("is_private={private}");
        let sent = stack.fetch_at(
            "11",
            "/api/method/upload_file",
            &["-b", &jar, "-F", &upload, "-F", &is_private],
        );
        assert_eq!(sent.0, 200, "{}", sent.1);
    }
    let there = (200, "of app1\n".to_owned());
    for host in ["11", "12"] {
        assert_eq!(stack.fetch_at(host, "/files/a_note.txt", &[]), there, "{host}");
        assert_eq!(
            stack.fetch_at(host, "/private/files/a_note.txt", &["-b", &jar]),
            there,
            "{host}"
        );
        assert_eq!(stack.fetch_at(host, "/private/files/a_note.txt", &[]).0, 403);
        assert_eq!(stack.fetch_at(host, "/files/nowhere.txt", &[]).0, 404);
    }
    // A name with what must be quoted, and a page, which must not run as one of the site.
    stack.on(
        "11",
        &format!("cd {SITE}/public/files && echo '<p>' >'50% ä b.html' && chown frappe: *"),
    );
    let page = stack.fetch_at("12", "/files/50%25%20%C3%A4%20b.html", &["-D", "-"]);
    assert_eq!(page.0, 200, "{}", page.1);
    assert!(
        page.1.to_lowercase().contains("content-disposition: attachment"),
        "{}",
        page.1
    );
    // The hosts' own entrance is for hosts.
    let open = Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "X-Hactl-Site: erp.example.com",
        ])
        .arg(format!("http://{}:9202/files/a_note.txt", stack.address))
        .output()
        .expect("curl");
    assert_eq!(String::from_utf8_lossy(&open.stdout), "403");

    let _ = stack.apply(&[]).exits(0);
    stack.wait_until("the files are on the other's disk", || {
        let found = stack.on(
            "12",
            &format!("cd {SITE} && cat public/files/a_note.txt private/files/a_note.txt public/files/50*.html 2>/dev/null || :"),
        );
        found == "of app1\nof app1\n<p>"
    });
    // What is newer wins, whoever has it; what is no file of a site does not travel.
    stack.on("12", &format!("cd {SITE} && runuser -u frappe -- sh -c 'echo newer >public/files/a_note.txt; echo secret >private/backups/b'"));
    stack.wait_until("the newer file is on the first host", || {
        stack.on("11", &format!("cat {SITE}/public/files/a_note.txt")) == "newer"
    });
    assert_eq!(stack.on("11", &format!("ls {SITE}/private/backups")), "");
    let answer = stack.on(
        "12",
        "runuser -u frappe -- rsync -e \"$(sed -n \"s/^take app1 '\\(.*\\)' .*/\\1/p\" /usr/local/lib/hactl/files)\" \
         \"$(sed -n 's/^take app1 .* //p' /usr/local/lib/hactl/files)erp.example.com/site_config.json\" /tmp/ 2>&1 || :",
    );
    assert!(
        answer.contains("rsync error") && !answer.contains("db_password"),
        "{answer}"
    );
    assert_eq!(
        stack.on("12", "ls /tmp/site_config.json 2>/dev/null || echo none"),
        "none"
    );
}

fn all_are_updated_or_none(stack: &Stack) {
    let update = |tag: &str| {
        let set = format!("frappe={tag}");
        stack.hactl(&["app", "update", "--yes", "--format", "json", "--set", &set])
    };
    let tag = minifrappe(stack, 2, Flaw::None);
    let done = update(&tag).exits(0);
    let built = building(&done);
    assert_eq!(
        built.iter().filter(|step| step.contains("assets of")).count(),
        1,
        "{built:?}"
    );
    assert_eq!(releases(stack), [2, 2]);
    stack.settled();

    for flaw in [Flaw::Migration, Flaw::Start] {
        let tag = minifrappe(stack, 3, flaw);
        let failed = update(&tag).exits(4);
        let failures = steps(&failed, "failed");
        assert_eq!(failures.len(), 2, "{failures:?}");
        assert_eq!(releases(stack), [2, 2], "{flaw:?}");
        stack.edit_inventory(&format!("ref: {tag}"), "ref: v2");
        stack.settled();
    }
    // A host alone does not change what all have to change.
    let tag = minifrappe(stack, 4, Flaw::None);
    let set = format!("frappe={tag}");
    let alone = stack
        .hactl(&["app", "update", "--yes", "--limit", "app2", "--set", &set])
        .exits(4);
    assert!(alone.stderr.contains("no host has it whole"), "{}", alone.stderr);
    assert_eq!(releases(stack), [2, 2]);
    stack.edit_inventory(&format!("ref: {tag}"), "ref: v2");
    stack.settled();
}

fn sites_come_and_go(stack: &Stack) {
    let _ = stack
        .hactl(&[
            "site",
            "create",
            "shop.example.com",
            "--yes",
            "--admin-password",
            "file:/etc/hostname",
        ])
        .exits(0);
    stack.settled();
    for host in ["11", "12"] {
        let hello = stack.on(
            host,
            "curl -fsS -H 'Host: shop.example.com' http://127.0.0.1:8000/api/method/ping",
        );
        assert_eq!(hello, r#"{"message":"pong"}"#);
    }
    let list = stack.hactl(&["site", "list"]).exits(0).stdout;
    assert!(list.matches("shop.example.com").count() == 2, "{list}");
    let _ = stack.hactl(&["site", "migrate", "erp.example.com", "--yes"]).exits(0);
    assert_eq!(releases(stack), [1, 1]);
    let _ = stack.hactl(&["site", "drop", "shop.example.com", "--yes"]).exits(0);
    stack.settled();
    for host in ["11", "12"] {
        assert_eq!(stack.on(host, &format!("ls {BENCH}/sites | grep -c shop || :")), "0");
    }
    let databases = stack.on("31", "mariadb -N -e 'SHOW DATABASES'");
    assert!(!databases.contains("shop"), "{databases}");
}

fn a_host_is_added(stack: &Stack) {
    stack.edit_inventory("  db1:", "  app3: { address: 10.77.91.13, roles: [ app ] }\n  db1:");
    let _ = stack.hactl(&["lab", "up", "--warm"]).exits(0);
    let added = stack.apply(&[]).exits(0);
    let built = building(&added);
    assert!(
        matches!(&built[..], [one] if one.starts_with("app3 run release ")),
        "{built:?}"
    );
    assert_eq!(release(stack, "13"), 2);
    let there = (200, "newer\n".to_owned());
    assert_eq!(stack.fetch_at("13", "/files/a_note.txt", &[]), there);
    stack.settled();
}
