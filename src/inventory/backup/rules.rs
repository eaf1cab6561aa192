//! What names of buckets, keys of hosts and times must look like.

use crate::inventory::rules::Refusal;

fn refuse(why: &str) -> Result<(), Refusal> {
    Err(why.to_owned())
}

fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    text.chars().all(allowed)
}

/// `02:00`.
pub fn time_of_day(text: &str) -> Result<(), Refusal> {
    match clock(text) {
        Some(_) => Ok(()),
        None => refuse("is no time of day, e.g. \"02:00\""),
    }
}

/// Hour and minute.
pub fn clock(text: &str) -> Option<(u8, u8)> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && all(text, |c| c.is_ascii_digit());
    let (hour, minute) = match digits(hour) && digits(minute) {
        true => (hour.parse().ok()?, minute.parse().ok()?),
        false => return None,
    };
    (hour < 24 && minute < 60).then_some((hour, minute))
}

/// Name of a bucket or container, as S3, Google and Azure take them.
pub fn bucket(text: &str) -> Result<(), Refusal> {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fine = (3..=63).contains(&text.len())
        && text.starts_with(inside)
        && text.ends_with(inside)
        && all(text, |c| inside(c) || "-._".contains(c))
        && !text.contains("..");
    if fine {
        return Ok(());
    }
    refuse("is no name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`")
}

/// Folder in a bucket.
pub fn folder(text: &str) -> Result<(), Refusal> {
    let part = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && all(part, |c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    if text.len() <= 200 && text.split('/').all(part) {
        return Ok(());
    }
    refuse("is no folder in a bucket, e.g. backups/acme")
}

/// Where the API of an S3 store is; what is stored is encrypted, but the key's signature should not travel in clear either,
/// unless in a network of one's own.
pub fn s3_endpoint(text: &str) -> Result<(), Refusal> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fine = rest.is_some_and(|rest| {
        let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "443"));
        let label = |label: &str| !label.is_empty() && all(label, |c| c.is_ascii_alphanumeric() || c == '-');
        text.len() <= 300 && port.parse::<u16>().is_ok_and(|port| port > 0) && host.split('.').all(label)
    });
    if fine {
        return Ok(());
    }
    refuse("is no URL of an S3 API, e.g. https://s3.example.com")
}

/// A region.
pub fn region(text: &str) -> Result<(), Refusal> {
    let fine = (1..=40).contains(&text.len()) && all(text, |c| c.is_ascii_alphanumeric() || c == '-');
    if fine {
        return Ok(());
    }
    refuse("is no region, e.g. eu-central-1")
}

/// Storage account of Azure.
pub fn azure_account(text: &str) -> Result<(), Refusal> {
    let fine = (3..=24).contains(&text.len()) && all(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if fine {
        return Ok(());
    }
    refuse("is no storage account: 3 to 24 lower-case letters and digits")
}

/// Name or address of a machine.
pub fn machine(text: &str) -> Result<(), Refusal> {
    if text.parse::<std::net::IpAddr>().is_ok() || crate::inventory::rules::site(text).is_ok() {
        return Ok(());
    }
    refuse("is no address and no host name")
}

/// `ssh-ed25519 AAAA...`.
pub fn host_key(text: &str) -> Result<(), Refusal> {
    let fine = text.split_once(' ').is_some_and(|(kind, key)| {
        let word = |c: char| c.is_ascii_alphanumeric() || "-@.".contains(c);
        let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        (kind.starts_with("ssh-") || kind.starts_with("ecdsa-"))
            && all(kind, word)
            && (20..=2000).contains(&key.len())
            && key.starts_with("AAAA")
            && all(key, base64)
    });
    if fine {
        return Ok(());
    }
    refuse("is no public host key: `ssh-ed25519 AAAA...`, as ssh-keyscan prints it behind the name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(clock("02:05"), Some((2, 5)));
        for wrong in ["2:05", "24:00", "12:60", "1200", "+2:05", "12:5x"] {
            assert!(time_of_day(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_in_a_store() {
        assert!(s3_endpoint("https://s3.example.com").is_ok());
        assert!(s3_endpoint("http://10.0.0.9:9000").is_ok());
        for wrong in [
            "s3.example.com",
            "https://a/b",
            "https://a:x",
            "https://u@h",
            "https://a b",
        ] {
            assert!(s3_endpoint(wrong).is_err(), "{wrong}");
        }
        assert!(folder("a/b-c").is_ok());
        assert!(["", "/a", "a//b", "../a"].iter().all(|wrong| folder(wrong).is_err()));
        assert!(bucket("acme-backup").is_ok());
        assert!(
            ["ab", "Acme", "-acme", "a..b"]
                .iter()
                .all(|wrong| bucket(wrong).is_err())
        );
    }
}
