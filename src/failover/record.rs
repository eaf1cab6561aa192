//! The record of a crash plan, which the new primary keeps: written before it takes its first write, and closed when everybody
//! knows. One that is open says that a plan was cut off, and what is left to do.

use super::decision::Fence;

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

impl Record {
    /// Reads what a host printed: its word, the last one counts.
    pub fn read(text: &str) -> Option<Record> {
        let value = |key: &str| {
            let mut lines = text.lines().rev();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' ').map(str::to_owned))
        };
        Some(Record {
            plan: value("plan")?,
            old: value("old")?,
            fence: Fence::read(&value("fence")?)?,
        })
    }
}

impl Fence {
    /// As a record has it.
    pub fn word(&self) -> String {
        match self {
            Fence::Stopped => "stopped".into(),
            Fence::Network => "network".into(),
            Fence::Assumed(how) => format!("assumed {}", how.replace(char::is_control, " ")),
            Fence::HandsOver => "hands-over".into(),
            Fence::Itself => "itself".into(),
        }
    }

    fn read(word: &str) -> Option<Fence> {
        Some(match word.split_once(' ').unwrap_or((word, "")) {
            ("stopped", _) => Fence::Stopped,
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
}
