//! What is done on which host: all of a stage side by side, one stage after the other, and nothing more after a failure.
//! Each step looks first whether it is done already, so that a plan which was cut off goes on where it was.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::decision::{Decision, Fence};
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

/// Logs are saved, the old primary is held off.
const FENCE: u8 = 1;
/// The candidate applies what it has, and takes the writes; applications are led there.
const LEAD: u8 = 2;
/// The old one waits and follows, the others remember.
const STEER: u8 = 3;
/// Nothing is left to do.
const CLOSE: u8 = 4;

/// Seconds that a candidate gets to apply what it has received.
const PATIENCE: u64 = 600;
/// The same while nobody can write because the primary hands over.
const PATIENCE_HANDING_OVER: u64 = 10;

/// Seconds for running jobs to end, when the database that they need is gone.
const JOBS_END: u64 = 5;
/// The same while it is there.
const JOBS_END_HANDING_OVER: u64 = 110;

/// The steps of a decision, host by host; `plan` is the run's id.
///
/// # Errors
/// A secret that is missing.
pub fn steps(
    topology: Topology,
    decision: &Decision,
    said: &BTreeMap<&str, Said>,
    plan: &str,
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
        let database = view.has(HostRole::Db);
        if database && decision.fence != Fence::HandsOver {
            add(
                FENCE,
                maker
                    .command("save what was received and logged", include_str!("save.sh"))
                    .into(),
            );
        }
        if topology.is_pair() && is_old && matches!(decision.fence, Fence::Stopped | Fence::HandsOver) {
            add(FENCE, maker.serves_no_more().into());
        }
        match &decision.fence {
            Fence::Stopped if is_old => add(FENCE, maker.stop().into()),
            Fence::HandsOver if is_old => {
                add(
                    FENCE,
                    maker.command("stop taking writes", include_str!("hand_over.sh")).into(),
                );
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
            Fence::Network | Fence::Assumed(_) if database || view.runs_app() => add(FENCE, maker.network().into()),
            _ => {}
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
        if database && !is_old && matches!(decision.fence, Fence::Stopped | Fence::Network | Fence::Assumed(_)) {
            add(
                STEER,
                maker
                    .command("remember who was replaced", include_str!("replaced.sh"))
                    .into(),
            );
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

    fn lead(&self, secrets: &dyn SecretStore) -> Result<Command> {
        let hands_over = self.decision.fence == Fence::HandsOver;
        let patience = if hands_over { PATIENCE_HANDING_OVER } else { PATIENCE };
        let script = format!(
            "MODE={}\nFENCE={}\nOLD_NAME=$OLD\nOLD={}\nPATIENCE={patience}\nRESCUE={}\npeer() {{ {} \"$@\"; }}\n{}",
            if hands_over { "switchover" } else { "crash" },
            sh(&self.decision.fence.word()),
            sh(&self.old.address.to_string()),
            u8::from(self.decision.rescue),
            sh_words(peers::reach(Circle::Databases, self.old)),
            match hands_over {
                true => include_str!("take_over.sh"),
                false => include_str!("lead.sh"),
            }
        );
        let mut command = self.command("take the writes", &script);
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
