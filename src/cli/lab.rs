//! `hactl lab`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};

use super::args::{InventoryArg, known_host};
use super::context::{Context, Ended};
use super::table::{self, Row};
use crate::engine::Summary;
use crate::error::Result;
use crate::inventory::{Files, Inventory};
use crate::lab::{Cable, DownOptions, Fleet, HostStatus, Lab, LabEvent, Suite, UpOptions};
use crate::quote::terminal;
use crate::report::note::Verdict;
use crate::report::{Format, Note};
use crate::resource::{Facts, Spec, System};
use crate::role;
use crate::topology::Topology;

/// Boot, break and mend a local fleet for an inventory
///
/// Its hosts are real Debian systems in systemd-nspawn on this machine; needs root.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Boot a host for every entry of the inventory, at its address, with the inventory's key
    Up {
        #[command(flatten)]
        inventory: InventoryArg,
        /// Let apt-get install what this machine lacks
        #[arg(long)]
        install: bool,
        /// Which Debian the hosts run
        #[arg(long, value_enum, default_value_t)]
        suite: SuiteArg,
        /// Boot hosts that have the inventory's Debian packages installed already, though nothing configured; made once
        /// and kept. Quicker to rehearse with, but real servers start without
        #[arg(long)]
        warm: bool,
    },
    /// End the hosts and remove their disks, network and everything else that up made
    Down {
        #[command(flatten)]
        inventory: InventoryArg,
        /// Keep the hosts' disks; the next up boots with them
        #[arg(long)]
        keep_disks: bool,
    },
    /// Show which hosts run, answer and are plugged in
    Status {
        #[command(flatten)]
        inventory: InventoryArg,
    },
    /// Cut a host from the network
    Cut(One),
    /// Plug it in again
    Heal(One),
    /// Take a host's power away: everything on it ends at once, its disk stays
    Kill(One),
    /// Boot a host again with its disk
    Boot(One),
}

