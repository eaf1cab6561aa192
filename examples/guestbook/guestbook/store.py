"""MariaDB and Redis, as the web application and the worker use them."""

import os
from contextlib import contextmanager

import pymysql
import redis

QUEUE = "guestbook:jobs"
COUNTER = "guestbook:signed"

# Short enough that a request to a dead server fails while its visitor still waits.
CONNECT_SECONDS = 3
ANSWER_SECONDS = 10


class Unavailable(Exception):
    """A server does not answer. The text names it, and holds no password."""


def setting(name):
    value = os.environ.get(name)
    if not value:
        raise Unavailable(f"the environment variable {name} is not set")
    return value


@contextmanager
def database():
    """A connection for one piece of work: committed when it ends well, undone when not."""
    try:
        connection = pymysql.connect(
            host=setting("DB_HOST"),
            port=int(os.environ.get("DB_PORT") or 3306),
            user=setting("DB_USER"),
            # PyMySQL would encode text as latin-1.
            password=setting("DB_PASSWORD").encode(),
            database=setting("DB_NAME"),
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
        )
    except pymysql.Error as error:
        raise Unavailable(f"MariaDB: {error}") from error
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except pymysql.Error as error:
        raise Unavailable(f"MariaDB: {error}") from error
    finally:
        # Without a commit this rolls back.
        connection.close()


_clients = {}


@contextmanager
def redis_at(variable):
    """The Redis server whose URL stands in that environment variable."""
    try:
        if variable not in _clients:
            _clients[variable] = redis.Redis.from_url(
                setting(variable),
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                health_check_interval=10,
                decode_responses=True,
            )
        yield _clients[variable]
    except redis.RedisError as error:
        raise Unavailable(f"{variable}: {error}") from error


def add_entry(author, text, created):
    with database() as cursor:
        cursor.execute("INSERT INTO entry (author, text, created) VALUES (%s, %s, %s)", (author, text, created))
        return cursor.lastrowid


def entries(limit):
    with database() as cursor:
        cursor.execute("SELECT author, text, created FROM entry ORDER BY id DESC LIMIT %s", (limit,))
        return cursor.fetchall()


def counts():
    """How many entries there are, and for how many of them the job is done."""
    with database() as cursor:
        cursor.execute("SELECT (SELECT COUNT(*) FROM entry), (SELECT COUNT(*) FROM job_result)")
        return cursor.fetchone()


def schema():
    """The last migration step that the database has."""
    with database() as cursor:
        cursor.execute("SELECT MAX(step) FROM migration")
        return cursor.fetchone()[0]


def count_up():
    with redis_at("REDIS_CACHE_URL") as cache:
        cache.incr(COUNTER)


def counter():
    with redis_at("REDIS_CACHE_URL") as cache:
        return int(cache.get(COUNTER) or 0)


def enqueue(entry):
    with redis_at("REDIS_QUEUE_URL") as queue:
        queue.rpush(QUEUE, entry)


def next_job(seconds):
    """The id of the next entry to work on, or None when none came in that time."""
    with redis_at("REDIS_QUEUE_URL") as queue:
        taken = queue.blpop([QUEUE], timeout=seconds)
        return int(taken[1]) if taken else None


def broken_parts():
    """What does not answer, by name."""
    broken = {}
    try:
        with database() as cursor:
            cursor.execute("SELECT 1")
    except Unavailable as error:
        broken["mariadb"] = str(error)
    for variable in ("REDIS_CACHE_URL", "REDIS_QUEUE_URL"):
        try:
            with redis_at(variable) as client:
                client.ping()
        except Unavailable as error:
            broken[variable.lower().removesuffix("_url")] = str(error)
    return broken
