//! Two load balancers with an address that moves, two app hosts: what visitors see while hosts die and come back. Real hosts.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::stack::{Options, Stack};

const HOSTS: &str = "  lb1: { address: NET.11, roles: [ lb ] }
  lb2: { address: NET.12, roles: [ lb ] }
  app1: { address: NET.21, roles: [ app, worker ] }
  app2: { address: NET.22, roles: [ app ] }
  db1: { address: NET.31, roles: [ db, redis ] }
vip:
  web: NET.100/24
";

const GROUPED: &str = "app2: { address: 10.77.87.22, roles: [ app ], group: heavy }";

const ROUTES: &str = "nginx:
  routes:
    - to: heavy
      path: [ /api/state ]
      cmd: [ guestbook.report.run, guestbook.export.* ]
    - to: heavy
      doctype: [ GL Entry ]
      header: { X-Heavy: 'yes; \"really\"' }
";

const VIP: &str = "10.77.87.100";

/// Status, headers in lower case and body of an answer; status 0 when there was none.
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines();
        let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.next().map(str::trim)
    }

    fn served_from(&self) -> &str {
        self.header("x-served-from").unwrap_or("nobody")
    }
}

/// Whether clients that are not let in give up soon and come again. Otherwise they are patient: the machine may be slow.
static HURRIED: AtomicBool = AtomicBool::new(false);

/// Asks the site at an address.
fn ask(address: &str, path: &str, more: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args([
            "-sk",
            "-i",
            "--http1.1",
            "--connect-timeout",
            if HURRIED.load(Ordering::Relaxed) { "0.5" } else { "30" },
            "--max-time",
            "30",
            "--resolve",
        ])
        .arg(format!("erp.example.com:443:{address}"))
        .args(more)
        .arg(format!("https://erp.example.com{path}"))
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        headers: headers.to_lowercase(),
        body: body.to_owned(),
    }
}

/// What steady visitors met with.
#[derive(Debug, Default, Clone)]
struct Met {
    answers: usize,
    /// What they asked for and did not get.
    failures: Vec<String>,
    /// Texts of entries that the site said it took, and of those that nobody said anything about.
    taken: Vec<String>,
    unknown: Vec<String>,
    gap: Duration,
    last: Option<Instant>,
}

impl Met {
    fn answered(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.gap = self.gap.max(now - last);
        }
        self.answers += 1;
    }
}

/// One who reads and one who writes, through the address, all the time.
struct Visitors {
    stop: Arc<AtomicBool>,
    met: Arc<Mutex<Met>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Visitors {
    fn come() -> Visitors {
        let (stop, met) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Met::default())));
        let spawn = |visit: fn(usize, &Mutex<Met>)| {
            let (stop, met) = (Arc::clone(&stop), Arc::clone(&met));
            std::thread::spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    visit(number, &met);
                    std::thread::sleep(Duration::from_millis(30));
                }
            })
        };
        let threads = vec![spawn(read), spawn(write)];
        Visitors { stop, met, threads }
    }

    /// What they met with while something was done; they go on.
    fn during(&self, what: &str, act: impl FnOnce()) -> Met {
        self.watch(what, false, act)
    }

    /// The same for what loses connections, with visitors who come again soon.
    fn through(&self, what: &str, act: impl FnOnce()) -> Met {
        self.watch(what, true, act)
    }

    fn watch(&self, what: &str, hurried: bool, act: impl FnOnce()) -> Met {
        HURRIED.store(hurried, Ordering::Relaxed);
        // Whoever came before is gone.
        self.served(what, 2);
        let before = {
            let mut met = self.met.lock().unwrap();
            met.failures.clear();
            (met.gap, met.last) = (Duration::ZERO, Some(Instant::now()));
            met.clone()
        };
        act();
        // What began before must have ended, and what comes after must be well.
        self.served(what, 20);
        let met = self.met();
        println!(
            "{what}: {} answers, {} entries taken, {} failures, longest gap {:.2} s {:?}",
            met.answers - before.answers,
            met.taken.len() - before.taken.len(),
            met.failures.len(),
            met.gap.as_secs_f64(),
            met.failures
        );
        met
    }

    /// Waits until so many more have read and written.
    fn served(&self, what: &str, more: usize) {
        let (end, before) = (Instant::now() + Duration::from_secs(120), self.met());
        loop {
            let met = self.met();
            if met.answers >= before.answers + more && met.taken.len() >= before.taken.len() + more {
                return;
            }
            assert!(Instant::now() < end, "{what}: nobody is served: {:?}", met.failures);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn met(&self) -> Met {
        self.met.lock().unwrap().clone()
    }

    fn leave(mut self) -> Met {
        self.end();
        self.met()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.end();
    }
}

fn read(_: usize, met: &Mutex<Met>) {
    let answer = ask(VIP, "/api/state", &[]);
    let mut met = met.lock().unwrap();
    match answer.status {
        200 => met.answered(),
        status => met.failures.push(format!("GET {status} from {}", answer.served_from())),
    }
}

fn write(number: usize, met: &Mutex<Met>) {
    let text = format!("entry-{number}-");
    let answer = ask(VIP, "/entries", &["-d", &format!("author=visitor&text={text}")]);
    let mut met = met.lock().unwrap();
    match answer.status {
        303 => met.taken.push(text),
        status => {
            met.failures
                .push(format!("POST {status} from {}", answer.served_from()));
            met.unknown.push(text);
        }
    }
}

/// The end of the address of the load balancer that has the address; exactly one must have it, at once or soon.
fn holder(stack: &Stack, vip: &str) -> &'static str {
    let mut found = Vec::new();
    stack.wait_until("one load balancer has the address", || {
        let has = |host: &&&str| {
            let output = stack
                .ssh_to(host, &format!("ip -o addr show to {vip}"))
                .output()
                .expect("ssh");
            !output.stdout.is_empty()
        };
        found = ["11", "12"].iter().filter(has).copied().collect();
        found.len() == 1
    });
    found[0]
}

