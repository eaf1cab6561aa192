//! Background workers of a bench, and programs that hactl does not know.

use serde_json::{Map, Value, json};

use super::draft::{Remarks, number, shown};
use super::reading::Found;
use super::supervisor::Program;
use crate::inventory::rules;

/// Programs that hactl has its own of.
const KNOWN: [&str; 6] = [
    "-frappe-web",
    "-frappe-schedule",
    "-redis-cache",
    "-redis-queue",
    "-redis-socketio",
    "-node-socketio",
];

/// The workers, when they are others than hactl's default.
pub(super) fn workers(found: &Found, common: &Map<String, Value>, remarks: &mut Remarks) -> Vec<Value> {
    let mut workers = Vec::new();
    for program in &found.programs {
        if let Some(worker) = worker(program, common) {
            workers.push(worker);
        } else if !KNOWN.iter().any(|known| program.name.ends_with(known)) {
            remarks.known(format!(
                "supervisord's program {} is not bench's; it ends with the switch. A role of your own can run it: docs/user-roles.md",
                shown(&program.name)
            ));
        }
    }
    let usual = [
        json!({ "name": "short", "queues": ["short", "default"], "count": 1, "timeout": 300 }),
        json!({ "name": "long", "queues": ["long", "default", "short"], "count": 1, "timeout": 1500 }),
    ];
    if workers == usual {
        workers.clear();
    }
    workers
}

fn worker(program: &Program, common: &Map<String, Value>) -> Option<Value> {
    let words = program.words();
    let queue = program.option(&["--queue"]);
    let name = program
        .name
        .strip_suffix("-worker")?
        .rsplit("-frappe-")
        .next()?
        .to_owned();
    if !words.iter().any(|word| word == "worker") || rules::word(&name).is_err() {
        return None;
    }
    let queues: Vec<String> = queue
        .unwrap_or_else(|| name.clone())
        .split(',')
        .map(str::to_owned)
        .collect();
    if queues.iter().any(|queue| rules::word(queue).is_err()) {
        return None;
    }
    let of_queue = common
        .get("workers")
        .and_then(|all| all.get(&name))
        .and_then(Value::as_object);
    let stop = program.get("stopwaitsecs").parse::<u64>().ok();
    // bench gives its own queues a minute more than their jobs may take.
    let timeout = of_queue
        .and_then(|queue| number(queue, "timeout"))
        .or(stop.map(|seconds| seconds.saturating_sub(60)))
        .filter(|seconds| (1..=604_800).contains(seconds))
        .unwrap_or(300);
    let count = program
        .get("numprocs")
        .parse::<u64>()
        .ok()
        .filter(|count| (1..=256).contains(count));
    Some(json!({ "name": name, "queues": queues, "count": count.unwrap_or(1), "timeout": timeout }))
}
