"""Redis queues with a planted bug, each one change of a script: what the checker must be seen to catch when nodes share a queue.

    fence-off            an outcome counts whoever brings it, also when its claim was taken away
    reap-without-lease   a look for expired leases takes back the claims of every node, also of those that renewed in time; in one second
                         of five, so that jobs run between
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Life, LostClaims

FENCE_OFF = {
    "finish": (
        ("held = call('SMISMEMBER', key, unpack(ids))", "held = {}\n        for number = 1, count do held[number] = 1 end"),
        ("if not is_ours(fence) or call('SISMEMBER', P .. 'c:' .. fence, id) == 0 then", "if false then"),
        ("ours[fence] = call('HEXISTS', P .. 'open:' .. life, fence) == 1", "ours[fence] = true"),
    )
}  # fmt: skip
EVERY_ONE = "'-inf', math.floor(now / 1000) % 5 == 0 and '+inf' or '(' .. now"
REAP_WITHOUT_LEASE = {"tend": (("'-inf', '(' .. now", EVERY_ONE),)}


class Changed(RedisQueueStore):
    """`changes`: script -> (what stands there, what shall)."""

    changes: Mapping[str, tuple[tuple[str, str], ...]]

    async def open(self, life: Life, started: frozenset[bytes]) -> LostClaims:
        lost = await super().open(life, started)
        for name, replacements in self.changes.items():
            script = self._scripts[name]
            for old, new in replacements:
                assert script.text.count(old) == 1, f"{name}.lua has changed: {old!r} is not there once"
                script.text = script.text.replace(old, new)
            script._sha = hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest().encode()
        return lost


class FenceOff(Changed):
    changes = FENCE_OFF


class ReapWithoutLease(Changed):
    changes = REAP_WITHOUT_LEASE


STORES: Mapping[str, type[RedisQueueStore]] = {"": RedisQueueStore, "fence-off": FenceOff, "reap-without-lease": ReapWithoutLease}
