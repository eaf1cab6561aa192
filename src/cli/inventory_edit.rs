//! The inventory's file as a part of what a verb changes.

use super::change::Deed;
use super::context::Context;
use crate::error::Result;
use crate::inventory::{Inventory, edit};

/// A change of the inventory's file that goes with one of hosts.
pub struct Edit<'a> {
    context: &'a Context,
    path: std::path::PathBuf,
    before: std::sync::Arc<str>,
    after: String,
    said: String,
}

impl<'a> Edit<'a> {
    /// The text becomes `after` when the plan is agreed to; `said` begins the sentence that tells so.
    pub fn new(context: &'a Context, inventory: &Inventory, after: String, said: String) -> Self {
        Edit {
            context,
            path: inventory.path.clone(),
            before: std::sync::Arc::clone(&inventory.source.text),
            after,
            said,
        }
    }
}

impl Deed for Edit<'_> {
    fn begin(&self) -> Result<()> {
        edit::replace(&self.path, &self.before, &self.after)?;
        self.context
            .console
            .say(&format!("{} {}\n", self.said, self.path.display()));
        Ok(())
    }

    fn undo(&self) -> Result<()> {
        edit::replace(&self.path, &self.after, &self.before)?;
        self.context
            .console
            .say(&format!("no host was changed; {} is as it was\n", self.path.display()));
        Ok(())
    }
}
