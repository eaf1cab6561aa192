//! Certificates from a real ACME authority: Pebble (Debian's package), which asks DNS and HTTP as public ones do, on a host
//! of its own in the lab; certbot is Debian's, too. DNS is a dnsmasq there.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::stack::{Options, Said, Stack};
use serde_json::Value;

const SITE: &str = "erp.example.com";
const MORE: &str = "www.example.com";
/// A name that the authority refuses.
const REFUSED: &str = "refused.example.com";
/// Longest time of a run.
const LATER: Duration = Duration::from_secs(300);

/// The authority and the name server. Pebble forgets everything when it ends, so it is never stopped: a firewall rule keeps
/// others out.
struct Authority<'a> {
    stack: &'a Stack,
    address: String,
}

impl<'a> Authority<'a> {
    fn boot(stack: &'a Stack) -> Self {
        let address = stack.address.replace(".11", ".12");
        let inventory = std::fs::read_to_string(&stack.inventory).unwrap();
        let both = inventory.replacen("sites:", &format!("sites: # {address}"), 1);
        let both = both.replacen(
            "app:\n",
            &format!("  ca: {{ address: {address}, roles: [worker] }}\napp:\n"),
            1,
        );
        std::fs::write(stack.folder().join("lab.yml"), both).unwrap();
        let _ = stack.hactl(&["lab", "up", "lab.yml"]).exits(0);
        let authority = Authority { stack, address };
        authority.run(include_str!("fixtures/acme/setup.sh"));
        // It is known to the server as an authority inside a company would be.
        let known = authority.run("cat /etc/pebble/api.crt");
        stack.on_host(&format!(
            "cat >/usr/local/share/ca-certificates/lab.crt <<'PEM'\n{known}\nPEM\nupdate-ca-certificates >/dev/null 2>&1\n\
             echo 'nameserver {}' >/etc/resolv.conf",
            authority.address
        ));
        authority.names(&[]);
        authority
    }

    #[track_caller]
    fn run(&self, script: &str) -> String {
        let output = self.stack.ssh_to(&self.address, script).output().expect("ssh");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// What DNS says: the authority's own name and these.
    fn names(&self, names: &[(&str, &str)]) {
        let mut text = format!("{} ca.example.test\n", self.address);
        for (name, address) in names {
            text += &format!("{address} {name}\n");
        }
        self.run(&format!(
            "printf '%s' '{text}' >/etc/lab-names && systemctl reload dnsmasq"
        ));
    }

    /// How many certificates were ordered until now, whatever became of it.
    fn orders(&self) -> usize {
        let log = self.run("journalctl -u 'pebble*' -o cat | grep -c 'POST /order-plz' || :");
        log.parse().expect("a number")
    }

    /// Certificates of the authority's own, to verify with.
    fn root(&self, management: u16) -> String {
        let pem = self.run(&format!("curl -fsSk https://127.0.0.1:{management}/roots/0"));
        let path = self.stack.folder().join(format!("root-{management}.pem"));
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    }
}

/// Asks the site and verifies its certificate as any visitor would; the status, or what is wrong.
fn visit(stack: &Stack, root: &str, name: &str) -> Result<String, String> {
    let out = Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "10",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            root,
        ])
        .args(["--resolve", &format!("{name}:443:{}", stack.address)])
        .arg(format!("https://{name}/health"))
        .output()
        .expect("curl");
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

/// Serial and names of the certificate that is served.
fn served(stack: &Stack) -> (String, String) {
    let said = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect {}:443 -servername {SITE} </dev/null 2>/dev/null | openssl x509 -noout -serial -ext subjectAltName",
            stack.address
        ))
        .output()
        .expect("openssl");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let (serial, names) = text.split_once('\n').unwrap_or_default();
    assert!(serial.starts_with("serial="), "{text}");
    (serial.to_owned(), names.to_owned())
}

/// What the failed step of an apply said.
#[track_caller]
fn failed(said: &Said, step: &str) -> String {
    let message = said.failed_step(step);
    println!("--- {step}\n{message}");
    message
}

#[track_caller]
fn apply(stack: &Stack, code: i32) -> Said {
    let said = stack
        .hactl_within(LATER, &[], &["apply", "--yes", "--format", "json"])
        .exits(code);
    println!(
        "apply: {} changed, {} ms",
        said.summary()["changed"],
        said.summary()["ms"]
    );
    said
}

