//! New values for generated secrets. The one before stays in the file as `previous/N/NAME` (1 is the newest) until an
//! apply has carried the new one through: hosts may still have it, and so may the operator's notes.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::inventory::model::Inventory;
use crate::inventory::suggest;
use crate::secret::Secret;

use super::file::{self, Change, Edits};
use super::identity::Keyring;
use super::wanted::{self, Rotation, Wanted};
use super::{Secrets, source};

/// First part of the names under which older values are kept.
pub const PREVIOUS: &str = "previous/";

/// What `rotate` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Names that have a new value.
    pub renewed: Vec<String>,
    /// Names that were left, each with why; only of [`Which::All`].
    pub left: Vec<(String, &'static str)>,
}

/// Which secrets to rotate.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// All that are generated and can be.
    All,
    /// These.
    Names(&'a [String]),
}

/// Older values by name, the newest first.
pub(super) fn previous(stored: &BTreeMap<String, Secret>) -> BTreeMap<String, Vec<Secret>> {
    let mut numbered: BTreeMap<&str, BTreeMap<u32, &Secret>> = BTreeMap::new();
    for (key, secret) in stored {
        if let Some((number, name)) = parse(key) {
            numbered.entry(name).or_default().insert(number, secret);
        }
    }
    let list = |secrets: BTreeMap<u32, &Secret>| secrets.into_values().cloned().collect();
    numbered
        .into_iter()
        .map(|(name, secrets)| (name.to_owned(), list(secrets)))
        .collect()
}

/// `previous/N/NAME`.
pub(super) fn parse(key: &str) -> Option<(u32, &str)> {
    let (number, name) = key.strip_prefix(PREVIOUS)?.split_once('/')?;
    Some((number.parse().ok()?, name))
}

/// Edits that give `name` a new value and keep those before.
fn renew(name: &str, value: Secret, stored: &BTreeMap<String, Secret>) -> Edits {
    let mut older: Vec<Secret> = stored.get(name).cloned().into_iter().collect();
    older.extend(previous(stored).remove(name).unwrap_or_default());
    // Going back to an older value makes that the current one.
    older.retain(|old| *old != value);
    let mut edits: Edits = stored
        .keys()
        .filter(|key| parse(key).is_some_and(|(_, of)| of == name))
        .map(|key| (key.clone(), None))
        .collect();
    for (index, old) in older.into_iter().enumerate() {
        let key = format!("{PREVIOUS}{}/{name}", index + 1);
        edits.retain(|(other, _)| *other != key);
        edits.push((key, Some(old)));
    }
    edits.push((name.to_owned(), Some(value)));
    edits
}

/// Makes new values and stores them.
///
/// # Errors
/// Usage errors: a name that is not generated or cannot be rotated, a file that cannot be read or written.
pub fn rotate(inventory: &Inventory, keyring: &Keyring, which: Which) -> Result<Rotated, Error> {
    let mut wanted = wanted::of(inventory);
    wanted.extend(wanted::of_dns(inventory));
    let mut rotated = Rotated::default();
    let chosen: Vec<&Wanted> = match which {
        Which::Names(names) => {
            let once: std::collections::BTreeSet<&String> = names.iter().collect();
            once.into_iter()
                .map(|name| chosen(name, &wanted))
                .collect::<Result<_, _>>()?
        }
        Which::All => wanted
            .iter()
            .filter(|want| want.is_generated())
            .filter(|want| match want.rotation() {
                Rotation::Carried => true,
                Rotation::Refused(why) => {
                    rotated.left.push((want.name.clone(), why));
                    false
                }
            })
            .collect(),
    };
    file::update(inventory, keyring, |stored| {
        let mut edits = Edits::new();
        for want in &chosen {
            edits.extend(renew(&want.name, want.generate(), &stored.values));
        }
        Ok(Change::Edits(edits))
    })?;
    rotated.renewed = chosen.iter().map(|want| want.name.clone()).collect();
    Ok(rotated)
}

