//! What a saved plan was made from, as one number.

use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;

use super::Loaded;

/// SHA-256 in hex over the inventory, the encrypted secrets and the template overrides (path inside the folder and
/// content, in the order given). Lengths go in, too, so that no two inputs run together.
pub fn digest(inventory: &[u8], secrets: Option<&[u8]>, overrides: &[(String, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    let mut part = |tag: u8, bytes: &[u8]| {
        hash.update([tag]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(b'i', inventory);
    if let Some(secrets) = secrets {
        part(b's', secrets);
    }
    for (name, content) in overrides {
        part(b'n', name.as_bytes());
        part(b't', content);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Loaded {
    /// [`digest`] of this inventory as it was read, and of its secrets file, roles and template overrides as they are now.
    ///
    /// # Errors
    /// A usage error when one of those files cannot be read.
    pub fn fingerprint(&self) -> Result<String, Error> {
        let inventory = &self.inventory;
        let failed = |path: &Path, e: io::Error| Error::usage(format!("cannot read {}: {e}", path.display()));
        let secrets = match std::fs::read(&inventory.secrets.path) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed(&inventory.secrets.path, e)),
        };
        let mut overrides = Vec::new();
        if let Some(folder) = &inventory.templates {
            collect(folder, "", &mut overrides).map_err(|e| {
                failed(folder, e).hint("`templates:` names a folder of files that replace hactl's own templates")
            })?;
        }
        if !inventory.uses.is_empty() {
            let folder = inventory
                .path
                .parent()
                .unwrap_or(Path::new("/"))
                .join(super::roles::FOLDER);
            collect(&folder, "\0roles/", &mut overrides).map_err(|e| failed(&folder, e))?;
        }
        overrides.sort();
        Ok(digest(inventory.source.text.as_bytes(), secrets.as_deref(), &overrides))
    }
}

/// All files below a folder. Links to folders are not followed: they may lead back.
fn collect(folder: &Path, prefix: &str, out: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, &format!("{name}/"), out)?;
        } else if path.is_file() {
            out.push((name, std::fs::read(&path)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn every_input_counts_and_none_run_together() {
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        let all = [
            digest(b"ab", None, &[]),
            digest(b"ab", Some(b""), &[]),
            digest(b"a", Some(b"b"), &[]),
            digest(b"ab", None, &[file("", "")]),
            digest(b"ab", None, &[file("a", "b")]),
            digest(b"ab", None, &[file("ab", "")]),
            digest(b"ab", None, &[file("b", "a")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!all[..i].contains(one));
        }
    }
}
