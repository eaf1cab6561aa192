//! The inventory as written: every key, nothing checked, nothing defaulted. The comments become editor tooltips.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::backup::raw::RawBackup;
use super::dns::raw::{RawDns, RawPublic};
use super::yaml::{At, Either, Entries, Lines, SecretText};

/// A list whose items have places.
pub type List<T> = At<Vec<At<T>>>;

/// A hactl inventory: the servers, what runs on them, and how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawInventory {
    /// Name of the cluster; names markers, journals and the lab. `[a-z][a-z0-9-]{0,31}`. Required.
    pub cluster: At<String>,
    /// How hosts are reached, unless a host says otherwise.
    pub ssh: At<RawSsh>,
    /// The servers by name. Required.
    pub hosts: At<Entries<RawHost>>,
    /// Virtual addresses by name, with prefix length: `web: 10.77.0.100/24`, or a mapping.
    pub vip: At<Entries<RawVip>>,
    /// Names that lead to the host that serves, and who changes that when another takes over.
    pub dns: At<RawDns>,
    /// Copies of the data: where they go, how often, how long they are kept.
    pub backup: At<RawBackup>,
    /// What runs. Required.
    pub app: At<RawApp>,
    /// The sites served. Required.
    pub sites: List<RawSite>,
    /// TLS of every site that does not say otherwise: `none`, `self-signed` (default), `{ certificate, key }` or
    /// `{ certbot }`.
    pub tls: At<RawTls>,
    /// Database knobs.
    pub mariadb: At<RawMariaDb>,
    /// Redis knobs.
    pub redis: At<RawRedis>,
    /// memcached knobs.
    pub memcached: At<RawMemcached>,
    /// Web server knobs.
    pub nginx: At<RawNginx>,
    /// How hosts that run Frappe share the files of its sites. Default `rsync` for several such hosts, else `local`.
    pub files: At<RawFiles>,
    /// Operating system knobs.
    pub system: At<RawSystem>,
    /// How changes go over hosts that serve together.
    pub rolling: At<RawRolling>,
    /// Folder whose files replace hactl's templates of the same name; relative to this file.
    pub templates: At<String>,
    /// Where secrets are kept.
    pub secrets: At<RawSecrets>,
    /// Roles of your own that every host has: names of files `roles/NAME.yml` beside this one.
    #[serde(rename = "use")]
    pub uses: List<String>,
    /// Commands on this machine before and after an apply.
    pub hooks: At<RawHooks>,
    /// What a crash plan may use.
    pub crashplan: At<RawCrashplan>,
}

/// How to reach a host.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSsh {
    /// Login user. Default `root`.
    pub user: At<String>,
    /// Port of sshd. Default 22.
    pub port: At<u16>,
    /// Private key; `~` and paths relative to this file are fine. Default: the agent and the usual keys.
    pub identity_file: At<String>,
    /// known_hosts file used instead of your own.
    pub known_hosts: At<String>,
    /// Jump host, `[user@]host[:port]`.
    pub jump: At<String>,
    /// How the login user becomes root: `sudo` (default for a user other than root), `password` (sudo, asks once),
    /// `{ password: !secret NAME }`, or `none`.
    #[serde(rename = "become")]
    pub become_root: At<RawBecome>,
    /// `auto` (default), `native`, `openssh` or `local`.
    pub transport: At<RawTransport>,
    /// Seconds to wait for a connection. Default 10.
    pub connect_timeout: At<u64>,
}

/// `become`.
pub type RawBecome = Either<RawBecomeWord, RawBecomePassword>;

/// `become` in a word.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RawBecomeWord {
    /// Without a password.
    Sudo,
    /// The same as `sudo`.
    True,
    /// With a password that is asked once.
    Password,
    /// The login user is root already.
    None,
    /// The same as `none`.
    False,
}

/// `become: { password: ... }`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBecomePassword {
    /// sudo's password.
    pub password: At<SecretText>,
}

/// How files of sites are shared.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RawFiles {
    /// Not at all, or by what the operator has mounted there.
    Local,
    /// Each host takes what the others have every few seconds, and asks them for what it has not.
    Rsync,
    /// All hosts have the same files, on a volume of GlusterFS of which the first three of them keep a copy each.
    Gluster,
}

/// Which transport carries a session.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RawTransport {
    /// `native` when the host's ssh configuration asks for nothing it lacks, else `openssh`.
    Auto,
    /// Built in.
    Native,
    /// The system's ssh with all of `~/.ssh/config`.
    Openssh,
    /// This machine, no ssh.
    Local,
}

