"""Make a Frappe site, or finish one that was left half made. Shipped to the host by hactl.

Run as the application's user with the bench's python, in the bench's `sites` folder, as `site.py LOGFILE`, with one JSON
object on standard input (secrets are never in argv):

    {"site": "erp.example.com",
     "db": {"host": "10.0.0.5", "port": 3306, "name": "erp_example_com", "password": "..."},
     "admin_password": "...",
     "apps": ["erpnext"],
     "config": {"host_name": "https://erp.example.com"},
     "seeds": {"encryption_key": "..."},
     "scheduler": true}

Keys of `config` are set, those of `seeds` only when they are missing. Database and user exist before: the user has all
rights on that one database, so no root password comes to this host. On standard output: a line for each thing done; the
last one is the outcome, or the reason of a failure. Everything Frappe prints goes to the log file.
Exit status: 0 done, 1 failed, 3 refused (a database that hactl did not leave half made is never emptied),
4 another run is making this site right now.

What is half made is known from the database alone, since site folders come and go with hosts: a table
`__hactl_unfinished_site` (or `..._app_NAME`) exists exactly while the site (or the app) is being installed.
Creating and dropping a table is atomic in MariaDB 10.6 and later, so a kill at any moment leaves a state this reads right.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
import traceback

import frappe
import frappe.installer

SITE_MARK = "__hactl_unfinished_site"
APP_MARK = "__hactl_unfinished_app_"


class Refused(Exception):
    """Going on could destroy data."""


class Busy(Exception):
    """Another run holds the site."""


def main():
    # Frappe and its apps print as they like, progress bars included; the report must stay readable.
    report = os.fdopen(os.dup(1), "w", buffering=1)
    log = sys.argv[1]
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    os.dup2(handle, 1)
    os.dup2(handle, 2)

    def say(text):
        try:
            print(text, file=report)
        # The connection was cut. Half a site helps nobody: the rest is made all the same.
        except BrokenPipeError:
            pass

    wanted = json.load(sys.stdin)
    try:
        say(make(wanted, say))
        return 0
    except Refused as error:
        say(f"refused: {error}")
        return 3
    except Busy as error:
        say(f"busy: {error}")
        return 4
    # Frappe's installer leaves by sys.exit() in places; that must not pass for success.
    except SystemExit as error:
        reason = f"Frappe's installer gave up with status {error.code}"
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    sys.stdout.flush()
    sys.stderr.flush()
    for line in last_lines(log):
        say(line)
    say(f"could not finish the site {wanted['site']}: {reason} (all of it is in {os.path.abspath(log)})")
    return 1


def last_lines(path, count=15):
    """The end of a log; of a progress bar only what it showed last."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 8192))
        lines = file.read().decode(errors="replace").split("\n")
    return [line.rstrip("\r").rpartition("\r")[2] for line in lines if line.strip()][-count:]


def make(wanted, say):
    site, db = wanted["site"], wanted["db"]
    write_config(site, db, wanted.get("config") or {}, wanted.get("seeds") or {})
    make_folders(site)
    frappe.init(site=site)
    frappe.connect(set_admin_as_user=False)
    hold = take_lock(db["name"])
    try:
        state = database_state(db["name"])
        if state != "finished":
            say(f"making the site {site}" if state == "empty" else f"making the site {site} anew: it was left half made")
            create(site, db, wanted["admin_password"], empty=state == "empty")
        connect(site)
        for app in wanted.get("apps") or []:
            if install(app, say):
                connect(site)
        if "scheduler" in wanted and set_scheduler(wanted["scheduler"]):
            say("scheduler switched on" if wanted["scheduler"] else "scheduler switched off")
        return f"{site} has {', '.join(frappe.get_installed_apps())}"
    finally:
        frappe.destroy()
        hold.close()


def connect(site):
    """A fresh start: installers leave flags and caches in the module's globals."""
    frappe.destroy()
    frappe.init(site=site)
    frappe.connect()


def write_config(site, db, extra, seeds):
    """Set our keys in site_config.json and keep those that Frappe or people put there."""
    path = os.path.join(site, "site_config.json")
    os.makedirs(site, exist_ok=True)
    try:
        with open(path) as file:
            config = json.load(file)
    except FileNotFoundError:
        config = {}
    wanted = {
        **seeds,
        **config,
        "db_type": "mariadb",
        "db_host": db["host"],
        "db_port": db["port"],
        "db_name": db["name"],
        "db_password": db["password"],
        **extra,
    }
    if wanted == config:
        return
    # Beside the file, so that the rename is atomic; mkstemp makes it 0600, which a file with passwords should be.
    handle, new = tempfile.mkstemp(prefix=".site_config.", dir=site)
    with os.fdopen(handle, "w") as file:
        json.dump(wanted, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)


def make_folders(site):
    for folder in ("public/files", "private/files", "private/backups", "locks", "logs"):
        os.makedirs(os.path.join(site, folder), exist_ok=True)


