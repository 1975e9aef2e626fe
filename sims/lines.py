"""What a history can say: one Struct per kind of line. The format's reference; how it is written and read is in history.py.

A line is one JSON object. Fields at their default are left out; fields nobody knows are ignored. All lines have

    f     the kind of line (the Struct's tag below)
    t     CLOCK_MONOTONIC in ns when it was written: one host, so one order over all processes
    p     the actor that wrote it: one actor, one file
    type  invoke  about to be asked (written before the request leaves)
          ok      it happened
          fail    it surely did not happen
          info    unknown: time-out, broken connection, the asker died. Never written as `fail`

Shared words: `job` is the job's id as text. `key` is what makes a repeat of a submit the same job; left out it is the job's id. `fence`
is the number of the claim that handed the job out; it rises with every claim, and all jobs of one claim share it. `pid` is the process
that runs the task. `node` and `boot` name one life of one node. `t0` is when the call began whose end is `t`: what it did happened in
between. Fields named `due` are in the same clock as `t`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

LineType = Literal["invoke", "ok", "fail", "info"]


class Line(msgspec.Struct, tag_field="f", kw_only=True, omit_defaults=True, gc=False):
    """What every line has."""

    t: int
    p: str
    type: LineType


# What clients say ----------------------------------------------------------------------------------------------------------------


class Submit(Line, tag="submit"):
    """invoke, then one of ok, fail, info. `due`: earliest moment it may start (0: at once), `max_retries` -1: unknown."""

    job: str = ""
    key: str = ""
    queue: str = "default"
    priority: int = 5
    due: int = 0
    max_retries: int = -1
    level: str = ""
    existed: bool = False
    why: str = ""


class Cancel(Line, tag="cancel"):
    """ok: `val` is cancelled (it never starts), cancelling (it runs; its end will be `cancelled`), finished or unknown."""

    job: str
    val: str = ""


class Requeue(Line, tag="requeue"):
    """A finished job is run again, by the user's wish (same id, next run)."""

    job: str


class Promote(Line, tag="promote"):
    """A delayed job is made ready before it is due, by the user's wish."""

    job: str


class Seen(Line, tag="seen"):
    """ok: a client was told that the job is finished, as `val`: done, dead or cancelled."""

    job: str
    val: str


