//! One script for all questions of a host, and the reading of its answers.
//!
//! The script runs inside the session's shell (`transport::wire`), which provides `mark`: it starts a section. Everything
//! is asked in bulk, since each process on the host costs about a millisecond (facts: speed).

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::observed::{GroupState, Loaded, Observed, PathKind, PathState, TestState, UnitState, UserState};
use super::{Ask, Facts};
use crate::quote::sh_words;

/// Largest content that is fetched, bytes.
pub const CONTENT_LIMIT: usize = 256 * 1024;

/// Most addresses that are taken from a host's word.
const ADDRESSES: usize = 256;

/// A piece of a host's answer: the words of its mark, and what followed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Words of the mark, e.g. `["test", "3"]`.
    pub words: Vec<String>,
    /// Raw bytes up to the next mark.
    pub body: Vec<u8>,
}

impl Section {
    fn name(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    fn index(&self) -> Option<usize> {
        self.words.get(1)?.parse().ok()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The probe script for `ask`. Reads only.
pub fn script(ask: &Ask) -> String {
    let mut out = String::from(include_str!("probe.sh"));
    let mut call = |function: &str, words: &mut dyn Iterator<Item = &String>| {
        let words = sh_words(words);
        if !words.is_empty() {
            out.push_str(&format!("{function} {words}\n"));
        }
    };
    call("ask_paths", &mut ask.paths.iter());
    call("ask_contents", &mut ask.contents.iter());
    call("ask_lines", &mut ask.lines.iter());
    call("ask_packages", &mut ask.packages.iter());
    call("ask_users", &mut ask.users.iter());
    call("ask_groups", &mut ask.groups.iter());
    call("ask_units", &mut ask.units.iter());
    call("ask_loaded", &mut ask.loaded.iter());
    call("ask_sysctls", &mut ask.sysctls.iter());
    if ask.programs {
        out.push_str("ask_programs\n");
    }
    if !ask.sql.is_empty() {
        out.push_str(&format!("ask_sql {}\n", sh_words(ask.sql.values())));
    }
    for (index, test) in ask.tests.values().enumerate() {
        out.push_str(&format!(
            "mark test {index}\n( {test}\n) </dev/null 2>&1\nmark status $?\n"
        ));
    }
    out
}

/// Reads the answers. Everything here is a host's word: malformed parts are skipped, so that what was not answered counts
/// as not there.
pub fn read(ask: &Ask, sections: &[Section]) -> Observed {
    let mut seen = Observed::bare(Facts {
        // What a host does not say is not assumed: Debian's testing, e.g., has no number.
        os: String::new(),
        os_version: String::new(),
        codename: String::new(),
        ..Facts::assumed()
    });
    let mut test: Option<(usize, String)> = None;
    for section in sections {
        match section.name() {
            "facts" => read_facts(&section.text(), &mut seen.facts),
            "paths" => read_paths(&section.text(), &mut seen.paths),
            "hashes" => read_hashes(&section.text(), &mut seen.paths),
            "links" => read_links(&section.text(), &mut seen.paths),
            "content" => {
                if let Some(path) = section.index().and_then(|index| ask.contents.iter().nth(index)) {
                    seen.contents.insert(path.clone(), section.body.clone());
                }
            }
            "lines" => {
                for line in section.text().lines() {
                    if let Some((index, text)) = line.split_once(' ')
                        && let Some(path) = index.parse().ok().and_then(|index| ask.lines.iter().nth(index))
                    {
                        seen.lines.insert(path.clone(), text.to_owned());
                    }
                }
            }
            "packages" => read_packages(&section.text(), &mut seen),
            "users" => read_users(&section.text(), &mut seen.users),
            "groups" => {
                for line in section.text().lines() {
                    let mut fields = line.split(':');
                    if let (Some(name), Some(Ok(gid))) = (fields.next(), fields.nth(1).map(str::parse)) {
                        seen.groups.insert(name.to_owned(), GroupState { gid });
                    }
                }
            }
            "units" => read_units(&section.text(), &mut seen.units),
            "loaded" => {
                if let Some(name) = section.words.get(1) {
                    seen.loaded.insert(name.clone(), read_loaded(&section.text()));
                }
            }
            "sysctls" => {
                for line in section.text().lines() {
                    if let Some((key, value)) = line.split_once('=') {
                        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
                        seen.sysctls.insert(key.to_owned(), value);
                    }
                }
            }
            "programs" => seen.programs = super::program::read(&section.text()),
            "sql" => seen.sql = read_sql(ask, &section.text()),
            "test" => test = section.index().map(|index| (index, section.text())),
            "status" => {
                if let Some((index, output)) = test.take()
                    && let Some(key) = ask.tests.keys().nth(index)
                {
                    let code = section.index().and_then(|code| i32::try_from(code).ok()).unwrap_or(1);
                    seen.tests.insert(
                        key.clone(),
                        TestState {
                            code,
                            output: output.trim_end().to_owned(),
                        },
                    );
                }
            }
            _ => {}
        }
    }
    seen
}

fn read_facts(text: &str, facts: &mut Facts) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = value.trim_matches(['"', '\'']).to_owned();
        match key {
            "ID" => facts.os = value,
            "VERSION_ID" => facts.os_version = value,
            "VERSION_CODENAME" => facts.codename = value,
            "cpus" => facts.cpus = value.parse().unwrap_or(facts.cpus).clamp(1, 4096),
            "memory_kb" => facts.memory_mb = value.parse::<u64>().map_or(facts.memory_mb, |kb| kb / 1024),
            "arch" => facts.arch = value,
            "clock" => facts.clock = value.parse().unwrap_or(0),
            "boot_id" => facts.boot_id = value,
            "disk_free_mb" => facts.disk_free_mb = value.parse().unwrap_or(0),
            "ipv6" => facts.ipv6 = value == "1",
            "address" if facts.addresses.len() < ADDRESSES => facts.addresses.extend(read_address(&value)),
            "busy" => facts.busy = true,
            "generation" => facts.generation = value,
            _ => {}
        }
    }
}

/// `eth0 10.0.0.11/24`. The name may end in configuration files, so it must be one that a kernel could give.
fn read_address(text: &str) -> Option<(String, IpNet)> {
    let (name, address) = text.split_once(' ')?;
    let name = name.split('@').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = (1..=15).contains(&name.len()) && name.chars().all(plain);
    fits.then(|| Some((name.to_owned(), address.parse().ok()?)))?
}

fn read_paths(text: &str, paths: &mut BTreeMap<String, PathState>) {
    for line in text.lines() {
        let mut fields = line.splitn(6, '\t');
        let mut next = || fields.next().unwrap_or_default();
        let (mode, owner, group, mtime, kind, path) = (next(), next(), next(), next(), next(), next());
        let Ok(mode) = u32::from_str_radix(mode, 8) else {
            continue;
        };
        let kind = match kind {
            "regular file" | "regular empty file" => PathKind::File,
            "directory" => PathKind::Directory,
            "symbolic link" => PathKind::Link,
            _ => PathKind::Other,
        };
        let state = PathState {
            kind,
            mode,
            owner: owner.to_owned(),
            group: group.to_owned(),
            mtime: mtime.parse().unwrap_or(PathState::LATER),
            sha256: None,
            target: None,
        };
        paths.insert(path.to_owned(), state);
    }
}

fn read_hashes(text: &str, paths: &mut BTreeMap<String, PathState>) {
    for line in text.lines() {
        // `<64 hex>  <path>`; sha256sum escapes odd names, which hactl does not write.
        if let Some((sha, path)) = line.split_once("  ")
            && sha.len() == 64
            && sha.bytes().all(|b| b.is_ascii_hexdigit())
            && let Some(state) = paths.get_mut(path)
            && state.kind == PathKind::File
        {
            state.sha256 = Some(sha.to_owned());
        }
    }
}

fn read_links(text: &str, paths: &mut BTreeMap<String, PathState>) {
    for line in text.lines() {
        if let Some((path, target)) = line.split_once('\t')
            && let Some(state) = paths.get_mut(path)
        {
            state.target = Some(target.to_owned());
        }
    }
}

fn read_packages(text: &str, seen: &mut Observed) {
    for line in text.lines() {
        let mut fields = line.split('\t');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(name), Some(status), Some(version)) if status.starts_with("ii") || status.starts_with("hi") => {
                seen.packages.insert(name.to_owned(), version.to_owned());
            }
            (Some(_), Some(status), _) if !matches!(status.as_bytes().get(1), Some(b'n' | b'c')) => {
                seen.packages_broken = true;
            }
            (Some("!"), ..) => seen.packages_broken = true,
            _ => {}
        }
    }
}

