//! `hactl secrets`

mod edit;

use std::io::{IsTerminal, Read};

use zeroize::Zeroizing;

use super::args::InventoryArg;
use super::context::{Context, Ended, keyring};
use super::env;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::inventory::secrets::{self, Which};
use crate::quote::terminal;
use crate::report::Note;
use crate::secret::Secret;
use crate::transport::prompt::{Prompt, TerminalPrompt};

/// Create, share, edit and rotate the encrypted secrets file
///
/// It stands beside the inventory (`secrets.age`, or `secrets.file`) and is readable by those whose public keys
/// `secrets.recipients` lists. Values never appear on the command line, in output or in journals.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key for you and an empty file if there are none, and print your public key to share
    Init {
        #[command(flatten)]
        inventory: InventoryArg,
        /// Encrypt the file again for exactly those whom `secrets.recipients` names now
        #[arg(long)]
        recipients: bool,
    },
    /// Edit the decrypted file with $VISUAL or $EDITOR
    ///
    /// The copy is on a memory file system, readable by you only, and removed when the editor ends.
    Edit {
        #[command(flatten)]
        inventory: InventoryArg,
    },
    /// Store a value, asked for on the terminal or read from standard input
    Set {
        /// Its name, for `!secret NAME` in the inventory; or the name of a generated one, which is then rotated
        name: String,
        #[command(flatten)]
        inventory: InventoryArg,
    },
    /// Make new values of generated secrets; the next apply carries them to the hosts without downtime
    Rotate {
        /// Which; hactl secrets show-names lists them
        #[arg(
            required_unless_present = "all_generated",
            conflicts_with = "all_generated",
            value_name = "NAME"
        )]
        names: Vec<String>,
        /// All that are generated and can be rotated
        #[arg(long)]
        all_generated: bool,
        /// The inventory file
        #[arg(short, long, env = env::INVENTORY, hide_env_values = true, default_value = "inventory.yml", value_name = "INVENTORY")]
        inventory: std::path::PathBuf,
    },
    /// List the names of all secrets and where each comes from, without values
    ShowNames {
        #[command(flatten)]
        inventory: InventoryArg,
    },
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.command {
        Command::Init { inventory, recipients } => init(inventory, *recipients, context)?,
        Command::Edit { inventory } => edit::run(&context.inventory(inventory)?.inventory, context)?,
        Command::Set { name, inventory } => set(name, inventory, context)?,
        Command::Rotate {
            names,
            all_generated,
            inventory,
        } => {
            let inventory = InventoryArg {
                inventory: inventory.clone(),
            };
            let which = if *all_generated {
                Which::All
            } else {
                Which::Names(names)
            };
            rotate(&inventory, which, context)?;
        }
        Command::ShowNames { inventory } => show_names(inventory, context)?,
    }
    Ok(Ended::with(0))
}

fn init(arg: &InventoryArg, recipients: bool, context: &Context) -> Result<()> {
    let inventory = context.inventory(arg)?.inventory;
    let path = inventory.secrets.path.display();
    let begun = secrets::init(&inventory, &keyring(), recipients)?;
    if let Some(identity) = &begun.identity {
        let identity = identity.display();
        context.console.say(&format!(
            "made your key {identity}; without it the secrets are lost, so keep a copy in a safe place\n"
        ));
    }
    if begun.written {
        let readers = match inventory.secrets.recipients.len() {
            0 => "you alone".to_owned(),
            1 => "the one in `secrets.recipients`".to_owned(),
            many => format!("the {many} in `secrets.recipients`"),
        };
        context.console.say(&format!("{path} is encrypted for {readers}\n"));
        written(&inventory, Vec::new(), context);
    } else if begun.readable {
        context.console.say(&format!("{path} is there, and you can read it\n"));
    } else {
        context
            .console
            .say(&format!("{path} is there, and not encrypted for you\n"));
        context.hint(
            "have the key below added to `secrets.recipients` by somebody who can read it; they then run: hactl secrets init --recipients",
        );
    }
    context.console.say("your public key, to share:\n");
    for recipient in begun.recipients {
        context.console.result(&format!("{}\n", terminal(&recipient)));
        context.console.line(&Note::Recipient { recipient });
    }
    Ok(())
}

