//! What hosts and the ways to them do wrong.

use super::*;

/// What is said about a host that cannot be reached.
fn unreachable(sshd: &Sshd, host: &Host) -> String {
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
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let links = ShellLinks {
        connect: Arc::new(connector),
        become_password: None,
    };
    let asked = runtime.block_on(async {
        match links.link(host).await {
            // The system's ssh connects with the first question.
            Ok(mut link) => link.ask(&hactl::resource::Ask::default()).await.err(),
            Err(error) => Some(error),
        }
    });
    let error = asked.expect("it must not be reached");
    let hint = error.hint.map(|hint| format!("\n  next: {hint}")).unwrap_or_default();
    format!("{}{hint}", error.message)
        .replace(&sshd.root.path().display().to_string(), "$SSHD")
        .replace(&host.ssh.port.to_string(), "PORT")
        .replace(&host.ssh.user, "USER")
}

pub fn transports(book: &mut Book) {
    book.chapter("connecting");
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for peer in other.incoming().flatten() {
            let mut peer = peer;
            let _ = std::io::Write::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let sshd = Sshd::start("");
    let mine = sshd.dot_ssh("id_ed25519");
    let stranger = sshd.dot_ssh("stranger");
    keygen(&stranger, "ed25519", "");
    let locked = sshd.dot_ssh("locked");
    keygen(&locked, "ed25519", "a passphrase");
    sshd.authorize(&locked);
    let known = |name: &str, key: &str| {
        let path = sshd.dot_ssh(name);
        std::fs::write(&path, format!("[127.0.0.1]:{} {key}\n", sshd.port)).unwrap();
        path
    };
    let right = known("known", &sshd.host_key("ed25519"));
    let public = std::fs::read_to_string(sshd.dot_ssh("stranger.pub")).unwrap();
    let changed = known("changed", &public.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let none = sshd.dot_ssh("none");
    let cases = [
        ("nobody listens", free_port(), &mine, &right, Become::None),
        (
            "a host that takes the connection and says nothing",
            mute.local_addr().unwrap().port(),
            &mine,
            &right,
            Become::None,
        ),
        (
            "a port that speaks something else",
            other_port,
            &mine,
            &right,
            Become::None,
        ),
        ("a host that nobody knows", sshd.port, &mine, &none, Become::None),
        ("a host key that has changed", sshd.port, &mine, &changed, Become::None),
        (
            "a key that the host does not take",
            sshd.port,
            &stranger,
            &right,
            Become::None,
        ),
        (
            "a key that is missing",
            sshd.port,
            &sshd.dot_ssh("missing"),
            &right,
            Become::None,
        ),
        (
            "a key whose passphrase nobody gives",
            sshd.port,
            &locked,
            &right,
            Become::None,
        ),
    ];
    for transport in [TransportKind::Native, TransportKind::OpenSsh] {
        for (what, port, key, known, become_root) in &cases {
            let mut host = sshd.host("srv1");
            host.ssh.port = *port;
            host.ssh.identity_file = Some((*key).clone());
            host.ssh.known_hosts = Some((*known).clone());
            host.ssh.become_root = *become_root;
            host.ssh.transport = transport;
            // Only one of them is about the time.
            host.ssh.connect_timeout = if *port == mute.local_addr().unwrap().port() {
                2
            } else {
                60
            };
            book.entry(&format!("{what} ({transport:?})"), &unreachable(&sshd, &host));
        }
    }
}

fn engine(host: &Liar) -> (Engine, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let loaded = hactl::inventory::parse(INVENTORY, Path::new("/nowhere/inventory.yml")).expect("a good inventory");
    let secrets = Secrets::existing_or_placeholder(&loaded.inventory, &Keyring::from_env(Keyring::nobody())).unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let engine = Engine {
        inventory: Arc::new(loaded.inventory),
        templates: Arc::new(Templates::load(None).unwrap()),
        secrets: Arc::new(secrets.secrets),
        links: Arc::new(ShellLinks {
            connect: Arc::new(host.clone()),
            become_password: None,
        }),
        events: Events::new(sender, None),
        interrupt: Interrupt::never(),
        run: "20261121T093015Z-7f3a".into(),
        who: "me@here".into(),
        since: "2026-11-21T09:30:15Z".into(),
        doing: "apply inventory.yml".into(),
        fingerprint: String::new(),
        extra_questions: None,
        declares: None,
        settles: true,
    };
    (engine, receiver)
}

/// The lines about hosts and steps that failed, as a pipe gets them.
fn told(host: &Liar) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (engine, mut receiver) = engine(host);
        let survey = engine.survey(&[]).await;
        let _ = plan_text::plan(&survey.plan, DiffMode::None, Paint::default());
        if survey.failures.is_empty() {
            let approved = Approved::by_user(survey.plan.clone());
            engine.execute(survey, approved).await;
        }
        drop(engine);
        let mut report = Plain::new(Paint::default(), false);
        let mut out = String::new();
        while let Some(event) = receiver.recv().await {
            let said = report.event(Duration::ZERO, &event);
            let failed = matches!(&event, Event::HostFailed { .. })
                || matches!(&event, Event::StepFinished { message: Some(_), .. });
            if failed {
                out += &said;
            }
        }
        out
    })
}

