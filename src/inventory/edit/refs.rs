//! Changing the refs of an inventory's app in its text: those scalars and nothing else, byte for byte.

use std::path::Path;

use crate::error::Error;
use crate::inventory::diagnostics::{Diagnostic, Diagnostics, Source, Span};
use crate::inventory::model::App;
use crate::inventory::yaml::{Leaf, is_text, leaves};
use crate::inventory::{Loaded, parse, rules};

/// A new ref for an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRef {
    /// Name of the app.
    pub app: String,
    /// Tag, branch or commit.
    pub git_ref: String,
}

/// Reads what a user gave for `--set`: `NAME=REF`, or `REF` where there is only one app.
///
/// # Errors
/// An app that the inventory does not have, or a text that is no ref.
pub fn new_ref(app: &App, given: &str) -> Result<NewRef, Error> {
    let names = names(app);
    let shown = crate::quote::terminal(given);
    let named = given.split_once('=').filter(|(name, _)| names.contains(name));
    let (name, git_ref) = match (named, names.as_slice()) {
        (Some(found), _) => found,
        // A ref may hold `=`.
        (None, [one]) if rules::git_ref(given).is_ok() && !looks_named(given) => (*one, given),
        _ => {
            let error = Error::usage(format!("--set {shown} names no app of the inventory"));
            let ways: Vec<_> = names.iter().map(|name| format!("--set {name}=REF")).collect();
            return Err(error.hint(format!("say {}", ways.join(" or "))));
        }
    };
    rules::git_ref(git_ref)
        .map_err(|why| Error::usage(format!("--set {shown}: `{}` {why}", crate::quote::terminal(git_ref))))?;
    Ok(NewRef {
        app: name.to_owned(),
        git_ref: git_ref.to_owned(),
    })
}

/// `guestbok=v2` is a mistyped name rather than a ref.
fn looks_named(given: &str) -> bool {
    given
        .split_once('=')
        .is_some_and(|(name, _)| rules::word(name).is_ok() || rules::package_name(name).is_ok())
}

fn names(app: &App) -> Vec<&str> {
    match app {
        App::Frappe(frappe) => frappe.apps.iter().map(|app| app.name.as_str()).collect(),
        App::Wsgi(wsgi) => vec![wsgi.name.as_str()],
    }
}

/// Name and ref of every app, in order.
pub fn refs(app: &App) -> Vec<(&str, &str)> {
    match app {
        App::Frappe(frappe) => frappe
            .apps
            .iter()
            .map(|app| (app.name.as_str(), app.git_ref.as_str()))
            .collect(),
        App::Wsgi(wsgi) => vec![(wsgi.name.as_str(), wsgi.git_ref.as_str())],
    }
}

/// The text of an inventory with other refs. `loaded` is what `text` was read as.
///
/// # Errors
/// A ref that shares its place with something else, or is written in a way that cannot be replaced.
pub fn with_refs(loaded: &Loaded, text: &str, wanted: &[NewRef]) -> Result<String, Error> {
    let path = &loaded.inventory.path;
    let before = leaves(text).ok_or_else(|| Error::internal("the inventory was read, and cannot be read again"))?;
    let mut edits: Vec<(Span, &NewRef)> = Vec::new();
    let mut places: Vec<(Vec<String>, &str)> = Vec::new();
    for new in wanted {
        let place = place(&loaded.inventory.app, &new.app);
        let Some(leaf) = before.iter().find(|leaf| leaf.path == place) else {
            let text = format!("the ref of `{}` is not written in {}", new.app, path.display());
            return Err(Error::usage(text).hint("write it there, then run hactl app update without --set"));
        };
        places.retain(|(other, _)| *other != place);
        places.push((place, &new.git_ref));
        edits.retain(|(span, other)| *span != leaf.span || other.app != new.app);
        edits.push((leaf.span, new));
    }
    edits.sort_by_key(|(span, _)| *span);
    let clash = edits
        .windows(2)
        .find(|pair| pair[0].0 == pair[1].0 && pair[0].1.git_ref != pair[1].1.git_ref);
    if let Some(pair) = clash {
        return Err(shared(text, path, pair[0].0, &pair[0].1.app, &pair[1].1.app));
    }
    edits.dedup_by_key(|(span, _)| *span);
    // As it was written; where the new text needs quotes that the old one did not need, with quotes.
    let mut refusal = None;
    for quoted in [false, true] {
        let edited = replaced(text, &edits, quoted);
        match judge(&before, &edited, &places) {
            Ok(()) if reads_as(&edited, path, wanted) => return Ok(edited),
            Ok(()) => {}
            Err(other) => refusal = other.or(refusal),
        }
    }
    let (span, new) = edits[0];
    match refusal {
        Some(other) => Err(shared(text, path, span, &new.app, &other)),
        None => Err(refused(text, path, span, "cannot be replaced as it is written")),
    }
}

