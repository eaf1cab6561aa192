//! A host that lies: it answers what it likes through the real protocol. hactl never panics, hangs, grows without bound,
//! prints what moves a cursor, or believes that something was done that was not.

mod common;
#[path = "hostile/liar.rs"]
mod liar;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hactl::engine::link::ShellLinks;
use hactl::engine::{Approved, Engine, Event, Events, Interrupt, StepOutcome, Summary};
use hactl::inventory::secrets::{Keyring, Secrets};
use hactl::report::plain::Plain;
use hactl::report::{DiffMode, Paint, json, plan_text};
use hactl::role::Templates;
use hactl::transport::TransportError;
use hactl::transport::wire::{Elevation, Limits, Piece, Session};
use liar::{Act, Liar, Line};
use proptest::prelude::*;
use tokio::sync::mpsc;

const INVENTORY: &str = "\
cluster: demo
hosts:
  srv1: { address: 10.77.0.11 }
app: { kind: wsgi, url: https://git.example.com/guestbook, ref: v1, module: 'guestbook:app' }
sites: [ { name: erp.example.com } ]
";

static TEMPLATES: LazyLock<Arc<Templates>> = LazyLock::new(|| Arc::new(Templates::load(None).unwrap()));

/// Bytes that a terminal would act on, and what is not even text.
const NASTY: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}evil\u{2066}\u{200e}\r\u{8}\u{feff}";

fn engine(host: &Liar) -> (Engine, mpsc::UnboundedReceiver<Event>) {
    let loaded = hactl::inventory::parse(INVENTORY, Path::new("/nowhere/inventory.yml")).expect("a good inventory");
    let secrets = Secrets::existing_or_placeholder(&loaded.inventory, &Keyring::from_env(Keyring::nobody())).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    let engine = Engine {
        inventory: Arc::new(loaded.inventory),
        templates: TEMPLATES.clone(),
        secrets: Arc::new(secrets.secrets),
        links: Arc::new(ShellLinks {
            connect: Arc::new(host.clone()),
            become_password: None,
        }),
        events: Events::new(sender, None),
        interrupt: Interrupt::never(),
        run: "r1".into(),
        who: "me@here".into(),
        since: "now".into(),
        doing: "test".into(),
        fingerprint: String::new(),
        extra_questions: None,
        declares: None,
        settles: true,
    };
    (engine, receiver)
}

/// A whole run against this host, in virtual time: `None` when the survey gave it up.
struct Run {
    summary: Option<Summary>,
    events: Vec<Event>,
    /// What plan, plain report and JSON say.
    shown: String,
    steps: usize,
}

fn run(host: &Liar) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // Virtual time: a day passes in no time when nobody does anything, so only what never ends is ended by this.
        let whole = async {
            let (engine, mut receiver) = engine(host);
            let survey = engine.survey(&[]).await;
            let steps = survey.plan.hosts.iter().map(|host| host.steps.len()).sum();
            let mut shown = plan_text::plan(&survey.plan, DiffMode::Full, Paint::default());
            let mut summary = None;
            if survey.failures.is_empty() {
                let approved = Approved::by_user(survey.plan.clone());
                summary = Some(engine.execute(survey, approved).await);
            }
            drop(engine);
            let mut events = Vec::new();
            let mut report = Plain::new(Paint::default(), true);
            while let Some(event) = receiver.recv().await {
                shown += &report.event(Duration::ZERO, &event);
                shown += &report.tick(Duration::from_secs(60));
                shown += &json::line(&event, "2026-01-01T00:00:00Z".parse().unwrap());
                events.push(event);
            }
            Run {
                summary,
                events,
                shown,
                steps,
            }
        };
        tokio::time::timeout(Duration::from_secs(86_400), whole)
            .await
            .expect("the run ends")
    })
}

impl Run {
    #[track_caller]
    fn is_quiet(&self) {
        let bad = self
            .shown
            .char_indices()
            .find(|(_, c)| (c.is_control() && !matches!(c, '\n' | '\t')) || hactl::quote::deceives(*c));
        if let Some((at, c)) = bad {
            let start = self.shown[..at].char_indices().rev().nth(100).map_or(0, |(at, _)| at);
            panic!("{c:?} is shown: {:?}", &self.shown[start..at + c.len_utf8()]);
        }
    }

    /// A run that did not do everything must not say so.
    #[track_caller]
    fn is_no_success(&self) {
        if let Some(summary) = &self.summary {
            assert_ne!(summary.exit_code, 0, "{:?}", self.events.last());
        }
    }
}

