//! Keys: who may log in, and which hosts answer.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::command::run;
use super::error::{LabError, Result};
use super::fleet::FleetHost;
use super::state::replace;

/// The `authorized_keys` of a host: the public half of its `identity_file`, which is made when it is missing, or the
/// operator's usual keys when it names none.
pub(super) fn authorized_keys(host: &FleetHost) -> Result<String> {
    match &host.identity_file {
        Some(private) => {
            let public = with_suffix(private, ".pub");
            // A public half alone is a key that an agent holds.
            if !private.exists() && !public.exists() {
                generate(private, &public)?;
            }
            public_half(private, &public)
        }
        None => usual_keys(host),
    }
}

fn public_half(private: &Path, public: &Path) -> Result<String> {
    if private.exists() {
        let argv = [
            "ssh-keygen".as_ref(),
            "-y".as_ref(),
            "-P".as_ref(),
            "".as_ref(),
            "-f".as_ref(),
            private.as_os_str(),
        ];
        match run("read the public half of the key", 20, argv) {
            Ok(text) => return Ok(text),
            // Encrypted: its public half is in the file beside it.
            Err(e) if !public.exists() => {
                return Err(LabError::Fleet {
                    what: format!("the public half of {} cannot be read: {e}", private.display()),
                    hint: format!("run: ssh-keygen -y -f {0} > {0}.pub", private.display()),
                });
            }
            Err(_) => {}
        }
    }
    fs::read_to_string(public).map_err(LabError::io("cannot read", public))
}

/// Makes an ed25519 pair. Two runs at once end with one pair: the private key's name is given once.
fn generate(private: &Path, public: &Path) -> Result<()> {
    let folder = private.parent().unwrap_or(Path::new("/"));
    let owner = make_folders(folder)?;
    let part = with_suffix(private, &format!(".part{}", std::process::id()));
    let part_public = with_suffix(&part, ".pub");
    let _ = fs::remove_file(&part);
    let words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hactl-lab", "-f"];
    run(
        "make the lab's key",
        20,
        words.iter().map(AsRef::as_ref).chain([part.as_os_str()]),
    )?;
    for path in [&part, &part_public] {
        give(path, owner)?;
    }
    match fs::hard_link(&part, private) {
        Ok(()) => fs::rename(&part_public, public).map_err(LabError::io("cannot write", public))?,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(LabError::io("cannot write", private)(e)),
    }
    let _ = fs::remove_file(&part);
    let _ = fs::remove_file(&part_public);
    Ok(())
}

/// Makes the folders of a key or a known_hosts file. They belong to whom their parent belongs: under `sudo`, to the
/// person and not to root. Returns that owner.
fn make_folders(folder: &Path) -> Result<(u32, u32)> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let meta = fs::metadata(existing).map_err(LabError::io("cannot read", existing))?;
    let owner = (meta.uid(), meta.gid());
    let mut missing: Vec<&Path> = folder.ancestors().take_while(|path| *path != existing).collect();
    missing.reverse();
    for path in missing {
        match fs::create_dir(path) {
            Ok(()) => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                    .map_err(LabError::io("cannot set the mode of", path))?;
                give(path, owner)?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(LabError::io("cannot make", path)(e)),
        }
    }
    Ok(owner)
}

fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<()> {
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(LabError::io("cannot set the owner of", path))
}

fn usual_keys(host: &FleetHost) -> Result<String> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from("/root"));
    let kinds = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];
    let found: String = kinds
        .iter()
        .filter_map(|name| fs::read_to_string(home.join(".ssh").join(name)).ok())
        .collect();
    if found.is_empty() {
        return Err(LabError::Fleet {
            what: format!(
                "host {}: no key to log in with: no ssh.identity_file, and no public key in ~/.ssh",
                host.name
            ),
            hint: "add `identity_file: .lab/id_ed25519` under `ssh:`; the lab makes it".into(),
        });
    }
    Ok(found)
}

