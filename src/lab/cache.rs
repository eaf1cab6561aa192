//! Debian packages are downloaded once: hosts start with what earlier hosts downloaded, and hand on what they did.
//!
//! A folder shared by running hosts would not do: apt locks it for a whole run, and removing a package there (`apt-get
//! clean`) would remove it for all. So each host has its own archives folder, filled with hard links to the cache before
//! the first boot and harvested when its disk is thrown away. apt and dpkg replace archives by rename and never write
//! into one, so a link is as good as a copy, and costs nothing. Nothing in a host shows that it is there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::base::Suite;
use super::error::{LabError, Result};
use super::state::{StateRoot, make_dir, names_in};

/// Where apt keeps downloaded packages, in a host's disk.
const ARCHIVES: &str = "var/cache/apt/archives";

/// Links the cache into the disk of a new host.
pub(super) fn seed(root: &StateRoot, suite: Suite, upper: &Path) -> Result<()> {
    let cache = root.cache(suite);
    let packages = names_in(&cache);
    if packages.is_empty() {
        return Ok(());
    }
    let mut folder = upper.to_path_buf();
    for part in Path::new(ARCHIVES) {
        folder.push(part);
        make_dir(&folder, 0o755)?;
    }
    for package in packages.iter().filter(|name| is_package(name)) {
        let to = folder.join(package);
        match fs::hard_link(cache.join(package), &to) {
            Ok(()) => {}
            // Too many links, or another run replaced it: this host downloads it again.
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::TooManyLinks
                ) => {}
            Err(e) => return Err(LabError::io("cannot link", &to)(e)),
        }
    }
    Ok(())
}

/// Keeps what a host downloaded. Packages that are there already stay as they are.
pub(super) fn harvest(root: &StateRoot, suite: Suite, upper: &Path) -> Result<()> {
    let archives = upper.join(ARCHIVES);
    let cache = root.cache(suite);
    for package in names_in(&archives).iter().filter(|name| is_package(name)) {
        let from = archives.join(package);
        // A link to somewhere is not a package, and following it would leave the host's disk.
        let is_file =
            fs::symlink_metadata(&from).is_ok_and(|meta| meta.is_file() && meta.size() > 0 && meta.uid() == 0);
        if !is_file {
            continue;
        }
        make_dir(&cache, 0o700)?;
        match fs::hard_link(&from, cache.join(package)) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(LabError::io("cannot keep", &from)(e)),
        }
    }
    Ok(())
}

/// apt writes to `partial/` and renames when a package is complete and its hash right, so a `.deb` is whole.
fn is_package(name: &str) -> bool {
    name.ends_with(".deb") && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_travel_from_host_to_host_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateRoot::at(folder.path().join("state"));
        fs::create_dir_all(root.cache(Suite::Bookworm).parent().unwrap()).unwrap();
        let first = folder.path().join("first");
        let archives = first.join(ARCHIVES);
        fs::create_dir_all(archives.join("partial")).unwrap();
        fs::write(archives.join("nginx_1_amd64.deb"), "whole").unwrap();
        fs::write(archives.join("empty_1_amd64.deb"), "").unwrap();
        fs::write(archives.join("lock"), "").unwrap();
        fs::write(archives.join("partial/redis_1_amd64.deb"), "half").unwrap();
        std::os::unix::fs::symlink("/etc/shadow", archives.join("evil_1_amd64.deb")).unwrap();
        harvest(&root, Suite::Bookworm, &first).unwrap();
        harvest(&root, Suite::Bookworm, &first).unwrap();

        let second = folder.path().join("second");
        fs::create_dir(&second).unwrap();
        seed(&root, Suite::Bookworm, &second).unwrap();
        assert_eq!(names_in(&second.join(ARCHIVES)), ["nginx_1_amd64.deb"]);
        seed(&root, Suite::Trixie, &second).unwrap();
    }
}
