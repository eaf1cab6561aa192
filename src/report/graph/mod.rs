//! Pictures of a topology.

pub mod mermaid;
pub mod svg;
