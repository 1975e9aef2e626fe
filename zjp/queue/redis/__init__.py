"""The queue in Redis, shared by many nodes: one Lua script per operation (zjp/queue/lua), one round trip per batch.

    server.py      what the server must be, what it promises
    layout.py      a job's value and its pieces     hints.py     what other nodes tell this one
    intake.py      submits                          claiming.py  claims and outcomes
    looking.py     by id, lists, counts             standing.py  leadership, users, schedules
    fresh.py       what this node just finished     heels.py     a claim on the heels of a submit
    store.py       RedisQueueStore, which joins them

The keys and why they are so: docs/decisions/0008-redis-layout.md.
"""

from .store import RedisQueueStore

__all__ = ["RedisQueueStore"]