fn read_users(text: &str, users: &mut BTreeMap<String, UserState>) {
    for line in text.lines() {
        if let Some((name, groups)) = line.strip_prefix("groups=").and_then(|rest| rest.split_once(' ')) {
            if let Some(user) = users.get_mut(name) {
                user.groups = groups
                    .split_whitespace()
                    .filter(|group| *group != name)
                    .map(str::to_owned)
                    .collect();
            }
            continue;
        }
        let fields: Vec<_> = line.split(':').collect();
        if let [name, _, uid, gid, _, home, shell] = fields[..]
            && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
        {
            let (home, shell) = (home.to_owned(), shell.to_owned());
            users.insert(
                name.to_owned(),
                UserState {
                    uid,
                    gid,
                    home,
                    shell,
                    groups: Default::default(),
                },
            );
        }
    }
}

fn read_units(text: &str, units: &mut BTreeMap<String, UnitState>) {
    for block in text.split("\n\n") {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        if field("LoadState") != "loaded" && field("LoadState") != "masked" {
            continue;
        }
        let state = UnitState {
            active: field("ActiveState"),
            enabled: field("UnitFileState"),
            invocation: field("InvocationID"),
            since: field("ActiveEnterTimestamp")
                .trim_start_matches('@')
                .parse()
                .unwrap_or(0),
        };
        units.insert(field("Id"), state);
    }
}

