//! A host made of this machine's `sh` in a mount namespace of its own, where `/run/hactl` and `/var/lib/hactl` are folders
//! of the test: the real protocol and the real host side of an order, without touching this machine.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hactl::inventory::Host;
use hactl::quote::sh;
use hactl::transport::local::Local;
use hactl::transport::{Connect, Connection, Pipe, TransportError};

/// The sandbox; clones share the same folders.
#[derive(Clone)]
pub struct Sandbox {
    folder: Arc<tempfile::TempDir>,
}

impl Sandbox {
    /// A new, empty host. Fails the test when namespaces cannot be made here (they need root).
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["run", "lib", "etc", "bin"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        // Mount points that a machine may not have yet.
        for path in ["/run/hactl", "/var/lib/hactl"] {
            std::fs::create_dir_all(path).expect("run as root: the sandbox needs mount points");
        }
        Sandbox {
            folder: Arc::new(folder),
        }
    }

    /// A folder of the test that the host's scripts see under the same name.
    pub fn etc(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    /// A program of this machine, named by its path below `/usr/bin`, is another one on the host.
    pub fn replace(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("bin").join(name);
        std::fs::write(&path, script).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("an executable");
    }

    /// Where the host sees `/var/lib/hactl`.
    pub fn lib(&self) -> PathBuf {
        self.folder.path().join("lib")
    }

    /// Where the host sees `/run/hactl`.
    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

#[async_trait]
impl Connection for Sandbox {
    async fn open(&self, command: &str) -> Result<Pipe, TransportError> {
        let root = self.folder.path().display();
        let inside = format!(
            "mount --bind {root}/run /run/hactl && mount --bind {root}/lib /var/lib/hactl && \
             for p in {root}/bin/*; do [ ! -e \"$p\" ] || mount --bind \"$p\" \"/usr/bin/${{p##*/}}\"; done && exec sh -c {}",
            sh(command)
        );
        Local.open(&format!("exec unshare --mount sh -c {}", sh(&inside))).await
    }

    fn backend(&self) -> &'static str {
        "sandbox"
    }

    async fn close(&self) {}
}

#[async_trait]
impl Connect for Sandbox {
    async fn connect(&self, _: &Host) -> Result<Box<dyn Connection>, TransportError> {
        Ok(Box::new(self.clone()))
    }
}
