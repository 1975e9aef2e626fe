"""What a producer and its nodes say to each other: numbering, matching, gathering, failing over, giving up. Pure.

No socket, clock or randomness lives here: whoever owns the sockets (exchange.py under threads, asyncio.py under a loop) passes `now`
(monotonic seconds), tells what happened on the wire, and carries out what the session wants:

    ask / gather ──►             ──► wanted(now)      addresses to be connected
    link_up / link_down ──►      ──► take_sends(now)  frames, by address
    receive / not_sent ──►       ──► take_finished()  (waiter, outcome)
    tick ──►                     ──► next_wake()       when to call tick next

Every request is safe to repeat: jobs carry ids made here before the first sending, so a node recognises a repeat. A request therefore
stays with the session until it is answered or its deadline passes, and is sent again whenever it may have been lost:

    the link broke                      at once, at the next address that is up
    the link is silent                  after SUSPECT_S a ping, after another SUSPECT_S the next address
    the node says "later"               at another address at once, at the same after a pause (exponential, with jitter)
    the node lives but never answered   after REPEAT_S, twice as long each time

A repeat keeps its number, so the answer to any of its sendings ends it, and a second answer meets nobody.

Single submits gather: up to WINDOW batches are under way, and what is submitted meanwhile forms the next ones. So one submit alone waits
for nobody, and under load batches grow by themselves. When a batch is refused for what is in it, it is halved until the culprit stands
alone: callers that share a batch by chance must not share each other's errors.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

from ..errors import Draining, OutcomeUnknown, WireError, ZjpError
from ..job import JobSpec
from ..wire.codec import decode_envelope, decode_reply, encode, seq_of
from ..wire.messages import PROTOCOL_VERSION, Envelope, Failure, Ping, Reply, Request, RunSchedule, Submit, SubmitReply
from .calls import OWN_VOICE, SUSPECT_S, Batch, Call, Link, Outcome, Voice, W, apart, backoff_s
from .failures import error_at_deadline, error_of, misfit, perhaps_echo, unreadable
from .gathering import Gathering, IdMaker

WINDOW = 4
"""Gathered batches under way at once: enough to keep the node's group commit fed, few enough for batches to grow."""
REPEAT_S = 5.0
CONNECT_S = 1.0
"""No link up for so long: the other addresses are tried as well."""
NOT_SENT_PAUSE_S = 0.01


