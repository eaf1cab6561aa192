//! Amazon Route 53, API version 2013-04-01.
//!
//! The old record set is deleted and the new one created in one change batch: Route 53 does all of it or nothing, and
//! nothing when the old one is not exactly as it is said to be, TTL included. That is its compare-and-swap.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use roxmltree::{Document, Node};
use ureq::http::Request;

use super::http::{Heard, Http};
use super::{Answer, Change, Provider, Record, Said, Trouble};
use crate::error::Result;
use crate::inventory;
use crate::inventory::secrets::Secrets;
use crate::secret::Secret;

const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";
/// Those who answer visitors, which learn of a change a little later than the API.
const NAME_SERVERS: &str = "the name servers of Route 53";

/// A hosted zone.
pub struct Route53 {
    http: Http,
    endpoint: String,
    zone: String,
    signer: Signer,
    /// The last change, until all of its name servers know it.
    change: Mutex<Option<String>>,
}

/// Signs requests (Signature Version 4).
pub struct Signer {
    credentials: Credentials,
    region: String,
    service: &'static str,
    /// What must not be in an error.
    secrets: Vec<Secret>,
}

impl Signer {
    /// From credentials.
    pub fn new(id: &Secret, key: &Secret, session: Option<&Secret>, region: &str, service: &'static str) -> Self {
        let session_token = session.map(|session| session.reveal().to_owned());
        Signer {
            credentials: Credentials::new(id.reveal(), key.reveal(), session_token, None, "hactl"),
            region: region.to_owned(),
            service,
            secrets: [Some(key), session].into_iter().flatten().cloned().collect(),
        }
    }

    /// The request with its signature.
    ///
    /// # Errors
    /// Something in it cannot be signed.
    pub fn signed(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: String,
        time: SystemTime,
    ) -> std::result::Result<Request<String>, String> {
        let failed = |error: &dyn std::error::Error| format!("the request cannot be signed: {error}");
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let signable = SignableRequest::new(
            method,
            uri,
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|error| failed(&error))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| failed(&error))?.into_parts();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        request
            .body(body)
            .map_err(|_| "the credentials have characters that no credentials have".to_owned())
    }
}

impl Route53 {
    /// From the inventory.
    ///
    /// # Errors
    /// A secret that is missing.
    pub fn new(given: &inventory::dns::Route53, secrets: &Secrets) -> Result<Self> {
        let session = given
            .session
            .is_some()
            .then(|| secrets.get(inventory::Dns::AWS_SESSION));
        Ok(Route53 {
            http: Http::new(),
            endpoint: given.endpoint.clone(),
            zone: given.zone_id.clone(),
            signer: Signer::new(
                secrets.get(inventory::Dns::AWS_ID)?,
                secrets.get(inventory::Dns::AWS_KEY)?,
                session.transpose()?,
                &given.region,
                "route53",
            ),
            change: Mutex::new(None),
        })
    }

    async fn send(&self, method: &str, path: &str, body: String) -> std::result::Result<String, Trouble> {
        let uri = format!("{}/2013-04-01/{path}", self.endpoint);
        let xml: &[(&str, &str)] = match body.is_empty() {
            true => &[],
            false => &[("content-type", "text/xml")],
        };
        let request = || self.signer.signed(method, &uri, xml, body.clone(), SystemTime::now());
        // Both say that it was not looked at.
        let busy = |heard: &Heard| {
            heard.status >= 400
                && (heard.body.contains("<Code>Throttling") || heard.body.contains("PriorRequestNotComplete"))
        };
        let heard = self.http.send(request, busy).await?;
        match heard.status {
            200..=299 => Ok(heard.body),
            status => Err(self.refused(status, &heard.body)),
        }
    }

    fn refused(&self, status: u16, body: &str) -> Trouble {
        let document = Document::parse(body).ok();
        let all = |name: &str| -> Vec<String> {
            let texts = document.iter().flat_map(|document| texts(document.root(), name));
            texts.map(str::to_owned).collect()
        };
        let conflict = body.contains("InvalidChangeBatch");
        let code = all("Code").into_iter().next().unwrap_or_default();
        let messages: Vec<String> = all("Message");
        let why = match messages.is_empty() {
            true => "without a reason".to_owned(),
            false => messages.join("; "),
        };
        let why = crate::secret::masked(&format!("{code} {why}"), &self.signer.secrets);
        let why = format!("Route 53 answers {status}: {}", why.trim());
        match status {
            400 if conflict => Trouble::Conflict(why),
            403 => Trouble::Rejected(format!(
                "{why}; the key needs route53:ListResourceRecordSets, route53:ChangeResourceRecordSets and route53:GetChange"
            )),
            500.. => Trouble::Unknown(why),
            _ => Trouble::Rejected(why),
        }
    }

