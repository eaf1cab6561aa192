//! Answers of a preflight → findings. Pure; everything in an answer is a host's word.

use super::{Found, Verdict};
use crate::resource::System;
use crate::resource::clock::{self, Skew};

/// MiB of memory below which services do not fit, and below which they are cramped.
const MEMORY: (u64, u64) = (450, 950);

/// MiB of free disk below which an installation fails, and below which it is cramped.
const DISK: (u64, u64) = (1024, 4096);

/// A piece of the answer: the words of its mark, and what followed.
pub struct Section {
    pub words: Vec<String>,
    pub body: String,
}

/// A port that the host needs.
pub struct Port {
    pub number: u16,
    pub purpose: &'static str,
    /// Programs that may already have it.
    pub by: &'static [&'static str],
}

/// All findings. `before` and `after`: this machine's clock around the request, seconds.
pub fn read(sections: &[Section], ports: &[Port], before: u64, after: u64) -> Vec<Found> {
    let body = |name: &str| {
        let section = sections
            .iter()
            .find(|section| section.words.first().is_some_and(|word| word == name));
        section.map_or("", |section| section.body.trim())
    };
    let mut found = vec![system(body("system"), body("init")), memory(body("memory"))];
    for section in sections
        .iter()
        .filter(|section| section.words.first().is_some_and(|word| word == "disk"))
    {
        let path = section.words.get(1).map_or("/", String::as_str);
        found.push(disk(path, section.body.trim()));
    }
    found.push(time(body("clock"), before, after));
    found.extend(listeners(body("ports"), ports));
    found.push(packages(body("apt")));
    for section in sections
        .iter()
        .filter(|section| section.words.first().is_some_and(|word| word == "name"))
    {
        let name = section.words.get(1).map_or("", String::as_str);
        found.push(resolved(name, section.body.trim()));
    }
    let own: Vec<&str> = body("addresses").split_whitespace().collect();
    for section in sections
        .iter()
        .filter(|section| section.words.first().is_some_and(|word| word == "site"))
    {
        let name = section.words.get(1).map_or("", String::as_str);
        found.push(leads_here(name, &section.body, &own));
    }
    found
}

