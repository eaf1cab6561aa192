//! `hactl crashplan --drill`: the whole plan in a lab on this machine, with a copy of the inventory.
//!
//! The copy has other addresses, keys and secrets, and what a person would type is what runs: this very program, in a folder
//! and with a home of its own. The lab goes when it is over, however it ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::super::args::InventoryArg;
use super::super::context::{Context, Ended};
use crate::engine::{Interrupt, Urgency};
use crate::error::{Error, Kind, Result};
use crate::inventory::rehearsal::Rehearsal;
use crate::inventory::{self, Inventory, Tls};
use crate::quote::{sh, terminal};
use crate::report::note::DrillPart;
use crate::report::{Format, Note};
use crate::role::app;
use crate::topology::Topology;

/// Networks that are tried, when none is named: 10.79.0.0/24 to 10.79.15.0/24.
const NETWORKS: u8 = 16;
/// Lines of a program that failed that are shown.
const TAIL: usize = 30;

/// Rehearses a crash plan.
pub fn run(context: &Context, inventory: &InventoryArg, network: &str) -> Result<Ended> {
    let loaded = context.inventory(inventory)?;
    if !rustix::process::geteuid().is_root() {
        return Err(
            Error::usage("a drill boots a lab on this machine, which needs root: nothing was done")
                .hint("run it with sudo, or on a machine where you are root; it changes no real host"),
        );
    }
    if !Topology::of(&loaded.inventory).replicates() {
        return Err(Error::new(
            Kind::Refused,
            "there is only one database: nobody could take over, so there is nothing to rehearse",
        )
        .hint("add a second host with the role `db`; or restore a backup (hactl restore)"));
    }
    let folder = tempfile::Builder::new()
        .prefix("hactl-drill-")
        .tempdir()
        .map_err(|error| Error::internal(format!("no folder for the drill: {error}")))?;
    let network = chosen(network)?;
    let copy = Copy::make(&loaded.inventory, network, folder.path())?;
    let _only = only_one(&copy.inventory.cluster)?;
    let program = std::env::current_exe().map_err(|error| Error::internal(format!("cannot find myself: {error}")))?;
    context.block_on(async {
        let console = std::sync::Arc::clone(&context.console);
        let interrupt = Interrupt::from_signals(move |_| {
            console.say("interrupted: the lab is taken down\n");
        });
        let mut drill = Drill {
            context,
            folder: folder.path(),
            program,
            interrupt,
            parts: Vec::new(),
        };
        let done = drill.all(&copy).await;
        // However it went; nothing stops this.
        drill.interrupt = Interrupt::never();
        let down = drill.step("take the lab down", &["lab", "down"]).await;
        let ended = done?;
        down.map_err(|error| {
            error.hint(format!(
                "what is left of it: hactl lab down, with an inventory whose cluster is {}",
                copy.inventory.cluster
            ))
        })?;
        Ok(ended)
    })
}

/// The network that was named, or the first one that this machine does not have.
fn chosen(network: &str) -> Result<Ipv4Net> {
    if !network.is_empty() {
        let given = network.parse::<Ipv4Net>().ok();
        return given
            .filter(|net| net.prefix_len() == 24 && net.trunc() == *net && net.addr().is_private())
            .ok_or_else(|| {
                Error::usage(format!("--drill={network}: not a private /24 network")).hint("e.g. --drill=10.79.0.0/24")
            });
    }
    let said = std::process::Command::new("ip").args(["-4", "-o", "addr"]).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let free = (0..NETWORKS).find(|number| !said.contains(&format!(" 10.79.{number}.")));
    let number = free.ok_or_else(|| {
        Error::new(Kind::Refused, "no network is free for the drill").hint("name one: --drill=10.80.0.0/24")
    })?;
    Ok(Ipv4Net::new_assert(Ipv4Addr::new(10, 79, number, 0), 24))
}

/// Two drills of one cluster would take each other's lab down.
fn only_one(cluster: &str) -> Result<std::fs::File> {
    let path = PathBuf::from(format!("/run/hactl-{cluster}.lock"));
    let failed = |error: std::io::Error| Error::internal(format!("{}: {error}", path.display()));
    let file = std::fs::File::create(&path).map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Error::new(Kind::Locked, format!("a drill of {cluster} runs already")).hint("wait until it ends")
    })?;
    Ok(file)
}

