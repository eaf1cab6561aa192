//! Who takes writes, asked on every database's own host twenty times a second.

use std::process::{Child, Stdio};

use super::stack::Stack;

const EVERY: f64 = 0.05;

/// One client that stays: it asks as long as its server lives, and again when it is there again.
const SAMPLER: &str = r"
ask() { while [ ! -e /tmp/sampled ]; do echo 'SELECT UNIX_TIMESTAMP(NOW(6)), @@global.read_only;'; sleep EVERY; done; }
rm -f /tmp/sampled
while [ ! -e /tmp/sampled ]; do ask | mariadb --batch --skip-column-names --unbuffered 2>/dev/null; sleep 0.02; done
";

/// The one on one host.
struct Asks {
    host: &'static str,
    child: Child,
}

/// Asks every database.
pub struct Sampler(Vec<Asks>);

fn asks(stack: &Stack, host: &'static str) -> Asks {
    let script = SAMPLER.replace("EVERY", &EVERY.to_string());
    let child = stack.ssh_to(host, &script).stdout(Stdio::piped()).spawn().expect("ssh");
    Asks { host, child }
}

impl Sampler {
    /// Begins on all of them.
    pub fn begins(stack: &Stack, hosts: &[&'static str]) -> Sampler {
        Sampler(hosts.iter().map(|host| asks(stack, host)).collect())
    }

    /// Begins again on a host that was switched off.
    pub fn again(&mut self, stack: &Stack, host: &'static str) {
        for asks in self.0.iter_mut().filter(|asks| asks.host == host) {
            // Nobody told it that the other end is gone; what it heard stays in the pipe.
            let _ = asks.child.kill();
        }
        self.0.push(asks(stack, host));
    }

    /// How many looks there were, and moments at which two took writes: a server said so between two answers of another one
    /// that said so, too, and was asked as often as it should be.
    pub fn ends(self, stack: &Stack) -> (usize, Vec<f64>) {
        let mut open: Vec<(&str, Vec<f64>)> = Vec::new();
        let mut looks = 0;
        let mut over: Vec<&str> = self.0.iter().map(|asks| asks.host).collect();
        over.sort_unstable();
        over.dedup();
        for host in over {
            stack.on(host, "touch /tmp/sampled");
        }
        for Asks { host, child } in self.0 {
            let said = child.wait_with_output().expect("its words").stdout;
            let said = String::from_utf8_lossy(&said).into_owned();
            let mut times = Vec::new();
            for line in said.lines() {
                let mut words = line.split('\t');
                let at: Option<f64> = words.next().and_then(|word| word.parse().ok());
                looks += usize::from(at.is_some());
                if let (Some(at), Some("0")) = (at, words.next()) {
                    times.push(at);
                }
            }
            open.push((host, times));
        }
        let mut both = Vec::new();
        for (one, times) in &open {
            for (_, others) in open.iter().filter(|(other, _)| other != one) {
                let between = |at: &&f64| {
                    let mut pairs = others.windows(2);
                    pairs.any(|pair| pair[0] < **at && **at < pair[1] && pair[1] - pair[0] < 10.0 * EVERY)
                };
                both.extend(times.iter().filter(between));
            }
        }
        (looks, both)
    }
}
