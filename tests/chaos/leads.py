"""A recorded store that also tells of the leadership: the lead and duty lines, by which C12 judges tokens.

A lead line stands for the first answer that names this node as installed under a token; the store's further answers to the same effect say
nothing new. Duties are the writes that the store judges by the token: ticks and figures, lives that are ended, and the lead's own renewal.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sims.lines import LineType
from sims.recording import RecordingStore
from zjp.job import JobSpec
from zjp.queue.store import Document, DocumentKind, Fired, Lead, Life, Reaped


class LeadRecordingStore(RecordingStore):
    _told = 0
    """The highest token under which this life of the node was installed."""

    async def claim_lead(self, owner: str, epoch: int, for_s: float, *, is_elected: bool = False) -> Lead:
        t0 = time.monotonic_ns()
        lead = await super().claim_lead(owner, epoch, for_s, is_elected=is_elected)
        if lead.is_of(owner, lead.epoch) and lead.epoch > self._told:
            self._told = lead.epoch
            self._recorder.write("lead", "ok", node=self._life.node, tok=lead.epoch, t0=t0)
        return lead

    async def renew_lead(self, owner: str, epoch: int, for_s: float) -> bool:
        t0 = time.monotonic_ns()
        is_renewed = await super().renew_lead(owner, epoch, for_s)
        self._say_duty("renew", epoch, t0, "ok" if is_renewed else "fail")
        return is_renewed

    async def fire(self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]) -> Fired:
        t0 = time.monotonic_ns()
        fired = await super().fire(owner, epoch, kind, document, jobs)
        self._say_duty(f"fire {document.name}", epoch, t0, "fail" if fired.refused_by is not None else "ok")
        return fired

    async def reap_dead(self, owner: str, epoch: int, life: Life, silent_s: float, limit: int) -> Reaped:
        t0 = time.monotonic_ns()
        reaped = await super().reap_dead(owner, epoch, life, silent_s, limit)
        self._say_duty(f"reap {life.node}:{life.boot}", epoch, t0, "fail" if reaped.refused_by is not None else "ok")
        return reaped

    def _say_duty(self, what: str, epoch: int, t0: int, type: LineType) -> None:
        self._recorder.write("duty", type, node=self._life.node, tok=epoch, t0=t0, val=what)
