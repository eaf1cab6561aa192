//! A crash leaves no image of a process that had secrets in its memory.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const INVENTORY: &str = "\
cluster: acme
hosts:
  srv1: { address: 10.77.9.11 }
app: { kind: wsgi, url: 'https://git.example.com/shop.git', ref: v1, module: 'shop:app' }
sites:
  - { name: shop.example.com, admin_password: !secret 'exec:./source' }
";

/// Says what it was given, and waits for the end of whoever started it.
const SOURCE: &str = "#!/bin/sh\nulimit -S -c >limit~ && mv limit~ limit\nexec tail --pid=$PPID -f /dev/null\n";

/// A command that may leave core files as large as it likes, in a folder where it can.
fn unlimited(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"])
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Sends the signal until the process ends: Rust's handler of SIGSEGV takes the first one that no fault caused.
fn end(mut child: Child, signal: &str) -> ExitStatus {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        std::thread::sleep(Duration::from_millis(50));
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "{signal} does not end it");
    }
}

/// The limit that a program here was given, as soon as it has said so.
fn seen_limit(folder: &Path) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(text) = std::fs::read_to_string(folder.join("limit")) {
            return text.trim().to_owned();
        }
        assert!(Instant::now() < until, "nothing ever said its limit");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_crash_leaves_no_core_file() {
    use std::os::unix::fs::PermissionsExt;
    for (signal, number) in [("-ABRT", 6), ("-SEGV", 11)] {
        let control = tempfile::tempdir().unwrap();
        // Signalled when its limit is set and its word is out, and not while it is on the way there.
        let wait = "ulimit -S -c >limit~ && mv limit~ limit && exec sleep 60";
        let child = unlimited(control.path(), &["sh", "-c", wait]).spawn().unwrap();
        assert_eq!(seen_limit(control.path()), "unlimited");
        let ended = end(child, signal);
        assert!(
            ended.core_dumped(),
            "this machine makes no core files ({ended}), so the test shows nothing"
        );

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("inventory.yml"), INVENTORY).unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, SOURCE).unwrap();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
        let hactl = env!("CARGO_BIN_EXE_hactl");
        let child = unlimited(folder.path(), &[hactl, "apply", "--yes"]).spawn().unwrap();
        assert_eq!(
            seen_limit(folder.path()),
            "0",
            "what gives a secret has it in its memory, too"
        );
        let ended = end(child, signal);
        assert_eq!(ended.signal(), Some(number));
        assert!(!ended.core_dumped(), "{ended}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(
            left.iter()
                .flatten()
                .all(|entry| !entry.file_name().to_string_lossy().starts_with("core")),
            "{left:?}"
        );
    }
}

/// A program that is started from here and wants core files may still have them.
#[test]
fn a_child_may_ask_for_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = unlimited(folder.path(), &[env!("CARGO_BIN_EXE_hactl"), "apply", "--yes"]);
    std::fs::write(
        folder.path().join("inventory.yml"),
        INVENTORY.replace("exec:./source", "exec:ulimit -c unlimited; ulimit -S -c >limit; exit 1"),
    )
    .unwrap();
    let status = command.status().unwrap();
    assert_eq!(status.code(), Some(2));
    assert_eq!(seen_limit(folder.path()), "unlimited");
}