/// Where the ref of an app hangs.
fn place(app: &App, name: &str) -> Vec<String> {
    let index = match app {
        App::Frappe(frappe) => frappe.apps.iter().position(|app| app.name == name),
        App::Wsgi(_) => None,
    };
    let path = match index {
        Some(index) => vec!["app".to_owned(), "apps".to_owned(), index.to_string()],
        None => vec!["app".to_owned()],
    };
    [path, vec!["ref".to_owned()]].concat()
}

fn replaced(text: &str, edits: &[(Span, &NewRef)], quoted: bool) -> String {
    let mut out = text.to_owned();
    for (span, new) in edits.iter().rev() {
        let range = span.start..span.start + span.len;
        // A ref holds neither quotes nor backslashes.
        let written = match text.get(range.clone()).and_then(|old| old.chars().next()) {
            Some('\'') => format!("'{}'", new.git_ref),
            Some('"') => format!("\"{}\"", new.git_ref),
            _ if quoted || !is_text(&new.git_ref) => format!("\"{}\"", new.git_ref),
            _ => new.git_ref.clone(),
        };
        out.replace_range(range, &written);
    }
    out
}

/// Whether exactly the wanted places differ.
///
/// # Errors
/// Otherwise; with the first other place that changed, when that is what is wrong.
fn judge(before: &[Leaf], edited: &str, places: &[(Vec<String>, &str)]) -> Result<(), Option<String>> {
    let after = leaves(edited).ok_or(None)?;
    if after.len() != before.len() {
        return Err(None);
    }
    for (old, new) in before.iter().zip(&after) {
        let wanted = places.iter().find(|(path, _)| *path == old.path);
        let text = wanted.map_or(old.text.as_str(), |(_, git_ref)| git_ref);
        if new.path != old.path || new.tag != old.tag || (wanted.is_some() && new.text != text) {
            return Err(None);
        }
        if new.text != text {
            return Err(Some(old.path.join(".")));
        }
    }
    Ok(())
}

fn reads_as(edited: &str, path: &Path, wanted: &[NewRef]) -> bool {
    let Ok(loaded) = parse(edited, path) else { return false };
    let refs = refs(&loaded.inventory.app);
    wanted
        .iter()
        .all(|new| refs.contains(&(new.app.as_str(), new.git_ref.as_str())))
}

fn shared(text: &str, path: &Path, span: Span, app: &str, other: &str) -> Error {
    let why = format!("stands for more than the ref of `{app}`: `{other}` would change with it");
    refused(text, path, span, &why)
}

