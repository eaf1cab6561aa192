//! JSON files that hactl shares with the application: it owns some keys, the application writes others.

use serde_json::{Map, Value};

use super::change::update_for;
use super::observed::{PathKind, PathState};
use super::path::ownership;
use super::{Action, Ask, Change, Kind, Observed, Script};
use crate::quote::sh;
use crate::secret::Secret;

/// Keys that a JSON object in a file must have; other keys stay as they are.
#[derive(Debug, Clone)]
pub struct JsonKeys {
    /// Absolute path.
    pub path: String,
    /// A file whose keys it gets when it is made; afterwards that counts no more.
    pub base: Option<String>,
    /// Owner's name.
    pub owner: String,
    /// Group's name.
    pub group: String,
    /// Permission bits.
    pub mode: u32,
    /// Keys that may be shown.
    pub keys: Map<String, Value>,
    /// Keys that may not.
    pub secrets: Vec<(String, Secret)>,
    /// Keys that are set when they are missing and never changed: with another value, what it protects would be lost.
    pub seeds: Vec<(String, Secret)>,
}

impl JsonKeys {
    fn wanted(&self) -> Map<String, Value> {
        let mut wanted = self.keys.clone();
        for (key, secret) in &self.secrets {
            wanted.insert(key.clone(), Value::String(secret.reveal().to_owned()));
        }
        wanted
    }

