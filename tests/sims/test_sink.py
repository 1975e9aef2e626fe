"""The fenced sink: its rule, and that a kill at any moment loses no decision and writes none twice."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sims.checkers import judge
from sims.history import load
from sims.lines import Effect
from sims.sink import Request, Sink, SinkClient, SinkUnavailable, spawn_sink

ROOT = Path(__file__).parents[2]


class Place:
    """Where one sink lives; start and kill as often as you like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket, self.db, self.history = folder / "s", folder / "sink.db", folder / "sink.jsonl"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = spawn_sink(self.socket, self.db, self.history)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        code = self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.process = None
        return code

    def accepted(self) -> list[Effect]:
        return [op for op in load([self.history]).ops if isinstance(op, Effect) and op.type == "ok"]


@pytest.fixture
def place() -> Iterator[Place]:
    # Not tmp_path: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sink") as folder:
        place = Place(Path(folder))
        yield place
        if place.process is not None:
            place.kill()


def test_it_takes_an_effect_once_and_refuses_old_fences(place: Place) -> None:
    place.start()
    client = SinkClient(place.socket)
    assert client.effect("a", 5, "e-a") == "ok"
    assert client.effect("a", 7, "e-a") == "duplicate"
    assert client.effect("a", 6, "e-a") == "stale"
    assert client.effect("a", 6, "e-a2") == "stale"
    assert client.effect("a", 7, "e-a2") == "ok"
    assert client.effect("b", 1, "e-b") == "ok"
    assert client.effect("b", 1, "e-a") == "duplicate"
    client.close()
    assert place.stop() == 0
    said = [(op.type, op.job, op.fence, op.ek, op.val) for op in load([place.history]).ops if isinstance(op, Effect)]
    assert said[:3] == [
        ("ok", "a", 5, "e-a", ""),
        ("fail", "a", 7, "e-a", "duplicate"),
        ("fail", "a", 6, "e-a", "stale"),
    ]
    assert len(said) == 7


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.sampled_from("xyz")), max_size=40), st.randoms())
def test_its_rule_holds_for_any_requests_in_any_batches(
    asked: list[tuple[str, int, str]], chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(Path(folder) / "db", Path(folder) / "h.jsonl", "OFF")
        requests = [Request(job, fence, ek) for job, fence, ek in asked]
        answers = []
        while len(answers) < len(requests):
            size = chance.randint(1, 5)
            answers += sink.decide(requests[len(answers) : len(answers) + size])
        sink.close()
        highest: dict[str, int] = {}
        taken: set[str] = set()
        for request, answer in zip(requests, answers, strict=True):
            is_stale = request.fence < highest.get(request.job, 0)
            assert answer == ("stale" if is_stale else "duplicate" if request.ek in taken else "ok")
            if not is_stale:
                highest[request.job] = request.fence
                taken.add(request.ek)
        history = load([Path(folder) / "h.jsonl"])
        assert len(history.ops) == len(requests)
        findings = {finding.id: finding.violations for finding in judge(history).findings}
        assert (findings["C4"], findings["C5"]) == (0, 0)


def test_decisions_survive_sigkill_of_the_sink_under_load(place: Place) -> None:
    place.start()
    accepted: list[str] = []
    duplicates: list[str] = []
    stop = threading.Event()

    def work(name: int) -> None:
        client = SinkClient(place.socket, timeout_s=30)
        for number in itertools.count():
            if stop.is_set():
                break
            job = f"j{name}-{number}"
            answer = client.effect(job, number + 1, f"e-{job}")
            (accepted if answer == "ok" else duplicates).append(f"e-{job}")
        client.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        _wait_for_more(accepted, 40)
        place.kill()
        place.start()
    stop.set()
    for thread in threads:
        thread.join(40)
    place.stop()

    # A repeat after a lost answer is a duplicate: its first asking was accepted. Each effect is in the history once.
    in_history = [effect.ek for effect in place.accepted()]
    assert sorted(in_history) == sorted(accepted + duplicates)
    assert len(set(in_history)) == len(in_history)
    assert len(accepted) >= 200


def test_a_restart_remembers_the_highest_fence(place: Place) -> None:
    place.start()
    client = SinkClient(place.socket)
    assert client.effect("a", 5, "e1") == "ok"
    place.kill()
    place.start()
    assert client.effect("a", 4, "e2") == "stale"
    assert client.effect("a", 5, "e1") == "duplicate"
    client.close()


def test_a_decision_that_was_committed_but_not_written_is_written_at_the_next_start(place: Place) -> None:
    sink = Sink(place.db, place.history, "OFF")
    sink.decide([Request("a", 1, "e1"), Request("b", 1, "e2")])
    sink.close()
    before = place.accepted()
    place.history.write_bytes(place.history.read_bytes().splitlines(keepends=True)[0][:-5])  # the kill came in between
    Sink(place.db, place.history, "OFF").close()
    assert place.accepted() == before
    Sink(place.db, place.history, "OFF").close()
    assert place.accepted() == before


def test_no_sink_is_told_within_the_time_given(place: Place) -> None:
    started = time.monotonic()
    with pytest.raises(SinkUnavailable, match=r"no answer .* in 0\.2 s"):
        SinkClient(place.socket, timeout_s=0.2).effect("a", 1, "e")
    assert time.monotonic() - started < 2


def test_a_sink_that_does_not_answer_is_told_within_the_time_given(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place.socket))
        silent.listen()
        with pytest.raises(SinkUnavailable):
            SinkClient(place.socket, timeout_s=0.3).effect("a", 1, "e")


def test_garbage_costs_the_sender_its_connection_and_nobody_else(place: Place) -> None:
    place.start()
    client = SinkClient(place.socket)
    assert client.effect("a", 1, "e1") == "ok"
    for garbage in (b"\xff\n", b'["a"]\n', b'["a", "x", "e"]\n', b"x" * 300_000):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(10)
            stranger.connect(str(place.socket))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stranger.sendall(garbage)
                assert stranger.recv(10) == b""
    assert client.effect("a", 1, "e1") == "duplicate"
    client.close()


def test_a_second_sink_on_the_same_file_says_why_it_does_not_start(place: Place) -> None:
    place.start()
    command = [sys.executable, "-m", "sims.sink", "--socket", f"{place.socket}2", "--db", str(place.db), "--history"]
    done = subprocess.run(
        [*command, str(place.folder / "other.jsonl")], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "is another sink running on it?" in done.stderr


def test_it_ends_with_its_starter(place: Place) -> None:
    place.start()
    assert place.stop() == 0
    assert not place.socket.exists()


def _wait_for_more(items: list[str], more: int, within_s: float = 30.0) -> None:
    deadline, goal = time.monotonic() + within_s, len(items) + more
    while len(items) < goal:
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.005)
