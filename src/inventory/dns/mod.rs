//! `dns:` of an inventory: which names lead to the host that serves, and who changes where they lead.

pub mod build;
pub mod model;
pub mod raw;
mod rules;

pub use model::{Algorithm, Cloudflare, Dns, DnsProvider, DnsServer, ExecHook, Place, Rfc2136, Route53};
