//! nginx: TLS, static files and private files from disk, everything else to the application.
//!
//! Only `nginx.conf`, `hactl/`, `tls/` and the operator's `conf.d/` are read: Debian's `sites-enabled` is not.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Role, Scope, certbot, files, gate, stage};
use crate::error::Result;
use crate::inventory::secrets::pem;
use crate::inventory::{App, Site, Tls};
use crate::quote::sh;
use crate::resource::{Command, File, Guard, OnChange, Service, Validator};
use crate::secret::Text;

/// The role.
pub const ROLE: Role = Role {
    name: "nginx",
    applies: |view| view.serves_web(),
    declare,
};

const ROOT: &str = "/etc/nginx";

/// Certificate and key of all self-signed sites of a host. Its certificate is what clients on the host may trust, e.g.
/// through NODE_EXTRA_CA_CERTS.
const SELF_SIGNED: &str = "self-signed";

/// Path of the certificate that covers a site, `None` without TLS.
pub fn certificate(site: &Site) -> Option<String> {
    certificate_name(site).map(|name| path(&name, "crt"))
}

/// Path of a certificate (`crt`) or key (`key`) that nginx reads.
pub fn path(name: &str, ending: &str) -> String {
    format!("{ROOT}/tls/{name}.{ending}")
}

fn certificate_name(site: &Site) -> Option<String> {
    match site.tls {
        Tls::None => None,
        Tls::SelfSigned => Some(SELF_SIGNED.to_owned()),
        Tls::Files { .. } | Tls::OnServer { .. } | Tls::Certbot(_) => Some(site.name.clone()),
    }
}

fn declare(scope: &mut Scope) -> Result<()> {
    scope.barrier(stage::APPLICATION);
    scope.packages(&["nginx"]);
    scope.directory(&format!("{ROOT}/tls"), "root", "root", 0o755);
    scope.directory(&format!("{ROOT}/hactl"), "root", "root", 0o755);
    let mut watches = Vec::new();
    self_signed(scope, &mut watches);
    stand_ins(scope, &mut watches);
    on_server(scope, &mut watches);
    let mut files = given(scope)?;
    files.extend(configuration(scope)?);
    for mut file in files {
        watches.push(file.path.clone());
        file.validator = Some(validator());
        scope.add(file);
    }
    scope.add(Service {
        unit: "nginx.service".into(),
        watches,
        on_change: OnChange::Reload,
        health: health(),
        patience: Duration::from_secs(15),
        forgets: Vec::new(),
    });
    Ok(())
}

fn validator() -> Validator {
    Validator {
        name: "nginx".into(),
        tree: Some(ROOT.into()),
        check: "nginx -t -q -c \"$TREE/nginx.conf\"".into(),
    }
}

/// Passes when nginx answers with the configuration that is on disk: a reload that cannot bind an address reports
/// success, and the old workers go on. What is wanted is read from the file, since an older one may have been put back;
/// Debian's own, which says nothing, is taken as it is.
fn health() -> String {
    format!(
        "want= port=\n\
         while read -r mark word name _ number _; do\n\
         \x20   if [ \"$mark $word\" = '# configuration' ]; then want=$name port=$number; break; fi\n\
         done <{ROOT}/nginx.conf\n\
         [ -n \"$want\" ] || exit 0\n\
         live=$(curl -fsS --max-time 5 -H 'Host: _' \"http://127.0.0.1:$port/.hactl/configuration\" 2>&1)\n\
         [ \"$live\" != \"$want\" ] || exit 0\n\
         echo \"nginx does not run configuration $want; port $port says: $live\"\n\
         grep -F '[emerg]' /var/log/nginx/error.log | tail -n 3\n\
         exit 1"
    )
}

/// One certificate for all self-signed sites, made on the host and made again when their names change.
fn self_signed(scope: &mut Scope, watches: &mut Vec<String>) {
    let sites = &scope.inventory().sites;
    let names: Vec<_> = sites
        .iter()
        .filter(|site| matches!(site.tls, Tls::SelfSigned))
        .flat_map(|site| std::iter::once(&site.name).chain(&site.aliases))
        .map(String::as_str)
        .collect();
    if names.is_empty() {
        return;
    }
    let (certificate, key) = (path(SELF_SIGNED, "crt"), path(SELF_SIGNED, "key"));
    let mut command = sign("self-signed certificate".into(), &names, 3650, &certificate, &key);
    command.guards.push(Guard::Stamp {
        path: "/var/lib/hactl/stamps/self-signed".into(),
        value: names.join(" "),
    });
    scope.add(command);
    watches.extend([certificate, key]);
}

