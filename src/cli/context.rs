//! What verbs share: the console, the inventory with the command line's overrides, secrets, connections.

use std::sync::Arc;

use super::args::{Global, InventoryArg, LimitArg};
use crate::engine::link::ShellLinks;
use crate::engine::{Event, Summary};
use crate::error::{Error, Result};
use crate::inventory::secrets::{Keyring, Resolved, Secrets};
use crate::inventory::{self, Become, Inventory, Loaded, TransportKind};
use crate::report::{Console, Format, Note};
use crate::role::Templates;
use crate::role::overrides::Remark;
use crate::secret::Secret;
use crate::transport::auto::{Connector, Options};
use crate::transport::local::Local;
use crate::transport::prompt::{Prompt, TerminalPrompt};
use crate::transport::sshconfig::Sources;

/// The command line's global part, resolved.
pub struct Context {
    /// Options of every verb.
    pub global: Global,
    /// Standard output and error.
    pub console: Arc<Console>,
}

/// How a verb ended.
pub struct Ended {
    /// Counts and exit code.
    pub summary: Summary,
    /// Whether the reporter already printed it.
    pub told: bool,
}

impl Ended {
    /// With an exit code, and nothing to count.
    pub fn with(exit_code: u8) -> Self {
        Ended::from(Summary {
            exit_code,
            ..Summary::default()
        })
    }
}

impl From<Summary> for Ended {
    fn from(summary: Summary) -> Self {
        Ended { summary, told: false }
    }
}

impl Context {
    /// From the parsed options.
    pub fn new(global: Global) -> Self {
        let console = Arc::new(Console::standard(global.format, global.color, global.verbose));
        Context { global, console }
    }

