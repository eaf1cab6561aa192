//! Whether a host's clock agrees with this machine's.

use std::time::SystemTime;

/// Seconds that deserve a look.
pub const SOME: u64 = 3;

/// Seconds that break certificates, package lists, sessions and replication.
pub const TOO_MUCH: u64 = 60;

/// What to do about a clock that is off.
pub const MEND: &str = "let the hosts keep time: apt-get install systemd-timesyncd (or chrony)";

/// How far a clock is off, at least; the answer took its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew {
    /// Seconds.
    pub seconds: u64,
    /// Whether it is ahead of this machine's.
    pub ahead: bool,
}

impl Skew {
    /// Of a clock that said `theirs` some time between `before` and `after`, all in seconds since the epoch.
    pub fn of(theirs: u64, before: u64, after: u64) -> Self {
        Skew {
            seconds: before.saturating_sub(theirs).max(theirs.saturating_sub(after)),
            ahead: theirs > after,
        }
    }
}

impl std::fmt::Display for Skew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.ahead { "ahead of" } else { "behind" };
        write!(f, "{} s {way} this machine's", self.seconds)
    }
}

/// Seconds since the epoch on this machine's clock.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_cannot_tell_is_not_held_against_a_host() {
        assert_eq!(Skew::of(105, 100, 110), Skew::default());
        assert_eq!(Skew::of(90, 100, 110).to_string(), "10 s behind this machine's");
        assert_eq!(Skew::of(3710, 100, 110).to_string(), "3600 s ahead of this machine's");
    }
}
