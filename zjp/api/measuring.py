"""The metrics port: what the node counts and what this process counts of its own requests, rendered for Prometheus by exposition.py.

A scrape shares the node's numbers with whoever else looks at them (Desk.stats). When the node does not answer, its own counts are told
alone with status 200 missing nothing that was promised for them; the scrape then lacks the node's series, which alerts see.
"""

from __future__ import annotations

import importlib
from time import monotonic
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from .answering import Answering, HttpCounts
from .desk import Desk
from .reading import headers_of
from .table import Answer, Problem

PATH = "/metrics"


def make_counts() -> HttpCounts | None:
    """Of this process's requests; None while nobody renders them."""
    exposition = _exposition()
    if exposition is None:
        return None
    counts: HttpCounts = exposition.HttpCounts()
    return counts


def make_metrics_app(desk: Desk, counts: HttpCounts | None) -> ASGIApp:
    return MetricsApp(desk, counts)


def _exposition() -> Any:
    try:
        return importlib.import_module(f"{__package__}.exposition")
    except ModuleNotFoundError as fault:
        if fault.name != f"{__package__}.exposition":
            raise
        return None


class MetricsApp:
    """One path, GET only. Scrapes are not counted among the requests."""

    def __init__(self, desk: Desk, counts: HttpCounts | None) -> None:
        self._desk, self._counts = desk, counts
        self._answering = Answering(desk)
        self._exposition = _exposition()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers, started_at = headers_of(scope), monotonic()
        try:
            answer = await self._answer(scope, headers)
        except Exception as fault:
            await self._answering.refuse(scope, send, fault, headers, path=PATH, started_at=started_at)
            return
        await self._answering.send(scope, receive, send, answer, headers, path=PATH, started_at=started_at)

    async def _answer(self, scope: Scope, headers: dict[str, str]) -> Answer:
        if scope["path"] != PATH:
            raise Problem(404, "Not Found", f"only {PATH} is served on this port")
        if scope["method"] not in ("GET", "HEAD"):
            raise Problem(405, "Method Not Allowed", f"{PATH} takes GET", headers={"allow": "GET, HEAD"})
        table = await self._desk.stats()
        if self._exposition is None:
            raise Problem(503, "Service Unavailable", "metrics are not available in this version")
        body, media_type = self._exposition.render(table, self._counts, headers.get("accept", ""))
        return Answer(body, media_type=media_type)