fn set(name: &str, arg: &InventoryArg, context: &Context) -> Result<()> {
    let inventory = context.inventory(arg)?.inventory;
    let rotates = secrets::set(&inventory, &keyring(), name, value(name)?)?;
    context.console.say(&format!(
        "{} is stored in {}\n",
        terminal(name),
        inventory.secrets.path.display()
    ));
    written(&inventory, vec![name.to_owned()], context);
    if rotates {
        carry(arg, context);
    }
    Ok(())
}

/// From the terminal, twice; otherwise all of standard input but its last line end.
fn value(name: &str) -> Result<Secret> {
    const LIMIT: u64 = 64 << 10;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let shown = terminal(name);
        let given = |question: &str| {
            let answer = TerminalPrompt.passphrase(question);
            answer.ok_or_else(|| Error::usage("no value was given; nothing was stored"))
        };
        let first = given(&format!("Value of {shown}"))?;
        if given("The same again")? != first {
            return Err(Error::usage("these two differ; nothing was stored"));
        }
        return Ok(first);
    }
    let mut text = Zeroizing::new(String::new());
    let read = stdin.lock().take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(|error| Error::usage(format!("cannot read the value from standard input: {error}")))?;
    if text.len() as u64 > LIMIT {
        return Err(Error::usage(format!("a secret has at most {LIMIT} bytes")));
    }
    if text.is_empty() {
        return Err(Error::usage("there is no value on standard input").hint(format!(
            "printf %s \"$VALUE\" | hactl secrets set {}",
            crate::quote::sh(name)
        )));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

fn rotate(arg: &InventoryArg, which: Which, context: &Context) -> Result<()> {
    let inventory = context.inventory(arg)?.inventory;
    let rotated = secrets::rotate(&inventory, &keyring(), which)?;
    for (name, why) in &rotated.left {
        context.console.say(&format!("{name} is left as it is: {why}\n"));
    }
    let count = rotated.renewed.len();
    context.console.say(&format!(
        "{count} secrets have new values in {}; the old ones stay in it until an apply has carried the new ones through\n",
        inventory.secrets.path.display()
    ));
    for name in &rotated.renewed {
        context.console.result(&format!("{name}\n"));
    }
    written(&inventory, rotated.renewed, context);
    if count > 0 {
        carry(arg, context);
    }
    Ok(())
}

fn show_names(arg: &InventoryArg, context: &Context) -> Result<()> {
    let inventory = context.inventory(arg)?.inventory;
    let names = secrets::names(&inventory, &keyring())?;
    let width = |of: fn(&secrets::Named) -> &str| names.iter().map(|named| of(named).len()).max().unwrap_or_default();
    let (first, second) = (width(|named| &named.name), width(|named| &named.origin));
    for named in &names {
        let line = format!(
            "{:first$}  {:second$}  {}",
            terminal(&named.name),
            terminal(&named.origin),
            named.remark
        );
        context.console.result(&format!("{}\n", line.trim_end()));
        context.console.line(&Note::Secret {
            name: named.name.clone(),
            origin: named.origin.clone(),
            remark: named.remark.clone(),
        });
    }
    Ok(())
}

/// In JSON: the file was written.
fn written(inventory: &Inventory, names: Vec<String>, context: &Context) {
    context.console.line(&Note::SecretsWritten {
        path: inventory.secrets.path.display().to_string(),
        names,
    });
}

fn carry(arg: &InventoryArg, context: &Context) {
    context.hint(format!("hactl apply {}", arg.in_command()).trim_end());
}
