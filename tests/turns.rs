//! Hosts that serve together change one after the other: on modelled hosts, with the real engine.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use common::model::{Fault, Modelled};
use hactl::engine::link::{Link, Links};
use hactl::engine::{Approved, Engine, Event, Events, Interrupt, Summary, Urgency};
use hactl::inventory::Host;
use hactl::inventory::secrets::{Keyring, Secrets};
use hactl::role::Templates;
use hactl::transport::TransportError;
use tokio::sync::{mpsc, watch};

const HOSTS: [&str; 4] = ["app1", "app2", "app3", "data"];

fn inventory(workers: u32) -> String {
    format!(
        "cluster: demo
hosts:
  app1: {{ address: 10.0.0.21, roles: [ app, worker ] }}
  app2: {{ address: 10.0.0.22, roles: [ app, worker ] }}
  app3: {{ address: 10.0.0.23, roles: [ app, worker ] }}
  data: {{ address: 10.0.0.31, roles: [ db, redis ] }}
app: {{ kind: wsgi, url: \"git://h/guestbook\", ref: v1, module: \"guestbook:app\", web_workers: {workers} }}
sites: [ {{ name: erp.example.com }} ]
"
    )
}

/// Several modelled hosts.
#[derive(Clone)]
struct Fleet(BTreeMap<String, Modelled>);

#[async_trait]
impl Links for Fleet {
    async fn link(&self, host: &Host) -> Result<Box<dyn Link>, TransportError> {
        self.0[&host.name].link(host).await
    }
}

impl Fleet {
    fn bare() -> Self {
        Fleet(HOSTS.map(|name| (name.to_owned(), Modelled::bare())).into())
    }

    /// What `apply` does; `interrupt` at the first event that it says yes to.
    async fn apply(&self, workers: u32, interrupt: fn(&Event) -> bool) -> (Summary, Vec<Event>) {
        let loaded = hactl::inventory::parse(&inventory(workers), Path::new("/nowhere/inventory.yml")).unwrap();
        let secrets = Secrets::existing_or_placeholder(&loaded.inventory, &Keyring::from_env(Keyring::nobody()));
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let (urgency, stop) = watch::channel(Urgency::None);
        let engine = Engine {
            inventory: Arc::new(loaded.inventory),
            templates: Arc::new(Templates::load(None).unwrap()),
            secrets: Arc::new(secrets.unwrap().secrets),
            links: Arc::new(self.clone()),
            events: Events::new(sender, None),
            interrupt: Interrupt::from_channel(stop),
            run: "r1".into(),
            who: "me@here".into(),
            since: "now".into(),
            doing: "test".into(),
            fingerprint: String::new(),
            settles: true,
            extra_questions: None,
            declares: None,
        };
        let survey = engine.survey(&[]).await;
        assert!(survey.failures.is_empty(), "{:?}", survey.failures);
        let approved = Approved::by_user(survey.plan.clone());
        let listen = async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                if interrupt(&event) {
                    urgency.send_replace(Urgency::Soon);
                }
                let last = matches!(event, Event::Summary(_));
                events.push(event);
                if last {
                    break;
                }
            }
            events
        };
        let run = async {
            let summary = engine.execute(survey, approved).await;
            engine.events.send(Event::Summary(summary.clone()));
            summary
        };
        tokio::join!(run, listen)
    }
}

fn never(_: &Event) -> bool {
    false
}

/// Hosts in the order in which they began and ended steps, without repetitions.
fn order(events: &[Event]) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for event in events {
        let word = match event {
            Event::StepStarted { host, .. } | Event::StepFinished { host, .. } => host.clone(),
            Event::HostWaits { host, reason } => format!("{host} waits {reason}"),
            Event::HostSkipped { host, reason } => format!("{host} skipped: {reason}"),
            _ => continue,
        };
        if order.last() != Some(&word) {
            order.push(word);
        }
    }
    order
}

fn outcomes(summary: &Summary) -> Vec<String> {
    let hosts = summary.hosts.iter();
    hosts.map(|host| format!("{} {}", host.host, host.outcome)).collect()
}

const TURNS: [&str; 2] = [
    "app2 waits for app1, which serves together with it",
    "app3 waits for app1, app2, which serves together with it",
];

#[tokio::test]
async fn bare_hosts_are_made_side_by_side_and_serving_ones_change_one_after_the_other() {
    let fleet = Fleet::bare();
    let (first, events) = fleet.apply(3, never).await;
    assert_eq!((first.exit_code, first.skipped), (0, 0), "{first:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::HostWaits { .. })));
    // The first app host did not go through on its own.
    let begun = order(&events);
    assert!(begun.iter().filter(|host| *host == "app1").count() > 3, "{begun:?}");
    let trips: Vec<_> = first.hosts.iter().map(|host| host.round_trips).collect();

    let (again, _) = fleet.apply(3, never).await;
    assert_eq!((again.exit_code, again.changed), (0, 0));
    assert!(again.hosts.iter().all(|host| host.round_trips == 1), "{again:?}");

    let (rolled, events) = fleet.apply(5, never).await;
    assert_eq!((rolled.exit_code, rolled.skipped), (0, 0), "{rolled:?}");
    assert_eq!(order(&events), [TURNS[0], TURNS[1], "app1", "app2", "app3"]);
    // A turn costs no round trip: one question, one for the diff, one order.
    assert_eq!(
        rolled.hosts.iter().map(|host| host.round_trips).collect::<Vec<_>>(),
        [3, 3, 3, 1]
    );
    // A bare host: one question, and one order for each stage that it has a part in.
    assert!(trips.iter().all(|trips| *trips <= 5), "{trips:?}");
}

#[tokio::test]
async fn a_host_that_fails_stops_those_whose_turn_has_not_come() {
    let fleet = Fleet::bare();
    fleet.apply(3, never).await;
    let before = fleet.0["app3"].state.lock().unwrap().clone();
    fleet.0["app2"].fails(Fault::Fails(1));
    let (rolled, events) = fleet.apply(5, never).await;
    assert_eq!(rolled.exit_code, 4);
    let skipped = "app3 skipped: app2 failed before its turn came; it is left as it was";
    assert_eq!(order(&events), [TURNS[0], TURNS[1], "app1", "app2", skipped]);
    assert_eq!(outcomes(&rolled), ["app1 ok", "app2 failed", "app3 skipped", "data ok"]);
    let reason = rolled.hosts[2].reason.as_deref();
    assert_eq!(reason, Some("app2 failed before its turn came; it is left as it was"));
    assert_eq!(*fleet.0["app3"].state.lock().unwrap(), before);

    // The next apply goes on where that one ended.
    fleet.0["app2"].fails(Fault::None);
    let (healed, events) = fleet.apply(5, never).await;
    assert_eq!(healed.exit_code, 0);
    let turn = "app3 waits for app2, which serves together with it";
    assert_eq!(order(&events), [turn, "app2", "app3"]);
    assert_eq!(fleet.apply(5, never).await.0.changed, 0);
}

#[tokio::test]
async fn an_interrupted_run_begins_no_further_turn() {
    let fleet = Fleet::bare();
    fleet.apply(3, never).await;
    let (rolled, events) = fleet
        .apply(
            5,
            |event| matches!(event, Event::HostWaits { host, .. } if host == "app2"),
        )
        .await;
    assert_eq!(rolled.exit_code, 130, "{rolled:?}");
    let begun = |name: &str| {
        let mut started = events.iter();
        started.any(|event| matches!(event, Event::StepStarted { host, .. } if host == name))
    };
    assert!(!begun("app2") && !begun("app3"), "{:?}", order(&events));
}
