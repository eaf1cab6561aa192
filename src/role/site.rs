//! What is done to one site when somebody asks for it, beside what its role keeps up: migrate, drop.
//!
//! Nothing here is part of an apply. Each gives what hosts should have for the length of one run.

use super::{Scope, SecretStore, Templates, app, desired, frappe, gluster};
use crate::error::Result;
use crate::inventory::{App, Site};
use crate::plan::Desired;
use crate::quote::{sh, sql, sql_name};
use crate::resource::{Absent, Command, Facts, Guard};
use crate::topology::HostView;

/// Its name in plans and events; [`super::ROLES`] does not have it.
const NAME: &str = "site";

/// Behind everything that an apply does, on all hosts.
const AFTER_ALL: u8 = 250;

/// A site that goes.
#[derive(Debug, Clone)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// Its database and the user of that name; `None`: there is none any more.
    pub database: Option<String>,
    /// Whether the database is dumped first.
    pub backup: bool,
    /// What makes the name of its archive unique.
    pub run: String,
}

/// Folder of what dropped sites leave on a host, root's alone.
pub fn archive(view: &HostView) -> String {
    match &view.topology.inventory.app {
        // On the file system of the sites, where moving one is a rename.
        App::Frappe(frappe) if view.runs_app() => format!("{}/archived_sites", frappe.path),
        _ => "/var/lib/hactl/archived_sites".to_owned(),
    }
}

impl Gone {
    /// Where a host keeps what the site leaves.
    pub fn archived(&self, view: &HostView) -> String {
        format!("{}/{}-{}", archive(view), self.name, self.run)
    }

    /// The same while the site is being dropped: a run that was cut off is finished there.
    fn dropping(&self, view: &HostView) -> String {
        format!("{}/{}{DROPPING}", archive(view), self.name)
    }
}

/// How the name of an archive ends that is not complete.
pub const DROPPING: &str = ".dropping";

/// The migrations of these sites to the release that runs, and a test of each behind it.
///
/// # Errors
/// None but those of declaring.
pub fn migrate(
    view: HostView,
    facts: &Facts,
    templates: &Templates,
    secrets: &dyn SecretStore,
    names: &[String],
) -> Result<Desired> {
    let mut scope = Scope::new(NAME, view, facts, templates, secrets);
    if let App::Frappe(frappe) = &scope.inventory().app
        && view.runs_app()
        && !view.waits()
    {
        let leads = app::leads(&view);
        let sites = sites(&scope, names);
        // Nobody works on them anywhere while one host migrates them.
        for site in sites.iter().filter(|_| !leads) {
            scope.add(frappe::quiet(frappe, &site.name));
        }
        app::barrier(&mut scope, AFTER_ALL);
        for site in sites.iter().filter(|_| leads) {
            frappe::migrate_now(&mut scope, frappe, site);
        }
        app::barrier(&mut scope, AFTER_ALL + 1);
        for site in sites.iter().filter(|_| !leads) {
            frappe::open_again(&mut scope, frappe, site);
        }
    }
    Ok(Desired {
        host: view.host.name.clone(),
        resources: scope.into_resources(),
    })
}

fn sites<'a>(scope: &Scope<'a>, names: &[String]) -> Vec<&'a Site> {
    let all = &scope.inventory().sites;
    all.iter().filter(|site| names.contains(&site.name)).collect()
}

/// What an inventory without the site wants, and that nothing of the site is left but its archive.
///
/// # Errors
/// Those of [`desired`].
pub fn drop(
    view: HostView,
    facts: &Facts,
    templates: &Templates,
    secrets: &dyn SecretStore,
    gone: &Gone,
) -> Result<Desired> {
    let mut desired = desired(view, facts, templates, secrets)?;
    let mut scope = Scope::new(NAME, view, facts, templates, secrets);
    let is_frappe = matches!(scope.inventory().app, App::Frappe(_));
    let mut stage = AFTER_ALL;
    let mut next = |scope: &mut Scope| {
        if !scope.view.topology.is_single() {
            scope.barrier(stage);
            stage += 1;
        }
    };
    next(&mut scope);
    if let App::Frappe(frappe) = &scope.inventory().app
        && view.runs_app()
        && !view.waits()
    {
        scope.add(frappe::quiet(frappe, &gone.name));
    }
    next(&mut scope);
    let database = gone.database.as_deref().filter(|_| is_frappe && writes(&view));
    if let Some(database) = database
        && gone.backup
    {
        scope.add(dump(&view, gone, database));
    }
    next(&mut scope);
    if let Some(database) = database {
        scope.add(drop_database(&view, gone, database));
    }
    next(&mut scope);
    if let App::Frappe(frappe) = &scope.inventory().app
        && view.runs_app()
    {
        scope.add(put_away(&view, gone, &format!("{}/sites/{}", frappe.path, gone.name)));
    } else if database.is_some() {
        scope.add(put_away(&view, gone, ""));
    }
    for path in leftovers(&gone.name) {
        scope.add(Absent { path });
    }
    desired.resources.extend(scope.into_resources());
    Ok(desired)
}

