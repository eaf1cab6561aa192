"""Runs Frappe's scheduler on one host of a cluster at a time. Shipped to the hosts by hactl.

Run as the application's user with the bench's python, in the bench's `sites` folder, as

    scheduler.py SITE STATE_FILE COMMAND...

on every host that may schedule. Whoever holds a lock on the MariaDB that takes the writes runs COMMAND; the others wait
for the lock. There is one such server, so there is one scheduler; when a host dies, its lock ends with its connection.
SITE is the site whose database account is used; the lock needs no right of its own. STATE_FILE says for `hactl
status` what goes on: `schedules` or `waits`.

A connection that is cut without a word keeps its lock until the server has heard nothing for FORGET seconds. The holder
asks the server every second and ends its command after at most ASK + ANSWER seconds without an answer, which is sooner. A
connection that somebody ends, such as a HAProxy that loses the server, loses the lock at once: so whoever gets the lock
holds it for GRACE seconds before it runs the command, and the holder before has noticed by then.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

try:
    import pymysql as driver
except ImportError:  # Frappe from version 16 on
    import MySQLdb as driver

ASK = 1
ANSWER = 2
FORGET = 6
GRACE = ASK + ANSWER + 1
# Seconds that the scheduler gets to end when it is told to; the server is not asked meanwhile, so END must be less than
# FORGET, and ASK + ANSWER + END than FORGET + GRACE.
END = 4
PR_SET_PDEATHSIG = 1


class Told(Exception):
    """Somebody wants this process to end."""


def main():
    site, state, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    try:
        while True:
            try:
                with Lock(site) as lock:
                    while not lock.taken():
                        note(state, "waits")
                        time.sleep(ASK)
                    if kept(lock, state):
                        hold(lock, state, command)
            except driver.Error as error:
                say(f"the database: {error}")
            # The site's configuration is being written, or is not there yet.
            except (OSError, ValueError, KeyError) as error:
                say(f"{type(error).__name__}: {error}")
            # It ended by itself, or the database went away: not in a hot loop.
            time.sleep(ASK)
    except Told:
        return 0
    finally:
        forget(state)


def told(*_):
    raise Told


def kept(lock, state):
    """Whether the lock is still held when whoever had it before has ended its command."""
    for _ in range(GRACE):
        note(state, "waits")
        time.sleep(1)
        if not lock.held():
            return False
    return True


def hold(lock, state, command):
    """Runs the command for as long as the lock is held."""
    say("this host schedules")
    child = subprocess.Popen(command, preexec_fn=end_with(os.getpid()))
    try:
        while child.poll() is None:
            note(state, "schedules")
            time.sleep(ASK)
            if not lock.held():
                say("the lock is lost")
                return
        say(f"the scheduler ended with status {child.returncode}")
    except Told:
        # The lock is kept until it has ended.
        child.terminate()
        try:
            child.wait(END)
        except subprocess.TimeoutExpired:
            pass
        raise
    finally:
        # Another host may schedule in a few seconds: no time for a farewell.
        child.kill()
        child.wait()
        say("it has ended here")


def end_with(parent):
    """The kernel ends the command when this process is killed: without it nobody would look after the lock."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare():
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


class Lock:
    """A named lock on the server that takes the writes, held by a connection of its own."""

    def __init__(self, site):
        with open("common_site_config.json") as common, open(os.path.join(site, "site_config.json")) as own:
            config = {**json.load(common), **json.load(own)}
        self.name = f"hactl_scheduler.{config['bench_id']}"[:64]
        self.connection = driver.connect(
            host=config["db_host"],
            port=int(config["db_port"]),
            user=config["db_name"],
            password=config["db_password"],
            connect_timeout=ANSWER,
            read_timeout=ANSWER,
            write_timeout=ANSWER,
        )

    def __enter__(self):
        self.ask(f"SET SESSION wait_timeout={FORGET}")
        return self

    def __exit__(self, *_):
        try:
            self.connection.close()
        except driver.Error:
            pass

    def ask(self, query, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone()
        return row and row[0]

    def taken(self):
        if self.ask("SELECT @@global.read_only"):
            raise driver.OperationalError("it takes no writes")
        return self.ask("SELECT GET_LOCK(%s, 0)", self.name) == 1

    def held(self):
        return self.ask("SELECT IS_USED_LOCK(%s) = CONNECTION_ID() AND NOT @@global.read_only", self.name) == 1


def note(path, text):
    """Written whole or not at all; a reader sees by its age whether anybody is there. A full disk ends no scheduler."""
    try:
        with open(path + "~", "w") as file:
            file.write(text + "\n")
        os.replace(path + "~", path)
    except OSError as error:
        say(f"cannot write {path}: {error}")


def forget(path):
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


def say(text):
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
