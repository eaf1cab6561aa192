//! A role of the user, checked and complete.

use std::time::Duration;

/// What `roles/NAME.yml` declares, in the order in which it converges.
#[derive(Debug, Clone, Default)]
pub struct UserRole {
    /// Its name.
    pub name: String,
    /// Its file, as a user knows it.
    pub shown: String,
    /// Hosts that use it.
    pub hosts: Vec<String>,
    /// The role after which it converges, and where that is written.
    pub after: Option<(String, String)>,
    /// Debian packages.
    pub packages: Vec<String>,
    /// Groups: name and number.
    pub groups: Vec<(String, u32)>,
    /// Users.
    pub users: Vec<RoleUser>,
    /// Directories.
    pub directories: Vec<Owned>,
    /// Files.
    pub files: Vec<RoleFile>,
    /// Links: path and target.
    pub links: Vec<(String, String)>,
    /// What must not exist.
    pub absent: Vec<String>,
    /// Kernel settings.
    pub sysctls: Vec<(String, String)>,
    /// Guarded commands.
    pub commands: Vec<RoleCommand>,
    /// Units.
    pub services: Vec<RoleService>,
    /// Supervised programs.
    pub programs: Vec<RoleProgram>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct RoleUser {
    /// Name of user and group.
    pub name: String,
    /// Number of user and group.
    pub uid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Further groups.
    pub groups: Vec<String>,
}

/// A path with its owner.
#[derive(Debug, Clone)]
pub struct Owned {
    /// Absolute path.
    pub path: String,
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// Permission bits; `None`: the kind's default.
    pub mode: Option<u32>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct RoleFile {
    /// Where and whose.
    pub at: Owned,
    /// The template's text.
    pub text: String,
    /// What a user calls the template.
    pub shown: String,
    /// Shell test of `"$FILE"`.
    pub check: Option<String>,
}

/// A guarded command.
#[derive(Debug, Clone)]
pub struct RoleCommand {
    /// What it does.
    pub name: String,
    /// Shell.
    pub run: String,
    /// Path that exists when it is done.
    pub creates: Option<String>,
    /// Test that passes when it is done.
    pub unless: Option<String>,
    /// Value it has been done for.
    pub once: Option<String>,
    /// User; root when `None`.
    pub user: Option<String>,
    /// Working directory.
    pub dir: Option<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Files it makes.
    pub makes: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A unit.
#[derive(Debug, Clone)]
pub struct RoleService {
    /// Full name.
    pub unit: String,
    /// Files it reads.
    pub watches: Vec<String>,
    /// Whether it can read them again without a restart.
    pub reloads: bool,
    /// Shell test.
    pub health: Option<String>,
    /// How long it may take to become healthy.
    pub patience: Duration,
}

/// A supervised program.
#[derive(Debug, Clone)]
pub struct RoleProgram {
    /// Its name.
    pub name: String,
    /// Command line.
    pub command: String,
    /// Processes.
    pub count: u32,
    /// Working directory.
    pub dir: String,
    /// Seconds it gets to end.
    pub stop_seconds: u32,
}

impl UserRole {
    /// Files and links: what its services watch unless they say otherwise.
    pub fn paths(&self) -> Vec<String> {
        let files = self.files.iter().map(|file| file.at.path.clone());
        files.chain(self.links.iter().map(|(path, _)| path.clone())).collect()
    }
}
