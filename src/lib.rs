//! Builds and keeps high-availability stacks for Frappe/ERPNext on plain Linux servers.
//!
//! Data flows one way; see `docs/architecture.md`.
//!
//! ```text
//! inventory text ─► inventory ─► topology ─► role ─► plan ─► engine ─► report
//!                                  observed state ─►┘          │ ▲
//!                                                              ▼ │
//!                                                          transport ─► hosts
//! ```
#![forbid(unsafe_code)]

pub mod backup;
pub mod bench;
pub mod cli;
pub mod dns;
pub mod engine;
pub mod error;
pub mod failover;
pub mod inventory;
pub mod lab;
pub mod local;
pub mod plan;
pub mod quote;
pub mod report;
pub mod resource;
pub mod role;
pub mod secret;
pub mod topology;
pub mod transport;
