//! Verbs that speak to all hosts side by side without an engine.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::link::ShellLinks;
use crate::engine::{HostSummary, Summary};
use crate::error::Kind;
use crate::inventory::Host;
use crate::transport::wire::{Elevation, Session};
use crate::transport::{Stage, TransportError};

/// A root shell on a host.
///
/// # Errors
/// The host cannot be reached.
pub async fn open(links: &ShellLinks, host: &Host) -> Result<Session, TransportError> {
    let connection = links.connect.connect(host).await?;
    let elevation = Elevation::of(host, links.become_password.clone());
    Session::open(Arc::from(connection), &host.name, elevation).await
}

/// How a host took part.
pub struct Took {
    /// Its name.
    pub host: String,
    /// What went wrong, if anything.
    pub kind: Option<Kind>,
    /// Milliseconds.
    pub ms: u64,
}

impl Took {
    /// The kind of failure that a transport's is.
    pub fn kind_of(error: &TransportError) -> Kind {
        match error.stage {
            Stage::Connect => Kind::Unreachable,
            Stage::Lost | Stage::Protocol => Kind::HostFailed,
        }
    }
}

/// Milliseconds since.
pub fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The summary of a verb that changed nothing.
pub fn summary(hosts: Vec<Took>, since: Instant) -> Summary {
    let any = |kind: Kind| hosts.iter().any(|host| host.kind == Some(kind));
    let exit_code = [Kind::Internal, Kind::Usage, Kind::HostFailed, Kind::Unreachable]
        .into_iter()
        .find(|kind| any(*kind))
        .map_or(0, Kind::exit_code);
    let one = |took: Took| HostSummary {
        outcome: match took.kind {
            None => "ok",
            Some(Kind::Unreachable) => "unreachable",
            Some(_) => "failed",
        }
        .into(),
        failed: usize::from(took.kind.is_some()),
        host: took.host,
        ms: took.ms,
        ..HostSummary::default()
    };
    let hosts: Vec<HostSummary> = hosts.into_iter().map(one).collect();
    Summary {
        exit_code,
        failed: hosts.iter().map(|host| host.failed).sum(),
        ms: millis(since),
        hosts,
        ..Summary::default()
    }
}