#[derive(Debug, clap::Args)]
struct One {
    /// The host's name in the inventory
    host: String,
    #[command(flatten)]
    inventory: InventoryArg,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum SuiteArg {
    /// Debian 12
    #[default]
    Bookworm,
    /// Debian 13
    Trixie,
}

impl SuiteArg {
    /// What a host of it is before it was asked.
    fn facts(self) -> Facts {
        let version = match self {
            SuiteArg::Bookworm => "12",
            SuiteArg::Trixie => "13",
        };
        System::of("debian", version).map_or_else(Facts::assumed, System::assumed)
    }
}

impl From<SuiteArg> for Suite {
    fn from(arg: SuiteArg) -> Self {
        match arg {
            SuiteArg::Bookworm => Suite::Bookworm,
            SuiteArg::Trixie => Suite::Trixie,
        }
    }
}

/// Every package that a host of the inventory wants.
fn packages(context: &Context, inventory: &Inventory, suite: SuiteArg) -> Result<Vec<String>> {
    let templates = context.templates(inventory)?;
    let secrets = context.placeholders(inventory)?;
    let mut packages = BTreeSet::new();
    let facts = suite.facts();
    for view in Topology::of(inventory).hosts() {
        let desired = role::desired(view, &facts, &templates, &secrets)?;
        packages.extend(
            desired
                .resources
                .into_iter()
                .filter_map(|resource| match resource.spec {
                    Spec::Package(package) => Some(package.name),
                    _ => None,
                }),
        );
    }
    Ok(packages.into_iter().collect())
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    let started = Instant::now();
    let report = |event: LabEvent| tell(context, &event);
    match &args.verb {
        Verb::Up {
            inventory,
            install,
            suite,
            warm,
        } => {
            let loaded = context.inventory(inventory)?;
            let fleet = Fleet::of(&loaded.inventory)?;
            let warm = match warm {
                true => packages(context, &loaded.inventory, *suite)?,
                false => Vec::new(),
            };
            let options = UpOptions {
                install: *install,
                fuse: loaded.inventory.files == Files::Gluster,
                suite: (*suite).into(),
                warm,
                ..UpOptions::default()
            };
            let done = Lab::named(&loaded.inventory.cluster).up(&fleet, &options, &report)?;
            let (changed, unchanged) = (done.changed.len(), done.unchanged.len());
            let seconds = started.elapsed().as_secs();
            let cluster = &loaded.inventory.cluster;
            context.console.result(&format!(
                "lab {cluster}: {changed} hosts booted, {unchanged} ran already, {seconds} s\n"
            ));
            context.hint(format!("hactl apply {}", inventory.in_command()).trim_end());
            Ok(Ended::from(Summary {
                changed,
                unchanged,
                ms: super::hosts::millis(started),
                ..Summary::default()
            }))
        }
        Verb::Down { inventory, keep_disks } => {
            let lab = Lab::named(&context.inventory(inventory)?.inventory.cluster);
            let options = DownOptions {
                keep_disks: *keep_disks,
            };
            lab.down(&options, &report)?;
            Ok(Ended::with(0))
        }
        Verb::Status { inventory } => {
            let status = Lab::named(&context.inventory(inventory)?.inventory.cluster).status()?;
            context.console.result(&format!(
                "lab {}: {} on {}, {}\n",
                status.name,
                status.suite.word(),
                status.bridge,
                status.subnet
            ));
            show(context, &status.hosts);
            Ok(Ended::with(0))
        }
        Verb::Cut(one) => with_host(one, context, |lab, host| Ok(lab.cut(host, &report)?)),
        Verb::Heal(one) => with_host(one, context, |lab, host| Ok(lab.heal(host, &report)?)),
        Verb::Kill(one) => with_host(one, context, |lab, host| Ok(lab.kill(host, &report)?)),
        Verb::Boot(one) => with_host(one, context, |lab, host| {
            Ok(lab.boot(host, UpOptions::default().boot_deadline, &report)?)
        }),
    }
}

fn with_host(one: &One, context: &Context, act: impl FnOnce(&Lab, &str) -> Result<()>) -> Result<Ended> {
    let loaded = context.inventory(&one.inventory)?;
    known_host(&loaded.inventory, &one.host)?;
    act(&Lab::named(&loaded.inventory.cluster), &one.host)?;
    Ok(Ended::with(0))
}

fn show(context: &Context, hosts: &[HostStatus]) {
    let mut rows = Vec::new();
    for host in hosts {
        let connected = host.cable == Cable::Up;
        let (verdict, detail) = match (host.running, host.cable, host.ssh) {
            (false, ..) => (Verdict::Bad, "does not run"),
            (true, Cable::Cut | Cable::Absent, _) => (Verdict::Bad, "runs, cut from the network"),
            (true, Cable::Up, false) => (Verdict::Warning, "runs, sshd does not answer"),
            (true, Cable::Up, true) => (Verdict::Good, "runs"),
        };
        context.console.line(&Note::LabHost {
            host: host.name.clone(),
            address: host.address.to_string(),
            running: host.running,
            ssh: host.ssh,
            connected,
            memory: host.memory,
        });
        let memory = format!("{} MiB", host.memory >> 20);
        rows.push(Row {
            cells: vec![host.name.clone(), host.address.to_string(), memory],
            verdict,
            detail: detail.to_owned(),
        });
    }
    let header = ["HOST", "ADDRESS", "MEMORY", "STATE", "DETAIL"];
    context.console.result(&table::render(&header, &rows, &context.console));
}

/// An event of the lab, on the side.
fn tell(context: &Context, event: &LabEvent) {
    let seconds = |after: &Duration| format!("{}.{} s", after.as_secs(), after.subsec_millis() / 100);
    let (host, did) = match event {
        LabEvent::Waiting { for_what } => (None, format!("waiting for {for_what}")),
        LabEvent::Installing { packages } => (None, format!("installing {}", packages.join(", "))),
        LabEvent::BaseStarted { suite } => (None, format!("making the base of {} (once)", suite.word())),
        LabEvent::BaseProgress { suite, line } => (None, format!("base of {}: {line}", suite.word())),
        LabEvent::BaseFinished { suite } => (None, format!("the base of {} is ready", suite.word())),
        LabEvent::NetworkReady { bridge } => (None, format!("network {bridge} stands")),
        LabEvent::HostStarted { host } => (Some(host), "boots".to_owned()),
        LabEvent::HostReady { host, after } => (Some(host), format!("lets people log in after {}", seconds(after))),
        LabEvent::HostUnchanged { host } => (Some(host), "runs already".to_owned()),
        LabEvent::HostCut { host } => (Some(host), "is cut from the network".to_owned()),
        LabEvent::HostHealed { host } => (Some(host), "is plugged in again".to_owned()),
        LabEvent::HostEnded { host } => (Some(host), "ended".to_owned()),
        LabEvent::Removed => (None, "nothing of the lab is left".to_owned()),
    };
    let did = terminal(&did);
    if context.console.format == Format::Text {
        let who = host.map_or("lab", |host| host.as_str());
        context.console.say(&format!("{who}: {did}\n"));
    }
    context.console.line(&Note::Lab {
        host: host.cloned(),
        did,
    });
}
