//! The files of Frappe's sites on a volume of GlusterFS: seen everywhere at once, there while a host is lost, moved there from
//! what each host has and back. Real hosts; the application is tests/fixtures/minifrappe.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::stack::{Options, Serves, Stack};

const FILES: &str = "/srv/frappe/bench/sites/erp.example.com";

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker, db, redis ] }
  app2: { address: NET.12, roles: [ app, worker ] }
  app3: { address: NET.13, roles: [ worker ] }
";

const ALL: [&str; 3] = ["11", "12", "13"];

/// Asks the nginx of one host for a file.
fn fetch(stack: &Stack, host: &str, path: &str) -> String {
    let network = stack.address.rsplit_once('.').expect("an address").0;
    let output = Command::new("curl")
        .args(["-sk", "--max-time", "20", "-w", "%{http_code}", "--resolve"])
        .arg(format!("erp.example.com:443:{network}.{host}"))
        .arg(format!("https://erp.example.com{path}"))
        .output()
        .expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

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

fn whole(stack: &Stack) {
    let wanted = ["app1", "app2", "app3"].map(|host| format!("{host} files ok 3 copies, all the same"));
    stack.wait_until("all copies are the same", || status(stack) == wanted);
}

#[test]
fn files_are_everywhere_and_outlive_a_host() {
    let stack = Stack::with(Options {
        serves: Serves::MiniFrappe,
        hosts: HOSTS,
        ..Options::warm(108)
    });
    // Files of each host's own, as they are before somebody wants them to be the same.
    stack.edit_inventory("sites:", "files: local\nsites:");
    let _ = stack.apply(&[]).exits(0);
    for host in ALL {
        write(&stack, host, &format!("public/files/of-{host}.txt"), host);
        write(&stack, host, &format!("private/files/of-{host}.txt"), host);
    }

    stack.edit_inventory("files: local", "files: gluster");
    moved_while_they_are_read(&stack);
    stack.settled();
    whole(&stack);
    strangers_are_refused(&stack);
    a_client_that_dies_comes_back(&stack);
    a_host_is_lost(&stack);
    back_to_the_disks(&stack);
}

/// An apply that is killed in the middle, and another; no visitor misses a file.
fn moved_while_they_are_read(stack: &Stack) {
    let moved = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeMap::<String, usize>::new();
            while !moved.load(std::sync::atomic::Ordering::Relaxed) {
                *seen.entry(fetch(stack, "11", "/files/of-11.txt")).or_default() += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        let cut = stack.apply_killed_at("on the volume", Duration::from_millis(300));
        println!("killed at {cut:?}");
        let _ = stack.apply(&[]).exits(0);
        moved.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("the reader")
    });
    println!("a file was seen meanwhile: {seen:?}");
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["11\n200"]);
    for host in ALL {
        for of in ALL {
            for kind in ["public", "private"] {
                assert_eq!(content(stack, host, &format!("{kind}/files/of-{of}.txt")), of);
            }
        }
    }
    for (writes, reads) in [("11", "13"), ("13", "12"), ("12", "11")] {
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
        stack.on("13", &format!("timeout 3 bash -c ': </dev/tcp/{network}.12/{port}'"));
    }
}

/// Nothing can be written below the volume while it is not there, and the other hosts' nginx are asked.
fn a_client_that_dies_comes_back(stack: &Stack) {
    stack.on("12", "systemctl stop hactl-gluster.service");
    stack.on("12", &format!("! runuser -u frappe -- touch {FILES}/public/files/lost"));
    assert_eq!(fetch(stack, "12", "/files/of-12.txt"), "12\n200");
    stack.on("12", "systemctl start hactl-gluster.service");
    stack.on(
        "12",
        "kill -KILL $(systemctl show -p MainPID --value hactl-gluster.service)",
    );
    let read = format!("grep -qsx 12 {FILES}/public/files/of-12.txt");
    stack.wait_until("the volume is mounted again", || {
        stack.ssh_to("12", &read).status().expect("ssh").success()
    });
}

fn a_host_is_lost(stack: &Stack) {
    let _ = stack.hactl(&["lab", "kill", "app3"]).exits(0);
    let began = Instant::now();
    write(stack, "12", "public/files/without.txt", "written");
    let stalled = began.elapsed();
    assert_eq!(fetch(stack, "11", "/files/without.txt"), "written\n200");
    println!("a write waited {stalled:?}");
    assert!(stalled < Duration::from_secs(20), "{stalled:?}");
    let wanted = ["app1", "app2"].map(|host| format!("{host} files look 2 of 3 copies, without: app3"));
    stack.wait_until("status names the host", || status(stack) == wanted);
    let _ = stack.hactl(&["lab", "boot", "app3"]).exits(0);
    let booted = Instant::now();
    whole(stack);
    println!("healed {:?} after the boot", booted.elapsed());
    assert_eq!(content(stack, "13", "public/files/without.txt"), "written");
    let copy = "/var/lib/hactl/gluster/copy/brick/erp.example.com/public/files/without.txt";
    assert_eq!(
        stack.on("13", &format!("cat {copy}")),
        "written",
        "its own copy has it, too"
    );
    stack.settled();
}

fn back_to_the_disks(stack: &Stack) {
    stack.edit_inventory("files: gluster", "files: rsync");
    let _ = stack.apply(&[]).exits(0);
    for host in ALL {
        stack.on(host, "! grep -q fuse.glusterfs /proc/self/mountinfo");
        for file in [
            "public/files/of-11.txt",
            "private/files/of-12.txt",
            "public/files/of-13.txt",
        ] {
            let of = file.split(['-', '.']).nth(1).expect("a host");
            assert_eq!(content(stack, host, file), of);
        }
        assert_eq!(content(stack, host, "public/files/without.txt"), "written");
        write(stack, host, "public/files/again.txt", host);
    }
    stack.settled();
}
