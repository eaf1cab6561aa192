//! The files of Frappe's sites on a volume of GlusterFS: from bare hosts, through the loss of hosts, to the hosts' disks and
//! back. Real hosts; the application is tests/fixtures/minifrappe.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::stack::{Options, Serves, Stack};

const SITES: &str = "/srv/frappe/bench/sites";
const FILES: &str = "/srv/frappe/bench/sites/erp.example.com";
const COPY: &str = "/var/lib/hactl/gluster/copy/brick/erp.example.com";

/// Three keep a copy, the fourth one mounts the volume only. The first one manages it.
const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker ] }
  app2: { address: NET.12, roles: [ app, worker, db, redis ] }
  app3: { address: NET.13, roles: [ worker ] }
  app4: { address: NET.14, roles: [ worker ] }
files: gluster
";

const ALL: [&str; 4] = ["11", "12", "13", "14"];

/// As the application does it.
fn write(stack: &Stack, host: &str, path: &str, text: &str) {
    stack.on(
        host,
        &format!("runuser -u frappe -- sh -c 'echo {text} >{FILES}/{path}'"),
    );
}

fn content(stack: &Stack, host: &str, path: &str) -> String {
    stack.on(host, &format!("cat {FILES}/{path}"))
}

/// What `status` says about the files, a line for each host that answers.
fn status(stack: &Stack) -> Vec<String> {
    let said = stack.hactl(&["status"]).stdout;
    let lines = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| words.get(1) == Some(&"files"))
        .map(|words| words.join(" "))
        .collect()
}

fn whole(stack: &Stack, keepers: [&str; 3], clients: &[&str]) {
    let mut wanted: Vec<_> = keepers
        .iter()
        .map(|host| format!("{host} files ok 3 copies, all the same"))
        .collect();
    wanted.extend(
        clients
            .iter()
            .map(|host| format!("{host} files ok the volume is mounted")),
    );
    stack.wait_until("all copies are the same", || {
        let said = status(stack);
        wanted.iter().all(|line| said.contains(line)) && said.len() == wanted.len()
    });
}

#[test]
fn files_are_everywhere_and_outlive_hosts() {
    let began = Instant::now();
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        hosts: HOSTS,
        ..Options::warm(108)
    });
    let after = |what: &str| println!("{what} after {} s", began.elapsed().as_secs());
    after("booted");
    stack.edit_inventory(
        "{ name: erp.example.com }",
        "{ name: erp.example.com, admin_password: lab-pass }\n  - { name: shop.example.com }",
    );
    let _ = stack.apply(&[]).exits(0);
    after("served");
    stack.settled();
    whole(&stack, ["app1", "app2", "app3"], &["app4"]);
    uploads_are_everywhere(&stack);
    strangers_are_refused(&stack);
    a_client_that_dies_comes_back(&stack);
    after("looked at");
    a_host_is_lost_while_files_are_written(&stack);
    after("healed");
    a_site_is_dropped(&stack);
    after("dropped");
    a_lost_host_is_taken_out(&stack);
    after("another copy was there");
    to_the_disks(&stack);
    after("on the disks");
    back_while_they_are_read(&stack);
    after("back");
}

/// By the application's own way in, and on hosts that have no nginx.
fn uploads_are_everywhere(stack: &Stack) {
    let (jar, note) = (stack.folder().join("jar"), stack.folder().join("note.txt"));
    let (jar, upload) = (jar.display().to_string(), format!("file=@{}", note.display()));
    std::fs::write(&note, "of app1\n").expect("written");
    let login = ["-c", &jar, "-d", "usr=Administrator", "-d", "pwd=lab-pass"];
    assert_eq!(stack.fetch_at("11", "/api/method/login", &login).0, 200);
    for private in ["0", "1"] {
        let is_private = format!("is_private={private}");
        let words = ["-b", &jar, "-F", &upload, "-F", &is_private];
        let sent = stack.fetch_at("11", "/api/method/upload_file", &words);
        assert_eq!(sent.0, 200, "{}", sent.1);
    }
    let there = (200, "of app1\n".to_owned());
    for host in ["11", "12"] {
        assert_eq!(stack.fetch_at(host, "/files/note.txt", &[]), there, "{host}");
        assert_eq!(
            stack.fetch_at(host, "/private/files/note.txt", &["-b", &jar]),
            there,
            "{host}"
        );
    }
    for host in ALL {
        assert_eq!(content(stack, host, "public/files/note.txt"), "of app1");
        assert_eq!(content(stack, host, "private/files/note.txt"), "of app1");
    }
    for (writes, reads) in [("11", "14"), ("14", "12"), ("13", "11")] {
        write(stack, writes, "private/files/fresh.txt", writes);
        assert_eq!(content(stack, reads, "private/files/fresh.txt"), writes);
        stack.on(reads, &format!("rm {FILES}/private/files/fresh.txt"));
        stack.on(writes, &format!("! [ -e {FILES}/private/files/fresh.txt ]"));
    }
}

