//! Templates: compiled in, single files overridden by the user's.
//!
//! Three things beyond Tera: tags alone on a line leave no empty line behind; secrets are named in a template and filled
//! in after rendering, so that no error or context can print one; and each rendered line knows its template line, so that
//! a daemon's complaint about a rendered file can be shown where the user can mend it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tera::{Context, ErrorKind, Kwargs, State, Tera, TeraResult};

use super::overrides::{self, Remark};
use crate::error::{Error, Kind, Result};
use crate::resource::Source;
use crate::secret::{Secret, SecretStore, Text};

/// Brackets around the name of a secret in rendered text: private-use characters, which inventories cannot contain.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';
/// Bracket around the number of a template line in the second rendering.
const LINE: char = '\u{e002}';

/// Name of the template of [`Templates::single`].
pub const SINGLE: &str = "template";

/// All templates of a run.
pub struct Templates {
    plain: Tera,
    /// The same templates with line marks.
    marked: Tera,
    files: BTreeMap<String, Loaded>,
    remarks: Vec<Remark>,
}

struct Loaded {
    /// What a user calls it.
    shown: String,
    text: String,
    /// Original line of each line after preparation.
    lines: Vec<u32>,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").field("files", &self.files.keys()).finish()
    }
}

impl Templates {
    /// The compiled-in templates, with those in `overrides` in their place.
    ///
    /// # Errors
    /// A file that cannot be read, that replaces nothing, or that Tera cannot parse (with its line).
    pub fn load(overrides: Option<&Path>) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut remarks = Vec::new();
        for (name, text) in super::builtin::TEMPLATES {
            let (prepared, lines) = prepare(text);
            let shown = format!("built-in template {name}");
            files.insert(
                (*name).to_owned(),
                (
                    prepared,
                    Loaded {
                        shown,
                        text: (*text).to_owned(),
                        lines,
                    },
                ),
            );
        }
        if let Some(root) = overrides {
            for path in walk(root)? {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                let name = name.trim_end_matches(".tera").to_owned();
                if !files.contains_key(&name) {
                    let names: Vec<_> = files.keys().map(String::as_str).collect();
                    return Err(unknown_override(&path, &name, &names));
                }
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| Error::usage(format!("{}: cannot read the template: {error}", path.display())))?;
                let (prepared, lines) = prepare(&text);
                if let Some((_, built_in)) = super::builtin::TEMPLATES.iter().find(|(known, _)| *known == name) {
                    remarks.extend(overrides::remark(&path, &name, &text, built_in));
                }
                files.insert(
                    name,
                    (
                        prepared,
                        Loaded {
                            shown: path.display().to_string(),
                            text,
                            lines,
                        },
                    ),
                );
            }
        }
        let (plain, marked) = (engine(), engine());
        let mut templates = Templates {
            plain,
            marked,
            files: BTreeMap::new(),
            remarks,
        };
        for (name, (prepared, loaded)) in files {
            templates
                .marked
                .add_raw_template(&name, &mark_lines(&prepared, &loaded.lines))
                .ok();
            let added = templates.plain.add_raw_template(&name, &prepared);
            templates.files.insert(name.clone(), loaded);
            added.map_err(|error| templates.explain(&name, &error))?;
        }
        Ok(templates)
    }

    /// One template, [`SINGLE`], that a user calls `shown`.
    ///
    /// # Errors
    /// Tera cannot parse it (with its line).
    pub fn single(shown: &str, text: &str) -> Result<Self> {
        let (prepared, lines) = prepare(text);
        let mut templates = Templates {
            plain: engine(),
            marked: engine(),
            files: BTreeMap::new(),
            remarks: Vec::new(),
        };
        templates
            .marked
            .add_raw_template(SINGLE, &mark_lines(&prepared, &lines))
            .ok();
        let added = templates.plain.add_raw_template(SINGLE, &prepared);
        let loaded = Loaded {
            shown: shown.to_owned(),
            text: text.to_owned(),
            lines,
        };
        templates.files.insert(SINGLE.to_owned(), loaded);
        added.map_err(|error| templates.explain(SINGLE, &error))?;
        Ok(templates)
    }

    /// What is to be said about the overrides.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Renders a template. The text is secret as soon as it uses one secret.
    ///
    /// # Errors
    /// A name that the context lacks, a failing filter, a missing secret; all name the template's file and line.
    pub fn render(&self, name: &str, context: &Value, secrets: &dyn SecretStore) -> Result<(Text, Source)> {
        let tera_context = Context::from_serialize(context)
            .map_err(|error| Error::internal(format!("template {name}: context is no map: {error}")))?;
        self.check_names(name, context)?;
        let rendered = self
            .plain
            .render(name, &tera_context)
            .map_err(|error| self.explain(name, &error))?;
        let marked = self.marked.render(name, &tera_context).unwrap_or_default();
        let shown = self.files.get(name).map(|file| file.shown.clone()).unwrap_or_default();
        let source = Source {
            template: shown,
            lines: line_map(&marked, &rendered),
        };
        let filled = fill(&rendered, secrets).map_err(|error| self.of_secret(name, error))?;
        Ok((filled, source))
    }

    /// A secret that a template asks for and that there is not: whose template that is.
    fn of_secret(&self, name: &str, error: Error) -> Error {
        let shown = self.files.get(name).map_or(name, |file| file.shown.as_str());
        Error {
            kind: Kind::Usage,
            message: format!("{shown}: {}", error.message),
            hints: error.hints,
        }
    }

    /// Tera lets an unknown name pass in `if`, `==` and `~`: a typo would silently choose a branch.
    fn check_names(&self, name: &str, context: &Value) -> Result<()> {
        let Ok(names) = self.plain.get_template_variables(name) else {
            return Ok(());
        };
        let mut missing: Vec<_> = names.into_iter().filter(|name| context.get(name).is_none()).collect();
        missing.sort_unstable();
        let Some(first) = missing.first() else { return Ok(()) };
        let file = self.files.get(name);
        let shown = file.map(|file| file.shown.as_str()).unwrap_or(name);
        let line = file
            .and_then(|file| file.text.lines().position(|line| line.contains(first)))
            .map_or(1, |at| at + 1);
        let known: Vec<_> = context
            .as_object()
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default();
        Err(Error::usage(format!("{shown}:{line}: unknown name `{first}`"))
            .hint(format!("this template knows: {}", known.join(", "))))
    }

    fn explain(&self, name: &str, error: &tera::Error) -> Error {
        let report = match error.kind() {
            ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => report,
            _ => {
                let shown = self.files.get(name).map_or(name, |file| file.shown.as_str());
                let text = error.to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                return Error::usage(format!("{shown}: {text}"));
            }
        };
        let name = if report.filename().is_empty() {
            name
        } else {
            report.filename()
        };
        let Some(file) = self.files.get(name) else {
            return Error::usage(format!("{name}: {}", report.message()));
        };
        let span = report.span();
        let line = file
            .lines
            .get(span.start_line.saturating_sub(1))
            .copied()
            .unwrap_or(span.start_line as u32);
        let source = file
            .text
            .lines()
            .nth(line.saturating_sub(1) as usize)
            .unwrap_or_default();
        let caret = " ".repeat(span.start_col.min(source.len()));
        Error::new(
            Kind::Usage,
            format!(
                "{}:{line}: {}\n  {line} | {source}\n  {} | {caret}^",
                file.shown,
                report.message(),
                " ".repeat(line.to_string().len())
            ),
        )
    }
}

