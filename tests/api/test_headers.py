"""The headers of every answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from zjp.api import headers as zjp_headers
from zjp.api.headers import secure

pytestmark = pytest.mark.covers("http:headers")


def of(*, is_tls: bool = False, is_page: bool = False, **given: str) -> dict[str, str]:
    headers = dict(given)
    secure(headers, is_tls=is_tls, is_page=is_page)
    return headers


def policy(headers: dict[str, str]) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


def test_answer_is_its_type_alone_kept_nowhere_and_shown_in_no_frame() -> None:
    headers = of()
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert policy(headers) == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_page_takes_everything_from_here_and_nothing_that_stands_in_it() -> None:
    said = policy(of(is_page=True))
    assert (said["default-src"], said["frame-ancestors"], said["base-uri"]) == ("'none'", "'none'", "'none'")
    assert said["script-src"] == said["style-src"] == said["connect-src"] == "'self'"
    assert not any(word in text for text in said.values() for word in ("unsafe", "http", "*"))


def test_nothing_but_pages_and_their_files_may_be_kept() -> None:
    given = {"cache-control": "public, max-age=60"}
    assert of(is_page=True, **given)["cache-control"] == of(**given)["cache-control"] == "public, max-age=60"
    assert of(is_page=True)["cache-control"] == "no-cache"
    assert of()["cache-control"] == "no-store"


def test_only_the_page_says_how_long_it_may_be_kept() -> None:
    """Whatever else did would let a browser keep data of jobs."""
    folder = Path(zjp_headers.__file__).parent
    told = {path.name for path in folder.rglob("*.py") if "cache-control" in path.read_text()}
    assert told == {"headers.py", "page.py"}


def test_browsers_are_told_to_stay_with_tls_only_over_tls() -> None:
    assert "strict-transport-security" not in of()
    assert of(is_tls=True)["strict-transport-security"] == "max-age=31536000"
