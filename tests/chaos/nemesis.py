"""The nemesis: kills workers and nodes at chosen moments, drains them, brings them back, and writes each fault into the history. What does
not kill is in pauses.py, what befalls the servers that nodes share in outages.py.

A moment is hit by following the histories of victim and node while they are written (tails.py), looking every LOOK_S:

    run      a job has been running for a random while          result   a job just ended, its outcome has not reached the store
    ack      its outcome was just put to the store              claim    jobs were just granted
    submit   a producer waits for its answer                    any      now

After each kill the same tails tell what it hit, so the nemesis aims at what was hit least. The final count is the checker's, from the whole
history. A fault's line spans the signal and the end of the last process hit, since what dies may still do something in between.

One node is up again when a method returns. Of several the one that was killed stays away for a while, sometimes longer than its lease
lasts, so that the others take over; `mend` brings back whose time has come.
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
from tests.chaos.processes import Grip, grips_on, until_all_ended
from tests.chaos.stage import ORPHAN_LIMIT_S, SHARED_LEASE_S, ChaosNode, Stage
from tests.chaos.tails import ClientTail, Crew, Lives, WorkerTail
from tests.system.running import START_LIMIT_S, DidNotStart
from zjp import Client
from zjp.errors import StoreUnavailable

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
CALL_LIMIT_S = 30.0
AWAY_S, LONG_AWAY_S = (0.0, 1.0), (SHARED_LEASE_S + 0.5, SHARED_LEASE_S + 3.0)
LONG_AWAY_SHARE = 0.4


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
    failed_starts: int = 0
    """Of nodes whose Redis was away."""
    zombies: int = 0
    """Those that brought something late."""
    complaints: list[str] = field(default_factory=list)


class Nemesis:
    """One deed at a time. `crew`, `lives`: what the histories of workers and nodes say."""

    def __init__(self, stage: Stage, draw: random.Random, calm_share: float = CALM_SHARE) -> None:
        self.toll = Toll()
        self.stage, self.draw, self._calm_share = stage, draw, calm_share
        self.crew = Crew(stage.histories)
        self.lives = Lives()
        self._recorder = Recorder(stage.histories / "nemesis.jsonl", "nemesis")
        for node in stage.nodes:
            self.lives.begin(node.name, node.history_path)
        self._due: dict[ChaosNode, float] = {}
        """Nodes that are away -> when they are to be launched."""
        self._launched: dict[ChaosNode, float] = {}
        """Nodes that do not answer yet -> since when."""
        self._aims: Counter[str] = Counter()
        self._never = threading.Event()

    def close(self) -> None:
        self.crew.close()
        self.lives.close()
        self._recorder.close()

    @property
    def standing(self) -> list[ChaosNode]:
        """The nodes that answer, as far as known."""
        return [node for node in self.stage.nodes if node not in self._due and node not in self._launched]

    def children(self) -> list[int]:
        """Worker processes of all nodes."""
        return [number for node in self.standing for number in node.children()]

    def rest(self, seconds: float) -> None:
        """The pace of the run, and how often a tail is looked at; nothing is waited for by it."""
        self._never.wait(seconds)

    def until(self, happened: Callable[[], Any], limit_s: float = AIM_LIMIT_S, every_s: float = LOOK_S) -> bool:
        deadline = time.monotonic() + limit_s
        while not happened():
            if time.monotonic() > deadline:
                return False
            self.rest(every_s)
        return True

    def _least(self, aims: tuple[str, ...], target: str) -> str:
        """The aim that was taken least often; chance among equals."""
        fewest = min(self._aims[f"{target} {aim}"] for aim in aims)
        aim = self.draw.choice([aim for aim in aims if self._aims[f"{target} {aim}"] == fewest])
        self._aims[f"{target} {aim}"] += 1
        return aim

    def say_fault(self, kind: str, since: int, val: str, **whom: Any) -> None:
        self._recorder.write("fault", "ok", t=since, t1=time.monotonic_ns(), kind=kind, val=val, **whom)

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def kill_worker(self) -> None:
        """SIGKILL for one worker process that has run something. Nothing happens when there is none. Most such kills are calm: done
        when the crew is complete and works no backlog off, and followed by nothing until the jobs hit have run again."""
        is_calm = self.draw.random() < self._calm_share and self._until_complete()
        victim = self.choose_worker()
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
        self.say_fault("kill", since, f"worker {aim} {CALM if is_calm else 'storm'}", pids=[victim.number])
        victim.look()
        self._count("worker", self._moments([victim]))
        if is_calm:
            self._until_run_again(victim)

    def choose_worker(self) -> WorkerTail | None:
        """Rather one that is busy."""
        deadline = time.monotonic() + AIM_LIMIT_S
        while not (found := self.crew.living(self.children())):
            if time.monotonic() > deadline:
                return None
            self.rest(LOOK_EVERY_S)
        return self.draw.choice([tail for tail in found if tail.running] or found)

    def _until_complete(self) -> bool:
        """Every process of the crew is ready, and no more waits than can run at once: a job of low priority that has to wait for those that
        gathered during former faults would tell of the order of jobs, not of recovery."""
        self.mend()
        if len(self.standing) < len(self.stage.nodes):
            return False
        return self.until(lambda: all(self._is_complete(node) for node in self.standing), CALM_LIMIT_S, LOOK_EVERY_S)

    def _is_complete(self, node: ChaosNode) -> bool:
        with Client(node.address, timeout=CALL_LIMIT_S) as client:
            stats = client.stats()
        ready = sum(worker["state"] == "ready" and worker["name"][0] == "w" for worker in stats["workers"])
        return ready >= node.processes and sum(queue["pending"] for queue in stats["queues"]) <= SLOTS

    def _until_run_again(self, victim: WorkerTail) -> None:
        """What it was running, unless its report had left before the kill. A job that was cancelled meanwhile, or given up, never does."""
        lives = self.lives
        lives.look()
        hit = [key for key in (*victim.running, *victim.ended) if not lives.is_answered(key)]
        deadline = time.monotonic() + CALM_LIMIT_S
        while time.monotonic() < deadline:
            self.crew.living(self.children())
            lives.look()
            if all(self.crew.latest[key[0]] > key[1] or lives.has_settled(key) for key in hit):
                return
            self.rest(LOOK_EVERY_S)

    def _aim_at_worker(self, aim: str, victim: WorkerTail) -> None:
        if aim == "run":
            delay_s = self.draw.uniform(0.0, RUN_DELAY_MAX_S)
            self.until(lambda: victim.look() or victim.running)
            until = time.monotonic() + delay_s
            self.until(lambda: victim.look() or (time.monotonic() > until and victim.running))
        elif aim == "result":
            self.until(victim.look)
        elif aim == "ack":
            self.until(lambda: self._is_reporting(victim))

    def _is_reporting(self, victim: WorkerTail) -> bool:
        """Something that ended there is being written right now."""
        victim.look()
        self.lives.look()
        return any(self.lives.is_asked(key) for key in victim.ended)

    def _moments(self, victims: list[WorkerTail]) -> set[str]:
        """Which moments the victims' started jobs were in. The node's own tail is looked at after theirs, so what it does not say now
        it had not said when they died."""
        self.lives.look()
        moments = set()
        for victim in victims:
            for key in victim.running:
                if not self.lives.is_answered(key):
                    moments.add("run")
            for key in victim.ended:
                if not self.lives.is_answered(key):
                    moments.add("ack" if self.lives.is_asked(key) else "result")
        return moments

    def _count(self, target: str, moments: set[str]) -> None:
        toll = self.toll
        toll.kills[target] += 1
        toll.started[target] += bool(moments)
        toll.moments.update(f"{target} {moment}" for moment in moments)

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def choose_node(self) -> ChaosNode:
        """One that answers. Of several, another one answers as well."""
        self.until_standing(min(2, len(self.stage.nodes)))
        return self.draw.choice(self.standing)

    def kill_node(self) -> None:
        """SIGKILL for a node; its workers must die by themselves. Then its next life, on the same folder."""
        node = self.choose_node()
        aim = self._least(NODE_AIMS, "node")
        if aim == "start":
            self._cut_a_start_short(node)
        elif aim == "drain":
            node.signal(signal.SIGTERM)
            self.rest(self.draw.uniform(0.0, 0.3))
        else:
            self._aim_at_node(aim, node)
        self._kill_node(aim, node)
        self._bring_back(node)

    def _aim_at_node(self, aim: str, node: ChaosNode) -> None:
        if aim == "submit":
            self._aim_at_submit()
            return
        tail = self.lives.of(node.name)
        numbers = set(node.children())
        workers = [one for one in self.crew.living(self.children()) if one.number in numbers]
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
            self.until(has_come)

    def _aim_at_submit(self) -> None:
        tails = [ClientTail(path) for path in self.stage.histories.glob("c*.jsonl")]

        def is_waiting() -> bool:
            for tail in tails:
                tail.look()
            return any(tail.is_waiting for tail in tails)

        self.until(is_waiting)
        for tail in tails:
            tail.close()

    def _kill_node(self, aim: str, node: ChaosNode) -> None:
        grips = node.grips()
        numbers = {grip.number for grip in grips}
        workers = [one for one in self.crew.living(self.children()) if one.number in numbers]
        since = time.monotonic_ns()
        node.end()
        orphan_s = until_all_ended(grips, ORPHAN_LIMIT_S)
        self.say_fault("kill", since, f"node {aim}", node=node.name, pids=[node.number, *numbers])
        if orphan_s is None:
            self.toll.complaints.append(f"workers outlived their node by more than {ORPHAN_LIMIT_S:g} s after a kill aimed at {aim}")
        else:
            self.toll.orphan_s.append(orphan_s)
        for worker in workers:
            worker.look()
        self._count("node", self._moments(workers))

    def _cut_a_start_short(self, node: ChaosNode) -> None:
        """Kill it, and let the next life begin: that is what is killed then."""
        self._kill_node("any", node)
        node.launch()
        self.rest(self.draw.uniform(0.0, 1.0))

    def drain(self) -> None:
        """SIGTERM: it must end by itself, within its grace time."""
        node = self.choose_node()
        grips = grips_on([node.number, *node.children()])
        pids = [grip.number for grip in grips]
        since, began = time.monotonic_ns(), time.monotonic()
        code = node.stop()
        self.say_fault("drain", since, "node", node=node.name, pids=pids)
        self.toll.drain_s.append(time.monotonic() - began)
        self.toll.drain_codes[code] += 1
        if until_all_ended(grips, ORPHAN_LIMIT_S) is None:
            self.toll.complaints.append("workers outlived a drain")
        self._bring_back(node)

    # ── who comes back ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _bring_back(self, node: ChaosNode) -> None:
        away_s = 0.0
        if len(self.stage.nodes) > 1:
            span = LONG_AWAY_S if self.draw.random() < LONG_AWAY_SHARE else AWAY_S
            away_s = self.draw.uniform(*span)
        self.lives.end(node.name)
        self._due[node] = time.monotonic() + away_s
        if len(self.stage.nodes) == 1:
            self.until_standing(1)

    def mend(self) -> None:
        """Launch the nodes whose time has come, and welcome those that answer. Raises: DidNotStart."""
        now = time.monotonic()
        for node in self.standing:
            if not node.is_running:
                self.toll.complaints.append(f"{node.name} ended by itself; the end of its log:\n{node.log_text()[-1000:]}")
                self._bring_back(node)
        for node in [node for node, at in self._due.items() if at <= now]:
            del self._due[node]
            node.launch()
            self._launched[node] = now
        for node, began in list(self._launched.items()):
            try:
                if node.has_started():
                    self.toll.restart_s.append(time.monotonic() - began)
                    self.lives.begin(node.name, node.history_path)
                    del self._launched[node]
                elif now - began > START_LIMIT_S:
                    raise DidNotStart(None, node.log_text())
            except DidNotStart as fault:
                self._did_not_start(node, fault)

    def _did_not_start(self, node: ChaosNode, fault: DidNotStart) -> None:
        if self.stage.servers is None or fault.exit_code != StoreUnavailable.exit_code:
            self.toll.complaints.append(f"the node did not start again: {fault}")
            raise fault
        self.toll.failed_starts += 1
        del self._launched[node]
        self._due[node] = time.monotonic()

    def until_standing(self, count: int) -> None:
        """Raises: DidNotStart."""
        deadline = time.monotonic() + 2 * START_LIMIT_S
        while len(self.standing) < count:
            self.mend()
            if time.monotonic() > deadline:
                raise DidNotStart(None, f"{len(self.standing)} of {count} nodes answer")
            self.rest(0.01)
