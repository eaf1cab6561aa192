//! User, Python, ports and gunicorn of a bench.

use serde_json::{Map, Value, json};

use super::draft::{Remarks, is_plain, number, shown, string};
use super::reading::Found;
use crate::inventory::rules;

/// User, Python, ports and gunicorn.
pub(super) fn app(found: &Found, bench: &str, common: &Map<String, Value>, remarks: &mut Remarks) -> Value {
    let user = &found.user;
    if rules::user(&user.name).is_err() || matches!(user.name.as_str(), "root" | "www-data") {
        remarks.first(format!(
            "the bench belongs to {}, and hactl wants a user of its own for it: chown -R frappe: {bench}",
            shown(&user.name)
        ));
    } else {
        if user.uid != user.gid || user.group != user.name || !(1000..=59999).contains(&user.uid) {
            remarks.first(format!(
                "user {} has uid {} and group {} ({}): hactl wants one number from 1000 on for both, and a group of the user's name",
                user.name,
                user.uid,
                shown(&user.group),
                user.gid
            ));
        }
        let home = format!("/home/{}", user.name);
        if user.home != home || user.shell != "/bin/bash" {
            remarks.known(format!(
                "user {} has the home {} and the shell {}; it gets {home} and /bin/bash",
                user.name,
                shown(&user.home),
                shown(&user.shell)
            ));
        }
    }
    let id = match string(common, "bench_id") {
        Some(id) if is_plain(id) => id.to_owned(),
        Some(id) => {
            remarks.first(format!(
                "its bench_id {} is no name: jobs that wait would not be found",
                shown(id)
            ));
            String::new()
        }
        None => bench.trim_matches('/').replace('/', "-"),
    };
    let web = found
        .programs
        .iter()
        .find(|program| program.name.ends_with("-frappe-web"));
    let option = |names: &[&str]| web.and_then(|web| web.option(names));
    let numeric = |names: &[&str], key: &str| {
        let given = option(names).and_then(|text| text.parse::<u64>().ok());
        given.or_else(|| number(common, key)).filter(|number| *number > 0)
    };
    let bound = option(&["-b", "--bind"]).and_then(|bind| bind.rsplit(':').next()?.parse::<u64>().ok());
    let worker_class = option(&["-k", "--worker-class"]).filter(|class| !matches!(class.as_str(), "sync" | "gthread"));
    if let Some(class) = worker_class {
        remarks.known(format!(
            "gunicorn runs with the worker class {}; it gets hactl's",
            shown(&class)
        ));
    }
    json!({
        "user": if rules::user(&user.name).is_ok() { user.name.as_str() } else { "frappe" },
        "uid": if (1000..=59999).contains(&user.uid) { user.uid } else { 1990 },
        "python": python(found, remarks),
        "web_workers": numeric(&["-w", "--workers"], "gunicorn_workers"),
        "web_threads": option(&["--threads"]).and_then(|text| text.parse::<u64>().ok()).filter(|threads| *threads > 1),
        "http_timeout": numeric(&["-t", "--timeout"], "http_timeout").filter(|seconds| *seconds != 120),
        "web_port": bound.or_else(|| number(common, "webserver_port")).filter(|port| *port != 8000),
        "socketio_port": number(common, "socketio_port").filter(|port| *port != 9000),
        "bench_id": Value::from(id).to_string(),
    })
}

/// The Python that the old environment was made with.
fn python(found: &Found, remarks: &mut Remarks) -> Option<String> {
    let key = |names: [&str; 2]| names.iter().find_map(|name| found.python.get(*name)).cloned();
    let version = key(["version_info", "version"])?;
    let mut parts = version.split('.');
    let name = format!("python{}.{}", parts.next()?, parts.next()?);
    let home = key(["home", "home"])?;
    let path = format!("{}/{name}", home.trim_end_matches('/'));
    if home == "/usr/bin" {
        return Some(name).filter(|name| rules::python(name).is_ok());
    }
    rules::python(&path).ok()?;
    remarks.known(format!(
        "its Python is {}, which is none of Debian's packages: it must stay there",
        shown(&path)
    ));
    Some(path)
}