/// Writes the host's public keys into its known_hosts file, in place of what the file said about that address.
pub(super) fn learn(host: &FleetHost, public_keys: &[String]) -> Result<()> {
    let Some(file) = &host.known_hosts else { return Ok(()) };
    let folder = file.parent().unwrap_or(Path::new("/"));
    let owner = make_folders(folder)?;
    let place = match host.port {
        22 => host.address.to_string(),
        port => format!("[{}]:{port}", host.address),
    };
    let old = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(LabError::io("cannot read", file)(e)),
    };
    // ssh-keygen knows hashed names and lists of names; it works on a copy, so that readers see the old file or the new.
    let mut text = if old.is_empty() {
        String::new()
    } else {
        let copy = tempfile::NamedTempFile::new_in(folder).map_err(LabError::io("cannot write in", folder))?;
        fs::write(copy.path(), &old).map_err(LabError::io("cannot write", copy.path()))?;
        let argv = [
            "ssh-keygen".as_ref(),
            "-R".as_ref(),
            place.as_ref(),
            "-f".as_ref(),
            copy.path().as_os_str(),
        ];
        run("forget the address's older keys", 20, argv)?;
        let _ = fs::remove_file(with_suffix(copy.path(), ".old"));
        fs::read_to_string(copy.path()).map_err(LabError::io("cannot read", copy.path()))?
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for key in public_keys {
        // Type and key; the comment names the machine that made it.
        let words: Vec<&str> = key.split_whitespace().take(2).collect();
        text.push_str(&format!("{place} {}\n", words.join(" ")));
    }
    if text != old {
        let mode = fs::metadata(file).map_or(0o600, |meta| meta.mode() & 0o777);
        let owner = fs::metadata(file).map_or(owner, |meta| (meta.uid(), meta.gid()));
        replace(file, text.as_bytes(), mode)?;
        give(file, owner)?;
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(folder: &Path) -> FleetHost {
        FleetHost {
            name: "a".into(),
            address: [10, 77, 10, 11].into(),
            user: "root".into(),
            port: 22,
            identity_file: Some(folder.join("keys/id")),
            known_hosts: Some(folder.join("keys/known_hosts")),
        }
    }

    #[test]
    fn a_missing_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        let first = authorized_keys(&host).unwrap();
        assert!(first.starts_with("ssh-ed25519 "), "{first}");
        assert_eq!(authorized_keys(&host).unwrap(), first);
        let private = fs::metadata(folder.path().join("keys/id")).unwrap();
        assert_eq!(private.mode() & 0o777, 0o600);
        let mut names = super::super::state::names_in(&folder.path().join("keys"));
        names.sort();
        assert_eq!(names, ["id", "id.pub"], "nothing else is left");
    }

    #[test]
    fn a_key_that_only_an_agent_holds_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        fs::write(folder.path().join("keys/id.pub"), "ssh-ed25519 AAAA agent\n").unwrap();
        assert_eq!(
            authorized_keys(&host(folder.path())).unwrap(),
            "ssh-ed25519 AAAA agent\n"
        );
        assert!(!folder.path().join("keys/id").exists());
    }

    #[test]
    fn known_hosts_replaces_the_address_and_keeps_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        authorized_keys(&host).unwrap();
        let key = fs::read_to_string(folder.path().join("keys/id.pub")).unwrap();
        let words: Vec<&str> = key.split_whitespace().take(2).collect();
        let file = folder.path().join("keys/known_hosts");
        fs::write(
            &file,
            format!("10.77.10.11 {0}\nother.example {0}\n10.77.10.110 {0}", words.join(" ")),
        )
        .unwrap();
        learn(&host, &["ssh-ed25519 NEW comment".into()]).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            text,
            format!(
                "other.example {0}\n10.77.10.110 {0}\n10.77.10.11 ssh-ed25519 NEW\n",
                words.join(" ")
            )
        );
        learn(&FleetHost { port: 2222, ..host }, &["ssh-ed25519 NEW comment".into()]).unwrap();
        assert!(
            fs::read_to_string(&file)
                .unwrap()
                .ends_with("[10.77.10.11]:2222 ssh-ed25519 NEW\n")
        );
        assert!(!folder.path().join("keys/known_hosts.old").exists());
    }
}
