//! The base root file system: a small Debian with systemd and sshd, made once per suite and shared read-only by hosts.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cgroup::{self, Cgroup};
use super::error::{LabError, Result};
use super::machine::{BUNDLE, Surroundings, extra_certificates};
use super::state::{Lock, StateRoot, make_dir, names_in, remove_dir};
use super::{LabEvent, Report, command};

/// Which Debian the hosts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suite {
    /// Debian 12.
    #[default]
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Suite {
    /// Its code name.
    pub const fn word(self) -> &'static str {
        match self {
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
        }
    }
}

/// What a bare server has; hosts install the rest, as servers do.
const PACKAGES: [&str; 9] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
    "curl",
];

/// Raised when what `build` makes changes, so that older bases are not taken for it.
const LAYOUT: &str = "2";

/// Seconds a base may take.
const DEADLINE: u32 = 1800;

/// The base for a suite with more packages preinstalled (none: the plain base), made when it is missing. Returns its
/// folder name under `base/`.
pub(super) fn ensure(
    root: &StateRoot,
    suite: Suite,
    warm: &[String],
    here: &Surroundings,
    report: Report,
) -> Result<String> {
    let packages = packages(warm)?;
    let name = name(suite, &packages, here);
    let finished = root.bases().join(&name);
    if finished.is_dir() {
        return Ok(name);
    }
    let lock = root.lock(&format!("base-{name}"), &|| {
        report(LabEvent::Waiting {
            for_what: "the base file system",
        })
    })?;
    if !finished.is_dir() {
        // What a killed build left, also while its mmdebstrap still runs.
        let group = Cgroup::of("build", &format!("{name}-{}", root.mark()))?;
        group.kill()?;
        let part = root.bases().join(format!(".{name}"));
        remove_dir(&part)?;
        report(LabEvent::BaseStarted { suite });
        let built = build(&part, suite, &packages, here, &group, &lock, report);
        group.kill()?;
        cgroup::tidy("build")?;
        if let Err(e) = built {
            remove_dir(&part)?;
            return Err(e);
        }
        fs::rename(&part, &finished).map_err(LabError::io("cannot name", &finished))?;
        report(LabEvent::BaseFinished { suite });
    }
    lock.remove();
    Ok(name)
}

fn packages(warm: &[String]) -> Result<Vec<String>> {
    let mut all: Vec<String> = PACKAGES.iter().map(ToString::to_string).collect();
    let mut more = warm.to_vec();
    more.sort_unstable();
    more.dedup();
    for package in &more {
        let fits = package.starts_with(|c: char| c.is_ascii_alphanumeric())
            && package
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !fits {
            return Err(LabError::Fleet {
                what: format!("`{package}` is not the name of a Debian package"),
                hint: "name packages as apt does, e.g. mariadb-server".into(),
            });
        }
    }
    all.extend(more);
    Ok(all)
}

