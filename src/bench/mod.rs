//! A server that `bench` built: what to ask it ([`SCRIPT`]), what its answers say ([`Found`]), and the inventory that takes
//! it over ([`draft`]). Pure; everything from the host is its word and may be a lie.

mod apps;
mod around;
mod draft;
mod nginx;
mod process;
mod reading;
mod sites;
mod supervisor;
#[cfg(test)]
mod tests;
mod workers;

pub use draft::{Draft, Login, Remark, draft, one_bench};
pub use reading::{Found, read};

/// The questions, to be run as root with the bench's folder, or an empty word, as `$1`. Reads only.
pub const SCRIPT: &str = include_str!("ask.sh");
