//! known_hosts files: the same lines are found as by ssh-keygen, and judged as ssh judges them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use hactl::transport::known_hosts::{HostName, Known, Verdict, learn};
use proptest::prelude::*;
use russh::keys::PublicKey;

/// Key pairs of a folder that lives as long as the test process, by name.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let make = |(name, kind): (&str, &str)| {
        let path = folder.path().join(name);
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-N", "", "-C", "", "-f"])
            .arg(&path)
            .status();
        assert!(status.expect("ssh-keygen is needed (package openssh-client)").success());
        std::fs::read_to_string(path.with_extension("pub"))
            .unwrap()
            .trim()
            .to_owned()
    };
    [
        ("one", "ed25519"),
        ("two", "ed25519"),
        ("three", "ecdsa"),
        ("four", "rsa"),
    ]
    .map(make)
    .into()
});

fn key(index: usize) -> PublicKey {
    PublicKey::from_openssh(&KEYS[index]).unwrap()
}

/// What ssh-keygen finds: line numbers.
fn by_ssh_keygen(file: &Path, name: &str) -> Vec<usize> {
    let output = Command::new("ssh-keygen")
        .args(["-l", "-F", name, "-f"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |line: &str| {
        line.split_once(" found: line ")?
            .1
            .split(' ')
            .next()?
            .trim()
            .parse()
            .ok()
    };
    text.lines().filter_map(number).collect()
}

fn by_us(file: &Path, name: &HostName) -> Vec<usize> {
    let known = Known::read(&[file.to_owned()], name).unwrap();
    known.lines().iter().map(|place| place.line).collect()
}

/// A host pattern around a few names, so that they meet often.
fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("db1"),
        Just("DB1"),
        Just("db?"),
        Just("*"),
        Just("d*1"),
        Just("*b*"),
        Just("10.0.0.1"),
        Just("10.0.0.*"),
        Just("10.0.0.10"),
        Just("db1.example"),
        Just("*.example"),
    ];
    let shape = prop_oneof![
        6 => Just(""),
        2 => Just("!"),
        1 => Just("[:22"),
        3 => Just("[:2222"),
        1 => Just("![:2222"),
        1 => Just("[:*"),
    ];
    (part, shape).prop_map(|(part, shape)| match shape.split_once('[') {
        Some((not, port)) => format!("{not}[{part}]{port}"),
        None => format!("{shape}{part}"),
    })
}

/// A line: marker, hosts, key, and what people do to such lines.
fn line() -> impl Strategy<Value = String> {
    let marker = prop_oneof![6 => Just(""), 1 => Just("@revoked "), 1 => Just("@cert-authority "), 1 => Just("@what ")];
    let hosts = prop::collection::vec(pattern(), 1..4).prop_map(|all| all.join(","));
    let key = prop_oneof![
        8 => (0..4_usize).prop_map(|index| KEYS[index].clone()),
        1 => Just("ssh-ed25519 AAAAnonsense".to_owned()),
        1 => Just("ssh-ed25519".to_owned()),
        1 => Just(String::new()),
    ];
    let gap = prop_oneof![4 => Just(" "), 1 => Just("\t"), 1 => Just("  ")];
    let tail = prop_oneof![3 => Just(""), 1 => Just(" a comment"), 1 => Just(" # 1"), 1 => Just("\r")];
    let lead = prop_oneof![6 => Just(""), 1 => Just("  "), 1 => Just("#"), 1 => Just("\t")];
    (lead, marker, hosts, gap, key, tail)
        .prop_map(|(lead, marker, hosts, gap, key, tail)| format!("{lead}{marker}{hosts}{gap}{key}{tail}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_same_lines_are_found_as_by_ssh_keygen(lines in prop::collection::vec(line(), 0..12), hash: bool) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, lines.concat()).unwrap();
        if hash {
            // Refuses files with lines it cannot read; then they stay as they are.
            let _ = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output().unwrap();
        }
        for (host, port) in [("db1", 22), ("DB1", 2222), ("10.0.0.1", 22), ("10.0.0.1", 2222), ("db1.example", 22)] {
            let name = HostName::new(host, port);
            let text = std::fs::read_to_string(&file).unwrap();
            prop_assert_eq!(by_us(&file, &name), by_ssh_keygen(&file, &name.to_string()), "{} in\n{}", name, text);
        }
    }

    #[test]
    fn what_is_learnt_is_found(host in "[a-z0-9.-]{1,20}", port: u16, hashed: bool, index in 0..4_usize) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".ssh/known_hosts");
        let name = HostName::new(&host, port);
        learn(&file, &name, &key(index), hashed).unwrap();
        let known = Known::read(std::slice::from_ref(&file), &name).unwrap();
        prop_assert_eq!(known.judge(&key(index)), Verdict::Trusted);
        prop_assert_eq!(by_ssh_keygen(&file, &name.to_string()), vec![1]);
        let other = HostName::new(&format!("x{host}"), port);
        prop_assert_eq!(Known::read(&[file], &other).unwrap().judge(&key(index)), Verdict::Unknown);
    }

    #[test]
    fn no_file_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, bytes).unwrap();
        Known::read(&[file], &HostName::new("db1", 22)).unwrap();
    }
}