fn refused(text: &str, path: &Path, span: Span, why: &str) -> Error {
    let source = Source::new(path.display().to_string(), text);
    let written = text.get(span.start..span.start + span.len).unwrap_or_default();
    let written: String = written.trim_end().chars().take(60).collect();
    let diagnostic = Diagnostic::new("inventory::edit", format!("`{written}` {why}"))
        .at(span, "this is what --set would replace")
        .help("write the ref as a word of its own, or edit it by hand and run `hactl app update` without --set");
    Diagnostics::new(source, vec![diagnostic]).into_error(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::testing::{FRAPPE, GUESTBOOK};

    fn loaded(text: &str) -> Loaded {
        parse(text, Path::new("/i/inventory.yml")).unwrap_or_else(|found| panic!("{}", found.into_error(false)))
    }

    fn set(text: &str, given: &[&str]) -> Result<String, String> {
        let loaded = loaded(text);
        let app = &loaded.inventory.app;
        let said = |error: Error| {
            let hints: String = error.hints.iter().map(|hint| format!("\n  next: {hint}")).collect();
            format!("{}{hints}", error.message.trim_end())
        };
        let wanted = given
            .iter()
            .map(|given| new_ref(app, given))
            .collect::<Result<Vec<_>, _>>();
        with_refs(&loaded, text, &wanted.map_err(said)?).map_err(said)
    }

    /// The app's part of an inventory of two apps.
    fn frappe(apps: &str) -> String {
        format!(
            "# mine\ncluster: demo\nhosts: {{ srv1: {{ address: 10.0.0.1 }} }}\napp:\n  kind: frappe\n{apps}\nsites: [ {{ name: a.example.com }} ] # end\n"
        )
    }

    /// Every style in which a ref is written: the scalar changes, and no other byte.
    #[test]
    fn only_the_ref_changes() {
        let flow = |git_ref: &str| {
            frappe(&format!(
                "  apps: [ {{ name: frappe, url: 'https://e.com/f', ref: {git_ref} }} ] # why"
            ))
        };
        let block = |git_ref: &str| {
            frappe(&format!(
                "  apps:\n    - name: frappe   # base\n      ref:   {git_ref}   # pinned: v1\n      url: https://e.com/f"
            ))
        };
        for (old, new, given) in [
            ("v1", "v2", "v2"),
            ("'v1'", "'v2'", "v2"),
            ("\"v1\"", "\"v2\"", "v2"),
            ("\"v\\x31\"", "\"v2\"", "v2"),
            ("v1", "feature/x=1,2@3", "frappe=feature/x=1,2@3"),
            ("&v v1", "&v v2", "v2"),
            ("!!str v1", "!!str v2", "v2"),
            // What would be no text without quotes gets them.
            ("v1", "\"15\"", "15"),
            ("v1", "\"1.10\"", "frappe=1.10"),
            ("v1", "\"true\"", "true"),
            ("v1", "\"null\"", "null"),
            ("v1", "\"@x\"", "@x"),
            ("v1", "\"%x\"", "%x"),
        ] {
            assert_eq!(set(&block(old), &[given]), Ok(block(new)), "{old} {given}");
        }
        assert_eq!(set(&flow("v1"), &["v2"]), Ok(flow("v2")));
        assert_eq!(set(&flow("v1"), &["frappe=a,b"]), Ok(flow("\"a,b\"")));
        let crlf = GUESTBOOK.replace('\n', "\r\n");
        assert_eq!(set(&crlf, &["guestbook=v2"]), Ok(crlf.replace("ref: main", "ref: v2")));
        assert_eq!(set(GUESTBOOK, &["v2"]), Ok(GUESTBOOK.replace("ref: main", "ref: v2")));
        assert_eq!(set(GUESTBOOK, &["main"]), Ok(GUESTBOOK.to_owned()), "the same again");
        let both = FRAPPE.replace("v15.51.2", "v15.52.0").replace("version-15", "v15.48.1");
        assert_eq!(set(FRAPPE, &["erpnext=v15.48.1", "frappe=v15.52.0"]), Ok(both));
    }

    #[test]
    fn what_shares_its_ref_changes_together_or_not_at_all() {
        let text = |git_ref: &str| {
            frappe(&format!(
                "  apps:\n    - {{ name: frappe, url: 'https://e.com/f', ref: &v {git_ref} }}\n    - {{ name: erpnext, url: 'https://e.com/e', ref: *v }}"
            ))
        };
        assert_eq!(set(&text("v1"), &["frappe=v2", "erpnext=v2"]), Ok(text("v2")));
        let refused = |given: &[&str]| set(&text("v1"), given).unwrap_err();
        insta::assert_snapshot!(format!(
            "{}\n\n{}\n\n{}",
            refused(&["frappe=v2"]),
            refused(&["erpnext=v2"]),
            refused(&["frappe=v2", "erpnext=v3"])
        ));
    }

    /// Nothing that is given becomes YAML, shell or an option.
    #[test]
    fn hostile_refs_are_refused() {
        for given in [
            "",
            "-x",
            "--upload-pack=x",
            "a b",
            "v1 # x",
            "v1\nurl: evil",
            "$(id)",
            "`id`",
            "a;b",
            "a'b",
            "a\"b",
            "{x: 1}",
            "[1]",
            "&a",
            "*a",
            "!x",
            "|",
            ">",
            "a..b",
            "a\u{1b}[31m",
            "frappe=",
            "frappe=-x",
            "nobody=v1",
            "é",
        ] {
            assert!(set(FRAPPE, &[given]).is_err(), "{given:?}");
            assert!(set(GUESTBOOK, &[given]).is_err() || given == "frappe=", "{given:?}");
        }
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}\n{}",
            set(FRAPPE, &["v1"]).unwrap_err(),
            set(FRAPPE, &["erpnex=v1"]).unwrap_err(),
            set(GUESTBOOK, &["guestbok=v1"]).unwrap_err(),
            set(GUESTBOOK, &["guestbook=a b\u{1b}[31m"]).unwrap_err(),
        ));
        let folded = frappe("  apps:\n    - name: frappe\n      url: 'https://e.com/f'\n      ref: >-\n        v1");
        insta::assert_snapshot!(set(&folded, &["v2"]).unwrap_err());
    }
}
