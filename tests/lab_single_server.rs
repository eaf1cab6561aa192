//! The single server on a real host: from bare to served, and what an operator relies on afterwards.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::stack::{Serves, Stack};
use hactl::inventory::secrets::{Keyring, Secrets};
use serde_json::Value;

/// Ids of the resources that steps of this kind of event are about.
fn finished(events: &[Value], outcome: &str) -> Vec<String> {
    events
        .iter()
        .filter(|event| event["event"] == "step_finished" && event["outcome"] == outcome)
        .map(|event| event["step"].as_str().unwrap().to_owned())
        .collect()
}

fn planned(events: &[Value]) -> Vec<String> {
    let plan = events.iter().find(|event| event["event"] == "planned").expect("a plan");
    let steps = plan["plan"]["hosts"][0]["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A whole life of one server, in the order in which an operator meets it; booting is too dear for a host per check.
#[test]
fn from_bare_to_served_and_kept() {
    let stack = Stack::boot(40, Serves::Guestbook, false);

    // Bare: the plan is made without an error, says what it will do, and apply does exactly that.
    let plan = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    let first = stack.apply(&[]).exits(0);
    let events = first.events();
    assert_eq!(
        finished(&events, "changed"),
        planned(&plan.events()),
        "apply did what plan had printed"
    );
    println!("first apply: {}", first.summary());

    // Served, by nginx, from the application, which wrote to MariaDB and Redis.
    let (code, page) = stack.fetch("/", &[]);
    assert_eq!(code, 200, "{page}");
    assert_eq!(
        stack.fetch("/entries", &["-d", "author=Ada", "-d", "text=hello"]).0 / 100,
        3,
        "a redirect after the post"
    );
    stack.wait_until("the worker did the job", || {
        let state: Value = serde_json::from_str(&stack.fetch("/api/state", &[]).1).unwrap_or_default();
        ["db_writes", "redis_counter", "jobs_done"]
            .iter()
            .all(|key| state[key].as_u64() >= Some(1))
    });

    // The second apply finds nothing to do, in one round trip.
    let second = stack.apply(&[]).exits(0).summary();
    println!("second apply: {second}");
    assert_eq!(second["changed"], 0, "{second}");
    assert!(second["unchanged"].as_u64() > Some(60), "{second}");
    assert_eq!(second["hosts"][0]["round_trips"], 1, "{second}");
    let _ = stack.hactl(&["plan", "--exit-code"]).exits(0);
    let _ = stack.hactl(&["status"]).exits(0);

    given_certificates(&stack);
    refused_configuration(&stack);
    a_reload_cannot_get_lost(&stack);
    drift_is_named_and_mended(&stack);
}

/// nginx refuses what an override makes of its configuration: the daemon's message and the template's line are shown, the
/// old file is live, the site serves.
fn refused_configuration(stack: &Stack) {
    let builtin =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/nginx.conf.tera")).unwrap();
    let broken = builtin.replacen("http {\n", "http {\n    no_such_directive on;\n", 1);
    let line = broken
        .lines()
        .position(|line| line.contains("no_such_directive"))
        .unwrap()
        + 1;
    let before = stack.on_host("sha256sum /etc/nginx/nginx.conf");
    stack.override_template("nginx/nginx.conf.tera", &broken);
    let said = stack.hactl(&["apply", "--yes"]).exits(4);
    let text = said.stdout + &said.stderr;
    assert!(text.contains("unknown directive \"no_such_directive\""), "{text}");
    assert!(
        text.contains("templates/nginx/nginx.conf.tera") && text.contains(&format!("line {line}")),
        "{text}"
    );
    assert_eq!(
        stack.on_host("sha256sum /etc/nginx/nginx.conf"),
        before,
        "the old file is still live"
    );
    assert_eq!(stack.fetch("/", &[]).0, 200, "the site still serves");
}

/// hactl is killed between nginx.conf and the reload: the next plan is that reload alone, and apply does it.
fn a_reload_cannot_get_lost(stack: &Stack) {
    let builtin =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/nginx/nginx.conf.tera")).unwrap();
    // The kill races with the step's end: a run that got as far as the reload, or not as far as the file, tells nothing.
    for attempt in 0..8 {
        let mark = format!("X-Marked: number{attempt}");
        let directive = format!("http {{\n    add_header X-Marked number{attempt} always;\n");
        stack.override_template("nginx/nginx.conf.tera", &builtin.replacen("http {\n", &directive, 1));
        let at = stack.apply_killed_at("file /etc/nginx/nginx.conf", Duration::ZERO);
        assert!(at.is_some(), "it was in the step");
        // Waits for what the step still does on the host.
        stack.on_host("flock -w 60 /run/hactl/lock true");
        let plan = stack.hactl(&["plan", "--format", "json"]).exits(0);
        if planned(&plan.events()) == ["service nginx.service"] {
            println!("killed between nginx.conf and the reload at attempt {attempt}");
            let written = format!("grep -c 'number{attempt} always' /etc/nginx/nginx.conf");
            assert_eq!(stack.on_host(&written), "1", "the file is there");
            assert!(!live(stack).contains(&mark), "nginx has not read it");
            let healed = stack.apply(&[]).exits(0).summary();
            assert_eq!(healed["changed"], 1, "{healed}");
            assert!(live(stack).contains(&mark), "nginx has read it");
            assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
            return;
        }
        let _ = stack.apply(&[]).exits(0);
    }
    panic!("no run was killed between the file and the reload");
}

/// Headers of what nginx itself answers, in the block that the mark is in.
fn live(stack: &Stack) -> String {
    stack.on_host("curl -s -D - -o /dev/null -H 'Host: nobody.example.com' http://127.0.0.1/")
}

/// http leads to https; certificates of the operator's are served, and logs are rotated by rules that logrotate takes.
fn given_certificates(stack: &Stack) {
    let redirect = stack.on_host(
        "curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: erp.example.com' http://127.0.0.1/a?b=1",
    );
    assert_eq!(redirect, "301 https://erp.example.com/a?b=1");
    stack.on_host("logrotate -d /etc/logrotate.d/hactl-guestbook 2>&1 | grep -q 'considering log'");

    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=erp.example.com",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:erp.example.com",
            "-keyout",
            "site.key",
            "-out",
            "site.crt",
        ])
        .current_dir(stack.folder())
        .output()
        .expect("openssl");
    assert!(made.status.success());
    stack.edit_inventory(
        "- { name: erp.example.com }",
        "- { name: erp.example.com, tls: { certificate: site.crt, key: site.key } }",
    );
    let _ = stack.apply(&[]).exits(0);
    let trusted = std::process::Command::new("curl")
        .args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            "site.crt",
            "--resolve",
        ])
        .arg(format!("erp.example.com:443:{}", stack.address))
        .arg("https://erp.example.com/")
        .current_dir(stack.folder())
        .output()
        .expect("curl");
    assert_eq!(
        String::from_utf8_lossy(&trusted.stdout),
        "200",
        "the given certificate is the one that is served"
    );
    assert_eq!(
        stack.on_host("stat -c '%a %U' /etc/nginx/tls/erp.example.com.key"),
        "600 root"
    );
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}

