//! What names, addresses and paths must look like. Each rule says why it refuses; none does I/O.
//!
//! They are strict because what passes ends in configuration files, shell scripts and SQL of every host.

/// Why a value is refused, as the end of the sentence "`x` ...".
pub type Refusal = String;

fn refuse(why: impl Into<String>) -> Result<(), Refusal> {
    Err(why.into())
}

fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    text.chars().all(allowed)
}

/// `[a-z][a-z0-9-]{0,31}`.
pub fn cluster(text: &str) -> Result<(), Refusal> {
    let ok = text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.len() <= 32
        && all(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if ok {
        return Ok(());
    }
    refuse("is no cluster name: lower-case letters, digits and `-`, a letter first, at most 32")
}

/// Label of a host name in lower case.
fn label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && all(text, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// A name for the cluster of a site: `erp.example.com` → `example`.
pub fn cluster_of(site: &str) -> String {
    let labels: Vec<&str> = site.split('.').collect();
    let name = labels.get(labels.len().saturating_sub(2)).copied().unwrap_or_default();
    match cluster(name) {
        Ok(()) => name.to_owned(),
        Err(_) => "main".to_owned(),
    }
}

/// Name of a machine; the kernel takes 64 bytes.
pub fn host(text: &str) -> Result<(), Refusal> {
    if text.len() > 63 {
        return refuse("is too long for a host name (63 characters)");
    }
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.split('.').all(label) {
        return Ok(());
    }
    refuse("is no host name: lower-case letters, digits, `-` and `.`, a letter first")
}

/// Name of a site: a host name; also a folder, beside files that have fixed names.
pub fn site(text: &str) -> Result<(), Refusal> {
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return refuse("has upper-case letters; browsers ask for host names in lower case");
    }
    if text.len() > 253 || !text.split('.').all(label) {
        return refuse("is no host name: labels of lower-case letters, digits and `-`, joined by single dots");
    }
    if matches!(text, "assets" | "apps.txt" | "apps.json") {
        return refuse("is a name that Frappe keeps for itself in the folder of the sites");
    }
    Ok(())
}

/// A host name, or `*.` and one.
pub fn alias(text: &str) -> Result<(), Refusal> {
    site(text.strip_prefix("*.").unwrap_or(text))
}

/// An e-mail address, in the plain form that every authority takes.
pub fn email(text: &str) -> Result<(), Refusal> {
    let local = |text: &str| {
        (1..=64).contains(&text.len())
            && !text.starts_with(['-', '.'])
            && !text.ends_with('.')
            && !text.contains("..")
            && all(text, |c| c.is_ascii_alphanumeric() || ".+-_%".contains(c))
    };
    if text
        .split_once('@')
        .is_some_and(|(name, domain)| local(name) && domain.contains('.') && site(domain).is_ok())
    {
        return Ok(());
    }
    refuse("is no e-mail address: `name@example.com`, the domain in lower case")
}

/// URL of an ACME directory.
pub fn acme_directory(text: &str) -> Result<(), Refusal> {
    let Some(rest) = text.strip_prefix("https://") else {
        return refuse("is no https URL, which the directory of an ACME authority must be");
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let fine = site(host).is_ok()
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && text.len() <= 500
        && all(path, plain)
        && !path.split('/').any(|part| part == ".." || part == ".");
    if fine {
        return Ok(());
    }
    refuse("is no URL of an ACME directory, e.g. https://acme.example.com/directory")
}

/// Name of a system user.
pub fn user(text: &str) -> Result<(), Refusal> {
    let ok = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.len() <= 32
        && all(text, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'
        });
    if ok {
        return Ok(());
    }
    refuse("is no user name: lower-case letters, digits, `_` and `-`, at most 32")
}

/// Name of a program, queue, VIP or WSGI app: safe as a file name and in supervisor's sections.
pub fn word(text: &str) -> Result<(), Refusal> {
    let ok = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 32
        && all(text, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'
        });
    if ok {
        return Ok(());
    }
    refuse("is no name: lower-case letters, digits, `_` and `-`, a letter first, at most 32")
}

/// Name of a network interface, as the kernel takes it.
pub fn interface(text: &str) -> Result<(), Refusal> {
    if (1..=15).contains(&text.len()) && all(text, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
        return Ok(());
    }
    refuse("is no network interface: at most 15 letters, digits, `.`, `_` and `-`")
}

/// Beginning of a path that requests are chosen by.
pub fn path_prefix(text: &str) -> Result<(), Refusal> {
    let plain = text.starts_with('/') && all(text, |c| c.is_ascii_alphanumeric() || "/._-~".contains(c));
    if !plain || text.contains("//") {
        return refuse("is no path: it starts with `/` and has letters, digits and `._-~`, nothing encoded");
    }
    if text == "/" {
        return refuse("is the beginning of every path: leave the hosts without a group instead");
    }
    Ok(())
}

/// A method of Frappe, perhaps with `*` for its end.
pub fn frappe_method(text: &str) -> Result<(), Refusal> {
    let name = text.strip_suffix('*').unwrap_or(text);
    if (1..=200).contains(&name.len()) && all(name, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
        return Ok(());
    }
    refuse("is no method of Frappe, e.g. `frappe.desk.query_report.run` or `frappe.desk.reportview.*`")
}

