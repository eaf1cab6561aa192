//! Redis: two instances, since a cache may forget and a queue must not.

use std::time::Duration;

use serde_json::json;

use super::{Role, Scope, app};
use crate::error::{Error, Result};
use crate::inventory::HostRole;
use crate::resource::redis::FUNCTIONS;
use crate::resource::{Facts, OnChange, RedisPassword, Service, Stopped};

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
            health: self.ping(),
            patience: PATIENCE,
        })
    }
}

/// An append-only file is read before it answers.
const PATIENCE: Duration = Duration::from_secs(60);

fn declare(scope: &mut Scope) -> Result<()> {
    let redis = &scope.inventory().redis;
    scope.packages(&["redis-server", "redis-tools"]);
    // The package's own instance listens on 6379 without a password.
    scope.add(Stopped {
        unit: "redis-server.service".into(),
        package: "redis-server".into(),
    });
    let bind = if scope.view.topology.is_single() {
        "127.0.0.1".to_owned()
    } else {
        format!("127.0.0.1 {}", scope.view.host.address)
    };
    let maxmemory_mb = redis.cache_maxmemory_mb.unwrap_or_else(|| cache_mb(scope.facts));
    for instance in instances(redis) {
        let dir = format!("/var/lib/redis/{}", instance.name);
        scope.directory(&dir, "redis", "redis", 0o750);
        let context = json!({
            "instance": instance.name,
            "cache": instance.name == "cache",
            "bind": bind,
            "port": instance.port,
            "password_file": instance.password_file(),
            "dir": dir,
            "maxmemory_mb": maxmemory_mb,
        });
        scope.add(instance.password(scope)?);
        let file = scope.file(&instance.config(), "redis/redis.conf", &context)?;
        scope.add(file.owned("redis", "redis", 0o640));
        scope.add(Service {
            unit: instance.unit(),
            watches: vec![instance.config()],
            on_change: OnChange::Restart,
            health: instance.ping(),
            patience: PATIENCE,
            forgets: Vec::new(),
        });
    }
    Ok(())
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
