//! What a bench's supervisord configuration says.

use std::collections::BTreeMap;

/// A `[program:NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: BTreeMap<String, String>,
}

impl Program {
    /// A key's value, empty without.
    pub fn get(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }

    /// Words of its command.
    pub fn words(&self) -> Vec<String> {
        shlex::split(self.get("command")).unwrap_or_default()
    }

    /// What follows one of these options in the command.
    pub fn option(&self, names: &[&str]) -> Option<String> {
        let words = self.words();
        let long = |word: &String| {
            names
                .iter()
                .find_map(|name| word.strip_prefix(&format!("{name}=")).map(str::to_owned))
        };
        let at = words.iter().position(|word| names.contains(&word.as_str()));
        at.and_then(|at| words.get(at + 1).cloned())
            .or_else(|| words.iter().find_map(long))
    }
}

/// The programs of a file, and the names of its groups.
pub fn read(text: &str) -> (Vec<Program>, Vec<String>) {
    let (mut programs, mut groups) = (Vec::new(), Vec::new());
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with([';', '#']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = false;
            if let Some(name) = section.strip_prefix("program:") {
                inside = true;
                programs.push(Program {
                    name: name.trim().to_owned(),
                    keys: BTreeMap::new(),
                });
            } else if let Some(name) = section.strip_prefix("group:") {
                groups.push(name.trim().to_owned());
            }
        } else if let (true, Some((key, value)), Some(program)) = (inside, line.split_once('='), programs.last_mut()) {
            program.keys.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    (programs, groups)
}
