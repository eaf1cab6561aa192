//! Cloudflare's API, version 4.
//!
//! It has no compare-and-swap: the record is read again right before it is written, and after it. Between those two
//! requests somebody else can still change it; the window is one round trip.

use std::collections::BTreeSet;
use std::net::IpAddr;

use async_trait::async_trait;
use serde::Deserialize;
use ureq::http::Request;

use super::http::{Heard, Http};
use super::{Answer, Change, Provider, Record, Said, Trouble};
use crate::error::Result;
use crate::inventory;
use crate::inventory::secrets::Secrets;
use crate::secret::Secret;

/// Cloudflare's word for "as long as it likes"; so it is with every record that it stands before.
const AUTOMATIC: u32 = 1;

/// A zone there.
pub struct Cloudflare {
    http: Http,
    endpoint: String,
    zone: String,
    token: Secret,
}

/// What every answer is wrapped in.
#[derive(Deserialize)]
struct Wrapped<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<Complaint>,
    result: Option<T>,
}

#[derive(Deserialize)]
struct Complaint {
    code: i64,
    message: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    content: String,
    ttl: u32,
    #[serde(default)]
    proxied: bool,
}

impl Cloudflare {
    /// From the inventory.
    ///
    /// # Errors
    /// A token that is missing.
    pub fn new(given: &inventory::dns::Cloudflare, secrets: &Secrets) -> Result<Self> {
        Ok(Cloudflare {
            http: Http::new(),
            endpoint: given.endpoint.clone(),
            zone: given.zone_id.clone(),
            token: secrets.get(inventory::Dns::CLOUDFLARE)?.clone(),
        })
    }

    async fn send<T: for<'a> Deserialize<'a>>(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> std::result::Result<T, Trouble> {
        let request = || {
            Request::builder()
                .method(method)
                .uri(format!("{}/zones/{}/dns_records{path}", self.endpoint, self.zone))
                .header("authorization", format!("Bearer {}", self.token.reveal()))
                .header("content-type", "application/json")
                .body(body.to_owned())
                .map_err(|_| "the token has characters that no token has".to_owned())
        };
        let busy = |heard: &Heard| heard.status == 429;
        let heard = self.http.send(request, busy).await?;
        self.read(&heard)
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, heard: &Heard) -> std::result::Result<T, Trouble> {
        let Ok(wrapped) = serde_json::from_str::<Wrapped<T>>(&heard.body) else {
            let why = format!(
                "Cloudflare answers {} and something that is not its API's",
                heard.status
            );
            return Err(Trouble::Unknown(why));
        };
        if let (true, 200..=299, Some(result)) = (wrapped.success, heard.status, wrapped.result) {
            return Ok(result);
        }
        let complaints: Vec<String> = wrapped
            .errors
            .iter()
            .map(|complaint| format!("{} ({})", complaint.message, complaint.code))
            .collect();
        let why = match complaints.is_empty() {
            true => "without a reason".to_owned(),
            false => complaints.join("; "),
        };
        let why = format!("Cloudflare answers {}: {why}", heard.status);
        let why = crate::secret::masked(&why, std::slice::from_ref(&self.token));
        Err(match heard.status {
            401 | 403 => Trouble::Rejected(format!("{why}; the token needs the permission Zone / DNS / Edit")),
            500.. => Trouble::Unknown(why),
            _ => Trouble::Rejected(why),
        })
    }

    /// Everything that has this name.
    async fn entries(&self, name: &str) -> std::result::Result<Vec<Entry>, Trouble> {
        let all: Vec<Entry> = self.send("GET", &format!("?name={name}&per_page=100"), "").await?;
        Ok(all
            .into_iter()
            .filter(|entry| entry.name.eq_ignore_ascii_case(name))
            .collect())
    }
}

/// What the entries of a name say of a record.
fn answer(entries: &[Entry], record: &Record) -> Answer {
    let mut answer = Answer::default();
    if let Some(alias) = entries.iter().find(|entry| entry.kind == "CNAME") {
        answer.odd = Some(format!("is an alias of {}", alias.content));
        return answer;
    }
    for entry in entries.iter().filter(|entry| entry.kind == record.kind.word()) {
        match entry.content.parse::<IpAddr>() {
            // The same address twice is still two records.
            Ok(address) if !answer.values.insert(address) => {
                answer.odd = Some(format!("has {address} twice"));
            }
            Ok(_) => {}
            Err(_) => answer.odd = Some(format!("holds {}, which is no address", entry.content)),
        }
        answer.ttl = (!entry.proxied && entry.ttl != AUTOMATIC).then_some(entry.ttl);
    }
    answer
}

#[async_trait]
impl Provider for Cloudflare {
    async fn read(&self, record: &Record) -> Vec<Said> {
        let entries = self.entries(&record.name).await;
        vec![Said {
            server: "Cloudflare".to_owned(),
            answer: entries
                .map(|entries| answer(&entries, record))
                .map_err(|trouble| trouble.message().to_owned()),
        }]
    }

    async fn swap(&self, changes: &[Change]) -> std::result::Result<(), Trouble> {
        for change in changes {
            let record = &change.record;
            // Whatever goes wrong with a question, nothing was changed by it.
            let entries = self.entries(&record.name).await.map_err(|trouble| match trouble {
                Trouble::Unknown(why) => Trouble::Rejected(why),
                other => other,
            })?;
            let found = answer(&entries, record);
            let entry = entries.iter().find(|entry| entry.kind == record.kind.word());
            let Some(entry) = entry.filter(|_| found.leads_to(change.expected)) else {
                return Err(Trouble::Conflict(format!(
                    "{record} leads to {found} now, says Cloudflare"
                )));
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if entry.id.is_empty() || !entry.id.chars().all(plain) {
                return Err(Trouble::Rejected(format!("Cloudflare has no usable id for {record}")));
            }
            let mut body = serde_json::json!({ "content": change.wanted.to_string() });
            // What Cloudflare stands before, or keeps as long as it likes, stays so.
            if change.expected_ttl.is_some() {
                body["ttl"] = change.ttl.into();
            }
            let written: Entry = self.send("PATCH", &format!("/{}", entry.id), &body.to_string()).await?;
            let values = BTreeSet::from([change.wanted]);
            if answer(std::slice::from_ref(&written), record).values != values {
                let why = format!(
                    "Cloudflare took the change and says that {record} is {}",
                    written.content
                );
                return Err(Trouble::Unknown(why));
            }
        }
        Ok(())
    }
}
