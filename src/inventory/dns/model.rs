//! `dns`, complete and checked.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::inventory::model::SecretRef;

/// Names that lead to the host that serves.
#[derive(Debug, Clone)]
pub struct Dns {
    /// The names, in lower case, without a dot at the end.
    pub names: Vec<String>,
    /// Seconds that resolvers may keep an answer; 60.
    pub ttl: u32,
    /// How long all servers get to say the new address; 60 s.
    pub wait: Duration,
    /// Name servers that must all say it; empty: what the provider knows.
    pub servers: Vec<DnsServer>,
    /// Who changes records.
    pub provider: DnsProvider,
    /// Where the names can lead, in the order of the hosts. All have addresses of the same families.
    pub places: Vec<Place>,
}

impl Dns {
    /// Canonical names of the secrets that may be in `provider`.
    pub const TSIG: &str = "dns/tsig";
    /// Id of an access key.
    pub const AWS_ID: &str = "dns/aws_access_key_id";
    /// An access key.
    pub const AWS_KEY: &str = "dns/aws_secret_access_key";
    /// A session's token.
    pub const AWS_SESSION: &str = "dns/aws_session_token";
    /// A token for Cloudflare.
    pub const CLOUDFLARE: &str = "dns/cloudflare_token";
    /// A token for a command.
    pub const EXEC: &str = "dns/exec_token";

    /// The secrets that it names.
    pub fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        match &self.provider {
            DnsProvider::Rfc2136(given) => vec![(Dns::TSIG, &given.secret)],
            DnsProvider::Route53(given) => {
                let mut all = vec![(Dns::AWS_ID, &given.id), (Dns::AWS_KEY, &given.key)];
                all.extend(given.session.iter().map(|session| (Dns::AWS_SESSION, session)));
                all
            }
            DnsProvider::Cloudflare(given) => vec![(Dns::CLOUDFLARE, &given.token)],
            DnsProvider::Exec(given) => given.token.iter().map(|token| (Dns::EXEC, token)).collect(),
        }
    }
}

/// Where names can lead: a host, by the addresses under which the world reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host.
    pub host: String,
    /// One of a family.
    pub addresses: Vec<IpAddr>,
}

/// A name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsServer {
    /// Name or address.
    pub host: String,
    /// 53 unless said.
    pub port: u16,
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (53, _) => f.write_str(&self.host),
            (port, true) => write!(f, "[{}]:{port}", self.host),
            (port, false) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// Who changes records.
#[derive(Debug, Clone)]
pub enum DnsProvider {
    /// Dynamic updates.
    Rfc2136(Rfc2136),
    /// Amazon Route 53.
    Route53(Route53),
    /// Cloudflare.
    Cloudflare(Cloudflare),
    /// A command.
    Exec(ExecHook),
}

/// Dynamic updates with TSIG.
#[derive(Debug, Clone)]
pub struct Rfc2136 {
    /// Who takes updates.
    pub server: DnsServer,
    /// The zone that holds all names.
    pub zone: String,
    /// Name of the key.
    pub key: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// The key, in base64.
    pub secret: SecretRef,
}

/// What TSIG signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Amazon Route 53.
#[derive(Debug, Clone)]
pub struct Route53 {
    /// The hosted zone.
    pub zone_id: String,
    /// Id of the access key.
    pub id: SecretRef,
    /// The access key.
    pub key: SecretRef,
    /// Token of temporary credentials.
    pub session: Option<SecretRef>,
    /// Region that requests are signed for.
    pub region: String,
    /// Where the API is, without a slash at the end.
    pub endpoint: String,
}

impl Route53 {
    /// Amazon's own.
    pub const ENDPOINT: &str = "https://route53.amazonaws.com";
}

/// Cloudflare.
#[derive(Debug, Clone)]
pub struct Cloudflare {
    /// The zone.
    pub zone_id: String,
    /// API token.
    pub token: SecretRef,
    /// Where the API is, without a slash at the end.
    pub endpoint: String,
}

impl Cloudflare {
    /// Cloudflare's own.
    pub const ENDPOINT: &str = "https://api.cloudflare.com/client/v4";
}

/// A command on this machine.
#[derive(Debug, Clone)]
pub struct ExecHook {
    /// Run by `sh -c` in the inventory's folder.
    pub run: String,
    /// What it reads in its standard input.
    pub token: Option<SecretRef>,
    /// How long it may take.
    pub timeout: Duration,
}
