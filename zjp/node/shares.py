"""The node's settings as its parts take them: each part's share of the table, and nothing else. What the stores get stands in stores.py.

Every setting passes through exactly one of these on its way from the table to where it counts; a test holds each to that.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..config import Settings
from ..job import Limits
from ..retry import RetryPolicy
from ..worker.pool import PoolSettings
from .outcomes import Costs

RENEW_MAX_S = 1.0


def costs(settings: Settings) -> Costs:
    return Costs(max_retries=settings.max_retries, retry=retry_policy(settings), crash_limit=settings.crash_limit)


def limits(settings: Settings) -> Limits:
    """Of submitted jobs."""
    return Limits(settings.max_payload_bytes)


def renew_s(settings: Settings) -> float:
    """Period of renewing the lease: two may fail before it is lost."""
    return min(RENEW_MAX_S, settings.lease_duration_s / 3)


def retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        kind="fixed" if settings.retry_policy == "fixed" else "exponential",
        base_s=settings.retry_base_delay_s,
        max_s=settings.retry_max_delay_s,
        multiplier=settings.retry_multiplier,
        jitter_factor=settings.retry_jitter_factor,
    )


def pool_settings(settings: Settings, *, node: str, folder: Path) -> PoolSettings:
    """`node`: its name; `folder`: DATA_DIR."""
    return PoolSettings(
        app=settings.app or "",
        node=node,
        slots=settings.worker_count,
        processes=settings.process_count,
        strategy=settings.load_balancer_strategy,
        marks_folder=str(folder / "marks"),
        max_jobs=settings.worker_max_jobs,
        max_rss_bytes=settings.worker_max_rss_bytes,
        cancel_grace_s=settings.cancel_grace_s,
        job_timeout_s=settings.job_timeout_s,
        soft_timeout_s=settings.soft_timeout_s,
        max_retries=settings.max_retries,
        retry=retry_policy(settings),
        max_result_bytes=settings.max_result_bytes,
        log_level=settings.log_level,
        log_format=settings.log_format,
        environment=client_environment(settings),
    )


def client_environment(settings: Settings) -> dict[str, str]:
    """So that a task that submits jobs speaks to its own node, whatever that listens on, unless CLIENT_ADDRESS says otherwise."""
    found = {"CLUSTER_NAME": settings.cluster_name}
    if settings.client_address != Settings().client_address:
        found["CLIENT_ADDRESS"] = ",".join(settings.client_address)
    elif not settings.zmq_bind.endswith(":*"):
        found["CLIENT_ADDRESS"] = re.sub(r"//(0\.0\.0\.0|\*)(?=:\d+$)", "//127.0.0.1", settings.zmq_bind).replace("[::]", "[::1]")
    return found
