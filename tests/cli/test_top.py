"""`zjp top`: what it draws at which size, its keys, and what it does when no node answers."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from struct import pack
from typing import Any

import msgspec
import pytest
from rich.console import Console

from tests.api.running import RunningApi
from tests.cli.conftest import Run
from tests.client.peer import Peer
from tests.system.running import ROOT, RunningNode, clean_environment
from zjp import Client
from zjp.cli.look import Lookout, Meter, NodeRow, Picture, WorkerRow
from zjp.cli.screen import plain, screen, share
from zjp.cli.top import View
from zjp.job import JobFault, JobState, JobView
from zjp.wire import messages as m
from zjp.wire.desk import AskNode
from zjp.wire.messages import QueueCount
from zjp.wire.seen import AskCluster, ClusterNode, ClusterReply

pytestmark = pytest.mark.covers("cli:top")

FAILED = JobView(
    bytes(16), "email", "default", 5, JobState.FAILED, b"\x80", 1, error=JobFault("ValueError", "bad \x1b[2J[red]address[/red]")
)


def picture(queues: int = 3, nodes: int = 3, workers: int = 4, failures: int = 2) -> Picture:
    return Picture(
        at_ms=1_700_000_000_000,
        node="node-0",
        version="1",
        is_draining=False,
        leader="node-0",
        epoch=7,
        algorithm="raft",
        has_quorum=True,
        done_per_s=120.4,
        failed_per_s=0.25,
        queues=[QueueCount(f"queue-{number}", number, 1, 0, 2, number == 1, 0.5) for number in range(queues)],
        nodes=[NodeRow(f"node-{number}", "follower", "alive", 10, 4, 3600.0, False) for number in range(nodes)],
        workers=[
            WorkerRow("node-0", f"w{number}", 100 + number, "ready", 5, 2, 10, 1, 50 << 20, [("email", "0197a3f0-0000")])
            for number in range(workers)
        ],
        failures=[FAILED] * failures,
    )


def drawn(shown: Picture | None, width: int, height: int, *, notice: str = "", is_paused: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(screen(shown, notice, console, every_s=2.0, is_paused=is_paused))
    return captured.get().splitlines()


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 24), (200, 60), (40, 10)])
@pytest.mark.parametrize("count", [0, 3, 200])
def test_screen_fits_the_terminal_with_little_and_with_much_on_it(size: tuple[int, int], count: int) -> None:
    lines = drawn(picture(count, count, count, count), *size)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_screen_of_80_by_24_shows_every_part() -> None:
    text = "\n".join(drawn(picture(), 80, 24))
    for told in (
        "node-0 leads, epoch 7 (raft)", "nodes 3/3", "pending 3", "done 120/s", "failed 0.25/s", "slots 12/30", "queue-2", "paused",
        "follower", "node-0/w3", "50 MiB", "email 0197a3f0", "ValueError: bad", "q quit   p pause",
    ):  # fmt: skip
        assert told in text, text


def test_what_does_not_fit_is_counted() -> None:
    text = "\n".join(drawn(picture(workers=200), 80, 24))
    assert "more" in text
    shown = sum("node-0/w" in row for row in text.splitlines())
    assert f"and {200 - shown} more" in text


def test_what_came_from_outside_is_neither_obeyed_nor_read_as_markup() -> None:
    text = "\n".join(drawn(picture(), 200, 60))
    assert "\x1b[2J" not in text
    assert "[red]address[/red]" in text


def test_empty_parts_say_what_to_do() -> None:
    text = "\n".join(drawn(picture(0, 1, 0, 0), 80, 24))
    assert "zjp submit TYPE" in text
    assert "--app module:app" in text
    assert "only an admin may see" in "\n".join(drawn(dataclasses.replace(picture(), workers=None), 80, 24))


def test_notice_stands_below_the_last_picture() -> None:
    lines = drawn(picture(), 80, 24, notice="no answer: nobody there")
    assert "queue-2" in "\n".join(lines)
    assert lines[-1].startswith("no answer: nobody there")
    assert "looking" in drawn(None, 80, 24, notice="looking for a node")[-1]
    assert drawn(picture(), 80, 24, is_paused=True)[-1].startswith("paused")


@pytest.mark.parametrize(
    ("needs", "rows", "given"),
    [([1, 2, 3], 10, [1, 2, 3]), ([9, 1, 9], 11, [5, 1, 5]), ([9, 9, 9], 3, [1, 1, 1]), ([5, 5], 0, [0, 0]), ([], 5, [])],
)
def test_rows_are_shared_by_need(needs: list[int], rows: int, given: list[int]) -> None:
    assert share(needs, rows) == given


def test_plain_tables_have_the_same_parts() -> None:
    text = "\n".join(plain(picture()))
    for told in ("leader node-0", "QUEUE", "queue-2", "NODE", "WORKER", "FAILED", "ValueError"):
        assert told in text


def table(node: str, completed: float, failed: float, boot: int = 1) -> dict[str, Any]:
    counts = {"completed": completed, "failed": failed}
    series = [{"labels": ["email", "default", outcome], "value": value} for outcome, value in counts.items()]
    return {"node": node, "boot": boot, "metrics": {"zjp_jobs_finished_total": {"series": series}}}


def test_rates_come_from_two_looks_and_a_new_life_counts_from_then_on() -> None:
    meter = Meter()
    assert meter.take([table("a", 100, 10)], 1.0) == (None, None)
    assert meter.take([table("a", 120, 14), table("b", 1000, 0)], 3.0) == (12.0, 2.0)
    assert meter.take([table("a", 5, 0, boot=2), table("b", 1010, 0)], 4.0) == (10.0, 0.0)
    assert meter.take([table("b", 1010, 0)], 4.0) == (None, None)


def told_by(node: str) -> m.Stats:
    worker = {"name": "w0", "pid": 7, "state": "ready", "slots": 5, "busy": 2, "done": 9, "failed": 1, "rss_bytes": 1}
    state = {"version": "1", "uptime_s": 5.0, "is_draining": node == "n2", "queues": [], "workers": [worker]}
    return m.Stats(msgspec.msgpack.encode({**table(node, 1, 1), **state}))


def test_other_nodes_are_asked_through_the_one_that_answers_and_shown_without_figures_when_they_do_not() -> None:
    nodes = [ClusterNode(name, 1, f"tcp://{name}:1", "follower", "alive", 1, 0, name != "n4") for name in ("n1", "n2", "n3", "n4")]
    asked: list[str] = []

    def answer(request: m.Request) -> m.Reply:
        if isinstance(request, AskNode):
            asked.append(request.node)
            return told_by("n2") if request.node == "n2" else m.Failure("unavailable", "it did not answer", 0)
        if isinstance(request, AskCluster):
            return ClusterReply("n1", nodes, "n2", 7, "raft", 3, [], True, False, False)
        return told_by("n1") if isinstance(request, m.AskStats) else m.Page([], b"", 0)

    with Peer(answer) as peer, Client(peer.address, cluster="zjp", key_file="", timeout=0.5) as client:
        seen = Lookout(client).look()
    assert {"n2", "n3"} == set(asked)
    assert [(row.node, row.slots, row.is_draining) for row in seen.nodes] == [
        ("n1", 5, False), ("n2", 5, True), ("n3", None, None), ("n4", None, None),
    ]  # fmt: skip
    assert [(row.node, row.name) for row in seen.workers or ()] == [("n1", "w0"), ("n2", "w0")]
    assert (seen.leader, seen.busy, seen.alive_count) == ("n2", (4, 10), 4)


def test_keys_pause_and_end_and_a_lost_node_is_told_until_it_is_back() -> None:
    view = View(2.0)
    assert view.is_due(0.0)
    view.take(picture(), "", 10.0)
    assert (view.is_due(11.0), view.is_due(12.0)) == (False, True)
    view.press("p")
    assert not view.is_due(99.0)
    view.press("p")
    assert view.is_due(11.0)
    view.take(None, "nobody there", 20.0)
    view.take(None, "nobody there", 25.0)
    console = Console(file=io.StringIO(), width=80, height=24)
    with console.capture() as captured:
        console.print(view.drawn(console))
    assert "no answer for 5.0s: nobody there" in captured.get()
    assert "queue-2" in captured.get()
    view.take(picture(), "", 26.0)
    view.press("x")
    assert not view.is_over
    view.press("q")
    assert view.is_over


def test_one_look_without_a_node_is_unavailable(zjp: Run) -> None:
    for option in ("--once", "--json"):
        told = zjp("top", option, "--timeout", "100ms")
        assert told.exit_code == 69, told.output


# ── against a real node, and in a real terminal ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("node")
    with RunningNode(folder, app="tests.cli.node_tasks:app", worker_count=2, worker_processes=1, api_enabled=False) as running:
        with running.client() as client:
            job = client.submit("fail")
            job.wait(timeout=30)
        yield running


@pytest.mark.system
def test_a_look_is_the_same_over_zeromq_and_over_http(node: RunningNode, tmp_path: Path, zjp: Run) -> None:
    with RunningApi(tmp_path, node.address) as api:
        told = [zjp("--address", address, "top", "--json") for address in (node.address, api.url)]
        once = zjp("--address", api.url, "top", "--once")
    assert [one.exit_code for one in told] == [0, 0], told
    direct, by_http = (json.loads(one.stdout) for one in told)
    for name in ("node", "leader", "algorithm", "totals", "has_quorum", "slots", "queues"):
        assert direct[name] == by_http[name], name
    assert direct["failures"][0]["error"]["type"] == "ValueError"
    assert [row["id"] for row in direct["failures"]] == [row["id"] for row in by_http["failures"]]
    assert [(row["pid"], row["state"]) for row in direct["workers"]] == [(row["pid"], row["state"]) for row in by_http["workers"]]
    assert "ValueError: it fails" in once.stdout


class Terminal:
    """A program in a terminal of 80 by 24."""

    def __init__(self, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        ioctl(self.slave, termios.TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zjp", *arguments], cwd=ROOT, stdin=self.slave, stdout=self.slave, stderr=self.slave,
            env=clean_environment({"TERM": "xterm"}), start_new_session=True,
        )  # fmt: skip
        self.text = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def read_until(self, told: str, within_s: float = 30.0) -> None:
        """From here on; what came before is forgotten."""
        self.text, end = "", time.monotonic() + within_s
        while told not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{told!r} was not shown within {within_s:g} s:\n{self.text[-3000:]}"
            self.text += os.read(self.master, 65536).decode(errors="replace")

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def ended(self) -> int:
        while True:  # it may not end before its last words are read
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            elif self.process.poll() is not None:
                return self.process.returncode


@pytest.mark.system
def test_terminal_is_drawn_and_as_it_was_after_q(node: RunningNode) -> None:
    with Terminal("--address", node.address, "top", "--every", "200ms") as terminal:
        terminal.read_until("ValueError")
        assert not termios.tcgetattr(terminal.slave)[3] & termios.ICANON
        terminal.press("p")
        terminal.read_until("paused")
        terminal.press("q")
        assert terminal.ended() == 0
        assert "\x1b[?1049l" in terminal.text  # back from the second screen
        assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminal_is_as_it_was_after_a_signal(node: RunningNode, number: signal.Signals) -> None:
    with Terminal("--address", node.address, "top") as terminal:
        terminal.read_until("q quit")
        terminal.process.send_signal(number)
        terminal.ended()
        assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.system
def test_a_node_that_goes_away_is_told_and_found_again(tmp_path: Path) -> None:
    with (
        RunningNode(tmp_path, api_enabled=False) as node,
        Terminal("--address", node.address, "--timeout", "300ms", "top", "--every", "200ms") as terminal,
    ):
        terminal.read_until("nodes 1/1")
        node.kill()
        terminal.read_until("no answer")
        node.start()
        terminal.read_until("q quit")
        terminal.press("q")
        assert terminal.ended() == 0


@pytest.mark.system
def test_without_a_terminal_each_look_is_a_line(node: RunningNode) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zjp", "--address", node.address, "top", "--every", "200ms"], cwd=ROOT, stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=clean_environment(),
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate()
    assert (process.returncode, talk) == (130, "\nzjp: interrupted\n")
    assert all("leader" in line and "pending 0" in line for line in lines), lines
    assert "done 0/s" in lines[2]
