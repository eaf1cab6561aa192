//! Keys, passphrases, the agent.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::common::sshd::keygen;

#[tokio::test]
async fn every_kind_of_key_logs_in() {
    let sshd = Sshd::start("");
    sshd.know();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = sshd.user_key(&format!("my_{kind}"), kind, "");
        for transport in BOTH {
            hello(&connector(&sshd), &with_key(host(&sshd, transport), &key))
                .await
                .unwrap();
        }
    }
    // RSA signatures are never made with SHA-1.
    let log = sshd.log();
    assert!(log.contains("rsa-sha2-512") && !log.contains("pkalg ssh-rsa "), "{log}");
}

#[tokio::test]
async fn other_key_formats_log_in() {
    let sshd = Sshd::start("");
    sshd.know();
    for (kind, format) in [("rsa", "PEM"), ("rsa", "PKCS8"), ("ecdsa", "PKCS8")] {
        let key = sshd.user_key(&format!("{kind}_{format}"), kind, "");
        let convert = ["-p", "-q", "-N", "", "-m", format, "-f", key.to_str().unwrap()];
        assert!(Command::new("ssh-keygen").args(convert).status().unwrap().success());
        let result = hello(&connector(&sshd), &with_key(host(&sshd, TransportKind::Native), &key)).await;
        result.unwrap_or_else(|error| panic!("{kind} {format}: {error}"));
    }
}

#[tokio::test]
async fn the_usual_keys_are_found_without_being_named() {
    let sshd = Sshd::start("");
    sshd.know();
    // No configuration at all: ssh is not even asked.
    let sources = Sources {
        home: sshd.home(),
        config: None,
        system_config: "/nonexistent".into(),
    };
    let connector = Connector::new(Options {
        accept_new_host_keys: false,
        prompt: Arc::new(NoPrompt),
        sources,
    });
    let mut host = sshd.host("db1");
    host.ssh.transport = TransportKind::Auto;
    assert_eq!(connector.choice(&host).await.unwrap().0, TransportKind::Native);
    hello(&connector, &host).await.unwrap();
}

#[tokio::test]
async fn a_passphrase_is_asked_once_for_all_hosts() {
    let sshd = Sshd::start("");
    sshd.know();
    let key = sshd.user_key("locked", "ed25519", "sesame");
    let answer = Answer::new("sesame");
    let connector = connector_with(&sshd, "", false, answer.clone());
    let host = with_key(host(&sshd, TransportKind::Native), &key);
    let all = (0..6).map(|_| hello(&connector, &host));
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
    assert_eq!(answer.asked(), 1);
}

