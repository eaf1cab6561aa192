//! Host keys.

use std::process::Command;

use super::*;
use crate::common::sshd::keygen;

fn place(sshd: &Sshd) -> String {
    format!("[127.0.0.1]:{}", sshd.port)
}

#[tokio::test]
async fn every_kind_of_host_key_is_checked() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::with_host_keys(&["ed25519", "ecdsa", "rsa"], "");
        // Only this kind is on file, so it must be asked for, though the server would rather show another.
        sshd.write_known_hosts(&format!("{} {}\n", place(&sshd), sshd.host_key(kind)));
        for transport in BOTH {
            let result = hello(&connector(&sshd), &host(&sshd, transport)).await;
            result.unwrap_or_else(|error| panic!("{kind}, {transport:?}: {error}"));
        }
    }
}

#[tokio::test]
async fn hashed_names_are_found() {
    let sshd = Sshd::start("");
    sshd.know();
    let file = sshd.dot_ssh("known_hosts");
    assert!(
        Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    assert!(sshd.known_hosts().starts_with("|1|"));
    for transport in BOTH {
        hello(&connector(&sshd), &host(&sshd, transport)).await.unwrap();
    }
}

#[tokio::test]
async fn a_changed_key_is_refused_and_the_printed_command_mends_it() {
    let sshd = Sshd::start("");
    let other = sshd.dot_ssh("other");
    keygen(&other, "ed25519", "");
    let other = std::fs::read_to_string(format!("{}.pub", other.display())).unwrap();
    for transport in BOTH {
        sshd.write_known_hosts(&format!("# a comment\n{} {other}", place(&sshd)));
        // Not even --accept-new-host-keys accepts it.
        let text = refusal(&trusting(&sshd), &host(&sshd, transport)).await;
        let file = sshd.dot_ssh("known_hosts");
        says(
            &text,
            &["db1", "HOST KEY CHANGED", &format!("{}:2", file.display()), "SHA256:"],
        );
        let command = text
            .lines()
            .find(|line| line.trim().starts_with("ssh-keygen -R"))
            .expect("a command");
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success());
        hello(&trusting(&sshd), &host(&sshd, transport)).await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_host_is_refused() {
    let sshd = Sshd::start("");
    for transport in BOTH {
        let text = refusal(&connector(&sshd), &host(&sshd, transport)).await;
        says(
            &text,
            &["db1", "unknown host", "ssh-ed25519 SHA256:", "--accept-new-host-keys"],
        );
    }
    assert_eq!(sshd.known_hosts(), "");
}

#[tokio::test]
async fn a_new_host_is_learnt_once() {
    for (transport, hashed) in BOTH
        .into_iter()
        .flat_map(|transport| [(transport, false), (transport, true)])
    {
        let sshd = Sshd::start("");
        let file = sshd.dot_ssh("known_hosts");
        // The last line of the file has no end; ssh itself would glue its own to it.
        let end = if transport == TransportKind::Native { "" } else { "\n" };
        sshd.write_known_hosts(&format!("other {}{end}", sshd.host_key("ed25519")));
        let config = if hashed { "Host *\n HashKnownHosts yes\n" } else { "" };
        let learning = connector_with(&sshd, config, true, Arc::new(NoPrompt));
        let target = host(&sshd, transport);
        let many = if transport == TransportKind::Native { 5 } else { 1 };
        for result in futures::future::join_all((0..many).map(|_| hello(&learning, &target))).await {
            result.unwrap();
        }
        let text = sshd.known_hosts();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.contains("|1|"), hashed, "{text}");
        let found = Command::new("ssh-keygen")
            .args(["-F", &place(&sshd), "-f"])
            .arg(&file)
            .status()
            .unwrap();
        assert!(found.success(), "ssh-keygen finds it: {text}");
        // From now on it is known, to both.
        for transport in BOTH {
            hello(&connector(&sshd), &host(&sshd, transport)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn learning_makes_a_private_file_and_folder() {
    use std::os::unix::fs::PermissionsExt;
    let sshd = Sshd::start("");
    let file = sshd.root.path().join("new/folder/known_hosts");
    let mut host = host(&sshd, TransportKind::Native);
    host.ssh.known_hosts = Some(file.clone());
    hello(&trusting(&sshd), &host).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn a_host_known_by_another_kind_of_key_is_not_new() {
    let sshd = Sshd::start("");
    let other = sshd.dot_ssh("other");
    keygen(&other, "ecdsa", "");
    let other = std::fs::read_to_string(format!("{}.pub", other.display())).unwrap();
    let text = format!("{} {other}", place(&sshd));
    sshd.write_known_hosts(&text);
    for transport in BOTH {
        let refused = refusal(&trusting(&sshd), &host(&sshd, transport)).await;
        let parts = ["HOST KEY CHANGED", "ssh-ed25519", "known_hosts:1", "ssh-keygen -R"];
        says(&refused, &parts);
        assert_eq!(sshd.known_hosts(), text, "nothing was learnt");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_is_also_trusted() {
    let sshd = Sshd::start("");
    let key = sshd.host_key("ed25519");
    sshd.write_known_hosts(&format!("{0} {key}\n@revoked {0} {key}\n", place(&sshd)));
    for transport in BOTH {
        let text = refusal(&trusting(&sshd), &host(&sshd, transport)).await;
        says(&text, &["db1", "@revoked", "SHA256:"]);
    }
}

#[tokio::test]
async fn a_rotated_key_is_accepted_beside_the_old_one() {
    let sshd = Sshd::start("");
    let other = sshd.dot_ssh("other");
    keygen(&other, "ed25519", "");
    let other = std::fs::read_to_string(format!("{}.pub", other.display())).unwrap();
    sshd.write_known_hosts(&format!("{0} {other}{0} {1}\n", place(&sshd), sshd.host_key("ed25519")));
    for transport in BOTH {
        hello(&connector(&sshd), &host(&sshd, transport)).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_on_file_without_the_port_is_trusted_and_never_contradicts() {
    let sshd = Sshd::start("");
    sshd.write_known_hosts(&format!("127.0.0.1 {}\n", sshd.host_key("ed25519")));
    for transport in BOTH {
        hello(&connector(&sshd), &host(&sshd, transport)).await.unwrap();
    }
    for (transport, kind) in BOTH
        .into_iter()
        .flat_map(|transport| [(transport, "ed25519"), (transport, "ecdsa")])
    {
        let other = sshd.dot_ssh(&format!("other_{kind}_{transport:?}"));
        keygen(&other, kind, "");
        let other = std::fs::read_to_string(format!("{}.pub", other.display())).unwrap();
        sshd.write_known_hosts(&format!("127.0.0.1 {other}"));
        hello(&trusting(&sshd), &host(&sshd, transport)).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_certificate_makes_auto_take_openssh() {
    let sshd = Sshd::start("");
    let ca = sshd.root.path().join("ca");
    keygen(&ca, "ed25519", "");
    let host_key = sshd.root.path().join("host_ed25519");
    let sign = ["-q", "-h", "-I", "host", "-n", "127.0.0.1", "-s"];
    assert!(
        Command::new("ssh-keygen")
            .args(sign)
            .arg(&ca)
            .arg(&host_key)
            .status()
            .unwrap()
            .success()
    );
    // sshd reads its keys when it starts.
    let sshd = sshd.restarted(&format!("HostCertificate {}-cert.pub", host_key.display()));
    let public = std::fs::read_to_string(format!("{}.pub", ca.display())).unwrap();
    sshd.write_known_hosts(&format!("@cert-authority [127.0.0.1]:* {public}"));

    let connector = connector(&sshd);
    let auto = host(&sshd, TransportKind::Auto);
    let (chosen, reason) = connector.choice(&auto).await.unwrap();
    assert_eq!(chosen, TransportKind::OpenSsh);
    says(&reason, &["certificate authority"]);
    hello(&connector, &auto).await.unwrap();

    let text = refusal(&trusting(&sshd), &host(&sshd, TransportKind::Native)).await;
    says(&text, &["certificate authority", "known_hosts:1", "transport: openssh"]);
}
