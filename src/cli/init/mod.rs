//! `hactl init`

mod answers;
mod ask;
mod bench;

use std::io::Write;
use std::path::{Path, PathBuf};

use super::context::{Context, Ended, keyring};
use super::env;
use crate::error::{Error, Kind, Result};
use crate::inventory::secrets::Secrets;
use crate::report::{Note, schema};
use answers::{Answers, AppKind, SCHEMA};

/// Write a commented inventory and its secrets file
///
/// Asks on a terminal for what the options do not say. Replaces no file. What it writes passes `hactl check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; secrets.age is written beside it
    #[arg(env = env::INVENTORY, hide_env_values = true, default_value = "inventory.yml", value_name = "INVENTORY")]
    inventory: PathBuf,
    /// The shape of the cluster: single. (pair and multi are not built yet)
    #[arg(
        long,
        value_enum,
        default_value_t = Topology::Single,
        hide_possible_values = true,
        value_name = "single"
    )]
    topology: Topology,
    /// Read a server that `bench` built, by ssh, and write the inventory that takes it over
    #[arg(
        long,
        value_name = "HOST",
        conflicts_with_all = ["topology", "host", "site", "app", "url", "git_ref", "module", "schema"]
    )]
    from_bench: Option<String>,
    /// Folder of the bench there; without, it is looked for
    #[arg(long, value_name = "DIR", requires = "from_bench")]
    bench_path: Option<String>,
    /// Port of sshd there
    #[arg(long, requires = "from_bench", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The server and its IP address
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = answers::host)]
    host: Option<(String, String)>,
    /// Host name of a site; may be given several times
    #[arg(long, value_name = "NAME")]
    site: Vec<String>,
    /// What runs
    #[arg(long, value_enum, hide_possible_values = true, value_name = "frappe|wsgi")]
    app: Option<AppKind>,
    /// Git URL of the app; for frappe, of Frappe itself, with a default
    #[arg(long)]
    url: Option<String>,
    /// Tag, branch or commit of it
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<String>,
    /// Entry point of a WSGI application
    #[arg(long, value_name = "MODULE:CALLABLE")]
    module: Option<String>,
    /// Login on the server; another than root becomes root by sudo [default: root]
    #[arg(long)]
    user: Option<String>,
    /// Private key for the login; without, your agent and the usual keys
    #[arg(long, value_name = "FILE")]
    identity_file: Option<String>,
    /// Name of the cluster; default made from the first site
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Also write the JSON Schema beside the inventory, for editors that complete and check with it
    #[arg(long)]
    schema: bool,
}

/// The words are all known, so that the answer to a later one is plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Topology {
    /// One server does everything
    Single,
    /// Primary and replica
    Pair,
    /// Roles on several servers
    Multi,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    built(args.topology)?;
    // Before anything is asked.
    let schema_file = args.inventory.with_file_name(SCHEMA);
    absent(&args.inventory)?;
    if args.schema {
        absent(&schema_file)?;
    }
    if let Some(host) = &args.from_bench {
        return bench::run(args, host, context);
    }
    if args.app == Some(AppKind::Frappe) && args.module.is_some() {
        return Err(Error::usage(
            "--module is for --app wsgi; Frappe has its own entry point",
        ));
    }
    let answers = ask::all(args, context)?;
    let text = answers.text(args.schema)?;
    let loaded = Answers::loaded(&text, &args.inventory)?;
    if args.schema {
        write(&schema_file, &schema::text(&crate::inventory::schema()))?;
        written(context, &schema_file, "the schema of inventories");
    }
    write(&args.inventory, &text)?;
    written(context, &args.inventory, "the inventory");
    let had_secrets = loaded.inventory.secrets.path.exists();
    let resolved = Secrets::resolve(&loaded.inventory, &keyring())?;
    if !had_secrets {
        written(
            context,
            &args.inventory.with_file_name("secrets.age"),
            &format!("{} generated secrets, encrypted for you", resolved.generated.len()),
        );
    }
    next(args, context);
    Ok(Ended::with(0))
}

fn built(topology: Topology) -> Result<()> {
    let what = match topology {
        Topology::Single => return Ok(()),
        Topology::Pair => "a primary/replica pair is",
        Topology::Multi => "a cluster of several servers is",
    };
    Err(Error::usage(format!(
        "{what} not built yet: this version of hactl builds single servers"
    ))
    .hint("hactl init --topology single"))
}

fn absent(path: &Path) -> Result<()> {
    // A link that points nowhere is something, too.
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        format!("{} exists already; init replaces nothing", path.display()),
    )
    .hint("name another file: hactl init FILE"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => absent(path).err().unwrap_or_else(|| Error::internal(error.to_string())),
        _ => Error::usage(format!("cannot write {}: {error}", path.display())),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

fn written(context: &Context, path: &Path, what: &str) {
    let shown = path.display().to_string();
    let line = format!("wrote {} ({what})\n", crate::quote::terminal(&shown));
    context.console.result(&line);
    context.console.line(&Note::Written {
        path: shown,
        what: what.to_owned(),
    });
}

fn next(args: &Args, context: &Context) {
    let shown = args.inventory.display().to_string();
    let name = match shown.as_str() {
        "inventory.yml" => String::new(),
        other => format!(" {}", crate::quote::sh(other)),
    };
    for (verb, why) in [
        ("check --remote", "can the server be reached, and will it do?"),
        ("plan", "what would be done?"),
        ("apply", "do it"),
    ] {
        context.hint(&format!("{:<34} # {why}", format!("hactl {verb}{name}")));
    }
}
