//! `dns` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::inventory::raw::List;
use crate::inventory::yaml::{At, Lines, OneOrList, SecretText};

/// `public_address`: one, or a list.
pub type RawPublic = OneOrList<String>;

/// Names that lead to the host that serves, see dns.md.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawDns {
    /// The names, e.g. `erp.example.com`. Required.
    pub names: List<String>,
    /// Seconds that resolvers may keep an answer. Default 60.
    pub ttl: At<u32>,
    /// Seconds that all servers get to say the new address. Default 60.
    pub wait: At<u64>,
    /// Name servers that must all say the new address, `HOST` or `HOST:PORT`. Default: those of the zone for `rfc2136`; what
    /// the provider says of itself for the others.
    pub servers: List<String>,
    /// Who changes records. Required.
    pub provider: At<RawDnsProvider>,
}

/// Who changes records; `kind` decides which keys there are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$hactl::kind", rename_all = "lowercase")]
#[schemars(rename = "RawDnsProvider", tag = "kind")]
pub enum RawDnsProvider {
    /// A name server that takes dynamic updates, e.g. BIND, Knot or PowerDNS.
    Rfc2136(Box<RawRfc2136>),
    /// Amazon Route 53.
    Route53(Box<RawRoute53>),
    /// Cloudflare.
    Cloudflare(Box<RawCloudflare>),
    /// A command of yours.
    Exec(Box<RawExec>),
}

/// `provider: { kind: rfc2136 }`: dynamic updates with TSIG.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawRfc2136 {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// The server that takes updates, `HOST` or `HOST:PORT`. Required.
    pub server: At<String>,
    /// The zone that the names are in, e.g. `example.com`. Required.
    pub zone: At<String>,
    /// Name of the TSIG key. Required.
    pub key: At<String>,
    /// What it signs with. Default `hmac-sha256`.
    pub algorithm: At<RawAlgorithm>,
    /// The key itself, in base64 as BIND writes it. Required.
    pub secret: At<SecretText>,
}

/// What TSIG signs with.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RawAlgorithm {
    /// SHA-256.
    #[serde(rename = "hmac-sha256")]
    Sha256,
    /// SHA-384.
    #[serde(rename = "hmac-sha384")]
    Sha384,
    /// SHA-512.
    #[serde(rename = "hmac-sha512")]
    Sha512,
}

/// `provider: { kind: route53 }`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawRoute53 {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// Id of the hosted zone, e.g. `Z2FDTNDATAQYW2`. Required.
    pub zone_id: At<String>,
    /// Id of the access key. Required.
    pub access_key_id: At<SecretText>,
    /// The access key. Required.
    pub secret_access_key: At<SecretText>,
    /// Token that goes with temporary credentials.
    pub session_token: At<SecretText>,
    /// Region that requests are signed for. Default `us-east-1`.
    pub region: At<String>,
    /// Where the API is. Default `https://route53.amazonaws.com`.
    pub endpoint: At<String>,
}

/// `provider: { kind: cloudflare }`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawCloudflare {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// Id of the zone, 32 hexadecimal digits. Required.
    pub zone_id: At<String>,
    /// API token that may edit DNS in this zone. Required.
    pub token: At<SecretText>,
    /// Where the API is. Default `https://api.cloudflare.com/client/v4`.
    pub endpoint: At<String>,
}

/// `provider: { kind: exec }`: a command on this machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawExec {
    /// Chooses these keys; read before them.
    #[schemars(skip)]
    pub kind: At<String>,
    /// The command, run by `sh -c` in the inventory's folder. Required.
    pub run: At<Lines>,
    /// A secret that it reads in its standard input.
    pub token: At<SecretText>,
    /// Seconds it may take. Default 60.
    pub timeout: At<u64>,
}
