"""Those who work, and what befalls them: claims, the steps of a run, the sink; kills, pauses, crashes, reaping."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..lines import AttemptSeen
from .world import Job, Node, Worker, World

LEASE_NS = 5_000_000_000


class Nodes:
    def __init__(self, world: World) -> None:
        self.world = world
        self.pid = 0
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
        for job in self.world.jobs.values():
            if job.state == "later" and job.due <= self.world.now:
                self.world.put(job)
        node = self.world.pick(self.nodes)
        if node.paused_at:
            self.world.tick(500_000)
            if not node.is_evicted and self.world.now - node.paused_at > LEASE_NS:
                self.evict(node)
            return
        if not any(level for level in self.world.ready.values()) and not self.is_busy():
            self.world.tick(1_000_000)
        self.advance(node, self.world.pick(node.workers))

    def evict(self, node: Node) -> None:
        """A lease ran out: another node's reaper takes its jobs back."""
        node.is_evicted = True
        t0 = self.world.tick(20)
        held = [job for job in self.world.jobs.values() if job.holder == node.name]
        for job in held:
            self.world.take_back(job)
        self.world.say("reaper", "reap", "ok", count=len(held), t0=t0)

    def take_back(self, job: Job) -> None:
        if job.state == "cancelling":
            self.world.finish(job, "cancelled")
        elif job.state == "held":
            self.world.put(job, front=True)

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
        self.world.fence += 1
        t = self.world.tick(30)
        for level in self.world.ready.values():
            while level and len(worker.held) < self.world.shape.batch:
                job = level.popleft()
                job.state, job.fence, job.holder = "held", self.world.fence, node.name
                worker.held.append((job, self.world.fence))
                self.world.say(
                    node.name, "lease", "ok", job=job.id, fence=self.world.fence, node=node.name, boot=node.boot, t0=t0, t=t
                )

    def enter(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        attempt = job.failures + job.crashes + 1
        who = f"w{worker.pid}"
        names = {"job": job.id, "key": job.key, "ek": f"e-{job.id}", "node": node.name}
        self.world.say(who, "run", "ok", **names, fence=fence, attempt=attempt, pid=worker.pid)
        worker.step = "effect"

    def effect(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        shape, roll = self.world.shape, self.rng.random()
        worker.step, worker.outcome = "end", "return"
        for outcome, rate in (("raise", shape.raises), ("snooze", shape.snoozes), ("discard", shape.discards)):
            if roll < rate:
                worker.outcome = outcome
                return
            roll -= rate
        if roll < shape.crashes:
            self.crash(node, worker, job, fence)
            return
        highest, key = self.sink_fences.get(job.id, 0), f"e-{job.id}"
        answer = "stale" if fence < highest else "duplicate" if key in self.sink_effects else ""
        self.sink_fences[job.id] = max(fence, highest)
        self.sink_effects.add(key)
        self.world.say("sink", "effect", "fail" if answer else "ok", job=job.id, fence=fence, ek=key, val=answer)

    def leave(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        is_well = worker.outcome == "return"
        val = "" if is_well else worker.outcome
        self.world.say(f"w{worker.pid}", "end", "ok" if is_well else "fail", job=job.id, fence=fence, pid=worker.pid, val=val)
        worker.step = "report"

    def report_kind(self, job: Job, outcome: str) -> str:
        if outcome == "raise":
            return "nack" if job.failures < self.world.shape.max_retries else "dead"
        return {"return": "ack", "snooze": "nack", "discard": "dead"}[outcome]

    def invoke(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        kind = self.world.report_kind(job, worker.outcome)
        worker.invoked_at = self.world.tick(20)
        self.world.say(node.name, kind, "invoke", job=job.id, fence=fence, node=node.name, t=worker.invoked_at)
        worker.step = "answer"

    def answer(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        kind = self.world.report_kind(job, worker.outcome)
        is_held = job.fence == fence
        due = self.world.now + 50_000_000 if kind == "nack" and job.state == "held" else 0
        extra: dict[str, Any] = {"due": due} if kind == "nack" else {}
        if kind == "nack" and worker.outcome == "snooze":
            extra["val"] = "snooze"
        names = {"job": job.id, "fence": fence, "node": node.name, "t0": worker.invoked_at}
        self.world.say(node.name, kind, "ok" if is_held else "fail", **names, **extra)
        if is_held:
            self.world.apply(job, fence, worker.outcome, due)
        worker.held.popleft()
        worker.step = "run"

    # Faults

    def crash(self, node: Node, worker: Worker, job: Job, fence: int) -> None:
        self.world.say(f"w{worker.pid}", "end", "info", job=job.id, fence=fence, pid=worker.pid, val="crash")
        self.replace(node, worker)

    def kill_worker(self) -> None:
        node = self.world.pick(node for node in self.nodes)
        if not node.paused_at:
            worker = self.world.pick(node.workers)
            self.world.say("nemesis", "fault", "ok", t1=self.world.now + 30_000, kind="kill", val="worker", pids=[worker.pid])
            self.world.tick()
            self.replace(node, worker)

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
        pids = [worker.pid for worker in node.workers]
        for worker in node.workers:
            # Its report was under way: the store may have carried it out, and nobody heard the answer.
            if (
                worker.held
                and worker.step == "answer"
                and worker.held[0][0].fence == worker.held[0][1]
                and self.world.chance(0.5)
            ):
                job, fence = worker.held[0]
                self.world.apply(job, fence, worker.outcome, self.world.now)
        self.world.say("nemesis", "fault", "ok", t1=self.world.now + 30_000, kind="kill", val="node", pids=pids, node=node.name)
        self.world.tick()
        node.boot += 1
        for job in self.world.jobs.values():
            if job.holder == node.name:
                self.world.take_back(job)
        self.start(node)

    def pause(self) -> None:
        node = self.world.pick(self.nodes)
        if sum(bool(other.paused_at) for other in self.nodes) == 0:
            node.paused_at = self.world.now

    def wake(self, node: Node) -> None:
        """It goes on where it stood: what it started is finished and refused, what it held unstarted is dropped."""
        if not node.paused_at:
            return
        pids = [worker.pid for worker in node.workers]
        fields: dict[str, Any] = {"t": node.paused_at, "t1": self.world.now, "kind": "stop", "pids": pids, "node": node.name}
        self.world.say("nemesis", "fault", "ok", **fields)
        if node.is_evicted:
            self.world.say(node.name, "renew", "fail", node=node.name, boot=node.boot, t0=self.world.now)
            for worker in node.workers:
                keep = 1 if worker.step != "run" else 0
                worker.held = deque(list(worker.held)[:keep])
        node.paused_at, node.is_evicted = 0, False

