//! What everybody says → what is to be done, as a table.

use std::net::IpAddr;
use std::time::Duration;

use super::decision::{Decision, Refusal, Wish, plan, records};
use super::{Answer, Look, Record, RecordKind, Said};
use crate::inventory::Dns;
use crate::inventory::dns::{DnsProvider, ExecHook, Place};

/// srv1 and srv2 at 10.0.0.1 and .2; `twin` shares srv2's address, as hosts of one site do.
fn section() -> Dns {
    let place = |host: &str, address: &str| Place {
        host: host.into(),
        addresses: vec![ip(address)],
    };
    Dns {
        names: vec!["erp.example.com".into()],
        ttl: 60,
        wait: Duration::from_secs(1),
        servers: Vec::new(),
        provider: DnsProvider::Exec(ExecHook {
            run: "true".into(),
            token: None,
            timeout: Duration::from_secs(1),
        }),
        places: vec![
            place("srv1", "10.0.0.1"),
            place("srv2", "10.0.0.2"),
            place("twin", "10.0.0.2"),
            place("srv3", "10.0.0.3"),
        ],
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `10.0.0.1/60`, `10.0.0.1+10.0.0.2/60`, `10.0.0.1` (TTL unknown), `-` (no record), `!why` (no answer), `?odd`.
fn said(server: usize, text: &str) -> Said {
    let answer = match text.chars().next() {
        Some('!') => Err(text[1..].to_owned()),
        Some('?') => Ok(Answer {
            odd: Some(text[1..].to_owned()),
            ..Answer::default()
        }),
        Some('-') => Ok(Answer::default()),
        _ => {
            let (values, ttl) = text
                .split_once('/')
                .map_or((text, None), |(values, ttl)| (values, Some(ttl)));
            Ok(Answer {
                values: values.split('+').map(ip).collect(),
                ttl: ttl.map(|ttl| ttl.parse().unwrap()),
                odd: None,
            })
        }
    };
    Said {
        server: format!("ns{server}"),
        answer,
    }
}

/// What is decided, in a word.
fn decided(answers: &str, to: &str, from: Option<&str>) -> String {
    let look = Look {
        record: Record {
            name: "erp.example.com".into(),
            kind: RecordKind::A,
        },
        said: answers
            .split(' ')
            .enumerate()
            .map(|(at, text)| said(at + 1, text))
            .collect(),
    };
    let wish = Wish {
        to: to.into(),
        from: from.map(str::to_owned),
    };
    match plan(&section(), &[look], &wish) {
        Ok(plan) => match &plan.records[0].1 {
            Decision::Right => "right".into(),
            Decision::Swap(change) => format!("{} -> {}/{}", change.expected, change.wanted, change.ttl),
        },
        Err(Refusal::NoPlace(host)) => format!("no place: {host}"),
        Err(Refusal::Silent { server, why, .. }) => format!("silent: {server} {why}"),
        Err(Refusal::Wrong { server, found, .. }) => format!("wrong: {server} {found}"),
    }
}

#[test]
fn decisions() {
    for (answers, to, from, expected) in [
        // As wanted.
        ("10.0.0.2/60", "srv2", None, "right"),
        ("10.0.0.2", "srv2", None, "right"),
        ("10.0.0.2/60", "srv2", Some("srv1"), "right"),
        ("10.0.0.2/60 10.0.0.1/60", "srv2", Some("srv1"), "right"),
        // The address is right; its TTL is set.
        ("10.0.0.2/3600", "srv2", None, "10.0.0.2 -> 10.0.0.2/60"),
        // From a host to another.
        ("10.0.0.1/60", "srv2", None, "10.0.0.1 -> 10.0.0.2/60"),
        ("10.0.0.1/60", "srv2", Some("srv1"), "10.0.0.1 -> 10.0.0.2/60"),
        ("10.0.0.2/60", "srv1", Some("twin"), "10.0.0.2 -> 10.0.0.1/60"),
        ("10.0.0.3/60", "srv2", None, "10.0.0.3 -> 10.0.0.2/60"),
        // Others lag, are ahead, or are down.
        (
            "10.0.0.1/60 10.0.0.2/60 10.0.0.1/60",
            "srv2",
            Some("srv1"),
            "10.0.0.1 -> 10.0.0.2/60",
        ),
        ("10.0.0.1/60 !down", "srv2", None, "10.0.0.1 -> 10.0.0.2/60"),
        ("10.0.0.2/60 !down", "srv2", None, "right"),
        // Anything else is left.
        (
            "10.0.0.9/60",
            "srv2",
            None,
            "wrong: ns1 leads to 10.0.0.9, which is no host of the inventory",
        ),
        (
            "10.0.0.9/60",
            "srv2",
            Some("srv1"),
            "wrong: ns1 leads to 10.0.0.9, which is no host of the inventory",
        ),
        (
            "10.0.0.3/60",
            "srv2",
            Some("srv1"),
            "wrong: ns1 leads to 10.0.0.3, which is srv3, not srv1",
        ),
        ("-", "srv2", None, "wrong: ns1 does not exist"),
        ("?alias", "srv2", None, "wrong: ns1 alias"),
        (
            "10.0.0.1+10.0.0.2/60",
            "srv2",
            None,
            "wrong: ns1 leads to 10.0.0.1 and 10.0.0.2, which is more than one address",
        ),
        (
            "10.0.0.1/60 10.0.0.9/60",
            "srv2",
            None,
            "wrong: ns2 leads to 10.0.0.9 there, while ns1 says 10.0.0.1",
        ),
        (
            "10.0.0.1/60 10.0.0.3/60",
            "srv2",
            Some("srv1"),
            "wrong: ns2 leads to 10.0.0.3 there, while ns1 says 10.0.0.1",
        ),
        (
            "10.0.0.2/60 -",
            "srv2",
            None,
            "wrong: ns2 leads to nothing there, while ns1 says 10.0.0.2",
        ),
        // Whoever takes changes must say what there is.
        ("!down 10.0.0.1/60", "srv2", None, "silent: ns1 down"),
        ("10.0.0.1/60", "srv9", None, "no place: srv9"),
        ("10.0.0.1/60", "srv2", Some("srv9"), "no place: srv9"),
    ] {
        assert_eq!(decided(answers, to, from), expected, "{answers} to {to} from {from:?}");
    }
}

/// One record that must not be written stops all of them.
#[test]
fn all_or_nothing() {
    let look = |name: &str, answer: &str| Look {
        record: Record {
            name: name.into(),
            kind: RecordKind::A,
        },
        said: vec![said(1, answer)],
    };
    let looks = [
        look("erp.example.com", "10.0.0.1/60"),
        look("www.example.com", "10.0.0.9/60"),
    ];
    let wish = Wish {
        to: "srv2".into(),
        from: None,
    };
    assert!(
        matches!(plan(&section(), &looks, &wish), Err(Refusal::Wrong { record, .. }) if record.name == "www.example.com")
    );
}

#[test]
fn records_are_of_the_families_that_hosts_have() {
    let mut section = section();
    for (place, six) in section
        .places
        .iter_mut()
        .zip(["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"])
    {
        place.addresses.push(ip(six));
    }
    let all: Vec<String> = records(&section).iter().map(ToString::to_string).collect();
    assert_eq!(all, ["erp.example.com A", "erp.example.com AAAA"]);
}

/// A server that knows the name by somebody else's words only is not believed.
#[test]
fn answers_of_servers() {
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME};
    use hickory_proto::rr::{Name, RData};
    let name = super::servers::absolute("erp.example.com").unwrap();
    let mut message = Message::query();
    message.metadata.response_code = ResponseCode::NoError;
    message.add_answer(hickory_proto::rr::Record::from_rdata(
        name.clone(),
        60,
        RData::A(A::new(10, 0, 0, 1)),
    ));
    assert!(
        super::servers::read(&message, &name)
            .unwrap_err()
            .contains("not authoritative")
    );
    message.metadata.authoritative = true;
    assert!(super::servers::read(&message, &name).unwrap().is(ip("10.0.0.1"), 60));
    let other = Name::from_ascii("other.example.com.").unwrap();
    // Of another name, which came along.
    message.add_answer(hickory_proto::rr::Record::from_rdata(
        other.clone(),
        60,
        RData::A(A::new(10, 0, 0, 2)),
    ));
    assert!(super::servers::read(&message, &name).unwrap().is(ip("10.0.0.1"), 60));
    message.answers.clear();
    assert_eq!(super::servers::read(&message, &name).unwrap().to_string(), "nothing");
    message.add_answer(hickory_proto::rr::Record::from_rdata(
        name.clone(),
        60,
        RData::CNAME(CNAME(other)),
    ));
    assert_eq!(
        super::servers::read(&message, &name).unwrap().to_string(),
        "is an alias of other.example.com"
    );
    message.metadata.response_code = ResponseCode::Refused;
    assert!(super::servers::read(&message, &name).unwrap_err().contains("REFUSED"));
}

/// What answers an update over TCP on this machine: bytes made from the request, or none.
async fn answering(answer: fn(Vec<u8>) -> Vec<u8>) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut request).await.unwrap();
        let answer = answer(request);
        if !answer.is_empty() {
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

/// Whoever sits on the way can answer, but not sign.
#[tokio::test]
async fn an_update_is_done_only_when_its_server_signs_that() {
    use super::{Trouble, wire};
    use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::TSigner;
    use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
    use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
    fn response(request: &[u8], code: ResponseCode) -> Message {
        let mut message = Message::query();
        message.metadata.id = Message::from_bytes(request).unwrap().metadata.id;
        message.metadata.message_type = MessageType::Response;
        message.metadata.op_code = OpCode::Update;
        message.metadata.response_code = code;
        message
    }
    let key = |secret: &[u8]| {
        let name = super::servers::absolute("hactl").unwrap();
        TSigner::new(secret.to_vec(), TsigAlgorithm::HmacSha256, name, 300).unwrap()
    };
    let update = || {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message
    };
    let said = |address| async move { wire::update(address, update(), &key(b"right"), 1_800_000_000).await };

    let unsigned = answering(|request| response(&request, ResponseCode::NoError).to_bytes().unwrap()).await;
    let trouble = said(unsigned).await.unwrap_err();
    assert!(
        matches!(&trouble, Trouble::Unknown(why) if why.contains("without a signature")),
        "{trouble:?}"
    );

    let forged = answering(|request| {
        let mut message = response(&request, ResponseCode::NoError);
        let name = super::servers::absolute("hactl").unwrap();
        let wrong = TSigner::new(b"wrong".to_vec(), TsigAlgorithm::HmacSha256, name, 300).unwrap();
        message.finalize(&wrong, 1_800_000_000).unwrap();
        message.to_bytes().unwrap()
    })
    .await;
    assert!(matches!(said(forged).await.unwrap_err(), Trouble::Unknown(_)));

    let refused = answering(|request| response(&request, ResponseCode::Refused).to_bytes().unwrap()).await;
    assert!(matches!(said(refused).await.unwrap_err(), Trouble::Rejected(why) if why.contains("REFUSED")));
    let changed = answering(|request| response(&request, ResponseCode::NXRRSet).to_bytes().unwrap()).await;
    assert!(matches!(said(changed).await.unwrap_err(), Trouble::Conflict(_)));
    for nonsense in [(|_| Vec::new()) as fn(Vec<u8>) -> Vec<u8>, |_| vec![0; 5]] {
        assert!(matches!(
            said(answering(nonsense).await).await.unwrap_err(),
            Trouble::Unknown(_)
        ));
    }
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    assert!(matches!(said(nobody).await.unwrap_err(), Trouble::Unreachable(_)));
}
