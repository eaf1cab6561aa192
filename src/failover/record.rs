//! The record of a crash plan, which the new primary keeps: written before it takes its first write, and closed when everybody
//! knows. One that is open says that a plan was cut off, and what is left to do.

use super::fence::Fence;

/// Shell that prints those that are open, each as `KEY VALUE` lines, and `unread PLAN` for those that are closed and could not
/// read the old primary's log.
pub const QUESTION: &str = r#"for record in /var/lib/hactl/failover/*; do
    case $record in
    *.open) cat "$record" ;;
    *) ! grep -qsx 'log unread' "$record" || echo "unread ${record##*/}" ;;
    esac
done"#;

/// Plans that could not read the old primary's log, of an answer to [`QUESTION`].
pub fn unread(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("unread "));
    lines.map(str::to_owned).collect()
}

/// A plan that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its run.
    pub plan: String,
    /// Whose place was taken.
    pub old: String,
    /// What holds that one off.
    pub fence: Fence,
}

/// Shell that prints what crash plans left: the last one that moved the writer, and who was to be fed by whom.
pub const LEFT: &str = r#"kept=/var/lib/hactl/failover
if [ -r "$kept/moved" ]; then cat "$kept/moved"; printf 'now %s\n' "$(date +%s)"; fi
[ ! -r "$kept/feeds" ] || cat "$kept/feeds""#;

/// The last crash plan that moved the writer. Every database keeps it, for the new primary may be the next to die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its run.
    pub plan: String,
    /// Whose place was taken.
    pub old: String,
    /// By whom.
    pub new: String,
    /// Who ran it.
    pub by: String,
    /// Seconds ago, by the clock of the host that says so.
    pub age: u64,
}

impl Moved {
    /// Reads what a host printed for [`LEFT`].
    pub fn read(text: &str) -> Option<Moved> {
        let at: u64 = value(text, "moved_at")?.parse().ok()?;
        let now: u64 = value(text, "now")?.parse().ok()?;
        Some(Moved {
            plan: value(text, "moved_by_plan")?,
            old: value(text, "moved_from")?,
            new: value(text, "moved_to")?,
            by: value(text, "moved_by")?,
            // A clock that was set back makes it young, not old.
            age: now.saturating_sub(at),
        })
    }

    /// For people.
    pub fn words(&self) -> String {
        let safe = crate::quote::terminal;
        let ago = match self.age / 60 {
            0 => format!("{} s", self.age),
            1 => "a minute".into(),
            minutes => format!("{minutes} minutes"),
        };
        format!(
            "{} made {} the primary in place of {} {ago} ago (crash plan {})",
            safe(&self.by),
            safe(&self.new),
            safe(&self.old),
            safe(&self.plan)
        )
    }
}

/// One that was to take over, and follows nobody or gets what it lacks from another first, when the plan was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fed {
    /// Whose place it was to take.
    pub old: String,
    /// Who had more; the same as `old` when nobody had.
    pub from: String,
}

impl Fed {
    /// Reads what a host printed for [`LEFT`].
    pub fn read(text: &str) -> Option<Fed> {
        Some(Fed {
            old: value(text, "fed_for")?,
            from: value(text, "fed_from")?,
        })
    }
}

/// The last value of that key.
fn value(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().rev();
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' ').map(str::to_owned))
}

impl Record {
    /// Reads what a host printed: its word, the last one counts.
    pub fn read(text: &str) -> Option<Record> {
        Some(Record {
            plan: value(text, "plan")?,
            old: value(text, "old")?,
            fence: Fence::read(&value(text, "fence")?)?,
        })
    }
}

impl Fence {
    /// As a record has it.
    pub fn word(&self) -> String {
        match self {
            Fence::Stopped => "stopped".into(),
            Fence::PoweredOff => "powered-off".into(),
            Fence::Network => "network".into(),
            Fence::Assumed(how) => format!("assumed {}", how.replace(char::is_control, " ")),
            Fence::HandsOver => "hands-over".into(),
            Fence::Itself => "itself".into(),
        }
    }

    fn read(word: &str) -> Option<Fence> {
        Some(match word.split_once(' ').unwrap_or((word, "")) {
            ("stopped", _) => Fence::Stopped,
            ("powered-off", _) => Fence::PoweredOff,
            ("network", _) => Fence::Network,
            ("assumed", how) => Fence::Assumed(how.to_owned()),
            ("hands-over", _) => Fence::HandsOver,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        for fence in [
            Fence::Stopped,
            Fence::PoweredOff,
            Fence::Network,
            Fence::Assumed("powered off, by hand".into()),
            Fence::HandsOver,
        ] {
            let text = format!(
                "plan 1-a\nmode crash\nold db1\nfence {}\nat 0-1-5\nopened now\n",
                fence.word()
            );
            let wanted = Record {
                plan: "1-a".into(),
                old: "db1".into(),
                fence,
            };
            assert_eq!(Record::read(&text), Some(wanted));
        }
        assert_eq!(Record::read(""), None);
        assert_eq!(unread("plan 2-b\nold db1\nunread 1-a\nlog unread\n"), ["1-a"]);
        assert_eq!(Record::read("plan x\nold db1\nfence none of these\n"), None);
    }

    #[test]
    fn what_crash_plans_left_is_read_as_it_was_written() {
        let text = "moved_by_plan 1-a\nmoved_from db1\nmoved_to db2\nmoved_by root@desk\nmoved_at 1000\nnow 1720\n";
        let moved = Moved::read(text).unwrap();
        assert_eq!(moved.age, 720);
        assert_eq!(
            moved.words(),
            "root@desk made db2 the primary in place of db1 12 minutes ago (crash plan 1-a)"
        );
        // a clock that was set back
        assert_eq!(Moved::read(&text.replace("now 1720", "now 10")).unwrap().age, 0);
        for text in [
            "",
            "moved_at yesterday\nnow 1\n",
            "moved_by_plan 1\nmoved_at 1\nnow 2\n",
        ] {
            assert_eq!(Moved::read(text), None, "{text}");
        }
        let fed = Fed {
            old: "db1".into(),
            from: "db3".into(),
        };
        assert_eq!(Fed::read("fed_for db1\nfed_from db3\n"), Some(fed));
        assert_eq!(Fed::read(text), None);
    }
}