#[tokio::test]
async fn a_wrong_passphrase_says_so() {
    let sshd = Sshd::start("");
    sshd.know();
    let key = sshd.user_key("locked", "rsa", "sesame");
    let answer = Answer::new("open");
    let connector = connector_with(&sshd, "", false, answer.clone());
    let text = refusal(&connector, &with_key(host(&sshd, TransportKind::Native), &key)).await;
    says(&text, &["permission denied", "wrong passphrase", "/locked"]);
    assert_eq!(answer.asked(), 3);
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_that_the_server_does_not_want() {
    let sshd = Sshd::start("");
    sshd.know();
    let key = sshd.dot_ssh("foreign");
    keygen(&key, "ed25519", "sesame");
    let answer = Answer::new("sesame");
    let connector = connector_with(&sshd, "", false, answer.clone());
    let text = refusal(&connector, &with_key(host(&sshd, TransportKind::Native), &key)).await;
    says(&text, &["permission denied", "/foreign (ssh-ed25519 SHA256:"]);
    assert_eq!(answer.asked(), 0);
}

#[tokio::test]
async fn an_encrypted_key_without_a_terminal_says_what_to_do() {
    let sshd = Sshd::start("");
    sshd.know();
    let key = sshd.user_key("locked", "ed25519", "sesame");
    for transport in BOTH {
        let text = refusal(&connector(&sshd), &with_key(host(&sshd, transport), &key)).await;
        says(&text, &["db1", "permission denied", "encrypted", "ssh-add"]);
    }
}

#[tokio::test]
async fn refused_keys_are_listed_with_path_and_fingerprint() {
    let sshd = Sshd::start("");
    sshd.know();
    let key = sshd.dot_ssh("foreign");
    keygen(&key, "ecdsa", "");
    for transport in BOTH {
        let text = refusal(&connector(&sshd), &with_key(host(&sshd, transport), &key)).await;
        let print = Command::new("ssh-keygen").arg("-lf").arg(&key).output().unwrap();
        let print = String::from_utf8(print.stdout).unwrap();
        says(
            &text,
            &[
                "permission denied",
                key.to_str().unwrap(),
                print.split(' ').nth(1).unwrap(),
            ],
        );
    }
    let text = refusal(
        &connector(&sshd),
        &with_key(host(&sshd, TransportKind::Native), &sshd.dot_ssh("none")),
    )
    .await;
    says(&text, &["no key could be tried", "/none: no such file"]);
}

/// An agent that ends with the value.
struct Agent {
    socket: PathBuf,
    child: Child,
}

impl Agent {
    fn start(sshd: &Sshd) -> Self {
        let socket = sshd.root.path().join("agent");
        let mut command = Command::new("ssh-agent");
        let child = command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let agent = Agent {
            child: child.expect("ssh-agent is needed (package openssh-client)"),
            socket,
        };
        for _ in 0..1000 {
            if std::os::unix::net::UnixStream::connect(&agent.socket).is_ok() {
                return agent;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("ssh-agent does not start");
    }

    fn add(&self, key: &Path) {
        let mut command = Command::new("ssh-add");
        let status = command
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    }

    fn config(&self) -> String {
        format!("Host *\n IdentityAgent {}\n", self.socket.display())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_agent_logs_in() {
    let sshd = Sshd::start("");
    sshd.know();
    let agent = Agent::start(&sshd);
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let key = sshd.user_key(&format!("agent_{kind}"), kind, "");
        agent.add(&key);
        std::fs::remove_file(&key).unwrap();
        for transport in BOTH {
            let mut host = host(&sshd, transport);
            // A public key says which of the agent's is meant.
            host.ssh.identity_file = Some(format!("{}.pub", key.display()).into());
            let connector = connector_with(&sshd, &agent.config(), false, Arc::new(NoPrompt));
            hello(&connector, &host)
                .await
                .unwrap_or_else(|error| panic!("{kind}, {transport:?}: {error}"));
        }
    }
    // And without naming any; the home holds no other key that works.
    std::fs::remove_file(sshd.dot_ssh("id_ed25519")).unwrap();
    let mut host = host(&sshd, TransportKind::Native);
    host.ssh.identity_file = None;
    hello(
        &connector_with(&sshd, &agent.config(), false, Arc::new(NoPrompt)),
        &host,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_locked_key_that_the_agent_holds_needs_no_passphrase() {
    let sshd = Sshd::start("");
    sshd.know();
    let key = sshd.user_key("locked", "ed25519", "");
    let agent = Agent::start(&sshd);
    agent.add(&key);
    let lock = ["-p", "-q", "-P", "", "-N", "sesame", "-f", key.to_str().unwrap()];
    assert!(Command::new("ssh-keygen").args(lock).status().unwrap().success());
    let answer = Answer::new("sesame");
    let connector = connector_with(&sshd, &agent.config(), false, answer.clone());
    for transport in BOTH {
        hello(&connector, &with_key(host(&sshd, transport), &key))
            .await
            .unwrap();
    }
    assert_eq!(answer.asked(), 0);
}

#[tokio::test]
async fn an_agent_full_of_foreign_keys_does_not_hide_the_named_one() {
    let sshd = Sshd::start("MaxAuthTries 3");
    sshd.know();
    let agent = Agent::start(&sshd);
    for number in 0..5 {
        let key = sshd.dot_ssh(&format!("foreign{number}"));
        keygen(&key, "ed25519", "");
        agent.add(&key);
    }
    let connector = connector_with(&sshd, &agent.config(), false, Arc::new(NoPrompt));
    hello(&connector, &host(&sshd, TransportKind::Native)).await.unwrap();
    let mut host = host(&sshd, TransportKind::Native);
    host.ssh.identity_file = None;
    let text = refusal(&connector, &host).await;
    says(
        &text,
        &[
            "the server ended the login",
            "Too many authentication failures",
            "ssh.identity_file",
        ],
    );
}

#[tokio::test]
async fn a_certificate_beside_the_key_logs_in() {
    let sshd = Sshd::start("");
    sshd.know();
    let (ca, key) = (sshd.dot_ssh("ca"), sshd.dot_ssh("signed"));
    keygen(&ca, "ed25519", "");
    keygen(&key, "ed25519", "");
    let user = crate::common::sshd::whoami();
    let sign = Command::new("ssh-keygen")
        .args(["-q", "-I", "test", "-n", &user, "-s"])
        .arg(&ca)
        .arg(&key)
        .status();
    assert!(sign.unwrap().success());
    let mut all = std::fs::read_to_string(sshd.root.path().join("authorized_keys")).unwrap();
    all.push_str(&format!(
        "cert-authority {}",
        std::fs::read_to_string(sshd.dot_ssh("ca.pub")).unwrap()
    ));
    std::fs::write(sshd.root.path().join("authorized_keys"), all).unwrap();
    for transport in BOTH {
        hello(&connector(&sshd), &with_key(host(&sshd, transport), &key))
            .await
            .unwrap();
    }
}
