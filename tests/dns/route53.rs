//! Route 53: signatures that are checked anew from what arrived, the documented XML, and what it refuses.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hactl::dns::route53::Signer;
use hactl::error::Kind;
use hactl::secret::Secret;
use sha2::{Digest, Sha256};

use super::http::{Asked, Server};
use super::{dns, switch};

const ID: &str = "AKIDEXAMPLE";
const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature as AWS computes it, from what arrived; without the signer that made it.
fn signature(asked: &Asked) -> String {
    let authorization = asked.header("authorization");
    let part = |name: &str| {
        let rest = authorization.split(&format!("{name}=")).nth(1).unwrap_or_default();
        rest.split([',', ' ']).next().unwrap_or_default().to_owned()
    };
    let (credential, signed) = (part("Credential"), part("SignedHeaders"));
    let scope = credential.split_once('/').expect("a scope").1;
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", asked.header(name)))
        .collect();
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let mut query: Vec<&str> = query.split('&').collect();
    query.sort_unstable();
    let canonical = format!(
        "{}\n{path}\n{}\n{headers}\n{signed}\n{}",
        asked.method,
        query.join("&"),
        hex(&Sha256::digest(&asked.body))
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        asked.header("x-amz-date"),
        hex(&Sha256::digest(canonical))
    );
    let mut key = format!("AWS4{KEY}").into_bytes();
    for word in scope.split('/') {
        key = hmac(&key, word.as_bytes());
    }
    let signature = hex(&hmac(&key, text.as_bytes()));
    assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={ID}/")));
    assert!(signed.split(';').any(|name| name == "host") && signed.contains("x-amz-date"));
    assert_eq!(part("Signature"), signature, "{asked:?}");
    scope.to_owned()
}

