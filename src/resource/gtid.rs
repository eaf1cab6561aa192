//! Positions of MariaDB's global transaction ids.

use std::collections::BTreeMap;

/// What a server has logged: the highest sequence number for each domain and server (`gtid_binlog_state`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GtidState(BTreeMap<(u32, u32), u64>);

/// Transactions that are no part of the history any more: a restore went back to before them. The history goes on with numbers
/// far above theirs, so that a number tells on which side one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// Their domain.
    pub domain: u32,
    /// The last that was kept.
    pub kept: u64,
    /// The first of what came instead.
    pub begins: u64,
}

impl GivenUp {
    /// Reads `DOMAIN KEPT BEGINS`; `None` when it makes no sense, for it is a host's word.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let domain = words.next()?.parse().ok()?;
        let (kept, begins) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(GivenUp { domain, kept, begins })
    }

    fn has(&self, domain: u32, sequence: u64) -> bool {
        domain == self.domain && self.kept < sequence && sequence < self.begins
    }
}

impl GtidState {
    /// Reads `0-11-8,0-12-9`; words that are no transaction ids are left out, for it is a host's word.
    pub fn read(text: &str) -> Self {
        let mut state = BTreeMap::new();
        for word in text.split(',') {
            let mut parts = word.trim().splitn(3, '-');
            let mut part = || parts.next()?.parse::<u64>().ok();
            if let (Some(domain), Some(server), Some(sequence)) = (part(), part(), part())
                && let (Ok(domain), Ok(server)) = (u32::try_from(domain), u32::try_from(server))
            {
                let highest = state.entry((domain, server)).or_insert(0);
                *highest = sequence.max(*highest);
            }
        }
        GtidState(state)
    }

    /// Whether nothing was ever logged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what another state has.
    pub fn join(&mut self, other: &GtidState) {
        for (key, sequence) in &other.0 {
            let highest = self.0.entry(*key).or_insert(0);
            *highest = (*sequence).max(*highest);
        }
    }

    /// Only what that server wrote.
    pub fn of_server(&self, id: u32) -> GtidState {
        let own = self.0.iter().filter(|((_, server), _)| *server == id);
        GtidState(own.map(|(key, sequence)| (*key, *sequence)).collect())
    }

    /// The highest transaction of each domain: a position.
    pub fn position(&self) -> GtidState {
        let mut highest: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        for ((domain, server), sequence) in &self.0 {
            let best = highest.entry(*domain).or_insert((*server, *sequence));
            if *sequence > best.1 {
                *best = (*server, *sequence);
            }
        }
        let all = highest.into_iter();
        GtidState(
            all.map(|(domain, (server, sequence))| ((domain, server), sequence))
                .collect(),
        )
    }

    /// The last position, by what `self` logged, that `other` has, too.
    pub fn common(&self, other: &GtidState) -> GtidState {
        let shared = self.0.iter().filter_map(|(key, mine)| {
            let theirs = other.0.get(key)?;
            Some((*key, *mine.min(theirs)))
        });
        GtidState(shared.collect()).position()
    }

    /// The transactions of `self` that restores gave up: the last one of each server.
    pub fn in_any(&self, given_up: &[GivenUp]) -> Vec<String> {
        let all = self.0.iter();
        all.filter(|((domain, _), sequence)| given_up.iter().any(|one| one.has(*domain, **sequence)))
            .map(|((domain, server), sequence)| format!("{domain}-{server}-{sequence}"))
            .collect()
    }

    /// What is left of `self` without what restores gave up.
    pub fn without(&self, given_up: &[GivenUp]) -> GtidState {
        let all = self.0.iter().map(|((domain, server), sequence)| {
            let kept = given_up
                .iter()
                .filter(|one| one.has(*domain, *sequence))
                .map(|one| one.kept);
            ((*domain, *server), kept.min().unwrap_or(*sequence))
        });
        GtidState(all.collect())
    }

    /// Whether a server at the position `self` has all that one at `other` has.
    pub fn covers(&self, other: &GtidState) -> bool {
        let mine = self.by_domain();
        let theirs = other.by_domain();
        theirs
            .iter()
            .all(|(domain, sequence)| mine.get(domain).is_some_and(|mine| mine >= sequence))
    }

    /// Transactions that one at `other` has beyond `self`.
    pub fn missing(&self, other: &GtidState) -> u64 {
        let mine = self.by_domain();
        let theirs = other.by_domain().into_iter();
        theirs
            .map(|(domain, sequence)| sequence.saturating_sub(mine.get(&domain).copied().unwrap_or(0)))
            .fold(0, u64::saturating_add)
    }

