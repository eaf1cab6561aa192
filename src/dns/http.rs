//! Requests to the API of a provider, over HTTPS.
//!
//! An answer is an answer whatever its status; nothing is followed elsewhere, because requests carry credentials.

use std::time::Duration;

use ureq::Agent;
use ureq::http::{Request, Response};

use super::Trouble;

/// Longest answer that is read.
const LONGEST: u64 = 1024 * 1024;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long all of a request may take.
const WHOLE: Duration = Duration::from_secs(30);
/// Times that somebody who is too busy is asked.
const TIMES: u32 = 3;

/// Who asks.
#[derive(Clone)]
pub struct Http(Agent);

/// Status and body.
#[derive(Debug)]
pub struct Heard {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Http {
    /// For one provider.
    pub fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .user_agent(concat!("hactl/", env!("CARGO_PKG_VERSION")))
            .build();
        Http(Agent::new_with_config(config))
    }

    /// Sends what `request` makes, again when the provider is too busy to have looked at it: `busy` says so of an answer.
    ///
    /// # Errors
    /// No answer. Whether it was heard is known only when there was no connection.
    pub async fn send(
        &self,
        request: impl Fn() -> Result<Request<String>, String>,
        busy: impl Fn(&Heard) -> bool,
    ) -> Result<Heard, Trouble> {
        let mut pause = Duration::from_millis(500);
        let mut times = 1;
        loop {
            let heard = self.once(request().map_err(Trouble::Rejected)?).await?;
            if times >= TIMES || !busy(&heard) {
                return Ok(heard);
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
            times += 1;
        }
    }

    async fn once(&self, request: Request<String>) -> Result<Heard, Trouble> {
        let agent = self.0.clone();
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let asked = tokio::task::spawn_blocking(move || agent.run(request).and_then(read)).await;
        match asked {
            Ok(Ok(heard)) => Ok(heard),
            Ok(Err(error)) => Err(trouble(&host, &error)),
            Err(_) => Err(Trouble::Unknown(format!("the request to {host} was cut off"))),
        }
    }
}

fn read(mut response: Response<ureq::Body>) -> Result<Heard, ureq::Error> {
    let status = response.status().as_u16();
    let bytes = response.body_mut().with_config().limit(LONGEST).read_to_vec()?;
    Ok(Heard {
        status,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Texts of these errors name hosts and reasons, and nothing of the request.
fn trouble(host: &str, error: &ureq::Error) -> Trouble {
    use std::io::ErrorKind;
    use ureq::{Error, Timeout};
    let why = format!("{host} does not answer: {error}");
    match error {
        Error::HostNotFound | Error::ConnectionFailed | Error::Tls(_) | Error::Rustls(_) => Trouble::Unreachable(why),
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => Trouble::Unreachable(why),
        Error::Io(io)
            if matches!(
                io.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
            ) =>
        {
            Trouble::Unreachable(why)
        }
        _ => Trouble::Unknown(why),
    }
}
