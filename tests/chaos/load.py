"""The producers of a chaos run, a process of their own: `python -m tests.chaos.load --address A --folder F --seed N`, until stdin ends.

Each producer is a thread with a Client and a history of its own. It submits at a rate that keeps the workers busy for most of the time,
sometimes repeats itself, cancels, looks, waits, promotes and runs again. The first one is impatient: its calls give up while a node is
down, so that outcomes stay unknown; the others wait for the node to come back. With --quick only a submit of new ids waits so: all else may
need records that are away, and must not hold up the load.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sims.history import Recorder
from sims.recording import final_word
from tests.chaos.jobs import MEAN_MS, SLOTS, Wish, make_wish
from zjp import Client
from zjp.client.blocking import Job
from zjp.client.options import JobRequest
from zjp.errors import JobRejected, NotFound, OutcomeUnknown, Unavailable, ZjpError
from zjp.job import FINAL_STATES, format_id, make_id
from zjp.wire.messages import SubmitKind

PRODUCERS = 3
IMPATIENT_S, PATIENT_S, QUICK_S = 1.0, 20.0, 2.0
BACKLOG_MAX = 150
"""More ready jobs than this, and the producers pause: a run measures faults, not queueing."""
BACKLOG_LOOK_S = 0.3
REMEMBERED = 300


class Producer(threading.Thread):
    """The `index`-th of the run that `options` describe, until `ends`."""

    def __init__(self, index: int, options: argparse.Namespace, ends: threading.Event) -> None:
        name = f"c{index}"
        super().__init__(name=name)
        self._addresses, self._stretch, self._ends = options.address.split(","), options.stretch, ends
        self._draw = random.Random(options.seed * PRODUCERS + index)
        self._draw.shuffle(self._addresses)
        self._per_s = SLOTS * 1000 / (MEAN_MS * options.stretch) * options.busy / PRODUCERS
        self._timeout_s = PATIENT_S if index else IMPATIENT_S
        self._quick_s = min(self._timeout_s, QUICK_S) if options.quick else self._timeout_s
        self._session = self._draw.getrandbits(42)
        self._recorder = Recorder(options.folder / "h" / f"{name}.jsonl", name)
        self._count = 0
        self._submitted: deque[tuple[str, Wish, dict[str, Any]]] = deque(maxlen=REMEMBERED)
        """(id, what was asked, its own id and keys) of acknowledged jobs."""
        self._due_cancels: deque[tuple[float, str]] = deque()
        self._dead: deque[str] = deque(maxlen=REMEMBERED)
        self._asked = 0
        self._looked_at = 0.0
        self._is_full = False
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with (
                Client(*self._addresses, timeout=self._timeout_s) as self._patient,
                Client(*self._addresses, timeout=self._quick_s) as self._client,
            ):
                while not self._ends.wait(self._pause_s()):
                    self._act()
        except BaseException as fault:
            self.failure = fault
            raise
        finally:
            self._recorder.close()

    # ── what to do next ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pause_s(self) -> float:
        """After what was asked last; some jitter, so that producers do not march in step."""
        asked, self._asked = self._asked, 0
        return asked / self._per_s * self._draw.uniform(0.5, 1.5) if asked else 0.002

    def _act(self) -> None:
        if self._due_cancels and self._due_cancels[0][0] <= time.monotonic():
            self._cancel(self._due_cancels.popleft()[1])
            return
        deeds: list[tuple[Callable[[], None], int]] = [(self._submit_one, 50), (self._submit_many, 18)]
        if self._submitted:
            deeds += [(self._repeat, 8), (self._cancel_any, 4), (self._look, 8), (self._wait, 4), (self._promote, 2)]
        if self._dead:
            deeds.append((self._run_again, 2))
        (deed,) = self._draw.choices([deed for deed, _ in deeds], [share for _, share in deeds])
        if deed in (self._submit_one, self._submit_many) and self._has_backlog():
            self._asked = 1
            return
        deed()

    def _has_backlog(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at > BACKLOG_LOOK_S:
            try:
                self._is_full = sum(count.pending for count in self._client.queues()) > BACKLOG_MAX
            except ZjpError:  # it looks again next time
                return False
            self._looked_at = now
        return self._is_full

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _submit_one(self) -> None:
        self._asked = 1
        wish = self._wish()
        kinds = ("", "id", "idempotency_key", "unique_key")
        (kind,) = self._draw.choices(kinds, (70, 20, 6, 4))
        own: dict[str, Any] = {}
        if kind == "id":
            own["id"] = format_id(make_id(time.time_ns() // 1_000_000, self._session, self._count))
        elif kind == "idempotency_key":
            own["idempotency_key"] = wish.key
        elif kind == "unique_key":
            own["unique_key"] = f"u{self._draw.randrange(4)}"
        self._submit(wish, own)

    def _submit(self, wish: Wish, own: dict[str, Any]) -> None:
        fields = self._fields(wish)
        if "id" in own:
            fields["job"] = own["id"]
        self._recorder.write("submit", "invoke", **fields)
        try:
            client = self._client if own else self._patient
            job = client.submit(wish.type, wish.payload, **wish.options, **own)
        except (JobRejected, Unavailable) as fault:
            self._recorder.write("submit", "fail", **fields, why=repr(fault)[:300])
        except OutcomeUnknown:
            self._recorder.write("submit", "info", **fields)
        else:
            self._answered(fields, wish, own, job)

    def _answered(self, fields: dict[str, Any], wish: Wish, own: dict[str, Any], job: Job) -> None:
        if job.kind is SubmitKind.UNIQUE:
            self._recorder.write("submit", "fail", **fields, why=f"unique key held by {job.id}")
            return
        level = job.level.value if job.level is not None else ""
        self._recorder.write("submit", "ok", **{**fields, "job": job.id}, level=level, existed=job.existed)
        self._submitted.append((job.id, wish, own))
        if wish.is_cancelled and not job.existed:
            self._due_cancels.append((time.monotonic() + self._draw.uniform(0.0, 0.3), job.id))

    def _submit_many(self) -> None:
        wishes = [self._wish() for _ in range(self._draw.randrange(2, 20))]
        self._asked = len(wishes)
        fields = [self._fields(wish) for wish in wishes]
        self._say("submit", "invoke", fields)
        try:
            jobs = self._patient.submit_many([JobRequest(wish.type, wish.payload, wish.options) for wish in wishes])  # type: ignore[arg-type]
        except (JobRejected, Unavailable) as fault:
            self._say("submit", "fail", [{**one, "why": repr(fault)[:300]} for one in fields])
        except OutcomeUnknown:
            self._say("submit", "info", fields)
        else:
            for one, wish, job in zip(fields, wishes, jobs, strict=True):
                self._answered(one, wish, {}, job)

    def _repeat(self) -> None:
        """The same again, by id or idempotency key: it must be recognised, also when the job is finished."""
        known = [(wish, own) for _, wish, own in self._submitted if own.keys() & {"id", "idempotency_key"}]
        if known:
            self._submit(*self._draw.choice(known))

    def _wish(self) -> Wish:
        self._count += 1
        return make_wish(self._draw, f"{self.name}-{self._count}", self._stretch)

    def _fields(self, wish: Wish) -> dict[str, Any]:
        options = wish.options
        fields = {"key": wish.key, "queue": options["queue"], "priority": options["priority"], "max_retries": wish.max_retries}
        if wish.delay_ms:
            fields["due"] = time.monotonic_ns() + wish.delay_ms * 1_000_000
        return fields

    # ── all else ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _any_job(self) -> str:
        return self._draw.choice(self._submitted)[0]

    def _cancel_any(self) -> None:
        self._cancel(self._any_job())

    def _cancel(self, job: str) -> None:
        self._deed("cancel", job, lambda: self._client.cancel(job).value)

    def _promote(self) -> None:
        delayed = [job for job, wish, _ in self._submitted if wish.delay_ms]
        if delayed:
            job = self._draw.choice(delayed)
            self._deed("promote", job, lambda: self._client.promote(job))

    def _run_again(self) -> None:
        job = self._dead.popleft()
        self._deed("requeue", job, lambda: self._client.retry(job))

    def _deed(self, f: str, job: str, deed: Callable[[], str | None]) -> None:
        self._recorder.write(f, "invoke", job=job)
        try:
            val = deed()
        except NotFound:
            self._recorder.write(f, "fail", job=job)
            self._not_found(job)
        except (JobRejected, Unavailable):
            self._recorder.write(f, "fail", job=job)
        except OutcomeUnknown:
            self._recorder.write(f, "info", job=job)
        else:
            self._recorder.write(f, "ok", job=job, **({"val": val} if val else {}))

    def _look(self) -> None:
        self._see(lambda job: self._client.get(job))

    def _wait(self) -> None:
        self._see(lambda job: self._client.wait(job, timeout=self._draw.uniform(0.05, 0.5)))

    def _see(self, look: Callable[[str], Job]) -> None:
        job = self._any_job()
        try:
            status = look(job).status
        except NotFound:
            self._not_found(job)
        except (TimeoutError, ZjpError):
            return
        else:
            if status in FINAL_STATES:
                self._recorder.write("seen", "ok", job=job, val=final_word(status))
            if final_word(status) == "dead":
                self._dead.append(job)

    def _not_found(self, job: str) -> None:
        """It was acknowledged, so every look-up must find it: the judge sees a client that was told something untrue."""
        self._recorder.write("seen", "ok", job=job, val="unknown")

    def _say(self, f: str, type: Any, each: list[dict[str, Any]]) -> None:
        self._recorder.append([self._recorder.line(f, type, **fields) for fields in each])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.load")
    parser.add_argument("--address", required=True, help="of one node, or of several with commas in between")
    parser.add_argument("--quick", action="store_true", help="only submits of new jobs wait for nodes that do not answer")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", type=float, default=0.45, help="share of the slots' time that is asked for")
    parser.add_argument("--stretch", type=float, default=1.0, help="factor on how long jobs take")
    options = parser.parse_args()
    ends = threading.Event()
    producers = [Producer(index, options, ends) for index in range(PRODUCERS)]
    for producer in producers:
        producer.start()
    sys.stdin.read()
    ends.set()
    for producer in producers:
        producer.join()
    return 1 if any(producer.failure for producer in producers) else 0


if __name__ == "__main__":
    sys.exit(main())
