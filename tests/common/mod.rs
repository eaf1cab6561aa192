//! Shared by the integration tests; each uses a part of it.
#![allow(dead_code, reason = "every test binary uses another part")]

pub mod crash;
pub mod inside;
pub mod lab;
pub mod load;
pub mod model;
pub mod release_host;
pub mod releases;
pub mod sampler;
pub mod sandbox;
pub mod sshd;
pub mod stack;
pub mod trial;
pub mod vault;
pub mod visitor;
