"""What the server is now: looked at on every new connection of submits, and every LOOK_S beside the renewal of the lease.

A server that was fit at the start may be set otherwise while it runs, be started again with other settings, or be replaced by one that has
others. An acknowledgement names the level of the server that gave it, as last seen. While that is below what is required, or the server
must not be used at all, nothing new is taken; what is there goes on, since its outcomes are worth no less for being written.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import ResponseError

from ...errors import ConfigError, StoreUnavailable
from ...log import event
from ...redis.lane import Ask, Lane
from ...wire.messages import Durability
from .server import Server, look_at

LOOK_S = 5.0
ORDER = list(Durability)
CURES = {
    Durability.DISK_1S: "appendonly yes and appendfsync everysec, and no-appendfsync-on-rewrite no,",
    Durability.DISK: "appendonly yes and appendfsync always, and no-appendfsync-on-rewrite no,",
}

log = logging.getLogger(__name__)


class Inspection:
    """`wanted`: the level that is required. `tell`: of the level whenever it was looked at. `value_max`: bytes of the largest value that
    the server must take. `begin` first."""

    def __init__(
        self, wanted: Durability | None, tell: Callable[[Durability], None], now_s: Callable[[], float], value_max: int = 0
    ) -> None:  # fmt: skip
        self._wanted, self._tell, self._now, self.value_max = wanted, tell, now_s, value_max
        self._present: Server | None = None
        self._refusal = ""
        self._looked_at = 0.0

    @property
    def has_to_wait(self) -> bool:
        """For a replica, with each submit."""
        return self._wanted is Durability.REPLICA

    def begin(self, server: Server) -> None:
        """Raises: ConfigError, and StoreUnavailable where it is enough to wait."""
        if shortfall := self._shortfall(server):
            raise (StoreUnavailable if server.is_passing else ConfigError)(shortfall)
        if server.lowered_by:
            event(log, logging.WARNING, "queue.level_lowered", durability=server.level.value, redis=server.settings)
        self._note(server)

    async def look(self, ask: Ask) -> None:
        """Raises: what `ask` raises."""
        self._note(await look_at(ask, self._present, value_max=self.value_max))

    async def look_again(self, lane: Lane) -> None:
        """When it is time to; while nothing is taken, at once. Whoever calls wants something else, so no answer is no fault here."""
        if self._refusal or self._now() - self._looked_at >= LOOK_S:
            with contextlib.suppress(StoreUnavailable, ResponseError):
                await self.look(lambda command: lane.call(lambda _: command))

    def require(self) -> None:
        """That something new may be taken. Raises: StoreUnavailable."""
        if self._refusal:
            raise StoreUnavailable(self._refusal)

    def require_over(self, run_id: bytes) -> None:
        """And that the connection at hand leads to the server that was looked at last: if not, it may lead to one that is gone.
        Raises: StoreUnavailable; redis' ConnectionError, upon which a lane makes it again."""
        if self._present is None or self._present.run_id != run_id:
            raise Unreachable("another server was looked at since this connection was made")
        self.require()

    def _note(self, server: Server) -> None:
        self._looked_at = self._now()
        former, self._present = self._present, server
        if former is not None and former.level is not server.level and self._wanted is not Durability.REPLICA:
            has_fallen = ORDER.index(server.level) < ORDER.index(former.level)
            event(
                log, logging.WARNING if has_fallen else logging.INFO, "queue.level_changed",
                durability=server.level.value, was=former.level.value, redis=server.settings,
            )  # fmt: skip
        refused, self._refusal = self._refusal, server.fault or self._shortfall(server)
        if self._refusal and not refused:
            event(log, logging.ERROR, "queue.refuses_submits", reason=self._refusal)
        elif refused and not self._refusal:
            event(log, logging.INFO, "queue.takes_submits_again", durability=server.level.value)
        self._tell(Durability.REPLICA if self._wanted is Durability.REPLICA else server.level)

    def _lacks_replica(self, server: Server) -> bool:
        return self._wanted is Durability.REPLICA and not server.has_replica

    def _shortfall(self, server: Server) -> str:
        wanted = self._wanted
        if self._lacks_replica(server):
            return (
                "no replica is connected to Redis (INFO says connected_slaves:0), and REQUIRE_DURABILITY=replica: nothing new is taken; "
                "start one (replicaof, in its redis.conf), or require disk, disk-1s or process"
            )
        if wanted is None or wanted not in CURES or ORDER.index(server.level) >= ORDER.index(wanted):
            return ""
        cure = "wait, or require less" if server.is_passing else f"set {CURES[wanted]} in Redis (CONFIG SET, and the same in redis.conf)"
        return (
            f"Redis has {server.settings}, so an acknowledged submit is worth {server.level.value}, and REQUIRE_DURABILITY={wanted.value}: "
            f"nothing new is taken; {cure}"
        )
