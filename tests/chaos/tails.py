"""Histories followed while they are written: what a worker process is running, what the node was told of it.

A look reads what was appended since the last one. It costs microseconds, so whoever wants to hit a moment looks again and again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

Key = tuple[str, int]
"""(job, fence): one claim of one job."""


class Told(msgspec.Struct, gc=False):
    """What the followers need of a line."""

    f: str
    t: int
    type: str
    job: str = ""
    fence: int = 0


_decoder = msgspec.json.Decoder(Told)


class Tail:
    """New lines of one file: from its start, or from where it ends now. The file must be there."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._at = os.fstat(self._fd).st_size if from_end else 0

    def lines(self) -> list[Told]:
        data = b""
        while chunk := os.pread(self._fd, 1 << 20, self._at + len(data)):
            data += chunk
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return _decoder.decode_lines(whole) if whole else []

    def close(self) -> None:
        os.close(self._fd)


ENDED_KEPT = 100
"""What ended longer ago has been reported."""


class WorkerTail:
    """One worker process. `running` and `ended` (the latest): claim -> when. `latest`: job -> fence of its last run, shared by all."""

    def __init__(self, path: Path, number: int, latest: dict[str, int]) -> None:
        self.number = number
        self.running: dict[Key, int] = {}
        self.ended: dict[Key, int] = {}
        self._latest = latest
        self._tail = Tail(path)

    def look(self) -> list[Key]:
        """Returns what ended since the last look."""
        ended: list[Key] = []
        for line in self._tail.lines():
            key = (line.job, line.fence)
            if line.f == "run":
                self.running[key] = line.t
                self._latest[line.job] = max(line.fence, self._latest.get(line.job, 0))
            elif line.f == "end" and line.type != "info":
                self.running.pop(key, None)
                self.ended[key] = line.t
                ended.append(key)
                if len(self.ended) > ENDED_KEPT:
                    del self.ended[next(iter(self.ended))]
        return ended

    def close(self) -> None:
        self._tail.close()


REPORTS = frozenset({"ack", "dead", "nack", "release"})


class NodeTail:
    """One life of a node, as its recorded store tells it. `asked`: reports on their way to the store; `answered`: those it took or
    refused; `refused` and `handed_back`: those of them that it refused, that only gave the job back. `granted`: jobs so far."""

    def __init__(self, path: Path) -> None:
        self.asked: set[Key] = set()
        self.answered: set[Key] = set()
        self.refused: set[Key] = set()
        self.handed_back: set[Key] = set()
        self.granted = 0
        self._tail = Tail(path)

    def look(self) -> None:
        for line in self._tail.lines():
            if line.f in REPORTS:
                self._take_report(line)
            elif line.f == "lease":
                self.granted += 1

    def has_settled(self, key: Key) -> bool:
        """Its report left for the store, and was more than a hand-back."""
        return key in self.answered and key not in self.handed_back

    def _take_report(self, line: Told) -> None:
        key = (line.job, line.fence)
        if line.type == "invoke":
            self.asked.add(key)
        else:
            self.asked.discard(key)
            self.answered.add(key)
            if line.type == "fail":
                self.refused.add(key)
            if line.f == "release":
                self.handed_back.add(key)

    def close(self) -> None:
        self._tail.close()


class Lives:
    """The tails of the nodes' present lives. A claim's number is its own, so what they say can be taken together."""

    def __init__(self) -> None:
        self._tails: dict[str, NodeTail] = {}

    def begin(self, node: str, path: Path) -> None:
        """A life of that node; its former one is over."""
        self.end(node)
        self._tails[node] = NodeTail(path)

    def end(self, node: str) -> None:
        tail = self._tails.pop(node, None)
        if tail is not None:
            tail.close()

    def look(self) -> None:
        for tail in self._tails.values():
            tail.look()

    def of(self, node: str) -> NodeTail:
        return self._tails[node]

    def is_asked(self, key: Key) -> bool:
        return any(key in tail.asked for tail in self._tails.values())

    def is_answered(self, key: Key) -> bool:
        return any(key in tail.answered for tail in self._tails.values())

    def has_settled(self, key: Key) -> bool:
        return any(tail.has_settled(key) for tail in self._tails.values())

    def close(self) -> None:
        for node in list(self._tails):
            self.end(node)


class ClientTail:
    """One producer, from now on. `is_waiting`: for the answer to a submit."""

    def __init__(self, path: Path) -> None:
        self.is_waiting = False
        self._tail = Tail(path, from_end=True)

    def look(self) -> None:
        for line in self._tail.lines():
            self.is_waiting = line.f == "submit" and line.type == "invoke"

    def close(self) -> None:
        self._tail.close()


class Crew:
    """The tails of all worker processes that have run something and live. `latest`: job -> fence of its last run that was seen."""

    def __init__(self, folder: Path) -> None:
        self.latest: dict[str, int] = {}
        self._folder = folder
        self._tails: dict[int, WorkerTail] = {}

    def look(self) -> None:
        """At those known."""
        for tail in self._tails.values():
            tail.look()

    def living(self, children: list[int]) -> list[WorkerTail]:
        """Of these processes, looked at just now. Costs milliseconds, mostly for who the children are."""
        for number in children:
            path = self._folder / f"w{number}.jsonl"
            if number not in self._tails and path.exists():
                self._tails[number] = WorkerTail(path, number, self.latest)
        for number in self._tails.keys() - set(children):
            self._tails.pop(number).close()
        self.look()
        return list(self._tails.values())

    def close(self) -> None:
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()
