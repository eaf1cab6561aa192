"""Take over the sites of an old bench. Shipped to the host by hactl.

Run as the application's user with the new bench's python, in its `sites` folder:

    adopt.py rehearse OLD SITE...   that everything would work; changes nothing
    adopt.py switch OLD SITE...     reads a word from standard input: `go` when the old programs have ended: then jobs are
                                    carried over and files moved; `keep`: files are moved only
    adopt.py back OLD               jobs go back to the old bench's queue; the new programs have ended

Each thing that is moved is one rename within a file system, and leaves a link in its old place. Nothing is overwritten.
"""

import json
import os
import pwd
import sys

import redis

# Of the running programs, or kept by hactl.
STAY = {"site_config.json", "locks", "logs"}


class Refused(Exception):
    """It would not work, or not be safe."""


def main():
    verb, old, sites = sys.argv[1], os.path.join(sys.argv[2], "sites"), sys.argv[3:]
    try:
        if verb == "rehearse":
            rehearse(old, sites)
        elif verb == "switch":
            word = sys.stdin.readline().strip()
            if word not in ("go", "keep"):
                raise Refused("the old programs have not ended")
            if word == "go":
                carry(queue(old), queue("."), empty_first=True)
            for site in sites:
                move(old, site)
        elif verb == "back":
            carry(queue("."), queue(old), empty_first=False)
        else:
            raise Refused(f"no such verb: {verb}")
    except (Refused, OSError, redis.exceptions.RedisError) as error:
        print(error)
        return 1
    return 0


def rehearse(old, sites):
    import frappe

    here = os.stat(".")
    others = [name for name in os.listdir(old) if os.path.exists(os.path.join(old, name, "site_config.json"))]
    for name in sorted(set(others) - set(sites)):
        raise Refused(
            f"the old bench serves {name}, too, which the inventory does not have: its sites end with the switch. "
            f"Add it, or move {os.path.join(old, name)} out of the bench"
        )
    for site in sites:
        for source, target in moves(old, site):
            check(source, target, here)
    count = sum(1 for _ in jobs(queue(old)))
    queue(".").ping()
    # A site of the inventory that the old bench does not have is made later.
    for site in set(sites) & set(others):
        frappe.init(site=site)
        try:
            frappe.connect(set_admin_as_user=False)
            missing = set(frappe.get_installed_apps()) - set(frappe.get_all_apps())
        except Exception as error:
            raise Refused(f"{site}: {type(error).__name__}: {error}") from error
        finally:
            frappe.destroy()
        if missing:
            raise Refused(f"{site} has the apps {', '.join(sorted(missing))}, which app.apps does not")
    # Loaded once, so that the first start finds it compiled.
    import frappe.app
    import gunicorn.app.wsgiapp
    import gunicorn.workers.gthread
    import gunicorn.workers.sync  # noqa: F401

    print(f"{len(sites)} sites can be reached, {count} keys are in the old queue")


def moves(old, site):
    """What is still to be moved, and to where."""
    folder = os.path.join(old, site)
    if os.path.islink(folder):
        raise Refused(f"{folder} is a link: make it a folder (mv its target there), hactl does not move it")
    # Months later the old bench may be deleted.
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in sorted(set(names) - STAY):
        source, target = os.path.join(folder, name), os.path.abspath(os.path.join(site, name))
        if not (os.path.islink(source) and os.readlink(source) == target):
            yield source, target


def check(source, target, here):
    about = os.lstat(source)
    if os.path.lexists(target):
        raise Refused(f"{target} is there already; {source} would have to replace it. Look which is the right one")
    if about.st_dev != here.st_dev:
        raise Refused(
            f"{source} is on another file system than {os.getcwd()}: it could not be moved in one go. "
            "Choose app.path on the same one"
        )
    if about.st_uid != os.getuid():
        owner = pwd.getpwuid(os.getuid()).pw_name
        raise Refused(f"{source} is not {owner}'s: chown -R {owner}: {os.path.dirname(source)}")
    if os.path.islink(source) and not os.path.isabs(os.readlink(source)):
        raise Refused(f"{source} is a link relative to where it is: make it an absolute one")


def move(old, site):
    for source, target in moves(old, site):
        check(source, target, os.stat(site))
        os.rename(source, target)
        os.symlink(target, source)
    restore_links(old, site)


def restore_links(old, site):
    """A run that was cut off between a rename and its link left nothing in the old place."""
    folder = os.path.join(old, site)
    if not os.path.isdir(folder):
        return
    for name in set(os.listdir(site)) - STAY:
        source = os.path.join(folder, name)
        if not os.path.lexists(source) and not name.startswith("."):
            os.symlink(os.path.abspath(os.path.join(site, name)), source)


def queue(sites):
    """The Redis that a bench's jobs wait in, as its own configuration says."""
    with open(os.path.join(sites, "common_site_config.json")) as file:
        config = json.load(file)
    login = {}
    if config.get("use_rq_auth"):
        login = {"username": config.get("rq_username"), "password": config.get("rq_password")}
    url = config.get("redis_queue") or "redis://127.0.0.1:11311"
    return redis.Redis.from_url(url, socket_timeout=30, **login)


def jobs(connection):
    """Every key but those of workers, which end with them."""
    for key in connection.scan_iter(count=1000):
        if not key.startswith((b"rq:worker:", b"rq:workers")):
            yield key


def carry(source, target, empty_first):
    if empty_first:
        # Of an earlier run that was cut off; nobody uses it yet.
        target.flushall()
    count = 0
    # A power cut right after the switch must not cost a job that the old queue had on its disk.
    usual = target.config_get("appendfsync").get("appendfsync", "everysec")
    target.config_set("appendfsync", "always")
    try:
        for key in jobs(source):
            value, left = source.dump(key), source.pttl(key)
            # It may expire meanwhile.
            if value is not None and left != -2:
                target.restore(key, max(left, 0), value, replace=True)
                count += 1
    finally:
        target.config_set("appendfsync", usual)
    print(f"{count} keys of the queue carried over")


if __name__ == "__main__":
    sys.exit(main())
