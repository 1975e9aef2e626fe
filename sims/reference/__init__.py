"""A small simulated queue that keeps every promise and writes the history of it: what the checker must find valid.

One thread, virtual time, one seed: clients submit, repeat, cancel and run again; nodes claim batches and their workers run them step by
step (run, effect, end, report), so that a kill can fall between any two; claims of killed, paused and reborn nodes go back; the sink
fences. It shares no code with zjp or with the checker: the two meanings of "right" must agree by themselves.

    world    the queue: time, chance, jobs, fences        clients  those who ask        nodes  those who work, and their faults
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..lines import Line, kind_of
from .clients import Clients
from .nodes import LEASE_NS, Nodes
from .shapes import SHAPES, Shape
from .world import World

__all__ = ["SHAPES", "Shape", "from_outside", "simulate"]

SUBMIT_RATE = 0.15
DRAIN_STEPS_PER_JOB_MAX = 400
"""A drain that takes longer than this does not end."""

INSIDE = frozenset({"lease", "ack", "dead", "nack", "release", "expire", "open", "renew", "reap"})


def simulate(shape: Shape, seed: int) -> list[Line]:
    """The history, sorted by time; the same seed gives the same history."""
    world = World(shape, seed)
    world.say("nemesis", "workload", "ok", fifo=shape.fifo)
    clients, nodes = Clients(world), Nodes(world)
    deeds = _deeds(shape, clients, nodes)
    while clients.submitted < shape.jobs:
        for rate, deed in deeds:
            if world.chance(rate):
                deed()
        nodes.wake_after(2 * LEASE_NS)
        nodes.work()
    nodes.wake_after(0)
    for _ in range(DRAIN_STEPS_PER_JOB_MAX * shape.jobs):
        if world.is_drained and not nodes.is_busy:
            break
        nodes.work()
    assert world.is_drained, "the reference queue did not drain"
    clients.final_scan()
    return sorted(world.lines, key=lambda line: line.t)


def from_outside(ops: Sequence[Line]) -> list[Line]:
    """The same history as a runner sees it that cannot look into the store."""
    return [op for op in ops if kind_of(type(op)) not in INSIDE]


def _deeds(shape: Shape, clients: Clients, nodes: Nodes) -> list[tuple[float, Callable[[], None]]]:
    """(chance per step, what is done)."""
    return [
        (SUBMIT_RATE, clients.submit),
        (shape.cancels, clients.cancel),
        (shape.requeues, clients.requeue),
        (shape.promotes, clients.promote),
        (shape.scans, clients.scan),
        (shape.ticks, clients.schedule),
        (shape.worker_kills, nodes.kill_worker),
        (shape.node_kills, nodes.kill_node),
        (shape.pauses, nodes.pause),
    ]