/// One server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHost {
    /// IP address where it is reached, and where its peers reach it. Required.
    pub address: At<String>,
    /// Where the world reaches it, for `dns`: an address, or a list of an IPv4 and an IPv6 one. Default: `address`, when no
    /// host has this.
    pub public_address: At<RawPublic>,
    /// What it does: `lb`, `app`, `worker`, `db`, `redis`, `memcached`. Without: app, worker, db and redis (a full
    /// server).
    pub roles: List<RawRole>,
    /// MariaDB primary at birth; needed when several hosts have the role `db`. Leads Redis at birth, too, when it has that.
    pub primary: At<bool>,
    /// The server of a pair that waits at birth: everything is there, and what serves is stopped. From then on the one waits
    /// whose MariaDB follows. See clusters.md.
    pub standby: At<bool>,
    /// Frappe's background workers on this host, instead of `app.workers`.
    pub workers: List<RawQueueWorker>,
    /// Group of app hosts that load balancers send only some requests to, see `nginx.routes`. Default: none; these serve
    /// everything else.
    pub group: At<String>,
    /// Roles of your own that this host has: names of files `roles/NAME.yml` beside this one.
    #[serde(rename = "use")]
    pub uses: List<String>,
    /// Entries over the inventory's `ssh`.
    pub ssh: At<RawSsh>,
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum RawRole {
    /// Load balancer.
    Lb,
    /// Web processes.
    App,
    /// Background workers.
    Worker,
    /// MariaDB.
    Db,
    /// Redis.
    Redis,
    /// memcached.
    Memcached,
}

/// A virtual address: with its prefix length, or a mapping.
pub type RawVip = Either<String, RawVipMap>;

/// A virtual address with what hactl would otherwise derive.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawVipMap {
    /// Address with prefix length. Required.
    pub address: At<String>,
    /// Number of its VRRP router, 1 to 255; no two in a network may have the same. Default: the last byte of the address.
    pub virtual_router_id: At<u8>,
    /// Network interface that carries it. Default: the one with an address in its network, else the one with the host's.
    pub interface: At<String>,
}

/// What runs; `kind` decides which keys there are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$hactl::kind", rename_all = "lowercase")]
#[schemars(rename = "RawApp", tag = "kind")]
pub enum RawApp {
    /// Frappe and its apps.
    Frappe(Box<RawFrappe>),
    /// Any WSGI application from a git URL.
    Wsgi(Box<RawWsgi>),
}

/// Keys that both kinds of app share.
macro_rules! with_process {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Chooses these keys; read before them.
            #[schemars(skip)]
            pub kind: At<String>,
            /// System user that owns and runs the app. Default `frappe` or `app`.
            pub user: At<String>,
            /// Its uid and gid, the same on every host. Default 1990.
            pub uid: At<u32>,
            /// gunicorn workers. Default 2 x cores + 1.
            pub web_workers: At<u32>,
            /// gunicorn threads per worker. Default 1.
            pub web_threads: At<u32>,
            /// Seconds a request may take. Default 120.
            pub http_timeout: At<u32>,
            /// Local port of gunicorn. Default 8000.
            pub web_port: At<u16>,
            /// Python executable on the host, e.g. `python3.11`. Default `python3`.
            pub python: At<String>,
            /// Debian packages the app needs besides hactl's own list.
            pub packages: List<String>,
        }

        impl $name {
            /// The keys that both kinds of app share.
            pub fn process(&self) -> RawProcess<'_> {
                RawProcess {
                    user: &self.user,
                    uid: &self.uid,
                    web_workers: &self.web_workers,
                    web_threads: &self.web_threads,
                    http_timeout: &self.http_timeout,
                    web_port: &self.web_port,
                    python: &self.python,
                    packages: &self.packages,
                }
            }
        }
    };
}

/// The shared keys of an app.
#[allow(missing_docs, reason = "documented where they are declared")]
pub struct RawProcess<'a> {
    pub user: &'a At<String>,
    pub uid: &'a At<u32>,
    pub web_workers: &'a At<u32>,
    pub web_threads: &'a At<u32>,
    pub http_timeout: &'a At<u32>,
    pub web_port: &'a At<u16>,
    pub python: &'a At<String>,
    pub packages: &'a List<String>,
}

with_process! {
    /// `app: { kind: frappe }`.
    pub struct RawFrappe {
        /// Frappe first, then the others, in install order. Required.
        pub apps: List<RawGitApp>,
        /// Bench path, the same on all hosts. Default `/srv/frappe/bench`.
        pub path: At<String>,
        /// Background workers. Default: `short` (queues short, default) and `long` (long, default, short), one each.
        pub workers: List<RawQueueWorker>,
        /// Port of the socket.io server. Default 9000.
        pub socketio_port: At<u16>,
        /// Whether reports, lists and other queries that Frappe marks as read-only go to a replica of the database (to the
        /// writer when there is none). A replica may be a moment behind, and reports that write fail there. Default false.
        pub read_from_replica: At<bool>,
        /// Extra keys of common_site_config.json.
        pub config: At<Map<String, Value>>,
        /// The bench that this server had before; `hactl init --from-bench` writes it.
        pub adopted: At<RawAdopted>,
    }
}