/// The cluster in the lab.
struct Copy {
    inventory: Inventory,
    /// Whose power is taken away.
    primary: String,
    /// Where somebody writes.
    writer: String,
    /// Through which endpoint: shell variables.
    endpoint: String,
}

impl Copy {
    /// Writes it down, and reads it again: what reaches anything real must not be in it.
    fn make(real: &Inventory, network: Ipv4Net, folder: &Path) -> Result<Copy> {
        let path = folder.join("inventory.yml");
        let failed = |error: std::io::Error| Error::internal(format!("{}: {error}", path.display()));
        let mut cluster = format!("drill-{}", real.cluster);
        cluster.truncate(32);
        let rehearsal = Rehearsal {
            cluster: cluster.trim_end_matches('-').to_owned(),
            addresses: addresses(real, network)?,
            templates: real.templates.clone(),
        };
        let mut secret = || format!("{:032x}", rand::random::<u128>());
        let text = rehearsal.copy(&real.source.text, &mut secret)?;
        std::fs::write(&path, text).map_err(failed)?;
        if !real.roles.is_empty()
            && let Some(roles) = real.path.parent().map(|parent| parent.join(inventory::roles::FOLDER))
        {
            std::os::unix::fs::symlink(roles, folder.join(inventory::roles::FOLDER)).map_err(failed)?;
        }
        let loaded = inventory::load(&path).map_err(|error| {
            Error::new(
                Kind::Refused,
                format!("this inventory cannot be copied for a drill:\n{}", error.message),
            )
        })?;
        let copy = loaded.inventory;
        if let Some(left) = outside(&copy, network) {
            return Err(Error::new(
                Kind::Refused,
                format!("this inventory cannot be copied for a drill: {left}"),
            ));
        }
        let (primary, writer, endpoint) = who(&copy)?;
        Ok(Copy {
            inventory: copy,
            primary,
            writer,
            endpoint,
        })
    }
}

/// Whose power is taken away, where somebody writes, and through which endpoint.
fn who(copy: &Inventory) -> Result<(String, String, String)> {
    let topology = Topology::of(copy);
    let primary = topology.writer().map(|host| host.name.clone()).unwrap_or_default();
    let view = topology
        .hosts()
        .find(|view| view.runs_app() && view.host.name != primary)
        .ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "only the primary's own host runs the application: nobody could go on writing in a drill",
            )
        })?;
    let endpoint = app::database(&view);
    let endpoint = format!("HOST={} PORT={}\n", sh(&endpoint.host.to_string()), endpoint.port);
    Ok((primary, view.host.name.clone(), endpoint))
}