/// Judges key 0 (ed25519) of db1 at a port by a file's text, in which `{0}` to `{3}` are the keys.
fn judge(text: &str, port: u16) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let text = (0..4).fold(text.to_owned(), |text, index| {
        text.replace(&format!("{{{index}}}"), &KEYS[index])
    });
    std::fs::write(&file, text).unwrap();
    let known = Known::read(&[PathBuf::from("/nonexistent"), file], &HostName::new("db1", port)).unwrap();
    match known.judge(&key(0)) {
        Verdict::Trusted => "trusted".to_owned(),
        Verdict::Unknown => "unknown".to_owned(),
        Verdict::Changed(place) => format!("changed {}", place.line),
        Verdict::Revoked(place) => format!("revoked {}", place.line),
        Verdict::AuthorityOnly(place) => format!("authority {}", place.line),
    }
}

#[test]
fn keys_are_judged_as_ssh_judges_them() {
    let cases = [
        ("", 22, "unknown"),
        ("db1 {0}\n", 22, "trusted"),
        ("DB1\t{0}\r\n", 22, "trusted"),
        ("db2,db1  {0} comment\n", 22, "trusted"),
        ("*,!db1 {0}\n", 22, "unknown"),
        ("# db1 {0}\n", 22, "unknown"),
        ("db1 {1}\n", 22, "changed 1"),
        ("db1 {1}\ndb1 {0}\n", 22, "trusted"),
        ("\n\ndb1 {2}\ndb1 {1}\n", 22, "changed 4"),
        ("db1 {2}\n", 22, "changed 1"),
        ("db1 ssh-ed25519 nonsense\ndb1 {0}\n", 22, "trusted"),
        ("@revoked db1 {0}\ndb1 {0}\n", 22, "revoked 1"),
        ("db1 {0}\n@revoked * {0}\n", 22, "revoked 2"),
        ("@revoked db1 {1}\n", 22, "unknown"),
        ("@cert-authority db1 {3}\n", 22, "authority 1"),
        ("@cert-authority db1 {3}\ndb1 {0}\n", 22, "trusted"),
        ("@cert-authority db1 {3}\ndb1 {1}\n", 22, "changed 2"),
        ("[db1]:2222 {0}\n", 2222, "trusted"),
        ("[db1]:2222 {1}\n", 2222, "changed 1"),
        ("[db1]:2222 {0}\n", 22, "unknown"),
        ("db1 {0}\n", 2222, "trusted"),
        ("db1 {1}\n", 2222, "unknown"),
        ("db1 {1}\n[db1]:2222 {1}\n", 2222, "changed 2"),
        ("@revoked db1 {0}\n[db1]:2222 {0}\n", 2222, "revoked 1"),
    ];
    for (text, port, expected) in cases {
        assert_eq!(judge(text, port), expected, "port {port}:\n{text}");
    }
}

#[test]
fn an_unreadable_file_is_no_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Known::read(&[folder.path().to_owned()], &HostName::new("db1", 22)).unwrap_err();
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
}
