//! Backups: the script that takes them, what it needs to know, and its timers. On hosts with a database or with the files of
//! sites; where the inventory wants none, what was there before goes.

pub mod restore;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, stage};
use crate::backup::{CONFIG, SCRIPT, STATE, TEXT};
use crate::error::Result;
use crate::inventory::backup::{Backup, Store, Target};
use crate::inventory::{App, HostRole};
use crate::quote::sh;
use crate::resource::{Command, File, Guard, OnChange, Service, Stopped};
use crate::secret::{Secret, Text};
use crate::topology::HostView;

/// The role.
pub const ROLE: Role = Role {
    name: "backup",
    applies: |view| view.has(HostRole::Db) || has_files(view) || view.runs_app(),
    declare,
};

/// What is copied on its own, and how often a timer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Database,
    Logs,
    Files,
}

impl Part {
    const ALL: [Part; 3] = [Part::Database, Part::Logs, Part::Files];

    const fn word(self) -> &'static str {
        match self {
            Part::Database => "db",
            Part::Logs => "binlog",
            Part::Files => "files",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Part::Database => "Backup of the database",
            Part::Logs => "Copy of the binary logs",
            Part::Files => "Copy of the sites' files",
        }
    }

    fn unit(self, kind: &str) -> String {
        format!("hactl-backup-{}.{kind}", self.word())
    }

    fn path(self, kind: &str) -> String {
        format!("/etc/systemd/system/{}", self.unit(kind))
    }

    /// Whether a host has it.
    fn on(self, view: &HostView) -> bool {
        match self {
            Part::Database | Part::Logs => view.has(HostRole::Db),
            Part::Files => has_files(view) && !view.waits(),
        }
    }

    /// When its timer goes off.
    fn timing(self, backup: &Backup) -> String {
        match self {
            Part::Database => {
                let minute = backup.at.1;
                format!("OnCalendar=*-*-* *:{minute:02}:00\nPersistent=true")
            }
            Part::Logs => format!("OnActiveSec=5\nOnUnitInactiveSec={}", backup.binlog_seconds),
            Part::Files => {
                let minutes = backup.files_minutes;
                format!("OnActiveSec=30\nOnUnitInactiveSec={minutes}min")
            }
        }
    }
}

/// Whether a host has the files of sites.
fn has_files(view: &HostView) -> bool {
    matches!(view.topology.inventory.app, App::Frappe(_)) && view.has(HostRole::App)
}

fn declare(scope: &mut Scope) -> Result<()> {
    let view = scope.view;
    let backup = scope.inventory().backup.as_ref();
    let Some(backup) = backup.filter(|_| Part::ALL.iter().any(|part| part.on(&view))) else {
        for part in Part::ALL {
            gone(scope, part);
        }
        for path in [SCRIPT, CONFIG] {
            scope.absent(path);
        }
        return Ok(());
    };
    scope.packages(&["restic"]);
    if view.has(HostRole::Db) {
        scope.packages(&["mariadb-backup"]);
    }
    scope.barrier(stage::SERVES);
    scope.directory("/usr/local/lib/hactl", "root", "root", 0o755);
    scope.directory("/etc/hactl", "root", "root", 0o755);
    scope.add(File::new(SCRIPT, Text::from(TEXT.to_owned())).owned("root", "root", 0o755));
    let config = config(scope, backup)?;
    scope.add(File::new(CONFIG, Text::Secret(Secret::new(config))).owned("root", "root", 0o600));
    repositories(scope, backup)?;
    for part in Part::ALL {
        match part.on(&view) {
            true => timer(scope, part, backup)?,
            false => gone(scope, part),
        }
    }
    Ok(())
}