pub fn hosts(book: &mut Book) {
    book.chapter("hosts");
    let words = |text: &str| Line::Mark(text.to_owned());
    let facts = || vec![words("facts"), Line::text("ID=debian\nVERSION_ID=\"12\"\ncpus=2\n")];
    let late = || {
        let clock = hactl::resource::clock::now() - 3600;
        vec![
            words("facts"),
            Line::text(&format!("ID=debian\nVERSION_ID=\"12\"\nclock={clock}\n")),
        ]
    };
    let speaking = |lines: Vec<Line>| Liar::speaking(vec![Act::Say(lines), Act::Close]);
    let probe = |act: Act| Liar::answering(vec![act]);
    let order = |lines: Vec<Line>, status: &str| {
        Liar::answering(vec![
            Act::Answer(facts(), "0".into()),
            Act::Answer(lines, status.into()),
        ])
    };
    let closing = |lines: Vec<Line>| {
        Liar::answering(vec![
            Act::Answer(facts(), "0".into()),
            Act::Then(lines, Box::new(Act::Close)),
        ])
    };
    let cases = [
        (
            "no shell",
            speaking(vec![Line::text("This account is currently not available.\n")]),
        ),
        (
            "a session that is not root's",
            speaking(vec![Line::text("\u{1e}hactl 1000\n")]),
        ),
        (
            "a login shell that prints without end",
            Liar::speaking(vec![Act::Endless(Line::text(&"x".repeat(9999)))]),
        ),
        ("silence", probe(Act::Endless(Line::Silence))),
        ("slow drops", probe(Act::Endless(Line::Drip(b"x".to_vec())))),
        (
            "an answer without end",
            probe(Act::Endless(Line::text(&"x".repeat(60_000)))),
        ),
        (
            "a line without end",
            probe(Act::Then(
                vec![words("facts"), Line::Mark("x".repeat(9999))],
                Box::new(Act::Close),
            )),
        ),
        ("closed while it was asked", probe(Act::Close)),
        ("no status", probe(Act::Answer(facts(), "x".into()))),
        ("a clock that is an hour behind", probe(Act::Answer(late(), "0".into()))),
        (
            "locked by somebody",
            order(
                vec![
                    words("locked"),
                    Line::text(
                        "alice@laptop, since 2026-11-21T09:00:00Z: apply inventory.yml (run 20261121T090000Z-aaaa)\n",
                    ),
                ],
                "6",
            ),
        ),
        (
            "changed since it was looked at",
            order(
                vec![
                    words("moved"),
                    Line::text("another run (20261121T090000Z-aaaa) changed this host after it was looked at\n"),
                ],
                "7",
            ),
        ),
        (
            "a full disk",
            order(
                vec![
                    words("failed"),
                    Line::text("cannot write below /var/lib/hactl (is the disk full?)\n"),
                ],
                "4",
            ),
        ),
        ("an end without a reason", order(Vec::new(), "4")),
        (
            "a step that fails",
            order(
                vec![
                    words("begin 0"),
                    Line::text("E: Unable to locate package nginx\napt-get could not install: nginx\n"),
                    words("end 0 1"),
                ],
                "4",
            ),
        ),
        (
            "a step that says nothing",
            order(vec![words("begin 0"), words("end 0 1")], "4"),
        ),
        (
            "a step that takes too long",
            order(
                vec![words("begin 0"), Line::text("still waiting\n"), words("end 0 124")],
                "4",
            ),
        ),
        (
            "a step that finds the host changed",
            order(
                vec![
                    words("begin 0"),
                    Line::text("/etc/hosts changed on the host since the plan was made\n"),
                    words("end 0 98"),
                ],
                "4",
            ),
        ),
        (
            "closed while a step ran",
            closing(vec![words("begin 0"), Line::text("half a line")]),
        ),
        ("a report that makes no sense", order(vec![words("end 7 0")], "0")),
        ("done without having done it", order(Vec::new(), "0")),
    ];
    for (what, host) in cases {
        let said = told(&host);
        assert!(!said.is_empty(), "{what}: nothing was said");
        // Some seconds have passed since the answer was written.
        let said = (3601..3700).fold(said, |said, seconds| {
            said.replace(&format!("{seconds} s behind"), "3600 s behind")
        });
        book.entry(what, &said);
    }
}

/// What a host says when a release does not come into service: by the step itself, over a host's stand-ins.
pub fn releases(book: &mut Book) {
    book.chapter("an update of the application");
    let mut says = |what: &str, prepare: &dyn Fn(&ReleaseHost)| {
        let host = ReleaseHost::new();
        prepare(&host);
        let (code, text) = host.run("new", None);
        assert_eq!(code, Some(1), "{what}: {text}");
        // Times and places of this run.
        let lines = text
            .lines()
            .filter(|line| !line.contains(" UTC ") && !line.starts_with("waiting for it"));
        book.entry(what, &lines.collect::<Vec<_>>().join("\n"));
    };
    says("no room for the dump", &|host| host.write("large", ""));
    says("nginx does not know the gate", &|host| host.write("foreign-nginx", ""));
    says("the dump fails", &|host| host.write("broken-dump", ""));
    says("the migration fails", &|host| host.write("broken-migration", ""));
    says("the new release does not answer", &|host| host.write("sick-new", ""));
    says("and neither does the old one", &|host| {
        host.write("sick-new", "");
        host.write("sick-old", "");
    });
    says("the migration fails and the dump cannot be put back", &|host| {
        host.write("broken-migration", "");
        host.write("broken-restore", "");
    });
    says("nothing can be written", &|host| {
        std::fs::create_dir_all(host.at("app/maintenance~/x")).unwrap()
    });
}
