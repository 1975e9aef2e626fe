"""Those who ask: submits and repeats, cancels, promotes, runs again, schedules; and the scans that look at it all."""

from __future__ import annotations

from typing import Any

from .world import FINISHED, Job, World

NODES = ("n1", "n2")
"""Who may lead."""


class Clients:
    def __init__(self, world: World) -> None:
        self.world = world
        self.submitted = self.token = 0

    def submit(self) -> None:
        world = self.world
        mine = [job for job in world.jobs.values() if job.key.startswith("k")]
        if mine and world.chance(world.shape.repeats):
            self.repeat(world.pick(mine))
            return
        self.submitted += 1
        job = Job(f"j{self.submitted:05}", f"k{self.submitted:05}", priority=world.rng.choice((1, 5, 5, 10)))
        if world.chance(world.shape.delays):
            job.due = job.asked_due = world.now + world.rng.randint(1, 20_000) * 1_000_000
        world.say("cli", "submit", "invoke", **self.wanted(job))
        if world.chance(world.shape.refusals):
            world.say("cli", "submit", "fail", **self.wanted(job), why="full")
        elif world.chance(world.shape.unknowns):
            if world.chance(0.5):
                world.store(job)
            world.say("cli", "submit", "info", **self.wanted(job), why="time-out")
        else:
            world.store(job)
            world.say("cli", "submit", "ok", **self.wanted(job), level="disk")

    def wanted(self, job: Job) -> dict[str, Any]:
        retries = self.world.shape.max_retries
        return {"job": job.id, "key": job.key, "priority": job.priority, "due": job.asked_due, "max_retries": retries}

    def repeat(self, job: Job) -> None:
        self.world.say("cli", "submit", "invoke", **self.wanted(job))
        self.world.say("cli", "submit", "ok", **self.wanted(job), existed=True)

    def cancel(self) -> None:
        world = self.world
        if not world.jobs:
            return
        job = world.pick(world.jobs.values())
        world.say("cli", "cancel", "invoke", job=job.id)
        answer = {"held": "cancelling", "cancelling": "cancelling"}.get(job.state, "finished")
        if job.state in ("ready", "later"):
            answer = "cancelled"
            world.finish(job, "cancelled")
        elif job.state == "held":
            job.state = "cancelling"
        if world.chance(0.2):
            world.say("cli", "cancel", "info", job=job.id)
        else:
            world.say("cli", "cancel", "ok", job=job.id, val=answer)

    def requeue(self) -> None:
        world = self.world
        finished = [job for job in world.jobs.values() if job.state in FINISHED]
        if finished:
            job = world.pick(finished)
            world.say("cli", "requeue", "invoke", job=job.id)
            job.failures = job.crashes = 0
            job.due = 0
            world.put(job)
            world.say("cli", "requeue", "ok", job=job.id)

    def promote(self) -> None:
        world = self.world
        later = [job for job in world.jobs.values() if job.state == "later"]
        if later:
            job = world.pick(later)
            world.say("cli", "promote", "invoke", job=job.id)
            job.due = 0
            world.put(job)
            world.say("cli", "promote", "ok", job=job.id)

    def schedule(self) -> None:
        """A new leader, or a tick that the present one turns into a job."""
        world = self.world
        if self.token == 0 or world.chance(0.3):
            self.token += 1
            world.say("n1", "lead", "ok", node=world.pick(NODES), tok=self.token, t0=world.now)
            world.tick()
            return
        self.submitted += 1
        key = f"nightly@{self.submitted}"
        world.say("scheduler", "tick", "ok", key=key, t1=world.now + 1_000_000)
        world.say("n1", "duty", "ok", node="n1", tok=self.token, t0=world.now, val="schedule")
        world.say("n2", "duty", "fail", node="n2", tok=self.token - 1, t0=world.now, val="schedule")
        world.store(Job(f"j{self.submitted:05}", key))
        world.tick(4_000)

    def scan(self, *, drained: bool = False) -> None:
        world = self.world
        words = {"held": "leased", "cancelling": "leased", "later": "delayed"}
        counts = dict.fromkeys(("ready", "delayed", "leased", "done", "dead", "cancelled"), 0)
        for job in world.jobs.values():
            counts[words.get(job.state, job.state)] += 1
        world.say("scan", "scan", "ok", t0=world.now, drained=drained, metrics=dict(counts), **counts)

    def final_scan(self) -> None:
        world = self.world
        world.tick(1_000)
        for job in world.jobs.values():
            names = {"job": job.id, "key": job.key, "retries": job.failures, "attempts": job.attempts}
            world.say("scan", "final", "ok", val=job.state, **names)
        self.scan(drained=True)
