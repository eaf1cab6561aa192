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
    "certbot/take-up",
    "dbcheck/check",
    "dbcheck/service",
    "dbcheck/socket",
    "frappe/run",
    "frappe/way-back",
    "haproxy/haproxy.cfg",
    "mariadb/server.cnf",
    "memcached/filter.nft",
    "memcached/memcached.conf",
    "memcached/unit.conf",
    "nginx/frappe.conf",
    "nginx/headers.conf",
    "nginx/nginx.conf",
    "nginx/sites.conf",
    "nginx/wsgi.conf",
    "peers/answers",
    "peers/mariadb-backup",
    "peers/sudoers",
    "redis/redis.conf",
    "supervisor/logrotate",
    "supervisor/programs.conf",
    "supervisor/unit.conf",
    "wsgi/env",
    "wsgi/run",
    "wsgi/worker",
];
