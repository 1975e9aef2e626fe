"""Those who ask: submits and repeats, cancels, promotes, runs again, schedules; and the scans that look at it all."""

from __future__ import annotations

from typing import Any

from .world import FINISHED, Job, World


class Clients:
    def __init__(self, world: World) -> None:
        self.world = world
        self.submitted = self.token = 0

    def submit(self) -> None:
        mine = [job for job in self.world.jobs.values() if job.key.startswith("k")]
        if mine and self.world.chance(self.world.shape.repeats):
            self.repeat(self.world.pick(mine))
            return
        self.submitted += 1
        job = Job(f"j{self.submitted:05}", f"k{self.submitted:05}", priority=self.rng.choice((1, 5, 5, 10)))
        if self.world.chance(self.world.shape.delays):
            job.due = job.asked_due = self.world.now + self.rng.randint(1, 20_000) * 1_000_000
        self.world.say("cli", "submit", "invoke", **self.wanted(job))
        if self.world.chance(self.world.shape.refusals):
            self.world.say("cli", "submit", "fail", **self.wanted(job), why="full")
        elif self.world.chance(self.world.shape.unknowns):
            if self.world.chance(0.5):
                self.world.store(job)
            self.world.say("cli", "submit", "info", **self.wanted(job), why="time-out")
        else:
            self.world.store(job)
            self.world.say("cli", "submit", "ok", **self.wanted(job), level="disk")

    def wanted(self, job: Job) -> dict[str, Any]:
        retries = self.world.shape.max_retries
        return {"job": job.id, "key": job.key, "priority": job.priority, "due": job.asked_due, "max_retries": retries}

    def repeat(self, job: Job) -> None:
        self.world.say("cli", "submit", "invoke", **self.wanted(job))
        self.world.say("cli", "submit", "ok", **self.wanted(job), existed=True)

    def cancel(self) -> None:
        if not self.world.jobs:
            return
        job = self.world.pick(self.world.jobs.values())
        self.world.say("cli", "cancel", "invoke", job=job.id)
        answer = {"held": "cancelling", "cancelling": "cancelling"}.get(job.state, "finished")
        if job.state in ("ready", "later"):
            answer = "cancelled"
            self.world.finish(job, "cancelled")
        elif job.state == "held":
            job.state = "cancelling"
        if self.world.chance(0.2):
            self.world.say("cli", "cancel", "info", job=job.id)
        else:
            self.world.say("cli", "cancel", "ok", job=job.id, val=answer)

    def requeue(self) -> None:
        finished = [job for job in self.world.jobs.values() if job.state in ("done", "dead", "cancelled")]
        if finished:
            job = self.world.pick(finished)
            self.world.say("cli", "requeue", "invoke", job=job.id)
            job.failures = job.crashes = 0
            job.due = 0
            self.world.put(job)
            self.world.say("cli", "requeue", "ok", job=job.id)

    def promote(self) -> None:
        later = [job for job in self.world.jobs.values() if job.state == "later"]
        if later:
            job = self.world.pick(later)
            self.world.say("cli", "promote", "invoke", job=job.id)
            job.due = 0
            self.world.put(job)
            self.world.say("cli", "promote", "ok", job=job.id)

    def schedule(self) -> None:
        """A new leader, or a tick that the present one turns into a job."""
        if self.token == 0 or self.world.chance(0.3):
            self.token += 1
            self.world.say("n1", "lead", "ok", node=self.world.pick(self.nodes).name, tok=self.token, t0=self.world.now)
            self.world.tick()
            return
        self.submitted += 1
        key = f"nightly@{self.submitted}"
        self.world.say("scheduler", "tick", "ok", key=key, t1=self.world.now + 1_000_000)
        self.world.say("n1", "duty", "ok", node="n1", tok=self.token, t0=self.world.now, val="schedule")
        self.world.say("n2", "duty", "fail", node="n2", tok=self.token - 1, t0=self.world.now, val="schedule")
        self.world.store(Job(f"j{self.submitted:05}", key))
        self.world.tick(4_000)

    def scan(self, *, drained: bool = False) -> None:
        words = {"held": "leased", "cancelling": "leased", "later": "delayed"}
        counts = dict.fromkeys(("ready", "delayed", "leased", "done", "dead", "cancelled"), 0)
        for job in self.world.jobs.values():
            counts[words.get(job.state, job.state)] += 1
        self.world.say("scan", "scan", "ok", t0=self.world.now, drained=drained, metrics=dict(counts), **counts)

    def final_scan(self) -> None:
        self.world.tick(1_000)
        for job in self.world.jobs.values():
            names = {"job": job.id, "key": job.key, "retries": job.failures, "attempts": job.attempts}
            self.world.say("scan", "final", "ok", val=job.state, **names)
        self.scan(drained=True)
