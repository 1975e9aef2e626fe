"""Which ids may be repeats: a request is judged the same whether its jobs come together or one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.job import JobSpec, Options, make_id
from zjp.queue.sessions import Sessions

pytestmark = pytest.mark.covers("main-path:5")

NOW_MS = 1_700_000_000_000


def spec(session: int, counter: int, later_ms: int, has_options: bool) -> JobSpec:
    options = Options(caller_id=True) if has_options else None
    return JobSpec(make_id(NOW_MS + later_ms, session, counter), "task", b"\x80", options=options)


specs = st.builds(spec, st.integers(1, 2), st.integers(1, 12), st.integers(0, 1), st.booleans())
runs = st.builds(
    lambda session, first, count: [spec(session, counter, 0, False) for counter in range(first, first + count)],
    st.integers(1, 2), st.integers(1, 12), st.integers(1, 6),
)  # fmt: skip
"""What a producer sends: numbers that follow one another."""


@given(st.lists(st.one_of(st.lists(specs, min_size=1, max_size=6), runs), max_size=8))
def test_request_is_judged_as_its_jobs_one_by_one(requests: list[list[JobSpec]]) -> None:
    together, singly = Sessions(3600.0), Sessions(3600.0)
    for request in requests:
        suspects, tops = together.judge(request, NOW_MS)
        alone = [singly.judge([one], NOW_MS) for one in request]
        assert suspects == [index for index, (found, _) in enumerate(alone) if found]
        last: dict[bytes, bytes] = {}
        for _, each in alone:
            last.update(each)
        assert tops == last


def test_empty_request_has_no_suspects() -> None:
    assert Sessions(3600.0).judge([], NOW_MS) == ([], {})
