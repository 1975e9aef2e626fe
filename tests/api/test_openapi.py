"""The document and the page that are made from the route table."""

from __future__ import annotations

import re
from typing import Any

import httpx
import msgspec
import pytest
from openapi_spec_validator import validate

from tests.api.test_jobs import ended, submit
from zjp.api import paper
from zjp.api.app import all_routes
from zjp.api.openapi import document, operation_id
from zjp.api.problems import MEANINGS, codes
from zjp.errors import BY_CODE, ConfigError, JobError, WireError, ZjpError

pytestmark = [pytest.mark.system, pytest.mark.covers("http:document")]


@pytest.mark.parametrize("is_auth_on", [True, False])
def test_document_is_valid_and_has_every_route(is_auth_on: bool) -> None:
    made = document(all_routes(), is_auth_on=is_auth_on)
    if is_auth_on:  # it takes seconds, and has all that is in the other
        validate(made)
    told = {(method.upper(), path) for path, rows in made["paths"].items() for method in rows}
    assert told == {(route.method, route.path) for route in all_routes()}
    assert made["openapi"].startswith("3.1")


def test_document_is_served_as_it_is_made(http: httpx.Client) -> None:
    assert http.get("/openapi.json").json() == document(all_routes(), is_auth_on=False)


def test_operations_have_names_of_their_own() -> None:
    names = [operation_id(route) for route in all_routes()]
    assert len(set(names)) == len(names)


def test_every_open_route_says_so_and_every_other_asks_for_a_token() -> None:
    made = document(all_routes(), is_auth_on=True)
    for route in all_routes():
        operation = made["paths"][route.path][route.method.lower()]
        assert operation["security"] == ([] if route.role is None else [{"bearer": []}])
        assert route.role is None or {"401", "403"} <= operation["responses"].keys()


def test_real_answers_have_the_shapes_of_the_document(http: httpx.Client) -> None:
    """Exactly the fields: an answer that grew without its shape would be undocumented."""
    job = submit(http, "fail")
    ended(http, job["id"])
    http.post("/api/v1/schedules", json={"name": "shaped", "type": "noop", "every": "1h"}).raise_for_status()
    places = {"/jobs/{id}": f"/jobs/{job['id']}", "/schedules/{name}": "/schedules/shaped", "{algorithm}": "raft"}
    for route in all_routes():
        path = route.path
        for template, place in places.items():
            path = path.replace(template, place)
        if route.method == "GET" and route.reply is not None and "{" not in path:
            answer = http.get(path)
            assert answer.status_code in (200, 503), (path, answer.text)
            has_all_fields(answer.json(), route.reply, path)
    http.delete("/api/v1/schedules/shaped").raise_for_status()


def has_all_fields(told: Any, shape: Any, path: str) -> None:
    msgspec.convert(told, shape)
    if not isinstance(shape, type):
        return
    fields = {field.encode_name for field in msgspec.structs.fields(shape)}
    assert set(told) == fields, path
    inner = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}.get("items")
    if inner is not None:
        kind = inner.__args__[0]
        for one in told["items"]:
            assert set(one) == {field.encode_name for field in msgspec.structs.fields(kind)}, path


def test_page_names_every_route_and_needs_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for route in all_routes():
        assert f"<b>{route.method}</b> {route.path}</h3>" in page.text
    assert not re.search(r'(?:src|href)="(?!/openapi\.json"|#)', page.text)
    assert "<script" not in page.text
    assert paper.STYLE_HASH in page.headers["content-security-policy"]
    assert paper.STYLE in page.text


def test_every_code_is_explained_on_the_page() -> None:
    untold = {ConfigError.code, WireError.code, ZjpError.code, "rejected"}
    told = {code for code, kind in BY_CODE.items() if not issubclass(kind, JobError)} - untold
    assert told <= set(MEANINGS)
    assert all(400 <= status < 600 for _, status, _ in codes())