fn read_loaded(text: &str) -> Loaded {
    let mut lines = text.lines();
    let invocation = lines.next().unwrap_or_default().to_owned();
    let files = lines
        .filter_map(|line| line.split_once("  "))
        .map(|(sha, path)| (path.to_owned(), sha.to_owned()));
    Loaded {
        invocation,
        files: files.collect(),
    }
}

/// The first line is the marker of this run; `MARKER n` starts the rows of query n, `MARKER -` proves the connection,
/// `MARKER !` starts the client's complaints.
fn read_sql(ask: &Ask, text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut lines = text.lines();
    let marker = lines.next().unwrap_or_default().to_owned();
    let mut answers: Option<BTreeMap<String, String>> = None;
    let mut current: Option<&String> = None;
    let mut complaint = String::new();
    for line in lines {
        if let Some(index) = line
            .strip_prefix(&marker)
            .and_then(|rest| rest.strip_prefix(' '))
            .filter(|_| !marker.is_empty())
        {
            if index == "!" {
                current = None;
                continue;
            }
            let answers = answers.get_or_insert_default();
            current = index.parse().ok().and_then(|index| ask.sql.keys().nth(index));
            if let Some(key) = current {
                answers.insert(key.clone(), String::new());
            }
        } else if let (Some(answers), Some(key)) = (&mut answers, current) {
            let rows = answers.entry(key.clone()).or_default();
            rows.push_str(if rows.is_empty() { "" } else { "\n" });
            rows.push_str(line);
        } else {
            complaint = line.chars().take(200).collect();
        }
    }
    answers.ok_or(if complaint.is_empty() {
        "MariaDB is not installed".into()
    } else {
        complaint
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(words: &[&str], body: &str) -> Section {
        Section {
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            body: body.into(),
        }
    }

    #[test]
    fn reads_what_debian_answers() {
        let mut ask = Ask::default();
        ask.path("/etc/nginx/nginx.conf");
        ask.sql("database erp", "SELECT 1");
        ask.test("x", "true");
        let seen = read(
            &ask,
            &[
                section(
                    &["facts"],
                    "ID=debian\nVERSION_ID=\"12\"\ncpus=2\nmemory_kb=4096000\nclock=1700000000\naddress=host0@if2 10.0.0.11/24\naddress=a/b 10.0.0.12/24\n",
                ),
                section(
                    &["paths"],
                    "644\troot\troot\t1700000000\tregular file\t/etc/nginx/nginx.conf\n",
                ),
                section(
                    &["hashes"],
                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  /etc/nginx/nginx.conf\n",
                ),
                section(&["packages"], "nginx\tii \t1.22\nredis\tun \t\n"),
                section(
                    &["units"],
                    "Id=nginx.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nInvocationID=ab\nActiveEnterTimestamp=@1700000001\n\nId=x.service\nLoadState=not-found\n",
                ),
                section(&["sql"], "m\nm -\nm 0\n1\nm !\nERROR 1141 (42000): no such grant\n"),
                section(&["test", "0"], "hello\n"),
                section(&["status", "0"], ""),
            ],
        );
        assert_eq!(seen.facts.memory_mb, 4000);
        assert_eq!(
            seen.facts.addresses,
            [("host0".into(), "10.0.0.11/24".parse().unwrap())]
        );
        assert!(seen.sha256("/etc/nginx/nginx.conf").unwrap().starts_with("e3b0"));
        assert_eq!(seen.packages.keys().collect::<Vec<_>>(), ["nginx"]);
        assert!(!seen.packages_broken);
        assert_eq!(seen.units.keys().collect::<Vec<_>>(), ["nginx.service"]);
        assert_eq!(seen.sql, Ok(BTreeMap::from([("database erp".into(), "1".into())])));
        assert_eq!(
            seen.tests["x"],
            TestState {
                code: 0,
                output: "hello".into()
            }
        );
    }

    #[test]
    fn systems_are_known_by_their_os_release() {
        let system = |text: &str| {
            let seen = read(&Ask::default(), &[section(&["facts"], text)]);
            seen.facts.system().map(|system| system.name)
        };
        let jammy = "PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nVERSION=\"22.04.5 LTS (Jammy Jellyfish)\"\nVERSION_CODENAME=jammy\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME=jammy\n";
        let noble = "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n";
        let cases = [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n",
                Some("Debian 12"),
            ),
            (
                "VERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nDEBIAN_VERSION_FULL=13.7\nID=debian\n",
                Some("Debian 13"),
            ),
            (jammy, Some("Ubuntu 22.04")),
            (noble, Some("Ubuntu 24.04")),
            ("ID='debian'\nVERSION_ID='13'\n", Some("Debian 13")),
            ("VERSION_ID=\"11\"\nID=debian\n", None),
            ("NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n", None),
            ("ID=ubuntu\nVERSION_ID=\"20.04\"\n", None),
            // Debian's testing has no number, and a host may say nothing at all.
            ("ID=debian\nVERSION_CODENAME=forky\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(system(text), expected, "{text}");
        }
    }

    #[test]
    fn a_database_that_refuses_is_unknown_not_empty() {
        let mut ask = Ask::default();
        ask.sql("k", "SELECT 1");
        let seen = read(
            &ask,
            &[section(&["sql"], "m\nm !\nERROR 2002 (HY000): Can't connect\n")],
        );
        assert_eq!(seen.sql, Err("ERROR 2002 (HY000): Can't connect".into()));
    }

    proptest::proptest! {
        /// A host may answer anything.
        #[test]
        fn reading_never_panics(name in "[a-z]{1,9}", word in ".{0,8}", body in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let mut ask = Ask::default();
            ask.sql("k", "q");
            ask.test("t", "t");
            for name in ["facts", "paths", "hashes", "links", "content", "lines", "packages", "users", "groups", "units",
                         "loaded", "sysctls", "programs", "sql", "test", "status", &name] {
                read(&ask, &[Section { words: vec![name.to_owned(), word.clone()], body: body.clone() }]);
            }
        }
    }
}