/// AWS's own test vectors (aws-sig-v4-test-suite): 30 August 2015, 12:36:00 UTC, us-east-1, service `service`.
#[test]
fn signatures_are_those_that_aws_published() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let signer = Signer::new(&Secret::new(ID), &Secret::new(KEY), None, "us-east-1", "service");
    let form: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
    for (method, path, headers, body, signature) in [
        // get-vanilla
        (
            "GET",
            "/",
            &[][..],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        // post-vanilla
        (
            "POST",
            "/",
            &[][..],
            "",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        // get-vanilla-query-order-key-case
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            &[][..],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        // post-header-value-case
        (
            "POST",
            "/",
            &[("My-Header1", "VALUE1")][..],
            "",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        // post-x-www-form-urlencoded
        (
            "POST",
            "/",
            form,
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ] {
        let uri = format!("https://example.amazonaws.com{path}");
        let request = signer.signed(method, &uri, headers, body.to_owned(), time).unwrap();
        let authorization = request.headers()["authorization"].to_str().unwrap();
        assert!(
            authorization.ends_with(&format!("Signature={signature}")),
            "{method} {path}: {authorization}"
        );
        assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
    }
    let token = Secret::new("a-token");
    let signer = Signer::new(
        &Secret::new(ID),
        &Secret::new(KEY),
        Some(&token),
        "us-east-1",
        "service",
    );
    let request = signer
        .signed("GET", "https://example.amazonaws.com/", &[], String::new(), time)
        .unwrap();
    assert_eq!(request.headers()["x-amz-security-token"], "a-token");
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(
        authorization.contains("x-amz-security-token"),
        "the token is signed, too"
    );
}

/// The zone as it is there: address and TTL of each name, and how often it is still asked before a change is everywhere.
struct Zone {
    records: Vec<(&'static str, String, u32)>,
    pending: u32,
}

const XMLNS: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

fn set(name: &str, inner: &str) -> String {
    format!("<ResourceRecordSet><Name>{name}.</Name>{inner}</ResourceRecordSet>")
}

fn a(address: &str, ttl: u32) -> String {
    format!(
        "<Type>A</Type><TTL>{ttl}</TTL><ResourceRecords><ResourceRecord><Value>{address}</Value></ResourceRecord></ResourceRecords>"
    )
}

fn list(sets: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse xmlns=\"{XMLNS}\"><ResourceRecordSets>{sets}</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>20</MaxItems></ListResourceRecordSetsResponse>"
    )
}

fn refusal(code: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"{XMLNS}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>b7ebc957-48de-11e4-9c02-03749a38eea0</RequestId></ErrorResponse>"
    )
}

fn change(status: &str) -> String {
    format!(
        "<ChangeInfo><Id>/change/C2682N5HXP0BZ4</Id><Status>{status}</Status><SubmittedAt>2026-11-22T01:36:41.958Z</SubmittedAt></ChangeInfo>"
    )
}

/// What Route 53 does: all of a batch or nothing, and a record set is deleted only when it is exactly that.
fn answer(zone: &mut Zone, asked: &Asked) -> (u16, String) {
    assert_eq!(
        signature(asked).split('/').skip(1).collect::<Vec<_>>(),
        ["us-east-1", "route53", "aws4_request"]
    );
    if asked.method == "GET" && asked.path.starts_with("/2013-04-01/change/") {
        assert_eq!(asked.path, "/2013-04-01/change/C2682N5HXP0BZ4");
        let status = if zone.pending > 0 { "PENDING" } else { "INSYNC" };
        zone.pending = zone.pending.saturating_sub(1);
        return (
            200,
            format!(
                "<GetChangeResponse xmlns=\"{XMLNS}\">{}</GetChangeResponse>",
                change(status)
            ),
        );
    }
    let path = asked
        .path
        .strip_prefix("/2013-04-01/hostedzone/Z2FDTNDATAQYW2/rrset")
        .expect("the zone");
    if asked.method == "GET" {
        let name = path
            .strip_prefix("?name=")
            .expect("a name")
            .split('&')
            .next()
            .unwrap()
            .trim_end_matches('.');
        let from = zone.records.iter().skip_while(|(known, _, _)| *known != name);
        // As it does: this name, and what comes behind it.
        let sets: String = from.map(|(name, address, ttl)| set(name, &a(address, *ttl))).collect();
        return (200, list(&sets));
    }
    assert_eq!(
        (asked.method.as_str(), path, asked.header("content-type")),
        ("POST", "", "text/xml")
    );
    let document = roxmltree::Document::parse(&asked.body).expect("XML");
    assert_eq!(
        document.root_element().tag_name().name(),
        "ChangeResourceRecordSetsRequest"
    );
    assert_eq!(document.root_element().tag_name().namespace(), Some(XMLNS));
    let mut next = zone.records.clone();
    for change in document.descendants().filter(|node| node.tag_name().name() == "Change") {
        let text = |name: &str| {
            let found = change.descendants().find(|node| node.tag_name().name() == name);
            found.and_then(|node| node.text()).unwrap_or_default().to_owned()
        };
        assert_eq!(text("Type"), "A");
        let (name, ttl) = (
            text("Name").trim_end_matches('.').to_owned(),
            text("TTL").parse::<u32>().unwrap(),
        );
        let at = next.iter().position(|(known, _, _)| *known == name).expect("the name");
        match text("Action").as_str() {
            "DELETE" if (&next[at].1, next[at].2) == (&text("Value"), ttl) => next[at].1.clear(),
            "CREATE" if next[at].1.is_empty() => (next[at].1, next[at].2) = (text("Value"), ttl),
            _ => {
                let message = format!(
                    "[Tried to delete resource record set [name='{name}.', type='A'] but the values provided do not match the current values]"
                );
                return (400, refusal("InvalidChangeBatch", &message));
            }
        }
    }
    zone.records = next;
    let response = "ChangeResourceRecordSetsResponse";
    (
        200,
        format!("<{response} xmlns=\"{XMLNS}\">{}</{response}>", change("PENDING")),
    )
}

fn provider(port: u16) -> String {
    format!(
        "{{ kind: route53, zone_id: Z2FDTNDATAQYW2, access_key_id: {ID}, secret_access_key: {KEY}, endpoint: 'http://127.0.0.1:{port}' }}"
    )
}

fn zone() -> Arc<Mutex<Zone>> {
    let old = "198.51.100.11".to_owned();
    Arc::new(Mutex::new(Zone {
        records: vec![("erp.example.com", old.clone(), 300), ("files.example.com", old, 60)],
        pending: 2,
    }))
}

fn server(zone: &Arc<Mutex<Zone>>) -> Server {
    let zone = Arc::clone(zone);
    Server::start(move |asked| answer(&mut zone.lock().unwrap(), asked))
}

#[test]
fn all_names_in_one_batch_which_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let zone = zone();
    let server = server(&zone);
    let dns = dns(
        folder.path(),
        &provider(server.port),
        "erp.example.com, files.example.com",
    );
    let switched = switch(&dns).unwrap();
    assert_eq!(switched.unverified, []);
    assert!(switched.records.iter().all(|done| done.changed && done.ttl == Some(60)));
    assert_eq!(switched.records[0].old_ttl, Some(300));
    let new = "198.51.100.12".to_owned();
    let expected = vec![("erp.example.com", new.clone(), 60), ("files.example.com", new, 60)];
    assert_eq!(zone.lock().unwrap().records, expected);
    assert_eq!(server.writes().len(), 1);
    let changes = |asked: &Asked| asked.path.contains("/change/");
    assert!(
        server.asked().iter().filter(|asked| changes(asked)).count() >= 3,
        "until INSYNC"
    );

    let again = switch(&dns).unwrap();
    assert!(again.records.iter().all(|done| !done.changed));
    assert_eq!(server.writes().len(), 1);
}

#[test]
fn a_change_that_never_arrives_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let zone = zone();
    zone.lock().unwrap().pending = 1000;
    let server = server(&zone);
    let switched = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap();
    assert_eq!(switched.unverified.len(), 1);
    assert!(
        switched.unverified[0].why.contains("PENDING"),
        "{:?}",
        switched.unverified
    );
}

