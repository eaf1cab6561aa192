//! The end of a rotation: data stores stop accepting the passwords from before. Until here they took both, so that the
//! application went over to the new ones without a moment at which it had the wrong one. And the end of hosts that left the
//! cluster: their accounts go.
//!
//! A role of its own, and the last: it must not run before every host has its new passwords.

use super::{Role, Scope, mariadb, redis, stage};
use crate::error::Result;
use crate::inventory::HostRole;
use crate::resource::{DatabaseOldPasswords, RedisOldPasswords};

/// The role.
pub const ROLE: Role = Role {
    name: "passwords",
    applies: |view| view.has(HostRole::Db) || view.has(HostRole::Redis),
    declare,
};

fn declare(scope: &mut Scope) -> Result<()> {
    scope.barrier(stage::LAST);
    if scope.view.has(HostRole::Db) && mariadb::has_accounts(&scope.view) {
        for user in mariadb::users(scope)? {
            scope.add(DatabaseOldPasswords { user });
        }
        if !scope.view.topology.is_single() {
            for addresses in mariadb::addresses(scope) {
                scope.add(addresses);
            }
        }
    }
    if scope.view.has(HostRole::Redis) {
        for instance in redis::instances(&scope.inventory().redis) {
            let of = instance.password(scope)?;
            scope.add(RedisOldPasswords { of });
        }
    }
    Ok(())
}