/// Each address of hosts and VIPs, and the one in the lab: with the same end where all have different ones.
fn addresses(real: &Inventory, network: Ipv4Net) -> Result<BTreeMap<Ipv4Addr, Ipv4Addr>> {
    let hosts = real.hosts.values().map(|host| host.address);
    let vips = real.vip.values().map(|vip| vip.address.addr());
    let mut all = Vec::new();
    for address in hosts.chain(vips) {
        let IpAddr::V4(address) = address else {
            return Err(
                Error::new(Kind::Refused, format!("a lab has IPv4 only, and {address} is not"))
                    .hint("a drill needs hosts with IPv4 addresses"),
            );
        };
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let [one, two, three, _] = network.addr().octets();
    let ends: Vec<u8> = all.iter().map(|address| address.octets()[3]).collect();
    let unique = ends.iter().collect::<std::collections::BTreeSet<_>>().len() == ends.len();
    let usable = unique && ends.iter().all(|end| (2..255).contains(end));
    let end = |number: usize, own: u8| match usable {
        true => Some(own),
        false => u8::try_from(number + 11).ok().filter(|end| *end < 255),
    };
    let pairs = all.iter().enumerate().map(|(number, address)| {
        let end = end(number, address.octets()[3])?;
        Some((*address, Ipv4Addr::new(one, two, three, end)))
    });
    pairs
        .collect::<Option<_>>()
        .ok_or_else(|| Error::new(Kind::Refused, "a lab has room for 244 addresses"))
}

/// What of a copy would reach anything real.
fn outside(copy: &Inventory, network: Ipv4Net) -> Option<String> {
    let inside = |address: IpAddr| matches!(address, IpAddr::V4(address) if network.contains(&address));
    if let Some(host) = copy.hosts.values().find(|host| !inside(host.address)) {
        return Some(format!("host {} would be {}", host.name, host.address));
    }
    let own = copy.path.parent();
    let elsewhere = |host: &&inventory::Host| {
        host.ssh.jump.is_some() || host.ssh.identity_file.as_deref().and_then(Path::parent) != own
    };
    if let Some(host) = copy.hosts.values().find(elsewhere) {
        return Some(format!("host {} would be reached in a way of its own", host.name));
    }
    let vip = copy.vip.values().find(|vip| match vip.address {
        IpNet::V4(net) => !network.contains(&net.addr()),
        IpNet::V6(_) => true,
    });
    if let Some(vip) = vip {
        return Some(format!("a vip would be {}", vip.address));
    }
    let real = |tls: &Tls| !matches!(tls, Tls::None | Tls::SelfSigned);
    if let Some(site) = copy.sites.iter().find(|site| real(&site.tls)) {
        return Some(format!("{} would get a real certificate", site.name));
    }
    let hooks = &copy.hooks;
    let any = copy.dns.is_some() || copy.power.is_some() || *hooks != inventory::Hooks::default();
    any.then(|| "names, switches or hooks would be left in it".to_owned())
}

struct Drill<'a> {
    context: &'a Context,
    folder: &'a Path,
    program: PathBuf,
    interrupt: Interrupt,
    parts: Vec<DrillPart>,
}

/// Who took the writes in a drill.
struct Led {
    new: String,
    /// Whether all that follows from it is done.
    complete: bool,
}

/// What a program printed.
type Lines = Vec<String>;

