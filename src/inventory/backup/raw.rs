//! `backup` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::inventory::yaml::{At, Entries, SecretText};

/// Copies of the data, see backup.md.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBackup {
    /// Where they go, by name: each is a restic repository, encrypted with the secret `backup/password`. Required.
    pub targets: At<Entries<RawTarget>>,
    /// Time of day of the database's daily backup, by the hosts' clock. Default `02:00`.
    pub at: At<String>,
    /// Days from one full backup of the database to the next; the ones between hold what changed since. Default 7.
    pub full_days: At<u32>,
    /// Seconds from one copy of the binary logs to the next: what can be lost with the whole site. Default 60.
    pub binlog_seconds: At<u32>,
    /// Minutes from one copy of the sites' files to the next. Default 60.
    pub files_minutes: At<u32>,
    /// How long copies are kept.
    pub keep: At<RawKeep>,
    /// KiB a second that a host sends at most. Default: no limit.
    pub limit_upload: At<u32>,
}

/// How long copies are kept. What a kept one is based on is kept, too, and the newest good one always.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawKeep {
    /// The newest of each of so many days. Default 7.
    pub daily: At<u32>,
    /// The newest of each of so many weeks. Default 5.
    pub weekly: At<u32>,
    /// The newest of each of so many months. Default 12.
    pub monthly: At<u32>,
    /// Days that can be gone back to any second. Default 14.
    pub binlog_days: At<u32>,
}

/// Where copies go; `kind` decides which keys there are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$hactl::kind", rename_all = "lowercase")]
#[schemars(rename = "RawTarget", tag = "kind")]
pub enum RawTarget {
    /// A folder on each host that takes backups: something mounted there, or a first copy.
    Directory(Box<RawDirectory>),
    /// Another machine, by SFTP.
    Ssh(Box<RawSshTarget>),
    /// S3, or what speaks like it.
    S3(Box<RawS3>),
    /// Google Cloud Storage.
    Gs(Box<RawGs>),
    /// Azure Blob Storage.
    Azure(Box<RawAzure>),
}

/// `kind: directory`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawDirectory {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// Absolute path on the hosts. Required.
    pub path: At<String>,
}

/// `kind: ssh`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawSshTarget {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// Name or address of the machine. Required.
    pub host: At<String>,
    /// Port of its sshd. Default 22.
    pub port: At<u16>,
    /// Login user there. Required.
    pub user: At<String>,
    /// Absolute path there. Required.
    pub path: At<String>,
    /// Private key that logs in there, in OpenSSH's form. Required.
    pub key: At<SecretText>,
    /// Public host key of the machine, as `ssh-keyscan` prints it without the name: `ssh-ed25519 AAAA...`. Required.
    pub host_key: At<String>,
}

/// `kind: s3`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawS3 {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// Where the API is. Default `https://s3.amazonaws.com`.
    pub endpoint: At<String>,
    /// The bucket; it must be there, or the key must be allowed to make it. Required.
    pub bucket: At<String>,
    /// Folder in the bucket. Default: the cluster's name.
    pub path: At<String>,
    /// Region of the bucket, where the provider wants one.
    pub region: At<String>,
    /// Id of the access key. Required.
    pub access_key_id: At<SecretText>,
    /// The access key. Required.
    pub secret_access_key: At<SecretText>,
}

/// `kind: gs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawGs {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// The bucket. Required.
    pub bucket: At<String>,
    /// Folder in the bucket. Default: the cluster's name.
    pub path: At<String>,
    /// The service account's key, a JSON document. Required.
    pub credentials: At<SecretText>,
}

/// `kind: azure`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawAzure {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// The storage account. Required.
    pub account: At<String>,
    /// The account's key. Required.
    pub key: At<SecretText>,
    /// The container. Required.
    pub container: At<String>,
    /// Folder in the container. Default: the cluster's name.
    pub path: At<String>,
}
