//! What a run and its verbs say: on a terminal, as plain lines, as JSON.
//!
//! Reporters only listen: they run on a thread of their own, so a slow terminal never holds up the engine. What an event
//! means for the reader is in the pure [`progress`]; [`plain`] and [`terminal`] only differ in how they show it.

mod console;
pub mod graph;
pub mod json;
pub mod note;
pub mod paint;
pub mod plain;
pub mod plan_text;
pub mod progress;
mod reporter;
pub mod schema;
pub mod summary;
pub mod terminal;

pub use console::{Console, Format};
pub use note::Note;
pub use paint::{ColorChoice, Paint};
pub use plan_text::DiffMode;
pub use reporter::Reporter;
