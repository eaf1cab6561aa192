//! What is done on which host: all of a stage side by side, one stage after the other, and nothing more after a failure.
//! Each step looks first whether it is done already, so that a plan which was cut off goes on where it was.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::decision::{Decision, Feed};
use super::fence::Fence;
use super::survey::Said;
use crate::error::Result;
use crate::inventory::{Host, HostRole};
use crate::plan::Desired;
use crate::quote::{sh, sh_words};
use crate::resource::{Command, Guard, Holds, Resource, Spec};
use crate::role::peers::{self, Circle};
use crate::role::{SecretStore, dbcheck, endpoint, mariadb, pair, replication};
use crate::secret::{Secret, Text};
use crate::topology::Topology;

/// The role that steps belong to, in plans and journals.
pub const ROLE: &str = "crashplan";

/// The step after which the candidate takes the writes.
pub const TAKES: &str = "take the writes";
/// The step with which an old primary that is fine hands over.
pub const HANDS_OVER: &str = "stop taking writes";

/// Logs are saved, the old primary is held off.
const FENCE: u8 = 1;
/// Another one applies what it has and the candidate lacks.
const GIVE: u8 = 2;
/// The candidate gets that.
const FEED: u8 = 3;
/// The candidate applies what it has, and takes the writes; applications are led there.
const LEAD: u8 = 4;
/// The old one waits and follows, the others remember.
const STEER: u8 = 5;
/// Nothing is left to do.
const CLOSE: u8 = 6;

/// Seconds that a candidate gets to apply what it has received.
const PATIENCE: u64 = 600;
/// The same while nobody can write because the primary hands over.
const PATIENCE_HANDING_OVER: u64 = 10;

/// Seconds for running jobs to end, when the database that they need is gone.
const JOBS_END: u64 = 5;
/// The same while it is there.
const JOBS_END_HANDING_OVER: u64 = 110;

