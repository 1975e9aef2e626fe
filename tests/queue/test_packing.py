"""Commands of which a part was packed before are the same bytes as if it had not been."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.redis.packing import Run, pack, pairs

pytestmark = pytest.mark.covers("redis:connections")
JOBS = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=300)), min_size=1, max_size=20)
PLAIN = st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 2**63), st.text(max_size=20)), min_size=1, max_size=5)


def _plain(command: Sequence[Any]) -> Any:
    return hiredis.pack_command(tuple(command))


@given(before=PLAIN, jobs=JOBS, head=st.binary(max_size=20), tail=st.binary(max_size=20), after=PLAIN)
def test_pairs_are_sent_as_if_each_had_been_an_argument(
    before: list[bytes], jobs: list[tuple[bytes, bytes]], head: bytes, tail: bytes, after: list[bytes]
) -> None:
    ids, parts = [job[0] for job in jobs], [job[1] for job in jobs]
    flat = [argument for job_id, part in jobs for argument in (job_id, head + part + tail)]
    assert pack((*before, pairs(ids, head, parts, tail), *after)) == _plain((*before, *flat, *after))


@given(first=JOBS, second=JOBS)
def test_two_runs_may_follow_each_other(first: list[tuple[bytes, bytes]], second: list[tuple[bytes, bytes]]) -> None:
    runs = [pairs([job[0] for job in jobs], b"", [job[1] for job in jobs]) for jobs in (first, second)]
    flat = [argument for job in (*first, *second) for argument in job]
    assert pack((b"x", *runs)) == _plain((b"x", *flat))


@given(command=PLAIN)
def test_a_command_without_a_run_is_packed_as_it_is(command: list[bytes]) -> None:
    assert pack(command) == _plain(command) == pack((*command, Run(0, b"")))
