//! A name server that takes dynamic updates (RFC 2136), signed with TSIG (RFC 8945).
//!
//! The update carries the old value as a prerequisite: the server compares and swaps in one go, all records together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine as _;
use hickory_proto::op::{Message, OpCode, Query, UpdateMessage as _};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType, TSigner};

use super::servers::{absolute, address, said};
use super::{Change, Provider, Record, RecordKind, Said, Trouble, wire};
use crate::error::{Error, Result};
use crate::inventory;
use crate::inventory::dns::{Algorithm, DnsServer};
use crate::inventory::secrets::Secrets;

/// Seconds that clocks may differ by (RFC 8945, 10).
const FUDGE: u16 = 300;
/// How long the list of a zone's servers is believed.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// A server that takes updates.
pub struct Updates {
    server: DnsServer,
    zone: String,
    signer: TSigner,
    /// Servers that the inventory names; empty: those of the zone.
    given: Vec<DnsServer>,
    /// The zone's own servers, once they were asked for.
    found: Mutex<Option<(std::time::Instant, Vec<DnsServer>)>>,
}

impl Updates {
    /// From the inventory.
    ///
    /// # Errors
    /// A usage error: the key is no base64.
    pub fn new(given: &inventory::dns::Rfc2136, servers: &[DnsServer], secrets: &Secrets) -> Result<Self> {
        let bad = |why: String| {
            Error::usage(format!("the secret of the TSIG key `{}` {why}", given.key))
                .hint("write it as BIND does, in base64: `tsig-keygen` makes one")
        };
        let secret = secrets.get(inventory::Dns::TSIG)?;
        let key = base64::engine::general_purpose::STANDARD
            .decode(secret.reveal().trim())
            .map_err(|_| bad("is no base64".to_owned()))?;
        let algorithm = match given.algorithm {
            Algorithm::Sha256 => TsigAlgorithm::HmacSha256,
            Algorithm::Sha384 => TsigAlgorithm::HmacSha384,
            Algorithm::Sha512 => TsigAlgorithm::HmacSha512,
        };
        let name = absolute(&given.key).map_err(Error::usage)?;
        let signer = TSigner::new(key, algorithm, name, FUDGE)
            .map_err(|_| bad("cannot be used with its algorithm".to_owned()))?;
        Ok(Updates {
            server: given.server.clone(),
            zone: given.zone.clone(),
            signer,
            given: servers.to_vec(),
            found: Mutex::new(None),
        })
    }

    /// Everybody who answers for the zone, without the one that takes updates.
    ///
    /// # Errors
    /// Why that is not known.
    async fn others(&self) -> Result<Vec<DnsServer>, String> {
        let mut all = match self.given.is_empty() {
            false => self.given.clone(),
            true => self.of_zone().await?,
        };
        // It may be among them, by its name or by its address.
        let own = address(&self.server).await.ok();
        all.retain(|server| {
            let same = server
                .host
                .parse()
                .is_ok_and(|ip| Some(SocketAddr::new(ip, server.port)) == own);
            !same && *server != self.server
        });
        Ok(all)
    }

    async fn of_zone(&self) -> Result<Vec<DnsServer>, String> {
        let known = self
            .found
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone();
        if let Some((_, servers)) = known.filter(|(when, _)| when.elapsed() < KNOWN_FOR) {
            return Ok(servers);
        }
        let servers = self.ask_for_servers().await?;
        let mut found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *found = Some((std::time::Instant::now(), servers.clone()));
        Ok(servers)
    }

    /// The zone's NS records as the server has them, by address where it knows it, too.
    async fn ask_for_servers(&self) -> Result<Vec<DnsServer>, String> {
        let server = address(&self.server).await?;
        let zone = absolute(&self.zone)?;
        let answer = wire::ask(server, &zone, RecordType::NS).await?;
        let names = answer.answers.iter().filter_map(|record| match &record.data {
            RData::NS(name) => Some(name.0.clone()),
            _ => None,
        });
        let mut servers = Vec::new();
        for name in names {
            servers.push(DnsServer {
                host: self.address_of(&answer, &name).await,
                port: 53,
            });
        }
        match servers.is_empty() {
            true => Err(format!("names no servers for the zone {}", self.zone)),
            false => Ok(servers),
        }
    }

    /// A server's address by what came with the answer, or by asking for it; its name, for the system's resolver, otherwise.
    async fn address_of(&self, answer: &Message, name: &Name) -> String {
        let addresses = |message: &Message| {
            let records = message.answers.iter().chain(&message.additionals);
            let found = records
                .filter(|record| record.name == *name)
                .find_map(|record| match &record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    _ => None,
                });
            found.map(|address| address.to_string())
        };
        if let Some(address) = addresses(answer) {
            return address;
        }
        if let Ok(server) = address(&self.server).await
            && let Ok(answer) = wire::ask(server, name, RecordType::A).await
            && let Some(address) = addresses(&answer)
        {
            return address;
        }
        name.to_ascii().trim_end_matches('.').to_owned()
    }

    /// All changes as one update.
    fn message(&self, changes: &[Change]) -> Result<Message, String> {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        let mut zone = Query::query(absolute(&self.zone)?, RecordType::SOA);
        zone.set_query_class(DNSClass::IN);
        message.add_zone(zone);
        for change in changes {
            let name = absolute(&change.record.name)?;
            let record = |address: IpAddr, ttl: u32| {
                let data = match address {
                    IpAddr::V4(address) => RData::A(A(address)),
                    IpAddr::V6(address) => RData::AAAA(AAAA(address)),
                };
                hickory_proto::rr::Record::from_rdata(name.clone(), ttl, data)
            };
            // 2.4.2: the record set is exactly this. TTL must be 0 here, and is not compared.
            message.add_pre_requisite(record(change.expected, 0));
            // 2.5.2: away with the record set.
            let kind = match change.record.kind {
                RecordKind::A => RecordType::A,
                RecordKind::Aaaa => RecordType::AAAA,
            };
            let mut away = hickory_proto::rr::Record::update0(name.clone(), 0, kind).into_record_of_rdata();
            away.dns_class = DNSClass::ANY;
            message.add_update(away);
            // 2.5.1.
            message.add_update(record(change.wanted, change.ttl));
        }
        Ok(message)
    }
}

#[async_trait]
impl Provider for Updates {
    async fn read(&self, record: &Record) -> Vec<Said> {
        let (first, others) = tokio::join!(said(&self.server, record), self.others());
        let mut all = vec![first];
        match others {
            Ok(others) => {
                all.extend(futures::future::join_all(others.iter().map(|server| said(server, record))).await);
            }
            Err(why) => all.push(Said {
                server: format!("the servers of {}", self.zone),
                answer: Err(format!("are not known: {} {why}", self.server)),
            }),
        }
        all
    }

    async fn swap(&self, changes: &[Change]) -> Result<(), Trouble> {
        let of_server = |why: String| format!("{} {why}", self.server);
        let server = address(&self.server)
            .await
            .map_err(|why| Trouble::Unreachable(of_server(why)))?;
        let message = self.message(changes).map_err(|why| Trouble::Rejected(of_server(why)))?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        wire::update(server, message, &self.signer, now)
            .await
            .map_err(|trouble| match trouble {
                Trouble::Unreachable(why) => Trouble::Unreachable(of_server(why)),
                Trouble::Rejected(why) => Trouble::Rejected(of_server(why)),
                Trouble::Unknown(why) => Trouble::Unknown(of_server(why)),
                conflict @ Trouble::Conflict(_) => conflict,
            })
    }
}