/// What somebody changes by hand is named by plan and mended by apply, and nothing else is touched.
fn drift_is_named_and_mended(stack: &Stack) {
    stack.on_host(
        "echo '# by hand' >>/etc/redis/redis-cache.conf; chmod 666 /etc/nginx/nginx.conf; \
         systemctl stop nginx; systemctl disable -q supervisor 2>/dev/null",
    );
    let plan = stack.hactl(&["plan", "--exit-code", "--format", "json"]).exits(3);
    let mut steps = planned(&plan.events());
    steps.sort();
    assert_eq!(
        steps,
        [
            "file /etc/nginx/nginx.conf",
            "file /etc/redis/redis-cache.conf",
            "service nginx.service",
            "service supervisor.service",
        ],
        "redis still runs with the file that comes back, so it is not restarted"
    );
    let mended = stack.apply(&[]).exits(0);
    let mut changed = finished(&mended.events(), "changed");
    changed.sort();
    assert_eq!(changed, steps);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
    assert_eq!(stack.fetch("/", &[]).0, 200);
}

/// A saved plan is done as it was saved, or not at all.
/// Values of the inventory's secrets, read with the stack's own key.
fn secrets(stack: &Stack) -> Vec<String> {
    let loaded = hactl::inventory::load(&stack.inventory).unwrap();
    let keyring = Keyring {
        identity: None,
        home: Some(stack.folder().to_owned()),
        ask: Keyring::nobody(),
    };
    let resolved = Secrets::resolve(&loaded.inventory, &keyring).unwrap();
    assert!(resolved.generated.is_empty());
    resolved
        .secrets
        .iter()
        .map(|(_, secret)| secret.reveal().to_owned())
        .collect()
}