/// One request in virtual time; its result, and what its pieces counted for.
fn ask(host: &Liar, limits: Limits) -> (Result<i32, TransportError>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let inventory = hactl::inventory::parse(INVENTORY, Path::new("/nowhere/inventory.yml"))
            .unwrap()
            .inventory;
        let elevation = Elevation::of(&inventory.hosts["srv1"], None);
        let mut session = Session::open(Arc::new(host.clone()), "srv1", elevation).await.unwrap();
        let mut seen = 0;
        let mut sink = |piece| match piece {
            Piece::Mark(words) => seen += 1024 + words.concat().len(),
            Piece::Data(data) => seen += data.len(),
        };
        let result = session.run("true", &[], limits, &mut sink).await;
        session.close(true).await;
        (result, seen)
    })
}

fn words(text: &str) -> Line {
    Line::Mark(text.to_owned())
}

/// What an honest, bare host says to a probe, as far as it matters.
fn honest_probe() -> Vec<Line> {
    let clock = hactl::resource::clock::now();
    vec![
        words("facts"),
        Line::text(&format!(
            "ID=debian\nVERSION_ID=\"12\"\ncpus=2\nmemory_kb=4096000\nclock={clock}\n"
        )),
    ]
}

fn orders(lines: Vec<Line>, status: &str) -> Liar {
    Liar::answering(vec![
        Act::Answer(honest_probe(), "0".into()),
        Act::Answer(lines, status.to_owned()),
    ])
}

#[test]
fn an_honest_host_is_believed() {
    let steps = run(&orders(Vec::new(), "5")).steps;
    assert!(steps > 20);
    let lines = (0..steps).flat_map(|n| [words(&format!("begin {n}")), words(&format!("end {n} 0"))]);
    let run = run(&orders(lines.collect(), "0"));
    assert_eq!(run.summary.as_ref().map(|summary| summary.exit_code), Some(0));
    assert_eq!(run.summary.unwrap().failed, 0);
}

#[test]
fn steps_that_make_no_sense_are_no_success() {
    let cases: &[&[&str]] = &[
        &[],
        &["begin 0"],
        &["end 0 0"],
        &["begin 0", "begin 1"],
        &["begin 1", "end 1 0"],
        &["begin 0", "end 1 0"],
        &["begin 0", "end 0"],
        &["begin 0", "end 0 x"],
        &["begin 0", "end 0 99999999999999999999"],
        &["begin -1"],
        &["begin 99999999999999999999999"],
        &["begin 18446744073709551615", "end 18446744073709551615 0"],
        &["begin 4000000000"],
        &["begin"],
        &["end"],
        &["begin 0", "end 0 1", "begin 1", "end 1 0"],
        &["begin 0", "end 0 0", "begin 0", "end 0 0"],
        &["locked"],
        &["moved"],
        &["waits", "waits"],
        &["begin 0", "stopped"],
        &["nonsense \u{1b}[2J"],
    ];
    for marks in cases {
        for status in ["0", "4", "6", "7", "-1", "2147483647", "-2147483648"] {
            let lines = marks
                .iter()
                .flat_map(|mark| [words(mark), Line::text(NASTY), Line::text("\n")]);
            let run = run(&orders(lines.collect(), status));
            run.is_quiet();
            run.is_no_success();
            let summary = run.summary.as_ref().expect("a summary");
            let begun = run
                .events
                .iter()
                .filter(|event| matches!(event, Event::StepStarted { .. }))
                .count();
            let ended = run
                .events
                .iter()
                .filter(|event| matches!(event, Event::StepFinished { .. }))
                .count();
            assert!(
                begun <= 2 && ended <= begun,
                "{marks:?} {status}: {begun} began, {ended} ended"
            );
            assert!(
                (summary.changed == 0 || ended > 0) && summary.hosts.len() == 1,
                "{marks:?} {status}: {summary:?}"
            );
        }
    }
}

/// The connection closes after each byte of what an honest run answers.
#[test]
fn a_host_that_closes_anywhere_is_no_success() {
    let lines = vec![
        words("begin 0"),
        Line::text("hello\n"),
        words("end 0 0"),
        words("begin 1"),
    ];
    let mut closed = 0;
    for request in 0..2 {
        for at in 0..180 {
            let mut host = orders(lines.clone(), "0");
            host.closes_at(request, at);
            let run = run(&host);
            run.is_quiet();
            run.is_no_success();
            closed += usize::from(
                run.summary.is_none()
                    || run.events.iter().any(|e| {
                        matches!(
                            e,
                            Event::StepFinished {
                                outcome: StepOutcome::Unknown,
                                ..
                            }
                        )
                    }),
            );
        }
    }
    assert!(closed > 150, "{closed}");
}

