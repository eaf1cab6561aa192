use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::plan::{PlannedChange, Step};
use crate::resource::{Action, Change, Script};

fn host(changes: &[(&str, &str)]) -> HostPlan {
    let step = |(resource, summary): &(&str, &str)| Step {
        id: (*resource).to_owned(),
        role: "nginx".into(),
        stage: 0,
        changes: vec![PlannedChange {
            resource: (*resource).to_owned(),
            change: Change::new(Action::Update, *summary),
        }],
        deadline: 60,
        script: Script::default(),
        resources: Vec::new(),
    };
    HostPlan {
        host: "srv1".into(),
        resources: 10,
        steps: changes.iter().map(step).collect(),
        after: Vec::new(),
    }
}

fn saved(host: HostPlan) -> Saved {
    Saved {
        made: "2026-11-21T10:00:00Z".into(),
        by: "ann@laptop".into(),
        inventory: "/srv/inventory.yml".into(),
        steps: Vec::new(),
        plan: Plan {
            version: env!("CARGO_PKG_VERSION").into(),
            cluster: "acme".into(),
            fingerprint: "f".into(),
            hosts: vec![host],
        },
        secrets: None,
    }
}

fn survey(host: HostPlan) -> Survey {
    Survey {
        plan: saved(host).plan,
        hosts: Vec::new(),
        failures: Vec::new(),
        live: Default::default(),
    }
}

#[test]
fn what_was_written_is_read_and_nobody_else_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    std::fs::write(&path, "something older, readable by all").unwrap();
    saved(host(&[("file /a", "content")])).write(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        Saved::read(&path).unwrap().plan,
        saved(host(&[("file /a", "content")])).plan
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a temporary file was left"
    );
}

#[test]
fn secrets_are_in_it_only_when_they_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let values = BTreeMap::from([(
        "redis/cache".to_owned(),
        vec![Secret::new("new-one"), Secret::new("old-one")],
    )]);
    let secrets = Secrets::from_values(values.clone());
    let plan = saved(host(&[("file /a", "content")]));
    plan.write(&path).unwrap();
    assert!(Saved::read(&path).unwrap().secrets().is_none());
    assert!(!std::fs::read_to_string(&path).unwrap().contains("secrets\""));
    let plan = plan.carrying(&secrets);
    assert!(!format!("{plan:?}").contains("-one"));
    plan.write(&path).unwrap();
    let read = Saved::read(&path).unwrap().secrets().unwrap();
    assert_eq!(read.values(), values);
    assert!(read.is_rotated());

    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set(&path, 0o640);
    let (read, written) = (Saved::read(&path).unwrap_err(), plan.write(&path).unwrap_err());
    assert_eq!((read.kind, written.kind), (Kind::Refused, Kind::Refused));
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink("elsewhere", &link).unwrap();
    assert_eq!(plan.write(&link).unwrap_err().kind, Kind::Refused);
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn a_host_that_changed_since_is_refused_with_what_differs() {
    let plan = saved(host(&[("file /a", "content"), ("file /b", "mode 0644 → 0600")]));
    plan.hold(&mut survey(host(&[
        ("file /a", "content"),
        ("file /b", "mode 0644 → 0600"),
    ])))
    .unwrap();
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("file /a", "content")], "  srv1: file /b needs no change any more"),
        (
            &[("file /a", "content"), ("file /b", "content")],
            "  srv1: file /b is not as it was",
        ),
        (
            &[
                ("file /a", "content"),
                ("file /b", "mode 0644 → 0600"),
                ("file /c", "x"),
            ],
            "  srv1: file /c would change, too",
        ),
        (
            &[("file /b", "mode 0644 → 0600"), ("file /a", "content")],
            "  srv1: the same changes would be made in another order or number",
        ),
    ];
    for (now, line) in cases {
        let error = plan.hold(&mut survey(host(now))).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert_eq!(error.message.lines().skip(1).collect::<Vec<_>>(), [line], "{now:?}");
    }
}

#[test]
fn a_plan_of_some_steps_ignores_the_others() {
    let mut plan = saved(host(&[("file /a", "content")]));
    plan.steps = vec!["/a".into()];
    let mut now = host(&[("file /a", "content"), ("file /b", "content")]);
    // `plan --step` counted what it left out neither as changed nor as unchanged.
    now.resources += 1;
    let mut survey = survey(now);
    plan.hold(&mut survey).unwrap();
    assert_eq!(survey.plan.changes(), 1, "only the planned step is carried out");
}

#[test]
fn another_inventory_version_or_cluster_is_refused() {
    let text = "cluster: acme\nhosts: { srv1: { address: 10.0.0.1 } }\n\
                app: { kind: wsgi, url: 'https://example.com/a.git', ref: main, module: 'a:b' }\n\
                sites: [ { name: a.example.com } ]\n";
    let loaded = crate::inventory::parse(text, Path::new("/nowhere/inventory.yml")).unwrap();
    let mut plan = saved(host(&[]));
    plan.plan.fingerprint = loaded.fingerprint().unwrap();
    plan.check(&loaded).unwrap();
    let spoil: [fn(&mut Plan); 3] = [
        |plan| plan.version = "0.0.1".into(),
        |plan| plan.cluster = "other".into(),
        |plan| plan.fingerprint = "other".into(),
    ];
    for spoil in spoil {
        let mut spoilt = plan.clone();
        spoil(&mut spoilt.plan);
        assert_eq!(spoilt.check(&loaded).unwrap_err().kind, Kind::Refused);
    }
}
