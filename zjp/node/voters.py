"""Who the voters of this cluster are, for Bully and Raft: settled once, in the store beside the queue, and kept in DATA_DIR as well.

    this folder   the store         the node
    none          none              settles, once it has met CLUSTER_SIZE - 1 others and none of them elects already
    none          names them        writes them down, then votes by them
    names them    none              puts them back, first writer wins, and looks again
    names them    the same          votes by them
    names them    others            votes by neither, and says what to do

The store alone does not do: one that lost its data would have others settled by the first that start anew, while those that run keep the
old ones, and two majorities without a common voter could each elect a leader. So a list, once written down here, is never changed by the
node: only an operator who takes the file away lets it read another one. The store is looked at before each beginning and every LOOK_S
later; a node that finds other names there while it runs gives its part in elections up until the names are its own again. In the time
until it looks the store's fence parts two leaders, as ever.

A folder that knows nothing cannot tell a new cluster from a store that lost its data. Whoever already elects knows the voters and puts them
back, so nothing is settled while such a peer is there. A leader speaks to everybody it meets, at once or with its next beat: it is believed
that there is none when nobody came or went for `patience_s`.

The file is DATA_DIR/voters-CLUSTER_NAME.json: under another CLUSTER_NAME the node belongs to another cluster, of whose voters the former
file says nothing.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from ..errors import ConfigError, Unavailable
from ..log import event
from ..queue.store import DocumentKind, QueueStore
from ..wire.peers import Name
from .hardstate import DataDir

DOCUMENT = "voters"
"""Of kind CLUSTER, in the store."""
SETTLE_LOOK_S = 0.2
LOOK_S = 2.0
"""By a node that has begun: so long, at most, two lists are in use unnoticed."""

log = logging.getLogger(__name__)


class Kept(msgspec.Struct):
    """As it stands in the file. `crc`: of the rest."""

    cluster: str
    voters: Annotated[list[Name], msgspec.Meta(min_length=1)]
    crc: int


class VoterList:
    """`load` first, then `known` until the cluster may begin, then `disputed` while it runs.

    `met`: name -> priority of all that are there, this node among them; `electing`: those of the others that elect already."""

    def __init__(
        self, data: DataDir, cluster: str, size: int, queue: QueueStore, *, met: Callable[[], Mapping[str, int]],
        electing: Callable[[], Iterable[str]], patience_s: float,
    ) -> None:  # fmt: skip
        self._data, self._cluster, self._size, self._queue = data, cluster, size, queue
        self._met, self._electing, self._patience_s = met, electing, patience_s
        self.path = data.path / f"voters-{cluster}.json"
        self._mine: tuple[str, ...] = ()
        """As written down; empty: never."""
        self.dispute: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
        """As written down here, and as the store names them instead; empty while there is none."""
        self._same: tuple[object, float] = ((), 0.0)
        """Who was there at the last look, and since when nobody else."""
        self._told: dict[str, object] = {}
        """Event -> what it was told of last."""

    def load(self) -> None:
        """Read the file, if there is one. Raises: ConfigError (it is damaged, or cannot be read)."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as fault:
            raise self._unusable(f"cannot be read: {fault.strerror or fault}") from fault
        try:
            kept = msgspec.json.decode(data, type=Kept)
        except msgspec.MsgspecError as fault:
            raise self._unusable(f"is damaged ({fault})") from fault
        if kept.crc != _crc(kept.cluster, kept.voters):
            raise self._unusable("is damaged (its check sum is another)")
        if kept.cluster != self._cluster:
            raise self._unusable(f"is that of the cluster {kept.cluster!r}, and CLUSTER_NAME is {self._cluster!r}")
        self._mine = tuple(kept.voters)

    async def known(self) -> tuple[str, ...]:
        """Waits until they are, and nobody disputes them. On the disk when it returns. Raises: OSError; then it may be tried again."""
        while True:
            try:
                voters = await self._agreed()
                self._told.pop("cluster.store_away", None)
            except Unavailable as fault:
                self._tell(logging.WARNING, "cluster.store_away", "", reason=str(fault))
                voters = ()
            if voters:
                await self._keep(voters)
                if len(voters) != self._size:
                    event(
                        log, logging.WARNING, "cluster.other_size", settled=list(voters), CLUSTER_SIZE=self._size,
                        reason="the voters were settled when the cluster was first formed; they stay",
                    )  # fmt: skip
                return voters
            await asyncio.sleep(SETTLE_LOOK_S)

    async def disputed(self) -> None:
        """Returns when the store names others; what the store has lost is put back meanwhile."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                settled = await self._settled() or await self._put_back()
            except (Unavailable, msgspec.MsgspecError):  # the election's own questions tell that the store is away
                continue
            if settled and settled != self._mine:
                self._dispute(settled)
                return

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _agreed(self) -> tuple[str, ...]:
        """Empty: not yet. Raises: Unavailable."""
        settled = await self._settled()
        if not settled:
            settled = await (self._put_back() if self._mine else self._settle())
        if settled and self._mine and settled != self._mine:
            self._dispute(settled)
            return ()
        if settled:
            self.dispute = (), ()
        if settled and self._told.pop("cluster.other_voters", None):
            event(log, logging.INFO, "cluster.voters_agree", voters=list(settled))
        return settled

    async def _settle(self) -> tuple[str, ...]:
        """Unless another does so first. Raises: Unavailable."""
        met, electing = self._met(), sorted(self._electing())
        if electing:
            self._tell(
                logging.WARNING, "cluster.not_settled", electing, electing=electing,
                reason="the store names no voters, and these nodes elect by those that they know: it is for them to put them back",
            )  # fmt: skip
        if not self._is_still(sorted(met)) or electing or len(met) < self._size:
            return ()
        ranked = sorted(met, key=lambda name: (-met[name], name))
        voters, others = sorted(ranked[: self._size]), sorted(ranked[self._size :])
        if await self._offer(voters) and others:
            event(
                log, logging.WARNING, "cluster.more_met", voters=voters, others=others, CLUSTER_SIZE=self._size,
                reason="more nodes were there than CLUSTER_SIZE: the others take jobs and follow, but have no vote",
            )  # fmt: skip
        return await self._settled()

    def _is_still(self, there: Sequence[str]) -> bool:
        """The same were there all through the last while."""
        now = asyncio.get_running_loop().time()
        if there != self._same[0]:
            self._same = (there, now)
        return now - self._same[1] >= self._patience_s

    async def _put_back(self) -> tuple[str, ...]:
        """Raises: Unavailable."""
        if await self._offer(self._mine):
            event(
                log, logging.WARNING, "cluster.voters_put_back", voters=list(self._mine), path=str(self.path),
                reason="the store named no voters any more: it has lost data. They are those that this node kept",
            )  # fmt: skip
        return await self._settled()

    async def _offer(self, voters: Iterable[str]) -> bool:
        """Unless somebody else has. Raises: Unavailable."""
        data = msgspec.msgpack.encode(list(voters))
        return await self._queue.put_document(DocumentKind.CLUSTER, DOCUMENT, data, 0) > 0

    async def _settled(self) -> tuple[str, ...]:
        """Raises: Unavailable."""
        for document in await self._queue.documents(DocumentKind.CLUSTER):
            if document.name == DOCUMENT:
                return tuple(msgspec.msgpack.decode(document.data, type=list[str]))
        return ()

    def _dispute(self, settled: tuple[str, ...]) -> None:
        self.dispute = self._mine, settled
        self._tell(
            logging.ERROR, "cluster.other_voters", settled, kept=list(self._mine), settled=list(settled), path=str(self.path),
            reason="the store names other voters than this node kept, so it has no part in elections: two leaders could be elected else."
            f" If the store's are right, stop this node, remove {self.path} and start it; if this node's are, do so on the nodes that have"
            " the others, and remove the store's before they start (docs/cluster.md, 'Two lists of voters')",
        )  # fmt: skip

    def _tell(self, level: int, name: str, of: object, **fields: object) -> None:
        """Once, until it is of something else."""
        if name not in self._told or self._told[name] != of:
            self._told[name] = of
            event(log, level, name, **fields)

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, voters: tuple[str, ...]) -> None:
        """Raises: OSError."""
        if voters == self._mine:
            return
        kept = Kept(self._cluster, list(voters), _crc(self._cluster, voters))
        await asyncio.to_thread(self._data.keep, self.path.name, msgspec.json.encode(kept) + b"\n")
        self._mine = voters

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self.path} {why}; it names the voters of this cluster. Remove it while another node that knows them runs, or the store has "
            "them (`zjp cluster nodes --json` at that node shows them): this node then takes them from there"
        )


def _crc(cluster: str, voters: Iterable[str]) -> int:
    return zlib.crc32("\n".join((cluster, *voters)).encode())
