//! Who a host is: OpenSSH's `known_hosts` files, read the way OpenSSH reads them.
//!
//! russh's own check accepts revoked keys, refuses rotated ones and never matches patterns, so only the parsers of the
//! two fields that are hard (hashed names, public keys) are taken from it. Lines that cannot be parsed are skipped, as
//! ssh does.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::RngCore;
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::{Algorithm, PublicKey};
use sha1::{Digest, Sha1};

/// The name under which a host's keys are filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// `host`, or `[host]:port` for another port than 22, or the HostKeyAlias; lower case.
    filed: String,
    /// The plain name where `filed` has a port. ssh trusts a key filed there too.
    plain: Option<String>,
}

impl HostName {
    /// Name for a host at a port.
    pub fn new(host: &str, port: u16) -> Self {
        let host = host.to_lowercase();
        if port == 22 {
            HostName {
                filed: host,
                plain: None,
            }
        } else {
            HostName {
                filed: format!("[{host}]:{port}"),
                plain: Some(host),
            }
        }
    }

    /// Name by HostKeyAlias, which has no port.
    pub fn alias(alias: &str) -> Self {
        HostName {
            filed: alias.to_lowercase(),
            plain: None,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.filed)
    }
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line number from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

#[derive(Debug, Clone)]
struct Line {
    place: Place,
    marker: Marker,
    key: PublicKey,
    /// Filed under the plain name while another port is meant: may confirm, never contradicts.
    plain: bool,
}

/// What the files say about one host.
#[derive(Debug, Clone, Default)]
pub struct Known {
    lines: Vec<Line>,
}

/// The judgement on a key that a host presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Known and the same.
    Trusted,
    /// Nothing is known about the host.
    Unknown,
    /// Another key is known, at this place: an attack, or a reinstalled host.
    Changed(Place),
    /// The key is marked `@revoked`.
    Revoked(Place),
    /// Only a certificate authority is known for the host.
    AuthorityOnly(Place),
}

impl Known {
    /// Collects what `files` say about `name`. Files that do not exist are skipped.
    ///
    /// # Errors
    /// A file that exists and cannot be read, with its path: what it holds may contradict the host's key.
    pub fn read(files: &[PathBuf], name: &HostName) -> io::Result<Self> {
        let mut known = Known::default();
        for file in files {
            match fs::read(file) {
                Ok(text) => known.add(file, &String::from_utf8_lossy(&text), name),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
            }
        }
        Ok(known)
    }

    fn add(&mut self, file: &Path, text: &str, name: &HostName) {
        for (index, line) in text.split('\n').enumerate() {
            if let Some((marker, key, plain)) = parse(line, name) {
                let place = Place {
                    file: file.to_owned(),
                    line: index + 1,
                };
                self.lines.push(Line {
                    place,
                    marker,
                    key,
                    plain,
                });
            }
        }
    }

    /// Judges a key.
    pub fn judge(&self, key: &PublicKey) -> Verdict {
        let same = |line: &&Line| line.key.key_data() == key.key_data();
        let of = |marker: Marker| self.lines.iter().filter(move |line| line.marker == marker);
        if let Some(line) = of(Marker::Revoked).find(same) {
            return Verdict::Revoked(line.place.clone());
        }
        if of(Marker::None).any(|line| same(&line)) {
            return Verdict::Trusted;
        }
        let filed: Vec<&Line> = self.filed().collect();
        // The line to fix is the one with a key of the same kind; but a host known by another kind of key only is not
        // unknown either: an attacker would just offer the kind that is not filed.
        let other = filed.iter().find(|line| kind(&line.key) == kind(key)).or(filed.first());
        match (other, of(Marker::Authority).find(|line| !line.plain)) {
            (Some(line), _) => Verdict::Changed(line.place.clone()),
            (None, Some(line)) => Verdict::AuthorityOnly(line.place.clone()),
            (None, None) => Verdict::Unknown,
        }
    }