fn lab_name(host: &str) -> &'static str {
    if host == "11" { "lb1" } else { "lb2" }
}

/// Waits until the site is served from exactly these hosts.
#[track_caller]
fn served_by(stack: &Stack, path: &str, more: &[&str], hosts: &[&str]) {
    let wanted: BTreeSet<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut seen = BTreeSet::new();
    stack.wait_until(&format!("{path} {more:?} is served by {hosts:?}"), || {
        seen = (0..8).map(|_| ask(VIP, path, more).served_from().to_owned()).collect();
        seen == wanted
    });
}

/// Verdict and words of `status` about a subject of a host.
fn found(stack: &Stack, host: &str, subject: &str) -> (String, String) {
    let said = stack.hactl(&["status", "--format", "json"]);
    let events = said.events();
    let found = events
        .iter()
        .find(|event| event["subject"] == subject && event["host"] == host);
    let found = found.unwrap_or_else(|| panic!("nothing about {subject} of {host} in {}", said.stdout));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail"))
}

#[test]
fn visitors_are_served_whoever_dies() {
    let stack = Stack::with(Options {
        hosts: HOSTS,
        ..Options::warm(87)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();

    // Both app hosts serve, and say so; TLS ends at the load balancers, with one certificate.
    served_by(&stack, "/api/state", &[], &["app1", "app2"]);
    let certificate = |address: &str| {
        let script = format!(
            "openssl s_client -connect {address}:443 -servername erp.example.com </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -ext subjectAltName"
        );
        stack.on("31", &script)
    };
    let shown = certificate("10.77.87.11");
    assert!(shown.contains("DNS:erp.example.com"), "{shown}");
    assert_eq!(certificate("10.77.87.12"), shown);
    let plain = stack.on("31", &format!("curl -si -H 'Host: erp.example.com' http://{VIP}/"));
    assert!(
        plain.starts_with("HTTP/1.1 301") && plain.contains("https://erp.example.com/"),
        "{plain}"
    );
    // What the application hears of visitors comes from load balancers, and is believed from nobody else.
    let page = ask(VIP, "/", &["-H", "X-Forwarded-For: 192.0.2.7"]);
    assert_eq!(page.status, 200, "{}", page.body);
    let liar =
        "curl -s -o /dev/null -H 'X-Forwarded-For: 192.0.2.8' -H 'Host: erp.example.com' http://10.77.87.21:8080/";
    stack.on("31", liar);
    let log = stack.on("21", "cat /var/log/nginx/access.log") + &stack.on("22", "cat /var/log/nginx/access.log");
    assert!(
        log.contains("\"remote\":\"10.77.87.1\"") && log.contains("\"remote\":\"10.77.87.31\""),
        "{log}"
    );
    assert!(!log.contains("192.0.2."), "{log}");

    let first = holder(&stack, VIP);
    let other = if first == "11" { "12" } else { "11" };
    assert_eq!(
        found(&stack, lab_name(first), "vip web"),
        ("good".into(), "is here".into())
    );
    assert_eq!(found(&stack, lab_name(other), "vip web").0, "good");
    assert_eq!(found(&stack, lab_name(other), "upstreams").1, "2 of 2 app hosts answer");

    let visitors = Visitors::come();
    // Another configuration is taken up without anybody noticing.
    let met = visitors.during("one more address and another configuration of nginx", || {
        stack.edit_inventory(
            "  web: 10.77.87.100/24\n",
            "  web: 10.77.87.100/24\n  api: 10.77.87.101/24\n",
        );
        stack.edit_inventory("sites:\n", "nginx: { client_max_body_mb: 60 }\nsites:\n");
        let applied = stack.apply(&[]).exits(0);
        let reloaded = |step: &str| {
            applied.events().iter().any(|event| {
                event["event"] == "step_finished" && event["step"].as_str().is_some_and(|id| id.contains(step))
            })
        };
        assert!(reloaded("keepalived.service") && reloaded("nginx.service"));
    });
    assert_eq!(met.failures, [""; 0]);
    assert_eq!(holder(&stack, VIP), first);
    let second = holder(&stack, "10.77.87.101");
    stack.settled();
    assert_eq!(ask("10.77.87.101", "/health", &[]).status, 200);
    println!("web is on {}, api on {}", lab_name(first), lab_name(second));

    // The load balancer dies, and comes back without taking the address back.
    let _ = visitors.through("lab kill of the load balancer with the address", || {
        let _ = stack.hactl(&["lab", "kill", lab_name(first)]).exits(0);
    });
    let met = visitors.during("lab boot of it", || {
        let _ = stack.hactl(&["lab", "boot", lab_name(first)]).exits(0);
        stack.wait_until("it is back", || {
            found(&stack, lab_name(first), "keepalived.service").0 == "good"
        });
    });
    assert_eq!(met.failures, [""; 0]);
    assert_eq!(holder(&stack, VIP), other);
    stack.settled();

    // nginx dies there, so the address moves again.
    let _ = visitors.through("nginx of the load balancer with the address stops", || {
        stack.on(other, "systemctl stop nginx");
        stack.wait_until("the address moves", || holder(&stack, VIP) == first);
    });
    stack.on(other, "systemctl start nginx");

    // An app host dies: whom it was serving may notice, nobody else does.
    let met = visitors.during("lab kill app1", || {
        let _ = stack.hactl(&["lab", "kill", "app1"]).exits(0);
    });
    assert!(met.failures.len() <= 2, "two were in flight: {:?}", met.failures);
    served_by(&stack, "/api/state", &[], &["app2"]);
    let (verdict, words) = found(&stack, lab_name(first), "upstreams");
    assert_eq!(
        (verdict.as_str(), words.contains("app1 does not")),
        ("warning", true),
        "{words}"
    );
    let met = visitors.during("lab boot app1", || {
        let _ = stack.hactl(&["lab", "boot", "app1"]).exits(0);
        served_by(&stack, "/api/state", &[], &["app1", "app2"]);
    });
    println!("while app1 starts: {:?}", met.failures);

    // Nothing was lost of what was taken, and nothing was done twice.
    let met = visitors.leave();
    let entries = stack.on("31", "mariadb -N -e 'SELECT text FROM guestbook.entry'");
    let there: Vec<&str> = entries.lines().collect();
    let once: BTreeSet<&str> = there.iter().copied().collect();
    assert_eq!(there.len(), once.len(), "an entry was made twice");
    let lost: Vec<_> = met.taken.iter().filter(|text| !once.contains(text.as_str())).collect();
    assert!(lost.is_empty() && !met.taken.is_empty(), "taken and lost: {lost:?}");
    println!(
        "{} entries taken, {} there, {} without an answer",
        met.taken.len(),
        there.len(),
        met.unknown.len()
    );
    follow_routes(&stack);
    a_load_balancer_leaves_and_comes(&stack);
}

/// keepalived knows its peers by address, and believes nobody else.
fn a_load_balancer_leaves_and_comes(stack: &Stack) {
    let peers = |host: &str| stack.on(host, "grep -c '10.77.87.1[12]$' /etc/keepalived/keepalived.conf || :");
    let two = [peers("11"), peers("12")];
    let first = holder(stack, VIP);
    let other = if first == "11" { "12" } else { "11" };
    let line = format!(
        "  {}: {{ address: 10.77.87.{first}, roles: [ lb ] }}\n",
        lab_name(first)
    );
    let _ = stack.hactl(&["lab", "kill", lab_name(first)]).exits(0);
    stack.edit_inventory(&line, "");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_ne!(peers(other), two[0], "it has a peer less");
    assert_eq!(ask(VIP, "/health", &[]).status, 200);
    // It was away, and believes that nothing has happened: two would have the address, but for what the other one is told.
    stack.edit_inventory("  app1:", &format!("{line}  app1:"));
    let _ = stack.hactl(&["lab", "boot", lab_name(first)]).exits(0);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    assert_eq!([peers("11"), peers("12")], two);
    let now = holder(stack, VIP);
    let _ = stack.hactl(&["lab", "kill", lab_name(now)]).exits(0);
    stack.wait_until("the other one takes over", || ask(VIP, "/health", &[]).status == 200);
}

/// Some requests go to a group of their own; then the group leaves the cluster.
fn follow_routes(stack: &Stack) {
    stack.edit_inventory("app2: { address: 10.77.87.22, roles: [ app ] }", GROUPED);
    stack.edit_inventory("nginx: { client_max_body_mb: 60 }\n", ROUTES);
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    for (path, more) in [
        ("/api/state?of=a/path", &[][..]),
        ("/entries?cmd=guestbook.report.run", &[]),
        ("/api/method/guestbook.report.run", &[]),
        ("/api/v2/method/guestbook.export.all", &[]),
        ("/health", &["-H", "X-Frappe-CMD: guestbook.export.some"]),
        ("/health", &["-H", "X-Frappe-Doctype: GL%20Entry"]),
        ("/health", &["-H", "X-Heavy: yes; \"really\""]),
    ] {
        served_by(stack, path, more, &["app2"]);
    }
    for (path, more) in [
        ("/health", &[][..]),
        ("/api/method/guestbook.report.runs", &[]),
        ("/health?cmd=guestbook.report", &[]),
        ("/health", &["-H", "X-Frappe-Doctype: GL Entry Line"]),
        ("/health", &["-H", "X-Heavy: yes"]),
    ] {
        served_by(stack, path, more, &["app1"]);
    }
    // Each group stands in for the other.
    stack.on("22", "systemctl stop nginx");
    served_by(stack, "/api/state", &[], &["app1"]);
    stack.on("22", "systemctl start nginx");
    served_by(stack, "/api/state", &[], &["app2"]);
    stack.on("21", "systemctl stop nginx");
    served_by(stack, "/health", &[], &["app2"]);
    stack.on("21", "systemctl start nginx");
    served_by(stack, "/health", &[], &["app1"]);
    let log = stack.on("11", "cat /var/log/nginx/access.log") + &stack.on("12", "cat /var/log/nginx/access.log");
    let said = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    assert!(
        said.into_iter().any(|line| line["doctype"] == "GL%20Entry"
            && line["pool"] == "app_heavy"
            && line["served_from"] == "app2"
            && line["upstream"] == "10.77.87.22:8080"),
        "{log}"
    );

    // A host that leaves the inventory gets nothing more, one that comes gets its share.
    stack.edit_inventory(&format!("  {GROUPED}\n"), "");
    stack.edit_inventory(ROUTES, "");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    let upstreams = "grep -c 10.77.87.22 /etc/nginx/hactl/balancer.conf || :";
    assert_eq!([stack.on("11", upstreams), stack.on("12", upstreams)], ["0", "0"]);
    served_by(stack, "/api/state", &[], &["app1"]);
    stack.edit_inventory("  db1:", "  app2: { address: 10.77.87.22, roles: [ app ] }\n  db1:");
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    served_by(stack, "/api/state", &[], &["app1", "app2"]);
}
