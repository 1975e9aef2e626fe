"""Storing new jobs, and recognising repeats of old ones.

A request whose ids continue their session is stored by one script without any look-up. Else the script says that some are suspected, and
stores nothing; then they are looked for where a job moves through: in the queue, then in the records (finished.py). What is found nowhere
is sent again, together with the generation of its session: every store of suspected ids raises it, so that two requests with the same ids
cannot both find nothing and both store. While requests are under way the next ones gather and go in one script if all of them are new.
They do not wait for what is suspected, for which the records may have to be asked.

One id that a caller made makes all that came with it suspected. While the records do not answer, the script judges the others by
their sessions after all: a request is refused only for what may have finished.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from array import array
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from itertools import repeat
from operator import lt
from typing import Any
from weakref import WeakValueDictionary

from ...errors import InvalidJob, OutcomeUnknown, StoreUnavailable, Unavailable
from ...job import JobSpec, Options, StoredJob, check_repeat, key_conflict
from ...redis.packing import ID_BYTES, pairs
from ..finished import find_finished, is_noted
from ..layout import QUEUES_MAX
from ..store import FinishedLookup, SubmitKind, Submitted, outbox_full
from .deeds import unknown
from .layout import encode, is_finished, level_header, level_name, read_job, read_record
from .submits import Submits
from .turns import Turns

CALLER_WINDOW_MS = 24 * 3600 * 1000
"""How long a key or an id that a caller made is remembered."""
TRIES_MAX = 20
GATHERED_MAX = 1_000
GATHERED_BYTES_MAX = 4 << 20
NO_TURN = (b"", 0, 0)
"""In place of registration, number and room: nothing is handed over."""
MUST_BE_NEW = b""
"""In place of a session's generation: the ids must be above its highest counter."""
_NO_OPTIONS = Options()
CALLERS = b"caller"
"""The session of ids that callers made; a producer's is 6 bytes of its ids with the bits of the UUID layout, never these."""


class Suspected(Exception):
    """Some ids may be repeats; nothing was stored, unless `is_in_doubt`."""

    def __init__(self, *, is_in_doubt: bool = False) -> None:
        self.is_in_doubt = is_in_doubt


class Again(Suspected):
    """What was found out about them may not hold any more."""


class Waiting:
    """A request that waits to be sent with others. `is_in_doubt`: it may be stored, and no answer has told so."""

    __slots__ = ("answer", "is_in_doubt", "specs")

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        self.specs = specs
        self.is_in_doubt = False
        self.answer: asyncio.Future[list[Submitted]] = asyncio.get_running_loop().create_future()