#[test]
fn a_saved_plan_is_done_exactly_or_refused() {
    let stack = Stack::boot(41, Serves::Guestbook, false);
    let saved = stack
        .hactl(&["plan", "--out", "carries.json", "--with-secrets", "--format", "json"])
        .exits(0);
    let _ = stack.hactl(&["plan", "--out", "saved.json"]).exits(0);
    let (carries, plain) = (stack.folder().join("carries.json"), stack.folder().join("saved.json"));
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let values = secrets(&stack);
    assert!(values.len() > 5);
    for value in &values {
        assert!(text(&carries).contains(value.as_str()) && !text(&plain).contains(value.as_str()));
    }
    assert_eq!(std::fs::metadata(&carries).unwrap().permissions().mode() & 0o777, 0o600);
    // Another machine: the same files, nobody's key.
    let (key, away) = (
        stack.folder().join(".config/hactl/identity.txt"),
        stack.folder().join("away"),
    );
    std::fs::rename(&key, &away).unwrap();
    let locked = stack.hactl(&["apply", "--yes", "--plan", "saved.json"]).exits(2);
    assert!(locked.stderr.contains("not encrypted for you"), "{}", locked.stderr);
    let done = stack
        .hactl(&["apply", "--yes", "--format", "json", "--plan", "carries.json"])
        .exits(0);
    assert!(!key.exists());
    std::fs::rename(&away, &key).unwrap();
    assert_eq!(finished(&done.events(), "changed"), planned(&saved.events()));
    for value in &values {
        assert!(!done.stdout.contains(value.as_str()) && !done.stderr.contains(value.as_str()));
    }
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);

    stack.on_host("rm /etc/redis/redis-cache.conf");
    let _ = stack.hactl(&["plan", "--out", "saved.json"]).exits(0);
    stack.on_host("systemctl stop nginx");
    let refused = stack.hactl(&["apply", "--yes", "--plan", "saved.json"]).exits(7);
    assert!(
        refused.stderr.contains("nginx"),
        "says what changed: {}",
        refused.stderr
    );
    assert_eq!(
        stack.on_host("ls /etc/redis/redis-cache.conf 2>/dev/null || echo gone"),
        "gone",
        "nothing was done"
    );

    // A plan may have to make secrets, which must not outdate it.
    let _ = stack.apply(&[]).exits(0);
    stack.edit_inventory(
        "  - { name: erp.example.com }\n",
        "  - { name: erp.example.com }\n  - { name: two.example.com }\n",
    );
    let _ = stack.hactl(&["plan", "--out", "saved.json"]).exits(0);
    let _ = stack.hactl(&["apply", "--plan", "saved.json"]).exits(0);
    assert_eq!(stack.apply(&[]).exits(0).summary()["changed"], 0);
}
