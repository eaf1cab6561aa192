//! Getting there: jump hosts, limits, dead ends, ssh's configuration.

use std::time::Duration;

use super::*;
use crate::common::sshd::{free_port, host as bare_host};

#[tokio::test]
async fn hosts_behind_a_jump_host_share_one_connection_to_it() {
    let bastion = Sshd::start("");
    let sshd = Sshd::start("");
    sshd.authorize(&sshd.dot_ssh("id_ed25519"));
    bastion.authorize(&sshd.dot_ssh("id_ed25519"));
    let line = |of: &Sshd| format!("[127.0.0.1]:{} {}\n", of.port, of.host_key("ed25519"));
    sshd.write_known_hosts(&(line(&sshd) + &line(&bastion)));
    let connector = connector(&sshd);
    let mut target = host(&sshd, TransportKind::Native);
    target.ssh.jump = Some(format!("127.0.0.1:{}", bastion.port));
    let all = (0..10).map(|_| hello(&connector, &target));
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
    assert_eq!(bastion.log().matches("Accepted publickey").count(), 1);
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 10);

    target.ssh.transport = TransportKind::OpenSsh;
    hello(&connector, &target).await.unwrap();
    assert_eq!(bastion.log().matches("Accepted publickey").count(), 2);
}

#[tokio::test]
async fn a_host_can_be_its_own_jump_host() {
    let sshd = Sshd::start("");
    sshd.know();
    let input = vec![7; 10 << 20];
    for transport in BOTH {
        let mut host = host(&sshd, transport);
        host.ssh.jump = Some(format!("127.0.0.1:{}", sshd.port));
        let connection = connector(&sshd).connect(&host).await.unwrap();
        let outcome = run(&*connection, "cat", &input).await.unwrap();
        assert!(
            outcome.stdout == input,
            "{transport:?}: {} bytes came back",
            outcome.stdout.len()
        );
    }
}

#[tokio::test]
async fn a_jump_host_must_be_known_and_reach_the_host() {
    let bastion = Sshd::start("");
    let sshd = Sshd::start("");
    bastion.authorize(&sshd.dot_ssh("id_ed25519"));
    sshd.know();
    let line = format!("[127.0.0.1]:{} {}\n", bastion.port, bastion.host_key("ed25519"));
    for transport in BOTH {
        let mut target = host(&sshd, transport);
        target.ssh.jump = Some(format!("127.0.0.1:{}", bastion.port));
        let text = refusal(&connector(&sshd), &target).await;
        says(&text, &["unknown host", "--accept-new-host-keys"]);
    }
    sshd.write_known_hosts(&(sshd.known_hosts() + &line));
    let mut target = host(&sshd, TransportKind::Native);
    target.ssh.jump = Some(format!("127.0.0.1:{}", bastion.port));
    target.ssh.port = free_port();
    says(
        &refusal(&connector(&sshd), &target).await,
        &["db1", "the jump host cannot reach it"],
    );
    // A dead jump host is told once for all who wait for it, and by its own name.
    target.ssh.jump = Some(format!("127.0.0.1:{}", free_port()));
    says(
        &refusal(&connector(&sshd), &target).await,
        &["jump host 127.0.0.1", "connection refused"],
    );
}

#[tokio::test]
async fn thirty_hosts_at_one_sshd_with_few_startups_all_get_in() {
    let sshd = Sshd::start("MaxStartups 3:100:3");
    sshd.know();
    let connector = connector(&sshd);
    let target = host(&sshd, TransportKind::Native);
    let all = (0..30).map(|_| hello(&connector, &target));
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
    assert!(sshd.log().contains("past MaxStartups"), "the limit was met");
}

#[tokio::test]
async fn openssh_repeats_dropped_handshakes_too() {
    let sshd = Sshd::start("MaxStartups 2:100:2");
    sshd.know();
    let connector = connector(&sshd);
    let target = host(&sshd, TransportKind::OpenSsh);
    let all = (0..10).map(|_| hello(&connector, &target));
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
    assert!(sshd.log().contains("past MaxStartups"), "the limit was met");
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let sshd = Sshd::start("");
    sshd.know();
    std::fs::write(sshd.root.path().join("authorized_keys"), "").unwrap();
    for transport in BOTH {
        let before = sshd.log().matches("Connection from").count();
        says(
            &refusal(&connector(&sshd), &host(&sshd, transport)).await,
            &["permission denied"],
        );
        assert_eq!(
            sshd.log().matches("Connection from").count() - before,
            1,
            "{transport:?}"
        );
    }
}

#[tokio::test]
async fn dead_ends_have_names() {
    let sshd = Sshd::start("");
    sshd.know();
    for transport in BOTH {
        let mut dead = host(&sshd, transport);
        dead.ssh.port = free_port();
        says(
            &refusal(&connector(&sshd), &dead).await,
            &["db1", "connection refused", "ssh.port"],
        );
    }
    let mut jump = host(&sshd, TransportKind::Native);
    jump.ssh.jump = Some("no-such-host.invalid".to_owned());
    says(
        &refusal(&connector(&sshd), &jump).await,
        &["jump host no-such-host.invalid", "cannot resolve"],
    );
}

