"""Those who work, and what befalls them: claims, the steps of a run, the sink; kills, pauses, crashes, reaping."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..lines import AttemptSeen
from .world import Job, Node, Worker, World

LEASE_NS = 5_000_000_000
RENEW_NS = 1_000_000_000
RETRY_NS = 50_000_000


class Nodes:
    def __init__(self, world: World) -> None:
        self.world = world
        self.pid = 0
        self.attempts: dict[tuple[str, int], int] = {}
        self.sink_fences: dict[str, int] = {}
        self.sink_effects: set[str] = set()
        self.nodes = [Node(f"n{number}") for number in range(1, world.shape.nodes + 1)]
        for node in self.nodes:
            self.start(node)

    @property
    def is_busy(self) -> bool:
        return any(worker.held for node in self.nodes for worker in node.workers)

    def start(self, node: Node) -> None:
        t0 = self.world.now
        node.workers = [self.spawn(node) for _ in range(self.world.shape.workers)]
        self.world.say(node.name, "open", "ok", node=node.name, boot=node.boot, lease_ms=LEASE_NS // 1_000_000, t0=t0)

    def spawn(self, node: Node) -> Worker:
        self.pid += 1
        return Worker(self.pid, node.name)

    def work(self) -> None:
        self.world.tick()
        self.world.promote_due()
        self.renew()
        node = self.world.pick(self.nodes)
        if node.paused_at:
            self.world.tick(500_000)
            if not node.is_evicted and self.world.now - node.paused_at > LEASE_NS:
                self.evict(node)
            return
        if not any(self.world.ready.values()) and not self.is_busy:
            self.world.tick(1_000_000)
        self.advance(node, self.world.pick(node.workers))

    def renew(self) -> None:
        for node in self.nodes:
            if not node.paused_at and self.world.now - node.renewed_at >= RENEW_NS:
                node.renewed_at = self.world.now
                self.world.say(node.name, "renew", "ok", node=node.name, boot=node.boot, t0=node.renewed_at)

    def evict(self, node: Node) -> None:
        """A lease ran out: another node's reaper takes its jobs back."""
        node.is_evicted = True
        t0 = self.world.tick(20)
        held = [job for job in self.world.jobs.values() if job.holder == node.name]
        for job in held:
            self.world.take_back(job)
        self.world.say("reaper", "reap", "ok", count=len(held), t0=t0)

    def advance(self, node: Node, worker: Worker) -> None:
        if not worker.held:
            self.claim(node, worker)
            return
        job, fence = worker.held[0]
        steps = {
            "run": self.enter,
            "effect": self.effect,
            "end": self.leave,
            "report": self.invoke,
            "answer": self.answer,
        }
        steps[worker.step](node, worker, job, fence)

    def claim(self, node: Node, worker: Worker) -> None:
        t0 = self.world.now
        claimed = self.world.claim(node.name, self.world.shape.batch)
        t = self.world.tick(30)
        for job in claimed:
            worker.held.append((job, job.fence))
            self.attempts[job.id, job.fence] = job.failures + job.crashes + 1
            names = {"job": job.id, "fence": job.fence, "node": node.name, "boot": node.boot}
            self.world.say(node.name, "lease", "ok", **names, t0=t0, t=t)

    def enter(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        who = f"w{worker.pid}"
        names = {"job": job.id, "key": job.key, "ek": f"e-{job.id}", "node": node.name}
        self.world.say(who, "run", "ok", **names, fence=fence, attempt=self.attempts[job.id, fence], pid=worker.pid)
        worker.step = "effect"

    def effect(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        shape = self.world.shape
        rates = {"raise": shape.raises, "snooze": shape.snoozes, "discard": shape.discards, "crash": shape.crashes}
        outcomes, weights = [*rates, "return"], [*rates.values(), max(0.0, 1.0 - sum(rates.values()))]
        worker.step, worker.outcome = "end", self.world.rng.choices(outcomes, weights)[0]
        if worker.outcome == "crash":
            self.crash(node, worker, job, fence)
        elif worker.outcome == "return":
            self.ask_sink(job, fence)

    def ask_sink(self, job: Job, fence: int) -> None:
        highest, key = self.sink_fences.get(job.id, 0), f"e-{job.id}"
        answer = "stale" if fence < highest else "duplicate" if key in self.sink_effects else ""
        self.sink_fences[job.id] = max(fence, highest)
        self.sink_effects.add(key)
        self.world.say("sink", "effect", "fail" if answer else "ok", job=job.id, fence=fence, ek=key, val=answer)

    def leave(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        is_well = worker.outcome == "return"
        val = "" if is_well else worker.outcome
        self.world.say(
            f"w{worker.pid}", "end", "ok" if is_well else "fail", job=job.id, fence=fence, pid=worker.pid, val=val
        )
        worker.step = "report"

    def invoke(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        worker.kind = self.world.report_kind(job, worker.outcome)
        worker.invoked_at = self.world.tick(20)
        names = {"job": job.id, "fence": fence, "node": node.name}
        self.world.say(node.name, worker.kind, "invoke", **names, t=worker.invoked_at)
        worker.step = "answer"

    def answer(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        is_held = job.fence == fence
        due = self.world.now + RETRY_NS if worker.kind == "nack" and job.state == "held" else 0
        extra: dict[str, Any] = {"due": due} if worker.kind == "nack" else {}
        if worker.outcome == "snooze":
            extra["val"] = "snooze"
        names = {"job": job.id, "fence": fence, "node": node.name, "t0": worker.invoked_at}
        self.world.say(node.name, worker.kind, "ok" if is_held else "fail", **names, **extra)
        if is_held:
            self.world.apply(job, fence, worker.outcome, due)
        worker.held.popleft()
        worker.step = "run"

    # Faults

    def crash(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        self.world.say(f"w{worker.pid}", "end", "info", job=job.id, fence=fence, pid=worker.pid, val="crash")
        self.replace(node, worker)

    def kill_worker(self) -> None:
        node = self.world.pick(self.nodes)
        if not node.paused_at:
            worker = self.world.pick(node.workers)
            self.fault("kill", "worker", pids=[worker.pid])
            self.world.tick()
            self.replace(node, worker)

    def fault(self, kind: str, val: str, **fields: Any) -> None:
        self.world.say("nemesis", "fault", "ok", kind=kind, val=val, t1=self.world.now + 30_000, **fields)

    def replace(self, node: Node, worker: Worker) -> None:
        """Its node sees the worker dead and hands all it held back."""
        for index, (job, fence) in enumerate(worker.held):
            if job.fence != fence:
                continue
            if index == 0 and worker.step != "run":
                job.crashes += 1
                job.attempts.append(AttemptSeen(fence=fence, outcome="crashed", node=node.name))
            t0 = self.world.tick(20)
            self.world.say(node.name, "release", "invoke", job=job.id, fence=fence, node=node.name, t=t0)
            self.world.say(node.name, "release", "ok", job=job.id, fence=fence, node=node.name, t0=t0)
            self.world.take_back(job)
        node.workers[node.workers.index(worker)] = self.spawn(node)

    def kill_node(self) -> None:
        node = self.world.pick(self.nodes)
        if node.paused_at:
            return
        for worker in node.workers:
            if worker.step == "answer" and self.world.chance(0.5):
                self.lose_answer(worker)
        self.fault("kill", "node", pids=[worker.pid for worker in node.workers], node=node.name)
        self.world.tick()
        node.boot += 1
        for job in self.world.jobs.values():
            if job.holder == node.name:
                self.world.take_back(job)
        self.start(node)

    def lose_answer(self, worker: Worker) -> None:
        """Its report was under way: the store carries it out, and nobody hears the answer."""
        job, fence = worker.held[0]
        if job.fence == fence:
            self.world.apply(job, fence, worker.outcome, self.world.now)

    def pause(self) -> None:
        if not any(node.paused_at for node in self.nodes):
            self.world.pick(self.nodes).paused_at = self.world.now

    def wake_after(self, paused_ns: int) -> None:
        for node in self.nodes:
            if node.paused_at and self.world.now - node.paused_at >= paused_ns:
                self.wake(node)

    def wake(self, node: Node) -> None:
        """It goes on where it stood. Of what it lost meanwhile, some it drops, and some it starts or finishes all the same."""
        pids = [worker.pid for worker in node.workers]
        names: dict[str, Any] = {"pids": pids, "node": node.name, "t": node.paused_at, "t1": self.world.now}
        self.world.say("nemesis", "fault", "ok", kind="stop", val=node.name, **names)
        if node.is_evicted:
            self.world.say(node.name, "renew", "fail", node=node.name, boot=node.boot, t0=self.world.now)
            for worker in node.workers:
                keep = worker.step != "run" or self.world.chance(0.5)
                worker.held = deque(list(worker.held)[:keep])
        node.paused_at, node.is_evicted = 0, False