class Intake:
    """`note`: told of each answer's outbox and whether the node must be told that jobs are ready. `server_ms`: the server's time as far as
    known, for what is only shown.

    What hands new jobs over in the step that stores them: `turns` of this life's claims, of which such a submit is one; `offer`: this life
    while it is idle, its registration, and how many jobs it would take now; `hand(fence, jobs, is_idle)`, with whether there is room for
    more; `ask_again`: jobs may have been claimed that nobody was told of."""

    def __init__(
        self, submits: Submits, *, finished: FinishedLookup, dedup_s: float, limits: tuple[int, int], server_ms: Callable[[], int],
        note: Callable[[int, int, bool], None], turns: Turns, offer: Callable[[], tuple[bytes, bytes, int]],
        hand: Callable[[int, Sequence[StoredJob], bool], None], ask_again: Callable[[], None],
    ) -> None:  # fmt: skip
        self._submits, self._finished, self._server_ms, self._note = submits, finished, server_ms, note
        self._turns, self._offer, self._hand, self._ask_again = turns, offer, hand, ask_again
        self._window_ms = int(dedup_s * 1000)
        self._limits = limits
        self._headers: dict[tuple[str, int], tuple[bytes, bytes]] = {}
        self._waiting: list[Waiting] = []
        self._sending: asyncio.Future[None] | None = None
        """Until nothing is under way and nothing waits."""
        self._sender: asyncio.Task[None] | None = None
        self._suspected: set[asyncio.Task[None]] = set()
        self._turns_of_sessions: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        """At the same time a session's suspects would raise the generation for each other, and begin again and again."""

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        """The first one sends its own in the task that asks: to the lone job of an idle node a task of its own would cost 30 us."""
        waiting = Waiting(specs)
        if self._sending is not None:
            self._waiting.append(waiting)
        else:
            self._sending = asyncio.get_running_loop().create_future()
            try:
                await self._answer([waiting], specs)
            finally:
                if self._waiting:
                    self._sender = asyncio.create_task(self._send())
                else:
                    self._sent()
        return await waiting.answer

    def _sent(self) -> None:
        assert self._sending is not None
        self._sending.set_result(None)
        self._sending = None

    async def close(self) -> None:
        if self._sending is not None:
            await asyncio.wait([self._sending])
        if self._suspected:
            await asyncio.wait(self._suspected)

    def abandon(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
        for task in self._suspected:
            task.cancel()

    async def _send(self) -> None:
        """One call under way; what gathers meanwhile is the next."""
        try:
            while self._waiting:
                batch = self._gather()
                try:
                    await self._send_batch(batch)
                except BaseException:
                    for one in batch:
                        one.answer.cancel()
                    raise
        finally:
            self._sender = None
            self._sent()

    def _gather(self) -> list[Waiting]:
        batch, jobs, size = [self._waiting[0]], len(self._waiting[0].specs), 0
        for one in self._waiting[1:]:
            jobs += len(one.specs)
            size += sum([len(spec.payload) for spec in one.specs])
            if jobs > GATHERED_MAX or size > GATHERED_BYTES_MAX:
                break
            batch.append(one)
        del self._waiting[: len(batch)]
        return batch

    async def _send_batch(self, batch: Sequence[Waiting]) -> None:
        together = [spec for one in batch for spec in one.specs] if len(batch) > 1 else batch[0].specs
        if len(batch) > 1 and not _is_plain(together):
            for one in batch:
                await self._answer([one], one.specs)
        else:
            await self._answer(batch, together)

    async def _answer(self, batch: Sequence[Waiting], specs: Sequence[JobSpec]) -> None:
        try:
            answers = await self._store(specs)
        except Suspected as found:
            for one in batch:
                one.is_in_doubt = found.is_in_doubt
                self._look_for(one)
            return
        except Exception as fault:
            for one in batch:
                _refuse(one, fault)
            if isinstance(fault, OutcomeUnknown | StoreUnavailable):
                self._refuse_waiting(fault)
            return
        at = 0
        for one in batch:
            if not one.answer.done():
                one.answer.set_result(answers if len(batch) == 1 else answers[at : at + len(one.specs)])
            at += len(one.specs)

    def _refuse_waiting(self, fault: Exception) -> None:
        """Those behind have waited as long, and were never sent: nothing of theirs was stored."""
        behind, self._waiting = self._waiting, []
        for one in behind:
            _refuse(one, StoreUnavailable(f"not sent: the request before it failed ({fault})"))

    def _look_for(self, one: Waiting) -> None:
        task = asyncio.create_task(self._answer_suspected(one))
        self._suspected.add(task)
        task.add_done_callback(self._suspected.discard)

    async def _answer_suspected(self, one: Waiting) -> None:
        try:
            async with AsyncExitStack() as turns:
                for name in sorted({_session_of(spec) for spec in one.specs}):
                    await turns.enter_async_context(self._turns_of_sessions.setdefault(name, asyncio.Lock()))
                answers = await self._store_suspected(one)
        except asyncio.CancelledError:
            one.answer.cancel()
            raise
        except Exception as fault:
            _refuse(one, unknown(fault) if one.is_in_doubt and isinstance(fault, Unavailable) else fault)
        else:
            if not one.answer.done():
                one.answer.set_result(answers)

    # ── a request whose ids are new ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _store(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        """Raises: Suspected, JobConflict, InvalidJob, StoreFull, OutcomeUnknown, StoreUnavailable."""
        ids = [spec.id for spec in specs]
        sessions = _sessions(specs, ids)
        others = await self._call(specs, [(*session, MUST_BE_NEW) for session in sessions])
        if not others:
            return list(map(Submitted, ids, repeat(SubmitKind.CREATED)))
        return [others.get(spec.id) or Submitted(spec.id, SubmitKind.CREATED) for spec in specs]

    async def _call(
        self, specs: Sequence[JobSpec], sessions: Sequence[tuple[Any, ...]], suspects: Sequence[bytes] = (), sought_on: bytes | None = None
    ) -> dict[bytes, Submitted]:
        queues, created_ms = {spec.queue for spec in specs}, self._server_ms()
        idle_life, registration, room = self._offer()
        number = self._turns.take() if not suspects and len(specs) <= room else 0
        turn = (registration, number, room) if number else NO_TURN
        arguments: list[Any] = [
            b"0", QUEUES_MAX, idle_life, *self._limits, self._window_ms, CALLER_WINDOW_MS, *turn, len(sessions),
        ]  # fmt: skip
        for session in sessions:
            arguments += session
        arguments.append(len(suspects))
        arguments += suspects
        is_told = False
        try:
            self._add_jobs(arguments, specs, created_ms)
            reply, is_in_doubt = await self._submits.store(arguments, queues, sought_on)
            is_told = not is_in_doubt
        finally:
            self._end_turn(turn, is_told=is_told)
        kind = reply[0]
        if kind == b"ok":
            if fence := int(reply[3]):
                self._hand(fence, [StoredJob(spec, created_ms) for spec in specs], room > len(specs))
            self._note(reply[1], reply[2], not fence)
            found = reply[4:]
            kinds = {b"e": SubmitKind.EXISTED, b"u": SubmitKind.UNIQUE}
            return {found[at]: Submitted(found[at + 2], kinds[found[at + 1]]) for at in range(0, len(found), 3)}
        if kind == b"again":
            raise Again(is_in_doubt=is_in_doubt)
        if kind == b"suspect":
            raise Suspected(is_in_doubt=is_in_doubt)
        if kind == b"full":
            self._note(reply[1], reply[2], False)
            fault = outbox_full(reply[1], reply[2], self._limits)
            raise unknown(fault) if is_in_doubt else fault
        if kind == b"queues":
            raise excess_queue(reply[1])
        raise key_conflict(reply[1], reply[2])

    def _end_turn(self, turn: tuple[bytes, int, int], *, is_told: bool) -> None:
        if turn is NO_TURN:
            return
        self._turns.end(lost=None if is_told else turn[1])
        if not is_told:
            self._ask_again()

    def _add_jobs(self, arguments: list[Any], specs: Sequence[JobSpec], created_ms: int) -> None:
        queue, priority = specs[0].queue, specs[0].priority
        tail = b"\xcf" + created_ms.to_bytes(8, "big")  # StoredJob's created_ms; what follows has its defaults, and is left out
        if len(specs) == 1 and not _is_single(specs[0]):
            level, head = self._header((queue, priority))
            arguments += (1, level, 1, specs[0].id, b"%b%b%b" % (head, encode(specs[0]), tail), 0)
            return
        groups: dict[tuple[str, int], list[JobSpec]] = {}
        singles: list[JobSpec] = []
        if not [spec for spec in specs if spec.queue != queue or spec.priority != priority or spec.options is not None]:
            groups[queue, priority] = list(specs)
        else:
            for spec in specs:
                if _is_single(spec):
                    singles.append(spec)
                else:
                    groups.setdefault((spec.queue, spec.priority), []).append(spec)
        arguments.append(len(groups))
        for place, group in groups.items():
            level, head = self._header(place)
            arguments += (level, len(group), pairs([spec.id for spec in group], head, [encode(spec) for spec in group], tail))
        arguments.append(len(singles))
        for spec in singles:
            arguments += single_arguments(spec)

    def _header(self, place: tuple[str, int]) -> tuple[bytes, bytes]:
        found = self._headers.get(place)
        if found is None:
            found = self._headers[place] = level_name(*place), b"l\0\0\0\1" + level_header(*place) + b"\x92"
        return found

    # ── a request with ids that may be known ─────────────────────────────────────────────────────────────────────────────────────────

    async def _store_suspected(self, one: Waiting) -> list[Submitted]:
        first: dict[bytes, JobSpec] = {}
        for spec in one.specs:
            check_same(spec, first.setdefault(spec.id, spec))
        answers: dict[bytes, Submitted] = {}
        for _ in range(TRIES_MAX):
            names = sorted({_session_of(spec) for spec in first.values()})
            sought_on, generations, values = await self._submits.seek(names, list(first))
            known = {
                job_id: (read_record(value).job if is_finished(value) else read_job(value)).spec
                for job_id, value in zip(first, values, strict=True) if value
            }  # fmt: skip
            away = None
            if missing := {job_id: spec for job_id, spec in first.items() if job_id not in known}:
                found, away = await find_finished(self._finished, missing)
                if away is not None and not _is_told_by_queue(first.values()):
                    raise away
                known.update(found)
            answers = {job_id: check_same(spec, known[job_id]) for job_id, spec in first.items() if job_id in known}
            new = [spec for job_id, spec in first.items() if job_id not in known]
            if not new:
                if await self._submits.confirm(sought_on):
                    break
                continue
            expected = dict(zip(names, generations, strict=True))
            sessions = [
                (*session, expected[session[0]] if away is None or session[0] == CALLERS else MUST_BE_NEW) for session in _spans(new)
            ]
            try:
                answers |= await self._call(new, sessions, [spec.id for spec in new], sought_on)
                break
            except Suspected as refused:
                one.is_in_doubt |= refused.is_in_doubt
                if isinstance(refused, Again):
                    continue
                assert away is not None
                raise away from None
        else:
            raise StoreUnavailable("the same ids are being submitted again and again; try again later")
        seen: set[bytes] = set()
        told = []
        for spec in one.specs:
            answer = answers.get(spec.id) or Submitted(spec.id, SubmitKind.CREATED)
            if spec.id in seen and answer.kind is SubmitKind.CREATED:
                answer = Submitted(answer.id, SubmitKind.EXISTED)
            seen.add(spec.id)
            told.append(answer)
        return told


def excess_queue(name: bytes) -> InvalidJob:
    return InvalidJob(f"queue {name.decode()!r} is one more than the limit of {QUEUES_MAX}; what comes from data belongs into the payload")


def _refuse(one: Waiting, fault: Exception) -> None:
    if not one.answer.done():
        copy = type(fault)(*fault.args)  # each its own: a raised exception carries its traceback
        copy.__cause__ = fault
        one.answer.set_exception(copy)
        one.answer.exception()


def _is_plain(specs: Sequence[JobSpec]) -> bool:
    return not any(_is_single(spec) for spec in specs if spec.options is not None)


def _is_single(spec: JobSpec) -> bool:
    options = spec.options
    return options is not None and bool(
        options.delay_ms or options.run_at_ms or options.unique_key or options.idempotency_key or options.caller_id
    )


def single_arguments(spec: JobSpec) -> list[Any]:
    options = spec.options or _NO_OPTIONS
    keys: list[bytes] = []
    if options.idempotency_key:
        keys.append(b"key:" + options.idempotency_key.encode())
    if options.caller_id:
        keys.append(b"id:" + spec.id)
    content = _content(spec) if keys else b""
    return [
        spec.id, encode(spec), level_name(spec.queue, spec.priority), level_header(spec.queue, spec.priority, options.unique_key),
        options.delay_ms, options.run_at_ms, options.unique_key, len(keys), *(part for key in keys for part in (key, content)),
    ]  # fmt: skip


def _sessions(specs: Sequence[JobSpec], ids: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """(name, lowest counter, highest, oldest ms, youngest) of each session. Raises: Suspected, if not all ids are made so, and rising."""
    name = ids[0][6:12]
    if len(ids) == 1:  # the lone job of an idle system, whose every step costs ten times what it does under load
        options = specs[0].options
        if not _is_ours(ids[0]) or (options is not None and options.caller_id):
            raise Suspected
        counter, made_ms = int.from_bytes(ids[0][12:], "big"), int.from_bytes(ids[0][:6], "big")
        return [(name, counter, counter, made_ms, made_ms)]
    joined = b"".join(ids)
    if all(joined[at + 6 :: ID_BYTES] == name[at : at + 1] * len(ids) for at in range(len(name))):
        counters = _counters(joined)
        is_rising = all(map(lt, counters, counters[1:]))
        if not _is_ours(ids[0]) or not is_rising or any(spec.options.caller_id for spec in specs if spec.options is not None):
            raise Suspected
        oldest, youngest = (int.from_bytes(job_id[:6], "big") for job_id in (min(ids), max(ids)))
        return [(name, counters[0], counters[-1], oldest, youngest)]
    if len(set(ids)) != len(ids) or any(_session_of(spec) == CALLERS for spec in specs):
        raise Suspected
    return _spans(specs)


def _counters(joined: bytes) -> Sequence[int]:
    """The last four bytes of each of the ids that are joined here."""
    words = array("I", joined)
    if sys.byteorder == "little":
        words.byteswap()
    return words[3::4]


def _spans(specs: Sequence[JobSpec]) -> list[tuple[Any, ...]]:
    by_session: dict[bytes, list[bytes]] = {}
    for spec in specs:
        by_session.setdefault(_session_of(spec), []).append(spec.id)
    spans: list[tuple[Any, ...]] = []
    for name, ids in by_session.items():
        counters = [int.from_bytes(job_id[12:], "big") for job_id in ids]
        made = [int.from_bytes(job_id[:6], "big") for job_id in ids] if name != CALLERS else [0]
        spans.append((name, min(counters), max(counters) if name != CALLERS else 0, min(made), max(made)))
    return spans


def _session_of(spec: JobSpec) -> bytes:
    return CALLERS if is_noted(spec) or not _is_ours(spec.id) else spec.id[6:12]


def _is_told_by_queue(specs: Collection[JobSpec]) -> bool:
    """Whether the queue alone may tell which of these are new: by its notes of callers' ids, and for what came with them by sessions."""
    return any(map(is_noted, specs)) and all(is_noted(spec) or _is_ours(spec.id) for spec in specs)


def _is_ours(job_id: bytes) -> bool:
    return job_id[6] >> 4 == 7 and job_id[8] >> 6 == 2


def _content(spec: JobSpec) -> bytes:
    content = hashlib.blake2b(digest_size=16)
    for part in (spec.type.encode(), spec.queue.encode(), spec.payload):
        content.update(len(part).to_bytes(4, "big") + part)
    return content.digest()


def check_same(spec: JobSpec, known: JobSpec) -> Submitted:
    """Raises: JobConflict."""
    check_repeat(spec, known)
    return Submitted(spec.id, SubmitKind.EXISTED)

