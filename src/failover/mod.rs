//! The crash plan: what all hosts say → who is dead, who takes over, what holds the old primary off → steps.
//!
//! Everything here is pure. `cli/crashplan` asks the hosts, shows what was decided, and has the engine carry the steps out.

pub mod candidate;
pub mod decision;
pub mod fence;
pub mod record;
pub mod rejoin;
pub mod steps;
pub mod survey;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod vote;

pub use decision::{Decision, Refused, Wish, decide};
pub use fence::{Fence, Power};
pub use survey::{Said, Sight, questions};
