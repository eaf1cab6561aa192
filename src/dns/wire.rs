//! DNS messages to one server and back: over UDP, over TCP when that does not do, signed ones over TCP only.
//!
//! hickory makes, signs and reads the messages. It is not left to send them, because its client judges the signature of an
//! answer before the answer: a server that does not know a key answers without a signature, and says why in a TSIG record
//! that would be lost.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{Name, RecordType, TSigner};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::Trouble;

/// How long an answer to a question over UDP may take; asked twice.
const UDP: Duration = Duration::from_millis(1500);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(4);
/// How long an answer over a connection may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks a server, which is not to ask others.
///
/// # Errors
/// Why there is no answer, as the end of a sentence about the server.
pub async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> Result<Message, String> {
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question
        .to_bytes()
        .map_err(|error| format!("cannot be asked: {error}"))?;
    let fits = |answer: &Message| {
        answer.metadata.id == question.metadata.id
            && answer.metadata.message_type == MessageType::Response
            && answer.queries.first().is_none_or(|query| query.name() == name)
    };
    for _ in 0..2 {
        match udp(server, &bytes, &fits).await {
            Ok(Some(answer)) if !answer.metadata.truncation => return Ok(answer),
            // Too long for UDP, nobody there, or UDP does not get through.
            Ok(Some(_)) | Err(_) => break,
            Ok(None) => {}
        }
    }
    let heard = tcp(server, &bytes)
        .await
        .map_err(|trouble| trouble.message().to_owned())?;
    match Message::from_bytes(&heard) {
        Ok(answer) if fits(&answer) => Ok(answer),
        Ok(_) => Err("answers another question".to_owned()),
        Err(error) => Err(format!("answers something that is no DNS message: {error}")),
    }
}

/// `None`: nothing that fits came in time.
async fn udp(server: SocketAddr, bytes: &[u8], fits: &impl Fn(&Message) -> bool) -> std::io::Result<Option<Message>> {
    let any = match server.ip() {
        IpAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    // The kernel drops what comes from anybody else.
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    let heard = async {
        loop {
            let length = socket.recv(&mut buffer).await?;
            let message = buffer.get(..length).and_then(|bytes| Message::from_bytes(bytes).ok());
            if let Some(message) = message.filter(fits) {
                return Ok(message);
            }
        }
    };
    match timeout(UDP, heard).await {
        Ok(message) => message.map(Some),
        Err(_) => Ok(None),
    }
}

/// One message over a connection of its own, and the answer.
async fn tcp(server: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
    let unreachable = |why: String| Trouble::Unreachable(format!("does not answer: {why}"));
    let mut stream = match timeout(CONNECT, TcpStream::connect(server)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable(format!("no connection in {} s", CONNECT.as_secs()))),
    };
    let length = u16::try_from(bytes.len())
        .map_err(|_| Trouble::Rejected("cannot be asked: the message is too long".to_owned()))?;
    // From here on the server may have heard it.
    let lost = |why: String| Trouble::Unknown(format!("gave no answer: {why}"));
    let exchange = async {
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(ANSWER, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(lost(error.to_string())),
        Err(_) => Err(lost(format!("nothing came for {} s", ANSWER.as_secs()))),
    }
}

/// Sends an update and judges the answer; `now` is the time in seconds since 1970.
///
/// # Errors
/// What the server says, or that it says nothing.
pub async fn update(server: SocketAddr, mut update: Message, signer: &TSigner, now: u64) -> Result<(), Trouble> {
    let rejected = |why: String| Trouble::Rejected(why);
    let verifier = update
        .finalize(signer, now)
        .map_err(|error| rejected(format!("cannot be asked: {error}")))?;
    let bytes = update
        .to_bytes()
        .map_err(|error| rejected(format!("cannot be asked: {error}")))?;
    let heard = tcp(server, &bytes).await?;
    let answer = Message::from_bytes(&heard)
        .map_err(|error| Trouble::Unknown(format!("answers something that is no DNS message: {error}")))?;
    let fits = answer.metadata.id == update.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Update;
    if !fits {
        return Err(Trouble::Unknown(
            "answers something else than what it was asked".to_owned(),
        ));
    }
    let key = signer.signer_name().to_utf8();
    let key = key.trim_end_matches('.');
    let tsig = answer.signature.as_ref().and_then(|record| record.data.error);
    if let Some(error) = tsig {
        return Err(rejected(match error {
            TsigError::BadKey => format!("does not know the TSIG key `{key}` (BADKEY): compare its name and algorithm"),
            TsigError::BadSig => format!("knows the TSIG key `{key}`, but with another secret (BADSIG)"),
            TsigError::BadTime => {
                "finds that the clocks of this machine and its own are more than 5 minutes apart (BADTIME)".to_owned()
            }
            other => format!("refuses the signature: {other:?}"),
        }));
    }
    // Who refuses has no reason to sign; who says that it was done, has.
    let code = answer.metadata.response_code;
    if answer.signature.is_none() && code != ResponseCode::NoError {
        return Err(refusal(code, key));
    }
    let signed = verifier.is_some_and(|mut verifier| verifier.verify(&heard).is_ok());
    if !signed {
        return Err(Trouble::Unknown(format!(
            "answers {code:?} without a signature by the key `{key}`: somebody else may have answered"
        )));
    }
    match code {
        ResponseCode::NoError => Ok(()),
        code => Err(refusal(code, key)),
    }
}

fn refusal(code: ResponseCode, key: &str) -> Trouble {
    match code {
        // The prerequisite: the record exists, with exactly this value.
        ResponseCode::NXRRSet | ResponseCode::NXDomain => {
            Trouble::Conflict("the record was changed by somebody else meanwhile".to_owned())
        }
        ResponseCode::Refused => Trouble::Rejected(format!(
            "does not let the key `{key}` change this record (REFUSED): see its update-policy"
        )),
        ResponseCode::NotAuth | ResponseCode::NotZone => {
            Trouble::Rejected("is not in charge of this zone (NOTAUTH)".to_owned())
        }
        ResponseCode::NotImp => Trouble::Rejected("takes no updates (NOTIMP)".to_owned()),
        ResponseCode::ServFail => Trouble::Unknown("failed (SERVFAIL): its log says why".to_owned()),
        other => Trouble::Rejected(format!("refuses the update ({other})")),
    }
}
