//! What travels over a connection, and how commands end.

use std::time::Duration;

use super::*;

const MEGABYTE: usize = 1 << 20;

/// Bytes that no compression or mix-up leaves the same.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as u8
    };
    (0..count).map(step).collect()
}

/// A connection to a fresh sshd.
async fn connected(transport: TransportKind, extra: &str) -> (Sshd, Box<dyn Connection>) {
    let sshd = Sshd::start(extra);
    sshd.know();
    let connection = connector(&sshd).connect(&host(&sshd, transport)).await.unwrap();
    (sshd, connection)
}

#[tokio::test]
async fn ten_megabytes_go_each_way() {
    let input = bytes(10 * MEGABYTE);
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        let outcome = run(&*connection, "cat", &input).await.unwrap();
        assert!(
            outcome.stdout == input,
            "{transport:?}: {} bytes came back",
            outcome.stdout.len()
        );
        assert_eq!(outcome.exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn both_outputs_run_full_at_the_same_time() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        let script =
            "i=0; while [ $i -lt 64 ]; do head -c 32768 /dev/zero; head -c 32768 /dev/zero >&2; i=$((i+1)); done";
        let outcome = run(&*connection, script, b"").await.unwrap();
        assert_eq!(
            (outcome.stdout.len(), outcome.stderr.len()),
            (2 * MEGABYTE, 2 * MEGABYTE),
            "{transport:?}"
        );
    }
}

#[tokio::test]
async fn one_output_can_be_read_after_the_other() {
    let (_sshd, connection) = connected(TransportKind::Native, "").await;
    let script = "head -c 2097152 /dev/zero; head -c 2097152 /dev/zero >&2; echo end >&2";
    let mut pipe = connection.open(script).await.unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    pipe.stderr.read_to_end(&mut stderr).await.unwrap();
    pipe.stdout.read_to_end(&mut stdout).await.unwrap();
    assert_eq!((stdout.len(), stderr.len()), (2 * MEGABYTE, 2 * MEGABYTE + 4));
    assert_eq!(pipe.exit.await, Exit::Code(0));
}

#[tokio::test]
async fn ends_are_told_apart() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        for code in [0, 3, 127, 254, 255] {
            let outcome = run(&*connection, &format!("exit {code}"), b"").await.unwrap();
            assert_eq!(outcome.exit, Exit::Code(code), "{transport:?}");
        }
        let outcome = run(&*connection, "kill -KILL $$", b"").await.unwrap();
        let signal = if transport == TransportKind::Native {
            "KILL"
        } else {
            "unknown"
        };
        assert_eq!(outcome.exit, Exit::Signal(signal.to_owned()), "{transport:?}");
        let outcome = run(&*connection, "no-such-command", b"").await.unwrap();
        assert_eq!(outcome.exit, Exit::Code(127), "{transport:?}");
        says(&String::from_utf8(outcome.stderr).unwrap(), &["no-such-command"]);
    }
}

#[tokio::test]
async fn standard_error_holds_nothing_but_the_commands_own() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        let outcome = run(&*connection, "echo one >&2; exit 255", b"").await.unwrap();
        assert_eq!(String::from_utf8(outcome.stderr).unwrap(), "one\n", "{transport:?}");
    }
}

#[tokio::test]
async fn a_cut_connection_leaves_the_result_unknown() {
    for transport in BOTH {
        let (sshd, connection) = connected(transport, "").await;
        let mut pipe = connection.open("echo ready; cat").await.unwrap();
        let mut ready = [0; 6];
        pipe.stdout.read_exact(&mut ready).await.unwrap();
        sshd.cut();
        let mut rest = Vec::new();
        pipe.stdout.read_to_end(&mut rest).await.unwrap();
        assert_eq!(pipe.exit.await, Exit::Lost, "{transport:?}");
        if transport == TransportKind::Native {
            let error = connection.open("true").await.err().expect("the connection is gone");
            assert_eq!(error.stage, hactl::transport::Stage::Lost);
        }
    }
}

#[tokio::test]
async fn a_command_that_ignores_its_input_does_not_block_the_writer() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        let outcome = run(&*connection, "echo done", &bytes(10 * MEGABYTE)).await.unwrap();
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.exit),
            (&b"done\n"[..], Exit::Code(0)),
            "{transport:?}"
        );
    }
}

#[tokio::test]
async fn dropping_the_input_is_its_end() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        let mut pipe = connection.open("cat; echo end").await.unwrap();
        pipe.stdin.write_all(b"some ").await.unwrap();
        drop(pipe.stdin);
        let mut text = String::new();
        pipe.stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "some end\n", "{transport:?}");
    }
}

#[tokio::test]
async fn output_after_the_exit_status_still_arrives() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        // The shell ends at once; its child writes a moment later.
        let outcome = run(&*connection, "(sleep 0.2; echo late) & exit 4", b"").await.unwrap();
        assert_eq!(outcome.stdout, b"late\n", "{transport:?}");
        assert_eq!(outcome.exit, Exit::Code(4), "{transport:?}");
    }
}

#[tokio::test]
async fn dropping_the_pipe_ends_a_command_that_reads() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "").await;
        let mut pipe = connection.open("echo $$; exec cat").await.unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(pipe.stdout.read_u8().await.unwrap());
        }
        let process = format!("/proc/{}", String::from_utf8(line).unwrap().trim());
        assert!(Path::new(&process).exists());
        drop(pipe);
        let gone = async {
            while Path::new(&process).exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone)
            .await
            .expect("the command ended");
    }
}

#[tokio::test]
async fn one_session_is_enough() {
    for transport in BOTH {
        let (_sshd, connection) = connected(transport, "MaxSessions 1").await;
        for _ in 0..3 {
            assert_eq!(run(&*connection, "true", b"").await.unwrap().exit, Exit::Code(0));
        }
    }
    // A second one at the same time is refused in words.
    let (_sshd, connection) = connected(TransportKind::Native, "MaxSessions 1").await;
    let _first = connection.open("cat").await.unwrap();
    let error = connection.open("true").await.err().expect("one session only");
    says(
        &format!("{error} {:?}", error.hint),
        &["db1", "no more sessions", "MaxSessions"],
    );
}
