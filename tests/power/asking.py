"""Those who give a node work until its power goes: each a thread with a Client, and all that it is told goes into the ledger.

Submits go out one by one and in requests of up to a hundred; every second request has ids made here, so that it can be said again after the
cut. One asker waits for its jobs and hears how they end; those that submit one by one cancel some.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from tests.power.ledger import Ledger
from zjp import Client
from zjp.client.blocking import Job
from zjp.errors import JobCancelled, JobFailed, ZjpError
from zjp.job import format_id, make_id
from zjp.wire.messages import CancelKind

TIMEOUT_S = 1.0
"""For one call; a node without power answers none, so a run waits so long after each cut."""
REQUEST_MAX = 100
PAUSE_MAX_S = 0.02
ASKED_MAX = 8_000
"""Jobs that one asker submits before a cut; more than it comes to before the latest one, so that something is under way at each."""
LOOK_EVERY_S = 0.02
"""At the queues, which tell nobody that they are empty."""
REPEATED_MAX = 5
WAITED_FOR = 10
DELAY_MAX_S = 1.5
KINDS = (("draw", 70), ("rest", 10), ("refuse", 5), ("later", 15))
CANCELLED_SHARE = 0.5
CANCELLED = "cancelled"


def outcome_of(job: Job) -> str:
    """Of a look at a job; empty while it has not ended."""
    if not job.is_final:
        return ""
    try:
        return f"{job.status.value} {job.result}"
    except JobCancelled:
        return CANCELLED
    except JobFailed as end:
        return f"{job.status.value} {end}"


class Asker(threading.Thread):
    """Until `ends`. What went wrong with it, other than the cut, is in `failure`."""

    def __init__(self, name: str, address: str, ledger: Ledger, seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self.ends = threading.Event()
        self.failure: BaseException | None = None
        self._address, self._ledger = address, ledger
        self._draw = random.Random(f"{seed} {name}")
        self._session = self._draw.getrandbits(42)
        self._counter = 0
        self._asked = 0

    def run(self) -> None:
        try:
            with Client(self._address, timeout=TIMEOUT_S) as self._client:
                while not self.ends.wait(self._draw.uniform(0.0, PAUSE_MAX_S)) and self._asked < ASKED_MAX:
                    self._ask()
        except BaseException as fault:
            self.failure = fault

    def _ask(self) -> None:
        raise NotImplementedError

    def _jobs(self, count: int, *, has_ids: bool) -> list[dict[str, Any]]:
        self._asked += count
        return [self._job(has_ids) for _ in range(count)]

    def _job(self, has_id: bool) -> dict[str, Any]:
        (kind,) = self._draw.choices([kind for kind, _ in KINDS], [share for _, share in KINDS])
        job: dict[str, Any] = {"type": kind, "priority": self._draw.randrange(1, 11)}
        if kind == "rest":
            job["payload"] = {"ms": self._draw.uniform(1.0, 30.0)}
        elif kind == "later":
            job |= {"type": "draw", "delay": self._draw.uniform(0.1, DELAY_MAX_S)}
        if has_id:
            self._counter += 1
            job["id"] = format_id(make_id(time.time_ns() // 1_000_000, self._session, self._counter))
        return job

    def _submit(self, jobs: Sequence[dict[str, Any]]) -> list[Job]:
        """Empty when no answer came."""
        ids = [job["id"] for job in jobs if "id" in job]
        self._ledger.asks(ids)
        try:
            made = self._client.submit_many(jobs)
        except (ZjpError, TimeoutError):
            if ids:
                self._ledger.leaves_open(ids)
            return []
        finally:
            if ids:
                self._ledger.repeatable.append(jobs)
        self._ledger.acknowledges([job.id for job in made])
        return made


class Many(Asker):
    def _ask(self) -> None:
        count = min(REQUEST_MAX, 1 + int(self._draw.expovariate(1 / 30)))
        self._submit(self._jobs(count, has_ids=self._draw.random() < 0.5))


class OneByOne(Asker):
    """Cancels some of what is to run later: acknowledged, it never starts."""

    def _ask(self) -> None:
        jobs = self._jobs(1, has_ids=self._draw.random() < 0.5)
        made = self._submit(jobs)
        if made and "delay" in jobs[0] and self._draw.random() < CANCELLED_SHARE:
            self._cancel(made[0])

    def _cancel(self, job: Job) -> None:
        try:
            if job.cancel() is CancelKind.CANCELLED:
                self._ledger.tells({job.id: CANCELLED})
        except (ZjpError, TimeoutError):
            pass  # nobody was told


class Waiting(Asker):
    def _ask(self) -> None:
        made = self._submit([{"type": "draw", "priority": 10}] * WAITED_FOR)
        try:
            for job in self._client.as_completed(made, TIMEOUT_S):
                self._ledger.tells({job.id: outcome_of(job)})
        except (ZjpError, TimeoutError):
            pass  # nobody was told


def askers(address: str, ledger: Ledger, seed: str) -> list[Asker]:
    """Not started."""
    kinds: dict[str, type[Asker]] = {"many1": Many, "many2": Many, "one1": OneByOne, "one2": OneByOne, "waiting": Waiting}
    return [kind(name, address, ledger, seed) for name, kind in kinds.items()]


def look(address: str, jobs: Sequence[str]) -> dict[str, str]:
    """job -> outcome, empty while it has none; those that are not there are left out."""
    with Client(address) as client:
        return {job.id: outcome_of(job) for job in client.get_many(jobs) if job is not None}


def say_again(address: str, ledger: Ledger) -> list[str]:
    """The last requests with ids of their own: what is there must be recognised, what is not must be taken. Sentences, empty: so it was."""
    wrong = []
    with Client(address) as client:
        for request in ledger.repeatable[-REPEATED_MAX:]:
            ids = [job["id"] for job in request]
            there = {job.id for job in client.get_many(ids) if job is not None}
            made = client.submit_many(request)
            ledger.acknowledges(ids)
            wrong += [f"{job.id} said again: existed {job.existed}" for job in made if job.existed != (job.id in there)]
    ledger.repeatable.clear()
    return wrong


def finish_all(address: str, jobs: Sequence[str], limit_s: float) -> None:
    """Until every one of these jobs has ended, and no queue holds any, also none that nobody knows of. Raises: TimeoutError."""
    end = time.monotonic() + limit_s
    with Client(address) as client:
        client.wait_all(jobs, limit_s)
        while left := [count for count in client.queues() if count.pending or count.running or count.scheduled or count.retrying]:
            if time.monotonic() > end:
                raise TimeoutError(f"all known jobs have ended, but after {limit_s:g} s the queues hold {left}")
            threading.Event().wait(LOOK_EVERY_S)