impl Drill<'_> {
    async fn all(&mut self, copy: &Copy) -> Result<Ended> {
        let lab = copy.inventory.cluster.as_str();
        // What a drill left that was killed.
        let _ = self.quiet(&["lab", "down"]).await;
        self.step("boot the lab", &["lab", "up", "--warm"]).await?;
        self.step("build the cluster", &["apply", "--yes"]).await?;
        self.step("make a table", &Self::exec(&copy.primary, ACCOUNT)).await?;
        self.step("get a client", &Self::exec(&copy.writer, CLIENT)).await?;
        let script = format!("{}{}", copy.endpoint, include_str!("drill.sh"));
        let mut writer = self.start(&Self::exec(&copy.writer, &script), Stdio::null(), Stdio::null())?;
        let written = self.step("begin to write", &Self::exec(&copy.writer, WRITES)).await;
        let seen = match written {
            Ok(_) => self.crash(copy).await,
            Err(error) => Err(error),
        };
        end(&mut writer).await;
        let (led, seen) = seen?;
        let value = |key: &str| -> Result<u64> {
            let line = seen
                .iter()
                .find_map(|line| line.split(' ').skip_while(|word| *word != key).nth(1));
            line.and_then(|value| value.parse().ok())
                .ok_or_else(|| Error::internal(format!("the writer did not say `{key}`: {}", seen.join("; "))))
        };
        let (acknowledged, lost) = (value("acknowledged")?, value("lost")?);
        let (first, outage) = (value("first")?, value("gap")?);
        self.report(copy, &led, (first, outage), (acknowledged, lost));
        self.context.console.line(&Note::Drill {
            lab: lab.to_owned(),
            old: copy.primary.clone(),
            new: led.new,
            complete: led.complete,
            command_to_commit_ms: first,
            outage_ms: outage,
            acknowledged,
            lost,
            parts: self.parts.clone(),
        });
        Ok(Ended::with(match lost {
            0 => 0,
            _ => Kind::HostFailed.exit_code(),
        }))
    }

    /// The primary dies, and the plan is carried out; gives who leads, and what the writer saw.
    async fn crash(&mut self, copy: &Copy) -> Result<(Led, Lines)> {
        self.step("kill the primary", &["lab", "kill", &copy.primary]).await?;
        let began = jiff::Timestamp::now().as_millisecond();
        let mut words = vec!["crashplan", "--yes", "--ack", "--format", "json"];
        if Topology::of(&copy.inventory).is_pair() {
            words.push("--assume-fenced=drill");
        }
        // With two databases no replica is left, which is no success of a crash plan, and what a drill is for.
        let said = self
            .step_that("crash plan", &words, &[0, i32::from(Kind::HostFailed.exit_code())])
            .await?;
        let event = said.iter().find(|line| line.contains("\"event\":\"failover\""));
        let event: Option<Note> = event.and_then(|line| serde_json::from_str(line).ok());
        let Some(Note::Failover {
            new,
            survey_ms,
            writable_ms,
            finished_ms,
            complete,
            ..
        }) = event
        else {
            return Err(Error::internal("the crash plan did not say how it went"));
        };
        for (part, ms) in [
            ("  of it: asking everybody", survey_ms),
            ("  of it: until writable", writable_ms),
            ("  of it: until all followed", finished_ms),
        ] {
            self.parts.push(DrillPart { part: part.into(), ms });
        }
        let script = format!("{}BEGAN={began}\n{}", copy.endpoint, include_str!("drill_end.sh"));
        let seen = self
            .step("look what is there", &Self::exec(&copy.writer, &script))
            .await?;
        Ok((Led { new, complete }, seen))
    }

    fn report(&self, copy: &Copy, led: &Led, (first, outage): (u64, u64), (acknowledged, lost): (u64, u64)) {
        let seconds = |ms: u64| format!("{}.{:02} s", ms / 1000, ms % 1000 / 10);
        let mut text = format!(
            "\ndrill of {}: {} died, {} took over\n\
             \x20 command to commit  {} (what a crash plan takes, without the time until somebody starts it)\n\
             \x20 nobody could write {}\n\
             \x20 lost               {lost} of {acknowledged} acknowledged rows\n\
             \x20 all is well        {}\n",
            copy.inventory.cluster,
            copy.primary,
            led.new,
            seconds(first),
            seconds(outage),
            match led.complete {
                true => "yes",
                false => "no: the crash plan names what is not, above; with two databases no replica is left",
            },
        );
        for part in &self.parts {
            text.push_str(&format!("  {:<28} {}\n", part.part, seconds(part.ms)));
        }
        self.context.console.result(&text);
    }

    fn exec<'a>(host: &'a str, script: &'a str) -> Vec<&'a str> {
        vec!["exec", "--limit", host, "--", "sh", "-c", script]
    }

    /// A part of the drill: shown, and its time kept. What it prints is given.
    async fn step(&mut self, what: &str, words: &[&str]) -> Result<Lines> {
        self.step_that(what, words, &[0]).await
    }

    /// The same for one that may end with other exit codes, too.
    async fn step_that(&mut self, what: &str, words: &[&str], fine: &[i32]) -> Result<Lines> {
        let console = &self.context.console;
        if console.format == Format::Text {
            console.say(&format!("drill: {what}\n"));
        }
        console.line(&Note::Lab {
            host: None,
            did: format!("drill: {what}"),
        });
        let began = Instant::now();
        let (code, lines, errors) = self.runs(words, true).await?;
        self.parts.push(DrillPart {
            part: what.to_owned(),
            ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        if code.is_some_and(|code| fine.contains(&code)) {
            return Ok(lines);
        }
        let all: Vec<_> = lines.iter().chain(&errors).collect();
        let last: String = all[all.len().saturating_sub(TAIL)..]
            .iter()
            .map(|line| format!("\n  | {}", terminal(line)))
            .collect();
        let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
        Err(Error::new(
            Kind::HostFailed,
            format!("the drill could not go on: {what} ended with {code}{last}"),
        )
        .hint("no real host was touched; the lab is taken down"))
    }

    async fn quiet(&mut self, words: &[&str]) -> Result<()> {
        self.runs(words, false).await.map(drop)
    }

    /// Runs this program with those words to its end; told to stop when the user wants to.
    async fn runs(&mut self, words: &[&str], shown: bool) -> Result<(Option<i32>, Lines, Lines)> {
        if self.interrupt.urgency() > Urgency::None {
            return Err(interrupted());
        }
        let mut child = self.start(words, Stdio::piped(), Stdio::piped())?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let console = &self.context.console;
        let show = |line: &str| {
            if shown && console.format == Format::Text {
                console.say(&format!("  {}\n", terminal(line)));
            }
        };
        // What a verb prints is shown at the end; of one that prints events each step is, when it begins.
        let events = |line: &str| {
            let event = match line.contains("\"step_started\"") {
                true => serde_json::from_str::<serde_json::Value>(line).unwrap_or_default(),
                false => return,
            };
            if let (Some(host), Some(step)) = (event["host"].as_str(), event["step"].as_str()) {
                show(&format!("{host}: {step}"));
            }
        };
        let mut interrupt = self.interrupt.clone();
        let mut stopped = false;
        let mut told = Urgency::None;
        let ends = async {
            let (out, err) = tokio::join!(read(out, &events), read(err, &show));
            (out, err)
        };
        tokio::pin!(ends);
        let (out, err) = loop {
            let next = match stopped {
                false => Urgency::Soon,
                true => Urgency::Now,
            };
            tokio::select! {
                both = &mut ends => break both,
                // The first time it ends when its running step has, the second time at once.
                () = interrupt.reaches(next), if next > told => {
                    told = next;
                    stopped = true;
                    signal(&child, Signal::INT);
                }
            }
        };
        let status = child.wait().await;
        if stopped {
            return Err(interrupted());
        }
        let status = status.map_err(|error| Error::internal(format!("cannot wait for it: {error}")))?;
        Ok((status.code(), out, err))
    }

    /// This program in the folder of the drill, which is its home: no key, identity or journal of whoever runs it.
    fn start(&self, words: &[&str], out: Stdio, err: Stdio) -> Result<Child> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let foreign = name.to_string_lossy();
            if (foreign.starts_with("HACTL_") && foreign != "HACTL_LAB_DIR") || foreign.starts_with("XDG_") {
                command.env_remove(&name);
            }
        }
        command
            .env_remove("SSH_AUTH_SOCK")
            .env("HOME", self.folder)
            .current_dir(self.folder)
            .args(words)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C is for the drill, which passes it on.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::internal(format!("cannot start {}: {error}", self.program.display())))
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "interrupted; no real host was touched")
}

