//! Files whose whole content hactl owns, and blocks in files that it shares with others.

use std::fmt::Write as _;

use similar::TextDiff;

use super::change::update_for;
use super::observed::{PathKind, PathState};
use super::path::ownership;
use super::{Action, Ask, Batch, Change, Kind, Observed, Script};
use crate::quote::sh;
use crate::secret::Text;

/// A file with all of its content.
#[derive(Debug, Clone)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Its content.
    pub text: Text,
    /// Owner's name.
    pub owner: String,
    /// Group's name.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// The daemon's own check, passed before the file goes live.
    pub validator: Option<Validator>,
    /// The template it was rendered from, to explain a daemon's complaint.
    pub source: Option<Source>,
    /// Written only when it does not exist: for files that a daemon rewrites.
    pub seed: bool,
}

/// A daemon's own check of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Names the batch: files with the same validator are checked and swapped together.
    pub name: String,
    /// The folder that is checked as a whole: a copy of it with the new files laid over is `"$TREE"` in the check, so
    /// includes must be relative. `None`: each file alone, as `"$FILE"`.
    pub tree: Option<String>,
    /// Shell; passes when the configuration is accepted.
    pub check: String,
}

/// Where a rendered text came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name or path of the template, as a user knows it.
    pub template: String,
    /// Template line (from 1) of each rendered line; empty when it could not be told.
    pub lines: Vec<u32>,
}

/// A marked block in a file of somebody else, e.g. in `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Absolute path of the file.
    pub path: String,
    /// Names the block in its markers.
    pub name: String,
    /// Lines of the block, each ended.
    pub text: String,
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Unified diff of two texts.
pub(super) fn unified(old: &str, new: &str, path: &str) -> String {
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(2)
        .header(path, path)
        .to_string()
}

impl File {
    /// A plain file of root's, mode 0644.
    pub fn new(path: impl Into<String>, text: impl Into<Text>) -> Self {
        File {
            path: path.into(),
            text: text.into(),
            owner: "root".into(),
            group: "root".into(),
            mode: 0o644,
            validator: None,
            source: None,
            seed: false,
        }
    }

    /// Sets owner, group and mode.
    #[must_use]
    pub fn owned(mut self, owner: impl Into<String>, group: impl Into<String>, mode: u32) -> Self {
        self.owner = owner.into();
        self.group = group.into();
        self.mode = mode;
        self
    }

    fn diff(&self, seen: &Observed) -> Option<String> {
        let new = self.text.shown()?;
        match seen.contents.get(&self.path) {
            Some(old) => Some(unified(std::str::from_utf8(old).ok()?, new, &self.path)),
            None if !seen.paths.contains_key(&self.path) => Some(unified("", new, &self.path)),
            None => None,
        }
    }

    /// Whether a diff for this change needs the file's present content, which the first probe does not fetch.
    pub fn wants_content(&self, seen: &Observed) -> bool {
        !self.text.is_secret()
            && !self.seed
            && !seen.contents.contains_key(&self.path)
            && seen.paths.get(&self.path).is_some_and(|state| {
                state.kind == PathKind::File && state.sha256.as_deref() != Some(&sha256(self.text.reveal().as_bytes()))
            })
    }

    fn put(&self, script: &mut Script, change: &Change) {
        if let Some(expected) = change.expects.as_deref().and_then(|e| e.strip_prefix("sha256:")) {
            script.line(format!("expect {} {}", sh(&self.path), sh(expected)));
        }
        let blob = script.blob(self.text.clone());
        script.line(format!(
            "put {} {} {} {:04o} {blob}",
            sh(&self.path),
            sh(&self.owner),
            sh(&self.group),
            self.mode
        ));
    }
}

