"""Three real nodes with keys, each in a network of its own: their leader is killed, stopped, cut off, heard but deaf, deaf but heard.

A stage per algorithm serves its tests one after the other; each leaves all nodes following one leader. What a machine lacks is the reason
of a skip, by name. The long form, and loss: `python -m tests.cluster`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster import deeds, judge
from tests.cluster.deeds import Seen
from tests.cluster.limits import FAIL_OVER_S, GIVE_UP_S
from tests.cluster.netns import Network, what_is_missing
from tests.cluster.stage import ALGORITHMS, Stage
from tests.redis import start_redis

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:live"), pytest.mark.timeout(300)]

NODES = 3
SLACK = 10 if os.environ.get("CI") else 4
"""Of a machine that does other things too; the long form judges by the figures themselves."""


@pytest.fixture(scope="module", params=ALGORITHMS)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if missing := what_is_missing():
        pytest.skip(missing)
    redis = start_redis()
    with ExitStack() as stack:
        stack.callback(redis.stop)
        network = stack.enter_context(Network(NODES))
        stage = stack.enter_context(Stage(tmp_path_factory.mktemp(request.param), redis, request.param, NODES, network))
        stage.agreed()
        stage.schedule()
        yield stage


def settled(stage: Stage, seen: Seen) -> None:
    """That nothing broke so far, and that it took no longer than a busy machine excuses."""
    print(f"{stage.algorithm}: {seen}")
    stage.watch.look()
    assert judge.broken(stage.algorithm, stage.watch.lines, stage.witness.samples) == []
    assert seen.faults == []
    assert max(seen.took, default=0.0) <= FAIL_OVER_S[stage.algorithm] * SLACK
    assert max(seen.left, default=0.0) <= GIVE_UP_S[stage.algorithm] * SLACK


def test_killed_leader_is_replaced(stage: Stage) -> None:
    seen = Seen("kill")
    deeds.kill_leader(stage, seen)
    settled(stage, seen)


def test_stopped_leader_is_replaced_and_refused_when_it_goes_on(stage: Stage) -> None:
    seen = Seen("stop")
    deeds.stop_leader(stage, seen)
    assert seen.refused_by_store == 1
    settled(stage, seen)


def test_leader_that_is_cut_off_gives_up_and_is_replaced(stage: Stage) -> None:
    seen = Seen("cut")
    deeds.cut_leader(stage, seen)
    settled(stage, seen)


@pytest.mark.parametrize("is_heard", [True, False], ids=["deaf", "mute"])
def test_leader_that_is_cut_off_in_one_direction_gives_up_and_is_replaced(stage: Stage, is_heard: bool) -> None:
    seen = Seen("one way")
    deeds.cut_leader(stage, seen, mutes=not is_heard, deafens=is_heard)
    settled(stage, seen)


def test_no_tick_is_missing_or_doubled_at_the_end(stage: Stage) -> None:
    """Last in this file: after all that was done to the leaders."""
    assert judge.ticks_broken(stage.ticks()) == []