/// The steps of a decision, host by host; `plan` is the run's id, `by` who runs it.
///
/// # Errors
/// A secret that is missing.
pub fn steps(
    topology: Topology,
    decision: &Decision,
    said: &BTreeMap<&str, Said>,
    (plan, by): (&str, &str),
    secrets: &dyn SecretStore,
) -> Result<Vec<Desired>> {
    let hosts = &topology.inventory.hosts;
    let (Some(old), Some(new)) = (hosts.get(&decision.primary), hosts.get(&decision.candidate)) else {
        return Ok(Vec::new());
    };
    let maker = Maker {
        topology,
        decision,
        old,
        plan,
        by,
    };
    let mut all = Vec::new();
    for view in topology
        .hosts()
        .filter(|view| said.contains_key(view.host.name.as_str()))
    {
        let mut resources = Vec::new();
        let mut add = |stage, spec: Spec| {
            resources.push(Resource {
                role: ROLE,
                stage,
                spec,
            })
        };
        let (is_old, is_new) = (view.host.name == decision.primary, view.host.name == decision.candidate);
        // One that is held off from outside may answer still, and is gone when its power is.
        if is_old && decision.fence.is_outside() {
            continue;
        }
        let database = view.has(HostRole::Db);
        if database && decision.fence != Fence::HandsOver {
            add(FENCE, maker.save(!is_old && !is_new).into());
        }
        if topology.is_pair() && is_old && matches!(decision.fence, Fence::Stopped | Fence::HandsOver) {
            add(FENCE, maker.serves_no_more().into());
        }
        match &decision.fence {
            Fence::Stopped if is_old => add(FENCE, maker.stop().into()),
            Fence::HandsOver if is_old => {
                add(FENCE, maker.command(HANDS_OVER, include_str!("hand_over.sh")).into());
                add(
                    STEER,
                    maker
                        .command("wait for no replica any more", include_str!("demote.sh"))
                        .into(),
                );
                let password = secrets.secret(replication::PASSWORD)?;
                add(
                    STEER,
                    replication::replica(topology, new, password, Holds::Agrees).into(),
                );
                if topology.is_pair() {
                    for replica in pair::redis_follows(topology, new) {
                        add(STEER, replica.into());
                    }
                }
            }
            fence if fence.is_outside() && (database || view.runs_app()) => add(FENCE, maker.network().into()),
            _ => {}
        }
        if let Some(feed) = &decision.feed {
            if view.host.name == feed.from && feed.applies {
                add(GIVE, maker.gives(feed).into());
            }
            if is_new && let Some(from) = hosts.get(&feed.from) {
                add(FEED, maker.feed(feed, from, secrets)?.into());
            }
        }
        if is_new {
            add(LEAD, maker.lead(secrets)?.into());
            if topology.is_pair() && decision.fence != Fence::Itself {
                add(
                    LEAD,
                    maker.command("make Redis lead", &pair::redis_leads(topology)).into(),
                );
            }
        }
        if is_new && decision.fence != Fence::Itself {
            add(
                CLOSE,
                maker.command("close the record", include_str!("close.sh")).into(),
            );
        }
        if database && !is_old && decision.fence.replaces() {
            let text = format!("MOVED={}\n{}", sh(&maker.moved()), include_str!("replaced.sh"));
            add(STEER, maker.command("remember who was replaced", &text).into());
        }
        // Its brothers follow at once: commits wait for one of them again.
        let brother = !is_new && !is_old && decision.may_follow(&view.host.name);
        if database && brother && decision.fence != Fence::Itself {
            let password = secrets.secret(replication::PASSWORD)?;
            add(
                STEER,
                replication::replica(topology, new, password, Holds::Agrees).into(),
            );
        }
        if endpoint::has(&view) {
            // Beside the promotion: who comes meanwhile is refused by the one or by the other.
            add(
                LEAD,
                maker
                    .command("lead the application to the new primary", include_str!("steer.sh"))
                    .into(),
            );
        }
        if !resources.is_empty() {
            all.push(Desired {
                host: view.host.name.clone(),
                resources,
            });
        }
    }
    Ok(all)
}

/// A step: shell that finds `$PLAN`, the run's id, `$OLD` and `$NEW`, names of hosts.
pub(super) fn script(plan: &str, old: &str, new: &str, name: &str, text: &str) -> Command {
    let names = format!("PLAN={} OLD={} NEW={}\n", sh(plan), sh(old), sh(new));
    Command {
        deadline: Duration::from_secs(60),
        ..Command::by_root(name, vec![Guard::Asked], names + text)
    }
}

struct Maker<'a> {
    topology: Topology<'a>,
    decision: &'a Decision,
    old: &'a Host,
    plan: &'a str,
    by: &'a str,
}

