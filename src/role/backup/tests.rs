use std::process::Command as Process;

use super::*;
use crate::resource::{Facts, Spec};
use crate::role::testing::{FRAPPE, GUESTBOOK, inventory, of_host, pair};

const TARGETS: &str = "backup:
  targets:
    disk: { kind: directory, path: /srv/backup }
    vault: { kind: ssh, host: 10.0.0.9, port: 2222, user: backup, path: /srv/v, key: !secret 'file:key', host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHarmless }
    off: { kind: s3, endpoint: 'https://s3.example.com', bucket: acme, access_key_id: AK, secret_access_key: !secret key }
    g: { kind: gs, bucket: acme, credentials: !secret 'file:g.json' }
    a: { kind: azure, account: acme, key: !secret key, container: box }
";

fn resources(text: &str, host: &str) -> Vec<Spec> {
    let inventory = inventory(text);
    let desired = of_host(&inventory, host, &Facts::assumed());
    let own = desired
        .resources
        .into_iter()
        .filter(|resource| resource.role == "backup");
    own.map(|resource| resource.spec).collect()
}

fn ids(text: &str, host: &str) -> Vec<String> {
    resources(text, host).iter().map(|spec| spec.kind().id()).collect()
}

#[test]
fn secrets_are_in_one_file_of_roots_and_the_shell_reads_them_whole() {
    let text = format!("{GUESTBOOK}{TARGETS}");
    let mut config = None;
    for spec in resources(&text, "srv1") {
        if let Spec::File(file) = spec {
            match file.path.as_str() {
                CONFIG => config = Some(file),
                _ => assert!(
                    !file.text.is_secret() && !file.text.reveal().contains("<backup"),
                    "{}",
                    file.path
                ),
            }
        }
    }
    let config = config.expect("a configuration");
    assert!(config.text.is_secret());
    assert_eq!((config.mode, config.owner.as_str()), (0o600, "root"));
    for (target, says, wanted) in [
        (
            "disk",
            "$RESTIC_REPOSITORY $RESTIC_PASSWORD $OWN",
            "/srv/backup <backup/password>'\"% disk",
        ),
        (
            "vault",
            "$RESTIC_REPOSITORY $ssh_to $ssh_known $ssh_key",
            "sftp:backup@target:/srv/v -p 2222 -l backup 10.0.0.9 [10.0.0.9]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHarmless <backup/vault/key>'\"%",
        ),
        (
            "off",
            "$RESTIC_REPOSITORY $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY",
            "s3:https://s3.example.com/acme/demo <backup/off/access_key_id>'\"% <backup/off/secret_access_key>'\"%",
        ),
        (
            "g",
            "$RESTIC_REPOSITORY $gs_credentials",
            "gs:acme:/demo <backup/g/credentials>'\"%",
        ),
        (
            "a",
            "$RESTIC_REPOSITORY $AZURE_ACCOUNT_NAME $AZURE_ACCOUNT_KEY",
            "azure:box:/demo acme <backup/a/key>'\"%",
        ),
    ] {
        let script = format!("{}\ntarget {target} && printf %s \"{says}\"", config.text.reveal());
        let output = Process::new("sh").args(["-uc", &script]).output().expect("sh");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{target}");
    }
}

#[test]
fn timers_are_where_the_data_are() {
    let timers = |text: &str, host: &str| -> Vec<String> {
        let ids = ids(text, host).into_iter();
        ids.filter_map(|id| id.strip_prefix("service hactl-backup-").map(str::to_owned))
            .collect()
    };
    assert_eq!(
        timers(&format!("{GUESTBOOK}{TARGETS}"), "srv1"),
        ["db.timer", "binlog.timer"]
    );
    let text = pair(&format!("{FRAPPE}{TARGETS}"));
    assert_eq!(timers(&text, "srv1"), ["db.timer", "binlog.timer", "files.timer"]);
    assert_eq!(
        timers(&text, "srv2"),
        ["db.timer", "binlog.timer"],
        "who waits has the files of the other"
    );
    // Without `backup` nothing is there, and what was goes.
    assert_eq!(timers(GUESTBOOK, "srv1"), [""; 0]);
    assert!(ids(GUESTBOOK, "srv1").contains(&format!("absent {CONFIG}")));
}

#[test]
fn the_script_is_shell() {
    let parsed = Process::new("sh").args(["-nc", TEXT]).status();
    assert!(parsed.expect("sh").success());
}