/// Whether databases are changed on this host.
fn writes(view: &HostView) -> bool {
    view.topology.writer().is_some_and(|host| host.name == view.host.name)
}

/// A certificate of its own, and notes of what was done to it: a later site of that name is another one.
fn leftovers(name: &str) -> Vec<String> {
    let certificate = ["crt", "key"].map(|end| format!("/etc/nginx/tls/{name}.{end}"));
    let stamps = ["migrated", "site", "listed"].map(|what| format!("/var/lib/hactl/stamps/{what}-{name}"));
    certificate.into_iter().chain(stamps).collect()
}

fn gone_from_mariadb(database: &str) -> Vec<Guard> {
    let none = |query: String| Guard::Sql {
        query,
        value: "0".into(),
        package: "mariadb-server".into(),
    };
    vec![
        none(format!(
            "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}",
            sql(database)
        )),
        none(format!("SELECT COUNT(*) {}", users(database))),
    ]
}

/// Accounts that are the site's own: one that has rights on everything is somebody else's, whatever its name.
fn users(database: &str) -> String {
    format!(
        "FROM mysql.global_priv WHERE User={} AND COALESCE(JSON_VALUE(Priv,'$.access'),0)=0",
        sql(database)
    )
}

fn command(name: String, guards: Vec<Guard>, run: String, deadline: u64) -> Command {
    Command {
        deadline: std::time::Duration::from_secs(deadline),
        ..Command::by_root(name, guards, run)
    }
}

/// Written beside, read to its end, then renamed: what has the name is whole.
fn dump(view: &HostView, gone: &Gone, database: &str) -> Command {
    let run = format!(
        "umask 077\n\
         mkdir -p -- {folder}\n\
         cd -- {folder}\n\
         rm -f -- failed\n\
         {{ mariadb-dump --no-defaults --skip-ssl --single-transaction --quick --routines --triggers --events --hex-blob \
         --default-character-set=utf8mb4 {database} || : >failed; }} | gzip >database.sql.gz~\n\
         if [ -e failed ]; then rm -f -- failed database.sql.gz~; echo 'the dump failed; nothing was dropped'; exit 1; fi\n\
         gzip -dc database.sql.gz~ | tail -n 1 | grep -q '^-- Dump completed' || {{ echo 'the dump is not whole; nothing was dropped'; exit 1; }}\n\
         sync database.sql.gz~\n\
         mv -fT -- database.sql.gz~ database.sql.gz\n\
         echo \"$(wc -c <database.sql.gz) bytes\"",
        folder = sh(&gone.dropping(view)),
        database = sh(database),
    );
    let mut guards = gone_from_mariadb(database);
    guards.truncate(1);
    let name = format!("backup of {database} in {}", gone.archived(view));
    command(name, guards, run, 7200)
}

/// Only a database that is a site's, or empty: what else stands in it is nobody's to drop.
fn drop_database(view: &HostView, gone: &Gone, database: &str) -> Command {
    let foreign = format!(
        "SELECT COUNT(*) > 0 AND SUM(TABLE_NAME = 'tabDefaultValue' OR TABLE_NAME LIKE '\\_\\_hactl\\_unfinished\\_%') = 0 \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA={}",
        sql(database)
    );
    let dumped = format!("{}/database.sql.gz", gone.dropping(view));
    let run = format!(
        "sql() {{ mariadb --no-defaults --skip-ssl --batch --raw --skip-column-names; }}\n\
         foreign=$(printf '%s\\n' {foreign} | sql)\n\
         [ \"$foreign\" = 0 ] || {{ echo {refuse}; exit 1; }}\n\
         {wants_dump}\
         printf '%s\\n' {drop} | sql\n\
         printf '%s\\n' {users} | sql | sql",
        foreign = sh(&foreign),
        refuse = sh(&format!(
            "{database} has tables but is no site's database; drop it by hand if nothing in it is needed"
        )),
        wants_dump = match gone.backup {
            true => format!(
                "exists=$(printf '%s\\n' {} | sql)\n\
                 [ \"$exists\" = 0 ] || [ -s {dumped} ] || {{ echo 'there is no backup of it'; exit 1; }}\n",
                sh(&format!(
                    "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}",
                    sql(database)
                )),
                dumped = sh(&dumped),
            ),
            false => String::new(),
        },
        drop = sh(&format!("DROP DATABASE IF EXISTS {};", sql_name(database))),
        users = sh(&format!(
            "SELECT CONCAT('DROP USER IF EXISTS ', QUOTE(User), '@', QUOTE(Host), ';') {}",
            users(database)
        )),
    );
    command(
        format!("drop of the database {database} and its user"),
        gone_from_mariadb(database),
        run,
        600,
    )
}