/// All lines, each shown as it comes.
async fn read(from: Option<impl AsyncRead + Unpin>, show: &dyn Fn(&str)) -> Lines {
    let mut all = Vec::new();
    let Some(from) = from else { return all };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        show(&text);
        all.push(text);
        line.clear();
    }
    all
}

fn signal(child: &Child, signal: Signal) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// The writer ends by itself when it is told to; one that does not is ended.
async fn end(child: &mut Child) {
    if tokio::time::timeout(Duration::from_secs(5), child.wait())
        .await
        .is_err()
    {
        signal(child, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// An account that writes. It is one of the lab, which nobody else reaches, and needs no password.
const ACCOUNT: &str = "mariadb -e \"CREATE DATABASE IF NOT EXISTS hactl_drill; \
    CREATE TABLE IF NOT EXISTS hactl_drill.written (id BIGINT PRIMARY KEY); \
    CREATE OR REPLACE USER hactl_drill@'%'; GRANT SELECT, INSERT ON hactl_drill.* TO hactl_drill@'%'\"";

/// Hosts of an application that brings its own have none.
const CLIENT: &str = "command -v mariadb >/dev/null || { apt-get -q update && DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y install mariadb-client; } >/dev/null";

/// Until rows come through.
const WRITES: &str = "end=$(($(date +%s) + 60)); until [ \"$(wc -l </run/hactl-drill/acknowledged)\" -ge 60 ]; do \
    [ \"$(date +%s)\" -lt \"$end\" ] || { tail -n 3 /run/hactl-drill/refused >&2; exit 1; }; sleep 0.1; done 2>/dev/null";
