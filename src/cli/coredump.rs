//! Secrets are in this process's memory, so it leaves no image of it behind.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// From here on a crash leaves no core file, of this process or of what it starts: `ssh`, `!secret exec:`, an editor and
/// hooks have secrets in their memory or environment, too.
///
/// The limit alone would not do, since a `core_pattern` that is a pipe does not heed it; that a process must not be dumped
/// alone would not do either, since it ends with `exec`. Only the soft limit is lowered: a program that is started from
/// here and wants core files of its own may raise it again.
pub fn none() {
    // Neither can fail: nothing is raised, and every Linux knows both.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let limit = getrlimit(Resource::Core);
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            ..limit
        },
    );
}
