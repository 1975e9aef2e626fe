"""Which ids of a request may be repeats, told without looking anything up. Pure.

A producer session numbers its jobs: the last 4 bytes of an id count up, bytes 6 to 12 name the session. So an id above the highest of its
session is new, and so is a session never seen. At or below the highest it is *suspected*: it may be a repeat, or the late repeat of
a batch that never was stored (its deadline passed, the next batch came through first). The store then looks it up.

Sessions are forgotten after the window. Then an old id would pass as a new session's, so ids that claim to be older than the window, or
not younger than what was forgotten (producers' clocks differ), are suspected too. Ids that are not made so are always suspected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..job import JobSpec

SESSIONS_MAX = 100_000
"""Some 20 MB. Beyond, the oldest are forgotten early, which costs look-ups, not correctness."""


class Sessions:
    def __init__(self, window_s: float) -> None:
        self._window_ms = int(window_s * 1000)
        self._last: dict[bytes, bytes] = {}
        self._seen_ms: dict[bytes, int] = {}
        self.floor_ms = 0
        """The youngest id among the sessions forgotten."""

    def load(self, rows: Iterable[tuple[bytes, bytes, int]], floor_ms: int) -> None:
        self.floor_ms = floor_ms
        for session, last_id, seen_ms in rows:
            self._last[session] = last_id
            self._seen_ms[session] = seen_ms

    def judge(self, specs: Sequence[JobSpec], now_ms: int) -> tuple[list[int], dict[bytes, bytes]]:
        """(indexes of those suspected, session -> its last id as it is now, for the request to store)."""
        if specs and (new := self._judge_run(specs, now_ms)) is not None:
            return [], new
        suspects: list[int] = []
        tops: dict[bytes, bytes] = {}
        session, top, is_ours = b"", b"", False
        for index, spec in enumerate(specs):
            job_id = spec.id
            if job_id[6:12] != session:
                if is_ours:
                    tops[session] = top
                session = job_id[6:12]
                is_ours = session[0] >> 4 == 7 and session[2] >> 6 == 2
                top = tops.get(session) or self._last.get(session, b"")
            if not is_ours or (spec.options is not None and spec.options.caller_id):
                suspects.append(index)
            elif not top:
                top = job_id
                if self._may_be_forgotten(job_id, now_ms):
                    suspects.append(index)
            elif job_id[12:] > top[12:]:
                top = job_id
            else:
                suspects.append(index)
        if is_ours and top:
            tops[session] = top
        for session, top in tops.items():
            if top:
                self._last[session] = top
                self._seen_ms[session] = now_ms
        return suspects, {session: top for session, top in tops.items() if top}

    def _judge_run(self, specs: Sequence[JobSpec], now_ms: int) -> dict[bytes, bytes] | None:
        """The usual request, told as a whole: all its ids are of one session, and each is above the one before and those seen.
        None: it is another, or the session is new."""
        numbers = [spec.id[6:] for spec in specs]
        last = specs[-1].id
        session = last[6:12]
        seen = self._last.get(session)
        if seen is None or numbers[0] <= seen[6:] or not numbers[0].startswith(session):
            return None
        # In order, what lies between two numbers of a session is of that session, too.
        if sorted(numbers) != numbers or len(set(numbers)) < len(numbers):
            return None
        if [spec for spec in specs if spec.options is not None]:
            return None
        self._last[session], self._seen_ms[session] = last, now_ms
        return {session: last}

    def _may_be_forgotten(self, job_id: bytes, now_ms: int) -> bool:
        made_ms = int.from_bytes(job_id[:6], "big")
        return made_ms <= self.floor_ms or made_ms < now_ms - self._window_ms // 2

    def prune(self, now_ms: int) -> Mapping[bytes, int]:
        """Forget sessions not seen for the window, and the oldest beyond SESSIONS_MAX. Returns them (-> when last seen)."""
        limit_ms = now_ms - self._window_ms
        if len(self._seen_ms) > SESSIONS_MAX:
            limit_ms = max(limit_ms, sorted(self._seen_ms.values())[-SESSIONS_MAX])
        gone = {session: seen_ms for session, seen_ms in self._seen_ms.items() if seen_ms < limit_ms}
        for session in gone:
            last_id = self._last.pop(session)
            del self._seen_ms[session]
            self.floor_ms = max(self.floor_ms, int.from_bytes(last_id[:6], "big"))
        return gone
