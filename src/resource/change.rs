//! What a plan says about one resource.

use serde::{Deserialize, Serialize};

/// What is going to happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It does not exist yet.
    Create,
    /// It differs.
    Update,
    /// It must go.
    Remove,
    /// A service starts.
    Start,
    /// A service reads its configuration again.
    Reload,
    /// A service restarts.
    Restart,
    /// A guarded command runs.
    Run,
    /// It cannot be known before an earlier step is done; it will be looked at then and changed only if it differs.
    Check,
}

impl Action {
    /// One character for a plan's margin.
    pub const fn sign(self) -> char {
        match self {
            Action::Create => '+',
            Action::Update => '~',
            Action::Remove => '-',
            Action::Start | Action::Reload | Action::Restart => '!',
            Action::Run => '>',
            Action::Check => '?',
        }
    }
}

/// A change of one resource, as planned: serialisable and free of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// Why, or what exactly, in a few words: `mode 0644 → 0640`, `nginx.conf changed`.
    pub summary: String,
    /// Unified diff of a text that may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Fingerprint of what the host had when this was planned (`sha256:...`); the step refuses when it has something else
    /// by then. `None`: nothing to hold on to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects: Option<String>,
}

impl Change {
    /// A change without a diff.
    pub fn new(action: Action, summary: impl Into<String>) -> Self {
        Change {
            action,
            summary: summary.into(),
            diff: None,
            expects: None,
        }
    }
}

/// Joins reasons; `None` when there is none.
pub(crate) fn update_for(reasons: Vec<String>) -> Option<Change> {
    (!reasons.is_empty()).then(|| Change::new(Action::Update, reasons.join(", ")))
}
