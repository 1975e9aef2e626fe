"""The page and its files: a list and nothing else, with the right types, tags and headers; and what may not stand in them."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

import zjp.api
from tests.api.running import RunningApi
from zjp.api.routes.page import FILES, MEDIA_TYPES, PAGE, SERVED

pytestmark = [pytest.mark.covers("dashboard:files")]

FOLDER = Path(str(zjp.api.__file__)).parent / "static"
LINES_MAX = 500
ODD_PATHS = [
    "nothing.js",
    PAGE,
    "../table.py",
    "..%2ftable.py",
    "%2e%2e/table.py",
    "page.py",
    "",
    "app.css/",
    "APP.CSS",
    "a" * 3000,
]
BYTES_MAX = 200_000
MARKUP_MAKERS = "|".join(
    (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc",
        r"setAttribute\(\"style|\.style\b",
    )
)


def sources() -> dict[str, str]:
    return {name: (FOLDER / name).read_text() for name in (PAGE, *FILES)}


def test_list_has_every_file_of_the_folder_and_no_other() -> None:
    assert sorted((PAGE, *FILES)) == sorted(path.name for path in FOLDER.iterdir())


def test_files_are_short_and_together_small() -> None:
    assert {name: lines for name, text in sources().items() if (lines := len(text.splitlines())) > LINES_MAX} == {}
    assert sum(len(served.body) for served in SERVED.values()) < BYTES_MAX


def test_modules_import_only_what_is_in_the_list() -> None:
    imported = {
        name: re.findall(r"(?:from|import\() ?\"(.+?)\"", text)
        for name, text in sources().items()
        if name.endswith(".js")
    }
    assert {
        name: odd
        for name, them in imported.items()
        if (odd := [one for one in them if one.removeprefix("./") not in FILES])
    } == {}


def test_no_file_makes_elements_from_text_or_names_another_place() -> None:
    found = {name: re.findall(MARKUP_MAKERS, text) for name, text in sources().items()}
    assert {name: words for name, words in found.items() if words} == {}
    places = {place for text in sources().values() for place in re.findall(r"https?://[^\s\"'`)<$]+", text)}
    assert places <= {"http://www.w3.org/2000/svg"}
    assert re.findall(r"<(?:script|style)>| style=| on[a-z]+=", sources()[PAGE]) == []


@pytest.mark.system
def test_every_file_is_served_with_its_type_and_asked_for_again_by_its_tag(api: RunningApi) -> None:
    with api.client() as http:
        for name in FILES:
            answer = http.get(f"/static/{name}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPES[name.rpartition(".")[2]])
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.content == (FOLDER / name).read_bytes()
            assert http.get(f"/static/{name}", headers={"if-none-match": answer.headers["etag"]}).status_code == 304


@pytest.mark.system
def test_page_allows_only_its_own_scripts_and_styles(api: RunningApi) -> None:
    with api.client() as http:
        answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.system
@pytest.mark.parametrize("path", ODD_PATHS)
def test_nothing_else_is_served(api: RunningApi, path: str) -> None:
    with api.client() as http:
        answer = http.send(httpx.Request("GET", f"{api.url}/static/{path}"))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
