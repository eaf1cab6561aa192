//! Runs an approved plan.
//!
//! [`survey`] connects to the hosts, asks each its questions in one round trip and makes the plan; [`execute`] carries an
//! approved plan out. Everything that happens is an [`Event`]; reporters and the journal only listen.

pub mod event;

pub use event::{Event, Events, HostSummary, StepOutcome, Summary};
