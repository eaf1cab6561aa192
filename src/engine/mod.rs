//! Runs an approved plan.
//!
//! [`Engine::survey`] connects to the hosts, asks each its questions in one round trip and makes the plan;
//! [`Engine::execute`] carries an approved plan out. Everything that happens is an [`Event`]; reporters and the journal
//! only listen.

pub mod event;
mod execute;
pub mod history;
pub mod hooks;
pub mod interrupt;
pub mod journal;
pub mod link;
pub mod look;
mod progress;
mod request;
mod survey;

use std::sync::Arc;

pub use event::{Event, Events, HostSummary, StepOutcome, Summary};
pub use execute::Approved;
pub use interrupt::{Interrupt, Urgency};
pub use survey::{HostFailure, Survey, Surveyed};

use crate::error::Result;
use crate::inventory::{Host, Inventory};
use crate::plan::Desired;
use crate::resource::{Ask, Facts};
use crate::role::{SecretStore, Templates};
use crate::topology::HostView;

/// Questions of a verb beyond those of the plan, e.g. `status`.
pub type ExtraQuestions = Box<dyn Fn(&Host) -> Ask + Send + Sync>;

/// What a host should have, when that is not what [`crate::role::desired`] says.
pub type Declare = Box<dyn Fn(HostView, &Facts, &Templates, &dyn SecretStore) -> Result<Desired> + Send + Sync>;

/// One run.
pub struct Engine {
    /// What should be.
    pub inventory: Arc<Inventory>,
    /// How files are rendered.
    pub templates: Arc<Templates>,
    /// Secrets.
    pub secrets: Arc<dyn SecretStore + Send + Sync>,
    /// How hosts are reached.
    pub links: Arc<dyn link::Links>,
    /// Who listens.
    pub events: Events,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// The run's id ([`journal::run_id`]).
    pub run: String,
    /// Who runs it ([`journal::operator`]).
    pub who: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// What it does, e.g. `apply inventory.yml`; shown to those who find a host locked.
    pub doing: String,
    /// Ties plans to the inventory, its secrets and its templates.
    pub fingerprint: String,
    /// Whether hosts are going to be changed: one that is still busy with a run that was cut off is waited for before its
    /// plan is made, and one whose clock is wrong is refused.
    pub settles: bool,
    /// Asked together with the plan's questions.
    pub extra_questions: Option<ExtraQuestions>,
    /// What hosts should have by this run; `None`: what their roles say.
    pub declares: Option<Declare>,
}
