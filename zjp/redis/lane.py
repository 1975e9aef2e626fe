"""One connection; calls go through it one after the other, in the order they came, each within a bounded time.

A lane per kind of operation keeps their order (a repeat of a submit is behind the submit) and lets a long script hold up only its own
kind. A call that was begun is carried through even if its caller gives up, so that an answer never meets the wrong question. What fails is
tried again on a new connection, with backoff and jitter, until the time is over; then StoreUnavailable, and of it Unanswered when a try
went out and nothing came back, or a script was broken off: what it had written by then stays. `is_repeat` tells the call that its former
try may have been carried out. What waits in line was not sent, and its caller is told so.

`server` names the process at the other end, by its run id; `data` also what it holds, by the id of its replication. Another process may
know less than its predecessor did (a fail-over, a restart from a file that was not synced), and so may the same one after it was another's
replica for a while, which ends no connection. Who depends on what was told before looks at `data` in `make`, which is called with a
connection at hand; who must know whose word an answer is has it from `told`, since `data` may be of the next connection by then.
`look` sees each new connection before anything goes over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as Unreachable

from ..errors import StoreFull, StoreUnavailable
from .address import Address
from .packing import pack
from .sentinels import SILENT_S, SLOW_S

CALL_S = 1.8
"""Below the 2 s in which an operation must have told that the store is away."""
LATE_AGAIN_S = 0.2
BACKOFF_S = (0.01, 0.3)
HEALS_MAX = 3
"""Somebody may flush the scripts between loading one and calling it."""
Command = Sequence[Any]
NO_SUCH_DB = ("DB index is out of range", "invalid DB index", "SELECT is not allowed")
"""In the server's words, as they answer SELECT."""
Ask = Callable[[Command], Awaitable[Any]]
"""A command over a connection at hand. Raises: OSError, RedisError."""
CUTS_MIN = 3
"""Tries in a row, within the time of one call."""
NO_PROTOCOL = "Protocol error"
"""In the server's words."""
OOM = "OOM command not allowed"
"""In the server's words. What Redis 6.2 says of a script that met it has this in its middle."""
MISCONF = "MISCONF "
NO_REPLICAS = "NOREPLICAS "
PROTECTED = "DENIED "
PASSING = (BusyLoadingError, MasterDownError, NoScriptError, ReadOnlyError, TryAgainError)
PASSING_WORDS = re.compile(r"(?:^|: -)(?:LOADING|MASTERDOWN|READONLY|TRYAGAIN|BUSY|UNBLOCKED|MISCONF|NOREPLICAS)\b")
"""Refusals of that moment, before anything was written. The driver strips some of these words, and then has a class for them; Redis 6.2
has them in the middle when a script met them."""
IN_SCRIPT = re.compile(r"\bscript: (?:[0-9a-f]{40}\b|on @user_script:)|\(call to f_[0-9a-f]{40}\)")
"""What Redis adds to an error that ended a script half-way: 7 and Valkey 8, Valkey 9 (which leaves the hash out), Redis 6.2."""


class Unanswered(StoreUnavailable):
    """The server was asked and gave no answer, so it may have done what it was asked for. For who must tell the two apart."""


class CutOff(Unanswered):
    """The server ended the connection at this very call, again and again, on connections over which it had answered just before. Or it said
    that the call is no command of its protocol, which is what it says of a value that is too large for it, if it is heard."""


class LoginRefused(StoreUnavailable):
    """AUTH or SELECT was refused. At a start the settings are wrong; later somebody changed the server, and may change it back."""


class NotPermitted(StoreUnavailable):
    """Redis' user lacks a right, in the server's words."""


