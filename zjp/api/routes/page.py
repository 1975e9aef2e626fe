"""The dashboard: one page at `/` and the files it is made of, as they lie in the package.

They are read once, at import, from the list below: no request names a file that is not in it, so no path leads out of the folder. What the
page shows comes from the public API; where in it somebody is stands behind the `#` of the address, so there is one page.

A file changes only with the version, and has no version in its name: browsers keep it and ask each time whether it is still so (ETag).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ..table import Answer, Call, Problem, Route

FOLDER = resources.files("zjp.api").joinpath("static")
PAGE = "index.html"
FILES = (
    "api.js", "app.css", "attempts.js", "bulk.js", "chart.js", "dialog.js", "dom.js", "exact_json.js", "first_steps.js", "format.js",
    "icons.js", "json_view.js", "keys.js", "live.js", "logo.svg", "main.js", "page_account.js", "page_audit.js", "page_cluster.js",
    "page_failed.js", "page_job.js", "page_jobs.js", "page_overview.js", "page_queues.js", "page_scheduled.js", "page_users.js",
    "page_workers.js", "parts.css", "parts.js", "ribbon.js", "ring.js", "router.js", "schedule_form.js", "session.js", "shell.js",
    "snippets.js", "submit.js", "table.js", "theme.js", "toast.js", "tokens.css", "view.js",
)  # fmt: skip
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
CACHING = "no-cache"
"""Keep it, and ask before it is used again."""


@dataclass(frozen=True, slots=True)
class Served:
    """One file, ready to be sent."""

    body: bytes
    media_type: str
    etag: str


def _read(name: str) -> Served:
    body = FOLDER.joinpath(name).read_bytes()
    return Served(body, MEDIA_TYPES[name.rpartition(".")[2]], f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')


SERVED = {name: _read(name) for name in (PAGE, *FILES)}


async def page(_: Call[Any, Any]) -> Answer:
    return _answer(SERVED[PAGE])


async def file(call: Call[Any, Any]) -> Answer:
    name = call.path["name"]
    served = SERVED.get(name)
    if served is None or name == PAGE:
        raise Problem(404, "Not Found", f"there is no file {name[:100]!r}")
    return _answer(served)


def _answer(served: Served) -> Answer:
    return Answer(served.body, headers={"etag": served.etag, "cache-control": CACHING}, media_type=served.media_type)


ROUTES = (
    Route("GET", "/", None, "The dashboard", page, group="dashboard"),
    Route(
        "GET",
        "/static/{name}",
        None,
        "A file of the dashboard",
        file,
        statuses={404: "there is no such file"},
        group="dashboard",
    ),
)
