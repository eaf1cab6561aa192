//! How well a Redis and a sentinel do their part in a replicated set.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::State;
use crate::resource::redis_set::{Known, RedisSaid, SentinelSaid};

/// Seconds after which a replica that acknowledges nothing does not follow.
const LAG: u64 = 10;

/// A Redis; `others`: how many should follow the one that leads.
pub(super) fn part(said: Option<&RedisSaid>, others: usize) -> (State, String) {
    let Some(said) = said else {
        return (State::Bad, "Redis is not there".into());
    };
    if let Some(error) = &said.error {
        return (State::Bad, error.clone());
    }
    if let Some((address, port)) = &said.follows {
        return match said.link_up {
            true => (State::Ok, format!("follows {address}:{port}")),
            false => (State::Bad, format!("follows {address}:{port}, and does not reach it")),
        };
    }
    // One that vanished stays in the list for a while.
    let following = said
        .replicas
        .iter()
        .filter(|replica| replica.online && replica.lag <= LAG);
    let (count, lag) = (following.clone().count(), following.map(|replica| replica.lag).max());
    match lag {
        None => (
            State::Bad,
            "leads, and nobody follows: a crash now loses what it holds".into(),
        ),
        Some(lag) => {
            let state = if count < others { State::Warn } else { State::Ok };
            (
                state,
                format!("leads, {count} of {others} replicas follow, {lag} s behind"),
            )
        }
    }
}

/// A sentinel of a set that has these hosts.
pub(super) fn watch(said: Option<&SentinelSaid>, hosts: &[IpAddr]) -> (State, String) {
    let Some(said) = said else {
        return (State::Bad, "no sentinel watches it".into());
    };
    let known = |known: &&Known| known.address.parse().is_ok_and(|address| hosts.contains(&address));
    // Those that do not answer first: the next apply makes the sentinels forget them.
    let strangers: BTreeSet<_> = said
        .others
        .iter()
        .filter(|other| !known(other))
        .map(|other| (!other.is_down(), &other.address))
        .collect();
    let awake = |known: &&Known| known.is_sentinel() && !known.is_down();
    let agree = 1 + said.others.iter().filter(known).filter(awake).count();
    let leads = format!(
        "{agree} of {} sentinels watch {}:{}, {} must agree",
        hosts.len(),
        said.leader.address,
        said.leader.port,
        said.quorum
    );
    match said.verdict.split(' ').next() {
        _ if said.leader.is_down() => (State::Bad, format!("{leads}: it does not answer")),
        Some("OK") => match strangers.first() {
            Some((true, stranger)) => (
                State::Warn,
                format!("{leads}; {stranger} is not in the inventory, and still runs"),
            ),
            Some((false, stranger)) => (
                State::Warn,
                format!("{leads}; {stranger} is gone, `hactl apply` makes it forgotten"),
            ),
            None if agree < hosts.len() => (State::Warn, leads),
            None => (State::Ok, leads),
        },
        _ => (State::Bad, format!("{leads}: too few to promote another")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::redis_set::FollowerSaid;

    #[test]
    fn parts_in_words() {
        let follower = |online| FollowerSaid {
            address: "10.0.0.42".into(),
            online,
            lag: 1,
        };
        let leads = |replicas| RedisSaid {
            replicas,
            ..RedisSaid::default()
        };
        let follows = RedisSaid {
            follows: Some(("10.0.0.41".into(), 11000)),
            ..RedisSaid::default()
        };
        let cases = [
            (
                leads(vec![follower(true), follower(true)]),
                State::Ok,
                "leads, 2 of 2 replicas follow, 1 s behind",
            ),
            (
                leads(vec![follower(true), follower(false)]),
                State::Warn,
                "leads, 1 of 2 replicas follow, 1 s behind",
            ),
            (
                leads(vec![]),
                State::Bad,
                "leads, and nobody follows: a crash now loses what it holds",
            ),
            (follows, State::Bad, "follows 10.0.0.41:11000, and does not reach it"),
        ];
        for (said, state, text) in cases {
            assert_eq!(part(Some(&said), 2), (state, text.into()));
        }
    }

    #[test]
    fn sentinels_in_words() {
        let hosts = ["10.0.0.41", "10.0.0.42", "10.0.0.43"].map(|text| text.parse().unwrap());
        let known = |address: &str, flags: &str| Known {
            address: address.into(),
            port: 26379,
            flags: flags.into(),
        };
        let watches = |leader: &str, third: Known, verdict: &str| SentinelSaid {
            leader: known("10.0.0.41", leader),
            quorum: 2,
            others: vec![known("10.0.0.42", "sentinel"), third],
            verdict: verdict.into(),
        };
        let up = known("10.0.0.43", "sentinel");
        let down = known("10.0.0.43", "s_down,sentinel,disconnected");
        let of = |count| format!("{count} of 3 sentinels watch 10.0.0.41:26379, 2 must agree");
        let cases = [
            (watches("master", up.clone(), "OK 3 usable"), State::Ok, of(3)),
            (watches("master", down.clone(), "OK 2 usable"), State::Warn, of(2)),
            (
                watches("master", down, "NOQUORUM 1 usable"),
                State::Bad,
                of(2) + ": too few to promote another",
            ),
            (
                watches("master,s_down", up.clone(), "OK 3 usable"),
                State::Bad,
                of(3) + ": it does not answer",
            ),
            (
                watches("master", known("10.0.0.44", "slave"), "OK 3 usable"),
                State::Warn,
                of(2) + "; 10.0.0.44 is not in the inventory, and still runs",
            ),
            (
                watches("master", known("10.0.0.44", "s_down,slave,disconnected"), "OK 3 usable"),
                State::Warn,
                of(2) + "; 10.0.0.44 is gone, `hactl apply` makes it forgotten",
            ),
        ];
        for (said, state, text) in cases {
            assert_eq!(watch(Some(&said), &hosts), (state, text));
        }
    }
}
