//! `hactl app update`: an apply of what belongs to the application, with new refs in the inventory if asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::change::{self, Consent, Deed, Job};
use super::super::context::{Context, Ended, Missing, Prepared};
use super::super::inventory_edit::Edit;
use super::UpdateArgs;
use crate::engine::{ExtraQuestions, Survey};
use crate::error::{Error, Kind, Result};
use crate::inventory::edit::refs::{self, NewRef};
use crate::inventory::{self, App, Host, Inventory, Loaded};
use crate::quote::{sh, sh_words, terminal};
use crate::report::Format;
use crate::resource::{Ask, Spec};
use crate::role::app;

/// Exit status of `git ls-remote --exit-code` when it reached the repository and found nothing.
const NO_SUCH_REF: i32 = 2;

pub fn run(args: &UpdateArgs, context: &Context) -> Result<Ended> {
    let consent = if args.yes { Consent::Given } else { Consent::Ask };
    change::somebody_agrees("app update", consent, context)?;
    let loaded = context.inventory(&args.inventory)?;
    let hosts = args.limit.hosts(&loaded.inventory)?;
    let (loaded, edit) = edited(args, context, loaded)?;
    let prepared = Prepared::from(context, loaded, hosts, Missing::Generate)?;
    let inventory = Arc::clone(&prepared.inventory);
    let command = |verb: &str| {
        format!("hactl {verb} {}", args.inventory.in_command())
            .trim_end()
            .to_owned()
    };
    let narrow = |survey: &mut Survey| {
        installed(survey, &inventory, &command("apply"))?;
        known_refs(survey, &inventory)?;
        let left = only_the_app(survey, &inventory);
        report(context, survey, &inventory, &left, &command("plan"));
        Ok(())
    };
    let job = Job {
        verb: "app update",
        inventory: &args.inventory,
        diff: args.diff.diff,
        consent,
        narrow: &narrow,
        questions: Some(questions(&inventory)),
        declares: None,
        whole: false,
        deed: edit.as_ref().map(|edit| edit as &dyn Deed),
    };
    change::change(context, prepared, job)
}

/// The inventory with the refs that `--set` gives, and the change of its file, if it is one.
fn edited<'a>(args: &UpdateArgs, context: &'a Context, loaded: Loaded) -> Result<(Loaded, Option<Edit<'a>>)> {
    let wanted = wanted(&loaded, &args.set)?;
    if wanted.is_empty() {
        return Ok((loaded, None));
    }
    let now = &loaded.inventory;
    let text = refs::with_refs(&loaded, &now.source.text, &wanted)?;
    if *text == *now.source.text {
        return Ok((loaded, None));
    }
    let after = context.overlay(inventory::load_text(&text, &args.inventory.inventory)?)?;
    let names: Vec<_> = wanted
        .iter()
        .map(|new| format!("{} {}", new.app, new.git_ref))
        .collect();
    let edit = Edit::new(context, now, text, format!("{} is in", terminal(&names.join(", "))));
    Ok((after, Some(edit)))
}

/// What `--set` says.
///
/// # Errors
/// A `--set` that names no app, or no ref.
fn wanted(loaded: &Loaded, given: &[String]) -> Result<Vec<NewRef>> {
    let app = &loaded.inventory.app;
    let wanted = given.iter().map(|given| refs::new_ref(app, given));
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    for (at, new) in wanted.iter().enumerate() {
        if let Some(other) = wanted[..at].iter().find(|other| other.app == new.app && other != &new) {
            return Err(Error::usage(format!(
                "--set names {} twice, as {} and as {}",
                new.app, other.git_ref, new.git_ref
            )));
        }
    }
    Ok(wanted)
}

/// The role that declares the application.
fn role(inventory: &Inventory) -> &'static str {
    match inventory.app {
        App::Frappe(_) => "frappe",
        App::Wsgi(_) => "wsgi",
    }
}

/// Whether each ref is there, asked of the repository by the host that would fetch it. A commit cannot be asked for.
fn questions(inventory: &Arc<Inventory>) -> ExtraQuestions {
    let inventory = Arc::clone(inventory);
    Box::new(move |_: &Host| {
        let mut ask = Ask::default();
        let process = inventory.app.process();
        let environment = app::environment(process);
        let environment = sh_words(environment.iter().map(|(key, value)| format!("{key}={value}")));
        for (name, url, git_ref) in sources(&inventory) {
            if git_ref.len() >= 7 && git_ref.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                continue;
            }
            let names = ["", "refs/heads/", "refs/tags/"].map(|folder| format!("{folder}{git_ref}"));
            ask.test(
                &format!("ref of {name}"),
                &format!(
                    "cd / && timeout 8 runuser -u {} -- env {environment} git ls-remote --exit-code {} {} >/dev/null 2>&1",
                    sh(&process.user),
                    sh(url),
                    sh_words(names.iter().map(String::as_str))
                ),
            );
        }
        ask
    })
}