/// A server that `bench` built, taken over: where its bench is, and what ran there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAdopted {
    /// Folder of the old bench. Required.
    pub from: At<String>,
    /// The refs of the apps that ran there: a site needs no migration while the apps have these.
    pub refs: At<Entries<String>>,
    /// Its configuration of supervisord. Default `/etc/supervisor/conf.d/BENCH.conf`, BENCH being the folder's name.
    pub supervisor: At<String>,
    /// Its configuration of nginx. Default `/etc/nginx/conf.d/BENCH.conf`.
    pub nginx: At<String>,
}

with_process! {
    /// `app: { kind: wsgi }`.
    pub struct RawWsgi {
        /// Name of the app. Default: the last part of the URL.
        pub name: At<String>,
        /// Git URL. Required.
        pub url: At<String>,
        /// Tag, branch or commit. Required.
        #[serde(rename = "ref")]
        pub git_ref: At<String>,
        /// `package.module:callable`. Required.
        pub module: At<String>,
        /// Where it is installed. Default `/srv/NAME`.
        pub path: At<String>,
        /// Background processes.
        pub workers: List<RawWsgiWorker>,
        /// Command run once per deployed version, before its web processes start.
        pub migrate: At<String>,
        /// Extra environment variables.
        pub env: At<Entries<String>>,
        /// Path that answers 2xx or 3xx when the app is healthy. Default `/`.
        pub health: At<String>,
        /// Folder inside the repository served under /static.
        pub static_dir: At<String>,
    }
}

/// An app from git.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGitApp {
    /// Python package. Required.
    pub name: At<String>,
    /// Git URL. Required.
    pub url: At<String>,
    /// Tag, branch or commit. Required.
    #[serde(rename = "ref")]
    pub git_ref: At<String>,
}

/// Workers of a set of queues.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawQueueWorker {
    /// Program name. Required.
    pub name: At<String>,
    /// Queues in order of preference. Default: the one of its name.
    pub queues: List<String>,
    /// Processes. Default 1.
    pub count: At<u32>,
    /// Seconds a job may take. Default 1500 when the queue `long` is among them, else 300.
    pub timeout: At<u32>,
}

/// A background process of a WSGI app.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWsgiWorker {
    /// Program name. Required.
    pub name: At<String>,
    /// Command line, run in the app's folder with its Python first in PATH. Required.
    pub command: At<String>,
    /// Processes. Default 1.
    pub count: At<u32>,
}

/// A site.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSite {
    /// Host name it answers to. Required.
    pub name: At<String>,
    /// More host names.
    pub aliases: List<String>,
    /// Password of the Administrator. Default: generated.
    pub admin_password: At<SecretText>,
    /// Apps to install besides frappe. Default: all of `app.apps`.
    pub apps: List<String>,
    /// Database and its user. Default: made from the name.
    pub db_name: At<String>,
    /// `none`, `self-signed`, `{ certificate, key }` or `{ certbot }`.
    pub tls: At<RawTls>,
    /// Extra keys of site_config.json.
    pub config: At<Map<String, Value>>,
}

/// `tls`.
pub type RawTls = Either<RawTlsWord, RawTlsMap>;

/// `tls` in a word.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RawTlsWord {
    /// Plain HTTP only.
    None,
    /// Made on the host.
    SelfSigned,
}

/// Where a certificate comes from: either files that you have, or certbot.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTlsMap {
    /// PEM chain on this machine.
    pub certificate: At<String>,
    /// PEM key on this machine.
    pub key: At<String>,
    /// The two are files on the server, where somebody else renews them (a certbot of your own, for instance). Default
    /// false.
    pub on_server: At<bool>,
    /// From a certificate authority, renewed by the host itself.
    pub certbot: At<RawCertbot>,
}

/// Certificates by certbot and HTTP-01.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCertbot {
    /// Address for the account at the authority. Required.
    pub email: At<String>,
    /// Whether you agree to the authority's terms of service: only `true` does. Required.
    pub agree_tos: At<bool>,
    /// URL of the authority's ACME directory. Default: Let's Encrypt's.
    pub server: At<String>,
    /// Whether the host first looks up each name in DNS and fetches a test file from there, so that no attempt is wasted.
    /// Turn it off where the host cannot reach its own public address. Default true.
    pub self_check: At<bool>,
}

