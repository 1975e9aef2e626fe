"""From a request to an answer: the rows of the route table behind Starlette's routing, and one way through for all of them.

    path ──► row by method ──► who asks (door) ──► role ──► query ──► body ──► handler ──► Answer
       404        405           401, 403           403     400, 422   413, 415, 400, 422

Whatever goes wrong on the way becomes a problem document. Handlers see only requests that passed all checks of their row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic
from types import ModuleType
from typing import Any, NamedTuple

from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from ..wire.messages import Role
from .answering import Answering, encode, unless_gone
from .desk import Desk
from .exposition import HttpCounts
from .hot import HotPath
from .openapi import document
from .paper import page as page_of
from .proxies import Proxies
from .reading import Gone, NoBody, decode_body, decode_query, headers_of, read_body
from .routes import (
    acting,
    audit,
    election,
    events,
    failures,
    health,
    jobs,
    login,
    nodes,
    page,
    papers,
    queues,
    schedules,
    stats,
    users,
)  # fmt: skip
from .table import Call, Caller, Problem, Proof, Route

MODULES: tuple[ModuleType, ...] = (
    page, login, jobs, acting, failures, queues, schedules, nodes, election, stats, events, users, audit, health, papers,
)  # fmt: skip
"""In the order of the documentation."""


def all_routes() -> tuple[Route, ...]:
    """Every row there is."""
    return tuple(route for module in MODULES for route in module.ROUTES)


class Row(NamedTuple):
    """A row as it is used: with what can be worked out before."""

    route: Route
    body_max_bytes: int


class App:
    """The ASGI application of the API's port."""

    def __init__(self, desk: Desk, routes: Iterable[Route], answering: Answering) -> None:
        self._desk, self._answering = desk, answering
        self._proxies = Proxies(desk.settings.trusted_proxies)
        by_path: dict[str, dict[str, Row]] = {}
        for route in routes:
            row = Row(route, route.body_max_bytes or desk.settings.max_body_bytes)
            by_path.setdefault(route.path, {})[route.method] = row
        # Starlette takes the first that fits: what stands there word for word goes before what any word fits.
        places = [
            StarletteRoute(path, Place(self, by_path[path]))
            for path in sorted(by_path, key=lambda path: path.count("{"))
        ]
        self._router = Router(routes=places, redirect_slashes=False, default=self._nowhere)
        self.hot = HotPath(desk, answering, self._proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] == "POST" and scope["path"] in self.hot.paths:
            await self.hot(scope, receive, send)
            return
        await self._router(scope, receive, send)

    async def _nowhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        self._proxies.settle(scope, headers)
        fault = Problem(404, "Not Found", f"no path {scope['path'][:200]!r} here; /docs lists those that are")
        await self._answering.refuse(scope, send, fault, headers, path="", started_at=monotonic())

    async def serve(self, rows: Mapping[str, Row], scope: Scope, receive: Receive, send: Send) -> None:
        """One request for a path that is there."""
        started_at = monotonic()
        headers = headers_of(scope)
        self._proxies.settle(scope, headers)
        path, is_read = "", False
        try:
            row = row_of(rows, scope["method"])
            route, path = row.route, row.route.path
            caller = await self._caller(route, scope, headers)
            query: Any = decode_query(scope["query_string"], route.query)
            body: Any = None
            if route.method not in ("GET", "HEAD"):
                raw = await read_body(receive, headers, row.body_max_bytes)
                is_read = True
                body = decode_body(raw, route.body or NoBody, headers)
            call: Call[Any, Any] = Call(self._desk, caller, scope["path_params"], headers, body, query)
            answer = await (unless_gone(route.handler(call), receive) if route.waits else route.handler(call))
        except Gone:
            return
        except Exception as fault:
            unread = None if is_read else receive
            await self._answering.refuse(scope, send, fault, headers, path=path, started_at=started_at, unread=unread)
            return
        await self._answering.send(scope, receive, send, answer, headers, path=path, started_at=started_at)

    async def _caller(self, route: Route, scope: Scope, headers: Mapping[str, str]) -> Caller:
        """Raises: Problem 401, 403."""
        address = self._proxies.address(scope, headers)
        if route.role is None:
            return Caller("", Role.WORKER, Proof.NONE, address)
        caller = await self._desk.door.caller(headers, scope["method"], address)
        check_role(caller, route.role)
        return caller


class Place:
    """What Starlette calls for one path, whatever the method."""

    def __init__(self, app: App, rows: Mapping[str, Row]) -> None:
        self._app, self._rows = app, rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.serve(self._rows, scope, receive, send)


def row_of(rows: Mapping[str, Row], method: str) -> Row:
    """HEAD is GET without the body. Raises: Problem 405."""
    row = rows.get("GET" if method == "HEAD" else method)
    if row is None:
        allowed = ", ".join(sorted({*rows, *({"HEAD"} if "GET" in rows else ())}))
        raise Problem(
            405,
            "Method Not Allowed",
            f"{method[:20]} is not for this path; it takes {allowed}",
            headers={"allow": allowed},
        )
    return row


def check_role(caller: Caller, least: Role) -> None:
    """Raises: Problem 403."""
    if caller.role < least:
        raise Problem(
            403,
            "Forbidden",
            f"this needs the role {least.name.lower()}, {caller.name or 'you'} has {caller.role.name.lower()}",
        )


def make_app(desk: Desk, counts: HttpCounts | None = None) -> App:
    """The application with every route that is there."""
    routes, is_auth_on = all_routes(), desk.settings.auth_effective
    desk.papers = {
        papers.OPENAPI: encode(document(routes, is_auth_on=is_auth_on)), papers.DOCS: page_of(routes, is_auth_on=is_auth_on),
    }  # fmt: skip
    return App(desk, routes, Answering(desk, counts))