class Session(Generic[W]):
    """`number`: 42 random bits that name this session in ids; `uniform` draws from [0, 1) for the jitter; W is whatever the owner
    recognises a waiting caller by. `gate`: what a node gave to its HTTP door, which may speak for others."""

    def __init__(
        self, *, cluster: str, number: int, addresses: Sequence[str], uniform: Callable[[], float], window: int = WINDOW,
        gate: bytes = b"",
    ) -> None:  # fmt: skip
        self._gate = gate
        self.make_ids = IdMaker(number)
        self._cluster, self._sender, self._uniform, self._window = cluster, f"{number:011x}", uniform, window
        self._links: dict[str, Link[W]] = {address: Link(address) for address in addresses}
        self._order = list(self._links.values())
        self._current = 0
        self._in_trouble = False
        self._started_at = 0.0
        self._wake_at = math.inf
        self._seq = 0
        self._calls: dict[int, Call[W]] = {}
        self._to_send: deque[Call[W]] = deque()
        self._pings: list[Link[W]] = []
        self._gathered: Gathering[W] = Gathering()
        self._batches = 0
        self.finished: list[tuple[W, Outcome]] = []
        """Outcomes to be handed out; whoever does it empties the list."""

    # ── what callers want ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, request: Request, waiter: W, *, now: float, deadline: float, voice: Voice = OWN_VOICE) -> None:
        """Raises: InvalidJob when something in the request cannot travel: told to who asks, and not in the midst of what others asked."""
        seq = self._next_seq()
        call = Call(seq, request, waiter, now=now, deadline=deadline, voice=voice)
        call.body = self._frames(seq, request, voice)[1]
        self._begin(now)
        self._need(deadline)
        self._enqueue(call)

    def gather(self, spec: JobSpec, waiter: W, *, now: float, deadline: float) -> None:
        """Submit one job together with what others submit. Deadlines must not fall from call to call."""
        self._begin(now)
        self._need(deadline)
        self._gathered.add(spec, waiter, now, deadline)

    @property
    def is_busy(self) -> bool:
        return bool(self._calls or self._gathered.submits)

    def _begin(self, now: float) -> None:
        if not self.is_busy:
            self._started_at = now
            if not self._in_trouble:
                self._need(now + CONNECT_S)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _enqueue(self, call: Call[W]) -> None:
        self._calls[call.seq] = call
        self._to_send.append(call)

    # ── what the owner of the sockets carries out ────────────────────────────────────────────────────────────────────────────────────

    def wanted(self, now: float) -> list[str]:
        """Addresses to be connected by now; those that are connected stay so, and need not be among them."""
        current = self._order[self._current]
        if not self.is_busy or (current.is_up and not self._in_trouble):
            return []
        links = self._order if self._in_trouble else [current]
        return [link.address for link in links if link.reopen_at <= now]

    def take_sends(self, now: float) -> list[tuple[str, int, list[bytes]]]:
        """(address, seq, frames) to be sent now, in order; tell `not_sent` of each that could not be."""
        sends: list[tuple[str, int, list[bytes]]] = []
        if self._pings:
            sends += [(link.address, 0, self._frames(self._next_seq(), Ping())) for link in self._pings]
            self._pings.clear()
        waiting: list[Call[W]] = []
        while self._to_send:
            call = self._to_send.popleft()
            link = self._pick(call, now)
            if link is None:
                waiting.append(call)
            else:
                sends.append(self._send(call, link, now))
        self._to_send.extend(waiting)
        while self._gathered.submits and self._batches < self._window and (link := self._pick(None, now)) is not None:
            sends.append(self._send(self._make_batch(), link, now))
        return sends

    def take_finished(self) -> list[tuple[W, Outcome]]:
        """The outcomes, for an owner that no signal can interrupt."""
        finished, self.finished = self.finished, []
        return finished

    def next_wake(self) -> float | None:
        """When `tick` must be called at the latest, if nothing happens before; None: nothing is under way."""
        return self._wake_at if self.is_busy else None

    def forget(self, waiter: W) -> None:
        """Nobody waits for this any more: what was not sent stays unsent, unless it shares a batch with others."""
        self._gathered.forget(waiter)
        for call in [call for call in self._calls.values() if call.is_only_for(waiter)]:
            self._drop(call)

    def abandon(self) -> list[W]:
        """Everybody who still waits; the session is empty afterwards."""
        waiters = self._gathered.clear()
        for call in list(self._calls.values()):
            waiters += call.expire(math.inf)
            self._drop(call)
        return waiters

    # ── what happened on the wire ────────────────────────────────────────────────────────────────────────────────────────────────────

    def link_up(self, address: str, now: float) -> None:
        link = self._links[address]
        link.is_up, link.fault = True, ""
        link.quiet_since, link.pinged_at, link.suspended_until = now, None, 0.0

    def link_down(self, address: str, now: float, fault: str) -> None:
        """The connection broke or could not be made, and the socket is closed: `wanted` says when to open it again."""
        link = self._links[address]
        link.is_up, link.fault = False, fault
        link.reopen_at = now + backoff_s(link.failures, self._uniform()) if link.failures else now
        link.failures += 1
        self._need(link.reopen_at)
        self._in_trouble = True
        self._take_back(link)

    def not_sent(self, address: str, seq: int, now: float) -> None:
        """The socket would not take it: nothing left this machine."""
        link = self._links[address]
        link.suspended_until = now + NOT_SENT_PAUSE_S
        self._need(link.suspended_until)
        call = link.calls.pop(seq, None)
        if call is not None:
            call.link = None
            call.sends -= 1
            self._to_send.appendleft(call)

    def receive(self, address: str, frames: Sequence[bytes], now: float) -> None:
        link = self._links[address]
        link.quiet_since, link.pinged_at, link.failures = now, None, 0
        try:
            envelope = decode_envelope(frames, self._cluster)
            call = self._calls.get(envelope.seq)
            if call is None:
                if envelope.seq == 0:
                    self._refused(link, decode_reply(frames[1]))
                return  # a pong, or the second answer to a repeat
            self._answered(call, link, decode_reply(frames[1]), now)
        except WireError as fault:
            self._garbled(link, frames, fault)

    def tick(self, now: float) -> None:
        """Whatever time alone brings about. Cheap when nothing is due."""
        if now < self._wake_at:
            return
        for call in list(self._calls.values()):
            if call.next_deadline() <= now:
                self._expire(call, now)
            elif call.link is not None and call.repeat_at <= now:
                self._take_back_one(call)
        self._expire_gathered(now)
        for link in self._order:
            if link.calls and link.suspect_at() <= now:
                self._suspect(link, now)
        if self._connect_by() <= now:
            self._in_trouble = True
        self._wake_at = min(self._wake_times(now), default=math.inf)

    def forget_links(self) -> None:
        """All sockets were closed: everything under way is sent again over new ones.

        Also puts right what an exception in the middle of a method left undone.
        """
        for link in self._order:
            link.is_up, link.reopen_at, link.pinged_at = False, 0.0, None
            link.calls.clear()
        for call in self._calls.values():
            call.link = None
            call.in_doubt = call.in_doubt or call.sends > 0
        self._to_send = deque(self._calls.values())
        self._batches = sum(isinstance(call, Batch) for call in self._calls.values())
        self._wake_at = -math.inf

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pick(self, call: Call[W] | None, now: float) -> Link[W] | None:
        """The first usable link, from the current one on."""
        count = len(self._order)
        for step in range(count):
            index = (self._current + step) % count
            link = self._order[index]
            if not link.is_up or link.suspended_until > now:
                continue
            if call is not None and call.refused_by is link and call.not_before > now:
                continue
            if call is None or call.refused_by is None:
                self._current = index
            return link
        return None

    def _send(self, call: Call[W], link: Link[W], now: float) -> tuple[str, int, list[bytes]]:
        if not link.calls:
            link.quiet_since, link.pinged_at = now, None
        link.calls[call.seq] = call
        call.link = link
        call.sends += 1
        call.repeat_at = now + call.patience_s + REPEAT_S * 2 ** min(call.sends - 1, 6)
        self._need(now + SUSPECT_S)
        if not call.body:
            frames = self._frames(call.seq, call.request, call.voice)
            call.body = frames[1]
            return link.address, call.seq, frames
        return link.address, call.seq, [self._frames(call.seq, Ping(), call.voice)[0], call.body]

    def _frames(self, seq: int, request: Request, voice: Voice = OWN_VOICE) -> list[bytes]:
        return encode(Envelope(PROTOCOL_VERSION, self._cluster, self._sender, 0, seq, self._gate, *voice), request)

    def _make_batch(self) -> Batch[W]:
        batch = self._gathered.make_batch(self._next_seq())
        self._calls[batch.seq] = batch
        self._batches += 1
        self._gathered.drop(len(batch.waiters))
        return batch

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answered(self, call: Call[W], link: Link[W], reply: Reply, now: float) -> None:
        if isinstance(reply, Failure):
            self._failed(call, link, reply, now)
        elif isinstance(reply, SubmitReply) != isinstance(call.request, Submit | RunSchedule):
            self._finish(call, misfit(call.request, reply))
        else:
            self._finish(call, reply)

    def _failed(self, call: Call[W], link: Link[W], failure: Failure, now: float) -> None:
        error = error_of(failure)
        if not failure.retry_after_ms:
            if isinstance(call, Batch) and len(call.waiters) > 1:
                self._split(call, now)
            else:
                self._finish(call, error)
            return
        if call.link is not link:
            return  # an old sending was refused; the present one is still out
        link.calls.pop(call.seq)
        call.link, call.failure, call.refused_by = None, error, link
        call.failures += 1
        call.in_doubt = call.in_doubt or isinstance(error, OutcomeUnknown)  # whatever the next try is told
        call.not_before = now + backoff_s(call.failures, self._uniform(), failure.retry_after_ms / 1000)
        self._need(call.not_before)
        if isinstance(error, Draining):
            self._leave(link)
        self._in_trouble = True
        self._to_send.append(call)

    def _split(self, batch: Batch[W], now: float) -> None:
        """Two halves in its place: what one of the jobs did must not fail the others."""
        self._drop(batch)
        assert isinstance(batch.request, Submit)
        jobs, waiters, deadlines = batch.request.jobs, batch.waiters, batch.deadlines
        middle = (batch.expired + len(jobs)) // 2 or 1
        for part in (slice(batch.expired, middle), slice(middle, None)):
            if waiters[part]:
                half = Batch(self._next_seq(), jobs[part], waiters[part], deadlines[part], now=batch.started_at)
                half.in_doubt = batch.in_doubt
                self._batches += 1
                self._enqueue(half)

    def _refused(self, link: Link[W], reply: Reply) -> None:
        """The node could not even read who asks (another version, another cluster): it refuses whatever comes over this link."""
        if isinstance(reply, Failure):
            for call in list(link.calls.values()):
                self._finish(call, error_of(reply))

    def _garbled(self, link: Link[W], frames: Sequence[bytes], fault: WireError) -> None:
        """An answer that cannot be read, from another version perhaps. Asking again would bring the same."""
        link.fault = f"its answer cannot be read: {fault}"
        call = self._calls.get(seq_of(frames))
        if call is not None:
            self._finish(
                call, unreadable(call.request, frames, f"the answer of {link.address} cannot be read: {fault}")
            )

    def _finish(self, call: Call[W], outcome: Reply | ZjpError) -> None:
        self.finished += call.answers(perhaps_echo(call, outcome) or outcome)
        self._drop(call)

    def _drop(self, call: Call[W]) -> None:
        del self._calls[call.seq]
        if call.link is not None:
            call.link.calls.pop(call.seq, None)
        elif call in self._to_send:
            self._to_send.remove(call)
        if isinstance(call, Batch):
            self._batches -= 1

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _need(self, at: float) -> None:
        """`tick` is to be called at that time. Waking too early does no harm, so nobody takes a need back."""
        if at < self._wake_at:
            self._wake_at = at

    def _wake_times(self, now: float) -> Iterator[float]:
        for call in self._calls.values():
            yield call.next_deadline()
            if call.link is not None:
                yield call.repeat_at
            elif call.not_before > now:
                yield call.not_before
        yield self._gathered.next_deadline()
        for link in self._order:
            if link.calls:
                yield link.suspect_at()
            yield from (at for at in (link.suspended_until, link.reopen_at) if at > now)
        yield self._connect_by()

    def _connect_by(self) -> float:
        """When the other addresses are to be tried as well."""
        is_settled = self._in_trouble or not self.is_busy or self._order[self._current].is_up
        return math.inf if is_settled else self._started_at + CONNECT_S

    # ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _expire(self, call: Call[W], now: float) -> None:
        waiters = call.expire(now)
        if waiters:
            error = error_at_deadline(call, now, self._places())
            self.finished += [(waiter, apart(error)) for waiter in waiters]
        if not call.has_waiters():
            self._drop(call)

    def _expire_gathered(self, now: float) -> None:
        """Submits that were never sent, because no link was up or all of the window was taken."""
        while (late := self._gathered.take_late(now)) is not None:
            error = error_at_deadline(late, now, self._places())
            self.finished += late.answers(error)

    def _places(self) -> str:
        return ", ".join(f"{link.address} ({link.fault})" if link.fault else link.address for link in self._order)

    def _suspect(self, link: Link[W], now: float) -> None:
        if link.pinged_at is None:
            link.pinged_at = now
            self._pings.append(link)
            return
        link.failures += 1
        link.fault = "it is silent"
        link.suspended_until = now + backoff_s(link.failures, self._uniform())
        self._in_trouble = True
        self._leave(link)
        self._take_back(link)

    def _leave(self, link: Link[W]) -> None:
        """Prefer the address after this one from now on."""
        if self._order[self._current] is link:
            self._current = (self._current + 1) % len(self._order)

    def _take_back(self, link: Link[W]) -> None:
        for call in list(link.calls.values()):
            self._take_back_one(call)
        link.pinged_at = None

    def _take_back_one(self, call: Call[W]) -> None:
        if call.link is not None:
            del call.link.calls[call.seq]
            call.link, call.in_doubt = None, True
            self._to_send.append(call)
