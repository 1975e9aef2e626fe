"""What the API says of itself: /openapi.json and /docs, both made from the route table, once, by make_app."""

from __future__ import annotations

from typing import Any

from ..paper import POLICY
from ..table import Answer, Call, NoQuery, Route

OPENAPI, DOCS = "/openapi.json", "/docs"
HTML = "text/html; charset=utf-8"


async def openapi(call: Call[Any, NoQuery]) -> Answer:
    return Answer(call.desk.papers[OPENAPI])


async def docs(call: Call[Any, NoQuery]) -> Answer:
    return Answer(call.desk.papers[DOCS], media_type=HTML, headers={"content-security-policy": POLICY})


GROUP = "Papers"
ROUTES = (
    Route("GET", OPENAPI, None, "This API as an OpenAPI 3.1 document.", openapi, group=GROUP),
    Route("GET", DOCS, None, "This API as a page to read.", docs, group=GROUP),
)