/// Route 53 itself refuses what was changed after hactl had looked.
#[test]
fn the_old_value_is_a_precondition() {
    let folder = tempfile::tempdir().unwrap();
    let zone = zone();
    let inner = Arc::clone(&zone);
    let server = Server::start(move |asked| {
        let mut zone = inner.lock().unwrap();
        if asked.method == "POST" {
            zone.records[1].1 = "203.0.113.9".into();
        }
        answer(&mut zone, asked)
    });
    let refused = switch(&dns(
        folder.path(),
        &provider(server.port),
        "erp.example.com, files.example.com",
    ))
    .unwrap_err();
    assert_eq!(refused.kind, Kind::Refused, "{refused}");
    assert!(refused.message.contains("do not match the current values"), "{refused}");
    assert!(
        refused
            .message
            .contains("erp.example.com A still leads to 198.51.100.11"),
        "{refused}"
    );
    assert!(
        refused.message.contains("files.example.com A: 203.0.113.9"),
        "{refused}"
    );
    assert_eq!(zone.lock().unwrap().records[0].1, "198.51.100.11");
}

#[test]
fn what_is_not_an_address_of_a_host_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let routing = "<Type>A</Type><SetIdentifier>eu</SetIdentifier><Weight>1</Weight><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>198.51.100.11</Value></ResourceRecord></ResourceRecords>";
    let alias = "<Type>A</Type><AliasTarget><HostedZoneId>Z35SXDOTRQ7X7K</HostedZoneId><DNSName>lb.example.com.</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget>";
    let cname = "<Type>CNAME</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>other.example.com.</Value></ResourceRecord></ResourceRecords>";
    for (sets, found) in [
        (
            set("erp.example.com", &a("203.0.113.9", 60)),
            "leads to 203.0.113.9, which is no host",
        ),
        (set("erp.example.com", routing), "has a routing policy"),
        (set("erp.example.com", alias), "is an alias of a resource of AWS"),
        (set("erp.example.com", cname), "is an alias of other.example.com"),
        (set("files.example.com", &a("198.51.100.11", 60)), "does not exist"),
    ] {
        let server = Server::start(move |_| (200, list(&sets)));
        let refused = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap_err();
        assert_eq!(refused.kind, Kind::Refused, "{refused}");
        assert!(refused.message.contains(found), "{refused}");
        assert!(server.writes().is_empty());
    }
}

#[test]
fn a_key_that_may_not_and_a_service_that_is_busy_or_down() {
    let folder = tempfile::tempdir().unwrap();
    let denied = refusal("AccessDenied", &format!("User is not authorized with {KEY}"));
    let old = list(&set("erp.example.com", &a("198.51.100.11", 60)));
    let reads = old.clone();
    let server = Server::start(move |asked| match asked.method.as_str() {
        "GET" => (200, reads.clone()),
        _ => (403, denied.clone()),
    });
    let failed = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap_err();
    assert_eq!(failed.kind, Kind::HostFailed);
    assert!(failed.message.contains("route53:ChangeResourceRecordSets"), "{failed}");
    assert!(!failed.message.contains(KEY), "{failed}");

    // Busy: asked again, and then it does.
    let mut busy = 1;
    let zone = zone();
    let server = Server::start(move |asked| {
        if asked.method == "POST" && busy > 0 {
            busy -= 1;
            return (400, refusal("Throttling", "Rate exceeded"));
        }
        answer(&mut zone.lock().unwrap(), asked)
    });
    assert!(switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).is_ok());
    assert_eq!(server.writes().len(), 2);

    // Heard, and no answer: what is true is asked.
    let reads = old;
    let server = Server::start(move |asked| match asked.method.as_str() {
        "GET" => (200, reads.clone()),
        _ => (0, String::new()),
    });
    let failed = switch(&dns(folder.path(), &provider(server.port), "erp.example.com")).unwrap_err();
    assert_eq!(failed.kind, Kind::HostFailed);
    assert!(failed.message.contains("still leads to 198.51.100.11"), "{failed}");

    let down = switch(&dns(folder.path(), &provider(1), "erp.example.com")).unwrap_err();
    assert_eq!(down.kind, Kind::Unreachable, "{down}");
    assert!(down.message.contains("nothing was changed"), "{down}");
}