/// What is served until certbot has a certificate. What is there already, of whatever origin, is left alone.
fn stand_ins(scope: &mut Scope, watches: &mut Vec<String>) {
    let mut any = false;
    for (site, _) in certbot::sites(scope.inventory()) {
        any = true;
        let names: Vec<&str> = certbot::names(site).collect();
        let (certificate, key) = (path(&site.name, "crt"), path(&site.name, "key"));
        let name = format!("stand-in certificate of {}", site.name);
        scope.add(sign(name, &names, 90, &certificate, &key));
        watches.extend([certificate, key]);
        watches.extend(certbot::watched(site));
    }
    if any {
        scope.directory(certbot::WEBROOT, "root", "root", 0o755);
    }
}

/// Makes a self-signed certificate for names, valid for `days`, when it or its key is missing.
fn sign(name: String, names: &[&str], days: u32, certificate: &str, key: &str) -> Command {
    let alternatives: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
    Command {
        name,
        guards: vec![Guard::Exists(certificate.to_owned()), Guard::Exists(key.to_owned())],
        run: format!(
            "umask 077\n\
             openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days {days} -subj '/CN=hactl self-signed' -addext {names} -addext extendedKeyUsage=serverAuth -keyout {key}~ -out {certificate}~ 2>&1\n\
             chmod 600 {key}~\n\
             chmod 644 {certificate}~\n\
             sync {key}~ {certificate}~\n\
             mv -fT -- {key}~ {key}\n\
             mv -fT -- {certificate}~ {certificate}",
            names = sh(&format!("subjectAltName={}", alternatives.join(","))),
            key = sh(key),
            certificate = sh(certificate),
        ),
        user: None,
        dir: None,
        env: Vec::new(),
        input: None,
        deadline: Duration::from_secs(60),
        creates: vec![certificate.to_owned(), key.to_owned()],
    }
}

/// Certificates that somebody else keeps on the server: a new one is a reload.
fn on_server(scope: &mut Scope, watches: &mut Vec<String>) {
    for site in &scope.inventory().sites {
        if let Tls::OnServer { certificate, key } = &site.tls {
            for (file, end) in [(certificate, "crt"), (key, "key")] {
                let link = format!("{ROOT}/tls/{}.{end}", site.name);
                scope.link(&link, file);
                watches.extend([link, file.clone()]);
            }
        }
    }
}

/// Certificates that the operator gave.
fn given(scope: &Scope) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for site in &scope.inventory().sites {
        if !matches!(site.tls, Tls::Files { .. }) {
            continue;
        }
        let chain = scope.secret(&pem::certificate(site))?;
        let key = scope.secret(&pem::key(site))?;
        files.push(File::new(
            format!("{ROOT}/tls/{}.crt", site.name),
            Text::Plain(chain.reveal().to_owned()),
        ));
        files.push(File::new(format!("{ROOT}/tls/{}.key", site.name), Text::Secret(key)).owned("root", "root", 0o600));
    }
    Ok(files)
}

fn configuration(scope: &Scope) -> Result<Vec<File>> {
    let mut files = vec![
        scope.file(&format!("{ROOT}/hactl/headers.conf"), "nginx/headers.conf", &json!({}))?,
        locations(scope)?,
        scope.file(&format!("{ROOT}/hactl/sites.conf"), "nginx/sites.conf", &sites(scope))?,
    ];
    files.extend(peers_files(scope)?);
    let main = |fingerprint: &str| {
        scope.file(
            &format!("{ROOT}/nginx.conf"),
            "nginx/nginx.conf",
            &main(scope, fingerprint),
        )
    };
    let texts: Vec<_> = files.iter().map(|file| file.text.reveal().to_owned()).collect();
    let fingerprint = fingerprint(&[texts, vec![main("")?.text.reveal().to_owned()]].concat());
    files.push(main(&fingerprint)?);
    Ok(files)
}

