"""The route table as an OpenAPI 3.1 document: what is checked and what is told are the same rows.

Schemas come from the types of bodies, queries and replies. What every route may answer besides (401, 403, 413 and so on) follows from the
row: whether it needs a role, has a body or a query. Errors are problem documents everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from .. import __version__
from . import problems
from .table import NoQuery, Route

TEMPLATE = "#/components/schemas/{name}"
JSON = "application/json"
_PARAMETER = re.compile(r"{(\w+)}")
IDS = frozenset({"id"})
STREAMS = frozenset({"/api/v1/events"})
MEDIA_TYPES: Mapping[str, str] = {"/.well-known/jwks.json": "application/jwk-set+json"}
"""Where it is JSON of a kind of its own."""
IDEMPOTENT = frozenset({"/api/v1/jobs", "/api/v1/jobs/batch"})
FILES = ("text/html", "text/css", "text/javascript", "image/svg+xml", JSON)
"""What is served as it lies there."""


class ProblemShape(msgspec.Struct, rename={"kind": "type"}):
    """RFC 9457. `code`: a word that programs can go by."""

    kind: str
    title: str
    status: int
    detail: str
    code: str


def document(routes: Sequence[Route], *, is_auth_on: bool) -> dict[str, Any]:
    """`is_auth_on`: whether tokens are asked for; without them there is no security scheme to name."""
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas, is_auth_on=is_auth_on)
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "zjp",
            "version": __version__,
            "summary": "The HTTP API of zjp, a distributed job processor.",
            "description": "Errors are problem documents (RFC 9457). Lists are paged by an opaque cursor. Unknown fields are refused.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "tags": [{"name": group} for group in dict.fromkeys(route.group for route in routes if route.group)],
        "components": {"schemas": components},
    }
    if is_auth_on:
        made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return made


def _schemas(routes: Iterable[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """(type -> its schema, the named ones)"""
    kinds: list[Any] = [ProblemShape]
    for route in routes:
        kinds += [kind for kind in (route.body, route.query, route.reply) if kind is not None and kind not in kinds]
    found, components = msgspec.json.schema_components(kinds, ref_template=TEMPLATE)
    return dict(zip(kinds, found, strict=True)), dict(components)


def _operation(route: Route, schemas: Mapping[Any, dict[str, Any]], *, is_auth_on: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "responses": {
            str(status): _response(route, status, text, schemas)
            for status, text in sorted(answers(route, is_auth_on=is_auth_on).items())
        },
    }
    if route.group:
        made["tags"] = [route.group]
    parameters = [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]
    if parameters:
        made["parameters"] = parameters
    if route.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[route.body]}}}
    if is_auth_on:
        made["security"] = [] if route.role is None else [{"bearer": []}]
    if route.role is not None:
        made["description"] = f"Role: {route.role.name.lower()}."
    return made


def operation_id(route: Route) -> str:
    """Of method and path, so that it stays when texts change."""
    words = [word.strip("{}") for word in re.split(r"[/-]", route.path) if word and word not in ("api", "v1")]
    return "_".join([route.method.lower(), *(re.sub(r"\W", "_", word) for word in words)]) or "get_page"


def answers(route: Route, *, is_auth_on: bool) -> dict[int, str]:
    """Status -> when."""
    found: dict[int, str] = {route.status: "As asked." if route.reply is not None else "Done."}
    found[400] = "The request cannot be read."
    if route.role is not None:
        found[403] = "The role is too low, or the request comes from another site."
        if is_auth_on:
            found[401] = "No token, or none that is valid."
        found[503] = "No node or store answers; Retry-After says when to ask again."
        found[422] = "A field is missing, unknown or out of range."
    if route.query is not NoQuery:
        found[422] = "A field is missing, unknown or out of range."
    if route.method not in ("GET", "HEAD"):
        found[413] = "The body is over its limit."
        found[415] = "The body is not application/json."
        found[422] = "A field is missing, unknown or out of range."
        if route.role is not None:
            found[504] = "It was asked and not answered; asking again does no harm."
            found[409] = "It is not in a state that allows it."
            found[507] = "Disk, memory or outbox is at its limit."
    found.update(route.statuses)
    return found


def _response(route: Route, status: int, text: str, schemas: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"description": text}
    if status in (204, 304):
        return made
    if status >= 400:
        made["content"] = {problems.MEDIA_TYPE: {"schema": schemas[ProblemShape]}}
        if route.role is None and route.reply is not None and status == 503:
            made["content"][JSON] = {"schema": schemas[route.reply]}
    elif route.path in STREAMS:
        made["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    elif route.reply is not None:
        made["content"] = {MEDIA_TYPES.get(route.path, JSON): {"schema": schemas[route.reply]}}
    elif route.method == "GET":
        made["content"] = {kind: {"schema": {}} for kind in FILES}
    if status == HTTPStatus.CREATED:
        made["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where it is."}}
    return made


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"}
            if name in IDS
            else {"type": "string", "minLength": 1, "maxLength": 64},
        }
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is NoQuery:
        return []
    _, components = msgspec.json.schema_components([route.query], ref_template=TEMPLATE)
    own = components[route.query.__name__]
    required = set(own.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _query_schema(schema)}
        for name, schema in own["properties"].items()
    ]


def _query_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: what may be left out is left out."""
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if "anyOf" not in schema:
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**(options[0] if len(options) == 1 else {"anyOf": options}), **rest}


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if route.method != "POST" or route.path not in IDEMPOTENT:
        return []
    text = "Makes it safe to repeat: the same key gives the same jobs, for a day."
    schema = {"type": "string", "minLength": 1, "maxLength": 240, "pattern": "^[!-~]+$"}
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": schema}]