/// What a host can say without end.
fn endless() -> Vec<Line> {
    vec![
        Line::text(&"x".repeat(50_000)),
        Line::text(&"x\n".repeat(30_000)),
        Line::text(&"\n\u{1e}".repeat(30_000)),
        Line::Bytes(vec![0xff; 60_000]),
        Line::Bytes(vec![b'\n'; 60_000]),
        words("facts"),
        words("begin 0"),
        words("waits"),
        words(&"x".repeat(10_000)),
        Line::Drip(b"x".to_vec()),
        Line::Drip(b"\n".to_vec()),
        Line::Drip(b"\x1e".to_vec()),
        Line::Silence,
    ]
}

#[test]
fn a_session_without_end_ends() {
    let limits = Limits {
        silence: Duration::from_secs(60),
        total: Some(Duration::from_secs(300)),
        bytes: 1 << 20,
    };
    for line in endless() {
        for host in [
            Liar::speaking(vec![Act::Endless(line.clone())]),
            Liar::answering(vec![Act::Endless(line.clone())]),
        ] {
            let (result, _) = ask(&host, limits);
            assert!(result.is_err(), "{line:?}");
            assert!(host.told() < 4 << 20, "{line:?}: {} bytes were read", host.told());
        }
    }
}

/// The same through a whole run; its own limits are larger.
#[test]
fn a_run_without_end_ends() {
    let begun = vec![words("begin 0")];
    let order = |line: &Line| {
        Liar::answering(vec![
            Act::Answer(honest_probe(), "0".into()),
            Act::Then(begun.clone(), Box::new(Act::Endless(line.clone()))),
        ])
    };
    let probe = |line: &Line| Liar::answering(vec![Act::Endless(line.clone())]);
    let all = endless();
    let hosts = [
        order(&all[1]),
        order(&all[6]),
        order(&all[7]),
        order(&all[9]),
        order(&all[12]),
        probe(&all[0]),
        probe(&all[5]),
        probe(&all[10]),
        probe(&all[12]),
    ];
    for (case, host) in hosts.into_iter().enumerate() {
        let run = run(&host);
        run.is_quiet();
        run.is_no_success();
        assert!(run.events.len() < 60_000, "{case}: {} events", run.events.len());
        assert!(host.told() < 100 << 20, "{case}: {} bytes were read", host.told());
    }
}

/// Everything that a host can say about itself is nasty: nothing of it moves a cursor.
#[test]
fn nothing_that_a_host_says_moves_a_cursor() {
    for section in [
        "facts",
        "paths",
        "hashes",
        "links",
        "content 0",
        "lines",
        "packages",
        "users",
        "groups",
        "units",
        "loaded nginx.service",
        "sysctls",
        "programs",
        "sql",
        "test 0",
        "status 0",
    ] {
        let fields = format!(
            "ID={NASTY}\nVERSION_ID={NASTY}\ncpus={NASTY}\nmemory_kb=18446744073709551615\ncpus=99999999\nclock=18446744073709551615\ngeneration={NASTY}\n\
             777\t{NASTY}\t{NASTY}\t1\tregular file\t/etc/nginx/nginx.conf\n\
             777\t{NASTY}\t{NASTY}\t1\tdirectory\t/etc/nginx/tls\n\
             777\troot\troot\t1\tregular file\t/etc/hosts\n\
             777\troot\troot\t18446744073709551615\tsymbolic link\t/srv/guestbook/current\n/srv/guestbook/current\t{NASTY}\n\
             app:x:1990:1990::{NASTY}:{NASTY}\napp:x:1:\ngroups=app app {NASTY}\n\
             Id=nginx.service\nLoadState=loaded\nActiveState={NASTY}\nUnitFileState={NASTY}\nInvocationID={NASTY}\nActiveEnterTimestamp=@x\n\n\
             m\nm !\n{NASTY}\n# hactl begin demo\n{NASTY}\n# hactl end demo\n\
             <methodResponse><struct><name>group</name><value><string>guestbook</string></value><name>name</name><value><string>guestbook-web</string></value><name>statename</name><value><string>{NASTY}</string></value>\n"
        );
        let mut lines = honest_probe();
        lines.extend([
            words("paths"),
            Line::text(&fields),
            words(section),
            Line::text(&fields),
            words(section),
            Line::Bytes(vec![0xfe, 0, 0x9b, 10, 0x80]),
        ]);
        let step = vec![
            words("begin 0"),
            Line::text(&format!("{NASTY}\n{NASTY}")),
            words("end 0 1"),
        ];
        let run = run(&Liar::answering(vec![
            Act::Answer(lines.clone(), "0".into()),
            Act::Answer(lines, "0".into()),
            Act::Answer(step.clone(), "4".into()),
            Act::Answer(step, "4".into()),
        ]));
        run.is_quiet();
        run.is_no_success();
        assert!(
            run.shown.contains("evil"),
            "{section}: the nasty words are not in it at all"
        );
    }
    for status in ["6", "7", "4"] {
        for mark in ["locked", "moved", "failed", "waits"] {
            let run = run(&orders(vec![words(mark), Line::text(&format!("{NASTY}\n"))], status));
            run.is_quiet();
            assert!(run.shown.contains("evil"));
        }
    }
    // Before the protocol began, too.
    let run = run(&Liar::speaking(vec![Act::Say(vec![Line::text(NASTY)]), Act::Close]));
    run.is_quiet();
    assert!(run.shown.contains("evil"));
}

