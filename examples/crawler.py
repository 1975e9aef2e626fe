"""Crawl a web site without being a nuisance: one request at a time and 50 ms between them, whatever the number of workers.

    python -m examples.crawler

What to see here: a job whose turn has not come raises `Snooze` and gives its slot to another one, at no cost; pages
submit the pages they link to, from inside of the task; `unique_key` keeps two jobs for one page from being under
way at once, and the table of pages keeps a page from being read again later. The site is a local one with 30 pages
that link to each other.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin

from examples.local_node import local_node
from zjp import App, Client, Discard, Snooze

app = App()

INTERVAL_S = 0.05
REQUEST_LIMIT_S = 10.0
PAGE_COUNT = 30
LIMIT_S = 60.0

SCHEMA = """
CREATE TABLE pages (url TEXT PRIMARY KEY, bytes INTEGER);
CREATE TABLE turn (next_at REAL);
INSERT INTO turn VALUES (0);
"""


def take_turn(notes: sqlite3.Connection, url: str) -> bool:
    """Whether the page is still to be read; then `end_turn` must follow. Raises: Snooze when it is not our turn."""
    notes.execute("BEGIN IMMEDIATE")
    with notes:
        if notes.execute("SELECT 1 FROM pages WHERE url = ?", [url]).fetchone():
            return False
        (next_at,) = notes.execute("SELECT next_at FROM turn").fetchone()
        now = time.time()  # all workers share the clock of this machine
        if now < next_at:
            raise Snooze(min(next_at - now, INTERVAL_S), "not our turn yet")
        # Should this process die now, the next turn comes after the time-out of its request.
        notes.execute("UPDATE turn SET next_at = ?", [now + REQUEST_LIMIT_S])
        return True


def end_turn(notes: sqlite3.Connection) -> None:
    notes.execute("UPDATE turn SET next_at = ?", [time.time() + INTERVAL_S])


@app.task("crawl", max_retries=3, timeout="30s")
def crawl(url: str, notes_path: str) -> int:
    """How many links the page has."""
    with closing(sqlite3.connect(notes_path, timeout=10, isolation_level=None)) as notes:
        if not take_turn(notes, url):
            return 0
        try:
            with urllib.request.urlopen(url, timeout=REQUEST_LIMIT_S) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as refused:
            if refused.code == 404:
                raise Discard(f"{url} does not exist") from None
            raise  # the server has a problem: the retries are for that
        finally:
            end_turn(notes)
        links = sorted({urljoin(url, link) for link in re.findall(r'href="([^"]+)"', text)})
        known = {row[0] for row in notes.execute("SELECT url FROM pages")}
        for link in links:
            if link not in known and link.startswith(urljoin(url, "/")):
                crawl.options(unique_key=link).submit(url=link, notes_path=notes_path)
        notes.execute("INSERT OR IGNORE INTO pages VALUES (?, ?)", [url, len(text)])
        return len(links)


class Site(BaseHTTPRequestHandler):
    """Page n links to 2n+1, 2n+2 and back to the first; the last one also to a page that does not exist."""

    requests: list[tuple[float, str]]

    def do_GET(self) -> None:
        self.requests.append((time.time(), self.path))
        number = int(self.path.removeprefix("/page-"))
        links = [link for link in (2 * number + 1, 2 * number + 2, 0) if link < PAGE_COUNT]
        links += [999] if number == PAGE_COUNT - 1 else []
        body = " ".join(f'<a href="/page-{link}">page {link}</a>' for link in links).encode()
        self.send_response(200 if number < PAGE_COUNT else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The result is printed, not every request."""


@contextmanager
def local_site() -> Iterator[tuple[str, list[tuple[float, str]]]]:
    """Its address, and (when, path) of each request so far."""
    requests: list[tuple[float, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("ThisSite", (Site,), {"requests": requests}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wait_until_empty(zjp: Client) -> None:
    """A page submits its links before its own job is finished, so nothing unfinished means nothing more to come. Records
    are written in bulk, so that the last ones are listed a moment later: the backlog is what is still on its way."""
    deadline = time.monotonic() + LIMIT_S
    while (
        any(queue.pending + queue.scheduled + queue.retrying + queue.running for queue in zjp.queues())
        or zjp.stats()["backlog"]["count"]
    ):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the crawl was not over after {LIMIT_S:g} s")
        time.sleep(0.05)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, local_site() as (address, requests):
        notes_path = str(Path(folder, "notes.db"))
        with closing(sqlite3.connect(notes_path)) as notes, local_node("examples.crawler:app") as zjp:
            notes.executescript(SCHEMA)
            zjp.submit("crawl", {"url": f"{address}/page-0", "notes_path": notes_path}, unique_key=f"{address}/page-0")
            wait_until_empty(zjp)
            failed = [job.payload["url"] for job in zjp.jobs(status="failed")]
            (page_count,) = notes.execute("SELECT count(*) FROM pages").fetchone()
    times = sorted(at for at, _ in requests)
    least_s = min(later - earlier for earlier, later in itertools.pairwise(times))
    missing = [path for _, path in requests if path == "/page-999"]
    print(
        f"{page_count} pages read, {len(requests)} requests in {times[-1] - times[0]:.1f} s, at least {least_s * 1000:.0f} ms apart"
    )
    print(f"failed: {', '.join(url.removeprefix(address) for url in failed)}")
    is_once = len({path for _, path in requests}) == len(requests) == PAGE_COUNT + len(missing)
    is_polite = least_s >= INTERVAL_S * 0.9
    return 0 if page_count == PAGE_COUNT and is_once and is_polite and failed == [f"{address}/page-999"] else 1


if __name__ == "__main__":
    sys.exit(main())
