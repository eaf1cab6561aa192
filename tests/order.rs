//! Orders carried out by the real host side over the real protocol, in a sandbox.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::sandbox::Sandbox;
use hactl::engine::link::{Link, Links, Order, Progress, ShellLinks, Verdict};
use hactl::inventory::{Become, Host, HostRole, Ssh, TransportKind};
use hactl::plan::{Desired, Step, build};
use hactl::resource::{Ask, Command, Facts, File, Guard, Observed, Resource, Spec, Validator};

fn host() -> Host {
    Host {
        name: "srv1".into(),
        address: "127.0.0.1".parse().unwrap(),
        roles: HostRole::ALL.to_vec(),
        primary: false,
        standby: false,
        public_address: Vec::new(),
        workers: None,
        group: None,
        ssh: Ssh {
            user: "root".into(),
            port: 22,
            identity_file: None,
            known_hosts: None,
            jump: None,
            become_root: Become::None,
            transport: TransportKind::Local,
            connect_timeout: 10,
        },
    }
}

async fn link(sandbox: &Sandbox) -> Box<dyn Link> {
    let links = ShellLinks {
        connect: Arc::new(sandbox.clone()),
        become_password: None,
    };
    links.link(&host()).await.unwrap()
}

fn steps(specs: Vec<Spec>) -> Vec<Step> {
    let resources = specs
        .into_iter()
        .map(|spec| Resource {
            role: "test",
            stage: 0,
            spec,
        })
        .collect();
    build(
        &Desired {
            host: "srv1".into(),
            resources,
        },
        &Observed::bare(Facts::assumed()),
    )
    .steps
}

fn command(name: &str, run: &str) -> Command {
    Command {
        name: name.into(),
        guards: vec![Guard::Exists(format!("/nonexistent/{name}"))],
        run: run.into(),
        user: None,
        dir: None,
        env: Vec::new(),
        input: None,
        deadline: Duration::from_secs(30),
        creates: Vec::new(),
    }
}

fn order<'a>(run: &'a str, steps: &'a [Step]) -> Order<'a> {
    Order {
        run,
        who: "me@here",
        since: "now",
        doing: "test",
        generation: "",
        steps,
        last: true,
    }
}

