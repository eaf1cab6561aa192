//! `backup`, complete and checked.

use crate::inventory::model::SecretRef;

/// Copies of the data.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Where they go, in the order written. Never empty.
    pub targets: Vec<Target>,
    /// Hour and minute of the daily backup; 2:00.
    pub at: (u8, u8),
    /// Days from one full backup to the next; 7.
    pub full_days: u32,
    /// Seconds from one copy of the binary logs to the next; 60.
    pub binlog_seconds: u32,
    /// Minutes from one copy of the files to the next; 60.
    pub files_minutes: u32,
    /// How long.
    pub keep: Keep,
    /// KiB a second.
    pub limit_upload: Option<u32>,
}

impl Backup {
    /// Name of the secret that encrypts all repositories.
    pub const PASSWORD: &str = "backup/password";

    /// The secrets that targets name, by their canonical names, and whether each may have several lines.
    pub fn secrets(&self) -> impl Iterator<Item = (String, &SecretRef, bool)> {
        self.targets.iter().flat_map(Target::secrets)
    }
}

/// How long copies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// 7.
    pub daily: u32,
    /// 5.
    pub weekly: u32,
    /// 12.
    pub monthly: u32,
    /// 14.
    pub binlog_days: u32,
}

/// A place for copies.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is.
    pub store: Store,
}

impl Target {
    /// Canonical name of one of its secrets.
    pub fn secret(&self, key: &str) -> String {
        format!("backup/{}/{key}", self.name)
    }

    /// Whether it is a folder of the hosts, of which each has its own.
    pub fn is_own(&self) -> bool {
        matches!(self.store, Store::Directory { .. })
    }

    fn secrets(&self) -> Vec<(String, &SecretRef, bool)> {
        let one = |key: &str, given, document| (self.secret(key), given, document);
        match &self.store {
            Store::Directory { .. } => Vec::new(),
            Store::Ssh { key, .. } => vec![one("key", key, true)],
            Store::Azure { key, .. } => vec![one("key", key, false)],
            Store::S3 { id, key, .. } => vec![one("access_key_id", id, false), one("secret_access_key", key, false)],
            Store::Gs { credentials, .. } => vec![one("credentials", credentials, true)],
        }
    }
}

/// What a target is.
#[derive(Debug, Clone)]
pub enum Store {
    /// A folder on each host.
    Directory {
        /// Absolute.
        path: String,
    },
    /// Another machine, by SFTP.
    Ssh {
        /// Name or address.
        host: String,
        /// 22 unless said.
        port: u16,
        /// Login user.
        user: String,
        /// Absolute path there.
        path: String,
        /// Private key.
        key: SecretRef,
        /// Type and key, as in a known_hosts file.
        host_key: String,
    },
    /// S3.
    S3 {
        /// URL of the API, without a slash at the end.
        endpoint: String,
        /// Bucket.
        bucket: String,
        /// Folder in it.
        path: String,
        /// Region.
        region: Option<String>,
        /// Id of the access key.
        id: SecretRef,
        /// The access key.
        key: SecretRef,
    },
    /// Google Cloud Storage.
    Gs {
        /// Bucket.
        bucket: String,
        /// Folder in it.
        path: String,
        /// JSON of the service account.
        credentials: SecretRef,
    },
    /// Azure Blob Storage.
    Azure {
        /// Storage account.
        account: String,
        /// Its key.
        key: SecretRef,
        /// Container.
        container: String,
        /// Folder in it.
        path: String,
    },
}
