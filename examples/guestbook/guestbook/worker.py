"""`python -m guestbook.worker`: count the words of new entries, in the background.

The queue only says that there is something to do; what is to do stands in the database. So a job that got lost with a Redis
server, or with a worker, is found again, and one that is delivered twice changes nothing.
"""

import logging
import signal
import socket
import threading
import time
from datetime import datetime, timezone

from guestbook import store

# Entries this old without a result have lost their job.
OVERDUE_SECONDS = 15

log = logging.getLogger("guestbook.worker")


def now():
    return datetime.now(timezone.utc).replace(tzinfo=None)


def perform(entry):
    with store.database() as cursor:
        cursor.execute("SELECT text FROM entry WHERE id = %s", (entry,))
        row = cursor.fetchone()
        if row:
            cursor.execute(
                "INSERT IGNORE INTO job_result (entry, words, host, done) VALUES (%s, %s, %s, %s)",
                (entry, len(row[0].split()), socket.gethostname(), now()),
            )


def overdue():
    with store.database() as cursor:
        cursor.execute(
            "SELECT entry.id FROM entry LEFT JOIN job_result ON job_result.entry = entry.id "
            "WHERE job_result.entry IS NULL AND entry.created < %s - INTERVAL %s SECOND LIMIT 100",
            (now(), OVERDUE_SECONDS),
        )
        return [row[0] for row in cursor.fetchall()]


def work(stop):
    looked = 0.0
    while not stop.is_set():
        try:
            if time.monotonic() - looked > OVERDUE_SECONDS:
                for entry in overdue():
                    log.info("entry %s had lost its job", entry)
                    perform(entry)
                looked = time.monotonic()
            entry = store.next_job(seconds=2)
            if entry is not None:
                perform(entry)
                log.info("entry %s done", entry)
        except store.Unavailable as error:
            log.warning("%s", error)
            stop.wait(1)


def main():
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("waiting for jobs")
    work(stop)
    log.info("stopped")


if __name__ == "__main__":
    main()