/// Database knobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawMariaDb {
    /// Default 3306.
    pub port: At<u16>,
    /// MiB. Default: a share of memory that leaves room for what else runs on the host.
    pub buffer_pool_mb: At<u64>,
    /// Default 200.
    pub max_connections: At<u32>,
    /// Semi-synchronous replication. Default true.
    pub semi_sync: At<bool>,
    /// Leaves the server's configuration as it is, and so needs no restart of it. Default false.
    pub keep_config: At<bool>,
    /// Extra lines for `[mariadbd]`.
    pub settings: At<Map<String, Value>>,
}

/// Redis knobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRedis {
    /// Default 13000.
    pub cache_port: At<u16>,
    /// Default 11000.
    pub queue_port: At<u16>,
    /// MiB. Default 5 % of memory, at least 50.
    pub cache_maxmemory_mb: At<u64>,
    /// Sentinels that must agree. Default: a majority.
    pub quorum: At<u32>,
}

/// memcached knobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawMemcached {
    /// Default 11211.
    pub port: At<u16>,
    /// MiB for what it keeps. Default 64.
    pub memory_mb: At<u32>,
}

/// Web server knobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawNginx {
    /// MiB of a request body. Default 50.
    pub client_max_body_mb: At<u32>,
    /// Default 80.
    pub http_port: At<u16>,
    /// Default 443.
    pub https_port: At<u16>,
    /// Where app hosts answer load balancers, in plain HTTP. Default 8080.
    pub app_port: At<u16>,
    /// Which requests load balancers send to which group of app hosts; the first that fits counts.
    pub routes: List<RawRoute>,
}

/// A rule of the load balancers: a request that fits any of its conditions goes to the group, or to the other app hosts
/// when the group is down.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRoute {
    /// The group, as in `hosts.NAME.group`. Required.
    pub to: At<String>,
    /// Beginnings of paths, e.g. `/api/method/frappe.desk.query_report.run`.
    pub path: List<String>,
    /// Frappe's methods, in whichever way a request names one: in the path behind `/api/method/`, in the header
    /// X-Frappe-CMD, or as argument `cmd`. A `*` at the end stands for anything.
    pub cmd: List<String>,
    /// Document types, as in the header X-Frappe-Doctype.
    pub doctype: List<String>,
    /// Headers with their values.
    pub header: At<Entries<String>>,
}

/// How changes go over hosts that serve together.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRolling {
    /// How many hosts of a group (load balancers, app, databases, Redis) change at once. Default 1.
    pub batch: At<u32>,
}

/// Operating system knobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSystem {
    /// Extra Debian packages on every host.
    pub packages: List<String>,
    /// Extra sysctls on every host.
    pub sysctl: At<Entries<String>>,
    /// Time zone, e.g. `Europe/Vienna`. Default: left as it is.
    pub timezone: At<String>,
    /// Hours after which the package lists are fetched anew. Default 24.
    pub apt_update_max_age_hours: At<u32>,
}

/// Where secrets are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSecrets {
    /// age file. Default `secrets.age` beside the inventory.
    pub file: At<String>,
    /// Who can read it: age recipients or ssh public keys. Default: your own identity only.
    pub recipients: List<String>,
}

/// Commands on this machine, run by `sh -c` in the inventory's folder with the event as JSON on standard input.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHooks {
    /// When the plan is agreed to, before anything is changed. One that fails stops the run (exit code 7).
    pub before_apply: List<RawHook>,
    /// When everything was done. One that fails is a warning.
    pub after_apply: List<RawHook>,
    /// When the apply ended with another exit code than 0. One that fails is a warning.
    pub on_failure: List<RawHook>,
}

/// A hook: the command, or `{ run, timeout }`.
pub type RawHook = Either<Lines, RawHookMap>;

/// A hook with its deadline.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHookMap {
    /// The command. Required.
    pub run: At<Lines>,
    /// Seconds it may take. Default 60.
    pub timeout: At<u64>,
}

/// What a crash plan may use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCrashplan {
    /// A command on this machine, word by word and without a shell, that takes the power of an old primary away whose host
    /// does not answer. `{host}` and `{address}` in a word stand for it; they are in `$HACTL_HOST` and `$HACTL_ADDRESS`, too.
    pub power_off: List<String>,
    /// A command that prints whether it is off: the last word of its first line is `off`, `stopped` or `terminated`.
    /// Without it the host must be silent for every other one.
    pub power_status: List<String>,
    /// Seconds that each may take, and that the host gets to be off. Default 60.
    pub power_timeout: At<u64>,
}
