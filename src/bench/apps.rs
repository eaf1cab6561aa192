//! Where the apps of a bench come from, and which of each ran there.

use super::draft::{Remarks, shown};
use super::reading::{App, Found};
use crate::inventory::rules;

/// An app as the inventory names it.
pub(super) struct WantedApp {
    pub name: String,
    pub url: String,
    pub git_ref: String,
}

/// The apps, Frappe first, then as in apps.txt.
pub(super) fn apps(found: &Found, bench: &str, remarks: &mut Remarks) -> Vec<WantedApp> {
    let mut names: Vec<&str> = vec!["frappe"];
    for name in &found.order {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let listed = names.len();
    for name in found.apps.keys() {
        if !names.contains(&name.as_str()) {
            remarks.known(format!(
                "app {} is in apps/ but not in sites/apps.txt, so no site has it: it is left out",
                shown(name)
            ));
        }
    }
    names.truncate(listed);
    let known = |name: &str| Some((name.to_owned(), found.apps.get(name)?));
    let mut wanted = Vec::new();
    for name in names {
        match known(name) {
            Some((name, app)) if app.git && rules::package_name(&name).is_ok() => {
                wanted.extend(source(&name, app, bench, remarks));
            }
            _ => remarks.first(format!(
                "app {} is no git repository in apps/: hactl fetches apps by git. Put it into one, then run init again",
                shown(name)
            )),
        }
    }
    wanted
}

/// Where an app comes from, and which of it.
fn source(name: &str, app: &App, bench: &str, remarks: &mut Remarks) -> Option<WantedApp> {
    let is_commit = (40..=64).contains(&app.commit.len()) && app.commit.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_commit {
        remarks.first(format!("app {name}: what is checked out in apps/{name} cannot be told"));
        return None;
    }
    if app.dirty > 0 {
        remarks.known(format!(
            "app {name}: {} changed files in apps/{name} are not committed; they are not taken over (git -C {bench}/apps/{name} diff)",
            app.dirty
        ));
    }
    let tag = app.tags.iter().find(|tag| rules::git_ref(tag).is_ok());
    let commit = app.commit.clone();
    let local = |git_ref: String| WantedApp {
        name: name.to_owned(),
        url: format!("file://{bench}/apps/{name}"),
        git_ref,
    };
    let url = app
        .url
        .as_deref()
        .map(without_login)
        .filter(|(url, _)| rules::git_url(url).is_ok());
    let Some((url, had_login)) = url else {
        remarks.known(format!(
            "app {name} has no remote: it is taken from {bench}/apps/{name}. Push it somewhere and name that as its url before the old bench is deleted"
        ));
        return Some(local(commit));
    };
    if had_login {
        remarks.first(format!(
            "app {name}: the URL in its clone carries a login, which is not taken over: give the server a deploy key or a credential helper"
        ));
    }
    if tag.is_none() && !app.on_remote {
        remarks.known(format!(
            "app {name}: its commit {} is on no remote branch; it is taken from {bench}/apps/{name}. Push it to {} and name that as its url before the old bench is deleted",
            &commit[..12],
            shown(&url)
        ));
        return Some(local(commit));
    }
    Some(WantedApp {
        name: name.to_owned(),
        url,
        git_ref: tag.cloned().unwrap_or(commit),
    })
}

/// A URL without user and password, and whether it had a password.
fn without_login(url: &str) -> (String, bool) {
    if rules::url_has_password(url)
        && let Some((scheme, rest)) = url.split_once("://")
        && let Some((authority, path)) = rest.split_once('/')
        && let Some((_, host)) = authority.rsplit_once('@')
    {
        return (format!("{scheme}://{host}/{path}"), true);
    }
    (url.to_owned(), false)
}