/// Name of a document type of Frappe.
pub fn doctype(text: &str) -> Result<(), Refusal> {
    if (1..=140).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control) {
        return Ok(());
    }
    refuse("is no document type: 1 to 140 characters, none of them a control character or a blank at an end")
}

/// Name of a header of a request.
pub fn header_name(text: &str) -> Result<(), Refusal> {
    let ok = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 64
        && all(text, |c| c.is_ascii_alphanumeric() || c == '-');
    if ok {
        return Ok(());
    }
    refuse("is no name of a header: letters, digits and `-`, a letter first, at most 64")
}

/// Value of a header of a request.
pub fn header_value(text: &str) -> Result<(), Refusal> {
    if (1..=200).contains(&text.len()) && all(text, |c| c.is_ascii_graphic() || c == ' ') && text.trim() == text {
        return Ok(());
    }
    refuse("is no value of a header: 1 to 200 printable ASCII characters, no blank at an end")
}

/// Name of a Python package.
pub fn package_name(text: &str) -> Result<(), Refusal> {
    if identifier(text) && text.len() <= 64 {
        return Ok(());
    }
    refuse("is no Python package name: letters, digits and `_`, no digit first")
}

fn identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && all(text, |c| c.is_ascii_alphanumeric() || c == '_')
}

/// `package.module:callable`.
pub fn module(text: &str) -> Result<(), Refusal> {
    let ok = text
        .split_once(':')
        .is_some_and(|(module, callable)| module.split('.').all(identifier) && callable.split('.').all(identifier));
    if ok {
        return Ok(());
    }
    refuse("is no WSGI entry point: `package.module:callable`")
}

/// Name of an environment variable.
pub fn env_name(text: &str) -> Result<(), Refusal> {
    if identifier(text) {
        return Ok(());
    }
    refuse("is no variable name: letters, digits and `_`, no digit first")
}

/// A git URL that is neither an option nor a transport that runs commands (`ext::`).
pub fn git_url(text: &str) -> Result<(), Refusal> {
    if text.starts_with('-') {
        return refuse("starts with `-`, which git would take for an option");
    }
    if text.chars().any(|c| c.is_whitespace()) {
        return refuse("has a space in it");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        if !matches!(scheme, "https" | "http" | "git" | "ssh" | "file") {
            return refuse("has a scheme that is not fetched: https, http, git, ssh and file are");
        }
        let host = rest.split('/').next().unwrap_or_default();
        if host.starts_with('-') || host.contains("@-") {
            return refuse("has a host that starts with `-`, which ssh would take for an option");
        }
        if (scheme != "file" && host.is_empty()) || rest.trim_end_matches('/').is_empty() {
            return refuse("names no repository");
        }
        return Ok(());
    }
    // scp's form: [user@]host:path
    let scp = text.split_once(':').is_some_and(|(host, path)| {
        let name = host.rsplit('@').next().unwrap_or_default();
        !path.is_empty()
            && !path.starts_with(':')
            && !path.starts_with('-')
            && !name.is_empty()
            && !name.starts_with('-')
            && all(host, |c| c.is_ascii_alphanumeric() || ".-_@".contains(c))
    });
    if scp {
        return Ok(());
    }
    refuse("is no git URL: https://, ssh://, git://, file://, or user@host:path")
}

/// Whether a git URL carries a password, which would end in logs and on hosts.
pub fn url_has_password(text: &str) -> bool {
    text.split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(login, _)| login.contains(':'))
}

/// A branch, tag or commit, by git's own rules (git-check-ref-format).
pub fn git_ref(text: &str) -> Result<(), Refusal> {
    if text.starts_with('-') {
        return refuse("starts with `-`, which git would take for an option");
    }
    let bad = text.is_empty()
        || text.len() > 255
        || !all(text, |c| {
            c.is_ascii_graphic() && !"~^:?*[\\\"'`$;&|<>(){}!#".contains(c)
        })
        || text.contains("..")
        || text.contains("@{")
        || text.starts_with('/')
        || text.ends_with(['/', '.'])
        || text.contains("//")
        || text.ends_with(".lock");
    if bad {
        return refuse("is no branch, tag or commit");
    }
    Ok(())
}

/// An absolute path on a host, below a top folder.
pub fn host_path(text: &str) -> Result<(), Refusal> {
    if !text.starts_with('/') {
        return refuse("is not absolute; paths on hosts start with `/`");
    }
    if text.split('/').any(|part| part == ".." || part == ".") {
        return refuse("has `.` or `..` in it");
    }
    if text.contains("//") || text.ends_with('/') || text.len() > 200 {
        return refuse("has an empty part, ends with `/`, or is too long");
    }
    if !all(text, |c| c.is_ascii_alphanumeric() || "/._-+@".contains(c)) {
        return refuse("has characters that paths on hosts must not have: letters, digits and `._-+@` may be used");
    }
    if text.matches('/').count() < 2 {
        return refuse("is a folder of the system itself; name one below it, such as /srv/app");
    }
    Ok(())
}

