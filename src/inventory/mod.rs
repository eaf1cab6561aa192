//! YAML → typed [`Inventory`] with source spans, validation, secrets.

pub mod model;

pub use model::*;