/// Renders a template of hactl's own that is no file of a host and has no secrets.
///
/// # Errors
/// A defect of the template.
pub fn once(name: &str, text: &str, context: &Value) -> Result<String> {
    let failed = |error: tera::Error| Error::internal(format!("{name}: {error}"));
    let context = Context::from_serialize(context).map_err(failed)?;
    let mut tera = engine();
    tera.add_raw_template(name, &prepare(text).0).map_err(failed)?;
    tera.render(name, &context).map_err(failed)
}

/// A YAML scalar that is read as this very text.
fn yaml_text(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if is_plain || is_address {
        text.to_owned()
    } else {
        // JSON's strings are YAML's double-quoted ones.
        Value::from(text).to_string()
    }
}

fn engine() -> Tera {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("yaml", |value: &str, _: Kwargs, _: &State| -> TeraResult<String> {
        Ok(yaml_text(value))
    });
    tera.register_filter("shq", |value: &str, _: Kwargs, _: &State| -> TeraResult<String> {
        Ok(crate::quote::sh(value))
    });
    tera.register_filter(
        "json",
        |value: tera::Value, _: Kwargs, _: &State| -> TeraResult<String> {
            serde_json::to_string(&value).map_err(|error| tera::Error::message(error.to_string()))
        },
    );
    tera.register_function("secret", |kwargs: Kwargs, _: &State| -> TeraResult<String> {
        let name: &str = kwargs.must_get("name")?;
        let form: &str = kwargs.get("as")?.unwrap_or("plain");
        if !matches!(form, "plain" | "url" | "redis" | "redis_auth" | "sh") {
            return Err(tera::Error::message(format!(
                "secret(as=\"{form}\"): there are plain, url, redis, redis_auth and sh"
            )));
        }
        Ok(format!("{OPEN}{form}:{name}{CLOSE}"))
    });
    tera
}