impl Maker<'_> {
    fn command(&self, name: &str, script: &str) -> Command {
        self::script(
            self.plan,
            &self.decision.primary,
            &self.decision.candidate,
            name,
            script,
        )
    }

    fn save(&self, other: bool) -> Command {
        let script = format!("OTHER={}\n{}", u8::from(other), include_str!("save.sh"));
        self.command("save what was received and logged", &script)
    }

    fn stop(&self) -> Command {
        let why = format!("by crash plan {}: {} takes over", self.plan, self.decision.candidate);
        let name = "stop MariaDB, and keep it from starting";
        self.command(name, &format!("WHY={}\n{}", sh(&why), include_str!("stop.sh")))
    }

    /// Of a pair, what serves and works ends where the old primary is.
    fn serves_no_more(&self) -> Command {
        let jobs_end = match self.decision.fence {
            Fence::HandsOver => JOBS_END_HANDING_OVER,
            _ => JOBS_END,
        };
        let script = format!("JOBS_END={jobs_end}\n{}", pair::serves_no_more(self.topology));
        Command {
            deadline: Duration::from_secs(jobs_end + 60),
            ..self.command("stop what serves and works", &script)
        }
    }

    fn network(&self) -> Command {
        let ports = [self.topology.inventory.mariadb.port, dbcheck::PORT];
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let script = format!(
            "OLD={}\nPORTS={}\n{}",
            sh(&self.old.address.to_string()),
            sh(&ports.join(", ")),
            include_str!("network.sh")
        );
        self.command(&format!("cut {} off", self.old.name), &script)
    }

    /// What every database keeps of it; see [`super::record::Moved`].
    fn moved(&self) -> String {
        let Maker { decision, plan, by, .. } = self;
        format!(
            "moved_by_plan {plan}\nmoved_from {}\nmoved_to {}\nmoved_by {by}",
            decision.primary, decision.candidate
        )
    }

    fn gives(&self, feed: &Feed) -> Command {
        let until = sh(&feed.until.to_string());
        let script = format!("UNTIL={until}\nPATIENCE={PATIENCE}\n{}", include_str!("gives.sh"));
        Command {
            deadline: Duration::from_secs(PATIENCE + 60),
            ..self.command("apply what was received", &script)
        }
    }

    fn feed(&self, feed: &Feed, from: &Host, secrets: &dyn SecretStore) -> Result<Command> {
        let password = secrets.secret(replication::PASSWORD)?;
        let link = replication::replica(self.topology, from, password, Holds::Agrees).link();
        let script = format!(
            "cat >\"$R/link\"\n{}FROM_NAME={}\nUNTIL={}\n{}{}",
            self.drains(PATIENCE),
            sh(&feed.from),
            sh(&feed.until.to_string()),
            include_str!("drain.sh"),
            include_str!("feed.sh")
        );
        Ok(Command {
            deadline: Duration::from_secs(2 * PATIENCE + 60),
            input: Some(Text::Secret(link)),
            ..self.command(&format!("get what only {} has", feed.from), &script)
        })
    }

    /// Variables of drain.sh.
    fn drains(&self, patience: u64) -> String {
        format!(
            "OLD_NAME=$OLD\nOLD={}\nPATIENCE={patience}\npeer() {{ {} \"$@\"; }}\n",
            sh(&self.old.address.to_string()),
            sh_words(peers::reach(Circle::Databases, self.old)),
        )
    }

    fn lead(&self, secrets: &dyn SecretStore) -> Result<Command> {
        let hands_over = self.decision.fence == Fence::HandsOver;
        let patience = if hands_over { PATIENCE_HANDING_OVER } else { PATIENCE };
        let script = format!(
            "MODE={}\nFENCE={}\nMOVED={}\nRESCUE={}\n{}{}",
            if hands_over { "switchover" } else { "crash" },
            sh(&self.decision.fence.word()),
            sh(&self.moved()),
            u8::from(self.decision.rescue),
            self.drains(patience),
            match hands_over {
                true => include_str!("take_over.sh"),
                false => concat!(include_str!("drain.sh"), include_str!("lead.sh")),
            }
        );
        let mut command = self.command(TAKES, &script);
        command.deadline = Duration::from_secs(patience + 60);
        if hands_over {
            command.input = Some(self.options(self.old.address, secrets)?);
        }
        Ok(command)
    }

    /// Options by which the candidate asks the old primary where its log ends.
    fn options(&self, address: IpAddr, secrets: &dyn SecretStore) -> Result<Text> {
        let password = secrets.secret(replication::PASSWORD)?;
        let quoted = password.reveal().replace('\\', "\\\\").replace('"', "\\\"");
        Ok(Text::Secret(Secret::new(format!(
            "[client]\nhost={address}\nport={}\nprotocol=tcp\nuser={}\npassword=\"{quoted}\"\nconnect-timeout=3\n\
             ssl-ca={}\nssl-verify-server-cert\n",
            self.topology.inventory.mariadb.port,
            replication::REPLICATION_USER,
            mariadb::AUTHORITY,
        ))))
    }
}