/// A path inside a repository.
pub fn inner_path(text: &str) -> Result<(), Refusal> {
    let ok = !text.is_empty()
        && !text.starts_with('/')
        && text
            .split('/')
            .all(|part| !part.is_empty() && part != ".." && part != "." && !part.starts_with('-'))
        && all(text, |c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if ok {
        return Ok(());
    }
    refuse("is no folder inside the repository: a relative path without `..`")
}

/// A path of a URL.
pub fn url_path(text: &str) -> Result<(), Refusal> {
    if text.starts_with('/')
        && !text.starts_with("//")
        && all(text, |c| c.is_ascii_alphanumeric() || "/._-~%?=&".contains(c))
    {
        return Ok(());
    }
    refuse("is no path of a URL: it starts with `/` and has letters, digits and `._-~%?=&`")
}

/// A Python executable: a name or an absolute path.
pub fn python(text: &str) -> Result<(), Refusal> {
    if text.starts_with('/') {
        return host_path(text);
    }
    if text.starts_with(|c: char| c.is_ascii_alphabetic())
        && all(text, |c| c.is_ascii_alphanumeric() || "._-".contains(c))
    {
        return Ok(());
    }
    refuse("is no executable: a name such as `python3.11`, or an absolute path")
}

/// A Debian package, `name[:arch][=version]`.
pub fn debian_package(text: &str) -> Result<(), Refusal> {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (name, arch) = match name.split_once(':') {
        Some((name, arch)) => (name, Some(arch)),
        None => (name, None),
    };
    let ok = name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && all(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c))
        // apt reads a trailing `-` as "remove".
        && !name.ends_with('-')
        && !name.ends_with('+')
        || matches!(name, "g++");
    let arch_ok =
        arch.is_none_or(|a| !a.is_empty() && all(a, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    let version_ok =
        version.is_none_or(|v| !v.is_empty() && all(v, |c| c.is_ascii_alphanumeric() || ".+:~-".contains(c)));
    if ok && arch_ok && version_ok {
        return Ok(());
    }
    refuse("is no Debian package name")
}

/// A kernel parameter.
pub fn sysctl(text: &str) -> Result<(), Refusal> {
    let ok = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.contains(['.', '/'])
        && !text.contains("..")
        && all(text, |c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    if ok {
        return Ok(());
    }
    refuse("is no kernel parameter, such as `vm.swappiness`")
}

/// A time zone.
pub fn timezone(text: &str) -> Result<(), Refusal> {
    let part = |p: &str| !p.is_empty() && all(p, |c| c.is_ascii_alphanumeric() || "_+-".contains(c));
    if text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.split('/').all(part) {
        return Ok(());
    }
    refuse("is no time zone, such as `Europe/Vienna` or `UTC`")
}

/// Name of a database and of its user.
pub fn database(text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > 32 || !all(text, |c| c.is_ascii_alphanumeric() || c == '_') {
        return refuse("is no database name: letters, digits and `_`, at most 32");
    }
    let system = [
        "mysql",
        "information_schema",
        "performance_schema",
        "sys",
        "root",
        "mariadb",
    ];
    if system.contains(&text.to_ascii_lowercase().as_str()) {
        return refuse("is a name of MariaDB itself");
    }
    Ok(())
}

/// A variable of MariaDB.
pub fn mariadb_setting(text: &str) -> Result<(), Refusal> {
    let ok = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && all(text, |c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if ok {
        return Ok(());
    }
    refuse("is no MariaDB variable, such as `innodb_io_capacity`")
}

/// `[user@]host[:port]`.
pub fn jump(text: &str) -> Result<(), Refusal> {
    let (login, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    };
    let (name, port) = if let Some(inner) = host.strip_prefix('[') {
        match inner.split_once(']') {
            Some((name, rest)) => (name, rest.strip_prefix(':').or((!rest.is_empty()).then_some("bad"))),
            None => ("", None),
        }
    } else {
        match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    let name_ok = if host.starts_with('[') {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !name.is_empty() && !name.starts_with('-') && all(name, |c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let login_ok = login.is_none_or(|u| {
        !u.is_empty() && !u.starts_with('-') && all(u, |c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    let port_ok = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    if name_ok && login_ok && port_ok {
        return Ok(());
    }
    refuse("is no jump host: `[user@]host[:port]`")
}

/// Name of a stored secret.
pub fn secret_name(text: &str) -> Result<(), Refusal> {
    let part = |p: &str| !p.is_empty() && all(p, |c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if text.len() <= 300 && text.split('/').all(part) {
        return Ok(());
    }
    refuse("is no name of a secret: letters, digits and `._-`, parts joined by `/`")
}

/// Someone who can read the secrets file.
pub fn recipient(text: &str) -> Result<(), Refusal> {
    if text.parse::<age::x25519::Recipient>().is_ok() || text.parse::<age::ssh::Recipient>().is_ok() {
        return Ok(());
    }
    refuse("is no recipient: `age1...`, or a line `ssh-ed25519 ...` or `ssh-rsa ...`")
}

#[cfg(test)]
mod tests;
