"""What must hold after each step of any node that runs Gossip: G1 to G5, C1, C3, C4. An AssertionError names node and law."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.election.bench import Store
from zjp.election.core import Config, Core, Deed, Effects, Health
from zjp.wire.peers import Alive, EpochSeen, Reserved, Rumour, Stored, Sync, SyncReply

ORDER = {Health.ALIVE: 0, Health.SUSPECT: 1, Health.DEAD: 2, Health.LEFT: 2}


class Watch:
    """Fed by whoever runs the cores. `reserved`, `seen`: what the disk has of each node, with what is still under way in `pending`."""

    def __init__(self) -> None:
        self.told: dict[str, int] = defaultdict(int)
        """The highest incarnation that each node has told of itself, in any life."""
        self.reserved: dict[str, int] = defaultdict(int)
        self.epochs: dict[str, int] = defaultdict(int)
        self.owners: dict[int, str] = {}
        self._pending: dict[str, list[tuple[int, tuple[Stored, ...]]]] = defaultdict(list)
        self._newest: dict[str, int] = defaultdict(int)
        self._first: dict[str, int] = {}
        """The lowest incarnation of this life: the former one's highest is below."""
        self._store_epoch = 0

    def newest(self, name: str) -> int:
        return self._newest[name]

    def on_start(self, name: str, disk: list[Stored]) -> None:
        self._pending[name], self._newest[name] = [], 0
        self.reserved[name] = max((row.incarnation for row in disk if isinstance(row, Reserved)), default=0)
        self.epochs[name] = max((row.epoch for row in disk if isinstance(row, EpochSeen)), default=0)
        self._first[name] = self.told[name] + 1

    def on_wipe(self, name: str) -> None:
        """It may say again what it said before, until it hears of that."""
        self.told[name] = 0

    def on_effects(self, name: str, config: Config, core: Core, out: Effects, durable: int) -> None:
        self._on_disk(name, out, durable)
        for send in out.send:
            message: Any = send.message
            incarnation: int = message.incarnation
            assert incarnation < self.reserved[name], f"C4: {name} tells incarnation {incarnation}, not reserved"
            assert getattr(message, "max_epoch", 0) <= self.epochs[name], f"C4: {name} tells an epoch not on its disk"
        for send in (*out.send, *out.send_after):
            self._on_said(name, send.message)
        for op in out.store:
            if op.deed is Deed.INSTALL:
                assert op.epoch <= self.epochs[name], f"C4: {name} seeks epoch {op.epoch}, not on its disk"
        self._on_view(name, config, core)

    def on_store(self, store: Store) -> None:
        assert store.epoch >= self._store_epoch, "C2: the installed epoch fell"
        self._store_epoch = store.epoch
        if store.epoch:
            assert self.owners.setdefault(store.epoch, store.owner) == store.owner, "C1: two leaders in one epoch"

    def _on_disk(self, name: str, out: Effects, durable: int) -> None:
        if out.persist is not None:
            assert out.persist.number == self._newest[name] + 1, f"{name}: batches are numbered from 1 by one"
            self._newest[name] = out.persist.number
            self._pending[name].append((out.persist.number, out.persist.records))
        ready = [row for row in self._pending[name] if row[0] <= durable]
        self._pending[name] = [row for row in self._pending[name] if row[0] > durable]
        for record in (record for _, records in ready for record in records):
            if isinstance(record, Reserved):
                assert record.incarnation > self.reserved[name], f"{name} reserves less than before"
                self.reserved[name] = record.incarnation
            elif isinstance(record, EpochSeen):
                assert record.epoch > self.epochs[name], f"C3: {name} writes a lower epoch"
                self.epochs[name] = record.epoch

    def _on_said(self, name: str, message: Any) -> None:
        incarnation: int = message.incarnation
        assert incarnation >= self._first[name], f"G1: {name} tells incarnation {incarnation} of a former life"
        self.told[name] = max(self.told[name], incarnation)
        table: list[Rumour] = message.table if isinstance(message, (Sync, SyncReply)) else message.rumours
        for rumour in table:
            if isinstance(rumour, Alive):
                if rumour.node == name:
                    self.told[name] = max(self.told[name], rumour.incarnation)
                assert rumour.incarnation <= self.told[rumour.node], (
                    f"G1: {name} raises {rumour.node} to {rumour.incarnation}"
                )
            elif rumour.by != rumour.node:
                assert rumour.node != name, f"G3: {name} accuses itself"

    def _on_view(self, name: str, config: Config, core: Core) -> None:
        view = core.view()
        if view.is_in_office:
            fit = sum(member.health is Health.ALIVE for member in view.members.values())
            assert fit >= config.quorum, f"G5: {name} is in office with {fit} of {config.expected}"
            assert self.owners.get(view.epoch) == config.owner, (
                f"G5: {name} is in office with epoch {view.epoch}, not its own"
            )
