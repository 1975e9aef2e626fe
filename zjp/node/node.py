"""One node: its parts, and the order in which they start and stop. No decisions about jobs are made here.

    start   data folder (lock, boot) > records > queue (takes back what the former life held) > leadership > workers > doors
            > HTTP API (a process; nobody waits for it) > claiming
    stop    doors refuse submits, leadership is given up > workers drain > outcomes written > HTTP API ends > outbox emptied
            > doors close > stores > data folder (clean)

The lock on the data folder is proof that the former life is dead; so its marks (which jobs its workers were running) may be read
and its claims taken back at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import Settings, cautions
from ..errors import ConfigError, Unavailable
from ..log import event
from ..queue.store import TURN_S, DocumentKind, Life, LostClaims
from ..records.outbox import OutboxDrain
from ..transport.gate import make_gate, remove_gate
from ..transport.mesh import PeerState
from ..transport.probe import DoorIsOpen
from ..transport.zap import Guard, open_guard
from ..wire.messages import LeaderReply, Role
from ..worker.marks import read_folder
from ..worker.pool import Pool
from .api import ApiProcess
from .askers import Askers
from .audit import Audit
from .chronicle import Chronicle
from .cluster import Cluster
from .desk import NodeDesk
from .dispatch import Dispatch
from .duties import FIGURES, Duties
from .election_log import put_aside
from .feed import FeedDesk
from .hardstate import DataDir, open_data_dir, refusal
from .intake import Intake
from .jobs import Jobs
from .outcomes import Judge
from .past import Past
from .places import Places
from .relay import Relay
from .schedules import Schedules
from .seen import Seen
from .shares import costs, limits, pool_settings, renew_s
from .stats import NodeStats
from .stores import check_durability, make_queue, make_records, place_of_records

OUTBOX_GRACE_S = 5.0
DOOR_GRACE_S = 1.0
GATE_BYTES = 32
FIRST_WORKER_S = 120.0
"""An application may load models at import."""

log = logging.getLogger(__name__)


class Node:
    """`start`, then `stop` exactly once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.address = self.gate_address = ""
        self._gate = secrets.token_bytes(GATE_BYTES)
        """Shown by the HTTP door that this node starts, and by nobody else."""
        self.api: ApiProcess | None = None
        self._guard: Guard | None = None
        self._records_count = 0
        self._refusal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why the application cannot be loaded, when that is found at the start."""
        self.displaced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why this node must not go on under its name, once that is so."""
        self._housekeeping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises: ConfigError, Unavailable; then nothing is left running."""
        settings = self.settings
        self._data: DataDir = open_data_dir(settings.data_dir, settings.node_id)
        try:
            await self._start_stores()
            await self._start_leadership()
            await self._start_workers()
            await self._open_door()
        except BaseException:
            await self._abandon()
            raise
        self._start_api()
        self.dispatch.is_claiming = settings.app is not None
        self.dispatch.wake()
        event(
            log,
            logging.INFO,
            "node.started",
            node=self._data.node_id,
            boot=self._data.boot,
            address=self.address,
            data_dir=str(settings.data_dir),
            durability=self.queue.level.value,
            tasks=len(self.dispatch.tasks),
        )
        if settings.app is None:
            event(
                log,
                logging.WARNING,
                "node.claims_nothing",
                reason="no APP is set; start it with --app module:app to run jobs",
            )

    async def _start_stores(self) -> None:
        settings, data = self.settings, self._data
        self.records = make_records(settings, data.path)
        await self.records.open()
        self.past = Past(self.records.get)
        # Records beside the queue are as near as the queue itself.
        self.queue = make_queue(settings, data.path, self.records.get if settings.mongodb_uri is None else self.past.look)
        marks = data.path / "marks"
        marks.mkdir(mode=0o700, exist_ok=True)
        lost = await self._begin_life(Life(data.node_id, data.boot, data.home, settings.advertise_address), read_folder(marks))
        if lost.boot:
            await self._catch_up(lost.boot)
        check_durability(self.queue.level, settings.require_durability)
        for old in marks.glob("*.marks"):
            old.unlink()
        if lost.jobs:
            event(
                log, logging.WARNING, "node.recovered", jobs=lost.jobs, suspects=lost.suspects, was_clean=data.was_clean
            )
        self.stats = NodeStats(data.node_id, data.boot)
        self.feed = FeedDesk()
        self.jobs = Jobs(self.queue, self.records)
        self.outbox = OutboxDrain(
            take=self.queue.outbox_share,
            remove=self.queue.outbox_remove,
            append=self.records.append,
            backlog=self.queue.backlog,
            look=self.queue.outbox if self.queue.is_shared else None,
        )
        self.queue.on_finished = self._on_finished
        loops = (self._outbox_loop, self._outbox_look_loop)
        self._housekeeping = [asyncio.create_task(loop()) for loop in loops]
        self.outbox.wake()

    async def _catch_up(self, boot: int) -> None:
        """The folder is new, or an older copy. What it promised goes first: a start that ends in between finds it behind again.
        Raises: ConfigError."""
        try:
            await asyncio.to_thread(put_aside, self._data.path)
        except OSError as fault:
            raise refusal(self._data.path, fault) from fault
        self._data.take_boot(boot)

    async def _begin_life(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        """Refused, or given up while it waits for another node's lease: it has not begun, and the folder must not seem to be ahead of the
        one that lives. Raises: ConfigError, Unavailable."""
        try:
            lost = await self.queue.open(life, started)
        except (ConfigError, asyncio.CancelledError):
            self._data.give_boot_back()
            raise
        self._began_at = time.monotonic()
        return lost

    def _on_finished(self, ids: Sequence[bytes]) -> None:
        self.jobs.finished(ids)
        self.outbox.wake()

    async def _start_leadership(self) -> None:
        """Before the workers, whose application may take its time: schedules wait for nobody. Raises: ConfigError."""
        self.chronicle = Chronicle(self._data.node_id, self.records, self.stats)
        self.cluster = Cluster(self.settings, self._data, self.queue, self.stats, self.chronicle)
        self.seen = Seen(
            self._me, self.cluster, self.chronicle, drain=self._set_draining, is_draining=lambda: self.intake.is_draining
        )
        self.duties = Duties(self.cluster, self.queue, self.records, self.stats, dead=self.cluster.dead)
        self.cluster.on_change = self.duties.wake
        self.duties.start()
        self.chronicle.start()
        await self.cluster.start()

    def _me(self) -> PeerState:
        data, settings = self._data, self.settings
        return PeerState(data.node_id, data.boot, settings.zmq_advertise or self.address, settings.node_priority, True)

    def _set_draining(self, is_draining: bool) -> int:
        """At an operator's word, and back again. How many jobs the node holds."""
        self.intake.is_draining = is_draining
        self.dispatch.is_claiming = not is_draining and self.settings.app is not None
        event(log, logging.INFO, "node.drained" if is_draining else "node.resumed", held=len(self.pool.held))
        if is_draining:
            self.pool.recall()
            self.cluster.transfer("")
        self.dispatch.wake()
        return len(self.pool.held)

    async def _ask_leader(self) -> LeaderReply:
        try:
            documents = await self.queue.documents(DocumentKind.CLUSTER)
        except Unavailable:
            documents = ()  # who leads is known without the store, its figures are not
        return self._leader(next((document.data for document in documents if document.name == FIGURES), b""))

    def _leader(self, figures: bytes = b"") -> LeaderReply:
        view, cluster = self.cluster.view, self.cluster
        is_here = view.leader == self._data.node_id
        return LeaderReply(
            view.leader, view.epoch, view.role.value, cluster.algorithm, is_here, cluster.is_in_office, view.has_quorum, figures
        )

    async def _start_workers(self) -> None:
        settings = self.settings
        lease_s = settings.lease_duration_s if self.queue.is_shared else math.inf
        self.dispatch = Dispatch(
            self.queue,
            Judge(self._data.node_id, costs(settings), random.random),
            self.stats,
            weights=dict(settings.queues),
            renew_s=renew_s(settings),
            lease_s=lease_s,
            feed=self.feed,
            places=Places(self._data.node_id, place_of_records(settings)),
        )
        self.pool = Pool(
            pool_settings(settings, node=self._data.node_id, folder=self._data.path),
            on_ready=self.dispatch.on_ready,
            on_not_ready=self._on_not_ready,
            on_results=self.dispatch.on_results,
            on_returned=self.dispatch.on_returned,
            on_crashed=self.dispatch.on_crashed,
            on_progress=self.dispatch.on_progress,
            on_credit=self.dispatch.on_credit,
        )
        self.pool.keep(self._began_at + lease_s)
        self.dispatch.pool = self.jobs.pool = self.pool
        self.dispatch.on_taken = self._on_taken
        self.dispatch.start()
        if settings.app is not None:
            await self._first_worker()

    async def _first_worker(self) -> None:
        """Raises: ConfigError when the application cannot be loaded."""
        await self.pool.start()
        ready = asyncio.create_task(self.dispatch.is_ready.wait())
        waits: set[asyncio.Future[Any]] = {ready, self._refusal}
        await asyncio.wait(waits, timeout=FIRST_WORKER_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._refusal.done():
            raise ConfigError(f"APP={self.settings.app}: {self._refusal.result()}")
        if not self.dispatch.is_ready.is_set():
            raise Unavailable(
                f"no worker process was ready within {FIRST_WORKER_S:.0f} s; look for what the application does at import"
            )

    def _on_taken(self, address: str) -> None:
        if not self.displaced.done():
            self.displaced.set_result(
                f"NODE_ID={self._data.node_id}: another node took this name over while this one was silent"
                f"{f' and lives at {address}' if address else ''}; if this one was not silent, that one runs on a copy "
                "of this DATA_DIR; give each node a DATA_DIR and a name of its own"
            )

    def _on_not_ready(self, reason: str) -> None:
        """At the first start a wrong APP ends the node; later (a file changed under it) the pool tries again by itself."""
        if not self.dispatch.is_ready.is_set() and not self._refusal.done():
            self._refusal.set_result(reason)

    async def _open_door(self) -> None:
        settings = self.settings
        self._guard = self._make_guard()
        askers = Askers(gate=self._gate, is_auth_on=settings.auth_effective)
        self._make_desk(askers)
        self.intake = Intake(
            node=self._data.node_id,
            boot=self._data.boot,
            cluster=settings.cluster_name,
            limits=limits(settings),
            queue=self.queue,
            jobs=self.jobs,
            stats=self.stats,
            ask_stats=self._ask_stats,
            tasks=lambda: sorted(self.dispatch.tasks),
            schedules=Schedules(self.queue, limits(settings), self.duties.schedules_changed),
            ask_leader=self._ask_leader,
            more=self.seen.answers,
            guard=self._guard,
            askers=askers,
            desk={**self.desk.answers, **self.relay.answers},
            feed=self.feed,
            on_done=Audit(self.chronicle).done,
        )
        self.desk.start()
        self.address = self.intake.bind(settings.zmq_bind)
        self.gate_address = self.intake.bind_gate(make_gate(self._data.path))
        await self.intake.door.test()
        self.cluster.join(self.intake.door, self.address)

    def _make_desk(self, askers: Askers) -> None:
        self.desk = NodeDesk(
            self.queue, self.records, self.chronicle, self.feed, list_jobs=self.jobs.list, cancel=lambda ids: self.intake.cancel(ids),
        )  # fmt: skip
        self.relay = Relay(
            self._data.node_id, askers, tell=self.cluster.tell, knows=lambda node: node in {one.node for one in self.seen.nodes()},
            carry_out=lambda asker, request: self.intake.carry_out(asker, request),
            vouched=Role.ADMIN if self._guard is not None or not self.settings.auth_effective else Role.USER,
        )  # fmt: skip
        self.cluster.on_relayed = self.relay.on_message

    def _start_api(self) -> None:
        """Nothing here waits for it, or needs it."""
        if not self.settings.api_enabled:
            return
        for name, reason in cautions(self.settings):
            event(log, logging.WARNING, name, reason=reason)
        self.api = ApiProcess(self.settings, self.stats, node=self._data.node_id, address=self.gate_address, gate=self._gate)
        self.api.start()

    def reload_api(self, settings: Settings) -> None:
        if self.api is not None:
            self.api.reload(settings)

    def _make_guard(self) -> Guard | None:
        """Raises: ConfigError."""
        if not self.settings.curve_enabled or self.settings.zmq_bind.startswith("ipc://"):
            return None
        return open_guard(self.settings.curve_folder, self._data.node_id)

    async def reload_keys(self) -> None:
        """Read the authorized keys again; who is gone from them is cut off. Keys that cannot be read change nothing."""
        if self._guard is None:
            return
        try:
            self._guard.reload()
            self.cluster.keys_changed()
            await self.intake.door.test()
        except DoorIsOpen as fault:
            event(log, logging.ERROR, "curve.door_is_open", reason=str(fault))
            await self.intake.close(0.0)
        except Unavailable as fault:  # a busy machine; the door is as shut as it was
            event(log, logging.ERROR, "curve.not_tested", reason=str(fault))
        except ConfigError as fault:
            event(log, logging.ERROR, "curve.not_reloaded", reason=str(fault))
        else:
            event(log, logging.INFO, "curve.reloaded", authorized=len(self._guard.holders()))

    async def _ask_stats(self) -> bytes:
        counts = await self.queue.counts()
        try:
            self._records_count = await self.records.count()
        except Unavailable:
            pass  # as last known: the rest is worth telling
        self.seen.count(self.stats)
        return self.stats.table(
            counts=counts,
            workers=self.pool.states(),
            backlog=self.queue.backlog(),
            refused=self.outbox.refused,
            records_count=self._records_count,
            is_draining=self.intake.is_draining,
            leader=self._leader(),
            more={"app": self.settings.app is not None, "is_claiming": self.dispatch.is_claiming, "election": self._election()},
        )

    def _election(self) -> dict[str, Any]:
        timeout_s, interval_s = self.settings.election_times_s
        view = self.cluster.view
        return {
            "algorithm": self.cluster.algorithm, "timeout_s": timeout_s, "interval_s": interval_s, "epoch": view.epoch,
            "role": view.role.value,
        }  # fmt: skip

    async def _outbox_loop(self) -> None:
        """The drain ends by itself only when it is told to, or by a bug: then it is logged, counted and begun again."""
        while True:
            try:
                await self.outbox.run()
                return
            except Exception:
                log.exception("outbox.failed")
                self.stats.add("zjp_internal_errors_total")
                await asyncio.sleep(1.0)

    async def _outbox_look_loop(self) -> None:
        """What other nodes put into a shared outbox, or left there when they died, wakes nobody here."""
        while self.queue.is_shared:
            await asyncio.sleep(TURN_S / 2)
            if self.queue.backlog().count:
                self.outbox.wake()

    # ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, grace_s: float) -> bool:
        """Drain for `grace_s`, then hand back. True: everything that ran has finished."""
        event(log, logging.INFO, "node.draining", grace_s=grace_s, running=len(self.pool.held))
        self.intake.is_draining = True
        await self._give_up_leadership()
        all_finished = await self.dispatch.drain(grace_s)
        await self.dispatch.stop()
        if self.api is not None:  # until now it told whoever asked that the node drains
            await self.api.stop()
        await self.outbox.stop(within_s=OUTBOX_GRACE_S)
        await self.intake.close(DOOR_GRACE_S)
        await self._close_desk()
        remove_gate(self._data.path)
        await self._close_stores()
        self._data.close(clean=True)
        event(log, logging.INFO, "node.stopped", all_finished=all_finished)
        return all_finished

    def hand_back_now(self) -> None:
        """Cut the grace time of a running `stop` short."""
        self.pool.kill()
        self.dispatch.hurry()

    def kill_workers(self) -> None:
        """At once, without handing anything back: the next start of this node takes their jobs back."""
        if hasattr(self, "pool"):
            self.pool.kill()
        if self.api is not None:
            self.api.kill()

    def log_as(self, level: str, format: str) -> None:
        """LOG_LEVEL and LOG_FORMAT of the worker processes, now and later. (The node's own logging is its process's matter.)"""
        self.settings = dataclasses.replace(self.settings, log_level=level, log_format=format)
        if hasattr(self, "pool"):
            self.pool.log_as(level, format)

    def dump_election(self) -> None:
        """On SIGUSR1."""
        if hasattr(self, "cluster"):
            self.cluster.dump()

    def state(self) -> dict[str, object]:
        """For the log, on SIGUSR1."""
        if not hasattr(self, "intake"):
            return {"phase": "starting"}
        return {
            "address": self.address,
            "requests_under_way": self.intake.under_way_count,
            "held": len(self.pool.held),
            "workers": [repr(worker) for worker in self.pool.states()],
            "backlog": repr(self.queue.backlog()),
            "is_claiming": self.dispatch.is_claiming,
        }

    async def _give_up_leadership(self) -> None:
        """Duties first, so that none of their writes is refused for it."""
        await self.duties.stop()
        await self.cluster.stop()
        await self.chronicle.stop()

    async def _close_desk(self) -> None:
        await self.relay.close()
        await self.desk.stop()

    async def _close_stores(self) -> None:
        for task in self._housekeeping:
            task.cancel()
        await asyncio.gather(*self._housekeeping, return_exceptions=True)
        await self.queue.close()
        await self.past.close()
        await self.records.close()

    async def _abandon(self) -> None:
        """A start that failed half-way: leave nothing behind, keep the first error."""
        if self.api is not None:
            await self.api.stop()
        if hasattr(self, "intake"):
            await self.intake.close(0.0)
            await self._close_desk()
            remove_gate(self._data.path)
        if hasattr(self, "pool"):
            await self.dispatch.stop()
            await self.pool.stop(0.0)
        if hasattr(self, "cluster"):
            await self._give_up_leadership()
        if hasattr(self, "queue"):
            await self._close_stores()
        self._data.close(clean=not hasattr(self, "queue"))