    fn current(&self, seen: &Observed) -> Result<Map<String, Value>, String> {
        match seen.contents.get(&self.path) {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| format!("is no JSON object: {error}")),
            None if seen.paths.contains_key(&self.path) => Err("cannot be read, or is larger than 256 KiB".into()),
            None => match self
                .base
                .as_ref()
                .and_then(|base| Some((base, seen.contents.get(base)?)))
            {
                Some((base, bytes)) => {
                    serde_json::from_slice(bytes).map_err(|error| format!("{base} is no JSON object: {error}"))
                }
                None => Ok(Map::new()),
            },
        }
    }

    fn merged(&self, current: Map<String, Value>) -> String {
        let mut merged = current;
        for (key, secret) in &self.seeds {
            let value = || Value::String(secret.reveal().to_owned());
            merged.entry(key.clone()).or_insert_with(value);
        }
        merged.extend(self.wanted());
        // Frappe writes one blank of indentation and sorted keys; keeping both means that neither side rewrites a file
        // only for its looks.
        let mut sorted: Vec<_> = merged.into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let sorted: Map<String, Value> = sorted.into_iter().collect();
        let mut out = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
        if serde::Serialize::serialize(&sorted, &mut serializer).is_err() {
            return String::new();
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

impl Kind for JsonKeys {
    fn id(&self) -> String {
        format!("keys of {}", self.path)
    }

    fn ask(&self, ask: &mut Ask) {
        ask.path(&self.path);
        ask.contents.insert(self.path.clone());
        ask.contents.extend(self.base.clone());
    }

    fn compare(&self, seen: &Observed) -> Option<Change> {
        let Some(state) = seen.paths.get(&self.path) else {
            let mut names: Vec<_> = self.wanted().keys().cloned().collect();
            names.extend(self.seeds.iter().map(|(key, _)| key.clone()));
            let mut summary = names.join(", ");
            if let Some(base) = self.base.as_ref().filter(|base| seen.contents.contains_key(*base)) {
                summary.push_str(&format!("; all others as in {base}"));
            }
            return Some(Change::new(Action::Create, summary));
        };
        if state.kind != PathKind::File {
            return Some(Change::new(
                Action::Update,
                "something that is no regular file is in its place",
            ));
        }
        let mut reasons = ownership(state, &self.owner, &self.group, self.mode);
        match self.current(seen) {
            Err(why) => reasons.push(why),
            Ok(current) => {
                for (key, value) in &self.keys {
                    match current.get(key) {
                        Some(now) if now == value => {}
                        Some(now) => reasons.push(format!("{key} {now} → {value}")),
                        None => reasons.push(format!("{key} = {value}")),
                    }
                }
                for (key, secret) in &self.secrets {
                    if current.get(key).and_then(Value::as_str) != Some(secret.reveal()) {
                        reasons.push(format!("{key} (changed)"));
                    }
                }
                let missing = self.seeds.iter().filter(|(key, _)| !current.contains_key(key));
                reasons.extend(missing.map(|(key, _)| format!("{key} (missing)")));
            }
        }
        update_for(reasons)
    }

    fn project(&self, seen: &mut Observed) {
        let merged = self.merged(self.current(seen).unwrap_or_default());
        seen.paths.insert(
            self.path.clone(),
            PathState {
                kind: PathKind::File,
                mode: self.mode,
                owner: self.owner.clone(),
                group: self.group.clone(),
                mtime: PathState::LATER,
                sha256: Some(super::file::sha256(merged.as_bytes())),
                target: None,
            },
        );
        seen.contents.insert(self.path.clone(), merged.into_bytes());
    }

    fn converge(&self, _: &Change, seen: &Observed) -> Script {
        let current = match self.current(seen) {
            Ok(current) => current,
            Err(why) => {
                let text = format!("{} {why}; hactl will not overwrite it: mend it by hand", self.path);
                return Script::new(format!("fail {}\n", sh(&text)));
            }
        };
        let mut script = Script::default();
        let path = sh(&self.path);
        // The merge was made from what the probe saw: whoever wrote to it since would lose that.
        match seen.contents.get(&self.path) {
            Some(bytes) => script.line(format!("expect {path} {}", super::file::sha256(bytes))),
            None => {
                script.line(format!("expect {path} none"));
                let base = self
                    .base
                    .as_ref()
                    .and_then(|base| Some((base, seen.contents.get(base)?)));
                if let Some((base, bytes)) = base {
                    script.line(format!("expect {} {}", sh(base), super::file::sha256(bytes)));
                }
            }
        }
        let blob = script.blob(Secret::new(self.merged(current)));
        script.line(format!(
            "put {path} {} {} {:04o} {blob}",
            sh(&self.owner),
            sh(&self.group),
            self.mode
        ));
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Facts;

    fn keys(text: &str) -> (JsonKeys, Observed) {
        let json = JsonKeys {
            path: "/s.json".into(),
            base: None,
            owner: "frappe".into(),
            group: "frappe".into(),
            mode: 0o600,
            keys: serde_json::from_str(r#"{"port": 3306, "list": [1, {"a": true}]}"#).unwrap(),
            secrets: vec![("password".into(), Secret::new("s3cret"))],
            seeds: vec![("encryption_key".into(), Secret::new("new key"))],
        };
        let mut seen = Observed::bare(Facts::assumed());
        json.project(&mut seen);
        seen.contents.insert(json.path.clone(), text.as_bytes().to_vec());
        (json, seen)
    }

    /// By meaning: order, blanks and foreign keys do not count; a key that is set once may have any value.
    #[test]
    fn what_differs_is_named_without_secrets() {
        let wanted = r#""port":3306,"list":[1,{"a":true}],"password":"s3cret""#;
        for (text, summary) in [
            (format!("{{{wanted},\"encryption_key\":\"new key\"}}"), None),
            (
                format!("{{\"encryption_key\":\"old\", \"foreign\": 1,\n{wanted}}}"),
                None,
            ),
            (format!("{{{wanted}}}"), Some("encryption_key (missing)")),
            (
                r#"{"port":"3306","password":"x","encryption_key":"old"}"#.to_owned(),
                Some("port \"3306\" → 3306, list = [1,{\"a\":true}], password (changed)"),
            ),
        ] {
            let (json, seen) = keys(&text);
            let change = json.compare(&seen).map(|change| change.summary);
            assert_eq!(change.as_deref(), summary, "{text}");
        }
    }

    #[test]
    fn foreign_keys_and_keys_that_are_set_once_survive() {
        let (json, mut seen) = keys(r#"{"mute": 1, "port": 1, "encryption_key": "old"}"#);
        json.project(&mut seen);
        assert_eq!(json.compare(&seen), None);
        let after: Value = serde_json::from_slice(&seen.contents["/s.json"]).unwrap();
        let expected = serde_json::json!({
            "encryption_key": "old", "list": [1, {"a": true}], "mute": 1, "password": "s3cret", "port": 3306
        });
        assert_eq!(after, expected);
    }
}
