"""A name that stands twice in one object of a body is refused, wherever it stands and however it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.api.doubles import LOOKED_BYTES_MAX, check_doubles
from zjp.api.table import Problem

pytestmark = pytest.mark.covers("http:problems")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@pytest.mark.parametrize(
    "body",
    [
        '{"type": "email", "type": "add"}',
        '{"type": "email", "payload": {"a": 1, "a": 2}}',
        '{"type": "email", "payload": {"deep": [{"a": 1, "a": 2}]}}',
        '{"type": "email", "typ\\u0065": "add"}',
        '{"type" : "email", "type": "add"}',
        '{"type"\n: "email", "type"\t: "add"}',
        ' {"a": ":", "a": 1}',
        '{"a": {"b": "\\":", "b": 1}}',
        '{"": 1, "": 1}',
    ],
)
def test_name_that_stands_twice_is_refused(body: str) -> None:
    with pytest.raises(Problem, match="stands twice") as caught:
        check_doubles(body.encode())
    assert caught.value.status == 400


@given(st.dictionaries(st.text(), values))
def test_no_other_body_is_refused(document: dict[str, Any]) -> None:
    for text in (json.dumps(document), json.dumps(document, separators=(",", ":"), ensure_ascii=False), json.dumps(document, indent=1)):
        check_doubles(text.encode())


@given(st.dictionaries(st.text(), values, min_size=1), st.data())
def test_every_name_that_is_written_a_second_time_is_found(document: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(document)))
    text = json.dumps(document)[:-1] + f", {json.dumps(name)}: 1}}"
    with pytest.raises(Problem):
        check_doubles(text.encode())


def test_large_bodies_are_not_read_twice() -> None:
    check_doubles(b'{"a": 1, "a": "' + b"x" * LOOKED_BYTES_MAX + b'"}')
