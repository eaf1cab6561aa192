//! The laws of a run on a modelled host: round trips, cuts at every step, barriers, locks.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::model::{Fault, Modelled};
use hactl::engine::{Approved, Engine, Event, Events, Interrupt, Summary};
use hactl::inventory::secrets::{Keyring, Secrets};
use hactl::resource::Observed;
use hactl::role::Templates;
use tokio::sync::mpsc;

const INVENTORY: &str = "\
cluster: demo
hosts:
  srv1: { address: 10.77.0.11 }
app:
  kind: wsgi
  url: https://git.example.com/guestbook
  ref: v1
  module: guestbook:app
  migrate: python -m guestbook.migrate
  workers: [ { name: jobs, command: python -m guestbook.worker } ]
sites: [ { name: erp.example.com } ]
";

fn engine(host: &Modelled) -> (Engine, mpsc::UnboundedReceiver<Event>) {
    let loaded = hactl::inventory::parse(INVENTORY, Path::new("/nowhere/inventory.yml")).expect("a good inventory");
    let secrets = Secrets::existing_or_placeholder(&loaded.inventory, &Keyring::from_env(Keyring::nobody()))
        .unwrap()
        .secrets;
    let (sender, receiver) = mpsc::unbounded_channel();
    let engine = Engine {
        inventory: Arc::new(loaded.inventory),
        templates: Arc::new(Templates::load(None).unwrap()),
        secrets: Arc::new(secrets),
        links: Arc::new(host.clone()),
        events: Events::new(sender, None),
        interrupt: Interrupt::never(),
        run: "r1".into(),
        who: "me@here".into(),
        since: "now".into(),
        doing: "test".into(),
        fingerprint: String::new(),
        settles: true,
        extra_questions: None,
        declares: None,
    };
    (engine, receiver)
}

/// What `apply` does: look, agree, carry out.
async fn apply(host: &Modelled) -> (usize, Summary) {
    let (engine, _events) = engine(host);
    let survey = engine.survey(&[]).await;
    assert!(survey.failures.is_empty(), "{:?}", survey.failures);
    let planned = survey.plan.changes();
    let approved = Approved::by_user(survey.plan.clone());
    (planned, engine.execute(survey, approved).await)
}

#[tokio::test]
async fn a_first_apply_takes_two_round_trips_and_the_second_one() {
    let host = Modelled::bare();
    let (planned, first) = apply(&host).await;
    assert_eq!((first.exit_code, first.changed, first.skipped), (0, planned, 0));
    // One probe and one order, however many files: one server has no barrier.
    assert_eq!(first.hosts[0].round_trips, 2);
    let (planned, second) = apply(&host).await;
    assert_eq!((planned, second.exit_code, second.changed), (0, 0, 0));
    assert_eq!(second.hosts[0].round_trips, 1);
    assert!(second.unchanged > 60, "{second:?}");
}

#[tokio::test]
async fn a_cut_at_any_step_is_healed_to_the_same_end() {
    let whole = Modelled::bare();
    let (_, _) = apply(&whole).await;
    let end = whole.state.lock().unwrap().clone();
    let (engine, _events) = engine(&Modelled::bare());
    let steps = engine.survey(&[]).await.plan.hosts[0].steps.len();
    assert!(steps > 30);
    for step in 0..steps {
        for fault in [Fault::LostBefore(step), Fault::LostAfter(step), Fault::Fails(step)] {
            let host = Modelled::bare();
            host.fails(fault);
            let (planned, cut) = apply(&host).await;
            assert_eq!(cut.exit_code, 4, "{fault:?}");
            assert_eq!(cut.failed, 1, "{fault:?}");
            assert!(
                cut.changed + cut.skipped < planned,
                "{fault:?}: the cut step counts as neither"
            );
            host.fails(Fault::None);
            let (_, healed) = apply(&host).await;
            assert_eq!(healed.exit_code, 0, "{fault:?}");
            same(&host.state.lock().unwrap(), &end, fault);
            assert_eq!(apply(&host).await.1.changed, 0, "{fault:?}");
        }
    }
}

/// Says where two hosts differ, which is less than all of both.
#[track_caller]
fn same(left: &Observed, right: &Observed, fault: Fault) {
    // A model does not know which units a package brings: one that is stopped and one that is not there are the same.
    let running = |host: &Observed| {
        let mut host = host.clone();
        host.units
            .retain(|_, unit| unit.active == "active" || unit.enabled == "enabled");
        format!("{host:#?}")
    };
    let (left, right) = (running(left), running(right));
    let diff = similar::TextDiff::from_lines(&right, &left);
    assert!(left == right, "{fault:?}:\n{}", diff.unified_diff().context_radius(4));
}

#[tokio::test]
async fn who_holds_the_lock_is_told_and_nothing_changes() {
    let host = Modelled::bare();
    host.fails(Fault::Locked);
    let before = host.state.lock().unwrap().clone();
    let (planned, summary) = apply(&host).await;
    assert_eq!((summary.exit_code, summary.changed, summary.skipped), (6, 0, planned));
    assert_eq!(*host.state.lock().unwrap(), before);
}

/// By plan and apply alike, before anything is changed, naming what would do.
#[tokio::test]
async fn a_system_that_the_roles_are_not_made_for_is_refused() {
    for (os, version) in [("alpine", "3.20.3"), ("debian", "11"), ("debian", ""), ("", "")] {
        let host = Modelled::bare();
        {
            let mut state = host.state.lock().unwrap();
            state.facts.os = os.into();
            state.facts.os_version = version.into();
        }
        let (engine, _events) = engine(&host);
        let survey = engine.survey(&[]).await;
        let [failure] = survey.failures.as_slice() else {
            panic!("{os} {version}: {:?}", survey.failures)
        };
        assert_eq!(failure.kind, hactl::error::Kind::Refused);
        assert!(failure.message.contains("is not supported"), "{}", failure.message);
        let hint = failure.hint.as_deref().unwrap();
        assert_eq!(hint, "supported are Debian 12, Debian 13, Ubuntu 22.04, Ubuntu 24.04");
        assert!(survey.plan.is_empty());
    }
}

#[tokio::test]
async fn an_unreachable_host_is_a_failure_of_the_survey() {
    let host = Modelled::bare();
    host.fails(Fault::Unreachable);
    let (engine, _events) = engine(&host);
    let survey = engine.survey(&[]).await;
    assert_eq!(survey.failures.len(), 1);
    assert_eq!(survey.failures[0].kind, hactl::error::Kind::Unreachable);
    assert!(survey.plan.is_empty());
}
