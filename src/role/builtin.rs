//! The compiled-in templates, by name: the path under `templates/` without `.tera`.

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../templates/", $name, ".tera")))),*]
    };
}

/// Name and text of each template.
pub const TEMPLATES: &[(&str, &str)] = templates![
    "app/gunicorn.conf.py",
    "base/sysctl.conf",
    "frappe/run",
    "frappe/way-back",
    "mariadb/server.cnf",
    "nginx/frappe.conf",
    "nginx/headers.conf",
    "nginx/nginx.conf",
    "nginx/sites.conf",
    "nginx/wsgi.conf",
    "redis/redis.conf",
    "supervisor/logrotate",
    "supervisor/programs.conf",
    "supervisor/unit.conf",
    "wsgi/env",
    "wsgi/run",
    "wsgi/worker",
];
