"""The queue in Redis, shared by many nodes: one Lua script per operation (zjp/queue/lua), one round trip per batch.

    server.py      what the server must be          inspection.py  what it is now, while nodes run
    opening.py     how a life begins                layout.py      a job's value and its pieces
    intake.py      submits, by submits.py           claiming.py    a claim and its outcomes in the scripts' terms
    turns.py       one claim at a time              finishing.py   outcomes, told until they are answered
    held.py        what this node has               fresh.py       what it just finished
    left.py        what others left in the outbox   sweeping.py    what cancels left in the lists
    looking.py     by id, lists, counts             promoting.py, purging.py   jobs that wait
    standing.py    leadership, users, schedules     leading.py     steps of the leader
    deeds.py       what may be told as done         hints.py       what other nodes tell this one
    store.py       RedisQueueStore, which joins them

The keys and why they are so: docs/decisions/0008-redis-layout.md.
"""

from .store import RedisQueueStore

__all__ = ["RedisQueueStore"]