    async fn record_sets(&self, record: &Record) -> std::result::Result<Answer, Trouble> {
        // From this name on, in order; what another name has does not count.
        let path = format!("hostedzone/{}/rrset?name={}.&maxitems=20", self.zone, record.name);
        let body = self.send("GET", &path, String::new()).await?;
        answer(&body, record).map_err(Trouble::Unknown)
    }

    /// Whether the name servers know the last change; `None`: there was none.
    async fn in_sync(&self) -> Option<std::result::Result<bool, Trouble>> {
        let change = self
            .change
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()?;
        let said = self.send("GET", &format!("change/{change}"), String::new()).await;
        Some(said.map(|body| status(&body).as_deref() == Some("INSYNC")))
    }
}

/// Texts of all elements of this name.
fn texts<'a>(node: Node<'a, 'a>, name: &str) -> Vec<&'a str> {
    let named = node.descendants().filter(|node| node.tag_name().name() == name);
    named.filter_map(|node| node.text()).map(str::trim).collect()
}

fn status(body: &str) -> Option<String> {
    let document = Document::parse(body).ok()?;
    texts(document.root(), "Status").first().map(|text| (*text).to_owned())
}

/// What a list of record sets says of a record.
///
/// # Errors
/// It is no such list.
fn answer(body: &str, record: &Record) -> std::result::Result<Answer, String> {
    let document = Document::parse(body).map_err(|error| format!("Route 53 answers no XML: {error}"))?;
    let mut answer = Answer::default();
    let sets = document
        .descendants()
        .filter(|node| node.tag_name().name() == "ResourceRecordSet");
    for set in sets {
        let text = |name: &str| texts(set, name).first().copied().unwrap_or_default();
        let name = text("Name");
        if !name.trim_end_matches('.').eq_ignore_ascii_case(&record.name) {
            continue;
        }
        match text("Type") {
            "CNAME" => answer.odd = Some(format!("is an alias of {}", text("Value").trim_end_matches('.'))),
            kind if kind != record.kind.word() => {}
            _ if !texts(set, "SetIdentifier").is_empty() => {
                answer.odd = Some("has a routing policy, which decides by itself where it leads".to_owned());
            }
            _ if set.children().any(|node| node.tag_name().name() == "AliasTarget") => {
                answer.odd = Some("is an alias of a resource of AWS".to_owned());
            }
            _ => {
                for value in texts(set, "Value") {
                    match value.parse::<IpAddr>() {
                        Ok(address) => {
                            answer.values.insert(address);
                        }
                        Err(_) => answer.odd = Some(format!("holds {value}, which is no address")),
                    }
                }
                answer.ttl = text("TTL").parse().ok();
            }
        }
    }
    Ok(answer)
}

/// Old ones away and new ones there, in one go. Names and addresses have been checked: nothing in them means anything in XML.
fn batch(changes: &[Change]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ChangeResourceRecordSetsRequest xmlns=\"{NAMESPACE}\"><ChangeBatch><Comment>hactl dns switch</Comment><Changes>"
    );
    for change in changes {
        let old_ttl = change.expected_ttl.unwrap_or(change.ttl);
        for (action, address, ttl) in [
            ("DELETE", change.expected, old_ttl),
            ("CREATE", change.wanted, change.ttl),
        ] {
            // Writing to a String cannot fail.
            let _ = write!(
                xml,
                "<Change><Action>{action}</Action><ResourceRecordSet><Name>{}.</Name><Type>{}</Type><TTL>{ttl}</TTL><ResourceRecords><ResourceRecord><Value>{address}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change>",
                change.record.name,
                change.record.kind.word(),
            );
        }
    }
    xml.push_str("</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>");
    xml
}

#[async_trait]
impl Provider for Route53 {
    async fn read(&self, record: &Record) -> Vec<Said> {
        let (answer, in_sync) = tokio::join!(self.record_sets(record), self.in_sync());
        let answer = answer.map_err(|trouble| trouble.message().to_owned());
        let mut said = vec![Said {
            server: "Route 53".to_owned(),
            answer: answer.clone(),
        }];
        if let Some(in_sync) = in_sync {
            said.push(Said {
                server: NAME_SERVERS.to_owned(),
                answer: match in_sync {
                    Ok(true) => answer,
                    Ok(false) => Err("do not all know the change yet (PENDING)".to_owned()),
                    Err(trouble) => Err(trouble.message().to_owned()),
                },
            });
        }
        said
    }

    async fn swap(&self, changes: &[Change]) -> std::result::Result<(), Trouble> {
        let path = format!("hostedzone/{}/rrset", self.zone);
        let body = self.send("POST", &path, batch(changes)).await?;
        let id = Document::parse(&body).ok().and_then(|document| {
            let id = texts(document.root(), "Id")
                .first()
                .copied()?
                .trim_start_matches("/change/")
                .to_owned();
            let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric());
            plain.then_some(id)
        });
        let Some(id) = id else {
            return Err(Trouble::Unknown(
                "Route 53 took the change without naming it".to_owned(),
            ));
        };
        *self.change.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(id);
        Ok(())
    }
}