    fn by_domain(&self) -> BTreeMap<u32, u64> {
        let mut highest = BTreeMap::new();
        for ((domain, _), sequence) in &self.0 {
            let best = highest.entry(*domain).or_insert(0);
            *best = (*sequence).max(*best);
        }
        highest
    }

    /// The transactions of `self` that `primary` never had: its errant ones. `seeded` is the position at which the primary
    /// was itself copied from another server: what is older than that in a domain is part of the copy, though its own log
    /// does not name the server that wrote it (facts/ha.md 1.4).
    pub fn errant(&self, primary: &GtidState, seeded: &GtidState) -> Vec<String> {
        let copied = |domain: u32| {
            let in_domain = seeded.0.iter().filter(|((of, _), _)| *of == domain);
            in_domain.map(|(_, sequence)| *sequence).max().unwrap_or(0)
        };
        let mut errant = Vec::new();
        for ((domain, server), sequence) in &self.0 {
            let known = primary.0.get(&(*domain, *server)).copied().unwrap_or(0);
            if *sequence > known.max(copied(*domain)) {
                errant.push(format!("{domain}-{server}-{sequence}"));
            }
        }
        errant
    }
}

impl std::fmt::Display for GtidState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, ((domain, server), sequence)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{GivenUp, GtidState};

    #[test]
    fn what_a_restore_gave_up_is_told_by_its_numbers() {
        // kept up to 120, goes on at 1 000 120; then once more, kept up to 1 000 150, goes on at 3 000 000
        let restores = ["0 120 1000120", "0 1000150 3000000", "nonsense", "0 1", "-1 2 3"];
        let restores: Vec<_> = restores.iter().filter_map(|text| GivenUp::read(text)).collect();
        assert_eq!(restores.len(), 2);
        // a server's log, what of it was given up, what is left
        let cases = [
            ("", "", ""),
            ("0-1-100", "", "0-1-100"),
            ("0-1-120", "", "0-1-120"),
            ("0-1-121", "0-1-121", "0-1-120"),
            ("0-1-90,0-2-150", "0-2-150", "0-1-90,0-2-120"),
            ("0-1-1000119", "0-1-1000119", "0-1-120"),
            ("0-1-1000120", "", "0-1-1000120"),
            ("0-1-1000151,0-2-120", "0-1-1000151", "0-1-1000150,0-2-120"),
            ("0-1-3000002", "", "0-1-3000002"),
            ("1-1-150", "", "1-1-150"),
        ];
        for (logged, lost, left) in cases {
            let logged = GtidState::read(logged);
            assert_eq!(logged.in_any(&restores).join(","), lost, "{logged}");
            assert_eq!(logged.without(&restores).to_string(), left, "{logged}");
        }
    }

    #[test]
    fn positions_are_compared_by_domain() {
        // one, other, whether it covers it, what it lacks
        let cases = [
            ("0-1-60", "0-1-60", true, 0),
            ("0-2-61", "0-1-60", true, 0),
            ("0-1-50,0-2-61", "0-1-66", false, 5),
            ("", "0-1-3,1-1-4", false, 7),
            ("0-1-3", "", true, 0),
        ];
        for (one, other, covers, missing) in cases {
            let (one, other) = (GtidState::read(one), GtidState::read(other));
            assert_eq!(
                (one.covers(&other), one.missing(&other)),
                (covers, missing),
                "{one} {other}"
            );
        }
        assert_eq!(
            GtidState::read("0-1-50,0-2-61,1-3-4").position().to_string(),
            "0-2-61,1-3-4"
        );
    }

    #[test]
    fn what_the_primary_never_had_is_errant() {
        // replica, primary, the primary's seed, errant
        let cases = [
            ("", "", "", ""),
            ("0-1-66", "0-1-66", "", ""),
            ("0-1-60", "0-1-66,0-2-70", "", ""),
            // measured: a replica that went on silently with a transaction of its own
            ("0-1-66,0-3-69,0-2-70", "0-1-66,0-2-70", "", "0-3-69"),
            ("0-1-67", "0-1-66", "", "0-1-67"),
            // the primary was copied at 0-1-100 and never saw what server 3 wrote long before
            ("0-3-50,0-1-100", "0-1-100,0-2-120", "0-1-100", ""),
            ("0-3-101,0-1-100", "0-1-100,0-2-120", "0-1-100", "0-3-101"),
            ("1-3-5", "0-1-100", "0-1-100", "1-3-5"),
            // nonsense of a host
            ("x,0-1,0-1-2-3,-1-2-3,0-99999999999-1", "", "", ""),
        ];
        for (replica, primary, seeded, errant) in cases {
            let read = GtidState::read;
            assert_eq!(
                read(replica).errant(&read(primary), &read(seeded)).join(","),
                errant,
                "{replica} of {primary}"
            );
        }
    }
}
