//! Where hosts wait for each other: what has a higher number starts on any host only after all hosts did what has a lower
//! one. One server waits for nobody; stages that nothing happens in cost nothing.

use crate::plan::Plan;

/// Data stores take connections, and the primary writes.
pub const STORES: u8 = 0;
/// The volume of the files, from daemons that all run.
pub const VOLUME: u8 = FOLLOWS;
/// Every host mounts it.
pub const MOUNTED: u8 = PROTECTED;
/// Replicas follow.
pub const FOLLOWS: u8 = 10;
/// The primary waits for its replicas.
pub const PROTECTED: u8 = 20;
/// The host of a pair that waits stops what serves, if it did so until now.
pub const YIELDS: u8 = 25;
/// The other one takes the last files from it, before anything is started.
pub const HANDED_OVER: u8 = 27;
/// The application, which needs a database that takes writes. Its release is built.
pub const APPLICATION: u8 = 30;
/// The other hosts take the release from the one that built it.
pub const TAKEN: u8 = 32;
/// The release goes into service: the hosts do that together, and wait for each other in it. All of them, and at once.
pub const RELEASE: u8 = 34;
/// What serves starts: sites are made by then.
pub const SERVES: u8 = 36;
/// Behind everything of all hosts: old passwords end.
pub const LAST: u8 = u8::MAX;

/// Takes out the barrier before what serves where no release is taken or changed: nothing has to be waited for then, and a
/// host's configuration changes in its turn together with what reads it.
pub fn join(plan: &mut Plan) {
    let mut steps = plan.hosts.iter().flat_map(|host| &host.steps);
    if steps.any(|step| (TAKEN..=RELEASE).contains(&step.stage)) {
        return;
    }
    for step in plan.hosts.iter_mut().flat_map(|host| &mut host.steps) {
        if step.stage == SERVES {
            step.stage = APPLICATION;
        }
    }
}
