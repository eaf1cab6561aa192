//! Redis Sentinel: where three or more hosts have Redis, one on each, which together promote a replica when the leader is
//! gone.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, redis, stage};
use crate::error::Result;
use crate::inventory::HostRole;
use crate::resource::redis::FUNCTIONS;
use crate::resource::redis_set::SentinelInstance;
use crate::resource::{File, OnChange, SentinelWatch, Service, Stopped};
use crate::topology::Topology;

/// The role.
pub const ROLE: Role = Role {
    name: "sentinel",
    applies: |view| view.has(HostRole::Redis) && view.topology.has_sentinels(),
    declare,
};

/// Name of the secret by which sentinels know each other.
pub(super) const PASSWORD: &str = "redis/sentinel";

/// Its port.
pub const PORT: u16 = 26379;

const CONFIG: &str = "/etc/redis/redis-sentinel.conf";
const DIR: &str = "/var/lib/redis/sentinel";
const DROP_IN: &str = "/etc/systemd/system/redis-sentinel.service.d";

/// Its unit.
pub(super) const UNIT: &str = "redis-sentinel.service";

/// Milliseconds of silence after which a leader counts as gone, and how long a promotion may take before the next try.
/// A promotion is over within two seconds more; a pause that is no death does not set one off.
const SETTINGS: [(&str, &str); 3] = [
    ("down-after-milliseconds", "2000"),
    ("failover-timeout", "10000"),
    ("parallel-syncs", "1"),
];

/// That none runs, where there are too few Redis for a majority.
pub(super) fn stopped() -> Stopped {
    Stopped {
        unit: UNIT.into(),
        package: "redis-sentinel".into(),
    }
}

/// Where to ask it for a set.
pub(super) fn of_set(set: &str) -> SentinelInstance {
    SentinelInstance {
        set: set.into(),
        config: CONFIG.into(),
    }
}

/// How many must agree that a leader is gone.
fn quorum(topology: Topology) -> u32 {
    let sentinels = u32::try_from(topology.with_role(HostRole::Redis).count()).unwrap_or(u32::MAX);
    topology.inventory.redis.quorum.unwrap_or(sentinels / 2 + 1)
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["redis-sentinel"]);
    // One that starts before the sets are there would take them for gone; and all must take a new password before it is
    // used.
    scope.barrier(stage::FOLLOWS);
    let topology = scope.view.topology;
    let sets = redis::instances(&scope.inventory().redis);
    let quorum = quorum(topology);
    let watched = |set: &str| topology.redis_leader(set).unwrap_or(scope.view.host);
    let monitors = sets
        .iter()
        .map(|set| {
            let leader = watched(set.name).address;
            format!("sentinel monitor {} {leader} {} {quorum}\n", set.name, set.port)
        })
        .collect::<String>();
    let context = json!({
        "address": scope.view.host.address,
        "port": PORT,
        "password": PASSWORD,
        "dir": DIR,
        "config": CONFIG,
        "sets": sets.iter().map(|set| json!({ "name": set.name, "password": set.password })).collect::<Vec<_>>(),
        "settings": SETTINGS.map(|(name, value)| json!({ "name": name, "value": value })),
    });
    scope.directory(DIR, "redis", "redis", 0o750);
    let file = scope.file(CONFIG, "redis/sentinel.conf", &context)?;
    scope.add(file.owned("redis", "redis", 0o640));
    let seed = File {
        seed: true,
        ..File::new(format!("{DIR}/sentinel.conf"), monitors)
    };
    scope.add(seed.owned("redis", "redis", 0o640));
    let unit = format!("{DROP_IN}/60-hactl.conf");
    scope.directory(DROP_IN, "root", "root", 0o755);
    let file = scope.file(&unit, "redis/sentinel-unit.conf", &context)?;
    scope.add(file);
    scope.add(Service {
        unit: UNIT.into(),
        watches: vec![CONFIG.into(), unit],
        on_change: OnChange::Restart,
        health: format!(
            "{FUNCTIONS}\n\
             redis_port {CONFIG}\n\
             redis_password {CONFIG}\n\
             answer=$(timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" ping 2>&1)\n\
             [ \"$answer\" = PONG ] || {{ printf '%s\\n' \"$answer\"; exit 1; }}"
        ),
        patience: Duration::from_secs(30),
        forgets: Vec::new(),
    });
    for set in &sets {
        let leader = topology.redis_leader(set.name).unwrap_or(scope.view.host);
        scope.add(SentinelWatch {
            instance: of_set(set.name),
            leader: leader.name.clone(),
            address: leader.address,
            port: set.port,
            password_file: set.password_file(),
            password: scope.secret(set.password)?,
            quorum,
            settings: SETTINGS
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            members: topology.with_role(HostRole::Redis).map(|host| host.address).collect(),
        });
    }
    Ok(())
}
