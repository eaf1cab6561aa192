//! One file per verb: its arguments (their comments are the help) and a thin function.

mod app;
mod apply;
mod args;
mod backup;
mod change;
mod check;
mod completions;
mod context;
mod coredump;
mod dns;
mod edge;
mod env;
mod exec;
mod failover;
mod graph;
mod history;
mod hooks;
mod hosts;
mod init;
mod inventory_edit;
mod lab;
mod man;
mod plan;
mod render;
mod restore;
mod run;
mod saved;
mod schema;
mod secrets;
mod site;
mod ssh;
mod status;
mod steps;
mod table;
mod templates;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use args::Global;
use context::{Context, Ended};

/// Builds and keeps high-availability stacks for Frappe/ERPNext on plain Linux servers.
///
/// One inventory file names the hosts and what they do; hactl brings every host to that state over SSH and keeps it
/// there. Verbs take the inventory as their argument: `hactl apply inventory.yml`.
#[derive(Debug, Parser)]
#[command(
    name = "hactl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 internal error, 2 usage or inventory, 3 changes pending, 4 a host failed,\n\
                  5 a host is unreachable, 6 locked by another run, 7 refused by a guard, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(Box<init::Args>),
    Check(check::Args),
    Plan(plan::Args),
    Apply(apply::Args),
    App(app::Args),
    Render(render::Args),
    Status(status::Args),
    Crashplan(failover::crashplan::Args),
    Rejoin(failover::rejoin::Args),
    Dns(dns::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Graph(graph::Args),
    History(history::Args),
    Exec(exec::Args),
    Ssh(ssh::Args),
    Secrets(secrets::Args),
    Site(site::Args),
    Lab(lab::Args),
    Templates(templates::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Entry point of the binary.
pub fn main() -> ExitCode {
    coredump::none();
    match Cli::try_parse() {
        Ok(cli) => {
            let context = Context::new(cli.global);
            let result = run(cli.verb, &context);
            edge::finish(&context.console, result)
        }
        Err(error) => edge::command_line(&error, wants_json()),
    }
}

fn run(verb: Verb, context: &Context) -> crate::error::Result<Ended> {
    match verb {
        Verb::Init(args) => init::run(&args, context),
        Verb::Check(args) => check::run(&args, context),
        Verb::Plan(args) => plan::run(&args, context),
        Verb::Apply(args) => apply::run(&args, context),
        Verb::App(args) => app::run(&args, context),
        Verb::Render(args) => render::run(&args, context),
        Verb::Status(args) => status::run(&args, context),
        Verb::Crashplan(args) => failover::crashplan::run(&args, context),
        Verb::Rejoin(args) => failover::rejoin::run(&args, context),
        Verb::Backup(args) => backup::run(&args, context),
        Verb::Restore(args) => restore::run(&args, context),
        Verb::Dns(args) => dns::run(&args, context),
        Verb::Graph(args) => graph::run(&args, context),
        Verb::History(args) => history::run(&args, context),
        Verb::Exec(args) => exec::run(&args, context),
        Verb::Ssh(args) => ssh::run(&args, context),
        Verb::Secrets(args) => secrets::run(&args, context),
        Verb::Site(args) => site::run(&args, context),
        Verb::Lab(args) => lab::run(&args, context),
        Verb::Templates(args) => templates::run(&args, context),
        Verb::Schema(args) => schema::run(&args, context),
        Verb::Completions(args) => completions::run(&args, context),
        Verb::Man(args) => man::run(&args, context),
    }
}

/// The command line as clap knows it, for documents made from it.
fn command() -> clap::Command {
    Cli::command()
}

/// Whether a command line that clap refused asked for JSON.
fn wants_json() -> bool {
    let args: Vec<_> = std::env::args_os().take_while(|arg| arg != "--").collect();
    args.iter().any(|arg| arg == "--format=json")
        || args
            .windows(2)
            .any(|pair| matches!(pair, [name, value] if name == "--format" && value == "json"))
}