/// Only the application's hosts reach the daemon and the copies; this machine is none.
fn strangers_are_refused(stack: &Stack) {
    let ports = stack.on("12", "ss -Hltn | sed -n 's/.*:\\(240[0-9][0-9]\\) .*/\\1/p'");
    let ports: Vec<_> = ports.lines().collect();
    assert!(ports.contains(&"24007") && ports.len() > 1, "{ports:?}");
    let network = stack.address.rsplit_once('.').expect("an address").0;
    for port in ports {
        let address = format!("{network}.12:{port}").parse().expect("an address");
        let met = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(3));
        assert!(met.is_err(), "{port}");
        stack.on("14", &format!("timeout 3 bash -c ': </dev/tcp/{network}.12/{port}'"));
    }
}

/// Nothing can be written below the volume while it is not there, and the other hosts' nginx are asked.
fn a_client_that_dies_comes_back(stack: &Stack) {
    stack.on("12", "systemctl stop hactl-gluster.service");
    stack.on("12", &format!("! runuser -u frappe -- touch {FILES}/public/files/lost"));
    let there = (200, "of app1\n".to_owned());
    assert_eq!(stack.fetch_at("12", "/files/note.txt", &[]), there);
    stack.on("12", "systemctl start hactl-gluster.service");
    stack.on(
        "12",
        "kill -KILL $(systemctl show -p MainPID --value hactl-gluster.service)",
    );
    let read = format!("grep -qsx 'of app1' {FILES}/public/files/note.txt");
    stack.wait_until("the volume is mounted again", || {
        stack.ssh_to("12", &read).status().expect("ssh").success()
    });
}