#[tokio::test]
async fn a_silent_listener_is_given_up_in_time() {
    let sshd = Sshd::start("");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for transport in BOTH {
        let mut target = bare_host("db1", silent.local_addr().unwrap().port());
        target.ssh.transport = transport;
        target.ssh.connect_timeout = 1;
        let connector = connector(&sshd);
        let text = tokio::time::timeout(Duration::from_secs(30), refusal(&connector, &target)).await;
        says(&text.expect("bounded"), &["db1", "no answer", "connect_timeout"]);
    }
}

#[tokio::test]
async fn what_is_not_ssh_is_named() {
    let sshd = Sshd::start("");
    let web = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = web.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        while let Ok((mut stream, _)) = web.accept().await {
            let line = format!("HTTP/1.1 400 Bad Request {}\r\n", "x".repeat(400));
            let _ = stream.write_all(line.repeat(100).as_bytes()).await;
        }
    });
    let mut target = bare_host("db1", port);
    target.ssh.transport = TransportKind::Native;
    says(
        &refusal(&connector(&sshd), &target).await,
        &["db1", "does not speak SSH"],
    );
    serve.abort();
}

#[tokio::test]
async fn ssh_configuration_decides() {
    let sshd = Sshd::start("");
    sshd.know();
    let auto = host(&sshd, TransportKind::Auto);
    let native = TransportKind::Native;
    let openssh = TransportKind::OpenSsh;
    let cases = [
        ("", native, "nothing it lacks"),
        ("Host 10.9.9.9\n ProxyCommand nc %h %p\n", native, "nothing it lacks"),
        ("Host 127.*\n ProxyCommand nc %h %p\n", openssh, "ProxyCommand nc"),
        ("Host 127.*\n ProxyJump one,two\n", openssh, "ProxyJump one,two"),
        ("Host 127.*\n ProxyJump one\n", native, "nothing it lacks"),
        (
            "Host 127.*\n ProxyJump one\nHost one\n ProxyJump two\n",
            openssh,
            "one jump only",
        ),
        ("Host *\n PKCS11Provider /lib/token.so\n", openssh, "PKCS11Provider"),
        ("Host *\n CertificateFile ~/.ssh/cert.pub\n", openssh, "CertificateFile"),
        (
            "Host *\n PreferredAuthentications gssapi-with-mic\n",
            openssh,
            "PreferredAuthentications",
        ),
        ("Host *\n GSSAPIAuthentication yes\n", native, "nothing it lacks"),
        ("Match exec true\n BindAddress 127.0.0.1\n", openssh, "BindAddress"),
    ];
    for (config, kind, words) in cases {
        let connector = connector_with(&sshd, config, false, Arc::new(NoPrompt));
        let (chosen, reason) = connector.choice(&auto).await.unwrap();
        assert_eq!(chosen, kind, "{config}: {reason}");
        says(&reason, &[words]);
    }
    let connector = connector_with(&sshd, "Host 127.*\n ProxyCommand nc %h %p\n", false, Arc::new(NoPrompt));
    says(
        &refusal(&connector, &host(&sshd, native)).await,
        &["db1", "ProxyCommand", "transport: auto"],
    );
    let connector = connector_with(&sshd, "Hosst *\n", false, Arc::new(NoPrompt));
    says(&refusal(&connector, &auto).await, &["hosst", "config", "ssh -G"]);
}

#[tokio::test]
async fn native_follows_the_configuration() {
    let bastion = Sshd::start("");
    let sshd = Sshd::start("");
    bastion.authorize(&sshd.dot_ssh("id_ed25519"));
    let key = sshd.user_key("work key", "ed25519", "");
    bastion.authorize(&key);
    std::fs::write(
        sshd.dot_ssh("kh file"),
        format!(
            "behind {}\n[127.0.0.1]:{} {}\n",
            sshd.host_key("ed25519"),
            bastion.port,
            bastion.host_key("ed25519")
        ),
    )
    .unwrap();
    let dir = sshd.home().join(".ssh").display().to_string();
    let config = format!(
        "Host 10.77.0.31\n HostName 127.0.0.1\n HostKeyAlias behind\n ProxyJump bastion\n\
         Host bastion\n HostName 127.0.0.1\n Port {}\n User {}\n\
         Host *\n IdentityFile \"{dir}/work key\"\n UserKnownHostsFile \"{dir}/kh file\"\n",
        bastion.port,
        crate::common::sshd::whoami()
    );
    let mut target = sshd.host("db1");
    target.address = "10.77.0.31".parse().unwrap();
    target.ssh.transport = TransportKind::Auto;
    let connector = connector_with(&sshd, &config, false, Arc::new(NoPrompt));
    assert_eq!(connector.choice(&target).await.unwrap().0, TransportKind::Native);
    hello(&connector, &target).await.unwrap();
    assert_eq!(bastion.log().matches("Accepted publickey").count(), 1);
    // ssh itself agrees.
    target.ssh.transport = TransportKind::OpenSsh;
    hello(&connector, &target).await.unwrap();
}
