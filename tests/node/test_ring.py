"""What a core was fed is kept, written down on demand and when we broke, and gives the same transitions again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from sims.__main__ import main
from sims.ring import replayed
from zjp.election.core import (
    MS,
    SECOND,
    Config,
    Deed,
    Event,
    Happened,
    Installed,
    Leave,
    Met,
    Persisted,
    Recv,
    Stall,
    StoreOp,
    StoreReply,
    Transfer,
    Wake,
)  # fmt: skip
from zjp.election.make import make_core
from zjp.node.ring import KINDS, Ring, read_recording
from zjp.wire.peers import Beat, EpochSeen

pytestmark = pytest.mark.covers("cluster:seen")

CONFIG = Config("a", 1, ("a",), 1, 0, timeout=SECOND // 2, interval=SECOND // 10, lead_for=SECOND)
EVENTS: list[Event] = [
    Recv("b", Beat(1, 1)), Wake(), Persisted(1), Met("b", 3, True), Stall(5), Transfer("b"), Leave(),
    StoreReply(StoreOp(1, Deed.INSTALL, 2, "a:1", SECOND, True), Installed(2, "a:1", SECOND)),
    StoreReply(StoreOp(2, Deed.RENEW, 2, "a:1", SECOND), None),
]  # fmt: skip


def test_every_kind_of_event_comes_back_as_it_was(tmp_path: Path) -> None:
    ring = Ring("bully", CONFIG, tmp_path / "ring", seed=7)
    ring.started(10, [EpochSeen(4)])
    for number, one in enumerate(EVENTS):
        ring.fed(number, one)
    read = read_recording(ring.dump())
    assert list(read.fed()) == list(enumerate(EVENTS))
    assert {type(one).__name__ for one in EVENTS} == set(KINDS)
    assert (read.algorithm, read.config, read.seed, read.started_at, read.is_whole) == ("bully", CONFIG, 7, 10, True)
    assert list(read.records) == [EpochSeen(4)]


def test_oldest_events_are_pushed_out_and_that_is_told(tmp_path: Path) -> None:
    ring = Ring("raft", CONFIG, tmp_path / "ring", events_max=3)
    for number in range(5):
        ring.fed(number, Wake())
    read = read_recording(ring.dump())
    assert ([now for now, _ in read.fed()], read.is_whole) == ([2, 3, 4], False)
    assert "starts afresh in the middle" in next(replayed(read))


def drive(ring: Ring, algorithm: str, tell: Callable[[Happened], None]) -> None:
    """A core alone with a disk and a store that always answer, for 2 s."""
    core = make_core(algorithm, CONFIG, ring.uniform)
    now = 0
    ring.started(now, ())
    effects = core.start(now, ())
    todo: list[Event] = []
    while now < 2 * SECOND:
        for one in effects.happened:
            tell(one)
        if effects.persist is not None:
            todo.append(Persisted(effects.persist.number))
        todo += [StoreReply(op, Installed(op.epoch, op.owner, op.lead_for)) for op in effects.store]
        if not todo:
            now = max(now + MS, effects.wake or now)
        else:
            now += MS
        happened = todo.pop(0) if todo else Wake()
        ring.fed(now, happened)
        effects = core.step(now, happened)


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
def test_replay_gives_the_same_transitions_as_the_run(algorithm: str, tmp_path: Path) -> None:
    happened: list[Happened] = []
    ring = Ring(algorithm, CONFIG, tmp_path / "ring")
    drive(ring, algorithm, happened.append)
    told = CliRunner().invoke(main, ["replay", "--ring", str(ring.dump())])
    assert told.exit_code == 0, told
    marks = [part.split()[1] for part in told.output.split("  ") if part.startswith("! ")]
    assert marks == [one.kind.value for one in happened]
    assert "leader_elected" in marks
    assert "leader a, in office" in told.output


def test_event_of_another_version_is_named(tmp_path: Path) -> None:
    ring = Ring("raft", CONFIG, tmp_path / "ring")
    ring.fed(1, Wake())
    read = read_recording(ring.dump())
    odd = msgspec.structs.replace(read, events=[(1, "Dream", msgspec.Raw(b"\x80"))])
    with pytest.raises(ValueError, match="event 'Dream' is unknown to this version"):
        list(odd.fed())