    /// Runs a verb that talks to hosts.
    ///
    /// # Errors
    /// The verb's, or that the operating system gives no threads.
    pub fn block_on<T>(&self, verb: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::internal(format!("cannot start: {error}")))?;
        let result = runtime.block_on(verb);
        // A passphrase prompt that nobody answers must not hold up the end.
        runtime.shutdown_background();
        result
    }

    /// Reads the inventory, prints its warnings, and lays the command line's options over it.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn inventory(&self, arg: &InventoryArg) -> Result<Loaded> {
        let loaded = inventory::load(&arg.inventory)?;
        let warnings = loaded.render_warnings(self.console.side_paint().on);
        if !warnings.is_empty() {
            self.warn(&warnings);
        }
        self.overlay(loaded)
    }

    /// The same in need, without a word of what could be better.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn inventory_in_need(&self, arg: &InventoryArg) -> Result<Loaded> {
        self.overlay(inventory::load(&arg.inventory)?)
    }

    /// Lays the command line's options over an inventory.
    ///
    /// # Errors
    /// What the command line's options make wrong.
    pub fn overlay(&self, mut loaded: Loaded) -> Result<Loaded> {
        if let Some(transport) = self.global.transport {
            let kind = TransportKind::from(transport);
            loaded.inventory.ssh.transport = kind;
            for host in loaded.inventory.hosts.values_mut() {
                host.ssh.transport = kind;
            }
        }
        if let Some(folder) = &self.global.templates {
            let absolute = std::path::absolute(folder)
                .map_err(|error| Error::usage(format!("--templates {}: {error}", folder.display())))?;
            loaded.inventory.templates = Some(absolute);
        }
        Ok(loaded)
    }

    /// Built-in templates with the inventory's overrides.
    ///
    /// # Errors
    /// An override that cannot be read or parsed.
    pub fn templates(&self, inventory: &Inventory) -> Result<Arc<Templates>> {
        let templates = Templates::load(inventory.templates.as_deref())?;
        let mut unknown = Vec::new();
        for remark in templates.remarks() {
            match remark {
                Remark::Outdated { path, name, version } => self.warn(&format!(
                    "warning: {path} was copied from the template of hactl {version}, which has changed since; \
                     compare it with `hactl templates export {name}` and take over its first line"
                )),
                Remark::Unknown { path, name } => unknown.push((path, name)),
            }
        }
        if let Some((path, name)) = unknown.first() {
            let more = match unknown.len() {
                1 => String::new(),
                many => format!(" (and {} more)", many - 1),
            };
            self.hint(&format!(
                "{path}{more} does not say which built-in template it is a copy of; the first line of \
                 `hactl templates export {name}` does, and hactl tells when that changes"
            ));
        }
        Ok(Arc::new(templates))
    }

    /// A warning, on the side.
    pub fn warn(&self, text: &str) {
        match self.console.format {
            Format::Json => self.console.line(&Note::Warning {
                message: crate::report::Paint::default().safe(text.trim_end()),
            }),
            Format::Text => {
                let paint = self.console.side_paint();
                self.console.say(&format!("{}\n", paint.safe(text.trim_end())));
            }
        }
    }

    /// Something went wrong on a host, on the side; nothing in JSON.
    pub fn trouble(&self, text: &str, hint: Option<&str>) {
        if self.console.format == Format::Text {
            let paint = self.console.side_paint();
            self.console
                .say(&format!("{}\n", paint.bad(&crate::quote::terminal(text))));
            if let Some(hint) = hint {
                self.console
                    .say(&format!("  {} {}\n", paint.good("next:"), crate::quote::terminal(hint)));
            }
        }
    }

    /// A host is out of this run; in both formats.
    pub fn host_failed(&self, host: &str, kind: crate::error::Kind, message: &str, hint: Option<&str>) {
        self.trouble(message, hint);
        self.console.line(&Event::HostFailed {
            host: host.to_owned(),
            kind: kind.word().to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        });
    }

    /// What to run next, on the side; nothing in JSON.
    pub fn hint(&self, next: &str) {
        if self.console.format == Format::Text {
            let next = crate::quote::terminal(next);
            let label = self.console.side_paint().good("next:");
            self.console.say(&format!("{label} {next}\n"));
        }
    }

    /// Secrets as far as they are known without asking, writing or running anything; stand-ins for the others.
    ///
    /// # Errors
    /// A secrets file that is damaged.
    pub fn placeholders(&self, inventory: &Inventory) -> Result<Secrets> {
        resolve(inventory, Missing::Offline).map(|resolved| resolved.secrets)
    }

    /// How hosts are reached. `secrets` may hold the password for sudo.
    ///
    /// # Errors
    /// sudo needs a password that nobody gave.
    pub fn links(&self, inventory: &Inventory, secrets: Option<&Secrets>, hosts: &[String]) -> Result<ShellLinks> {
        let connector = Connector::new(Options {
            accept_new_host_keys: self.global.accept_new_host_keys,
            prompt: Arc::new(TerminalPrompt),
            sources: Sources::standard(),
        });
        Ok(ShellLinks {
            connect: Arc::new(connector.with_local(Arc::new(Local))),
            become_password: become_password(inventory, secrets, hosts)?,
        })
    }
}

/// Everything a run over hosts starts from.
pub struct Prepared {
    /// What should be.
    pub inventory: Arc<Inventory>,
    /// Built-in and overridden.
    pub templates: Arc<Templates>,
    /// Real ones, or placeholders.
    pub secrets: Secrets,
    /// Over the inventory, secrets and overrides.
    pub fingerprint: String,
    /// The chosen hosts, in inventory order.
    pub hosts: Vec<String>,
}

/// Whether a verb may make and store the secrets that nobody gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Yes.
    Generate,
    /// No; but what is there is read, and passphrases are asked for, since a plan must be true.
    StandIn,
    /// No, and nothing is asked or run.
    Offline,
}