/// Puts secrets where their names are.
fn fill(rendered: &str, secrets: &dyn SecretStore) -> Result<Text> {
    let mut parts = rendered.split(OPEN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut secret = false;
    for part in parts {
        let Some((name, rest)) = part.split_once(CLOSE) else {
            continue;
        };
        let (form, name) = name.split_once(':').unwrap_or(("plain", name));
        let value = secrets.secret(name)?;
        match form {
            "url" => out.push_str(&percent_encode(value.reveal())),
            "redis" => out.push_str(&crate::resource::redis::word(value.reveal())),
            "redis_auth" => out.push_str(&crate::resource::redis::auth_hex(value.reveal())),
            "sh" => out.push_str(&crate::quote::sh(value.reveal())),
            _ => out.push_str(value.reveal()),
        }
        out.push_str(rest);
        secret = true;
    }
    Ok(if secret {
        Text::Secret(Secret::new(out))
    } else {
        Text::Plain(out)
    })
}

/// A value as part of a URL's user information: everything but RFC 3986's unreserved characters is encoded.
pub fn percent_encode(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// Joins lines that hold nothing but a tag or a comment to the line after them, so that they leave no empty line.
/// Gives the text and the original line of each of its lines.
fn prepare(text: &str) -> (String, Vec<u32>) {
    let mut out = String::with_capacity(text.len());
    let mut lines = Vec::new();
    let mut at_start = true;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if at_start {
            lines.push(index as u32 + 1);
        }
        let bare = line.trim();
        let one = |open: &str, close: &str| {
            bare.starts_with(open) && bare.ends_with(close) && bare.matches(open).count() == 1
        };
        if one("{%", "%}") || one("{#", "#}") {
            out.push_str(bare);
            at_start = false;
        } else {
            // A content line after a joined tag is the one that the rendered line should point to.
            if !at_start && let Some(last) = lines.last_mut() {
                *last = index as u32 + 1;
            }
            out.push_str(line);
            at_start = line.ends_with('\n');
        }
    }
    (out, lines)
}

/// Puts a mark with the original number at the start of each line that does not start inside a tag; for lines that
/// begin with tags, behind them.
fn mark_lines(prepared: &str, lines: &[u32]) -> String {
    let mut out = String::with_capacity(prepared.len() * 2);
    let mut inside = false;
    for (index, line) in prepared.split_inclusive('\n').enumerate() {
        if !inside && let Some(number) = lines.get(index) {
            let mut at = 0;
            while let Some(rest) = line
                .get(at..)
                .filter(|rest| rest.starts_with("{%") || rest.starts_with("{#"))
            {
                let close = if rest.starts_with("{%") { "%}" } else { "#}" };
                match rest.find(close) {
                    Some(end) => at += end + 2,
                    None => break,
                }
            }
            out.push_str(&line[..at]);
            out.push_str(&format!("{LINE}{number}{LINE}"));
            out.push_str(&line[at..]);
        } else {
            out.push_str(line);
        }
        let opens = line.matches("{{").count() + line.matches("{%").count() + line.matches("{#").count();
        let closes = line.matches("}}").count() + line.matches("%}").count() + line.matches("#}").count();
        inside = if opens == closes { inside } else { opens > closes };
    }
    out
}

/// The template line of each rendered line; empty when the marks changed what was rendered.
fn line_map(marked: &str, rendered: &str) -> Vec<u32> {
    let mut clean = String::with_capacity(rendered.len());
    let mut map = Vec::new();
    let mut last = 1;
    for line in marked.split_inclusive('\n') {
        let (mut first, before) = (None, clean.len());
        for (index, part) in line.split(LINE).enumerate() {
            if index % 2 == 0 {
                clean.push_str(part);
            } else if first.is_none() || clean.ends_with('\n') {
                first = part.parse().ok();
            }
        }
        last = first.unwrap_or(last);
        // A mark behind the last line break has no line of its own.
        if clean.len() > before {
            map.push(last);
        }
    }
    if clean == rendered { map } else { Vec::new() }
}

fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let problem = |path: &Path, error: std::io::Error| {
        Error::usage(format!("{}: cannot read the template folder: {error}", path.display()))
    };
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| problem(&folder, error))? {
            let path = entry.map_err(|error| problem(&folder, error))?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            match (hidden, path.is_dir()) {
                (true, _) => {}
                (false, true) => folders.push(path),
                (false, false) => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn unknown_override(path: &Path, name: &str, names: &[&str]) -> Error {
    let nearest = names
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)));
    let error = Error::usage(format!(
        "{}: there is no built-in template `{name}` to override",
        path.display()
    ));
    match nearest {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl SecretStore for Fixed {
        fn secret(&self, name: &str) -> Result<Secret> {
            Ok(Secret::new(format!("<{name}> \"x\"")))
        }
    }

    fn templates(text: &str) -> Templates {
        Templates::single("t", text).unwrap()
    }

    #[test]
    fn tags_alone_on_a_line_leave_nothing_and_lines_are_mapped() {
        let text = "a\n{% for x in xs %}\nx {{ x }}\n  {# why #}\n{% endfor %}\nb\n";
        let (out, source) = templates(text)
            .render(SINGLE, &serde_json::json!({ "xs": [1, 2] }), &Fixed)
            .unwrap();
        assert_eq!(out.reveal(), "a\nx 1\nx 2\nb\n");
        assert_eq!(source.lines, [1, 3, 3, 6]);
    }

    #[test]
    fn a_secret_makes_the_text_secret_in_the_wanted_form() {
        let out =
            templates("p {{ secret(name=\"a\", as=\"redis\") }}\n").render(SINGLE, &serde_json::json!({}), &Fixed);
        let (text, _) = out.unwrap();
        assert!(text.is_secret());
        assert_eq!(text.reveal(), "p \"<a> \\\"x\\\"\"\n");
    }

    #[test]
    fn unknown_names_are_refused_even_where_tera_would_not() {
        let error =
            templates("a\n{% if typo %}\nb\n{% endif %}\n").render(SINGLE, &serde_json::json!({"known": 1}), &Fixed);
        assert_eq!(error.unwrap_err().message, "t:2: unknown name `typo`");
    }

    #[test]
    fn errors_point_to_the_original_line() {
        let error = templates("a\n{% if true %}\n{{ host.typo }}\n{% endif %}\n")
            .render(SINGLE, &serde_json::json!({"host": {"a": 1}}), &Fixed)
            .unwrap_err();
        assert!(error.message.starts_with("t:3: "), "{}", error.message);
    }
}
