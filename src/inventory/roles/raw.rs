//! A role of the user as written: every key, nothing checked. The comments become editor tooltips and the reference.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::inventory::raw::List;
use crate::inventory::yaml::{At, Entries, Lines};

/// A role of your own: `roles/NAME.yml` beside the inventory, given to hosts by `use: [NAME]`.
///
/// What it declares converges in the order of these keys, whatever order they are written in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawUserRole {
    /// The role, built-in or your own, right after which this one converges. Default: after all others.
    pub after: At<String>,
    /// Debian packages, `name[:arch][=version]`. Installed before everything else, together with those of other roles.
    pub packages: List<String>,
    /// System groups.
    pub groups: List<RawGroup>,
    /// System users, each with a group of its name.
    pub users: List<RawUser>,
    /// Directories.
    pub directories: List<RawDirectory>,
    /// Files with all of their content, rendered as templates.
    pub files: List<RawFile>,
    /// Symbolic links.
    pub links: List<RawLink>,
    /// Paths of files or links that must not exist.
    pub absent: List<String>,
    /// Kernel settings, as they are now; for what shall last over a boot also write a file in `/etc/sysctl.d`.
    pub sysctls: At<Entries<String>>,
    /// Commands that run when their guard says that they have not been done.
    pub commands: List<RawCommand>,
    /// systemd units that are enabled and run.
    pub services: List<RawService>,
    /// Programs under supervisord, run as the app's user; only on hosts with the app.
    pub programs: List<RawProgram>,
}

/// A group.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGroup {
    /// Its name. Required.
    pub name: At<String>,
    /// Its number, the same on every host. Required.
    pub gid: At<u32>,
}

/// A user, with a primary group of the same name and number.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawUser {
    /// Its name. Required.
    pub name: At<String>,
    /// Its number, the same on every host. Required.
    pub uid: At<u32>,
    /// Home directory; declare it under `directories` to have it made. Default `/home/NAME`.
    pub home: At<String>,
    /// Login shell. Default `/usr/sbin/nologin`.
    pub shell: At<String>,
    /// Every further group it is in, no others. Default none.
    pub groups: List<String>,
}

/// A directory; its parent must exist or be declared before it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDirectory {
    /// Absolute path. Required.
    pub path: At<String>,
    /// Owner's name. Default `root`.
    pub owner: At<String>,
    /// Group's name. Default: the owner's.
    pub group: At<String>,
    /// Permission bits in octal. Default `0755`.
    pub mode: At<String>,
}

/// A file: either `template` or `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawFile {
    /// Absolute path. Required.
    pub path: At<String>,
    /// Its content is the template of this name in `roles/templates/`.
    pub template: At<String>,
    /// Its content, a template too.
    pub text: At<Lines>,
    /// Owner's name. Default `root`.
    pub owner: At<String>,
    /// Group's name. Default: the owner's.
    pub group: At<String>,
    /// Permission bits in octal. Default `0644`; `0600` when secrets are in it.
    pub mode: At<String>,
    /// Shell test of the new file, whose path is `"$FILE"`, before it goes live.
    pub check: At<String>,
}

/// A symbolic link.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLink {
    /// Absolute path of the link. Required.
    pub path: At<String>,
    /// What it points to. Required.
    pub target: At<String>,
}

/// A command with its guard: at least one of `creates`, `unless` and `once`; it runs unless all of them hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCommand {
    /// What it does, in a few words; unique in the role. Required.
    pub name: At<String>,
    /// Shell, run with `set -eu`. A run may have been cut anywhere before: it must be restartable. Required.
    pub run: At<Lines>,
    /// Guard: this path exists.
    pub creates: At<String>,
    /// Guard: this shell test passes. It runs in every plan, so it must be quick and change nothing.
    pub unless: At<Lines>,
    /// Guard: it has been done for this value, e.g. a version. Another value runs it again.
    pub once: At<String>,
    /// User to run as. Default `root`.
    pub user: At<String>,
    /// Working directory. Default `/`.
    pub dir: At<String>,
    /// Environment.
    pub env: At<Entries<String>>,
    /// Files it makes or changes, for services that watch them.
    pub makes: List<String>,
    /// Seconds it may take. Default 300.
    pub timeout: At<u64>,
}

/// A systemd unit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawService {
    /// Its name; `.service` may be left out. Required.
    pub unit: At<String>,
    /// Files or links it reads: when one of them is not what it has loaded, it reloads or restarts. Default: all files and
    /// links of this role.
    pub watches: List<String>,
    /// What it does then: `restart` (default) or `reload`.
    pub on_change: At<RawOnChange>,
    /// Shell test that passes when it serves. When it does not, the old files come back. Default: the unit is active.
    pub health: At<String>,
    /// Seconds it may take to become healthy. Default 30.
    pub patience: At<u64>,
}

/// What a service does when a file it reads has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RawOnChange {
    /// `systemctl restart`.
    Restart,
    /// `systemctl reload`.
    Reload,
}

/// A program under supervisord. It restarts when a file or link of this role changes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawProgram {
    /// Its name; supervisord knows it as `ROLE-NAME`. Required.
    pub name: At<String>,
    /// Command line, run by `sh`. Required.
    pub command: At<String>,
    /// Processes. Default 1.
    pub count: At<u32>,
    /// Working directory. Default `/`.
    pub dir: At<String>,
    /// Seconds it gets to end. Default 40.
    pub stop_seconds: At<u32>,
}
