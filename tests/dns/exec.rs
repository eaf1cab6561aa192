//! A command of the user's own: a real script, its words fixed, its values in environment and standard input.

use std::path::Path;
use std::time::{Duration, Instant};

use hactl::error::Kind;

use super::{dns, switch};

const TOKEN: &str = "a-token-for-the-script";

/// Keeps each record in a file of its name, and writes down how it was started.
const SCRIPT: &str = r#"#!/bin/sh
input=$(cat)
echo "$*" >> argv
printf '%s\n' "$input" >> stdin
file=$HACTL_DNS_NAME.$HACTL_DNS_TYPE
case $HACTL_DNS_ACTION in
read)
    [ -e "$file" ] || { echo '{"values":[]}'; exit; }
    printf '{"values":["%s"],"ttl":%s}\n' $(cat "$file") ;;
swap)
    [ ! -e fails ] || { echo "a-token-for-the-script does not do" >&2; exit 9; }
    [ ! -e sleeps ] || sleep 600
    read -r old ttl < "$file"
    [ "$old" = "$HACTL_DNS_EXPECTED" ] || { echo "it is $old" >&2; exit 3; }
    echo "$HACTL_DNS_WANTED $HACTL_DNS_TTL" > "$file" ;;
esac
"#;

fn provider(more: &str) -> String {
    format!("{{ kind: exec, run: 'sh ./records', token: {TOKEN}{more} }}")
}

fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("records"), SCRIPT).unwrap();
    write(folder.path(), "198.51.100.11 300");
    folder
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("erp.example.com.A"), format!("{text}\n")).unwrap();
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name))
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

#[test]
fn a_script_switches() {
    let folder = place();
    let dns = dns(folder.path(), &provider(""), "erp.example.com");
    let switched = switch(&dns).unwrap();
    assert!(switched.records[0].changed && switched.unverified.is_empty());
    assert_eq!(
        (switched.records[0].old_ttl, switched.records[0].ttl),
        (Some(300), Some(60))
    );
    assert_eq!(read(folder.path(), "erp.example.com.A"), "198.51.100.12 60");
    assert_eq!(read(folder.path(), "argv"), "", "no values in its words");
    let asked: Vec<serde_json::Value> = read(folder.path(), "stdin")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let swap = asked.iter().find(|asked| asked["action"] == "swap").unwrap();
    assert_eq!(
        *swap,
        serde_json::json!({ "action": "swap", "name": "erp.example.com", "type": "A", "expected": "198.51.100.11",
                            "wanted": "198.51.100.12", "ttl": 60, "token": TOKEN })
    );
    let again = switch(&dns).unwrap();
    assert!(!again.records[0].changed);
}

#[test]
fn another_old_value_is_left() {
    let folder = place();
    let dns = dns(folder.path(), &provider(""), "erp.example.com");
    write(folder.path(), "203.0.113.9 60");
    let refused = switch(&dns).unwrap_err();
    assert_eq!(refused.kind, Kind::Refused);
    assert!(
        refused.message.contains("leads to 203.0.113.9, which is no host"),
        "{refused}"
    );
    assert_eq!(read(folder.path(), "erp.example.com.A"), "203.0.113.9 60");

    // The script sees it at the moment of the change: status 3.
    let script = SCRIPT.replace("swap)\n", "swap)\n    echo '203.0.113.9 60' > \"$file\"\n");
    std::fs::write(folder.path().join("records"), script).unwrap();
    write(folder.path(), "198.51.100.11 60");
    let refused = switch(&dns).unwrap_err();
    assert_eq!(refused.kind, Kind::Refused, "{refused}");
    assert!(refused.message.contains("it is 203.0.113.9"), "{refused}");
}

#[test]
fn a_script_that_fails_or_hangs_or_talks_nonsense() {
    let folder = place();
    let quick = dns(folder.path(), &provider(", timeout: 1"), "erp.example.com");
    std::fs::write(folder.path().join("fails"), "").unwrap();
    let failed = switch(&quick).unwrap_err();
    assert_eq!(failed.kind, Kind::HostFailed);
    assert!(failed.message.contains("exit status 9: *** does not do"), "{failed}");
    assert!(
        failed.message.contains("still leads to 198.51.100.11") && !failed.message.contains(TOKEN),
        "{failed}"
    );
    std::fs::remove_file(folder.path().join("fails")).unwrap();

    std::fs::write(folder.path().join("sleeps"), "").unwrap();
    let began = Instant::now();
    let failed = switch(&quick).unwrap_err();
    assert!(
        failed.message.contains("took longer than 1 s and was ended"),
        "{failed}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));

    std::fs::write(folder.path().join("records"), "echo '[]'").unwrap();
    let failed = switch(&quick).unwrap_err();
    assert_eq!(failed.kind, Kind::Unreachable);
    assert!(failed.message.contains("prints something else"), "{failed}");
    std::fs::write(folder.path().join("records"), "exit 5").unwrap();
    let failed = switch(&quick).unwrap_err();
    assert!(
        failed.message.contains("exit status 5; nothing was changed"),
        "{failed}"
    );
}
