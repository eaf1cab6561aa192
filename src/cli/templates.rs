//! `hactl templates`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::context::{Context, Ended};
use crate::error::{Error, Kind, Result};
use crate::report::Note;
use crate::role::overrides;

/// List the built-in templates; copy one to change it
///
/// A file of the same name in the inventory's `templates:` folder (or --templates DIR) takes the place of a built-in one.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the names of the built-in templates
    List,
    /// Print a built-in template with a first line that says which one it is a copy of
    ///
    /// With that line hactl warns when a later version has another template under this name.
    Export {
        /// The template's name, e.g. nginx/nginx.conf
        name: String,
        /// Write it into this folder of overrides, as NAME.tera; replaces no file
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    match &args.verb {
        Verb::List => {
            for name in overrides::names() {
                context.console.document(&format!("{name}\n"));
            }
        }
        Verb::Export { name, out: None } => context.console.document(&overrides::export(name)?),
        Verb::Export {
            name,
            out: Some(folder),
        } => {
            let text = overrides::export(name)?;
            let path = folder.join(format!("{}.tera", name.trim_end_matches(".tera")));
            write(&path, &text)?;
            let shown = path.display().to_string();
            context
                .console
                .result(&format!("wrote {}\n", crate::quote::terminal(&shown)));
            context.console.line(&Note::Written {
                path: shown,
                what: format!("a copy of the built-in template {name}"),
            });
            context.hint(&format!(
                "edit it; `templates: {}` in the inventory puts it in the built-in's place",
                folder.display()
            ));
        }
    }
    Ok(Ended::with(0))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::new(
            Kind::Refused,
            format!("{} exists already; export replaces nothing", path.display()),
        ),
        _ => Error::usage(format!("cannot write {}: {error}", path.display())),
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
