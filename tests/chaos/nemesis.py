"""The nemesis: kills workers and the node at chosen moments, stops, drains and pauses, and writes each fault into the history.

A moment is hit by following the histories of victim and node while they are written (tails.py), looking every LOOK_S:

    run      a job has been running for a random while          result   a job just ended, its outcome has not reached the store
    ack      its outcome was just put to the store              claim    jobs were just granted
    submit   a producer waits for its answer                    any      now

After each kill the same tails tell what it hit, so the nemesis aims at what was hit least. The final count is the checker's, from the whole
history. A fault's line spans the signal and the end of the last process hit, since what dies may still do something in between.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sims.history import Recorder
from tests.chaos.figures import CALM
from tests.chaos.jobs import SLOTS
from tests.chaos.planted import move_clock
from tests.chaos.processes import Grip, grips_on, until_all_ended
from tests.chaos.stage import NODE, ORPHAN_LIMIT_S, Stage
from tests.chaos.tails import ClientTail, Crew, NodeTail, WorkerTail
from tests.system.running import DidNotStart
from zjp import Client
from zjp.errors import ZjpError

LOOK_S = 0.0003
LOOK_EVERY_S = 0.05
"""For what costs more than a look at a file."""
AIM_LIMIT_S = 0.6
"""The moment did not come: kill anyway, now."""
RUN_DELAY_MAX_S = 0.03
WORKER_AIMS = ("run", "result", "ack", "any")
NODE_AIMS = ("claim", "run", "result", "ack", "submit", "any", "start", "drain")
CALM_SHARE = 0.7
CALM_LIMIT_S = 5.0
PAUSE_S = (0.05, 0.3)
STOP_S = (0.05, 1.2)
CLOCK_STEP_S, CLOCK_STEPS, CLOCK_PAUSE_S = 2.5, 24, 0.06
"""60 s in steps that no store can tell from its own thread being slow."""
CALL_LIMIT_S = 30.0


@dataclass
class Toll:
    """What was done so far. `started`: kills that hit a started job, by target; `moments`: kills that hit at least one job there."""

    kills: Counter[str] = field(default_factory=Counter)
    started: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    restart_s: list[float] = field(default_factory=list)
    orphan_s: list[float] = field(default_factory=list)
    drain_s: list[float] = field(default_factory=list)
    drain_codes: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


class Nemesis:
    """One deed at a time; when a method returns, the node is up again."""

    def __init__(self, stage: Stage, draw: random.Random) -> None:
        self.toll = Toll()
        self._stage, self._node, self._draw = stage, stage.node, draw
        self._recorder = Recorder(stage.histories / "nemesis.jsonl", "nemesis")
        self._crew = Crew(stage.histories)
        self._node_tail = NodeTail(stage.node.history_path)
        self._aims: Counter[str] = Counter()
        self._never = threading.Event()

    def close(self) -> None:
        self._crew.close()
        self._node_tail.close()
        self._recorder.close()

    def rest(self, seconds: float) -> None:
        """The pace of the run, and how often a tail is looked at; nothing is waited for by it."""
        self._never.wait(seconds)

    def _until(self, happened: Callable[[], Any], limit_s: float = AIM_LIMIT_S) -> bool:
        deadline = time.monotonic() + limit_s
        while not happened():
            if time.monotonic() > deadline:
                return False
            self.rest(LOOK_S)
        return True

    def _least(self, aims: tuple[str, ...], target: str) -> str:
        """The aim that was taken least often; chance among equals."""
        fewest = min(self._aims[f"{target} {aim}"] for aim in aims)
        aim = self._draw.choice([aim for aim in aims if self._aims[f"{target} {aim}"] == fewest])
        self._aims[f"{target} {aim}"] += 1
        return aim

    def _fault(self, kind: str, since: int, val: str, **whom: Any) -> None:
        self._recorder.write("fault", "ok", t=since, t1=time.monotonic_ns(), kind=kind, val=val, **whom)

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def kill_worker(self) -> None:
        """SIGKILL for one worker process that has run something. Nothing happens when there is none. Most such kills are calm: done
        when the crew is complete and works no backlog off, and followed by nothing until the jobs hit have run again."""
        is_calm = self._draw.random() < CALM_SHARE
        if is_calm:
            self._until_complete()
        victim = self._choose()
        if victim is None:
            return
        aim = self._least(WORKER_AIMS, "worker")
        try:
            grip = Grip(victim.number)
        except ProcessLookupError:
            return
        self._aim_at_worker(aim, victim)
        since = time.monotonic_ns()
        grip.send(signal.SIGKILL)
        until_all_ended([grip], ORPHAN_LIMIT_S)
        self._fault("kill", since, f"worker {aim} {CALM if is_calm else 'storm'}", pids=[victim.number])
        victim.look()
        self._count("worker", self._moments([victim]))
        if is_calm:
            self._until_run_again(victim)

    def _choose(self) -> WorkerTail | None:
        """Rather one that is busy."""
        deadline = time.monotonic() + AIM_LIMIT_S
        while not (found := self._crew.living(self._node.children())):
            if time.monotonic() > deadline:
                return None
            self.rest(LOOK_EVERY_S)
        return self._draw.choice([tail for tail in found if tail.running] or found)

    def _until_complete(self) -> None:
        """Every process of the crew is ready, and no more waits than can run at once: a job of low priority that has to wait for those that
        gathered during former faults would tell of the order of jobs, not of recovery."""
        deadline = time.monotonic() + CALM_LIMIT_S
        with Client(self._node.address, timeout=CALL_LIMIT_S) as client:
            while time.monotonic() < deadline:
                stats = client.stats()
                ready = sum(worker["state"] == "ready" and worker["name"][0] == "w" for worker in stats["workers"])
                if ready >= self._node.processes and sum(queue["pending"] for queue in stats["queues"]) <= SLOTS:
                    return
                self.rest(LOOK_EVERY_S)

    def _until_run_again(self, victim: WorkerTail) -> None:
        """What it was running, unless its report had left before the kill. A job that was cancelled meanwhile, or given up, never does."""
        tail = self._node_tail
        tail.look()
        hit = [key for key in (*victim.running, *victim.ended) if key not in tail.answered]
        deadline = time.monotonic() + CALM_LIMIT_S
        while time.monotonic() < deadline:
            self._crew.living(self._node.children())
            tail.look()
            if all(self._crew.latest[key[0]] > key[1] or tail.has_settled(key) for key in hit):
                return
            self.rest(LOOK_EVERY_S)

    def _aim_at_worker(self, aim: str, victim: WorkerTail) -> None:
        if aim == "run":
            delay_s = self._draw.uniform(0.0, RUN_DELAY_MAX_S)
            self._until(lambda: victim.look() or victim.running)
            until = time.monotonic() + delay_s
            self._until(lambda: victim.look() or (time.monotonic() > until and victim.running))
        elif aim == "result":
            self._until(victim.look)
        elif aim == "ack":
            self._until(lambda: self._is_reporting(victim))

    def _is_reporting(self, victim: WorkerTail) -> bool:
        """Something that ended there is being written right now."""
        victim.look()
        self._node_tail.look()
        return any(key in victim.ended for key in self._node_tail.asked)

    def _moments(self, victims: list[WorkerTail]) -> set[str]:
        """Which moments the victims' started jobs were in. The node's own tail is looked at after theirs, so what it does not say now
        it had not said when they died."""
        self._node_tail.look()
        moments = set()
        for victim in victims:
            for key in victim.running:
                if key not in self._node_tail.answered:
                    moments.add("run")
            for key in victim.ended:
                if key not in self._node_tail.answered:
                    moments.add("ack" if key in self._node_tail.asked else "result")
        return moments

    def _count(self, target: str, moments: set[str]) -> None:
        toll = self.toll
        toll.kills[target] += 1
        toll.started[target] += bool(moments)
        toll.moments.update(f"{target} {moment}" for moment in moments)

    # ── the node ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def kill_node(self) -> None:
        """SIGKILL for the node; its workers must die by themselves. Then the next life, on the same folder."""
        aim = self._least(NODE_AIMS, "node")
        if aim == "start":
            self._cut_a_start_short()
        elif aim == "drain":
            self._node.signal(signal.SIGTERM)
            self.rest(self._draw.uniform(0.0, 0.3))
        else:
            self._aim_at_node(aim)
        self._kill_node(aim)
        self._start()

    def _aim_at_node(self, aim: str) -> None:
        if aim == "submit":
            self._aim_at_submit()
            return
        tail = self._node_tail
        workers = self._crew.living(self._node.children())
        tail.look()
        granted = tail.granted

        def has_come() -> bool:
            tail.look()
            has_ended = [one.look() for one in workers]
            if aim == "result":
                return any(has_ended)
            if aim == "run":
                return any(one.running for one in workers)
            return bool(tail.asked) if aim == "ack" else tail.granted > granted

        if aim != "any":
            self._until(has_come)

    def _aim_at_submit(self) -> None:
        tails = [ClientTail(path) for path in self._stage.histories.glob("c*.jsonl")]

        def is_waiting() -> bool:
            for tail in tails:
                tail.look()
            return any(tail.is_waiting for tail in tails)

        self._until(is_waiting)
        for tail in tails:
            tail.close()

    def _kill_node(self, aim: str) -> None:
        workers = self._crew.living(self._node.children())
        grips = self._node.grips()
        since = time.monotonic_ns()
        self._node.end()
        orphan_s = until_all_ended(grips, ORPHAN_LIMIT_S)
        self._fault("kill", since, f"node {aim}", node=NODE, pids=[self._node.number, *(grip.number for grip in grips)])
        if orphan_s is None:
            self.toll.complaints.append(f"workers outlived their node by more than {ORPHAN_LIMIT_S:g} s after a kill aimed at {aim}")
        else:
            self.toll.orphan_s.append(orphan_s)
        for worker in workers:
            worker.look()
        self._count("node", self._moments(workers))

    def _cut_a_start_short(self) -> None:
        """Kill it, and let the next life begin: that is what is killed then."""
        self._kill_node("any")
        self._node.launch()
        self.rest(self._draw.uniform(0.0, 1.0))

    def _start(self) -> None:
        began = time.monotonic()
        try:
            self._node.start()
        except DidNotStart as fault:
            self.toll.complaints.append(f"the node did not start again: {fault}")
            raise
        self.toll.restart_s.append(time.monotonic() - began)
        self._node_tail.close()
        self._node_tail = NodeTail(self._node.history_path)

    def drain(self) -> None:
        """SIGTERM: it must end by itself, within its grace time."""
        grips = grips_on([self._node.number, *self._node.children()])
        pids = [grip.number for grip in grips]
        since, began = time.monotonic_ns(), time.monotonic()
        code = self._node.stop()
        self._fault("drain", since, "node", node=NODE, pids=pids)
        self.toll.drain_s.append(time.monotonic() - began)
        self.toll.drain_codes[code] += 1
        if until_all_ended(grips, ORPHAN_LIMIT_S) is None:
            self.toll.complaints.append("workers outlived a drain")
        self._start()

    # ── what does not kill ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop_node(self) -> None:
        """SIGSTOP and, a while later, SIGCONT. Its workers go on."""
        seconds = self._draw.uniform(*STOP_S)
        since = time.monotonic_ns()
        self._node.signal(signal.SIGSTOP)
        self.rest(seconds)
        self._node.signal(signal.SIGCONT)
        self._fault("stop", since, f"node {seconds:.2f} s", node=NODE, pids=[self._node.number])
        self.toll.others["node stopped"] += 1

    def stop_worker(self) -> None:
        victim = self._choose()
        if victim is None:
            return
        for grip in grips_on([victim.number]):
            since = time.monotonic_ns()
            grip.send(signal.SIGSTOP)
            self.rest(self._draw.uniform(*STOP_S))
            grip.send(signal.SIGCONT)
            grip.close()
            self._fault("stop", since, "worker", pids=[victim.number])
        self.toll.others["worker stopped"] += 1

    def pause_queue(self) -> None:
        """A queue is paused for a moment, which calls back what was claimed and not started. No fault: it excuses nothing."""
        with Client(self._node.address, timeout=CALL_LIMIT_S) as client:
            try:
                client.pause("side")
                self.rest(self._draw.uniform(*PAUSE_S))
                client.resume("side")
                self.toll.others["queue paused"] += 1
            except ZjpError as fault:
                self.toll.complaints.append(f"pause or resume of a queue: {fault!r}")

    def jump_clock(self) -> None:
        """The wall clock goes forward by a minute, in steps. A clock excuses nothing."""
        since = time.monotonic_ns()
        for _ in range(CLOCK_STEPS):
            move_clock(self._stage.folder, CLOCK_STEP_S)
            self.rest(CLOCK_PAUSE_S)
        self._fault("clock", since, f"+{CLOCK_STEP_S * CLOCK_STEPS:g} s", node=NODE)
        self.toll.others["clock moved"] += 1
