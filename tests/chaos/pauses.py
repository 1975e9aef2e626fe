"""What stops something for a while and kills nothing: nodes and workers that are paused, zombies, a paused queue, a wall clock that jumps.

A zombie is a node that is stopped for longer than its lease lasts, and woken when the jobs that its workers were running have run
elsewhere. Its workers go on meanwhile, so what it brings after waking are outcomes of jobs that it has lost: each must be refused.
"""

from __future__ import annotations

import signal
import time

from tests.chaos.nemesis import AIM_LIMIT_S, CALL_LIMIT_S, LOOK_EVERY_S, Nemesis
from tests.chaos.planted import move_clock
from tests.chaos.processes import grips_on
from tests.chaos.stage import SHARED_LEASE_S, ChaosNode
from tests.chaos.tails import Key, WorkerTail
from zjp import Client
from zjp.errors import ZjpError

PAUSE_S = (0.05, 0.3)
STOP_S = (0.05, 1.2)
CLOCK_STEP_S, CLOCK_STEPS, CLOCK_PAUSE_S = 2.5, 24, 0.06
"""60 s in steps that no store can tell from its own thread being slow."""
ZOMBIE_LIMIT_S = SHARED_LEASE_S + 6.0
"""For its jobs to run elsewhere: some were cancelled, or given up, and never will."""
LATE_LIMIT_S = 3.0
ZOMBIE = "zombie"
"""First word of the fault line of such a stop."""


class Pauses:
    """Deeds of the nemesis."""

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._stage, self._draw, self._toll = nemesis.stage, nemesis.draw, nemesis.toll

    def any(self) -> None:
        self._draw.choice((self.stop_node, self.stop_worker, self.pause_queue))()

    def stop_node(self) -> None:
        """SIGSTOP and, a while later, SIGCONT. Its workers go on."""
        node = self._nemesis.choose_node()
        seconds = self._draw.uniform(*STOP_S)
        since = time.monotonic_ns()
        node.signal(signal.SIGSTOP)
        self._nemesis.rest(seconds)
        node.signal(signal.SIGCONT)
        self._nemesis.say_fault("stop", since, f"node {seconds:.2f} s", node=node.name, pids=[node.number])
        self._toll.others["node stopped"] += 1

    def stop_worker(self) -> None:
        victim = self._nemesis.choose_worker()
        if victim is None:
            return
        for grip in grips_on([victim.number]):
            since = time.monotonic_ns()
            grip.send(signal.SIGSTOP)
            self._nemesis.rest(self._draw.uniform(*STOP_S))
            grip.send(signal.SIGCONT)
            grip.close()
            self._nemesis.say_fault("stop", since, "worker", pids=[victim.number])
        self._toll.others["worker stopped"] += 1

    def pause_queue(self) -> None:
        """A queue is paused for a moment, which calls back what was claimed and not started. No fault: it excuses nothing."""
        with Client(*[node.address for node in self._nemesis.standing], timeout=CALL_LIMIT_S) as client:
            try:
                client.pause("side")
                self._nemesis.rest(self._draw.uniform(*PAUSE_S))
                client.resume("side")
                self._toll.others["queue paused"] += 1
            except ZjpError as fault:
                self._toll.complaints.append(f"pause or resume of a queue: {fault!r}")

    def jump_clock(self) -> None:
        """The wall clock goes forward by a minute, in steps. A clock excuses nothing."""
        since = time.monotonic_ns()
        for _ in range(CLOCK_STEPS):
            move_clock(self._stage.folder, CLOCK_STEP_S)
            self._nemesis.rest(CLOCK_PAUSE_S)
        self._nemesis.say_fault("clock", since, f"+{CLOCK_STEP_S * CLOCK_STEPS:g} s", node=self._stage.nodes[0].name)
        self._toll.others["clock moved"] += 1

    # ── zombies ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def make_zombie(self) -> None:
        """It counts when something came of a job that had run elsewhere before the node woke; that all of it was refused is for the judge
        and the figures. Nothing happens when the node's workers run nothing."""
        nemesis = self._nemesis
        node = nemesis.choose_node()
        tail = nemesis.lives.of(node.name)
        workers = self._workers_of(node)
        nemesis.until(lambda: any(one.look() or one.running for one in workers), AIM_LIMIT_S)
        since = time.monotonic_ns()
        node.signal(signal.SIGSTOP)
        nemesis.rest(LOOK_EVERY_S)  # a signal takes a moment to arrive; what it wrote until then is read
        nemesis.lives.look()
        for one in workers:
            one.look()
        held = {key for one in workers for key in (*one.running, *one.ended) if key not in tail.answered}
        if held:
            nemesis.until(lambda: self._run_elsewhere(held) == held, ZOMBIE_LIMIT_S, LOOK_EVERY_S)
        taken = self._run_elsewhere(held)
        node.signal(signal.SIGCONT)
        nemesis.say_fault("stop", since, ZOMBIE, node=node.name, pids=[node.number])
        if held:
            nemesis.until(lambda: tail.look() or held <= tail.answered, LATE_LIMIT_S, LOOK_EVERY_S)
            self._toll.others["zombie"] += 1
            self._toll.zombies += bool(taken & tail.refused)

    def _workers_of(self, node: ChaosNode) -> list[WorkerTail]:
        numbers = set(node.children())
        return [one for one in self._nemesis.crew.living(self._nemesis.children()) if one.number in numbers]

    def _run_elsewhere(self, held: set[Key]) -> set[Key]:
        nemesis = self._nemesis
        nemesis.mend()
        nemesis.crew.living(nemesis.children())
        return {(job, fence) for job, fence in held if nemesis.crew.latest.get(job, 0) > fence}