#[track_caller]
fn nothing_to_do(stack: &Stack) {
    let summary = apply(stack, 0).summary();
    assert_eq!(summary["changed"], 0, "{summary}");
    assert_eq!(summary["hosts"][0]["round_trips"], 1, "{summary}");
}

/// What `status` says about something.
#[track_caller]
fn status(stack: &Stack, subject: &str) -> Value {
    let said = stack.hactl_within(LATER, &[], &["status", "--format", "json"]);
    let events = said.events();
    let found = events.into_iter().find(|event| event["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing about {subject}: {}", said.stdout))
}

#[test]
fn certbot() {
    let stack = Stack::with(Options::warm(36));
    let authority = Authority::boot(&stack);
    let (ours, theirs) = (stack.address.as_str(), authority.address.as_str());
    stack.edit_inventory(
        "sites:\n",
        "tls: { certbot: { email: ops@example.com, agree_tos: true, server: 'https://ca.example.test:14000/dir' } }\nsites:\n",
    );

    // DNS that leads nowhere or elsewhere is told before the authority is asked, and the site is up meanwhile.
    let step = "certificate of erp.example.com";
    let remote = stack.hactl(&["check", "--remote"]).exits(4);
    assert!(
        remote.stdout.contains("erp.example.com does not resolve in DNS"),
        "{}",
        remote.stdout
    );
    let message = failed(&apply(&stack, 4), step);
    assert!(message.contains("erp.example.com does not resolve in DNS"), "{message}");
    authority.names(&[(SITE, theirs)]);
    let message = failed(&apply(&stack, 4), step);
    assert!(
        message.contains(&format!("erp.example.com is {theirs} in DNS")),
        "{message}"
    );
    let remote = stack.hactl(&["check", "--remote"]).exits(0);
    assert!(
        remote.stdout.contains("which is no address of this host"),
        "{}",
        remote.stdout
    );
    assert_eq!(authority.orders(), 0, "the authority counts attempts");
    assert_eq!(stack.fetch("/health", &[]).0, 200, "with the stand-in");
    let found = status(&stack, "certificate erp.example.com");
    assert_eq!(
        (&found["verdict"], &found["certificate"]["source"]),
        (&"bad".into(), &"self-signed".into())
    );

    // The first certificate.
    authority.names(&[(SITE, ours), (MORE, ours), (REFUSED, ours)]);
    let _ = apply(&stack, 0);
    let root = authority.root(15000);
    assert_eq!(visit(&stack, &root, SITE), Ok("200".into()));
    let (first, _) = served(&stack);
    nothing_to_do(&stack);
    let found = status(&stack, "certificate erp.example.com");
    assert_eq!(found["verdict"], "good", "{found}");
    assert_eq!(found["certificate"]["source"], "certbot", "{found}");
    assert_eq!(found["certificate"]["days_left"], 24, "{found}");
    assert_eq!(status(&stack, "certificate renewal")["verdict"], "good");

    // The timer's service finds that it ends in less than 30 days; no visitor notices.
    let (asking, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let visits = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut visits = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                visits.push(visit(&stack, &root, SITE));
                asking.store(true, Ordering::SeqCst);
            }
            visits
        });
        stack.wait_until("a visit", || asking.load(Ordering::SeqCst));
        stack.on_host("systemctl start certbot.service");
        let renewed = served(&stack).0 != first;
        stop.store(true, Ordering::SeqCst);
        assert!(
            renewed,
            "another certificate is served: {}",
            stack.on_host("journalctl -u certbot -o cat")
        );
        visitor.join().expect("visits")
    });
    let missed: Vec<_> = visits.iter().filter(|visit| **visit != Ok("200".to_owned())).collect();
    println!("{} visits during the renewal, {} failed", visits.len(), missed.len());
    assert!(visits.len() > 10 && missed.is_empty(), "{missed:?}");
    nothing_to_do(&stack);

    // nginx refuses its configuration when a certificate is renewed: told, and mended by the next apply.
    let (second, _) = served(&stack);
    stack.on_host("echo 'no such directive;' >>/etc/nginx/nginx.conf; systemctl start certbot.service");
    assert_eq!(served(&stack).0, second);
    let found = status(&stack, "certificate erp.example.com");
    assert_eq!(found["verdict"], "warning", "{found}");
    assert!(
        found["detail"].as_str().unwrap().contains("nginx serves an older one"),
        "{found}"
    );
    let _ = apply(&stack, 0);
    // Workers of before may take a connection still while the new ones start.
    stack.wait_until("the renewed certificate is served", || served(&stack).0 != second);
    nothing_to_do(&stack);

    // Another name while the authority is out of reach, then again.
    let (third, _) = served(&stack);
    stack.edit_inventory(
        "- { name: erp.example.com }",
        "- { name: erp.example.com, aliases: [ www.example.com ] }",
    );
    authority.run("nft -f - <<'X'\ntable inet door { chain input { type filter hook input priority 0; tcp dport 14000 reject with tcp reset; }; }\nX");
    let message = failed(&apply(&stack, 4), step);
    assert!(
        message.contains("https://ca.example.test:14000/dir does not answer: curl: (7)"),
        "{message}"
    );
    assert!(message.contains("erp.example.com: served with"), "{message}");
    assert_eq!(visit(&stack, &root, SITE), Ok("200".into()));
    assert_eq!(served(&stack).0, third);
    authority.run("nft delete table inet door");
    // Killed while certbot works: the host ends its step, and the next run takes it from there.
    let killed = stack.apply_killed_at("certificate of", Duration::from_millis(300));
    assert!(killed.is_some(), "it was killed in the step");
    let _ = apply(&stack, 0);
    let (fourth, names) = served(&stack);
    assert_ne!(fourth, third);
    assert!(names.contains(SITE) && names.contains(MORE), "{names}");
    assert_eq!(visit(&stack, &root, MORE), Ok("200".into()));
    nothing_to_do(&stack);

    // The authority refuses a name.
    stack.edit_inventory("[ www.example.com ]", "[ www.example.com, refused.example.com ]");
    let message = failed(&apply(&stack, 4), step);
    assert!(
        message.contains(REFUSED) && message.contains("gave no certificate"),
        "{message}"
    );
    assert!(message.contains("forbidden"), "the authority's words: {message}");
    stack.edit_inventory(", refused.example.com", "");
    let _ = apply(&stack, 0);
    assert_eq!(served(&stack).0, fourth, "what was there is enough");
    nothing_to_do(&stack);

    // A timer that somebody turned off.
    stack.on_host("systemctl disable --now certbot.timer");
    assert_eq!(status(&stack, "certificate renewal")["verdict"], "bad");
    assert_eq!(apply(&stack, 0).summary()["changed"], 1);

    // Another authority, whose certificates live for 45 s: seen to end, and made again by an apply.
    stack.edit_inventory("ca.example.test:14000", "ca.example.test:14001");
    let _ = apply(&stack, 0);
    let short = authority.root(15001);
    assert_eq!(visit(&stack, &short, SITE), Ok("200".into()));
    let (fifth, _) = served(&stack);
    stack.wait_until("it is about to end", || {
        status(&stack, "certificate erp.example.com")["verdict"] == "warning"
    });
    let _ = stack.hactl(&["plan", "--exit-code"]).exits(3);
    stack.wait_until("it has ended", || {
        let found = status(&stack, "certificate erp.example.com");
        found["verdict"] == "bad" && found["detail"].as_str().unwrap().contains("expired on")
    });
    let _ = apply(&stack, 0);
    assert_ne!(served(&stack).0, fifth);
    assert_eq!(visit(&stack, &short, MORE), Ok("200".into()));

    // Back to files that somebody gives: they take the place of the links, and certbot's own are left alone.
    let own = "cat /etc/letsencrypt/live/erp.example.com/fullchain.pem /etc/letsencrypt/live/erp.example.com/privkey.pem | sha256sum";
    let before = stack.on_host(own);
    let (last, _) = served(&stack);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-subj",
            "/CN=given",
            "-keyout",
            "given.key",
            "-out",
            "given.crt",
        ])
        .current_dir(stack.folder())
        .output()
        .expect("openssl");
    assert!(made.status.success());
    stack.edit_inventory(
        "aliases: [ www.example.com ]",
        "tls: { certificate: given.crt, key: given.key }",
    );
    let _ = apply(&stack, 0);
    assert_ne!(served(&stack).0, last);
    assert_eq!(stack.on_host(own), before);
    nothing_to_do(&stack);
    let found = status(&stack, "certificate erp.example.com");
    assert_eq!(found["certificate"]["source"], "given", "{found}");
}