/// Name, URL and ref of each app.
fn sources(inventory: &Inventory) -> Vec<(&str, &str, &str)> {
    match &inventory.app {
        App::Frappe(frappe) => frappe
            .apps
            .iter()
            .map(|app| (app.name.as_str(), app.url.as_str(), app.git_ref.as_str()))
            .collect(),
        App::Wsgi(wsgi) => vec![(wsgi.name.as_str(), wsgi.url.as_str(), wsgi.git_ref.as_str())],
    }
}

/// Refuses a ref that is about to be fetched and is not there; what is built already needs no repository.
fn known_refs(survey: &Survey, inventory: &Inventory) -> Result<()> {
    let fetches = |host: &&crate::engine::Surveyed| {
        let plan = survey.plan.hosts.iter().find(|plan| plan.host == host.name);
        plan.is_some_and(|plan| plan.steps.iter().any(|step| step.id.starts_with("run code of ")))
    };
    for host in survey.hosts.iter().filter(fetches) {
        for (name, url, git_ref) in sources(inventory) {
            let answer = host.seen.tests.get(&format!("ref of {name}"));
            if answer.is_some_and(|answer| answer.code == NO_SUCH_REF) {
                return Err(Error::usage(format!(
                    "{url} has no tag or branch `{git_ref}` for {name} (asked from {}); nothing was changed",
                    host.name
                ))
                .hint("push it, or name another: hactl app update --set NAME=REF"));
            }
        }
    }
    Ok(())
}

/// Refuses hosts on which the application was never installed: an update is no installation.
fn installed(survey: &Survey, inventory: &Inventory, command: &str) -> Result<()> {
    let folder = match &inventory.app {
        App::Frappe(frappe) => &frappe.path,
        App::Wsgi(wsgi) => &wsgi.path,
    };
    let has = |host: &&crate::engine::Surveyed| {
        let wants = host
            .desired
            .resources
            .iter()
            .any(|resource| matches!(resource.spec, Spec::Release(_)));
        wants && !host.seen.paths.contains_key(&format!("{folder}/current"))
    };
    match survey.hosts.iter().find(has) {
        None => Ok(()),
        Some(host) => Err(Error::new(
            Kind::Refused,
            format!(
                "{} has no release of {} yet, so there is nothing to update",
                host.name,
                inventory.app.name()
            ),
        )
        .hint(format!("install it first: {command}"))),
    }
}

/// Keeps the steps of the application and the packages it needs; gives the names of the roles whose changes were left out,
/// with their number.
fn only_the_app(survey: &mut Survey, inventory: &Inventory) -> BTreeMap<String, usize> {
    let role = role(inventory);
    let mut left = BTreeMap::new();
    for host in &mut survey.plan.hosts {
        let before = host.changes();
        host.steps.retain(|step| {
            let kept = step.resources.iter().any(|resource| resource.role == role);
            if !kept {
                *left.entry(step.role.clone()).or_default() += step.changes.len();
            }
            kept
        });
        let out = before - host.changes();
        host.resources = host.resources.saturating_sub(out);
    }
    left
}

fn report(context: &Context, survey: &Survey, inventory: &Inventory, left: &BTreeMap<String, usize>, plan: &str) {
    if !left.is_empty() && context.console.format == Format::Text {
        let count: usize = left.values().sum();
        let roles: Vec<_> = left.keys().map(|role| terminal(role)).collect();
        let (changes, are) = if count == 1 {
            ("change", "is")
        } else {
            ("changes", "are")
        };
        context.warn(&format!(
            "{count} {changes} elsewhere ({}) {are} left alone; {plan} shows them",
            roles.join(", ")
        ));
    }
    if survey.plan.is_empty() && survey.failures.is_empty() {
        let refs: Vec<_> = refs::refs(&inventory.app)
            .into_iter()
            .map(|(name, git_ref)| format!("{name} {git_ref}"))
            .collect();
        context
            .console
            .say(&format!("already running: {}\n", terminal(&refs.join(", "))));
    }
}
