//! MariaDB on several hosts: one takes the writes, the others follow it.

use super::health::State;
use super::{Scope, mariadb, peers, stage};
use crate::error::Result;
use crate::inventory::{Host, HostRole};
use crate::resource::replication::Replication;
use crate::resource::{DatabaseUser, Holds, Replica, SemiSync};
use crate::secret::Secret;
use crate::topology::Topology;

/// The account that replicas use.
pub const REPLICATION_USER: &str = "hactl_replica";

/// Name of the secret that is its password.
pub const PASSWORD: &str = "mariadb/replication";

/// The writer lets replicas in and waits for one of them; the others follow it.
pub(super) fn declare(scope: &mut Scope) -> Result<()> {
    let topology = scope.view.topology;
    let password = scope.secret(PASSWORD)?;
    let Some(writer) = topology.writer() else {
        return Ok(());
    };
    if writer.name == scope.view.host.name {
        for host in topology.with_role(HostRole::Db) {
            scope.add(DatabaseUser {
                name: REPLICATION_USER.into(),
                host: host.address.to_string(),
                password: password.clone(),
                grants: vec!["REPLICATION SLAVE ON *.*".into()],
            });
        }
        // That all others are lost must not keep this one from serving: after a restore on what is left, above all.
        if topology.live.lone {
            return Ok(());
        }
        scope.barrier(stage::PROTECTED);
        scope.add(SemiSync {
            on: scope.inventory().mariadb.semi_sync,
        });
        return Ok(());
    }
    scope.barrier(stage::FOLLOWS);
    scope.add(replica(topology, writer, password, Holds::Unjudged));
    Ok(())
}

/// A replica of that server.
pub fn replica(topology: Topology, writer: &Host, password: Secret, holds: Holds) -> Replica {
    Replica {
        primary: writer.name.clone(),
        address: writer.address,
        port: topology.inventory.mariadb.port,
        user: REPLICATION_USER.into(),
        password,
        authority: Some(mariadb::AUTHORITY.into()),
        reach: peers::reach(peers::Circle::Databases, writer),
        holds,
    }
}

/// How well a server does its part. `wanted`: whether the inventory wants commits to wait for a replica.
pub(super) fn health(said: Option<&Replication>, wanted: bool) -> (State, String) {
    let Some(said) = said else {
        return (State::Bad, "MariaDB is not there".into());
    };
    if said.no_data {
        let text = "has no data: apply copies those of the primary";
        return (State::Bad, text.into());
    }
    if let Some(error) = &said.error {
        return (State::Bad, error.clone());
    }
    let semi_sync = &said.semi_sync;
    match said.sources.as_slice() {
        [] if said.read_only => (State::Bad, "takes no writes and follows nobody".into()),
        [] if !wanted => (State::Ok, "takes the writes".into()),
        [] if semi_sync.in_force => {
            let replicas = semi_sync.clients;
            let text = format!("takes the writes, {replicas} replicas acknowledge");
            (if replicas > 0 { State::Ok } else { State::Warn }, text)
        }
        [] => (
            State::Bad,
            "takes the writes, and no replica acknowledges them: a crash now can lose some".into(),
        ),
        [_] if !said.read_only => (State::Bad, "follows another and takes writes itself".into()),
        [link] if link.runs() => {
            let text = |lag| format!("follows {}, {lag} s behind", link.host);
            match link.lag {
                Some(lag @ 0..30) => (State::Ok, text(lag)),
                Some(lag) => (State::Warn, text(lag)),
                None => (State::Warn, format!("follows {}", link.host)),
            }
        }
        [link] => {
            let (receives, applies) = (&link.receives, &link.applies);
            let state = format!(
                "does not follow {}: receiving {receives}, applying {applies}",
                link.host
            );
            let text = if link.error.is_empty() {
                state
            } else {
                format!("{state}: {}", link.error)
            };
            (State::Bad, text)
        }
        several => (State::Bad, format!("follows {} servers", several.len())),
    }
}