/// The folder goes beside the dump, then both get their name. Into a folder of root's: whoever runs the app cannot have put
/// anything there.
fn put_away(view: &HostView, gone: &Gone, site: &str) -> Command {
    let (dropping, archived) = (gone.dropping(view), gone.archived(view));
    let here = match site {
        "" => "false".to_owned(),
        site => format!("[ -e {site} ] || [ -L {site} ]", site = sh(site)),
    };
    let run = format!(
        "umask 077\n\
         mkdir -p -- {dropping}\n\
         if {here}; then\n\
         \x20   to={dropping}/site n=1\n\
         \x20   while [ -e \"$to\" ]; do n=$((n + 1)) to={dropping}/site.$n; done\n\
         {files}\
         \x20   mv -T -- {site} \"$to\"\n\
         fi\n\
         sync\n\
         ! rmdir -- {dropping} 2>/dev/null || exit 0\n\
         mv -T -- {dropping} {archived}\n\
         echo {archived}",
        dropping = sh(&dropping),
        archived = sh(&archived),
        site = sh(site),
        files = gluster::dropped(view, &gone.name, &format!("{}-{}", gone.name, gone.run)),
    );
    let guard = match gone.database {
        // The dump that is yet to be made goes there.
        Some(_) if gone.backup => Guard::Asked,
        _ => Guard::Passes(format!("! {{ {here}; }} && [ ! -e {} ]", sh(&dropping))),
    };
    command(format!("move of {} to {archived}", gone.name), vec![guard], run, 3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::resource::Observed;
    use crate::role::testing::{FRAPPE, Named, inventory};
    use crate::topology::Topology;

    fn steps(desired: &Desired) -> Vec<String> {
        let plan = plan::build(desired, &Observed::bare(Facts::assumed()));
        let lines = plan.steps.iter().flat_map(|step| {
            step.changes
                .iter()
                .map(move |change| format!("{} {}: {}", step.role, change.resource, change.change.summary))
        });
        lines.filter(|line| line.starts_with(NAME)).collect()
    }

    #[test]
    fn a_site_is_dumped_before_it_is_dropped_and_only_if_wanted() {
        let inventory = inventory(FRAPPE);
        let view = Topology::of(&inventory).hosts().next().unwrap();
        let templates = Templates::load(None).unwrap();
        let mut gone = Gone {
            name: "old.example.com".into(),
            database: Some("old_db".into()),
            backup: true,
            run: "RUN".into(),
        };
        let plan = |gone: &Gone| steps(&drop(view, &Facts::assumed(), &templates, &Named, gone).unwrap());
        insta::assert_debug_snapshot!(plan(&gone));
        gone.backup = false;
        assert!(!plan(&gone).iter().any(|line| line.contains("backup of")));
        gone.database = None;
        assert!(!plan(&gone).iter().any(|line| line.contains("drop of")));
    }

    #[test]
    fn a_migration_that_was_asked_for_runs_whatever_was_noted() {
        let inventory = inventory(FRAPPE);
        let view = Topology::of(&inventory).hosts().next().unwrap();
        let templates = Templates::load(None).unwrap();
        let names = ["plain.example.com".to_owned()];
        let desired = migrate(view, &Facts::assumed(), &templates, &Named, &names).unwrap();
        let mut seen = Observed::bare(Facts::assumed());
        for _ in 0..2 {
            assert_eq!(plan::build(&desired, &seen).changes(), 2, "the migration and the test");
            for resource in &desired.resources {
                resource.spec.kind().project(&mut seen);
            }
        }
    }
}
