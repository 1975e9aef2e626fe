"""What the pool must be told, and what it tells each worker process: plain data, no deeds.

`PoolSettings` is made by the node from its settings; `ChildSettings` travels to a worker process as one msgpack blob through its
stdin, so nothing of it shows in `ps` or in the environment. Neither holds a secret.
"""

from __future__ import annotations

import msgspec

from ..retry import RetryPolicy


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`app` is "module:attribute"; `folder` is put on the path to find it (empty: the current one). `marks_folder` holds the files that say
    what was running; empty: beside the sockets, gone with the pool."""

    app: str
    node: str = ""
    folder: str = ""
    marks_folder: str = ""
    slots: int = 10
    processes: int = 2
    strategy: str = "round_robin"
    max_jobs: int = 0
    max_rss_bytes: int = 0
    cancel_grace_s: float = 5.0
    job_timeout_s: float = 1800.0
    soft_timeout_s: float | None = None
    max_retries: int = 3
    retry: RetryPolicy = RetryPolicy()
    max_result_bytes: int = 1 << 20
    log_level: str = "info"
    log_format: str = "auto"
    environment: dict[str, str] = {}
    """Variables for the processes, where the node's own environment has none."""


class ChildSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`inbox` and `outbox` are ipc endpoints; `parent_pid` is whom the process must not outlive; `python_path` is what PYTHONPATH was
    before the pool added the folder of zjp to it (None: unset)."""

    worker: str
    node: str
    app: str
    folder: str
    slots: int
    inbox: str
    outbox: str
    marks_path: str
    parent_pid: int
    job_timeout_s: float
    soft_timeout_s: float | None
    max_retries: int
    retry: RetryPolicy
    max_result_bytes: int
    python_path: str | None
    log_level: str
    log_format: str
    environment: dict[str, str]


def child_settings(
    pool: PoolSettings,
    *,
    worker: str,
    slots: int,
    inbox: str,
    outbox: str,
    marks_path: str,
    parent_pid: int,
    folder: str,
    python_path: str | None,
) -> ChildSettings:
    return ChildSettings(
        worker=worker,
        node=pool.node,
        app=pool.app,
        folder=folder,
        slots=slots,
        inbox=inbox,
        outbox=outbox,
        marks_path=marks_path,
        parent_pid=parent_pid,
        job_timeout_s=pool.job_timeout_s,
        soft_timeout_s=pool.soft_timeout_s,
        max_retries=pool.max_retries,
        retry=pool.retry,
        max_result_bytes=pool.max_result_bytes,
        python_path=python_path,
        log_level=pool.log_level,
        log_format=pool.log_format,
        environment=pool.environment,
    )


def spread(slots: int, processes: int) -> list[int]:
    """Slots of each process: 10 over 3 are 4, 3, 3."""
    each, over = divmod(slots, processes)
    return [each + (index < over) for index in range(processes)]
