//! Which built-in template an override was copied from: its first line says so, and a later hactl compares.

use std::path::Path;

use super::builtin::TEMPLATES;
use crate::error::{Error, Result};
use crate::inventory::suggest;
use crate::resource::file::sha256;

/// What is remarked about an override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// The built-in template has changed since the override was copied from it.
    Outdated {
        /// The override's file.
        path: String,
        /// The template's name.
        name: String,
        /// The hactl whose built-in was copied.
        version: String,
    },
    /// The override does not say what it was copied from.
    Unknown {
        /// The override's file.
        path: String,
        /// The template's name.
        name: String,
    },
}

/// Names of the built-in templates.
pub fn names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// A copy of a built-in template with the line that says what it is a copy of.
///
/// # Errors
/// There is none of that name.
pub fn export(name: &str) -> Result<String> {
    let wanted = name.trim_end_matches(".tera");
    match TEMPLATES.iter().find(|(known, _)| *known == wanted) {
        Some((_, text)) => Ok(format!("{}\n{text}", mark(text))),
        None => Err(Error::usage(format!(
            "there is no built-in template `{}`",
            crate::quote::terminal(name)
        ))
        .hint(suggest::among(wanted, names()))),
    }
}

/// What there is to say about an override of a built-in template.
pub fn remark(path: &Path, name: &str, text: &str, built_in: &str) -> Option<Remark> {
    let (path, name) = (path.display().to_string(), name.to_owned());
    match origin(text) {
        None => Some(Remark::Unknown { path, name }),
        Some((_, hash)) if hash == digest(built_in) => None,
        Some((version, _)) => Some(Remark::Outdated {
            path,
            name,
            version: version.to_owned(),
        }),
    }
}

/// `{# hactl: 0.1.0 0123456789abcdef #}`: version and hash of the built-in template.
fn mark(text: &str) -> String {
    format!("{{# hactl: {} {} #}}", env!("CARGO_PKG_VERSION"), digest(text))
}

fn origin(text: &str) -> Option<(&str, &str)> {
    let line = text.lines().next()?.trim();
    let words = line.strip_prefix("{# hactl:")?.strip_suffix("#}")?.trim();
    let (version, hash) = words.split_once(' ')?;
    let hash = hash.trim();
    (hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit())).then_some((version, hash))
}

fn digest(text: &str) -> String {
    let mut digest = sha256(text.as_bytes());
    digest.truncate(16);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_is_compared_with_the_built_in_that_it_was_copied_from() {
        let (name, built_in) = TEMPLATES[0];
        let copy = export(name).unwrap();
        let path = Path::new("templates/x");
        assert_eq!(remark(path, name, &copy, built_in), None);
        assert_eq!(remark(path, name, &format!("{copy}\nmine\n"), built_in), None);
        assert!(matches!(
            remark(path, name, &copy, "what a later version has\n"),
            Some(Remark::Outdated { version, .. }) if version == env!("CARGO_PKG_VERSION")
        ));
        for text in [
            "",
            "mine\n",
            "{# hactl: #}\n",
            "{# hactl: 1 x #}\n",
            "\n{# hactl: 1 0123456789abcdef #}\n",
        ] {
            assert!(
                matches!(remark(path, name, text, built_in), Some(Remark::Unknown { .. })),
                "{text}"
            );
        }
    }

    /// The line leaves no trace in what is rendered.
    #[test]
    fn a_copy_renders_as_the_original() {
        use crate::role::Templates;
        let folder = tempfile::tempdir().unwrap();
        for name in names() {
            let path = folder.path().join(format!("{name}.tera"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, export(name).unwrap()).unwrap();
        }
        let copies = Templates::load(Some(folder.path())).unwrap();
        assert_eq!(copies.remarks(), []);
        let inventory = crate::role::testing::inventory(crate::role::testing::GUESTBOOK);
        let facts = crate::resource::Facts::assumed();
        let view = crate::topology::Topology::of(&inventory).hosts().next().unwrap();
        let texts = |desired: crate::plan::Desired| -> Vec<String> {
            let files = desired
                .resources
                .into_iter()
                .filter_map(|resource| match resource.spec {
                    crate::resource::Spec::File(file) => Some(file.text.reveal().to_owned()),
                    _ => None,
                });
            files.collect()
        };
        let of_copies = crate::role::desired(view, &facts, &copies, &crate::role::testing::Named).unwrap();
        let of_built_in = crate::role::testing::first(&inventory, &facts);
        assert_eq!(texts(of_copies), texts(of_built_in));
    }
}