impl Prepared {
    /// Reads and checks all that is local.
    ///
    /// # Errors
    /// Of the inventory, templates or secrets.
    pub fn new(context: &Context, inventory: &InventoryArg, limit: &LimitArg, missing: Missing) -> Result<Self> {
        let loaded = context.inventory(inventory)?;
        let hosts = limit.hosts(&loaded.inventory)?;
        Self::from(context, loaded, hosts, missing)
    }

    /// The same in need, without a word of what could be better.
    ///
    /// # Errors
    /// Of the inventory, templates or secrets.
    pub fn in_need(context: &Context, arg: &InventoryArg) -> Result<Self> {
        let loaded = context.inventory_in_need(arg)?;
        Self::from(context, loaded, Vec::new(), Missing::StandIn)
    }

    /// The same for an inventory that was read already.
    ///
    /// # Errors
    /// Of templates or secrets.
    pub fn from(context: &Context, loaded: Loaded, hosts: Vec<String>, missing: Missing) -> Result<Self> {
        let Resolved { secrets, generated, .. } = resolve(&loaded.inventory, missing)?;
        if !generated.is_empty() {
            let path = loaded.inventory.secrets.path.display();
            let count = generated.len();
            context
                .console
                .say(&format!("{count} secrets were generated and kept in {path}\n"));
        }
        Self::with(context, loaded, hosts, secrets)
    }

    /// The same with secrets that are known.
    ///
    /// # Errors
    /// Of templates.
    pub fn with(context: &Context, loaded: Loaded, hosts: Vec<String>, secrets: Secrets) -> Result<Self> {
        let templates = context.templates(&loaded.inventory)?;
        // Behind the secrets: looking may have generated some, and the plan is made with those.
        let fingerprint = loaded.fingerprint()?;
        Ok(Prepared {
            inventory: Arc::new(loaded.inventory),
            templates,
            secrets,
            fingerprint,
            hosts,
        })
    }
}

fn resolve(inventory: &Inventory, missing: Missing) -> Result<Resolved> {
    let keyring = keyring();
    match missing {
        Missing::Offline => Secrets::existing_or_placeholder(inventory, &keyring),
        // Before the first apply there is no file; then no host can have what would be in it.
        Missing::StandIn if !inventory.secrets.path.exists() => Secrets::existing_or_placeholder(inventory, &keyring),
        Missing::StandIn | Missing::Generate => Secrets::resolve(inventory, &keyring),
    }
}

/// The keys of whoever runs this, who is asked for passphrases.
pub fn keyring() -> Keyring {
    Keyring::from_env(Arc::new(|question| TerminalPrompt.passphrase(question)))
}

/// The password for sudo, when a chosen host needs one.
fn become_password(inventory: &Inventory, secrets: Option<&Secrets>, hosts: &[String]) -> Result<Option<Secret>> {
    let needs = |name: &&String| {
        inventory
            .hosts
            .get(*name)
            .is_some_and(|host| host.ssh.become_root == Become::SudoPassword)
    };
    let Some(first) = hosts.iter().find(needs) else {
        return Ok(None);
    };
    if inventory.become_password.is_some() {
        let resolved;
        let secrets = match secrets {
            Some(secrets) => secrets,
            None => {
                resolved = Secrets::existing_or_placeholder(inventory, &keyring())?;
                if resolved.placeholders.iter().any(|name| name == "become_password") {
                    return Secrets::resolve(inventory, &keyring())?
                        .secrets
                        .get("become_password")
                        .cloned()
                        .map(Some);
                }
                &resolved.secrets
            }
        };
        return secrets.get("become_password").cloned().map(Some);
    }
    let asked = TerminalPrompt.passphrase(&format!("Password for sudo on {first}"));
    asked.map(Some).ok_or_else(|| {
        Error::usage(format!(
            "sudo on {first} needs a password, and there is no terminal to ask for it"
        ))
        .hint("name it in the inventory: `become_password: !secret env:NAME`, or a NAME of the secrets file")
    })
}
