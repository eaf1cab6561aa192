"""The web application."""

import json
import logging
import socket
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from guestbook import store

__version__ = "1.0.0"

LONGEST_BODY = 8 * 1024
LONGEST_AUTHOR = 60
LONGEST_TEXT = 500

# nginx serves the same file: an answer shows whether code, database and assets are of one release.
ASSETS = Path(__file__).parent / "static" / "version.txt"

log = logging.getLogger("guestbook")


def app(environ, start_response):
    route = (environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/"))
    handler = ROUTES.get((route[0].replace("HEAD", "GET"), route[1]))
    if handler is None:
        status, headers, body = "404 Not Found", [], page("Not found", "<p>There is nothing here.</p>")
    else:
        try:
            status, headers, body = handler(environ)
        except store.Unavailable as error:
            log.error("%s %s: %s", *route, error)
            status, headers = "503 Service Unavailable", [("Retry-After", "2")]
            body = page("One moment", "<p>The guestbook is not available right now. Please try again.</p>")
    if not any(name == "Content-Type" for name, _ in headers):
        headers = [*headers, ("Content-Type", "text/html; charset=utf-8")]
    content = body.encode()
    start_response(status, [*headers, ("Content-Length", str(len(content)))])
    return [] if route[0] == "HEAD" else [content]


def as_json(value, status="200 OK"):
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return status, headers, json.dumps(value)


def page(title, content):
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/static/style.css"></head>'
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )


FORM = (
    '<form method="post" action="/entries">'
    f'<label>Name <input name="author" required maxlength="{LONGEST_AUTHOR}"></label>'
    f'<label>Message <textarea name="text" required maxlength="{LONGEST_TEXT}"></textarea></label>'
    "<button>Sign</button></form>"
)


def index(environ):
    items = "".join(
        f"<li><p>{escape(text)}</p><footer>{escape(author)}, {created:%Y-%m-%d %H:%M} UTC</footer></li>"
        for author, text, created in store.entries(limit=50)
    )
    return "200 OK", [("Cache-Control", "no-store")], page("Guestbook", FORM + f"<ol>{items}</ol>")


def sign(environ):
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = -1
    if not 0 <= length <= LONGEST_BODY:
        return "413 Content Too Large", [], page("Too long", "<p>That is more than fits.</p>")
    form = parse_qs(environ["wsgi.input"].read(length).decode("utf-8", "replace"))
    author, text = (form.get(name, [""])[0].strip() for name in ("author", "text"))
    if not author or not text or len(author) > LONGEST_AUTHOR or len(text) > LONGEST_TEXT:
        return "400 Bad Request", [], page("Something is missing", "<p>A name and a message, please.</p>")

    entry = store.add_entry(author, text, datetime.now(timezone.utc).replace(tzinfo=None))
    # The entry is safe by now. The counter is only for show, and the worker finds an entry whose job got lost.
    for what in (store.count_up, lambda: store.enqueue(entry)):
        try:
            what()
        except store.Unavailable as error:
            log.warning("entry %s: %s", entry, error)
    return "303 See Other", [("Location", "/")], ""


def health(environ):
    broken = store.broken_parts()
    if broken:
        return as_json({"status": "failing", "broken": broken}, "503 Service Unavailable")
    return as_json({"status": "ok"})


def state(environ):
    writes, done = store.counts()
    return as_json(
        {
            "db_writes": writes,
            "redis_counter": store.counter(),
            "jobs_done": done,
            "version": __version__,
            "schema": store.schema(),
            "assets": ASSETS.read_text().strip(),
            "host": socket.gethostname(),
        }
    )


ROUTES = {
    ("GET", "/"): index,
    ("POST", "/entries"): sign,
    ("GET", "/health"): health,
    ("GET", "/api/state"): state,
}
