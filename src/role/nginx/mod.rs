//! nginx. On app hosts: static files and private files from disk, everything else to the application. On load balancers:
//! TLS, and which app host a request goes to. One server does both.
//!
//! Only `nginx.conf`, `hactl/`, `tls/` and the operator's `conf.d/` are read: Debian's `sites-enabled` is not.

mod balancer;
mod certificates;

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Role, Scope, certbot, files, gate, pair, stage};
use crate::error::Result;
use crate::inventory::{App, HostRole, Inventory, Nginx, Site, Tls};
use crate::resource::{File, OnChange, Service, Validator};
use crate::topology::HostView;

pub use certificates::{certificate, path};

/// The role.
pub const ROLE: Role = Role {
    name: "nginx",
    applies: |view| view.serves_web(),
    declare,
};

const ROOT: &str = "/etc/nginx";
/// Its unit.
pub(super) const UNIT: &str = "nginx.service";

/// How an application is looked at through nginx on its own host: scheme and port. Behind load balancers it speaks plain
/// HTTP there.
pub fn own_door(view: &HostView, site: &Site) -> (&'static str, u16) {
    match view.behind_balancer() {
        true => ("http", view.topology.inventory.nginx.app_port),
        false => front_door(view.topology.inventory, site),
    }
}

/// How visitors reach a site: scheme and port.
pub fn front_door(inventory: &Inventory, site: &Site) -> (&'static str, u16) {
    match certificate(site) {
        Some(_) => ("https", inventory.nginx.https_port),
        None => ("http", inventory.nginx.http_port),
    }
}

/// Port of plain HTTP on a host, where nginx also says which configuration it runs.
pub fn plain_port(view: &HostView) -> u16 {
    let ports = &view.topology.inventory.nginx;
    if view.meets_visitors() {
        ports.http_port
    } else {
        ports.app_port
    }
}

/// Where nginx tells its own host, and nobody else, which configuration it runs.
pub const CONFIGURATION_PATH: &str = "/.hactl/configuration";

/// For an app host behind load balancers.
const DROP_IN: &str = "/etc/systemd/system/nginx.service.d";

