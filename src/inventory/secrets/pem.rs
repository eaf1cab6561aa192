//! Certificates and keys that the operator gave as files: read here, since roles do no I/O.

use std::path::Path;

use crate::error::Error;
use crate::inventory::model::{Inventory, Site, Tls};
use crate::secret::Secret;

/// Largest PEM file that is read, bytes; chains have a few KiB.
const LIMIT: u64 = 256 * 1024;

/// Name of the secret that holds a site's certificate chain.
pub fn certificate(site: &Site) -> String {
    format!("tls/{}/certificate", site.name)
}

/// Name of the secret that holds a site's key.
pub fn key(site: &Site) -> String {
    format!("tls/{}/key", site.name)
}

/// The files of all sites, by secret name, each with the result of reading it.
pub fn read(inventory: &Inventory) -> impl Iterator<Item = (String, Result<Secret, Error>)> {
    inventory.sites.iter().flat_map(|site| match &site.tls {
        Tls::Files {
            certificate: chain,
            key: private,
        } => vec![
            (certificate(site), file(chain, "CERTIFICATE-----")),
            (key(site), file(private, "PRIVATE KEY-----")),
        ],
        _ => Vec::new(),
    })
}

fn file(path: &Path, label: &str) -> Result<Secret, Error> {
    let problem = |why: String| Error::usage(format!("{}: {why}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| {
            problem(format!("cannot read it: {error}"))
                .hint("`tls: { certificate, key }` names files on this machine; paths are relative to the inventory")
        })?
        .len();
    if size > LIMIT {
        return Err(problem(format!("is no PEM file: it has {size} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot read it: {error}")))?;
    if !text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(label))
    {
        return Err(problem(format!("is no PEM file with a line `-----BEGIN ... {label}`"))
            .hint("`tls: { certificate: FILE, key: FILE }` wants the certificate chain and the key in PEM form"));
    }
    Ok(Secret::new(text))
}
