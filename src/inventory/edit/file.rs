//! The file as a whole.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Kind};

/// Replaces a file as a whole, as long as it still holds `before`; owner and mode stay.
///
/// # Errors
/// It was changed by somebody else meanwhile (refused), or cannot be written.
pub fn replace(path: &Path, before: &str, after: &str) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::usage(format!("cannot write {}: {error}", path.display()));
    // What a link leads to is the file.
    let path = &std::fs::canonicalize(path).map_err(failed)?;
    if std::fs::read(path).map_err(failed)? != before.as_bytes() {
        let message = format!(
            "somebody else changed {} meanwhile; nothing was changed by this",
            path.display()
        );
        return Err(Error::new(Kind::Refused, message).hint("run it again"));
    }
    let meta = std::fs::metadata(path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".inventory-")
        .permissions(std::fs::Permissions::from_mode(meta.mode() & 0o7777))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(after.as_bytes()).map_err(failed)?;
    // Only root can give a file away, and only root writes in place of others.
    let (user, group) = (
        rustix::fs::Uid::from_raw(meta.uid()),
        rustix::fs::Gid::from_raw(meta.gid()),
    );
    let _ = rustix::fs::fchown(file.as_file(), Some(user), Some(group));
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(meta.mode() & 0o7777))
        .map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_and_what_somebody_else_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("real.yml"), folder.path().join("inventory.yml"));
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        std::os::unix::fs::symlink("real.yml", &link).unwrap();
        replace(&link, "old", "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o664);
        let error = replace(&link, "old", "newer").unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "a temporary file was left"
        );
    }
}
