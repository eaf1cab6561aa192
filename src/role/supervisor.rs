//! supervisord, which runs the application's processes; which ones, the application's role says.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, pair, stage};
use crate::error::Result;
use crate::resource::{OnChange, Service};

/// The role.
pub const ROLE: Role = Role {
    name: "supervisor",
    applies: |view| view.runs_app(),
    declare,
};

/// Its unit.
pub(super) const UNIT: &str = "supervisor.service";
const DROP_IN: &str = "/etc/systemd/system/supervisor.service.d";

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["supervisor"]);
    let unit = format!("{DROP_IN}/60-hactl.conf");
    scope.directory(DROP_IN, "root", "root", 0o755);
    let file = scope.file(
        &unit,
        "supervisor/unit.conf",
        &json!({ "pair": scope.view.topology.is_pair() }),
    )?;
    scope.add(file);
    if scope.view.waits() {
        pair::stopped(scope, UNIT, "supervisor");
        return Ok(());
    }
    // It starts programs of releases that are there already, which must not run on the other host any more.
    if scope.view.topology.is_pair() {
        scope.barrier(stage::APPLICATION);
    }
    scope.add(Service {
        unit: UNIT.into(),
        watches: vec![unit],
        on_change: OnChange::Reread,
        health: "supervisorctl pid >/dev/null".into(),
        patience: Duration::from_secs(30),
        forgets: Vec::new(),
    });
    Ok(())
}