/// Everything that decides what is in a base decides its name.
fn name(suite: Suite, packages: &[String], here: &Surroundings) -> String {
    let mut hash = Sha256::new();
    for part in [
        LAYOUT,
        suite.word(),
        std::env::consts::ARCH,
        &packages.join(" "),
        &here.certificates,
        &here.apt,
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut name = format!("{}-", suite.word());
    for byte in hash.finalize().iter().take(6) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn build(
    part: &Path,
    suite: Suite,
    packages: &[String],
    here: &Surroundings,
    group: &Cgroup,
    lock: &Lock,
    report: Report,
) -> Result<()> {
    let include = format!("--include={}", packages.join(","));
    let deadline = DEADLINE.to_string();
    let mut mmdebstrap = group.command(
        lock,
        [
            "timeout".as_ref(),
            "--kill-after=5".as_ref(),
            deadline.as_ref(),
            "unshare".as_ref(),
            "--mount".as_ref(),
            "--propagation=slave".as_ref(),
            "mmdebstrap".as_ref(),
            "--mode=root".as_ref(),
            "--variant=minbase".as_ref(),
            include.as_ref(),
            // dpkg syncs every file; stays in force in the hosts. What a host loses in `lab kill` is its processes, never
            // what this machine's kernel holds, so syncing would buy nothing; the whole base is synced once below.
            "--dpkgopt=force-unsafe-io".as_ref(),
            suite.word().as_ref(),
            part.as_os_str(),
        ],
    )?;
    command::follow("make the base file system", &mut mmdebstrap, &mut |line| {
        report(LabEvent::BaseProgress {
            suite,
            line: line.trim().to_owned(),
        });
    })?;
    finish(part, here)?;
    // A name must never stand for a base that a power loss of this machine cut short.
    let folder = fs::File::open(part).map_err(LabError::io("cannot open", part))?;
    rustix::fs::syncfs(&folder).map_err(|e| LabError::io("cannot flush", part)(e.into()))
}

/// What every host of every lab on this machine has in common.
fn finish(part: &Path, here: &Surroundings) -> Result<()> {
    // Each host makes its own.
    for key in names_in(&part.join("etc/ssh"))
        .iter()
        .filter(|name| name.starts_with("ssh_host_"))
    {
        let path = part.join("etc/ssh").join(key);
        fs::remove_file(&path).map_err(LabError::io("cannot remove", &path))?;
    }
    if !here.apt.is_empty() {
        write(&part.join("etc/apt/apt.conf.d/90lab"), &here.apt)?;
    }
    let bundle = part.join(BUNDLE);
    let known = fs::read_to_string(&bundle).map_err(LabError::io("cannot read", &bundle))?;
    let extra = extra_certificates(&here.certificates, &known);
    if !extra.is_empty() {
        for (number, certificate) in extra.iter().enumerate() {
            write(
                &part.join(format!("usr/local/share/ca-certificates/lab-{}.crt", number + 1)),
                certificate,
            )?;
        }
        chroot(part, "trust this machine's certificates", &["update-ca-certificates"])?;
        // Tools that bring their own list of certificates are told of the system's, as an administrator behind a proxy does.
        let mut environment = String::new();
        for name in ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            let _ = writeln!(environment, "{name}=/{BUNDLE}");
        }
        write(&part.join("etc/environment"), &environment)?;
        write(&part.join("etc/pip.conf"), &format!("[global]\ncert = /{BUNDLE}\n"))?;
    }
    chroot(
        part,
        "enable the host's network",
        &["systemctl", "enable", "systemd-networkd"],
    )
}

fn chroot(part: &Path, doing: &str, argv: &[&str]) -> Result<()> {
    let words = ["chroot".as_ref(), part.as_os_str()]
        .into_iter()
        .chain(argv.iter().map(AsRef::as_ref));
    command::run(doing, 120, words).map(drop)
}

fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(parent) = path.parent()
        && !parent.is_dir()
    {
        make_dir(parent, 0o755)?;
    }
    fs::write(path, content).map_err(LabError::io("cannot write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(LabError::io("cannot set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_differ_by_suite_packages_and_surroundings() {
        let here = Surroundings::default();
        let plain = packages(&[]).unwrap();
        let warm = packages(&["redis-server".into(), "nginx-light".into()]).unwrap();
        let other = Surroundings {
            certificates: "x".into(),
            ..Surroundings::default()
        };
        let names = [
            name(Suite::Bookworm, &plain, &here),
            name(Suite::Trixie, &plain, &here),
            name(Suite::Bookworm, &warm, &here),
            name(Suite::Bookworm, &plain, &other),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names[0].starts_with("bookworm-"));
        let swapped = packages(&["nginx-light".into(), "redis-server".into(), "nginx-light".into()]).unwrap();
        assert_eq!(warm, swapped, "order and repetition do not make another base");
    }

    #[test]
    fn a_package_name_cannot_be_an_option_or_a_list() {
        for bad in ["--aptopt=x", "a,b", "", "a b"] {
            assert!(packages(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
