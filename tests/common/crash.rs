//! A cluster whose primary dies, and somebody who writes to it through the endpoint all the while.

use std::process::{Child, Stdio};

use serde_json::Value;

use super::stack::{Options, Said, Serves, Stack};

const HOSTS: &str = "  app1: { address: NET.11, roles: [ app, worker, redis ] }
  db1: { address: NET.31, roles: [ db ], primary: true }
  db2: { address: NET.32, roles: [ db ] }
  db3: { address: NET.33, roles: [ db ] }
";

/// Writes rows through the endpoint as fast as they are acknowledged, and says when.
const WRITER: &str = r##"
import json, os, time
import pymysql

env = dict(line.strip().split("=", 1) for line in open("/srv/guestbook/env") if "=" in line and line[0] != "#")
strip = lambda value: value.strip("'")
def connect():
    return pymysql.connect(host=strip(env["DB_HOST"]), port=int(strip(env["DB_PORT"])), user=strip(env["DB_USER"]),
        password=strip(env["DB_PASSWORD"]), database=strip(env["DB_NAME"]), autocommit=True, connect_timeout=1,
        read_timeout=90, write_timeout=90)
connect().cursor().execute("CREATE TABLE IF NOT EXISTS written (id BIGINT PRIMARY KEY)")
connection, number, acknowledged, times, errors = None, time.time_ns() // 1000000, [], [], {}
while not os.path.exists("/tmp/enough"):
    try:
        if connection is None:
            connection = connect()
        number += 1
        connection.cursor().execute("INSERT INTO written VALUES (%s)", (number,))
        acknowledged.append(number)
        times.append(time.time())
        open("/tmp/written", "w").write(str(len(acknowledged)))
        time.sleep(0.002)
    except Exception as error:
        errors[str(error)[:80]] = errors.get(str(error)[:80], 0) + 1
        try:
            connection.close()
        except Exception:
            pass
        connection = None
        time.sleep(0.02)
there = None
while there is None:
    try:
        cursor = connect().cursor()
        cursor.execute("SELECT id FROM written")
        there = {row[0] for row in cursor.fetchall()}
    except Exception:
        time.sleep(0.2)
gaps = sorted(((b - a, a) for a, b in zip(times, times[1:])), reverse=True)[:3]
json.dump(times, open("/tmp/times", "w"))
print(json.dumps({"acknowledged": len(acknowledged), "lost": len(set(acknowledged) - there),
    "gaps": [[round(length, 3), time.strftime("%H:%M:%S", time.gmtime(at))] for length, at in gaps], "errors": errors}))
"##;

/// Somebody who writes.
pub struct Writer(Child);

impl Writer {
    /// Begins, and writes.
    pub fn begins(stack: &Stack) -> Writer {
        stack.on("11", "rm -f /tmp/enough /tmp/written");
        stack.on("11", &format!("cat >/tmp/writer.py <<'END'\n{WRITER}\nEND"));
        let child = stack
            .ssh_to(
                "11",
                "$(ls -d /srv/guestbook/releases/*/env/bin/python | head -n 1) /tmp/writer.py",
            )
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh");
        let writer = Writer(child);
        writer.writes(stack);
        writer
    }

    /// Waits until more is written.
    pub fn writes(&self, stack: &Stack) {
        let count = || -> u64 {
            let text = stack.on("11", "cat /tmp/written 2>/dev/null || echo 0");
            text.trim().parse().unwrap_or(0)
        };
        let before = count();
        stack.wait_until("somebody writes", || count() > before + 20);
    }

    /// What it saw.
    pub fn ends(self, stack: &Stack) -> Value {
        stack.on("11", "touch /tmp/enough");
        let output = self.0.wait_with_output().expect("its words");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

/// When something was acknowledged to a writer that has ended, in seconds since 1970. All hosts of the lab have one clock.
pub fn times(stack: &Stack) -> Vec<f64> {
    serde_json::from_str(&stack.on("11", "cat /tmp/times")).expect("times")
}

/// Runs a crash plan that nobody is asked about, however many there were within the hour.
pub fn crashplan(stack: &Stack, more: &[&str]) -> Said {
    stack.hactl(&[&["crashplan", "--yes", "--ack", "--format", "json"], more].concat())
}

/// The first event of that name.
#[track_caller]
pub fn event(said: &Said, name: &str) -> Value {
    let found = said.events().into_iter().find(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {}\n{}", said.stdout, said.stderr))
}

/// Hosts whose MariaDB takes writes.
pub fn open(stack: &Stack) -> Vec<String> {
    let open = |host: &&str| {
        let output = stack
            .ssh_to(host, "mariadb -N -e 'SELECT @@global.read_only'")
            .output()
            .expect("ssh");
        String::from_utf8_lossy(&output.stdout).trim() == "0"
    };
    ["31", "32", "33"].into_iter().filter(open).map(str::to_owned).collect()
}

/// One application's host and three databases, built and settled.
pub fn cluster(subnet: u8) -> Stack {
    let stack = Stack::with(Options {
        subnet,
        serves: Serves::Guestbook,
        hosts: HOSTS,
        ..Options::warm(subnet)
    });
    let _ = stack.apply(&[]).exits(0);
    stack.settled();
    stack
}
