//! `backup:` of an inventory: where copies of the data go, how often, and how long they are kept.

pub mod build;
pub mod model;
pub mod raw;
mod rules;

pub use model::{Backup, Keep, Store, Target};
