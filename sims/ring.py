"""What a real node recorded (zjp/node/ring.py), fed to a fresh core of its kind; told are the transitions, a line each."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from random import Random

from zjp.election.core import SECOND, Core, Effects, Happened, Recv, Time
from zjp.election.make import make_core
from zjp.node.ring import Recording


def replayed(recording: Recording) -> Iterator[str]:
    """Raises: ValueError for an algorithm or event that this version does not know."""
    core = make_core(recording.algorithm, recording.config, Random(recording.seed).random)
    start = recording.started_at
    kept = "its whole life" if recording.is_whole else "the end of its life: the core starts afresh in the middle of it"
    yield f"{recording.config.me}, {recording.algorithm}: {len(recording.events)} events, {kept}"
    shown = yield from _told(core, core.start(start, recording.records), 0, "started", "")
    for now, event in recording.fed():
        cause = f"{type(event.message).__name__} of {event.src}" if isinstance(event, Recv) else type(event).__name__
        shown = yield from _told(core, core.step(now, event), now - start, cause, shown)


def _told(core: Core, effects: Effects, at: Time, cause: str, shown: str) -> Generator[str, None, str]:
    """A line when something happened, or what the core shows is not `shown` any more. Returns: what it shows."""
    view = core.view()
    office = ", in office" if view.is_in_office else ""
    now = f"{view.role.value}, epoch {view.epoch}, leader {view.leader or 'none'}{office}"
    if effects.happened or now != shown:
        yield "  ".join([f"{at / SECOND:12.6f} s", now, f"[{cause}]", *map(_line, effects.happened)])
    return now


def _line(one: Happened) -> str:
    facts = (one.node, f"epoch {one.epoch}" if one.epoch else "", one.why)
    return " ".join(["!", one.kind.value, *filter(None, facts)])
