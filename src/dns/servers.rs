//! Asking name servers for a record, as a visitor's resolver would.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{Answer, Record, RecordKind, Said, wire};
use crate::inventory::dns::DnsServer;

/// How long the system's resolver may take for the name of a server.
const RESOLVE: Duration = Duration::from_secs(5);

/// Servers that are to say the same.
#[derive(Debug, Clone)]
pub struct Servers(Vec<DnsServer>);

impl Servers {
    /// Those that the inventory names.
    pub fn given(servers: &[DnsServer]) -> Self {
        Servers(servers.to_vec())
    }

    /// Asks them all at once.
    pub async fn ask(&self, record: &Record) -> Vec<Said> {
        futures::future::join_all(self.0.iter().map(|server| said(server, record))).await
    }
}

/// What a server says of a record.
pub async fn said(server: &DnsServer, record: &Record) -> Said {
    let answer = match address(server).await {
        Ok(address) => asked(address, record).await,
        Err(why) => Err(why),
    };
    Said {
        server: server.to_string(),
        answer,
    }
}

/// The address of a server.
///
/// # Errors
/// Why there is none, as the end of a sentence about it.
pub async fn address(server: &DnsServer) -> Result<SocketAddr, String> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, server.port));
    }
    let looked_up = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((server.host.as_str(), server.port)));
    match looked_up.await {
        Ok(Ok(mut found)) => found.next().ok_or_else(|| "has no address".to_owned()),
        Ok(Err(error)) => Err(format!("has no address: {error}")),
        Err(_) => Err(format!("has no address: no answer in {} s", RESOLVE.as_secs())),
    }
}

/// What is at this address says of a record.
async fn asked(server: SocketAddr, record: &Record) -> Result<Answer, String> {
    let name = absolute(&record.name)?;
    let kind = match record.kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    };
    let message = wire::ask(server, &name, kind).await?;
    read(&message, &name)
}

/// A name with its dot at the end.
///
/// # Errors
/// It is none; the inventory's rules have seen to it that it is.
pub fn absolute(name: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(name).map_err(|error| format!("`{name}` is no name: {error}"))?;
    name.set_fqdn(true);
    Ok(name)
}

/// An answer about addresses.
///
/// # Errors
/// Why it is none, as the end of a sentence about the server.
pub fn read(message: &Message, name: &Name) -> Result<Answer, String> {
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        ResponseCode::Refused => return Err("refuses to answer for this zone (REFUSED)".to_owned()),
        other => return Err(format!("gives no answer ({other})")),
    }
    if !message.metadata.authoritative {
        return Err("is not in charge of this name: its answer is not authoritative".to_owned());
    }
    let mut answer = Answer::default();
    for record in message.answers.iter().filter(|record| record.name == *name) {
        match &record.data {
            RData::A(address) => {
                answer.values.insert(IpAddr::V4(address.0));
                answer.ttl = Some(record.ttl);
            }
            RData::AAAA(address) => {
                answer.values.insert(IpAddr::V6(address.0));
                answer.ttl = Some(record.ttl);
            }
            RData::CNAME(other) => {
                let other = other.0.to_ascii();
                answer.odd = Some(format!("is an alias of {}", other.trim_end_matches('.')));
            }
            _ => {}
        }
    }
    Ok(answer)
}
