//! A server that `bench` built, taken over. The new bench is built beside the old one, which serves all the while; then
//! one step ends the old programs, carries waiting jobs over and moves the files of the sites, and the new programs start.
//! nginx comes last: its old configuration serves the new programs as well, on the same ports.
//!
//! What is moved out of the old bench leaves a link in its place, so that the old bench is whole at every moment: a cut
//! anywhere, a boot, or `way-back` finds programs that work.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, app};
use crate::error::Result;
use crate::inventory::{Adopted, App, Frappe};
use crate::quote::{sh, sh_words};
use crate::resource::{Command, File, Guard, Resource, Spec};

/// What is left to do when the new programs run.
pub const ROLE: Role = Role {
    name: "adopt",
    applies: |view| view.runs_app() && of(&view.topology.inventory.app).is_some(),
    declare,
};

/// What the old bench's configuration was, and what `way-back` needs.
const RECORD: &str = "/var/lib/hactl/adopted";

/// Shell: the groups in the old bench's configuration of supervisord; a program that is in none is one by itself.
const GROUPS_OF: &str = r#"groups_of() {
    sed -n 's/^\[group:\([A-Za-z0-9_.-]*\)\].*/\1/p' "$1"
    for _program in $(sed -n 's/^\[program:\([A-Za-z0-9_.-]*\)\].*/\1/p' "$1"); do
        grep -Eq "^programs *=(.*[ ,])?$_program *(,|\$)" "$1" || printf '%s\n' "$_program"
    done
}
"#;

/// The bench that the server had, if it had one.
pub fn of(app: &App) -> Option<&Adopted> {
    match app {
        App::Frappe(frappe) => frappe.adopted.as_ref(),
        App::Wsgi(_) => None,
    }
}

/// A file among the sites of the old bench.
pub(super) fn of_bench(frappe: &Frappe, file: &str) -> Option<String> {
    let adopted = frappe.adopted.as_ref()?;
    Some(format!("{}/sites/{file}", adopted.from))
}

/// Whether the sites of the old bench have the schema of the wanted apps: those are the ones that ran there.
pub(super) fn migrated(frappe: &Frappe) -> bool {
    let same = |adopted: &Adopted| {
        frappe.apps.len() == adopted.refs.len()
            && frappe
                .apps
                .iter()
                .all(|app| adopted.refs.get(&app.name) == Some(&app.git_ref))
    };
    frappe.adopted.as_ref().is_some_and(same)
}

/// Declares the switch, to be followed by the new programs alone: between the two nobody is served.
pub(super) fn switch(scope: &mut Scope, frappe: &Frappe, adopted: &Adopted) {
    let (path, user) = (&frappe.path, &frappe.process.user);
    let sites: Vec<_> = scope.inventory().sites.iter().map(|site| &site.name).collect();
    for site in &sites {
        // Not taken over: what is in them is of the running programs.
        for name in ["locks", "logs"] {
            scope.directory(&format!("{path}/sites/{site}/{name}"), user, user, 0o755);
        }
    }
    scope.add(File::new(
        script(frappe),
        include_str!("../../templates/frappe/adopt.py"),
    ));
    let moved = sh_words(
        sites
            .iter()
            .flat_map(|site| ["public", "private"].map(|name| format!("{}/sites/{site}/{name}", adopted.from))),
    );
    scope.add(Command {
        name: format!("switch from {}", adopted.from),
        guards: vec![Guard::Passes(format!(
            "[ ! -e {link} ] && [ ! -L {link} ] || exit 1\n\
             for moved in {moved}; do [ -L \"$moved\" ] || [ ! -e \"$moved\" ] || exit 1; done",
            link = sh(&adopted.supervisor),
        ))],
        run: format!(
            "{}set -- {}\n{}",
            variables(frappe, adopted),
            sh_words(&sites),
            include_str!("../../templates/frappe/switch.sh")
        ),
        user: None,
        dir: None,
        env: Vec::new(),
        input: None,
        // Jobs that are under way are finished, and `long` ones may take their time.
        deadline: Duration::from_secs(7200),
        creates: sites
            .iter()
            .map(|site| format!("{path}/sites/{site}/private/files"))
            .collect(),
    });
}

fn script(frappe: &Frappe) -> String {
    format!("{}/adopt.py", frappe.path)
}

fn variables(frappe: &Frappe, adopted: &Adopted) -> String {
    format!(
        "{GROUPS_OF}old={} new={} user={} home={} link={} record={RECORD}\n",
        sh(&adopted.from),
        sh(&frappe.path),
        sh(&frappe.process.user),
        sh(&app::home(&frappe.process)),
        sh(&adopted.supervisor),
    )
}

/// The old bench's Redis and its place in supervisord and nginx; nobody is served by them any more.
fn declare(scope: &mut Scope) -> Result<()> {
    let App::Frappe(frappe) = &scope.inventory().app else {
        return Ok(());
    };
    let Some(adopted) = &frappe.adopted else {
        return Ok(());
    };
    let root = |name: &str, guards, run: String| Command {
        name: name.to_owned(),
        guards,
        run,
        user: None,
        dir: None,
        env: Vec::new(),
        input: None,
        deadline: Duration::from_secs(120),
        creates: Vec::new(),
    };
    let left = Guard::Stamp {
        path: "/var/lib/hactl/stamps/adopted".into(),
        value: adopted.from.clone(),
    };
    scope.add(root(
        "old programs leave supervisord",
        vec![left],
        format!(
            "{GROUPS_OF}groups=$(groups_of {RECORD}/supervisor.conf)\n\
             [ -z \"$groups\" ] || supervisorctl update $groups"
        ),
    ));
    let kept = format!("{RECORD}/nginx");
    scope.add(root(
        "copy of nginx's configuration",
        vec![Guard::Exists(kept.clone())],
        format!("mkdir -p -m 700 {RECORD}\nrm -rf {kept}~\ncp -a /etc/nginx {kept}~\nmv -T {kept}~ {kept}\nsync"),
    ));
    let context = json!({
        "from": adopted.from,
        "variables": variables(frappe, adopted),
        "sites": sh_words(scope.inventory().sites.iter().map(|site| &site.name)),
        "groups": sh_words(super::frappe::programs::groups(&scope.view, frappe)),
    });
    let file = scope.file(&format!("{}/way-back", frappe.path), "frappe/way-back", &context)?;
    scope.add(file.owned("root", "root", 0o755));
    scope.absent(&adopted.nginx);
    Ok(())
}

/// Puts what makes nginx run with its new configuration behind everything else. Its certificates stay where they are:
/// the realtime server trusts them.
pub(super) fn web_server_last(resources: Vec<Resource>) -> Vec<Resource> {
    let switches = |resource: &Resource| {
        resource.role == super::nginx::ROLE.name && matches!(resource.spec, Spec::File(_) | Spec::Service(_))
    };
    let (last, mut first): (Vec<_>, Vec<_>) = resources.into_iter().partition(switches);
    first.extend(last);
    first
}