fn declare(scope: &mut Scope) -> Result<()> {
    scope.packages(&["nginx"]);
    if scope.view.waits() {
        pair::stopped(scope, UNIT, "nginx");
    }
    scope.barrier(stage::APPLICATION);
    scope.directory(&format!("{ROOT}/tls"), "root", "root", 0o755);
    scope.directory(&format!("{ROOT}/hactl"), "root", "root", 0o755);
    let mut watches = Vec::new();
    let mut files = Vec::new();
    match scope.view.meets_visitors() {
        true => files.extend(certificates::declare(scope, &mut watches)?),
        false => certificates::declare_trust(scope)?,
    }
    files.extend(configuration(scope)?);
    for mut file in files {
        watches.push(file.path.clone());
        file.validator = Some(validator());
        scope.add(file);
    }
    let pair = scope.view.topology.is_pair();
    let behind = !scope.view.meets_visitors() && scope.view.has(HostRole::App);
    if behind || pair {
        scope.directory(DROP_IN, "root", "root", 0o755);
        let unit = format!("{DROP_IN}/60-hactl.conf");
        let port = behind.then(|| scope.inventory().app.process().web_port);
        let drop_in = scope.file(&unit, "nginx/unit.conf", &json!({ "port": port, "pair": pair }))?;
        scope.add(drop_in);
        watches.push(unit);
    }
    if scope.view.waits() {
        return Ok(());
    }
    scope.add(Service {
        unit: UNIT.into(),
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
         live=$(curl -fsS --max-time 5 -H 'Host: _' \"http://127.0.0.1:$port{CONFIGURATION_PATH}\" 2>&1)\n\
         [ \"$live\" != \"$want\" ] || exit 0\n\
         echo \"nginx does not run configuration $want; port $port says: $live\"\n\
         grep -F '[emerg]' /var/log/nginx/error.log | tail -n 3\n\
         exit 1"
    )
}

fn configuration(scope: &Scope) -> Result<Vec<File>> {
    let view = &scope.view;
    let mut files = Vec::new();
    let mut includes = Vec::new();
    if view.has(HostRole::Lb) {
        files.extend(balancer::files(scope)?);
        files.push(scope.file(
            &format!("{ROOT}/hactl/visitors.conf"),
            "nginx/sites.conf",
            &visitors(scope),
        )?);
        includes.extend(["hactl/balancer.conf", "hactl/visitors.conf"]);
    }
    if view.has(HostRole::App) {
        let served_from = if view.behind_balancer() {
            view.host.name.as_str()
        } else {
            ""
        };
        let context = json!({ "served_from": served_from });
        files.push(scope.file(&format!("{ROOT}/hactl/headers.conf"), "nginx/headers.conf", &context)?);
        files.push(locations(scope)?);
        files.push(scope.file(
            &format!("{ROOT}/hactl/sites.conf"),
            "nginx/sites.conf",
            &application(scope),
        )?);
        includes.push("hactl/sites.conf");
        if let Some(file) = peers_files(scope)? {
            files.push(file);
            includes.push("hactl/files.conf");
        }
    }
    let main = |fingerprint: &str| {
        scope.file(
            &format!("{ROOT}/nginx.conf"),
            "nginx/nginx.conf",
            &main(scope, fingerprint, &includes),
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

fn main(scope: &Scope, fingerprint: &str, includes: &[&str]) -> Value {
    let (inventory, view) = (scope.inventory(), &scope.view);
    let both = view.has(HostRole::Lb) && view.has(HostRole::App);
    let tls = inventory.sites.iter().any(|site| certificate(site).is_some());
    json!({
        "fingerprint": fingerprint,
        "client_max_body_mb": inventory.nginx.client_max_body_mb,
        "http_port": plain_port(view),
        "app_port": both.then_some(inventory.nginx.app_port),
        "https_port": inventory.nginx.https_port,
        "ipv6": scope.facts.ipv6,
        "http2_directive": http2_directive(scope),
        "tls": tls && view.meets_visitors(),
        "balancer": view.has(HostRole::Lb),
        "configuration_path": CONFIGURATION_PATH,
        "includes": includes,
    })
}

fn http2_directive(scope: &Scope) -> bool {
    scope.facts.system().is_some_and(|system| system.http2_directive)
}

/// The sites as a load balancer serves them.
fn visitors(scope: &Scope) -> Value {
    let ports = &scope.inventory().nginx;
    json!({
        "upstreams": [],
        "balancers": [],
        "gate": "",
        "content": "hactl/forward.conf",
        "sites": sites(scope.inventory(), true),
        "http_port": ports.http_port,
        "https_port": ports.https_port,
        "https_suffix": https_suffix(ports),
        "ipv6": scope.facts.ipv6,
        "http2_directive": http2_directive(scope),
    })
}

/// The sites as the host of the application serves them.
fn application(scope: &Scope) -> Value {
    let (inventory, view) = (scope.inventory(), &scope.view);
    let process = inventory.app.process();
    // A single server behind a name is never "down": refusing for 10 s after one error would only add errors.
    let local =
        |name: &str, port: u16| json!({ "name": name, "servers": [format!("127.0.0.1:{port} fail_timeout=0")] });
    let mut upstreams = vec![local("hactl_web", process.web_port)];
    if let App::Frappe(frappe) = &inventory.app {
        upstreams.push(local("hactl_socketio", frappe.socketio_port));
    }
    let behind = view.behind_balancer();
    let ports = &inventory.nginx;
    json!({
        "upstreams": upstreams,
        "balancers": if behind { balancers(scope) } else { Vec::new() },
        "gate": gate::path(&inventory.app),
        "content": "hactl/app.conf",
        "sites": sites(inventory, !behind),
        "http_port": if behind { ports.app_port } else { ports.http_port },
        "https_port": ports.https_port,
        "https_suffix": https_suffix(ports),
        "ipv6": scope.facts.ipv6,
        "http2_directive": http2_directive(scope),
    })
}

fn https_suffix(ports: &Nginx) -> String {
    match ports.https_port {
        443 => String::new(),
        port => format!(":{port}"),
    }
}

/// Addresses that load balancers come from: their own, and the virtual ones that they carry.
fn balancers(scope: &Scope) -> Vec<IpAddr> {
    let hosts = scope.view.topology.with_role(HostRole::Lb).map(|host| host.address);
    let vips = scope.inventory().vip.values().map(|vip| vip.address.addr());
    hosts.chain(vips).collect()
}

/// `tls`: whether TLS ends here.
fn sites(inventory: &Inventory, tls: bool) -> Vec<Value> {
    let site = |site: &Site| {
        let names: Vec<_> = std::iter::once(&site.name)
            .chain(&site.aliases)
            .map(String::as_str)
            .collect();
        let certificate = certificates::certificate_name(site).filter(|_| tls);
        json!({
            "name": site.name,
            "names": names.join(" "),
            "certificate": certificate.unwrap_or_default(),
            // A browser that was told so once accepts no self-signed certificate any more.
            "hsts": if matches!(site.tls, Tls::Files { .. } | Tls::OnServer { .. } | Tls::Certbot(_)) { "max-age=31536000" } else { "" },
            "webroot": if tls && matches!(site.tls, Tls::Certbot(_)) { certbot::WEBROOT } else { "" },
        })
    };
    inventory.sites.iter().map(site).collect()
}

/// What a site's server block includes: the application's locations.
fn locations(scope: &Scope) -> Result<File> {
    let path = format!("{ROOT}/hactl/app.conf");
    // What visitors used, which load balancers hand on.
    let scheme = if scope.view.behind_balancer() {
        "$visitor_scheme"
    } else {
        "$scheme"
    };
    match &scope.inventory().app {
        App::Frappe(frappe) => {
            let context = json!({
                "sites": format!("{}/sites", frappe.path),
                "timeout": frappe.process.http_timeout,
                "scheme": scheme,
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
                "scheme": scheme,
            });
            scope.file(&path, "nginx/wsgi.conf", &context)
        }
    }
}