class _Call:
    """`is_in_doubt`: a try went out, and no answer to it came back. `is_late`: its time is over. `sent`: what left at once.
    `cuts`: tries in a row that ended with their connection, which had answered before. `data`: of the server that it was made for last."""

    __slots__ = ("answer", "asks_data", "cuts", "data", "deadline", "heal", "is_in_doubt", "is_late", "make", "sent", "then")

    def __init__(
        self, make: Callable[[bool], Command], heal: Callable[[], Sequence[Command]] | None, then: Callable[[Any], Command | None] | None,
        asks_data: bool, answer: asyncio.Future[Any], deadline: float,
    ) -> None:  # fmt: skip
        self.make, self.heal, self.then, self.asks_data = make, heal, then, asks_data
        self.answer, self.deadline = answer, deadline
        self.is_in_doubt = self.is_late = False
        self.sent: Command | None = None
        self.cuts = 0
        self.data = b""

    def refuse(self, fault: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(fault)
            self.answer.exception()  # seen: its caller may give up before it looks


class Lane:
    def __init__(self, address: Address, look: Callable[[Ask], Awaitable[None]] | None = None) -> None:
        self._address, self._look = address, look
        self._connection: AbstractConnection | None = None
        self._line: deque[_Call] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._current: _Call | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._answered_at = 0.0
        self.server = self.data = b""

    async def call(
        self, make: Callable[[bool], Command], heal: Callable[[], Sequence[Command]] | None = None,
        then: Callable[[Any], Command | None] | None = None, *, asks_data: bool = False,
    ) -> Any:  # fmt: skip
        """`make(is_repeat)`: the command. `heal`: what to send first when the server does not know the script.

        `then(reply)`: what to send after it on the same connection, if anything; the answer is then (reply, second reply or None).
        `asks_data`: have `data` as it is now, not as it was when the connection was made.
        Raises: StoreUnavailable (Unanswered: it may have been done), StoreFull, ResponseError, and what `make` raises."""
        return await self._begin(make, heal, then, asks_data).answer

    async def told(
        self, make: Callable[[bool], Command], heal: Callable[[], Sequence[Command]] | None = None,
        then: Callable[[Any], Command | None] | None = None,
    ) -> tuple[bytes, Any]:  # fmt: skip
        """What `call` answers, behind the `data` of the server whose answer it is. Raises: as `call`."""
        call = self._begin(make, heal, then, False)
        reply = await call.answer
        return call.data, reply

    def _begin(
        self, make: Callable[[bool], Command], heal: Callable[[], Sequence[Command]] | None,
        then: Callable[[Any], Command | None] | None, asks_data: bool,
    ) -> _Call:  # fmt: skip
        if self._is_closed:
            raise StoreUnavailable("the queue is closed: the node is stopping")
        loop = asyncio.get_running_loop()
        call = _Call(make, heal, then, asks_data, loop.create_future(), loop.time() + CALL_S)
        is_free = self._is_at_rest
        if is_free:
            self._leave_at_once(call)
        self._line.append(call)
        if is_free:
            self._worker = loop.create_task(self._work())
            self._worker.add_done_callback(self._ended)
        return call

    @property
    def is_free(self) -> bool:
        """Whether a call would leave now."""
        return self._is_at_rest and self._connection is not None

    @property
    def _is_at_rest(self) -> bool:
        return not self._line and (self._worker is None or self._worker.done())

    def _leave_at_once(self, call: _Call) -> None:
        """Over a connection at hand: the task that carries it begins a turn of the loop later, and has its answer to wait for."""
        connection = self._connection
        if connection is not None and self._address.serves is None and not call.asks_data:
            call.data = self.data
            try:
                command = call.make(False)
                if _write(connection, pack(command)):
                    call.sent, call.is_in_doubt = command, True
            except (OSError, RedisError):  # `make` finds the connection out of date: the task makes another
                return

    # One task for all that is in line and one timer for all deadlines, which rise along it: a task, a lock, a shield and a time-out of each
    # call's own cost as much again as the exchange itself.

    async def _work(self) -> None:
        while self._line:
            self._current = call = self._line.popleft()
            if self._timer is None:
                self._set_timer(call)
            try:
                reply = await self._carry(call)
            except Exception as fault:
                call.refuse(fault)
            except BaseException:
                call.answer.cancel()
                raise
            else:
                if not call.answer.done():
                    call.answer.set_result(reply)
            finally:
                self._current = None
                if call.is_late and self._worker is not None:
                    self._stop_timer()  # the next one in line has a deadline of its own
                    while self._worker.cancelling():
                        self._worker.uncancel()

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """Cancelled by others than this lane, it leaves callers in line, whom nobody would answer."""
        if worker is self._worker:
            if [call for call in self._line if call.sent is not None]:  # its answer would meet the next question
                self._let_go()
            for call in self._line:
                call.answer.cancel()
            self._line.clear()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection._writer is not None:
            connection._writer.close()

    def _set_timer(self, call: _Call) -> None:
        self._timer = asyncio.get_running_loop().call_at(call.deadline, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        call, worker = self._current, self._worker
        if call is None or worker is None or worker.done():
            return
        if asyncio.get_running_loop().time() < call.deadline:
            self._set_timer(call)
        else:
            call.is_late = True
            worker.cancel()  # and again, if the driver takes it for its own: those in line wait for this one's end
            self._timer = asyncio.get_running_loop().call_later(LATE_AGAIN_S, self._look_at_time)

    async def _carry(self, call: _Call) -> Any:
        fault: Exception | None = None
        pause_s = BACKOFF_S[0]
        loop = asyncio.get_running_loop()
        try:
            while loop.time() < call.deadline:
                try:
                    return await self._once(call)
                except (OSError, RedisError) as error:
                    fault = error
                    await self._drop()
                    _judge(error)
                if loop.time() >= call.deadline:  # a driver may have taken the cancel for its own
                    break
                await asyncio.sleep(pause_s * (0.5 + random.random()))
                pause_s = min(pause_s * 2, BACKOFF_S[1])
        except (StoreFull, StoreUnavailable) as refusal:
            if call.is_in_doubt and not isinstance(refusal, CutOff):
                raise Unanswered(str(refusal)) from refusal
            raise
        except ResponseError as error:
            if call.is_in_doubt:
                raise Unanswered(f"Redis broke off: {error}") from error
            raise
        except asyncio.CancelledError:
            if not call.is_late:
                await self._drop()
                raise
        await self._drop()
        if call.cuts >= CUTS_MIN:
            raise CutOff(cut_off(fault)) from fault
        kind = Unanswered if call.is_in_doubt else StoreUnavailable
        raise kind(silence(fault, CALL_S)) from fault

    async def _once(self, call: _Call) -> Any:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            connection = await self._connected()
        except (OSError, RedisError):
            call.cuts = 0
            raise
        if call.asks_data:
            self._note_data(await self._exchange(connection, (b"INFO", b"replication")))
        sent, call.sent = call.sent, None
        if sent is None:
            call.data = self.data
            command = call.make(call.is_in_doubt)
        else:
            command = sent
        was_in_doubt, call.is_in_doubt = call.is_in_doubt and sent is None, True
        try:
            reply = await self._exchange_healed(connection, command, call.heal, is_sent=sent is not None)
        except (ResponseError, BusyLoadingError) as error:  # an answer, too: this try did nothing
            call.is_in_doubt, call.cuts = was_in_doubt or _is_broken_off(error), 0
            raise
        except (OSError, RedisError):
            call.cuts += 1
            raise
        if call.then is not None:
            more = call.then(reply)
            reply = (reply, None if more is None else await self._exchange(connection, more))
        self._answered_at = loop.time()
        if (serves := self._address.serves) is not None and not await serves(connection, self._answered_at - began > SLOW_S):
            raise Unreachable("the server that answered was replaced meanwhile")
        return reply

    async def _exchange_healed(
        self, connection: AbstractConnection, command: Command, heal: Callable[[], Sequence[Command]] | None, *, is_sent: bool
    ) -> Any:
        try:
            if not is_sent:
                await send(connection, command)
            return await connection.read_response(disable_decoding=True)
        except NoScriptError:
            if heal is None:
                raise
        for _ in range(HEALS_MAX - 1):
            with contextlib.suppress(NoScriptError):
                return await self._exchange_at_once(connection, [*heal(), command])
        return await self._exchange_at_once(connection, [*heal(), command])

    async def _exchange_at_once(self, connection: AbstractConnection, commands: Sequence[Command]) -> Any:
        """The last one's reply. They leave together, so hardly anything of others comes between them."""
        await send(connection, *commands)
        fault: ResponseError | None = None
        for _ in commands[1:]:
            try:
                await connection.read_response(disable_decoding=True)
            except ResponseError as error:
                fault = error
        try:
            return await connection.read_response(disable_decoding=True)
        except NoScriptError as unknown:
            raise fault or unknown from None

    async def _connected(self) -> AbstractConnection:
        serves, connection = self._address.serves, self._connection
        if connection is not None:
            if serves is None or await serves(connection, asyncio.get_running_loop().time() - self._answered_at > SILENT_S):
                return connection
            await self._drop()
        connection = self._connection = self._address.make()
        await connection.connect()
        told = await self._exchange(connection, (b"INFO",))
        self.server = _fact(told, b"run_id")
        self._note_data(told)
        if self._look is not None:
            await self._look(lambda command: self._exchange(connection, command))
        return connection

    def _note_data(self, told: bytes) -> None:
        self.data = self.server + b" " + _fact(told, b"master_replid")

    async def _exchange(self, connection: AbstractConnection, command: Command) -> Any:
        await send(connection, command)
        return await connection.read_response(disable_decoding=True)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """What is under way is carried through, or times out."""
        self._is_closed = True
        if self._worker is not None:
            await asyncio.wait([self._worker])
        self._stop_timer()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect()

    async def abandon(self) -> None:
        """At once, whatever is under way."""
        self._is_closed = True
        self._stop_timer()
        if self._worker is not None:
            self._worker.cancel()
        for call in self._line:
            call.answer.cancel()
        self._line.clear()
        await self._drop()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def send(connection: AbstractConnection, *commands: Command) -> None:
    """Raises: OSError, RedisError."""
    try:
        await connection.send_packed_command(b"".join(map(pack, commands)), check_health=False)
    except RuntimeError as fault:  # uvloop's word for a connection that was closed while nobody used it
        raise ConnectionResetError(str(fault)) from fault


def _write(connection: AbstractConnection, packet: bytes) -> bool:
    """Without waiting for room in its buffer, which is empty between two calls. False: nothing was written."""
    writer = connection._writer
    try:
        if writer is not None:
            writer.write(packet)
    except RuntimeError:
        return False
    return writer is not None


def silence(fault: Exception | None, within_s: float) -> str:
    """What is told of a server that does not answer."""
    reason = str(fault or "").rstrip(".") or f"no reply within {within_s:g} s"
    if MISCONF in reason:
        told = reason[reason.index(MISCONF) :]  # Redis 6.2 has it in the middle when a script met it
        return f"Redis takes no writes since it could not save its data: {told}; its log says why (often: its disk is full)"
    if NO_REPLICAS in reason:
        return (
            "Redis takes no writes since fewer replicas than its min-replicas-to-write are connected, or they lag more than its "
            "min-replicas-max-lag (NOREPLICAS); start replicas, or lower it (CONFIG SET min-replicas-to-write, and the same in redis.conf)"
        )
    return f"Redis does not answer: {reason}; check that it runs, and REDIS_ADDR"


def cut_off(fault: Exception | None) -> str:
    """What is told of a server that ends the connection at one call each time."""
    return (
        f"Redis ends the connection at this call each time ({str(fault).rstrip('.')}): most likely a value is larger than its "
        "proto-max-bulk-len or client-query-buffer-limit; set these to 512mb and 1gb, as they are by default (CONFIG SET, and the same in "
        "redis.conf). Or the answer is larger than its client-output-buffer-limit (of normal clients) or maxmemory-clients allow; set "
        "these to 0, as they are by default. Or see what stands between"
    )


def _fact(told: bytes, name: bytes) -> bytes:
    return told.partition(b"\n" + name + b":")[2].partition(b"\r")[0]


def _judge(error: Exception) -> None:
    """Raises what another try cannot mend."""
    if isinstance(error.__cause__, AuthenticationError | NoPermissionError):  # over a unix socket the driver wraps what the log-in met
        error = error.__cause__
    if _is_full(error):
        raise StoreFull("Redis has reached maxmemory and takes no more jobs; give it more memory, or let the workers catch up") from error
    if isinstance(error, NoPermissionError):
        raise NotPermitted(f"Redis refuses: {error}") from error
    if isinstance(error, AuthenticationError):
        raise LoginRefused(
            f"Redis refuses the log-in: {error}; check REDIS_ADDR and REDIS_PASSWORD: the user (in REDIS_ADDR only) and the password "
            "must be the server's own"
        ) from error
    if str(error).startswith(PROTECTED):
        raise LoginRefused(
            "Redis lets in only what comes from its own machine, since it is in protected mode and its default user has no password; give "
            "it one there (requirepass in redis.conf) and here (REDIS_PASSWORD), or set protected-mode no there if its network is safe"
        ) from error
    if any(words in str(error) for words in NO_SUCH_DB):
        raise LoginRefused(
            f"Redis does not have that database: {error}; check REDIS_DB and the database in REDIS_ADDR: the server's setting "
            "`databases` says how many it has (numbered from 0), and a cluster has only 0"
        ) from error
    if NO_PROTOCOL in str(error):
        raise CutOff(cut_off(error)) from error
    if isinstance(error, ResponseError) and not _passes(error):
        raise error


def _is_full(error: Exception) -> bool:
    return isinstance(error, OutOfMemoryError) or OOM in str(error)


def _passes(error: Exception) -> bool:
    return isinstance(error, PASSING) or PASSING_WORDS.search(str(error)) is not None


def _is_broken_off(error: Exception) -> bool:
    """Whether it ended a script that may have written before."""
    return IN_SCRIPT.search(str(error)) is not None and not _is_full(error) and not _passes(error)
