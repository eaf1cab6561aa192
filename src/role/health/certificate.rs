//! Certificates of sites: who made them, how long they are good for, whether they are renewed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::State;
use crate::inventory::{Site, Tls};
use crate::quote::sh;
use crate::role::{certbot, nginx};

/// Days left that deserve a look; of certificates that live less than three times as long, a third of their life.
const FEW: i64 = 21;

const DAY: i64 = 86_400;

/// Who made a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The operator gave it.
    Given,
    /// Somebody else, on the host.
    OnServer,
    /// The host.
    SelfSigned,
    /// An authority, by certbot.
    Certbot,
}

impl Source {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Source::Given => "given",
            Source::OnServer => "on the server",
            Source::SelfSigned => "self-signed",
            Source::Certbot => "certbot",
        }
    }
}

/// A certificate that a site is served with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Certificate {
    /// Who made it.
    pub source: Source,
    /// When it ends, RFC 3339.
    pub expires: String,
    /// Whole days until then; negative when it has expired.
    pub days_left: i64,
}

/// Who should have made a site's certificate, and the shell that prints its dates; `None` without TLS.
pub fn test(site: &Site, https_port: u16) -> Option<(Source, String)> {
    let source = match &site.tls {
        Tls::None => return None,
        Tls::SelfSigned => Source::SelfSigned,
        Tls::Files { .. } => Source::Given,
        Tls::OnServer { .. } => Source::OnServer,
        Tls::Certbot(_) => Source::Certbot,
    };
    let path = nginx::certificate(site)?;
    let mut test = format!(
        "openssl x509 -in {} -noout -startdate -enddate -dateopt iso_8601 || exit 1",
        sh(&path)
    );
    if source == Source::Certbot {
        test = format!("{test}\n{}", certbot::status(site, https_port));
    }
    Some((source, test))
}

/// `notBefore=2036-08-21 12:40:16Z`, `notAfter=2036-11-19 12:40:16Z`, and what [`certbot::status`] says.
pub fn read(source: Source, text: &str, clock: u64) -> (State, String, Option<Certificate>) {
    let date = |key: &str| {
        let time = text.lines().find_map(|line| line.strip_prefix(key))?;
        time.trim().replacen(' ', "T", 1).parse::<Timestamp>().ok()
    };
    let (Some(start), Some(end)) = (date("notBefore="), date("notAfter=")) else {
        return (State::Bad, "cannot be read".into(), None);
    };
    let has = |word: &str| text.lines().any(|line| line == word);
    let source = if has("stand-in") { Source::SelfSigned } else { source };
    let left = end.as_second().saturating_sub(i64::try_from(clock).unwrap_or(i64::MAX));
    let certificate = Certificate {
        source,
        expires: end.to_string(),
        days_left: left.div_euclid(DAY),
    };
    let life = end.as_second().saturating_sub(start.as_second());
    let few = (FEW * DAY).min(life / 3);
    let days = certificate.days_left;
    let (state, left) = match left {
        ..=0 => (State::Bad, format!("expired on {}", end.strftime("%F"))),
        left if left < few => (State::Warn, format!("{days} days left")),
        _ => (State::Ok, format!("{days} days left")),
    };
    let (state, more) = match (has("stand-in"), has("not served")) {
        (true, _) => (State::Bad, ": a stand-in until certbot succeeds (hactl apply)"),
        (_, true) => (state.max(State::Warn), ", but nginx serves an older one (hactl apply)"),
        _ => (state, ""),
    };
    let detail = format!("{}, {left}{more}", source.word());
    (state, detail, Some(certificate))
}

/// The last line: what was found. A timer that does not run fails the test itself.
pub fn read_renewals(text: &str) -> (State, String) {
    let said = text.lines().last().unwrap_or_default();
    let state = if said.ends_with("is active") {
        State::Ok
    } else {
        State::Warn
    };
    (state, said.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 2_110_624_816;

    #[test]
    fn days_left_decide() {
        let text = "notBefore=2036-08-20 12:40:16Z\nnotAfter=2036-11-18 12:40:16Z";
        let at = |source, clock| {
            let (state, detail, certificate) = read(source, text, clock);
            assert_eq!(certificate.unwrap().expires, "2036-11-18T12:40:16Z");
            (state, detail)
        };
        let day = 86_400;
        assert_eq!(
            at(Source::Given, END - 40 * day),
            (State::Ok, "given, 40 days left".into())
        );
        assert_eq!(
            at(Source::Certbot, END - 21 * day),
            (State::Ok, "certbot, 21 days left".into())
        );
        assert_eq!(
            at(Source::Certbot, END - 21 * day + 1),
            (State::Warn, "certbot, 20 days left".into())
        );
        assert_eq!(
            at(Source::SelfSigned, END - 1),
            (State::Warn, "self-signed, 0 days left".into())
        );
        assert_eq!(
            at(Source::Given, END),
            (State::Bad, "given, expired on 2036-11-18".into())
        );
        assert_eq!(read(Source::Given, text, END + 1).2.unwrap().days_left, -1);
    }

    #[test]
    fn short_lives_are_judged_by_their_length() {
        let text = "notBefore=2036-11-12 12:40:16Z\nnotAfter=2036-11-18 12:40:16Z";
        let at = |clock| read(Source::Certbot, text, clock).0;
        assert_eq!(at(END - 5 * 86_400), State::Ok);
        assert_eq!(at(END - 86_400), State::Warn);
    }

    #[test]
    fn a_stand_in_is_not_what_was_asked_for() {
        let text = "notBefore=2036-08-20 12:40:16Z\nnotAfter=2036-11-18 12:40:16Z\nstand-in";
        let (state, detail, certificate) = read(Source::Certbot, text, END - 80 * 86_400);
        assert_eq!(state, State::Bad);
        assert!(detail.starts_with("self-signed, 80 days left: a stand-in"), "{detail}");
        assert_eq!(certificate.unwrap().source, Source::SelfSigned);
        let (state, detail, _) = read(
            Source::Certbot,
            &text.replace("stand-in", "not served"),
            END - 80 * 86_400,
        );
        assert_eq!(state, State::Warn);
        assert!(detail.contains("an older one"), "{detail}");
        assert_eq!(read(Source::Given, "unable to load certificate", 0).0, State::Bad);
    }

    #[test]
    fn renewals() {
        assert_eq!(read_renewals("certbot.timer is active").0, State::Ok);
        assert_eq!(
            read_renewals("the last run failed: journalctl -u certbot.service").0,
            State::Warn
        );
    }
}
