"""What the tests of Bully share: clusters on the bench, in the states that the rules speak of."""

from __future__ import annotations

from tests.election.bench import Bench, Flying
from zjp.election.core import MS, SECOND, Role, Time, View
from zjp.wire.peers import PeerMessage, Promise, Stored

TIMEOUT = 500 * MS
INTERVAL = 100 * MS
HOLD_DOWN = 5 * SECOND
ABC = {"a": 1, "b": 2, "c": 3}


def bench(nodes: dict[str, int], *, voters: tuple[str, ...] | None = None, first: str = "") -> Bench:
    """Started and greeted, with folders that are not empty. `first`: who has the best luck; empty: all have the same."""
    made = Bench("bully", nodes, voters=voters)
    favour(made, first)
    for name, node in made.nodes.items():
        node.disk = [Promise(0, "")]
        made.start(name)
    greet(made)
    return made


def favour(made: Bench, first: str) -> None:
    """It waits for exactly a timeout, the others nearly an interval more, from their next wait on."""
    for name, node in made.nodes.items():
        luck = 0.9 if first and name != first else 0.0
        node.uniform = lambda luck=luck: luck  # type: ignore[misc]


def greet(made: Bench) -> None:
    for name in made.nodes:
        for peer in made.nodes:
            if name != peer:
                made.meet(name, peer)


def led(nodes: dict[str, int] = ABC) -> Bench:
    """The highest leads, in epoch 1; nothing flies."""
    made = bench(nodes)
    run(made, 650 * MS)
    assert {view(made, name).leader for name in made.nodes} == {max(nodes, key=lambda name: nodes[name])}
    return made


def run(made: Bench, lapse: Time) -> None:
    made.tick(lapse, is_delivering=True)


def view(made: Bench, name: str) -> View:
    core = made.nodes[name].core
    assert core is not None
    return core.view()


def leaders(made: Bench) -> list[str]:
    return [name for name, node in made.nodes.items() if node.core is not None and view(made, name).role is Role.LEADER]


def hear(made: Bench, to: str, src: str, message: PeerMessage) -> list[tuple[str, PeerMessage]]:
    """What `to` says to that, and to whom, once its disk is done. Nothing else flies."""
    made.bag.clear()
    made.arrive(Flying(src, to, message))
    said = [(flying.to, flying.message) for flying in made.bag]
    made.bag.clear()
    return said


def happened(made: Bench, text: str) -> int:
    return sum(text in line for line in made.lines)


def emptied(made: Bench, name: str) -> None:
    """Begins a new life with an empty folder; nothing of the former life flies."""
    made.crash(name)
    made.wipe(name)
    made.bag.clear()
    made.start(name)


def disk(made: Bench, name: str) -> list[Stored]:
    return [record for record in made.nodes[name].disk if record != Promise(0, "")]
