//! What this machine must have before a lab can start.

use std::path::Path;

use super::command::{find, run};
use super::error::{LabError, Result};
use super::{LabEvent, Report};

/// Programs, and the Debian packages that hold them.
const PROGRAMS: [(&str, &str); 12] = [
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ssh-keygen", "openssh-client"),
    ("chroot", "coreutils"),
    ("timeout", "coreutils"),
    ("sysctl", "procps"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
];

/// Debian's archive keys; a Debian has them, an Ubuntu may not.
const KEYRING: (&str, &str) = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "debian-archive-keyring",
);

/// Root?
pub(super) fn root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(LabError::NotRoot)
    }
}

/// Checks root and programs; `install` lets apt-get install what is missing.
pub(super) fn ensure(install: bool, report: Report) -> Result<()> {
    root()?;
    match missing() {
        Err(LabError::MissingPrograms { packages, .. }) if install && find("apt-get").is_some() => {
            report(LabEvent::Installing {
                packages: packages.clone(),
            });
            let apt = |words: &[&str]| {
                let mut argv = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"];
                argv.extend(words);
                argv.extend(["-o", "DPkg::Lock::Timeout=300"]);
                run("install what the lab needs", 1200, argv).map(drop)
            };
            apt(&["update"])?;
            let mut words = vec!["install", "--no-install-recommends"];
            words.extend(packages.iter().map(String::as_str));
            apt(&words)?;
            missing()
        }
        other => other,
    }
}

/// The device of FUSE; hosts get it where this machine has it.
pub(super) const FUSE: &str = "/dev/fuse";

/// Checks FUSE, and loads it where it is a module.
pub(super) fn fuse() -> Result<()> {
    if !Path::new(FUSE).exists() && find("modprobe").is_some() {
        // Whether it helped is seen below.
        let _ = run("load FUSE", 30, ["modprobe", "fuse"]);
    }
    match Path::new(FUSE).exists() {
        true => Ok(()),
        false => Err(LabError::NoFuse),
    }
}

fn missing() -> Result<()> {
    let mut programs = Vec::new();
    let mut packages: Vec<String> = Vec::new();
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            programs.push(program.to_owned());
            packages.push(package.to_owned());
        }
    }
    if !Path::new(KEYRING.0).exists() {
        programs.push(KEYRING.0.to_owned());
        packages.push(KEYRING.1.to_owned());
    }
    packages.sort_unstable();
    packages.dedup();
    if programs.is_empty() {
        Ok(())
    } else {
        Err(LabError::MissingPrograms { programs, packages })
    }
}