def take_lock(name):
    """Hold the site against a second run, also one on another host or one that outlived its ssh connection.

    Returns the connection that holds the lock: the installer closes and reopens its own, so this one is set apart.
    """
    connection, frappe.local.db = frappe.local.db, None
    connection.sql("SET SESSION wait_timeout = 28800")
    if connection.sql("SELECT GET_LOCK(%s, 5)", (f"hactl_site_{name}"[:64],))[0][0] != 1:
        connection.close()
        raise Busy(f"another run is installing into the database {name}")
    frappe.connect(set_admin_as_user=False)
    return connection


def database_state(name):
    """One of `empty`, `unfinished` (both may be emptied) and `finished`; refuses anything else."""
    tables = {row[0] for row in frappe.db.sql("SHOW TABLES")}
    if SITE_MARK in tables:
        return "unfinished"
    if not tables:
        return "empty"
    if "tabDefaultValue" in tables and frappe.db.sql(
        "SELECT 1 FROM `tabDefaultValue` WHERE parent = '__global' AND defkey = 'installed_apps'"
    ):
        return "finished"
    raise Refused(
        f"the database {name} has {len(tables)} tables but is no finished Frappe site, and hactl did not leave it half "
        "made; empty it by hand if nothing in it is needed"
    )


def create(site, db, admin_password, empty):
    name = db["name"]
    if not empty:
        frappe.db.sql_ddl(f"DROP DATABASE `{name}`")
        frappe.db.sql_ddl(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
        frappe.db.sql(f"USE `{name}`")
    frappe.db.sql_ddl(f"CREATE TABLE IF NOT EXISTS `{SITE_MARK}` (since DATETIME PRIMARY KEY)")
    frappe.destroy()

    frappe.init(site=site)
    bring_schema_without_password_in_argv()
    arguments = {
        "db_name": name,
        "site": site,
        "admin_password": admin_password,
        "db_password": db["password"],
        "db_type": "mariadb",
        "db_host": db["host"],
        "db_port": db["port"],
        "install_apps": [],
        "force": True,  # the folder exists by now; the database is not touched by this, see setup_db
        "setup_db": False,
    }
    known = inspect.signature(frappe.installer._new_site).parameters
    if "setup_db" not in known:  # before 15.42
        leave_user_and_database_alone()
    frappe.installer._new_site(**{key: value for key, value in arguments.items() if key in known})

    connect(site)
    frappe.db.sql_ddl(f"DROP TABLE `{SITE_MARK}`")


def bring_schema_without_password_in_argv():
    """Frappe pipes its first schema into `mariadb --password=...` through a shell; do the same with a private file."""
    from frappe.database.db_manager import DbManager

    def restore_database(*arguments):
        target, source, user, password = arguments[-4:]  # a leading `verbose` came with 15.18
        conf = frappe.conf
        with tempfile.NamedTemporaryFile("w", prefix=".hactl-", suffix=".cnf") as options, open(source) as schema:
            quoted = password.replace("\\", "\\\\").replace('"', '\\"')
            options.write(f'[client]\nuser="{user}"\npassword="{quoted}"\n')
            options.write(f"host={conf.db_host}\nport={conf.db_port}\nprotocol=tcp\n")
            options.flush()
            client = ["mariadb", f"--defaults-file={options.name}", "--default-character-set=utf8mb4", target]
            subprocess.run(client, stdin=schema, check=True)
        frappe.cache.delete_keys("")  # of an earlier try with the same database name

    DbManager.restore_database = staticmethod(restore_database)


def leave_user_and_database_alone():
    """Frappe before 15.42 always makes user and database itself, as root; both exist, and root stays where it is."""
    from frappe.database.db_manager import DbManager
    from frappe.database.mariadb import setup_db

    class NoRoot:
        def close(self):
            pass

    setup_db.get_root_connection = lambda *_: NoRoot()
    DbManager.get_database_list = lambda *_: []
    for thing in ("user", "database"):
        for verb in ("create", "delete", "drop"):
            setattr(DbManager, f"{verb}_{thing}", lambda *_, **__: None)
    DbManager.grant_all_privileges = DbManager.flush_privileges = lambda *_, **__: None


def install(app, say):
    """Install an app unless it is there, whole. True when something was done."""
    mark = APP_MARK + app
    broken = bool(frappe.db.sql("SHOW TABLES LIKE %s", (mark.replace("_", r"\_"),)))
    if app in frappe.get_installed_apps() and not broken:
        return False
    say(f"installing {app}")
    frappe.db.sql_ddl(f"CREATE TABLE IF NOT EXISTS `{mark}` (since DATETIME PRIMARY KEY)")
    # `force` repeats what a killed install had already noted as done.
    frappe.installer.install_app(app, force=broken)
    frappe.db.commit()
    if app not in frappe.get_installed_apps():
        raise Refused(f"the app {app} declined to be installed (its before_install hook said no)")
    frappe.db.sql_ddl(f"DROP TABLE `{mark}`")
    return True


def set_scheduler(on):
    """True when it was changed."""
    from frappe.utils import cint
    from frappe.utils.scheduler import toggle_scheduler

    if bool(cint(frappe.db.get_single_value("System Settings", "enable_scheduler"))) == bool(on):
        return False
    toggle_scheduler(on)
    frappe.db.commit()
    return True


if __name__ == "__main__":
    sys.exit(main())
