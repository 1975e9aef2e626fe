"""The short form of the attack; the long one is part of `make api-fuzz`."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.attack import rounds
from tests.api.running import RunningApi

pytestmark = [pytest.mark.system, pytest.mark.covers("http:server")]


def test_others_are_answered_while_slow_and_endless_requests_are_under_way(api: RunningApi) -> None:
    _, (under,) = asyncio.run(rounds(api.port, connections=150, seconds=1.0, count=1))
    assert under.failed == 0
    assert under.asked > 3
