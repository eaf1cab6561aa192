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
    "files/rsyncd.conf",
    "files/service",
    "files/take",
    "files/timer",
    "frappe/run",
    "frappe/way-back",
    "haproxy/haproxy.cfg",
    "haproxy/unit.conf",
    "keepalived/keepalived.conf",
    "keepalived/unit.conf",
    "mariadb/runtime.cnf",
    "mariadb/server.cnf",
    "mariadb/unit.conf",
    "memcached/filter.nft",
    "memcached/memcached.conf",
    "memcached/unit.conf",
    "nginx/balancer.conf",
    "nginx/files.conf",
    "nginx/forward.conf",
    "nginx/frappe.conf",
    "nginx/headers.conf",
    "nginx/nginx.conf",
    "nginx/sites.conf",
    "nginx/wsgi.conf",
    "peers/answers",
    "peers/app",
    "peers/binlog",
    "peers/files",
    "peers/mariadb-backup",
    "peers/sudoers",
    "peers/take",
    "redis/redis.conf",
    "redis/sentinel-unit.conf",
    "redis/sentinel.conf",
    "redis/unit.conf",
    "supervisor/logrotate",
    "supervisor/programs.conf",
    "supervisor/unit.conf",
    "wsgi/env",
    "wsgi/run",
    "wsgi/worker",
];
