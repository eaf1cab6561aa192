//! What hosts take over from this machine so that they reach the outside as it does.

use std::collections::BTreeSet;
use std::fs;

use super::command;

/// Settings of this machine's network surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// `/etc/resolv.conf`, or the list of the real name servers when that one names a resolver on this machine's loopback.
    pub resolv_conf: String,
    /// The trusted certificates (PEM), which may hold ones of a proxy that Debian's own list lacks.
    pub certificates: String,
    /// apt settings about proxies, retries and dates, in apt.conf syntax.
    pub apt: String,
}

/// File of the trusted certificates on Debian.
pub(super) const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

impl Surroundings {
    /// Of this machine. What cannot be read is what hosts do without.
    pub(super) fn read() -> Surroundings {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let apt = command::run("read apt's settings", 30, ["apt-config", "dump"]).unwrap_or_default();
        Surroundings {
            resolv_conf: reachable(read("/etc/resolv.conf"), &read("/run/systemd/resolve/resolv.conf")),
            certificates: read(&format!("/{BUNDLE}")),
            apt: acquire_settings(&apt),
        }
    }
}

/// The name servers that a host can reach, too.
fn reachable(resolv_conf: String, upstream: &str) -> String {
    let servers = |text: &str| -> Vec<String> {
        let words = |line: &str| line.strip_prefix("nameserver").map(|rest| rest.trim().to_owned());
        text.lines().filter_map(words).collect()
    };
    let local = |server: &String| server.starts_with("127.") || server == "::1";
    if servers(&resolv_conf).iter().all(local) && servers(upstream).iter().any(|server| !local(server)) {
        return upstream.to_owned();
    }
    resolv_conf
}

/// The lines of `apt-config dump` that say how archives are reached.
fn acquire_settings(dump: &str) -> String {
    const KEPT: [&str; 7] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Retries",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::ForceIPv4",
        "Acquire::Languages",
    ];
    // A proxy that listens on this machine's loopback is not there for a host.
    let local = |line: &str| line.contains("//127.") || line.contains("//localhost") || line.contains("//[::1]");
    dump.lines()
        .filter(|line| KEPT.iter().any(|key| line.starts_with(key)) && !line.ends_with(" \"\";") && !local(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The certificates of `all` that `known` lacks, each in PEM.
pub(super) fn extra_certificates(all: &str, known: &str) -> Vec<String> {
    let known: BTreeSet<String> = certificates(known).collect();
    certificates(all).filter(|one| !known.contains(one)).collect()
}

fn certificates(bundle: &str) -> impl Iterator<Item = String> + '_ {
    const END: &str = "-----END CERTIFICATE-----";
    bundle.split_inclusive(END).filter_map(|part| {
        let start = part.find("-----BEGIN CERTIFICATE-----")?;
        part.ends_with(END).then(|| format!("{}\n", &part[start..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_that_debian_lacks_are_extra() {
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let debian = format!("{}{}", pem("AAAA"), pem("BBBB"));
        let machine = format!("# proxy\n{}{}{}", pem("BBBB"), pem("CCCC"), pem("AAAA"));
        assert_eq!(extra_certificates(&machine, &debian), [pem("CCCC")]);
        assert!(extra_certificates(&debian, &debian).is_empty());
        assert!(extra_certificates("-----BEGIN CERTIFICATE-----\ncut", "").is_empty());
    }

    #[test]
    fn hosts_get_name_servers_they_can_reach() {
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        let real = "nameserver 192.0.2.53\n";
        assert_eq!(reachable(stub.into(), real), real);
        assert_eq!(reachable(real.into(), "nameserver 192.0.2.99\n"), real);
        assert_eq!(reachable(stub.into(), ""), stub);
    }

    #[test]
    fn apt_settings_about_reaching_archives_are_kept() {
        let dump = "Acquire \"\";\nAcquire::http::Proxy \"http://proxy:3128\";\nAcquire::https::Proxy \"http://127.0.0.1:3142\";\n\
                    Acquire::Languages \"\";\nAcquire::Languages:: \"none\";\nAcquire::Check-Date \"false\";\nAPT::Architecture \"amd64\";\n";
        assert_eq!(
            acquire_settings(dump),
            "Acquire::http::Proxy \"http://proxy:3128\";\nAcquire::Languages:: \"none\";\nAcquire::Check-Date \"false\";\n"
        );
    }
}
