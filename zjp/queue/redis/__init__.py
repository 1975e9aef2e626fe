"""The queue in Redis, shared by many nodes: one Lua script per operation (zjp/queue/lua), one round trip per batch.

    address.py     what REDIS_ADDR means            script.py    the Lua files, and calling one
    lane.py        one connection, calls in order   server.py    what the server must be, what it promises
    layout.py      a job's value and its pieces     hints.py     what other nodes tell this one
    intake.py      submits                          claiming.py  claims and outcomes
    looking.py     by id, lists, counts             store.py     RedisQueueStore, which joins them

The keys and why they are so: docs/decisions/0007-redis-layout.md.
"""

from .store import RedisQueueStore

__all__ = ["RedisQueueStore"]
