//! Answers from flags, and from the person at the terminal for what no flag says.

use std::io::IsTerminal;

use console::Term;
use dialoguer::{Input, Select};

use super::Args;
use super::answers::{Answers, AppKind, FRAPPE_REF, FRAPPE_URL};
use crate::cli::context::Context;
use crate::error::{Error, Kind, Result};
use crate::inventory::rules;
use crate::report::Format;

/// Who answers what no flag says.
enum Asker {
    Terminal(Term),
    /// Collects the flags that are missing.
    Nobody(Vec<&'static str>),
}

/// All answers.
///
/// # Errors
/// Nobody is there to ask and a flag is missing; or the questions were declined.
pub fn all(args: &Args, context: &Context) -> Result<Answers> {
    let can_ask =
        context.console.format == Format::Text && std::io::stdin().is_terminal() && context.console.has_terminal();
    let mut asker = if can_ask {
        Asker::Terminal(Term::stderr())
    } else {
        Asker::Nobody(Vec::new())
    };
    let (host, address) = match &args.host {
        Some((host, address)) => (host.clone(), address.clone()),
        None => (
            asker.text("Name of the server", "--host NAME=ADDRESS", Some("srv1"), rules::host)?,
            asker.text("Its IP address", "--host NAME=ADDRESS", None, |text| {
                let parsed = text.parse::<std::net::IpAddr>();
                parsed.map(drop).map_err(|_| "is no IP address".to_owned())
            })?,
        ),
    };
    let user = match (&args.user, can_ask) {
        (Some(user), _) => user.clone(),
        (None, true) => asker.text("Login there", "--user", Some("root"), rules::user)?,
        (None, false) => "root".into(),
    };
    let sites = match args.site.as_slice() {
        [] => vec![asker.text("Host name of the site", "--site", None, rules::site)?],
        given => given.to_vec(),
    };
    let app = match args.app {
        Some(app) => app,
        None => asker.kind()?,
    };
    let is_frappe = app == AppKind::Frappe;
    let mut with_default = |given: &Option<String>, question, flag, default: &str, rule: Rule| match (given, can_ask) {
        (Some(given), _) => Ok(given.clone()),
        (None, false) if is_frappe => Ok(default.to_owned()),
        (None, _) => asker.text(question, flag, is_frappe.then_some(default), rule),
    };
    let url = with_default(&args.url, "Git URL of the app", "--url", FRAPPE_URL, rules::git_url)?;
    let git_ref = with_default(&args.git_ref, "Tag or commit", "--ref", FRAPPE_REF, rules::git_ref)?;
    let module = match (&args.module, is_frappe) {
        (Some(module), _) => module.clone(),
        (None, true) => String::new(),
        (None, false) => asker.text("WSGI entry point, e.g. shop.wsgi:app", "--module", None, rules::module)?,
    };
    if let Asker::Nobody(missing) = &asker
        && !missing.is_empty()
    {
        let why = if context.console.format == Format::Json {
            "with --format json it cannot ask"
        } else {
            "there is no terminal to ask on"
        };
        return Err(Error::usage(format!("init needs {}: {why}", missing.join(", ")))
            .hint("e.g. hactl init --host srv1=203.0.113.10 --site erp.example.com --app frappe"));
    }
    let cluster = match &args.cluster {
        Some(cluster) => cluster.clone(),
        None => sites
            .first()
            .map_or_else(|| "main".to_owned(), |site| rules::cluster_of(site)),
    };
    Ok(Answers {
        cluster,
        user,
        identity_file: args.identity_file.clone(),
        host,
        address,
        app,
        url,
        git_ref,
        module,
        sites,
    })
}

type Rule = fn(&str) -> Result<(), String>;

impl Asker {
    fn text(&mut self, question: &str, flag: &'static str, default: Option<&str>, rule: Rule) -> Result<String> {
        match self {
            Asker::Nobody(missing) => {
                if !missing.contains(&flag) {
                    missing.push(flag);
                }
                Ok(String::new())
            }
            Asker::Terminal(terminal) => {
                let mut input = Input::<String>::new()
                    .with_prompt(question)
                    .validate_with(|text: &String| rule(text).map_err(|why| format!("`{text}` {why}")));
                if let Some(default) = default {
                    input = input.default(default.to_owned());
                }
                input.interact_on(terminal).map_err(|_| declined(terminal))
            }
        }
    }

    fn kind(&mut self) -> Result<AppKind> {
        match self {
            Asker::Nobody(missing) => {
                missing.push("--app");
                // Which asks for nothing more.
                Ok(AppKind::Frappe)
            }
            Asker::Terminal(terminal) => {
                let chosen = Select::new()
                    .with_prompt("What runs there")
                    .items(["Frappe, ERPNext or another Frappe app", "a WSGI application from git"])
                    .default(0)
                    .interact_on(terminal)
                    .map_err(|_| declined(terminal))?;
                Ok(if chosen == 0 { AppKind::Frappe } else { AppKind::Wsgi })
            }
        }
    }
}

/// Ctrl-C at a question, which leaves without its cursor and line end.
fn declined(terminal: &Term) -> Error {
    let _ = terminal.show_cursor();
    let _ = terminal.write_line("");
    Error::new(Kind::Interrupted, "not answered; nothing was written")
}
