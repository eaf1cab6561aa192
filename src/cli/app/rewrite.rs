//! The inventory file with other refs, and back.

use std::io::Write;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::inventory::edit::{self, NewRef};
use crate::inventory::{self, Loaded};

/// A file that was rewritten.
pub struct Rewrite {
    path: PathBuf,
    old: String,
    new: String,
}

impl Rewrite {
    /// Writes new refs into the inventory file; `None` when it names them already.
    ///
    /// # Errors
    /// Refs that cannot be replaced in the text, or a file that cannot be written.
    pub fn refs(loaded: &Loaded, wanted: &[NewRef]) -> Result<Option<Rewrite>> {
        // What a link leads to is the inventory; the link stays one.
        let path =
            std::fs::canonicalize(&loaded.inventory.path).map_err(|error| failed(&loaded.inventory.path, error))?;
        let old = loaded.inventory.source.text.to_string();
        let new = edit::with_refs(loaded, &old, wanted)?;
        if new == old {
            return Ok(None);
        }
        let rewrite = Rewrite { path, old, new };
        rewrite.replace(&rewrite.old, &rewrite.new)?;
        Ok(Some(rewrite))
    }

    /// Makes the file what it was.
    ///
    /// # Errors
    /// When somebody else changed it meanwhile, or it cannot be written.
    pub fn put_back(&self) -> Result<()> {
        self.replace(&self.new, &self.old)
    }

    /// Replaces the file atomically, if it still holds `from`; owner and mode stay.
    fn replace(&self, from: &str, to: &str) -> Result<()> {
        let failed = |error| failed(&self.path, error);
        let meta = std::fs::metadata(&self.path).map_err(failed)?;
        if !meta.is_file() || std::fs::read(&self.path).map_err(failed)? != from.as_bytes() {
            return Err(Error::usage(format!(
                "{} was changed by somebody else meanwhile, or is no regular file; it is left as it is",
                self.path.display()
            )));
        }
        let folder = self.path.parent().unwrap_or(std::path::Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(to.as_bytes()).map_err(failed)?;
        file.as_file().set_permissions(meta.permissions()).map_err(failed)?;
        use std::os::unix::fs::MetadataExt;
        // Who may not give files away writes his own.
        let _ = std::os::unix::fs::chown(file.path(), Some(meta.uid()), Some(meta.gid()));
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

fn failed(path: &std::path::Path, error: std::io::Error) -> Error {
    Error::internal(format!("cannot write the refs into {}: {error}", path.display()))
        .hint("write them into the inventory by other means, then run hactl app update without --set")
}

/// The inventory with what `--set` says, before anything is written.
///
/// # Errors
/// A `--set` that names no app, or no ref.
pub fn wanted(loaded: &inventory::Loaded, given: &[String]) -> Result<Vec<NewRef>> {
    let app = &loaded.inventory.app;
    let wanted = given.iter().map(|given| edit::new_ref(app, given));
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    for (at, new) in wanted.iter().enumerate() {
        if let Some(other) = wanted[..at].iter().find(|other| other.app == new.app && other != &new) {
            return Err(Error::usage(format!(
                "--set names {} twice, as {} and as {}",
                new.app, other.git_ref, new.git_ref
            )));
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::role::testing::GUESTBOOK;

    #[test]
    fn the_file_is_replaced_behind_its_link_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.yml"), folder.path().join("inventory.yml"));
        std::fs::write(&file, GUESTBOOK).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.yml", &link).unwrap();
        let loaded = inventory::load(&link).unwrap();
        let wanted = wanted(&loaded, &["v2".to_owned()]).unwrap();
        let rewrite = Rewrite::refs(&loaded, &wanted).unwrap().expect("another ref");
        let now = || std::fs::read_to_string(&file).unwrap();
        assert_eq!(now(), GUESTBOOK.replace("ref: main", "ref: v2"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
        rewrite.put_back().unwrap();
        assert_eq!(now(), GUESTBOOK);

        // Somebody else's change is not thrown away.
        std::fs::write(&file, "mine").unwrap();
        assert!(rewrite.put_back().is_err());
        assert_eq!(now(), "mine");
    }
}