class AttemptSeen(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One entry of a finished job's list of attempts; `start` and `end` as the product tells them (Unix ms)."""

    fence: int
    outcome: str
    node: str = ""
    worker: str = ""
    start: int = 0
    end: int = 0


class Final(Line, tag="final"):
    """ok: the scan after the drain, one line per job: `val` is done, dead, cancelled, or the name of a state that is none."""

    job: str
    val: str
    key: str = ""
    retries: int = 0
    attempts: list[AttemptSeen] = []


# What tasks say, in the worker process -------------------------------------------------------------------------------------------


class Run(Line, tag="run"):
    """ok: the task was entered. `ek`: key of the effect it will make, empty when it makes none."""

    job: str
    fence: int
    pid: int
    key: str = ""
    attempt: int = 0
    ek: str = ""
    node: str = ""


class End(Line, tag="end"):
    """How the task is about to leave.

    ok: it returns. fail: it raises, `val` is raise, snooze, discard or cancel. info: it will take its process down or never return (`val`
    crash, hang): from then on nothing that runs in that process can be relied on.
    """

    job: str
    fence: int
    pid: int
    val: str = ""


class Effect(Line, tag="effect"):
    """Written by the sink. ok: accepted. fail: refused, `val` is stale (a higher fence was seen) or duplicate (it has the effect)."""

    job: str
    fence: int
    ek: str
    val: str = ""


# What the queue store answered, where it is recorded -----------------------------------------------------------------------------


class Lease(Line, tag="lease"):
    """ok: the job was handed out under `fence`. Lines of one claim are written in the order of the claim."""

    job: str
    fence: int
    node: str = ""
    boot: int = 0
    t0: int = 0


class ClaimEnd(Line):
    """How a claimed job was reported back: invoke, then ok (it counts), fail (refused: the claim no longer held it) or info."""

    job: str
    fence: int
    node: str = ""
    boot: int = 0
    t0: int = 0
    val: str = ""


class Ack(ClaimEnd, tag="ack"):
    """Finished well; or with `val` cancelled, finished as cancelled."""


class Dead(ClaimEnd, tag="dead"):
    """Finished badly: no retry is left, or none is wanted."""


class Nack(ClaimEnd, tag="nack"):
    """To be tried again, not before `due`. `val` snooze: nothing was spent."""

    due: int = 0


class Release(ClaimEnd, tag="release"):
    """Handed back unspent."""


class Expire(ClaimEnd, tag="expire"):
    """ok: the store took the job back because the lease had run out (only stores that tell which)."""


class Open(Line, tag="open"):
    """ok: a life of a node began; claims of its former lives ended between `t0` and `t`. `lease_ms` 0: unknown."""

    node: str
    boot: int
    t0: int = 0
    lease_ms: int = 0


class Renew(Line, tag="renew"):
    """ok: all claims of that life hold for another lease. fail: the lease was lost, they are gone."""

    node: str
    boot: int
    t0: int = 0


class Reap(Line, tag="reap"):
    """ok: `count` jobs were taken back from lives whose lease had run out."""

    count: int
    t0: int = 0


class Lead(Line, tag="lead"):
    """ok: the store installed `node` as leader under the token `tok`."""

    node: str
    tok: int
    t0: int = 0


class Duty(Line, tag="duty"):
    """A leader's write carrying `tok`: ok accepted, fail refused by the store."""

    node: str
    tok: int
    t0: int = 0
    val: str = ""


# What the runner of the experiment says ------------------------------------------------------------------------------------------


class Fault(Line, tag="fault"):
    """ok: something was done to the system from `t` to `t1` (a kill: just before and just after the signal).

    `kind`: kill, stop (paused and woken), cut (network), store (store down or slow), drain (told to stop), clock. Faults of clock and store
    excuse nothing. `pids` and `node` say who was hit; with neither, all were. A killed node: its name, its pid and those of its workers.
    """

    t1: int
    kind: str
    val: str = ""
    pids: list[int] = []
    node: str = ""


class Scan(Line, tag="scan"):
    """ok: jobs by state as one consistent read of the store (and records) found them. `metrics`: the same as the metrics tell it."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    done: int = 0
    dead: int = 0
    cancelled: int = 0
    t0: int = 0
    drained: bool = False
    metrics: dict[str, int] = {}


class Tick(Line, tag="tick"):
    """ok: a schedule is due at `t`; by `t1` exactly one job with this `key` must have come of it, if a leader stood all the time."""

    key: str
    t1: int


class Workload(Line, tag="workload"):
    """ok: what the checker must know of the experiment. `fifo`: no faults and one order is promised, so it is judged (C14)."""

    fifo: bool = False
    val: str = ""


KINDS: tuple[type[Line], ...] = (
    Submit, Cancel, Requeue, Promote, Seen, Final,
    Run, End, Effect,
    Lease, Ack, Dead, Nack, Release, Expire, Open, Renew, Reap, Lead, Duty,
    Fault, Scan, Tick, Workload,
)  # fmt: skip

AnyLine = (
    Submit | Cancel | Requeue | Promote | Seen | Final
    | Run | End | Effect
    | Lease | Ack | Dead | Nack | Release | Expire | Open | Renew | Reap | Lead | Duty
    | Fault | Scan | Tick | Workload
)  # fmt: skip


def kind_of(line_class: type[Line]) -> str:
    """The word that stands in `f`."""
    return str(line_class.__struct_config__.tag)


BY_KIND: dict[str, type[Line]] = {kind_of(line_class): line_class for line_class in KINDS}

FINAL_VALUES = frozenset({"done", "dead", "cancelled"})