/// Repositories are made by one host, so that no two make the same at once; folders of hosts by each.
fn repositories(scope: &mut Scope, backup: &Backup) -> Result<()> {
    let view = scope.view;
    let first = match view.topology.writer() {
        Some(writer) => writer.name == view.host.name,
        None => false,
    };
    let own = |target: &&Target| first || target.is_own();
    let (mut names, mut places) = (Vec::new(), Vec::new());
    for target in backup.targets.iter().filter(own) {
        names.push(sh(&target.name));
        // The first of them says where it is.
        places.extend(variables(scope, target)?.into_iter().next().map(|(_, place)| place));
    }
    if names.is_empty() {
        return Ok(());
    }
    let path = format!("{STATE}/repositories");
    scope.add(Command {
        deadline: Duration::from_secs(300),
        ..Command::by_root(
            "repositories for backups",
            vec![Guard::Stamp {
                path,
                value: crate::resource::file::sha256(places.join("\n").as_bytes()),
            }],
            format!("mkdir -p -m 700 {STATE}\n{SCRIPT} init {}", names.join(" ")),
        )
    });
    Ok(())
}

/// What `status` asks: a name and shell for each. Its last line says how old copies are; too old is a failure.
pub(super) fn checks(view: &HostView) -> Vec<(String, String)> {
    let inventory = view.topology.inventory;
    let Some(backup) = &inventory.backup else {
        return Vec::new();
    };
    let leads = view
        .topology
        .writer()
        .is_some_and(|writer| writer.name == view.host.name);
    let mut checks = Vec::new();
    for target in &backup.targets {
        // A replica says what the repository has; logs are sent by who takes the writes.
        let logs = (leads || target.is_own()).then_some((Part::Logs, u64::from(backup.binlog_seconds) * 3 + 120));
        let own = [
            Some((
                Part::Database,
                26 * 3600 + 3600 * view.topology.with_role(HostRole::Db).count() as u64,
            )),
            logs,
            Some((Part::Files, u64::from(backup.files_minutes) * 60 * 3 + 3600)),
        ];
        for (part, late) in own.into_iter().flatten().filter(|(part, _)| part.on(view)) {
            let name = format!("backup {} {}", target.name, part.word());
            let script = include_str!("age.sh");
            let unit = sh(&part.unit("service"));
            let file = sh(&format!("{STATE}/{}.{}", target.name, part.word()));
            checks.push((name, format!("file={file} unit={unit} late={late}\n{script}")));
        }
    }
    checks
}