/// What a host was given, it may say; it is not repeated.
#[test]
fn a_secret_that_a_host_repeats_is_masked() {
    let steps = vec![words("begin 0"), Line::Payload, words("end 0 1")];
    let host = orders(steps, "4");
    let run = run(&host);
    let secret = hactl::inventory::secrets::PLACEHOLDER;
    assert!(host.heard().contains(secret), "the host was given no secret");
    assert!(run.shown.contains("requirepass"), "the host repeated nothing");
    assert!(!run.shown.contains(secret));
}

/// Whatever it answers, what it is asked to do is the same: its words are data.
#[test]
fn answers_do_not_steer() {
    let honest = orders(Vec::new(), "5");
    run(&honest);
    for generation in ["x; touch /canary", "'$(touch /canary)'", "x\" y"] {
        let mut lines = honest_probe();
        lines.push(Line::text(&format!(
            "generation={generation}\nVERSION_CODENAME=x;y\narch=$(x)\n"
        )));
        let host = Liar::answering(vec![
            Act::Answer(lines, "0".into()),
            Act::Answer(Vec::new(), "5".into()),
        ]);
        run(&host);
        let differ = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| !line.starts_with("hactl "))
                .map(str::to_owned)
                .collect()
        };
        let (mine, theirs) = (host.heard(), honest.heard());
        let (mine, theirs) = (differ(&mine), differ(&theirs));
        assert_eq!(mine.len(), theirs.len());
        for (mine, theirs) in mine.iter().zip(&theirs) {
            assert!(
                mine == theirs || mine.trim_start().starts_with("hold "),
                "{mine}\n{theirs}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any bytes, anywhere, in any pieces.
    #[test]
    fn any_answer_ends(
        chunks in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Line::Bytes),
            "(begin|end|facts|paths|sql|status|content|done|waits|locked) ?-?[0-9]{0,20} ?-?[0-9]{0,12}".prop_map(Line::Mark),
            "[ -~\n\t]{0,80}".prop_map(|text| Line::text(&text)),
            Just(Line::text("\n\u{1e}")),
        ], 0..30),
        first in any::<bool>(),
    ) {
        let answer = Act::Answer(chunks, "0".into());
        let host = match first {
            true => Liar::answering(vec![answer]),
            false => Liar::answering(vec![Act::Answer(honest_probe(), "0".into()), answer]),
        };
        let run = run(&host);
        run.is_quiet();
        run.is_no_success();
    }

    /// The protocol alone: a session gives an error or a status, within its limits.
    #[test]
    fn a_session_keeps_its_limits(bytes in prop::collection::vec(any::<u8>(), 0..2000), marks in 0_usize..200) {
        let mut lines = vec![Line::Bytes(bytes)];
        lines.extend((0..marks).map(|n| words(&format!("m {n}"))));
        let host = Liar::answering(vec![Act::Answer(lines, "3".into())]);
        let limits = Limits { silence: Duration::from_secs(5), total: Some(Duration::from_secs(9)), bytes: 50_000 };
        let (result, seen) = ask(&host, limits);
        assert!(seen <= 50_000);
        match marks {
            0..=40 => assert!(matches!(result, Ok(3)), "{result:?}"),
            50.. => assert!(result.is_err()),
            _ => {}
        }
    }
}
