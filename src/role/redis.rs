//! Redis: two instances, since a cache may forget and a queue must not. On several hosts each is a replicated set of its own.
//!
//! A replicated instance has a file of its own, `role.conf`, which says whom it follows: seeded once, then rewritten by
//! Redis and by the sentinels that promote. Of what they write there nothing but that outlives a start.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, app, sentinel, stage};
use crate::error::{Error, Result};
use crate::inventory::HostRole;
use crate::resource::redis::FUNCTIONS;
use crate::resource::redis_set::RedisInstance;
use crate::resource::{Facts, File, OnChange, RedisPassword, RedisReplica, Service, Stopped};

/// The role.
pub const ROLE: Role = Role {
    name: "redis",
    applies: |view| view.has(HostRole::Redis),
    declare,
};

/// One of the two.
pub(super) struct Instance {
    /// `cache` or `queue`: Debian's template unit runs it with `/etc/redis/redis-NAME.conf`.
    pub name: &'static str,
    /// Its port.
    pub port: u16,
    /// Name of the password's secret.
    pub password: &'static str,
}

/// Both.
pub(super) fn instances(redis: &crate::inventory::Redis) -> [Instance; 2] {
    [
        Instance {
            name: "cache",
            port: redis.cache_port,
            password: app::CACHE_PASSWORD,
        },
        Instance {
            name: "queue",
            port: redis.queue_port,
            password: app::QUEUE_PASSWORD,
        },
    ]
}

impl Instance {
    /// Its configuration.
    pub fn config(&self) -> String {
        format!("/etc/redis/redis-{}.conf", self.name)
    }

    /// Its unit.
    pub fn unit(&self) -> String {
        format!("redis-server@{}.service", self.name)
    }

    /// The file that holds its password.
    pub fn password_file(&self) -> String {
        format!("/etc/redis/redis-{}.password", self.name)
    }

    /// The folder of its data.
    fn dir(&self) -> String {
        format!("/var/lib/redis/{}", self.name)
    }

    /// The folder of what is different about its unit.
    fn drop_in(&self) -> String {
        format!("/etc/systemd/system/{}.d", self.unit())
    }

    /// Where to ask it for its part in its set.
    pub fn in_set(&self) -> RedisInstance {
        RedisInstance {
            set: self.name.into(),
            config: self.config(),
            password_file: self.password_file(),
        }
    }

    /// Passes when it answers to its password, which only the environment of redis-cli holds. All of it is read from its
    /// files, since older ones may have been put back. Leaves `$port` and `$REDISCLI_AUTH`.
    pub fn ping(&self) -> String {
        format!(
            "{FUNCTIONS}\n\
             redis_port {config}\n\
             redis_password {file}\n\
             answer=$(timeout 5 redis-cli -h 127.0.0.1 -p \"$port\" ping 2>&1)\n\
             [ \"$answer\" = PONG ] || {{ printf '%s\\n' \"$answer\"; exit 1; }}",
            config = self.config(),
            file = self.password_file(),
        )
    }

    /// Its password, and those that it may still have instead.
    ///
    /// # Errors
    /// A secret that is missing, or of bytes that a password of Redis cannot have.
    pub fn password(&self, scope: &Scope) -> Result<RedisPassword> {
        let password = scope.secret(self.password)?;
        one_line(password.reveal(), self.password)?;
        Ok(RedisPassword {
            instance: self.name.into(),
            unit: self.unit(),
            config: self.config(),
            file: self.password_file(),
            password,
            previous: scope.previous(self.password),
            replicates: scope.view.topology.redis_replicates(),
            health: self.ping(),
            patience: PATIENCE,
        })
    }
}

/// An append-only file is read before it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seconds after which a replica that acknowledges nothing does not count.
const LAG: u32 = 5;

fn declare(scope: &mut Scope) -> Result<()> {
    let redis = &scope.inventory().redis;
    let topology = scope.view.topology;
    scope.packages(&["redis-server", "redis-tools"]);
    // The package's own instance listens on 6379 without a password.
    scope.add(Stopped {
        unit: "redis-server.service".into(),
        package: "redis-server".into(),
    });
    // Those of a cluster that had more Redis once.
    if !topology.is_single() && !topology.has_sentinels() {
        scope.add(sentinel::stopped());
    }
    let address = scope.view.host.address;
    let bind = match topology.is_single() {
        true => "127.0.0.1".to_owned(),
        false => format!("127.0.0.1 {address}"),
    };
    let maxmemory_mb = redis.cache_maxmemory_mb.unwrap_or_else(|| cache_mb(scope.facts));
    for instance in instances(redis) {
        scope.directory(&instance.dir(), "redis", "redis", 0o750);
        let context = json!({
            "instance": instance.name,
            "cache": instance.name == "cache",
            "bind": bind,
            "address": address,
            "port": instance.port,
            "password_file": instance.password_file(),
            "dir": instance.dir(),
            "maxmemory_mb": maxmemory_mb,
            "replicates": topology.redis_replicates(),
            "sentinels": topology.has_sentinels(),
            "lag": LAG,
        });
        scope.add(instance.password(scope)?);
        let file = scope.file(&instance.config(), "redis/redis.conf", &context)?;
        scope.add(file.owned("redis", "redis", 0o640));
        let unit = format!("{}/60-hactl.conf", instance.drop_in());
        if topology.redis_replicates() {
            let seed = File {
                seed: true,
                ..File::new(format!("{}/role.conf", instance.dir()), part(scope, &instance))
            };
            scope.add(seed.owned("redis", "redis", 0o640));
            scope.directory(&instance.drop_in(), "root", "root", 0o755);
            let file = scope.file(&unit, "redis/unit.conf", &json!({}))?;
            scope.add(file);
        } else {
            scope.absent(&unit);
        }
        scope.add(Service {
            unit: instance.unit(),
            watches: vec![instance.config(), unit],
            on_change: OnChange::Restart,
            health: instance.ping(),
            patience: PATIENCE,
            forgets: Vec::new(),
        });
    }
    if topology.redis_replicates() {
        scope.barrier(stage::FOLLOWS);
        follow(scope);
    }
    Ok(())
}

/// What an instance's own file says at birth.
fn part(scope: &Scope, instance: &Instance) -> String {
    match scope.view.topology.redis_leader(instance.name) {
        Some(leader) if leader.name != scope.view.host.name => {
            format!("replicaof {} {}\n", leader.address, instance.port)
        }
        _ => "# leads\n".into(),
    }
}

/// Those that do not lead follow the one that does.
fn follow(scope: &mut Scope) {
    let topology = scope.view.topology;
    for instance in instances(&scope.inventory().redis) {
        if let Some(leader) = topology.redis_leader(instance.name)
            && leader.name != scope.view.host.name
        {
            scope.add(RedisReplica {
                instance: instance.in_set(),
                leader: leader.name.clone(),
                address: leader.address,
                port: instance.port,
            });
        }
    }
}

/// 5 % of the memory, at least 50 MiB.
fn cache_mb(facts: &Facts) -> u64 {
    (facts.memory_mb / 20).max(50)
}

/// Control characters would have to be escaped in one way for Redis, in another for the environment of its client.
fn one_line(password: &str, name: &str) -> Result<()> {
    if !password.is_empty() && !password.chars().any(char::is_control) {
        return Ok(());
    }
    let error = Error::usage(format!(
        "secret {name}: a password of Redis must be a line without control characters"
    ));
    Err(error.hint(format!("set another one: hactl secrets set {name}")))
}