fn system(release: &str, init: &str) -> Found {
    let value = |key: &str| {
        let line = release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    let (id, version) = (value("ID"), value("VERSION_ID"));
    let shown = format!("{id} {version}");
    if System::of(&id, &version).is_none() {
        let detail = format!("{} is not supported", shown.trim());
        return Found::new("system", Verdict::Bad, detail).hint(format!("supported are {}", System::supported()));
    }
    if init != "systemd" {
        return Found::new("system", Verdict::Bad, format!("{shown} without systemd"))
            .hint("services are kept by systemd; a plain container does not do");
    }
    Found::new("system", Verdict::Good, shown)
}

/// Below the first it is bad, below the second it deserves a look.
fn at_least(value: u64, (bad, little): (u64, u64)) -> Verdict {
    match value {
        value if value < bad => Verdict::Bad,
        value if value < little => Verdict::Warning,
        _ => Verdict::Good,
    }
}

fn memory(kilobytes: &str) -> Found {
    match kilobytes.parse::<u64>() {
        Ok(kilobytes) => {
            let mb = kilobytes / 1024;
            Found::new("memory", at_least(mb, MEMORY), format!("{mb} MiB"))
        }
        Err(_) => Found::new("memory", Verdict::Warning, "cannot tell"),
    }
}

fn disk(path: &str, free: &str) -> Found {
    match free.parse::<u64>() {
        Ok(mb) => Found::new("disk", at_least(mb, DISK), format!("{mb} MiB free on {path}")),
        Err(_) => Found::new("disk", Verdict::Warning, format!("cannot tell what is free on {path}")),
    }
}

fn time(theirs: &str, before: u64, after: u64) -> Found {
    let Ok(theirs) = theirs.parse::<u64>() else {
        return Found::new("clock", Verdict::Warning, "cannot tell");
    };
    let skew = Skew::of(theirs, before, after);
    let verdict = match skew.seconds {
        0..clock::SOME => return Found::new("clock", Verdict::Good, "as here"),
        clock::SOME..clock::TOO_MUCH => Verdict::Warning,
        _ => Verdict::Bad,
    };
    Found::new("clock", verdict, skew.to_string()).hint(clock::MEND)
}

/// `ss -Hltnp`: `LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=6))`.
fn listeners(text: &str, ports: &[Port]) -> Vec<Found> {
    let Some(listening) = text.strip_prefix("known") else {
        return vec![Found::new("ports", Verdict::Warning, "cannot tell: ss is not there")];
    };
    let mut taken = Vec::new();
    for line in listening.lines() {
        let Some(number) = line
            .split_whitespace()
            .nth(3)
            .and_then(|address| address.rsplit(':').next())
            .and_then(|port| port.parse::<u16>().ok())
        else {
            continue;
        };
        let program = line.split("((\"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(port) = ports.iter().find(|port| port.number == number) else {
            continue;
        };
        let program = program.unwrap_or("something");
        if port.by.iter().any(|known| program.starts_with(known)) {
            continue;
        }
        let detail = format!("{number} ({}) is taken by {program}", port.purpose);
        if !taken.iter().any(|other: &Found| other.detail == detail) {
            let hint =
                format!("stop what listens there, or choose other ports in the inventory: ss -ltnp | grep :{number}");
            taken.push(Found::new("ports", Verdict::Bad, detail).hint(hint));
        }
    }
    if taken.is_empty() && !ports.is_empty() {
        let numbers: Vec<_> = ports.iter().map(|port| port.number.to_string()).collect();
        taken.push(Found::new(
            "ports",
            Verdict::Good,
            format!("{} free or ours", numbers.join(", ")),
        ));
    }
    taken
}

fn packages(text: &str) -> Found {
    if text == "none" {
        return Found::new("packages", Verdict::Bad, "there is no apt-get");
    }
    let (said, rest) = text.rsplit_once("status ").unwrap_or((text, "?"));
    let mut rest = rest.lines();
    let status = rest.next().unwrap_or_default().trim();
    let audit = rest.find(|line| !line.trim().is_empty());
    let first = said.lines().find(|line| !line.trim().is_empty()).or(audit);
    match (status, audit) {
        ("0", None) => Found::new("packages", Verdict::Good, "apt works"),
        ("0", Some(_)) => Found::new("packages", Verdict::Warning, first.unwrap_or("dpkg is not in order"))
            .hint("apply finishes an interrupted installation by itself; or: dpkg --configure -a"),
        _ => Found::new("packages", Verdict::Bad, first.unwrap_or("apt-get check fails"))
            .hint("look at `apt-get check` on the host; another apt may be running"),
    }
}

/// Whether the host can mount file systems of programs.
pub fn fuse(sections: &[Section]) -> Found {
    let answers = |section: &&Section| section.words.first().is_some_and(|word| word == "fuse");
    match sections.iter().find(answers).map(|section| section.body.trim()) {
        Some("yes") => Found::new("FUSE", Verdict::Good, "the volume of the files can be mounted"),
        _ => Found::new(
            "FUSE",
            Verdict::Bad,
            "there is no FUSE (/dev/fuse): `files: gluster` cannot be mounted",
        )
        .hint("a container needs the device from its host; or write `files: rsync`"),
    }
}

fn resolved(name: &str, answer: &str) -> Found {
    match answer.split_whitespace().next() {
        Some(address) => Found::new("DNS", Verdict::Good, format!("{name} is {address}")),
        None => Found::new("DNS", Verdict::Bad, format!("{name} does not resolve"))
            .hint("the app is fetched from there: look at /etc/resolv.conf of the host"),
    }
}

/// Whether DNS leads from a site's name to the host: a certificate authority will go that way.
fn leads_here(name: &str, answer: &str, own: &[&str]) -> Found {
    let there: Vec<&str> = answer.split_whitespace().collect();
    if there.is_empty() {
        return Found::new("DNS", Verdict::Bad, format!("{name} does not resolve in DNS"))
            .hint("certbot's authority looks the site up: add a record that leads to this host");
    }
    match there.iter().find(|address| !own.contains(address)) {
        None => Found::new("DNS", Verdict::Good, format!("{name} is {}", there.join(", "))),
        Some(other) => Found::new(
            "DNS",
            Verdict::Warning,
            format!("{name} is {other} in DNS, which is no address of this host"),
        )
        .hint("certbot's authority asks there: correct the record, unless that address is forwarded to this host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("clock", "1000\n"),
        ("system", "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n"),
        ("init", "systemd\n"),
        ("memory", "4028000\n"),
        ("disk /", "20000\n"),
        (
            "ports",
            "known\nLISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=7,fd=6))\n",
        ),
        ("apt", "status 0\n"),
        ("name git.example.com", "192.0.2.7 STREAM git.example.com\n"),
        ("addresses", "192.0.2.9 2001:db8::9 \n"),
        ("site erp.example.com", "192.0.2.9\n2001:db8::9\n"),
    ];

    const PORTS: [Port; 2] = [
        Port {
            number: 80,
            purpose: "HTTP",
            by: &["nginx"],
        },
        Port {
            number: 3306,
            purpose: "MariaDB",
            by: &["mariadbd", "mysqld"],
        },
    ];

    /// The good host with other answers to some questions.
    fn findings(changed: &[(&str, &str)]) -> Vec<Found> {
        let sections: Vec<_> = GOOD
            .iter()
            .map(|(mark, body)| {
                let other = changed.iter().find(|(name, _)| name == mark);
                Section {
                    words: mark.split(' ').map(str::to_owned).collect(),
                    body: other.map_or(*body, |(_, body)| *body).to_owned(),
                }
            })
            .collect();
        read(&sections, &PORTS, 999, 1001)
    }

    #[test]
    fn a_good_host_has_only_good_findings() {
        let found = findings(&[]);
        assert_eq!(found.len(), 8, "{found:#?}");
        assert!(found.iter().all(|found| found.verdict == Verdict::Good), "{found:#?}");
    }

    #[test]
    fn each_lack_is_found_alone() {
        let cases = [
            (
                "system",
                "ID=alpine\nVERSION_ID=3.20\n",
                Verdict::Bad,
                "alpine 3.20 is not supported",
            ),
            ("init", "\n", Verdict::Bad, "debian 12 without systemd"),
            ("memory", "409600\n", Verdict::Bad, "400 MiB"),
            ("memory", "819200\n", Verdict::Warning, "800 MiB"),
            ("disk /", "100\n", Verdict::Bad, "100 MiB free on /"),
            ("disk /", "2000\n", Verdict::Warning, "2000 MiB free on /"),
            ("clock", "990\n", Verdict::Warning, "9 s behind this machine's"),
            ("clock", "5000\n", Verdict::Bad, "3999 s ahead of this machine's"),
            ("ports", "", Verdict::Warning, "cannot tell: ss is not there"),
            (
                "ports",
                "known\nLISTEN 0 511 *:80 *:* users:((\"apache2\",pid=7,fd=6))\n",
                Verdict::Bad,
                "80 (HTTP) is taken by apache2",
            ),
            (
                "ports",
                "known\nLISTEN 0 80 [::]:3306 [::]:*\n",
                Verdict::Bad,
                "3306 (MariaDB) is taken by something",
            ),
            ("apt", "none\n", Verdict::Bad, "there is no apt-get"),
            (
                "apt",
                "E: Could not get lock\nstatus 100\n",
                Verdict::Bad,
                "E: Could not get lock",
            ),
            (
                "apt",
                "status 0\nThe following packages are only half configured:\n",
                Verdict::Warning,
                "The following packages are only half configured:",
            ),
            (
                "name git.example.com",
                "\n",
                Verdict::Bad,
                "git.example.com does not resolve",
            ),
            (
                "site erp.example.com",
                "\n",
                Verdict::Bad,
                "erp.example.com does not resolve in DNS",
            ),
            (
                "site erp.example.com",
                "192.0.2.9\n192.0.2.8\n",
                Verdict::Warning,
                "erp.example.com is 192.0.2.8 in DNS, which is no address of this host",
            ),
        ];
        for (mark, body, verdict, detail) in cases {
            let odd: Vec<_> = findings(&[(mark, body)])
                .into_iter()
                .filter(|found| found.verdict != Verdict::Good)
                .map(|found| (found.verdict, found.detail))
                .collect();
            assert_eq!(odd, [(verdict, detail.to_owned())], "{mark}: {body:?}");
        }
    }
}