fn timer(scope: &mut Scope, part: Part, backup: &Backup) -> Result<()> {
    let (service, timer) = (part.path("service"), part.path("timer"));
    let text = scope.file(
        &service,
        "backup/service",
        &json!({ "title": part.title(), "script": SCRIPT, "part": part.word() }),
    )?;
    scope.add(text);
    let text = scope.file(
        &timer,
        "backup/timer",
        &json!({ "title": part.title(), "timing": part.timing(backup) }),
    )?;
    scope.add(text);
    let unit = part.unit("timer");
    scope.add(Service {
        health: format!("systemctl -q is-active {unit}"),
        unit,
        watches: vec![timer, service],
        on_change: OnChange::Restart,
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}

fn gone(scope: &mut Scope, part: Part) {
    scope.add(Stopped {
        unit: part.unit("timer"),
        package: String::new(),
    });
    scope.absent(&part.path("timer"));
    scope.absent(&part.path("service"));
}

/// What the script reads when it starts: shell, root's alone, since passwords are in it.
fn config(scope: &Scope, backup: &Backup) -> Result<String> {
    let view = &scope.view;
    let inventory = scope.inventory();
    let rank = |role: HostRole| {
        let mut hosts = view.topology.with_role(role);
        hosts.position(|host| host.name == view.host.name)
    };
    let rank = rank(HostRole::Db).or_else(|| rank(HostRole::App)).unwrap_or(0);
    let files_rank = match view.topology.is_pair() {
        true => 0,
        false => {
            let mut hosts = view.topology.with_role(HostRole::App);
            hosts.position(|host| host.name == view.host.name).unwrap_or(0)
        }
    };
    let (keep, (hour, minute)) = (backup.keep, backup.at);
    let names: Vec<_> = backup.targets.iter().map(|target| target.name.as_str()).collect();
    let own = backup.targets.iter().filter(|target| target.is_own());
    let own: Vec<_> = own.map(|target| target.name.as_str()).collect();
    let files = match (&inventory.app, has_files(view)) {
        (App::Frappe(frappe), true) => format!("{}/sites", frappe.path),
        _ => String::new(),
    };
    let mut text = format!(
        "# Made by hactl, for its backups.\n\
         CLUSTER={} HOST={} TARGETS={} OWN={}\n\
         AT={hour:02}:{minute:02} DATABASES={} RANK={rank} FILES_RANK={files_rank} FULL_DAYS={}\n\
         FILES={} FILES_MINUTES={} LIMIT_UPLOAD={}\n\
         KEEP_DAILY={} KEEP_WEEKLY={} KEEP_MONTHLY={} KEEP_BINLOG_DAYS={}\n\
         export RESTIC_PASSWORD={}\n\
         target() {{\n    case $1 in\n",
        sh(&inventory.cluster),
        sh(&view.host.name),
        sh(&names.join(" ")),
        sh(&own.join(" ")),
        view.topology.with_role(HostRole::Db).count(),
        backup.full_days,
        sh(&files),
        backup.files_minutes,
        backup.limit_upload.unwrap_or(0),
        keep.daily,
        keep.weekly,
        keep.monthly,
        keep.binlog_days,
        sh(scope.secret(Backup::PASSWORD)?.reveal()),
    );
    for target in &backup.targets {
        let _ = writeln!(text, "    {})", sh(&target.name));
        for (name, value) in variables(scope, target)? {
            let _ = writeln!(text, "        {name}={}", sh(&value));
        }
        text.push_str("        ;;\n");
    }
    text.push_str("    *) return 1 ;;\n    esac\n}\n");
    Ok(text)
}

/// What restic is told of a target, in its environment.
fn variables(scope: &Scope, target: &Target) -> Result<Vec<(&'static str, String)>> {
    let secret = |key: &str| -> Result<String> { Ok(scope.secret(&target.secret(key))?.reveal().to_owned()) };
    let repository = |text: String| ("export RESTIC_REPOSITORY", text);
    Ok(match &target.store {
        Store::Directory { path } => vec![repository(path.clone())],
        Store::Ssh {
            host,
            port,
            user,
            path,
            host_key,
            ..
        } => {
            let shown = match (port, host.contains(':')) {
                (22, _) => host.clone(),
                (port, _) => format!("[{host}]:{port}"),
            };
            vec![
                repository(format!("sftp:{user}@target:{path}")),
                ("ssh_to", format!("-p {port} -l {user} {host}")),
                ("ssh_known", format!("{shown} {host_key}")),
                ("ssh_key", secret("key")?),
            ]
        }
        Store::S3 {
            endpoint,
            bucket,
            path,
            region,
            ..
        } => {
            let mut all = vec![
                repository(format!("s3:{endpoint}/{bucket}/{path}")),
                ("export AWS_ACCESS_KEY_ID", secret("access_key_id")?),
                ("export AWS_SECRET_ACCESS_KEY", secret("secret_access_key")?),
            ];
            all.extend(region.clone().map(|region| ("export AWS_DEFAULT_REGION", region)));
            all
        }
        Store::Gs { bucket, path, .. } => vec![
            repository(format!("gs:{bucket}:/{path}")),
            ("gs_credentials", secret("credentials")?),
        ],
        Store::Azure {
            account,
            container,
            path,
            ..
        } => vec![
            repository(format!("azure:{container}:/{path}")),
            ("export AZURE_ACCOUNT_NAME", account.clone()),
            ("export AZURE_ACCOUNT_KEY", secret("key")?),
        ],
    })
}

#[cfg(test)]
mod tests;
