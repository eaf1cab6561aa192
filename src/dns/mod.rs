//! Names that lead to the host that serves, and the switch to another host.
//!
//! A switch looks first ([`look`]), decides ([`decision`], pure) and writes only what it has just seen to be the old
//! value, by means that fail when it is not ([`Provider::swap`]). Whoever answers for the zone is asked afterwards
//! ([`switch`]). All of it runs on the operator's machine; hosts have no part in it.

pub mod cloudflare;
pub mod decision;
pub mod exec;
mod http;
pub mod rfc2136;
pub mod route53;
mod servers;
pub mod switch;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;

use crate::error::Result;
use crate::inventory::secrets::Secrets;
use crate::inventory::{self, DnsProvider, Inventory};

pub use decision::{Decision, Plan, Refusal, Wish, plan};
pub use switch::{Done, Switched, Told, Unverified, carry_out, switch};

/// One record set: a name and whether it is about IPv4 or IPv6.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// The name, without a dot at the end.
    pub name: String,
    /// A or AAAA.
    pub kind: RecordKind,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.word())
    }
}

/// A or AAAA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

impl RecordKind {
    /// The kind that holds this address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => RecordKind::A,
            IpAddr::V6(_) => RecordKind::Aaaa,
        }
    }

    /// The field's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
        }
    }
}

/// What somebody says that a record is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its addresses; none: there is no such record.
    pub values: BTreeSet<IpAddr>,
    /// How long resolvers may keep it; `None`: nobody can say, and so it is not compared.
    pub ttl: Option<u32>,
    /// Why it is nothing that can be switched, e.g. `is an alias of other.example.com`.
    pub odd: Option<String>,
}

impl Answer {
    /// Whether it is this address and nothing else; an unknown TTL is any.
    pub fn is(&self, address: IpAddr, ttl: u32) -> bool {
        self.leads_to(address) && self.ttl.is_none_or(|own| own == ttl)
    }

    /// Whether it is this address and nothing else, whatever its TTL.
    pub fn leads_to(&self, address: IpAddr) -> bool {
        self.odd.is_none() && self.values.len() == 1 && self.values.contains(&address)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(odd) = &self.odd {
            return f.write_str(odd);
        }
        if self.values.is_empty() {
            return f.write_str("nothing");
        }
        let values: Vec<String> = self.values.iter().map(IpAddr::to_string).collect();
        f.write_str(&values.join(" and "))
    }
}

/// What one of those who answer for a record said, or why it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who, e.g. a server's name.
    pub server: String,
    /// The answer.
    pub answer: std::result::Result<Answer, String>,
}

/// A record and what is said of it. The first answer is that of whoever takes changes; the others serve what it tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The record.
    pub record: Record,
    /// What everybody says.
    pub said: Vec<Said>,
}

/// One record from an old value to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The record.
    pub record: Record,
    /// What it must be for the change to happen.
    pub expected: IpAddr,
    /// Its TTL, as far as the provider tells.
    pub expected_ttl: Option<u32>,
    /// What it is afterwards.
    pub wanted: IpAddr,
    /// How long resolvers may keep that.
    pub ttl: u32,
}

/// Why a provider did not do or say something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It was not reached, so it has not heard of it.
    Unreachable(String),
    /// It refused, and nothing was changed by this request.
    Rejected(String),
    /// The record was not what was expected, and nothing was changed by this request.
    Conflict(String),
    /// It may or may not have been done: no answer came.
    Unknown(String),
}

impl Trouble {
    /// In words.
    pub fn message(&self) -> &str {
        match self {
            Trouble::Unreachable(text) | Trouble::Rejected(text) | Trouble::Conflict(text) | Trouble::Unknown(text) => {
                text
            }
        }
    }
}

/// Who holds records and changes them.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Asks what a record is: first whoever takes changes, then everybody else who answers for it.
    async fn read(&self, record: &Record) -> Vec<Said>;

    /// Changes records that are exactly what is expected. Where the provider can, all of them or none; a trouble may leave
    /// some changed elsewhere, which whoever asked finds out by reading.
    ///
    /// # Errors
    /// What the trouble is.
    async fn swap(&self, changes: &[Change]) -> std::result::Result<(), Trouble>;
}

/// The names of an inventory and who changes them.
pub struct Dns {
    /// What the inventory says.
    pub section: inventory::Dns,
    provider: Box<dyn Provider>,
    servers: Option<servers::Servers>,
}

impl Dns {
    /// From an inventory and [`Secrets::of_dns`]; `None`: it has no `dns`.
    ///
    /// # Errors
    /// A key that is none.
    pub fn of(inventory: &Inventory, secrets: &Secrets) -> Result<Option<Dns>> {
        let Some(section) = &inventory.dns else {
            return Ok(None);
        };
        let folder = inventory.path.parent().unwrap_or(std::path::Path::new("/"));
        let mut servers = None;
        let hosted = || (!section.servers.is_empty()).then(|| servers::Servers::given(&section.servers));
        let provider: Box<dyn Provider> = match &section.provider {
            DnsProvider::Rfc2136(given) => Box::new(rfc2136::Updates::new(given, &section.servers, secrets)?),
            DnsProvider::Route53(given) => {
                servers = hosted();
                Box::new(route53::Route53::new(given, secrets)?)
            }
            DnsProvider::Cloudflare(given) => {
                servers = hosted();
                Box::new(cloudflare::Cloudflare::new(given, secrets)?)
            }
            DnsProvider::Exec(given) => {
                servers = hosted();
                Box::new(exec::Hook::new(given, folder, secrets)?)
            }
        };
        Ok(Some(Dns {
            section: section.clone(),
            provider,
            servers,
        }))
    }

    /// Whether the names can lead to this host.
    pub fn has_place(&self, host: &str) -> bool {
        self.section.places.iter().any(|place| place.host == host)
    }

    /// The records of the names: of the families that hosts have.
    pub fn records(&self) -> Vec<Record> {
        decision::records(&self.section)
    }

    /// Asks everybody about every record.
    pub async fn look(&self) -> Vec<Look> {
        let records = self.records();
        futures::future::join_all(records.into_iter().map(|record| self.look_at(record))).await
    }

    async fn look_at(&self, record: Record) -> Look {
        let besides = async {
            match &self.servers {
                Some(servers) => servers.ask(&record).await,
                None => Vec::new(),
            }
        };
        let (mut said, more) = tokio::join!(self.provider.read(&record), besides);
        said.extend(more);
        Look { record, said }
    }
}