fn chosen<'a>(name: &str, wanted: &'a [Wanted<'a>]) -> Result<&'a Wanted<'a>, Error> {
    let shown = crate::quote::terminal(name);
    let Some(want) = wanted.iter().find(|want| want.name == name) else {
        let known: Vec<&str> = wanted.iter().map(|want| want.name.as_str()).collect();
        let error = Error::usage(format!("no secret of this inventory is named `{shown}`"));
        return Err(match suggest::closest(name, &known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("hactl secrets show-names lists them"),
        });
    };
    if let Some(given) = want.given {
        return Err(Error::usage(format!(
            "`{name}` is not generated: the inventory says that it comes from {}",
            super::names::origin(given)
        ))
        .hint("change it there; what is in the secrets file is changed with `hactl secrets set NAME`"));
    }
    match want.rotation() {
        Rotation::Carried => Ok(want),
        Rotation::Refused(why) => Err(Error::usage(format!("`{name}` is not rotated: {why}"))),
    }
}

/// Stores a value: of the user's own, for `!secret NAME`, or in place of a generated one, which is a rotation. Gives
/// whether an apply has to carry it through.
///
/// # Errors
/// Usage errors: a bad name or value, or a file that cannot be read or written.
pub fn set(inventory: &Inventory, keyring: &Keyring, name: &str, value: Secret) -> Result<bool, Error> {
    let shown = crate::quote::terminal(name);
    super::rules::secret_name(name).map_err(|why| Error::usage(format!("`{shown}` {why}")))?;
    if name.starts_with(PREVIOUS) {
        return Err(Error::usage(format!(
            "`{name}` is where hactl keeps a value that was rotated; set the name behind it"
        )));
    }
    source::check(value.reveal()).map_err(|why| Error::usage(format!("the value for `{name}` {why}")))?;
    let wanted = wanted::of(inventory);
    let generated = wanted
        .iter()
        .any(|want| want.name == name && want.is_generated() && want.rotation() == Rotation::Carried);
    file::update(inventory, keyring, |stored| {
        let same = stored.values.get(name) == Some(&value);
        Ok(Change::Edits(match (same, generated) {
            (true, _) => Edits::new(),
            (false, true) => renew(name, value, &stored.values),
            (false, false) => vec![(name.to_owned(), Some(value))],
        }))
    })?;
    Ok(generated)
}

/// After an apply that carried `applied` to every host: older values of these names go. What was rotated again since
/// stays.
///
/// # Errors
/// Usage errors: a file that cannot be read or written.
pub fn forget_previous(inventory: &Inventory, keyring: &Keyring, applied: &Secrets) -> Result<(), Error> {
    if applied.previous.is_empty() {
        return Ok(());
    }
    file::update(inventory, keyring, |stored| {
        let carried = |name: &str| match (stored.values.get(name), applied.values.get(name)) {
            (Some(now), Some(then)) => now == then,
            // Nobody wants it any more.
            _ => true,
        };
        let keys = stored.values.keys();
        let gone = keys.filter(|key| parse(key).is_some_and(|(_, name)| carried(name)));
        Ok(Change::Edits(gone.map(|key| (key.clone(), None)).collect()))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(edits: &Edits) -> Vec<(String, Option<String>)> {
        let mut list: Vec<_> = edits
            .iter()
            .map(|(name, value)| (name.clone(), value.as_ref().map(|value| value.reveal().to_owned())))
            .collect();
        list.sort();
        list
    }

    #[test]
    fn rotating_twice_keeps_both_and_going_back_keeps_one() {
        let mut stored = BTreeMap::from([("redis/cache".to_owned(), Secret::new("a"))]);
        let mut take = |value: &str| {
            for (name, value) in renew("redis/cache", Secret::new(value), &stored) {
                match value {
                    Some(value) => stored.insert(name, value),
                    None => stored.remove(&name),
                };
            }
            let all: Edits = stored.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
            texts(&all)
                .into_iter()
                .map(|(key, value)| format!("{key}={}", value.unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(take("b"), "previous/1/redis/cache=a redis/cache=b");
        assert_eq!(
            take("c"),
            "previous/1/redis/cache=b previous/2/redis/cache=a redis/cache=c"
        );
        assert_eq!(
            take("a"),
            "previous/1/redis/cache=c previous/2/redis/cache=b redis/cache=a"
        );
        assert_eq!(previous(&stored)["redis/cache"], [Secret::new("c"), Secret::new("b")]);
    }
}
