"""zjp: the job processor for Python that needs nothing to start and survives everything.

What applications use is named here and loaded on first use, so that importing a pure part loads no ZeroMQ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .client.app import App
    from .client.asyncio import AsyncClient, AsyncJob
    from .client.blocking import Client, Job
    from .job import JobState, Priority
    from .retry import RetryPolicy
    from .task import Context, Discard, Retry, Snooze, SoftTimeout

_HOMES = {
    "App": "client.app",
    "AsyncClient": "client.asyncio",
    "AsyncJob": "client.asyncio",
    "Client": "client.blocking",
    "Job": "client.blocking",
    "JobState": "job",
    "Priority": "job",
    "RetryPolicy": "retry",
    "Context": "task",
    "Discard": "task",
    "Retry": "task",
    "Snooze": "task",
    "SoftTimeout": "task",
}

__all__ = [
    "App",
    "AsyncClient",
    "AsyncJob",
    "Client",
    "Context",
    "Discard",
    "Job",
    "JobState",
    "Priority",
    "Retry",
    "RetryPolicy",
    "Snooze",
    "SoftTimeout",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'zjp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