async fn carry_out(link: &mut dyn Link, order: Order<'_>) -> (Verdict, String) {
    let mut said = String::new();
    let mut take = |progress| match progress {
        Progress::Output(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
        Progress::Began(index) => said.push_str(&format!("[{index}]\n")),
        Progress::Ended(index, status) => said.push_str(&format!("[{index}={status}]\n")),
        Progress::Waits(why) => said.push_str(&format!("[waits {why}]\n")),
    };
    let verdict = link.carry_out(order, &mut take).await.unwrap();
    (verdict, said)
}

#[tokio::test]
async fn files_and_secrets_arrive_literally_in_one_round_trip() {
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.etc().join(name).display().to_string();
    let nasty = "a'b\"c$(touch x)`y`\\n\u{1b}[31m\n\x1e fake mark\nhactl t 5\n\n\n";
    let mut secret = command("secret", &format!("cat >{}", path("secret")));
    secret.input = Some(hactl::secret::Secret::new(nasty).into());
    let steps = steps(vec![File::new(path("a b'c"), nasty).into(), secret.into()]);
    let mut link = link(&sandbox).await;
    let (verdict, said) = carry_out(link.as_mut(), order("r1", &steps)).await;
    assert_eq!((verdict, said.as_str()), (Verdict::Done, "[0]\n[0=0]\n[1]\n[1=0]\n"));
    assert_eq!(std::fs::read_to_string(path("a b'c")).unwrap(), nasty);
    assert_eq!(std::fs::read_to_string(path("secret")).unwrap(), nasty);
    assert_eq!(link.round_trips(), 1);

    // The probe sees it, in one round trip, and finds nothing to do.
    let mut ask = Ask::default();
    ask.path(&path("a b'c"));
    ask.contents.insert(path("secret"));
    let seen = link.ask(&ask).await.unwrap();
    assert_eq!(seen.contents[&path("secret")], nasty.as_bytes());
    assert!(seen.paths[&path("a b'c")].sha256.is_some());
    assert_eq!(seen.facts.generation, "r1");
    assert_eq!(link.round_trips(), 2);
}

#[tokio::test]
async fn a_failing_step_stops_the_order_and_says_why() {
    let sandbox = Sandbox::new();
    let steps = steps(vec![
        command("one", "echo fine").into(),
        command("two", "echo broken; exit 3").into(),
        command("three", "echo never").into(),
    ]);
    let (verdict, said) = carry_out(link(&sandbox).await.as_mut(), order("r1", &steps)).await;
    assert_eq!(verdict, Verdict::StepFailed);
    assert_eq!(said, "[0]\nfine\n[0=0]\n[1]\nbroken\ncould not: two\n[1=1]\n");
}

#[tokio::test]
async fn a_step_past_its_deadline_is_ended() {
    let sandbox = Sandbox::new();
    let mut slow = command("slow", "sleep 600");
    slow.deadline = Duration::from_secs(1);
    let steps = steps(vec![slow.into()]);
    let (verdict, said) = carry_out(link(&sandbox).await.as_mut(), order("r1", &steps)).await;
    assert_eq!((verdict, said.as_str()), (Verdict::StepFailed, "[0]\n[0=124]\n"));
}

#[tokio::test]
async fn a_second_run_is_told_who_holds_the_lock_and_the_lock_dies_with_its_connection() {
    let sandbox = Sandbox::new();
    let first = steps(vec![command("first", "echo x").into()]);
    let mut holder = link(&sandbox).await;
    let mut one = order("r1", &first);
    one.last = false;
    assert_eq!(carry_out(holder.as_mut(), one).await.0, Verdict::Done);

    let mut other = link(&sandbox).await;
    let mut two = order("r2", &first);
    two.generation = "r1";
    let (verdict, _) = carry_out(other.as_mut(), two.clone()).await;
    assert_eq!(verdict, Verdict::Locked("me@here, since now: test (run r1)".into()));
    other.close().await;

    holder.close().await;
    let mut third = link(&sandbox).await;
    let (verdict, _) = carry_out(third.as_mut(), two).await;
    assert_eq!(verdict, Verdict::Done);
}

/// Makes the holder of run r1 look as if nothing had been heard of it for `seconds`.
fn silent_for(sandbox: &Sandbox, seconds: u64) {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let up: u64 = text.split('.').next().unwrap().parse().unwrap();
    std::fs::write(sandbox.run().join("runs/r1/heard"), format!("{}\n", up - seconds)).unwrap();
}

fn heard(sandbox: &Sandbox) -> Option<String> {
    std::fs::read_to_string(sandbox.run().join("runs/r1/heard")).ok()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_host_hears_of_its_run_while_a_step_runs_and_between_orders() {
    let sandbox = Sandbox::new();
    let gate = sandbox.etc().join("gate");
    let waits = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let waits = steps(vec![command("waits", &waits).into()]);
    let mut link = link(&sandbox).await;
    // As every run: it asked before it changes anything.
    link.ask(&Ask::default()).await.unwrap();
    let mut order = order("r1", &waits);
    order.last = false;
    let during = async {
        until("the order began", || heard(&sandbox).is_some()).await;
        silent_for(&sandbox, 30);
        let silent = heard(&sandbox);
        until("a heartbeat during the step", || heard(&sandbox) != silent).await;
        std::fs::write(&gate, "").unwrap();
    };
    let ((verdict, said), ()) = tokio::join!(carry_out(link.as_mut(), order.clone()), during);
    assert_eq!((verdict, said.as_str()), (Verdict::Done, "[0]\n[0=0]\n"));
    silent_for(&sandbox, 30);
    let silent = heard(&sandbox);
    until("a heartbeat between orders", || heard(&sandbox) != silent).await;
    // Neither was taken for a part of the next order.
    order.last = true;
    assert_eq!(carry_out(link.as_mut(), order).await.0, Verdict::Done);
}

#[tokio::test]
async fn a_silent_run_is_ended_and_one_that_was_just_heard_is_not() {
    let sandbox = Sandbox::new();
    let first = steps(vec![command("first", "echo x").into()]);
    let mut holder = link(&sandbox).await;
    let mut one = order("r1", &first);
    one.last = false;
    assert_eq!(carry_out(holder.as_mut(), one.clone()).await.0, Verdict::Done);
    let mut two = order("r2", &first);
    two.generation = "r1";

    silent_for(&sandbox, 30);
    let verdict = carry_out(link(&sandbox).await.as_mut(), two.clone()).await.0;
    let Verdict::Locked(who) = verdict else {
        panic!("{verdict:?}")
    };
    assert!(who.contains("nothing was heard of it for 3"), "{who}");

    silent_for(&sandbox, 60);
    assert_eq!(carry_out(link(&sandbox).await.as_mut(), two).await.0, Verdict::Done);
    let late = holder.carry_out(one, &mut |_| {}).await;
    assert!(late.is_err(), "the first run cannot go on: {late:?}");
}

/// The step of a run that is gone goes on to its end, and only then another run's begin.
#[tokio::test]
async fn two_runs_never_change_a_host_at_once() {
    for gone in ["silent", "closed"] {
        let sandbox = Sandbox::new();
        let (gate, log) = (sandbox.etc().join("gate"), sandbox.etc().join("log"));
        let slow = format!(
            "echo began >>{log}; while [ ! -e {gate} ]; do sleep 0.05; done; echo ended >>{log}",
            log = log.display(),
            gate = gate.display()
        );
        let slow = steps(vec![
            command("slow", &slow).into(),
            command("never", &format!("echo never >>{}", log.display())).into(),
        ]);
        let quick = steps(vec![
            command("quick", &format!("echo other >>{}", log.display())).into(),
        ]);
        let mut holder = link(&sandbox).await;
        let running = tokio::spawn(async move { holder.carry_out(order("r1", &slow), &mut |_| {}).await.map(drop) });
        until("the slow step began", || log.exists()).await;
        match gone {
            "silent" => silent_for(&sandbox, 60),
            _ => {
                running.abort();
                until("the end of the connection was noticed", || heard(&sandbox).is_none()).await;
            }
        }
        let mut two = order("r2", &quick);
        two.generation = "r1";
        let mut other = link(&sandbox).await;
        let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
        let open = async {
            waiting.recv().await;
            std::fs::write(&gate, "").unwrap();
        };
        let mut take = |progress| {
            if matches!(progress, Progress::Waits(_)) {
                waits.send(()).unwrap();
            }
        };
        let (verdict, ()) = tokio::join!(other.carry_out(two, &mut take), open);
        assert_eq!(verdict.unwrap(), Verdict::Done, "{gone}");
        assert_eq!(
            std::fs::read_to_string(&log).unwrap(),
            "began\nended\nother\n",
            "{gone}"
        );
        if gone == "silent" {
            assert!(running.await.unwrap().is_err(), "the first run cannot go on");
        }
    }
}

/// What an order that was refused did not read of its payload is data, whatever it looks like.
#[tokio::test]
async fn the_payload_of_a_refused_order_is_never_run() {
    let sandbox = Sandbox::new();
    let trap = sandbox.etc().join("trap");
    let script = format!(": >{}", trap.display());
    let text = format!("x\nhactl t {}\n{script}\n", script.len());
    let hostile = steps(vec![
        File::new(sandbox.etc().join("f").display().to_string(), text.repeat(200)).into(),
    ]);
    let mut wrong = order("r1", &hostile);
    wrong.generation = "another";
    let mut refused = link(&sandbox).await;
    let (verdict, _) = carry_out(refused.as_mut(), wrong).await;
    assert!(matches!(verdict, Verdict::Moved(_)), "{verdict:?}");
    // Waits for the shell's end.
    refused.close().await;
    assert!(!trap.exists(), "a line of a file was run");
}

/// A run whose connection died leaves its last step running: the next one sees that, waits, and looks again.
#[tokio::test]
async fn what_a_cut_off_run_still_does_is_waited_for() {
    let sandbox = Sandbox::new();
    let gate = sandbox.etc().join("gate").display().to_string();
    let slow = steps(vec![
        command("slow", &format!("while [ ! -e {gate} ]; do sleep 0.05; done")).into(),
    ]);
    let mut cut = link(&sandbox).await;
    let pid = sandbox.run().join("runs/r1/pid");
    let began = async {
        while !pid.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut ignore = |_| {};
    tokio::select! {
        _ = cut.carry_out(order("r1", &slow), &mut ignore) => panic!("the step waits for its gate"),
        () = began => {}
    }
    drop(cut);
    until("the end of the connection was noticed", || heard(&sandbox).is_none()).await;

    let mut next = link(&sandbox).await;
    assert!(next.ask(&Ask::default()).await.unwrap().facts.busy);
    let mut waits = |progress| {
        assert_eq!(
            progress,
            Progress::Waits("for the last step of a run that was cut off".into())
        );
        std::fs::write(&gate, "").unwrap();
    };
    assert_eq!(next.settle(&mut waits).await.unwrap(), Verdict::Done);
    assert!(!next.ask(&Ask::default()).await.unwrap().facts.busy);
}

/// The lock is taken at whichever try it becomes free.
#[tokio::test]
async fn the_lock_may_become_free_at_any_try() {
    let real = std::fs::read("/usr/bin/flock").unwrap();
    for busy in 0..6 {
        let sandbox = Sandbox::new();
        let etc = sandbox.etc();
        let flock = etc.join("flock");
        std::fs::write(&flock, &real).unwrap();
        std::fs::set_permissions(&flock, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let tries = etc.join("tries");
        std::fs::write(&tries, "").unwrap();
        sandbox.replace(
            "flock",
            &format!(
                "#!/bin/sh\n[ \"$(wc -c <{tries})\" -ge {busy} ] || {{ printf x >>{tries}; exit 1; }}\nexec {flock} \"$@\"\n",
                tries = tries.display(),
                flock = flock.display(),
            ),
        );
        let verdict = link(&sandbox).await.settle(&mut |_| {}).await.unwrap();
        assert_eq!(verdict, Verdict::Done, "after {busy} tries");
        assert_eq!(std::fs::read_to_string(&tries).unwrap().len(), busy);
    }
}

#[tokio::test]
async fn a_host_that_another_run_changed_is_refused() {
    let sandbox = Sandbox::new();
    let steps = steps(vec![command("first", "echo x").into()]);
    let mut first = link(&sandbox).await;
    assert_eq!(carry_out(first.as_mut(), order("r1", &steps)).await.0, Verdict::Done);
    first.close().await;
    let (verdict, _) = carry_out(link(&sandbox).await.as_mut(), order("r2", &steps)).await;
    assert_eq!(
        verdict,
        Verdict::Moved("another run (r1) changed this host after it was looked at".into())
    );
}

#[tokio::test]
async fn stopping_ends_between_steps() {
    let sandbox = Sandbox::new();
    let gate = sandbox.etc().join("gate").display().to_string();
    let steps = steps(vec![
        command("waits", &format!("while [ ! -e {gate} ]; do sleep 0.05; done")).into(),
        command("never", "echo never").into(),
    ]);
    let mut link = link(&sandbox).await;
    let stopper = link.stopper("r1");
    let (began, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let stop = async {
        seen.recv().await;
        stopper.soon().await;
        std::fs::write(&gate, "").unwrap();
    };
    let mut take = |progress| {
        if progress == Progress::Began(0) {
            began.send(()).unwrap();
        }
    };
    let (verdict, ()) = tokio::join!(link.carry_out(order("r1", &steps), &mut take), stop);
    assert_eq!(verdict.unwrap(), Verdict::Stopped);
}

#[tokio::test]
async fn stopping_now_ends_the_running_step() {
    let sandbox = Sandbox::new();
    let steps = steps(vec![command("waits", "sleep 600").into()]);
    let mut link = link(&sandbox).await;
    let stopper = link.stopper("r1");
    let pid = sandbox.run().join("runs/r1/pid");
    let stop = async {
        while !pid.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stopper.now().await;
    };
    let mut ignore = |_| {};
    let (verdict, ()) = tokio::join!(link.carry_out(order("r1", &steps), &mut ignore), stop);
    assert_eq!(verdict.unwrap(), Verdict::StepFailed);
}

#[tokio::test]
async fn files_that_their_validator_refuses_stay_as_they_were() {
    let sandbox = Sandbox::new();
    let tree = sandbox.etc().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("main.conf"), "old main\n").unwrap();
    let file = |name: &str, text: &str| File {
        validator: Some(Validator {
            name: "judge".into(),
            tree: Some(tree.display().to_string()),
            check: "! grep -rn bad \"$TREE\"".into(),
        }),
        ..File::new(tree.join(name).display().to_string(), text)
    };
    let refused = steps(vec![
        file("main.conf", "new main\n").into(),
        file("part.conf", "bad part\n").into(),
    ]);
    assert_eq!(refused.len(), 1, "one validated swap");
    let mut first = link(&sandbox).await;
    let (verdict, said) = carry_out(first.as_mut(), order("r1", &refused)).await;
    first.close().await;
    assert_eq!(verdict, Verdict::StepFailed);
    assert!(
        said.contains(&format!("{}:1:bad part", tree.join("part.conf").display())),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(tree.join("main.conf")).unwrap(), "old main\n");
    assert!(!tree.join("part.conf").exists());

    let accepted = steps(vec![
        file("main.conf", "new main\n").into(),
        file("part.conf", "good part\n").into(),
    ]);
    let mut again = order("r2", &accepted);
    again.generation = "r1";
    let (verdict, said) = carry_out(link(&sandbox).await.as_mut(), again).await;
    assert_eq!(verdict, Verdict::Done, "{said}");
    assert_eq!(std::fs::read_to_string(tree.join("part.conf")).unwrap(), "good part\n");
    let left: Vec<_> = std::fs::read_dir(&tree)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "no temporary files stay: {left:?}");
}

#[tokio::test]
async fn a_file_that_changed_since_the_plan_is_left_alone() {
    let sandbox = Sandbox::new();
    let path = sandbox.etc().join("file").display().to_string();
    std::fs::write(&path, "old\n").unwrap();
    let desired = Desired {
        host: "srv1".into(),
        resources: vec![Resource {
            role: "test",
            stage: 0,
            spec: File::new(path.clone(), "new\n").into(),
        }],
    };
    let mut link = link(&sandbox).await;
    let seen = link.ask(&hactl::plan::questions(&desired)).await.unwrap();
    let plan = build(&desired, &seen);
    std::fs::write(&path, "somebody else's\n").unwrap();
    let (verdict, said) = carry_out(link.as_mut(), order("r1", &plan.steps)).await;
    assert_eq!(verdict, Verdict::StepFailed);
    assert!(said.contains("[0=98]"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody else's\n");
}

/// A connection that is lost in a step is an error, and closing what is left of it is none.
#[tokio::test]
async fn a_lost_connection_is_an_error_and_can_be_closed() {
    let sandbox = Sandbox::new();
    let steps = steps(vec![command("waits", "sleep 3").into()]);
    let mut link = link(&sandbox).await;
    let holder = sandbox.run().join("holder");
    let killer = async {
        until("the run holds the host", || holder.exists()).await;
        let text = std::fs::read_to_string(&holder).unwrap();
        let pid = text.split(' ').next().unwrap();
        let killed = std::process::Command::new("kill").args(["-KILL", pid]).status();
        assert!(killed.unwrap().success());
    };
    let mut ignore = |_| {};
    let (lost, ()) = tokio::join!(link.carry_out(order("r1", &steps), &mut ignore), killer);
    let lost = lost.unwrap_err();
    assert!(lost.message.contains("srv1: the session was killed"), "{lost}");
    link.close().await;
}
