//! What servers, zones and keys of `dns` must look like.

use crate::inventory::rules::{Refusal, site};

fn refuse(why: &str) -> Result<(), Refusal> {
    Err(why.to_owned())
}

fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    text.chars().all(allowed)
}

/// Where the API of a DNS provider is: https, or http on this machine, since it gets credentials.
pub fn api_endpoint(text: &str) -> Result<(), Refusal> {
    let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return refuse("is no URL of an API, e.g. https://api.example.com/v4"),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    if !secure && !matches!(host, "localhost" | "127.0.0.1") {
        return refuse("would carry credentials in clear: https, please");
    }
    let fine = site(host).is_ok()
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && text.len() <= 500
        && all(path, |c| c.is_ascii_alphanumeric() || "-._~/".contains(c))
        && !path.split('/').any(|part| part == ".." || part == ".");
    if fine {
        return Ok(());
    }
    refuse("is no URL of an API, e.g. https://api.example.com/v4")
}

/// Name of a TSIG key, which has the form of a domain name.
pub fn tsig_key(text: &str) -> Result<(), Refusal> {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && all(label, |c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if text.len() <= 253 && text.trim_end_matches('.').split('.').all(label) {
        return Ok(());
    }
    refuse("is no name of a TSIG key: letters, digits, `-` and `_`, joined by single dots")
}

/// Id of a hosted zone of Route 53.
pub fn route53_zone(text: &str) -> Result<(), Refusal> {
    let fine = text.len() <= 32 && text.starts_with('Z') && all(text, |c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if fine {
        return Ok(());
    }
    refuse("is no id of a hosted zone, e.g. Z2FDTNDATAQYW2")
}

/// A region of AWS.
pub fn aws_region(text: &str) -> Result<(), Refusal> {
    let fine = (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && all(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fine {
        return Ok(());
    }
    refuse("is no region, e.g. us-east-1")
}

/// Id of a zone of Cloudflare.
pub fn cloudflare_zone(text: &str) -> Result<(), Refusal> {
    if text.len() == 32 && all(text, |c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
        return Ok(());
    }
    refuse("is no id of a zone: 32 hexadecimal digits, which the overview of the zone shows")
}