/// A program that writes notices a pause and nothing else.
fn a_host_is_lost_while_files_are_written(stack: &Stack) {
    let mut writer = stack.ssh_to(
        "12",
        &format!(
            "cd {FILES}/public/files && exec runuser -u frappe -- sh -c '
            before=$(date +%s%3N) n=0 longest=0
            while [ ! -e stop ]; do
                n=$((n + 1))
                echo \"$n\" >written-$n.txt || exit 1
                now=$(date +%s%3N)
                [ $((now - before)) -le \"$longest\" ] || longest=$((now - before))
                before=$now
                sleep 0.05
            done
            echo \"$n $longest\"'"
        ),
    );
    let writer = writer.stdout(std::process::Stdio::piped()).spawn().expect("ssh");
    let written = |n: usize| {
        stack.on(
            "11",
            &format!("while [ ! -e {FILES}/public/files/written-{n}.txt ]; do sleep 0.1; done"),
        )
    };
    written(10);
    let _ = stack.hactl(&["lab", "kill", "app3"]).exits(0);
    let wanted = ["app1", "app2"].map(|host| format!("{host} files look 2 of 3 copies, without: app3"));
    stack.wait_until("status names the host", || {
        let said = status(stack);
        wanted.iter().all(|line| said.contains(line))
            && said.contains(&"app4 files ok the volume is mounted".to_owned())
    });
    write(stack, "14", "public/files/stop", "now");
    let output = writer.wait_with_output().expect("the writer");
    assert!(output.status.success(), "a write failed");
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<usize> = said
        .split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect();
    let [count, longest] = numbers[..] else {
        panic!("{said}")
    };
    println!("{count} files were written, the longest wait was {longest} ms");
    assert!(longest < 20_000);

    let _ = stack.hactl(&["lab", "boot", "app3"]).exits(0);
    let booted = Instant::now();
    whole(stack, ["app1", "app2", "app3"], &["app4"]);
    println!("healed {:?} after the boot", booted.elapsed());
    for place in [FILES, COPY] {
        stack.on(
            "13",
            &format!(
                "cd {place}/public/files && for n in $(seq {count}); do
                     [ \"$(cat written-$n.txt)\" = \"$n\" ] || {{ echo $n >&2; exit 1; }}
                 done"
            ),
        );
    }
    stack.settled();
}

/// Its files stay on the volume, and every host's archive leads there.
fn a_site_is_dropped(stack: &Stack) {
    let shop = format!("{SITES}/shop.example.com");
    stack.on(
        "14",
        &format!("runuser -u frappe -- sh -c 'echo kept >{shop}/private/files/of-shop.txt'"),
    );
    let _ = stack.hactl(&["site", "drop", "shop.example.com", "--yes"]).exits(0);
    for host in ALL {
        stack.on(
            host,
            &format!("! [ -e {shop} ] && ! grep shop.example.com /proc/self/mountinfo"),
        );
        let archived = "/srv/frappe/bench/archived_sites/shop.example.com*/site/private/files/of-shop.txt";
        assert_eq!(stack.on(host, &format!("cat {archived}")), "kept", "{host}");
    }
    stack.settled();
}

/// The host that manages the volume never comes back: the next one does, and the fourth one gets a copy.
fn a_lost_host_is_taken_out(stack: &Stack) {
    let _ = stack.hactl(&["lab", "kill", "app1"]).exits(0);
    let text = std::fs::read_to_string(&stack.inventory).expect("the inventory");
    let line = text
        .lines()
        .find(|line| line.contains("  app1:"))
        .expect("app1")
        .to_owned()
        + "\n";
    stack.edit_inventory(&line, "");
    let _ = stack.apply(&[]).exits(0);
    whole(stack, ["app2", "app3", "app4"], &[]);
    assert_eq!(stack.on("12", "gluster pool list | sed 1d | wc -l"), "3");
    assert_eq!(stack.on("14", &format!("cat {COPY}/public/files/written-1.txt")), "1");
    stack.settled();

    // It does come back, with an old copy, which must not become the files again.
    stack.edit_inventory("  app2:", &format!("{line}  app2:"));
    let _ = stack.hactl(&["lab", "boot", "app1"]).exits(0);
    let refused = stack.hactl(&["apply", "--yes"]).exits(7);
    let why = "app2 does not know app1, which has an old copy of the files; nothing was changed";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    let _ = stack.hactl(&["lab", "kill", "app1"]).exits(0);
    stack.edit_inventory(&line, "");
}

fn to_the_disks(stack: &Stack) {
    stack.edit_inventory("files: gluster", "files: rsync");
    let _ = stack.apply(&[]).exits(0);
    for host in &ALL[1..] {
        stack.on(host, "! grep -q fuse.glusterfs /proc/self/mountinfo");
        for kind in ["public", "private"] {
            assert_eq!(content(stack, host, &format!("{kind}/files/note.txt")), "of app1");
        }
        write(stack, host, &format!("public/files/of-{host}.txt"), host);
    }
    stack.settled();
}

/// What a host that lists the volume's folder again and again sees of another host's files that are not whole. GlusterFS keeps
/// for a second what it has seen of a file before that had its name, so that a visitor gets an empty one.
const LOOK: &str = "touch /tmp/looks
    while [ -e /tmp/looks ]; do
        cd /var/lib/hactl/gluster/mount/erp.example.com/public/files 2>/dev/null || { sleep 0.1; continue; }
        for one in .many-*; do
            [ \"$one\" = '.many-*' ] || echo \"$one\"
        done
        for one in many-*; do
            [ ! -e \"$one\" ] || [ -s \"$one\" ] || echo \"$one is empty\"
        done
    done | sort | uniq -c | head -n 5";

/// An apply that is killed in the middle, and another; no visitor misses a file.
fn back_while_they_are_read(stack: &Stack) {
    let many = "for n in $(seq 1000); do echo many >many-$n.txt; done";
    stack.on(
        "13",
        &format!("cd {FILES}/public/files && runuser -u frappe -- sh -c '{many}'"),
    );
    stack.edit_inventory("files: rsync", "files: gluster");
    let moved = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let looker = scope.spawn(|| stack.on("12", LOOK));
        let reader = scope.spawn(|| {
            let mut seen = BTreeMap::<_, usize>::new();
            while !moved.load(Ordering::Relaxed) {
                *seen.entry(stack.fetch_at("12", "/files/of-12.txt", &[])).or_default() += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        let applier = scope.spawn(|| {
            let cut = stack.apply_killed_at("on the volume", Duration::from_millis(300));
            println!("killed at {cut:?}");
            let _ = stack.apply(&[]).exits(0);
        });
        let applied = applier.join();
        moved.store(true, Ordering::Relaxed);
        stack.on("12", "rm /tmp/looks");
        applied.expect("applied");
        assert_eq!(looker.join().expect("the looker"), "", "were not whole");
        reader.join().expect("the reader")
    });
    println!("a file was seen meanwhile: {seen:?}");
    assert_eq!(seen.keys().collect::<Vec<_>>(), [&(200, "12\n".to_owned())]);
    for host in &ALL[1..] {
        for of in &ALL[1..] {
            assert_eq!(content(stack, host, &format!("public/files/of-{of}.txt")), *of);
        }
    }
    stack.settled();
}
