//! An inventory's text changed in place: that place and nothing else.

mod file;
pub mod refs;
pub mod sites;

pub use file::replace;
