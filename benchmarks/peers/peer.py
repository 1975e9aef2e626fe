"""Who is compared, at which version, how it is started and how many jobs of each kind make a measurement of some seconds.

A peer is a module in `sides/` (what its producer and its workers load) and a row here. All of them run two worker processes on a Redis of
their own that keeps an append-only file, synced each second. Settings that a row names come from the peer's own documentation; what they
are for stands in docs/benchmarks-peers.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Jobs(NamedTuple):
    """How many jobs each measurement takes; none: the peer has no such call."""

    singly: int
    callers: int
    many: int
    both: int

    def scaled(self, divisor: int) -> Jobs:
        return Jobs(*(max(20, count // divisor) if count else 0 for count in self))


@dataclass(frozen=True, slots=True)
class Peer:
    """`workers`: one command for each process to start; `{bin}`, `{python}`, `{folder}` and `{port}` are filled in."""

    name: str
    label: str
    side: str
    workers: tuple[tuple[str, ...], ...]
    jobs: Jobs
    requirements: tuple[str, ...] = ()
    go_module: str = ""
    pauses_queue: bool = False
    """It fills its queue by pausing it. Others have their workers stopped (SIGSTOP) meanwhile; zjp's node is also its door."""
    uses_redis: bool = True

    @property
    def is_ours(self) -> bool:
        return not self.requirements and not self.go_module


_NODE = (
    "{python}", "-m", "zjp.node", "--app", "zjp_side:app", "--worker-processes", "2", "--worker-count", "2",
    "--zmq-bind", "ipc://{folder}/door", "--data-dir", "{folder}/data", "--log-level", "WARNING",
    "--api-enabled", "false",
)  # fmt: skip

PEERS = (
    Peer(
        "zjp-redis", "zjp, Redis", "zjp_side", ((*_NODE, "--redis-addr", "127.0.0.1:{port}"),),
        Jobs(2_000, 20_000, 100_000, 100_000), pauses_queue=True,
    ),
    Peer(
        "zjp-sqlite", "zjp, SQLite FULL", "zjp_side", (_NODE,),
        Jobs(1_000, 20_000, 100_000, 100_000), pauses_queue=True, uses_redis=False,
    ),
    Peer(
        "celery", "Celery", "celery_side",
        (("{bin}/celery", "-A", "celery_side", "worker", "-c", "2", "-l", "ERROR",
          "--without-gossip", "--without-mingle", "--without-heartbeat"),),
        Jobs(1_000, 1_000, 1_000, 2_000), ("celery==5.7.0", "redis==8.1.0", "hiredis==3.5.0", "packaging==25.0"),
    ),
    Peer(
        "dramatiq", "Dramatiq", "dramatiq_side",
        (("{bin}/dramatiq", "dramatiq_side", "--processes", "2", "--threads", "8", "--skip-logging"),),
        Jobs(4_000, 4_000, 0, 8_000), ("dramatiq==2.2.1", "redis==8.1.0", "hiredis==3.5.0"),
    ),
    Peer(
        "rq", "RQ", "rq_side",
        (("{bin}/rq", "worker", "-q", "-w", "rq.worker.SimpleWorker", "-u", "redis://127.0.0.1:{port}/0"),) * 2,
        Jobs(500, 300, 500, 1_000), ("rq==3.0.0", "redis==8.1.0", "hiredis==3.5.0"),
    ),
    Peer(
        "arq", "arq", "arq_side", (("{bin}/arq", "arq_side.WorkerSettings"),) * 2,
        Jobs(2_000, 2_000, 0, 4_000), ("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0", "uvloop==0.23.0"),
    ),
    Peer(
        "taskiq", "taskiq", "taskiq_side",
        (("{bin}/taskiq", "worker", "taskiq_side:broker", "--workers", "2", "--log-level", "ERROR"),),
        Jobs(3_000, 5_000, 0, 8_000),
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0", "hiredis==3.5.0", "uvloop==0.23.0"),
    ),
    Peer(
        "saq", "SAQ", "saq_side", (("{bin}/saq", "saq_side.settings", "-q"),) * 2,
        Jobs(2_000, 5_000, 0, 6_000), ("saq==0.26.4", "redis==7.4.1", "hiredis==3.5.0", "uvloop==0.23.0", "typing-extensions"),
    ),
    Peer(
        "huey", "Huey", "huey_side", (("{bin}/huey_consumer", "huey_side.huey", "-w", "2", "-k", "process", "-n", "-q"),),
        Jobs(4_000, 6_000, 0, 10_000), ("huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0"),
    ),
    Peer("asynq", "asynq", "", (("{bin}/side", "work"),) * 2, Jobs(8_000, 12_000, 0, 15_000), go_module="asynq"),
)  # fmt: skip


def named(names: str | None) -> list[Peer]:
    """`a,b` in the table's order. Raises: ValueError."""
    if not names:
        return list(PEERS)
    wanted = {name.strip() for name in names.split(",")}
    if unknown := wanted - {peer.name for peer in PEERS}:
        raise ValueError(
            f"unknown peers {', '.join(sorted(unknown))}; there are {', '.join(peer.name for peer in PEERS)}"
        )
    return [peer for peer in PEERS if peer.name in wanted]