impl Kind for File {
    fn id(&self) -> String {
        format!("file {}", self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let Some(state) = seen.paths.get(&self.path) else {
            let lines = self.text.reveal().lines().count();
            let text = if self.text.is_secret() {
                "holds secrets".to_owned()
            } else {
                format!("{lines} lines")
            };
            let summary = format!("{text}, {}:{} {:04o}", self.owner, self.group, self.mode);
            return Some(Change {
                diff: self.diff(seen),
                ..Change::new(Action::Create, summary)
            });
        };
        if self.seed {
            return None;
        }
        if state.kind != PathKind::File {
            return Some(Change::new(
                Action::Update,
                "something that is no regular file is in its place",
            ));
        }
        let mut reasons = ownership(state, &self.owner, &self.group, self.mode);
        let same_text = state.sha256.as_deref() == Some(&sha256(self.text.reveal().as_bytes()));
        if !same_text {
            reasons.insert(
                0,
                if self.text.is_secret() {
                    "content (changed)".into()
                } else {
                    "content".into()
                },
            );
        }
        update_for(reasons).map(|change| Change {
            diff: if same_text { None } else { self.diff(seen) },
            expects: state
                .sha256
                .as_ref()
                .map(|sha| format!("sha256:{sha}"))
                .filter(|_| !self.text.is_secret()),
            ..change
        })
    }

    fn project(&self, seen: &mut Observed) {
        if self.seed && seen.paths.contains_key(&self.path) {
            return;
        }
        let unchanged = seen.sha256(&self.path) == Some(&sha256(self.text.reveal().as_bytes()));
        let mtime = if unchanged {
            seen.paths[&self.path].mtime
        } else {
            PathState::LATER
        };
        seen.contents.remove(&self.path);
        seen.paths.insert(
            self.path.clone(),
            PathState {
                kind: PathKind::File,
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
                mtime,
                sha256: Some(sha256(self.text.reveal().as_bytes())),
                target: None,
            },
        );
    }

    fn converge(&self, change: &Change, _: &Observed) -> Script {
        swap(&[(self, change)])
    }

    fn batch(&self) -> Option<Batch> {
        self.validator.as_ref().map(|v| Batch::Validated(v.name.clone()))
    }
}

/// Checks files of one validator together and puts them in place; none goes live when the check fails.
pub(super) fn swap(files: &[(&File, &Change)]) -> Script {
    let mut script = Script::default();
    if let Some(validator) = files.first().and_then(|(file, _)| file.validator.as_ref()) {
        match &validator.tree {
            Some(tree) => stage_tree(&mut script, files, tree, validator),
            None => {
                for (file, _) in files {
                    let blob = script.blob(file.text.clone());
                    script.line(format!("FILE={blob}"));
                    check(&mut script, validator, "$FILE", &file.path);
                }
            }
        }
    }
    for (file, change) in files {
        file.put(&mut script, change);
    }
    script
}

fn stage_tree(script: &mut Script, files: &[(&File, &Change)], tree: &str, validator: &Validator) {
    script.line(format!(
        "TREE=\"$R/tree\"; rm -rf \"$TREE\"; mkdir -p \"$TREE\"; cp -a -- {}/. \"$TREE\"/",
        sh(tree)
    ));
    for (file, _) in files {
        let Some(relative) = file.path.strip_prefix(tree).map(|rest| rest.trim_start_matches('/')) else {
            continue;
        };
        let blob = script.blob(file.text.clone());
        let staged = format!("\"$TREE\"/{}", sh(relative));
        script.line(format!(
            "mkdir -p -- \"$(dirname -- {staged})\" && rm -f -- {staged} && cat {blob} >{staged} || fail 'cannot stage the new configuration'"
        ));
    }
    check(script, validator, "$TREE", tree);
}

/// Runs the check; the daemon's message names the staged path, which is turned into the real one.
fn check(script: &mut Script, validator: &Validator, staged: &str, real: &str) {
    script.line(format!(
        "export TREE FILE 2>/dev/null; if ! ( {} ) >\"$R/check\" 2>&1; then",
        validator.check
    ));
    script.line(format!("    sed \"s#{staged}#\"{}\"#g\" \"$R/check\"", sh(real)));
    script.line(format!(
        "    fail {}; fi",
        sh(&format!(
            "{} refuses the new configuration; the old files are still in place",
            validator.name
        ))
    ));
}

impl Block {
    fn markers(&self) -> (String, String) {
        (
            format!("# hactl begin {}", self.name),
            format!("# hactl end {}", self.name),
        )
    }

