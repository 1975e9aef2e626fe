"""What nodes say in their logs, read while they run: who leads as far as each knows, and who is in office.

A line counts from its own time, in milliseconds of the one clock that all nodes of a stage share. Nothing is asked of the nodes: a node
that is stopped or cut off cannot answer, and its log says when it knew what.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

PREFIX = "cluster."
ALSO = frozenset({"duty.refused", "node.started", "node.stopped"})



@dataclass(frozen=True, slots=True)
class Line:
    """`node` says it; `about` is whom it is about. `at` in Unix seconds."""

    at: float
    node: str
    event: str
    about: str = ""
    epoch: int = 0
    why: str = ""


@dataclass(slots=True)
class Said:
    """By one node in its present life. `leader` "": nobody, as far as it knows. `since`: when it learned of that. `office`: the epoch in
    which it holds it, 0: it does not; `office_since`: when it got it."""

    leader: str = ""
    epoch: int = 0
    since: float = 0.0
    office: int = 0
    office_since: float = 0.0
    doubted: set[str] = field(default_factory=set)
    """Others whom it does not hold alive."""

    def take(self, line: Line) -> None:
        if line.event == "leader_elected":
            self.leader, self.epoch, self.since = line.about, line.epoch, line.at
            if line.about != line.node:
                self.office = 0
        elif line.event == "leader_lost":
            self.leader, self.since = "", line.at
            if line.about == line.node:
                self.office = 0
        elif line.event == "fence_installed":
            self.office, self.office_since = line.epoch, line.at
        elif line.event == "fence_refused":
            self.office = 0
        elif line.event in ("member_suspect", "member_dead", "member_left"):
            self.doubted.add(line.about)
        elif line.event in ("member_joined", "member_refuted"):
            self.doubted.discard(line.about)


@dataclass(frozen=True, slots=True)
class Agreed:
    """`at`: when the last of those asked knew it, and the leader was in office."""

    leader: str
    epoch: int
    at: float


@dataclass(slots=True)
class _Log:
    path: Path
    offset: int = 0
    rest: bytes = b""
    lines: list[Line] = field(default_factory=list)


def read_line(node: str, text: bytes) -> Line | None:
    """None: nothing about the election."""
    try:
        told: dict[str, Any] = json.loads(text)
        event = str(told["event"])
        at = datetime.fromisoformat(told["at"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return None
    if event not in ALSO and not event.startswith(PREFIX):
        return None
    return Line(
        at, node, event.removeprefix(PREFIX), str(told.get("node", "")), int(told.get("epoch", 0)), str(told.get("why", ""))
    )


class Watch:
    """`look` reads on; `agreed` says what follows from it."""

    def __init__(self, logs: dict[str, Path]) -> None:
        self._logs = {name: _Log(path) for name, path in logs.items()}
        self.said = {name: Said() for name in logs}

    @property
    def lines(self) -> list[Line]:
        """Of all nodes, by time."""
        return sorted((line for log in self._logs.values() for line in log.lines), key=lambda line: line.at)

    def forget(self, node: str) -> None:
        """Its process is dead: what it knew is gone. Read what it said first."""
        self.look()
        self.said[node] = Said()

    def look(self) -> None:
        for name, log in self._logs.items():
            for line in self._read(name, log):
                log.lines.append(line)
                self.said[name].take(line)

    def agreed(self, names: Iterable[str], above: int = 0) -> Agreed | None:
        """The leader whom all of these follow, one of them, in office, in an epoch above this one."""
        self.look()
        said = {name: self.said[name] for name in names}
        first = next(iter(said.values()))
        leader, epoch = first.leader, first.epoch
        if leader not in said or epoch <= above or said[leader].office != epoch:
            return None
        if any((one.leader, one.epoch) != (leader, epoch) for one in said.values()):
            return None
        return Agreed(leader, epoch, max(said[leader].office_since, *(one.since for one in said.values())))

    def in_office(self) -> list[str]:
        """Who believes to be, as far as is told."""
        self.look()
        return [name for name, one in self.said.items() if one.office]

    def _read(self, name: str, log: _Log) -> list[Line]:
        if not log.path.exists():
            return []
        with log.path.open("rb") as file:
            file.seek(log.offset)
            data = log.rest + file.read()
            log.offset = file.tell()
        *whole, log.rest = data.split(b"\n")
        return [line for text in whole if (line := read_line(name, text)) is not None]