/// Files of the sites that other hosts have, where they are shared.
fn peers_files(scope: &Scope) -> Result<Option<File>> {
    let Value::Object(mut context) = files::nginx(&scope.view) else {
        return Ok(None);
    };
    let sites: Vec<_> = scope.inventory().sites.iter().map(|site| &site.name).collect();
    context.insert("sites".into(), json!(sites));
    context.insert("root".into(), format!("{}/sites", scope.inventory().app.path()).into());
    let path = format!("{ROOT}/hactl/files.conf");
    scope.file(&path, "nginx/files.conf", &context.into()).map(Some)
}

/// Names a configuration by what it says.
fn fingerprint(texts: &[String]) -> String {
    use sha2::{Digest, Sha256};
    let digest = texts
        .iter()
        .fold(Sha256::new(), |hash, text| hash.chain_update(text).chain_update([0]))
        .finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn main(scope: &Scope, fingerprint: &str) -> Value {
    let inventory = scope.inventory();
    json!({
        "fingerprint": fingerprint,
        "client_max_body_mb": inventory.nginx.client_max_body_mb,
        "http_port": inventory.nginx.http_port,
        "https_port": inventory.nginx.https_port,
        "ipv6": scope.facts.ipv6,
        "http2_directive": scope.facts.system().is_some_and(|system| system.http2_directive),
        "tls": inventory.sites.iter().any(|site| certificate_name(site).is_some()),
        "files": !files::nginx(&scope.view).is_null(),
    })
}

fn sites(scope: &Scope) -> Value {
    let inventory = scope.inventory();
    let process = inventory.app.process();
    // A single server behind a name is never "down": refusing for 10 s after one error would only add errors.
    let local =
        |name: &str, port: u16| json!({ "name": name, "servers": [format!("127.0.0.1:{port} fail_timeout=0")] });
    let mut upstreams = vec![local("hactl_web", process.web_port)];
    if let App::Frappe(frappe) = &inventory.app {
        upstreams.push(local("hactl_socketio", frappe.socketio_port));
    }
    let sites: Vec<_> = inventory
        .sites
        .iter()
        .map(|site| {
            let names: Vec<_> = std::iter::once(&site.name)
                .chain(&site.aliases)
                .map(String::as_str)
                .collect();
            json!({
                "name": site.name,
                "names": names.join(" "),
                "certificate": certificate_name(site).unwrap_or_default(),
                // A browser that was told so once accepts no self-signed certificate any more.
                "hsts": if matches!(site.tls, Tls::Files { .. } | Tls::OnServer { .. } | Tls::Certbot(_)) { "max-age=31536000" } else { "" },
                "webroot": if matches!(site.tls, Tls::Certbot(_)) { certbot::WEBROOT } else { "" },
            })
        })
        .collect();
    json!({
        "upstreams": upstreams,
        "gate": gate::path(&inventory.app),
        "sites": sites,
        "http_port": inventory.nginx.http_port,
        "https_port": inventory.nginx.https_port,
        "https_suffix": match inventory.nginx.https_port {
            443 => String::new(),
            port => format!(":{port}"),
        },
        "ipv6": scope.facts.ipv6,
        "http2_directive": scope.facts.system().is_some_and(|system| system.http2_directive),
    })
}

/// What a site's server block includes: the application's locations.
fn locations(scope: &Scope) -> Result<File> {
    let path = format!("{ROOT}/hactl/app.conf");
    match &scope.inventory().app {
        App::Frappe(frappe) => {
            let context = json!({
                "sites": format!("{}/sites", frappe.path),
                "timeout": frappe.process.http_timeout,
                "peers": !files::nginx(&scope.view).is_null(),
            });
            scope.file(&path, "nginx/frappe.conf", &context)
        }
        App::Wsgi(wsgi) => {
            let root = wsgi
                .static_dir
                .as_ref()
                .map(|dir| format!("{}/current/{dir}", wsgi.path));
            let context = json!({
                "name": wsgi.name,
                "static": root.unwrap_or_default(),
                "timeout": wsgi.process.http_timeout,
            });
            scope.file(&path, "nginx/wsgi.conf", &context)
        }
    }
}
