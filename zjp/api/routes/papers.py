"""What the API says of itself: /openapi.json and /docs, both made from the route table, once."""

from __future__ import annotations

from functools import cache
from typing import Any

from .. import paper
from ..answering import encode
from ..openapi import document
from ..table import Answer, Call, NoQuery, Route

HTML = "text/html; charset=utf-8"


async def openapi(call: Call[Any, NoQuery]) -> Answer:
    return Answer(_document(call.desk.settings.auth_effective))


async def docs(call: Call[Any, NoQuery]) -> Answer:
    return Answer(
        _page(call.desk.settings.auth_effective), media_type=HTML, headers={"content-security-policy": paper.POLICY}
    )


def _routes() -> tuple[Route, ...]:
    from ..app import all_routes  # which has imported this

    return all_routes()


@cache
def _document(is_auth_on: bool) -> bytes:
    return encode(document(_routes(), is_auth_on=is_auth_on))


@cache
def _page(is_auth_on: bool) -> bytes:
    return paper.page(_routes(), is_auth_on=is_auth_on)


GROUP = "Papers"
ROUTES = (
    Route("GET", "/openapi.json", None, "This API as an OpenAPI 3.1 document.", openapi, group=GROUP),
    Route("GET", "/docs", None, "This API as a page to read.", docs, group=GROUP),
)
