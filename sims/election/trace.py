"""What a run leaves behind: each transition of a node, each fault, each token taken or refused. The text and the picture are made of it.

The text has a line per transition and a column per node:

    L7*  leads in epoch 7, in office       F7>n2  follows n2      C8  campaigns        l0  learns       ~  paused       x  down
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from zjp.election.core import SECOND, Effects, Role

from .cluster import Cluster
from .faults import Fault
from .node import Node

LETTERS = {Role.LEADER: "L", Role.CANDIDATE: "C", Role.FOLLOWER: "F", Role.LEARNER: "l"}
COLUMN = 10


@dataclass(frozen=True, slots=True)
class State:
    """Of one node from `at` on. `role`: None when it is down."""

    at: int
    node: int
    role: Role | None
    epoch: int
    leader: str
    is_in_office: bool
    is_paused: bool

    def text(self) -> str:
        if self.role is None:
            return "x"
        follows = f">{self.leader}" if self.leader and self.role is not Role.LEADER else ""
        return f"{'~' if self.is_paused else ''}{LETTERS[self.role]}{self.epoch}{'*' if self.is_in_office else ''}{follows}"


@dataclass(frozen=True, slots=True)
class Said:
    """What a node told of itself."""

    at: int
    node: int
    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A fault begins or ends; `nodes` it met."""

    at: int
    fault: Fault
    nodes: tuple[int, ...]
    begins: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """`kind`: installed, refused (an install), duty, fenced (a duty)."""

    at: int
    node: int
    kind: str
    epoch: int


Line = State | Said | Broken | Mark


class Trace:
    """The Recorder of a run."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.lines: list[Line] = []
        self._shown = [""] * len(names)
        self.healed_at = 0
        self.cluster: Cluster

    def changed(self, node: Node) -> None:
        view = node.view
        role = view.role if node.is_up else None
        state = State(self.cluster.now, node.index, role, view.epoch, view.leader, view.is_in_office, node.is_paused)
        if state.text() != self._shown[node.index]:
            self._shown[node.index] = state.text()
            self.lines.append(state)

    def told(self, node: Node, out: Effects) -> None:
        for happened in out.happened:
            about = "" if happened.node in ("", node.name) else f" {happened.node}"
            epoch = f" {happened.epoch}" if happened.epoch else ""
            why = f" ({happened.why})" if happened.why else ""
            self.lines.append(Said(self.cluster.now, node.index, f"{happened.kind.value}{about}{epoch}{why}"))

    def marked(self, node: Node, mark: str, epoch: int) -> None:
        self.lines.append(Mark(self.cluster.now, node.index, mark, epoch))

    def faulted(self, fault: Fault, nodes: list[Node], begins: bool) -> None:
        self.lines.append(Broken(self.cluster.now, fault, tuple(node.index for node in nodes), begins))

    def text(self) -> Iterator[str]:
        """Duties are left out: they are many."""
        columns = ["x"] * len(self.names)
        yield " " * 12 + "".join(f"{name:<{COLUMN}}" for name in self.names)
        for line in self.lines:
            said = self._line(line, columns)
            if said is not None:
                yield f"{line.at / SECOND:10.6f}  {said}".rstrip()

    def _line(self, line: Line, columns: list[str]) -> str | None:
        if isinstance(line, State):
            columns[line.node] = line.text()
            return "".join(f"{column:<{COLUMN}}" for column in columns)
        if isinstance(line, Broken):
            return self._fault(line)
        blank = " " * (COLUMN * len(self.names))
        if isinstance(line, Said):
            return f"{blank}{self.names[line.node]} {line.text}"
        return None if line.kind == "duty" else f"{blank}{self.names[line.node]} store: {line.kind} {line.epoch}"

    def _fault(self, line: Broken) -> str:
        if not line.begins:
            return f"--- #{line.fault.number} ends"
        met = "".join(f" {self.names[node]}" for node in line.nodes)
        return f"--- {line.fault.text(self.names)}{' ->' + met if met else ''}"

    def digest(self, *more: str) -> str:
        """Of all lines, duties too."""
        whole = hashlib.sha256()
        for line in self.lines:
            whole.update(repr(line).encode())
        for text in more:
            whole.update(text.encode())
        return whole.hexdigest()[:16]