    fn current<'a>(&self, content: &'a str) -> Option<&'a str> {
        let (begin, end) = self.markers();
        let start = content.find(&format!("{begin}\n"))? + begin.len() + 1;
        let length = content[start..].find(&format!("{end}\n"))?;
        Some(&content[start..start + length])
    }
}

impl Kind for Block {
    fn id(&self) -> String {
        format!("block {} in {}", self.name, self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
        ask.contents.insert(self.path.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let content = seen
            .contents
            .get(&self.path)
            .map(|bytes| String::from_utf8_lossy(bytes));
        match content.as_deref().and_then(|content| self.current(content)) {
            Some(text) if text == self.text => None,
            Some(text) => Some(Change {
                diff: Some(unified(text, &self.text, &self.path)),
                ..Change::new(Action::Update, "content")
            }),
            None => Some(Change {
                diff: Some(unified("", &self.text, &self.path)),
                ..Change::new(Action::Create, format!("{} lines", self.text.lines().count()))
            }),
        }
    }

    fn project(&self, seen: &mut Observed) {
        let (begin, end) = self.markers();
        let old = seen
            .contents
            .get(&self.path)
            .map(|old| String::from_utf8_lossy(old).into_owned());
        let mut rest = old.unwrap_or_default();
        if let Some(text) = self.current(&rest).map(|text| format!("{begin}\n{text}{end}\n")) {
            rest = rest.replacen(&text, "", 1);
        }
        seen.contents.insert(
            self.path.clone(),
            format!("{rest}{begin}\n{}{end}\n", self.text).into_bytes(),
        );
        let state = seen.paths.entry(self.path.clone()).or_insert_with(PathState::foretold);
        state.sha256 = None;
        state.mtime = PathState::LATER;
    }

    fn converge(&self, _: &Change, _: &Observed) -> Script {
        let (begin, end) = self.markers();
        let mut script = Script::default();
        let blob = script.blob(format!("{begin}\n{}{end}\n", self.text));
        let path = sh(&self.path);
        let (begin, end) = (sh(&begin), sh(&end));
        script.line(format!("[ -e {path} ] || : >{path}"));
        // A begin without its end would make everything after it look like the block.
        script.line(format!(
            "[ \"$(grep -cxF -e {begin} {path})\" = \"$(grep -cxF -e {end} {path})\" ] || fail 'the markers of the block are damaged: mend them by hand'"
        ));
        script.line(format!(
            "awk -v b={begin} -v e={end} '$0==b{{skip=1}} !skip{{print}} $0==e{{skip=0}}' {path} >\"$R/block\" && cat {blob} >>\"$R/block\" || fail 'cannot compose the new file'"
        ));
        script.line(format!(
            "put {path} \"$(stat -c %U {path})\" \"$(stat -c %G {path})\" \"$(stat -c %a {path})\" \"$R/block\""
        ));
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    #[test]
    fn blocks_of_one_file_leave_each_other_alone() {
        let block = |name: &str, text: &str| Block {
            path: "/etc/hosts".into(),
            name: name.into(),
            text: text.into(),
        };
        let mut seen = Observed::bare(Facts::assumed());
        seen.contents
            .insert("/etc/hosts".into(), b"127.0.0.1 localhost\n".to_vec());
        let all = [block("a", "1 a\n"), block("b", "2 b\n"), block("a", "3 a\n")];
        for block in &all {
            assert!(block.compare(&seen).is_some());
            block.project(&mut seen);
        }
        assert_eq!([&all[1], &all[2]].map(|block| block.compare(&seen)), [None, None]);
        let content = String::from_utf8_lossy(&seen.contents["/etc/hosts"]).into_owned();
        assert_eq!(
            content,
            "127.0.0.1 localhost\n# hactl begin b\n2 b\n# hactl end b\n# hactl begin a\n3 a\n# hactl end a\n"
        );
    }
}
