"""The metrics port: /metrics, and nothing else. What the node counts and what this process counts is rendered by exposition.py.

A scrape asks the node by itself and with a time limit of its own, so that one that cannot answer is told as such.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from starlette.types import Receive, Scope, Send

from .answering import Answering
from .cluster import stats_of
from .desk import Desk
from .exposition import HttpCounts, scrape
from .reading import headers_of
from .table import Answer, Problem

PATH = "/metrics"


class MetricsApp:
    """The ASGI application of METRICS_PORT. Scrapes are not counted among the requests."""

    def __init__(self, desk: Desk, counts: HttpCounts) -> None:
        self._desk, self._counts = desk, counts
        self._answering = Answering(desk)

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
        """Raises: Problem 404, 405."""
        if scope["path"] != PATH:
            raise Problem(404, "Not Found", f"only {PATH} is served on this port")
        if scope["method"] not in ("GET", "HEAD"):
            raise Problem(405, "Method Not Allowed", f"{PATH} takes GET", headers={"allow": "GET, HEAD"})
        body, media_type = await scrape(self._stats, self._counts, headers.get("accept", ""))
        return Answer(body, media_type=media_type)

    async def _stats(self) -> dict[str, Any]:
        return await stats_of(self._desk.client)