    /// The kinds of key filed for the host, without repetition: what to ask the host for.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut found = Vec::new();
        for line in self.filed() {
            if !found.contains(&kind(&line.key)) {
                found.push(kind(&line.key));
            }
        }
        found
    }

    /// Every line about the host with its port, markers included.
    pub fn lines(&self) -> Vec<&Place> {
        let exact = self.lines.iter().filter(|line| !line.plain);
        exact.map(|line| &line.place).collect()
    }

    /// Where keys of the host are filed.
    pub fn places(&self) -> Vec<Place> {
        self.filed().map(|line| line.place.clone()).collect()
    }

    /// The lines that a key must not contradict.
    fn filed(&self) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(|line| line.marker == Marker::None && !line.plain)
    }

    /// Whether a certificate authority is known for the host but no key of its own.
    pub fn by_authority_only(&self) -> bool {
        let has = |marker| self.lines.iter().any(|line| line.marker == marker);
        has(Marker::Authority) && !has(Marker::None)
    }
}

/// A key's algorithm without the hash that RSA signatures choose later.
fn kind(key: &PublicKey) -> Algorithm {
    match key.algorithm() {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other,
    }
}

/// Marker and key of a line that is about `name`; and whether it matched by the plain name only.
fn parse(line: &str, name: &HostName) -> Option<(Marker, PublicKey, bool)> {
    let mut fields = line.split([' ', '\t', '\r']).filter(|field| !field.is_empty());
    let first = fields.next().filter(|field| !field.starts_with('#'))?;
    let (marker, hosts) = match first {
        "@revoked" => (Marker::Revoked, fields.next()?),
        "@cert-authority" => (Marker::Authority, fields.next()?),
        other if other.starts_with('@') => return None,
        hosts => (Marker::None, hosts),
    };
    let plain = if matches(hosts, &name.filed) {
        false
    } else if name.plain.as_ref().is_some_and(|plain| matches(hosts, plain)) {
        true
    } else {
        return None;
    };
    let (algorithm, base64) = (fields.next()?, fields.next()?);
    let key = PublicKey::from_openssh(&format!("{algorithm} {base64}")).ok()?;
    Some((marker, key, plain))
}

/// Whether the host field of a line covers `name` (lower case).
fn matches(hosts: &str, name: &str) -> bool {
    match hosts.parse::<HostPatterns>() {
        Ok(HostPatterns::HashedName { salt, hash }) => hash == hmac_sha1(&salt, name.as_bytes()),
        Ok(HostPatterns::Patterns(patterns)) => {
            let mut found = false;
            for pattern in patterns {
                match pattern.strip_prefix('!') {
                    // One negated match excludes the host whatever else the list says.
                    Some(negated) if glob(negated, name) => return false,
                    Some(_) => {}
                    None => found |= glob(&pattern, name),
                }
            }
            found
        }
        Err(_) => false,
    }
}

/// OpenSSH's `match_pattern`: `*` and `?`, nothing else is special. Patterns are compared in lower case.
fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was and what it has swallowed so far; linear backtracking.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    p = at + 1;
                    n = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// RFC 2104 with SHA-1 and, as in known_hosts, a key no longer than a block.
fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    const BLOCK: usize = 64;
    let mut padded = [0; BLOCK];
    if key.len() > BLOCK {
        padded[..20].copy_from_slice(&Sha1::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let inner = Sha1::new()
        .chain_update(padded.map(|b| b ^ 0x36))
        .chain_update(message)
        .finalize();
    Sha1::new()
        .chain_update(padded.map(|b| b ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// Files a key for a host: one whole line, appended in one write so that runs side by side cannot tear it. A new file is
/// private, and so is a new folder.
///
/// # Errors
/// The folder or file cannot be created or written.
pub fn learn(file: &Path, name: &HostName, key: &PublicKey, hashed: bool) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut handle = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    let mut line = String::new();
    if handle.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [b'\n'];
        handle.read_exact(&mut last)?;
        if last != *b"\n" {
            line.push('\n');
        }
    }
    if hashed {
        let mut salt = [0; 20];
        rand::rng().fill_bytes(&mut salt);
        let hash = hmac_sha1(&salt, name.filed.as_bytes());
        line.push_str(&format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(hash)));
    } else {
        line.push_str(&name.filed);
    }
    let key = PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .map_err(io::Error::other)?;
    line.push_str(&format!(" {key}\n"));
    handle.write_all(line.as_bytes())
}
