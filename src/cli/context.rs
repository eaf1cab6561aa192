//! What verbs share: the console, the inventory with the command line's overrides, connections.

use std::sync::Arc;

use super::args::Global;
use crate::report::Console;

/// The command line's global part, resolved.
pub struct Context {
    /// Options of every verb.
    pub global: Global,
    /// Standard output and error.
    pub console: Arc<Console>,
}

impl Context {
    /// From the parsed options.
    pub fn new(global: Global) -> Self {
        let console = Arc::new(Console::standard(global.format, global.color, global.verbose));
        Context { global, console }
    }
}
