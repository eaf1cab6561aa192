//! A bench that is taken over.

use std::collections::BTreeMap;

use crate::inventory::diagnostics::{Diagnostic, Span};
use crate::inventory::model::{Adopted, App, Inventory};
use crate::inventory::raw::{RawAdopted, RawApp, RawInventory};
use crate::inventory::rules;

use super::check::Check;

/// `app.adopted`.
pub fn build(check: &mut Check, raw: &RawAdopted, span: Span) -> Option<Adopted> {
    let from = check.required(&raw.from, "from", "`adopted`", span, rules::host_path);
    let mut refs = BTreeMap::new();
    for (app, git_ref) in raw.refs.value.as_ref().map_or(&[][..], |entries| entries.0.as_slice()) {
        if let (Some(app), Some(git_ref)) = (
            check.text(app, rules::package_name),
            check.text(git_ref, rules::git_ref),
        ) {
            refs.insert(app, git_ref);
        }
    }
    let bench = from.rsplit('/').next().unwrap_or_default();
    let supervisor = check.text(&raw.supervisor, rules::host_path);
    let nginx = check.text(&raw.nginx, rules::host_path);
    Some(Adopted {
        supervisor: supervisor.unwrap_or_else(|| format!("/etc/supervisor/conf.d/{bench}.conf")),
        nginx: nginx.unwrap_or_else(|| format!("/etc/nginx/conf.d/{bench}.conf")),
        refs,
        from,
    })
    .filter(|adopted| !adopted.from.is_empty())
}

/// What must be different from the old bench, since both are there until the switch.
pub fn check(check: &mut Check, inventory: &Inventory, raw: &RawInventory) {
    let (App::Frappe(frappe), Some(RawApp::Frappe(raw_app))) = (&inventory.app, raw.app.value.as_ref()) else {
        return;
    };
    let (Some(adopted), Some((_, span))) = (&frappe.adopted, raw_app.adopted.get()) else {
        return;
    };
    if inventory.hosts.len() > 1 {
        let message = "a bench is taken over to one server, and this inventory has several";
        check.report(Diagnostic::new("inventory::adopted", message).at(span, "with `adopted`").help(
            "take it over with its own server alone; add the others when that is done and `adopted` is taken out",
        ));
    }
    let within = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
    if within(&frappe.path, &adopted.from) || within(&adopted.from, &frappe.path) {
        let message = format!(
            "the new bench {} and the old one {} are not apart",
            frappe.path, adopted.from
        );
        check.report(
            Diagnostic::new("inventory::adopted", message)
                .at(span, "the old one")
                .help("give `app.path` a folder of its own on the same file system"),
        );
    }
    for (what, path, own) in [
        (
            "supervisor",
            &adopted.supervisor,
            &[
                "/etc/supervisor/conf.d/frappe.conf",
                "/etc/supervisor/conf.d/frappe-workers.conf",
            ][..],
        ),
        ("nginx", &adopted.nginx, &["/etc/nginx/nginx.conf"]),
    ] {
        if own.contains(&path.as_str()) {
            let message = format!("{path} is a file of hactl's own, so it cannot be the old bench's");
            let help = format!(
                "rename it on the server (and the group names in it, for supervisord), then name it in `adopted.{what}`"
            );
            check.report(
                Diagnostic::new("inventory::adopted", message)
                    .at(span, "here")
                    .help(help),
            );
        }
    }
}
