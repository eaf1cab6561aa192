//! What restoring is on each host: steps that were decided before, in an order that touches nothing live until the data are
//! there, checked.

use std::time::Duration;

use crate::backup::{Chosen, SCRIPT};
use crate::inventory::HostRole;
use crate::plan::Desired;
use crate::quote::sh;
use crate::resource::{Command, Guard, Resource};
use crate::topology::HostView;

/// The name of these steps in plans and events.
const ROLE: &str = "restore";

/// A decided restore.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The host whose MariaDB gets the data, and takes the writes from then on.
    pub on: String,
    /// Where they come from.
    pub target: String,
    /// What they are made of.
    pub chosen: Chosen,
    /// Names what is kept, and the history that begins.
    pub run: String,
    /// The highest number of any transaction in the target.
    pub high: u64,
}

impl Restore {
    /// What a database is called from then on.
    pub fn kept(&self, database: &str) -> String {
        let run: String = self.run.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
        format!("{database}_before_{run}")
    }
}

/// A decided restore of one site.
#[derive(Debug, Clone)]
pub struct SiteRestore {
    /// As for all of them.
    pub restore: Restore,
    /// Its name.
    pub site: String,
    /// Its database.
    pub database: String,
    /// The host that gets its files, and the snapshot.
    pub files: Option<(String, String)>,
}

fn step(stage: u8, name: String, run: String, hours: u64) -> Resource {
    Resource {
        role: ROLE,
        stage,
        spec: Command {
            deadline: Duration::from_secs(hours * 3600),
            ..Command::by_root(name, vec![Guard::Asked], run)
        }
        .into(),
    }
}

fn desired(view: &HostView, resources: Vec<Resource>) -> Desired {
    Desired {
        host: view.host.name.clone(),
        resources,
    }
}

fn copy(restore: &Restore, verb: &str) -> String {
    format!("{SCRIPT} {verb} <<'END'\n{}END", restore.chosen.lines())
}

/// The whole database.
pub fn whole(view: &HostView, restore: &Restore) -> Desired {
    let mut steps = Vec::new();
    let name = &view.host.name;
    let run = sh(&restore.run);
    let last = &restore.chosen.base.last().run;
    if *name == restore.on {
        let verb = format!("scratch {} keep", sh(&restore.target));
        let title = format!("restore of {last} beside the live data, checked");
        steps.push(step(0, title, copy(restore, &verb), 24));
    }
    if view.runs_app() {
        let stop = "systemctl stop supervisor.service";
        steps.push(step(1, "stop of the application".into(), stop.into(), 1));
    }
    if view.has(HostRole::Db) && *name != restore.on {
        let title = "data of this replica moved aside: it is made anew";
        steps.push(step(2, title.into(), format!("{SCRIPT} aside {run}"), 1));
    }
    if *name == restore.on {
        let title = "restored data in the place of the live ones, which are kept";
        steps.push(step(
            3,
            title.into(),
            format!("{SCRIPT} swap {run} {}", restore.high),
            1,
        ));
    }
    desired(view, steps)
}

/// One site.
pub fn site(view: &HostView, site: &SiteRestore) -> Desired {
    let mut steps = Vec::new();
    let restore = &site.restore;
    let target = sh(&restore.target);
    let database = sh(&site.database);
    if view.host.name == restore.on {
        let title = format!(
            "restore of {} beside the live data, checked",
            restore.chosen.base.last().run
        );
        steps.push(step(0, title, copy(restore, &format!("site {target} {database}")), 24));
        let kept = restore.kept(&site.database);
        let title = format!("restored database {}; what it had is kept as {kept}", site.database);
        let load = format!("{SCRIPT} load-site {database} {}", sh(&kept));
        steps.push(step(1, title, load, 12));
    }
    if let Some((host, snapshot)) = &site.files
        && view.host.name == *host
    {
        let back = format!("{SCRIPT} files-back {target} {} {}", sh(snapshot), sh(&site.site));
        steps.push(step(2, format!("files of {} that are gone", site.site), back, 12));
    }
    desired(view, steps)
}
