//! Recorded event sequences through every report.

use std::time::Duration;

use hactl::engine::{Event, Summary};
use hactl::plan::Plan;
use hactl::report::plain::Plain;
use hactl::report::terminal::Terminal;
use hactl::report::{DiffMode, Paint, json, plan_text, schema, summary};

const RECORDED: [(&str, &str); 3] = [
    ("first-apply", include_str!("data/first-apply.jsonl")),
    ("failures", include_str!("data/failures.jsonl")),
    ("hostile", include_str!("data/hostile.jsonl")),
];

/// A recorded run: each event with its time since the start.
fn recorded(name: &str) -> Vec<(Duration, Event)> {
    let (_, text) = RECORDED.iter().find(|(known, _)| *known == name).unwrap();
    let mut start = None;
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
            let start = *start.get_or_insert(time);
            let at = time.duration_since(start).unsigned_abs();
            (at, serde_json::from_value(value).unwrap())
        })
        .collect()
}

fn plan_of(name: &str) -> Plan {
    let find = |(_, event)| match event {
        Event::Planned { plan } => Some(plan),
        _ => None,
    };
    recorded(name).into_iter().find_map(find).unwrap()
}

fn summary_of(name: &str) -> Summary {
    match recorded(name).pop() {
        Some((_, Event::Summary(summary))) => summary,
        other => panic!("no summary at the end but {other:?}"),
    }
}

/// What the plain report prints, with a tick every second.
fn plain(name: &str, verbose: bool) -> String {
    let mut report = Plain::new(Paint::default(), verbose);
    let mut now = Duration::ZERO;
    let mut out = String::new();
    for (at, event) in recorded(name) {
        while now + Duration::from_secs(1) < at {
            now += Duration::from_secs(1);
            out += &report.tick(now);
        }
        out += &report.event(at, &event);
    }
    out
}

#[test]
fn plain_report_of_a_first_apply() {
    insta::assert_snapshot!(plain("first-apply", false));
}

#[test]
fn verbose_plain_report_of_a_first_apply() {
    insta::assert_snapshot!(plain("first-apply", true));
}

#[test]
fn plain_report_of_failures() {
    insta::assert_snapshot!(plain("failures", false));
}

#[test]
fn plain_report_is_never_silent_for_long_while_a_host_works() {
    let mut report = Plain::new(Paint::default(), false);
    let mut last = Duration::ZERO;
    for (at, event) in recorded("first-apply") {
        let mut now = last;
        while now < at {
            now += Duration::from_millis(500);
            if !report.tick(now).is_empty() {
                last = now;
            }
            assert!(now - last <= Duration::from_secs(6), "silent from {last:?} to {now:?}");
        }
        if !report.event(at, &event).is_empty() {
            last = at;
        }
    }
}

#[test]
fn summaries() {
    for name in ["first-apply", "failures"] {
        insta::assert_snapshot!(
            format!("summary-{name}"),
            summary::text(&summary_of(name), Paint::default())
        );
    }
}

#[test]
fn what_to_run_next_follows_from_verb_and_exit_code() {
    let cases = [
        ("apply", 0, Some("hactl status inv.yml")),
        (
            "apply",
            4,
            Some("hactl apply inv.yml   (a plain run goes on where this one stopped)"),
        ),
        ("apply", 5, Some("hactl check --remote inv.yml")),
        ("plan", 0, None),
        ("plan", 3, Some("hactl apply inv.yml")),
    ];
    for (verb, code, expected) in cases {
        assert_eq!(
            summary::next(verb, code, "inv.yml").as_deref(),
            expected,
            "{verb} {code}"
        );
    }
}

#[test]
fn plan_texts() {
    let plan = plan_of("first-apply");
    for (name, mode) in [
        ("none", DiffMode::None),
        ("short", DiffMode::Short),
        ("full", DiffMode::Full),
    ] {
        insta::assert_snapshot!(format!("plan-{name}"), plan_text::plan(&plan, mode, Paint::default()));
    }
}

#[test]
fn colours_only_add_escapes_to_the_plan() {
    let plan = plan_of("first-apply");
    let plain = plan_text::plan(&plan, DiffMode::Full, Paint::default());
    let coloured = plan_text::plan(&plan, DiffMode::Full, Paint { on: true });
    assert!(coloured.contains("\x1b["));
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

/// No text of a host or an inventory moves the cursor, rings or hides.
#[test]
fn hostile_words_are_harmless_in_every_text() {
    let plan = plan_of("hostile");
    let texts = [
        plain("hostile", false),
        plain("hostile", true),
        summary::text(&summary_of("hostile"), Paint::default()),
        plan_text::plan(&plan, DiffMode::Full, Paint::default()),
    ];
    for text in texts {
        assert!(
            text.contains("owned"),
            "the hostile words are not in it at all: {text:?}"
        );
        let bad = text
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
    }
}

#[test]
fn json_lines_hold_to_the_published_schema() {
    let schema = serde_json::to_value(schema::events()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let at: jiff::Timestamp = "2026-11-21T10:00:00.0004Z".parse().unwrap();
    for (name, _) in RECORDED {
        for (_, event) in recorded(name) {
            let line = json::line(&event, at);
            assert_eq!(line.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(validator.is_valid(&value), "{line}");
            let again: Event = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(again, event);
            // The check can fail: a line without its time or with an unknown event is refused.
            let mut spoilt = value.clone();
            spoilt.as_object_mut().unwrap().shift_remove("time");
            assert!(!validator.is_valid(&spoilt), "{spoilt}");
            let mut spoilt = value;
            spoilt["event"] = "made_up".into();
            assert!(!validator.is_valid(&spoilt), "{spoilt}");
        }
    }
}

/// What stands on a terminal of 100 columns after all of `events`.
fn screen(events: &[(Duration, Event)], at: Duration) -> String {
    let term = indicatif::InMemoryTerm::new(30, 100);
    let target = indicatif::ProgressDrawTarget::term_like(Box::new(term.clone()));
    let mut report = Terminal::new(target, Paint::default(), false);
    for (at, event) in events {
        report.event(*at, event);
    }
    report.tick(at);
    term.contents()
}

#[test]
fn a_terminal_shows_the_running_step_and_what_it_prints() {
    let events: Vec<_> = recorded("first-apply")
        .into_iter()
        .take_while(|(at, _)| *at < Duration::from_secs(20))
        .collect();
    insta::assert_snapshot!(screen(&events, Duration::from_secs(20)));
}

#[test]
fn a_terminal_has_no_live_lines_left_at_the_end() {
    let events = recorded("first-apply");
    insta::assert_snapshot!(screen(&events, Duration::from_secs(60)));
}
