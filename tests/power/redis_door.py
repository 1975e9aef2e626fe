"""Scripts of the queue's data model in Redis, small, and the connection that runs them.

    j      id -> payload: in it = not finished        q      ids that wait        c:<claim>   ids a claim holds
    f      id -> outcome                              open   claims

One script per batch, each removes first and adds second, and a repeat of any is recognised: what the design asks of the queue in Redis.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.redis_server import RedisServer
from zjp.wire.messages import Durability

TIMEOUT_S = 1.0
CLAIM_MAX = 50
LOOK_MAX = 1_000
FAULTS = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError)
"""What an asker meets when the power goes; MISCONF is a ResponseError."""

SUBMIT = """
local made = {}
for i = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 and redis.call('HEXISTS', KEYS[3], ARGV[i]) == 0 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('RPUSH', KEYS[2], ARGV[i])
    made[#made + 1] = ARGV[i]
  end
end
return made
"""
CLAIM = """
local ids = redis.call('LPOP', KEYS[1], ARGV[1])
if not ids then return {} end
redis.call('SADD', KEYS[2] .. ARGV[2], unpack(ids))
redis.call('SADD', KEYS[3], ARGV[2])
return ids
"""
FINISH = """
local told = {}
for i = 2, #ARGV, 2 do
  if redis.call('SREM', KEYS[1] .. ARGV[1], ARGV[i]) == 1 then
    redis.call('HDEL', KEYS[3], ARGV[i])
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1])
    told[#told + 1] = ARGV[i]
  end
end
if redis.call('SCARD', KEYS[1] .. ARGV[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
return told
"""
RELEASE = """
local count = 0
for _, claim in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local ids = redis.call('SMEMBERS', KEYS[2] .. claim)
  redis.call('DEL', KEYS[2] .. claim)
  for _, id in ipairs(ids) do redis.call('RPUSH', KEYS[3], id) end
  count = count + #ids
end
redis.call('DEL', KEYS[1])
return count
"""
PREFIX = "{zjp:power}:"
LIVE, QUEUE, DONE, CLAIMS, OPEN = (PREFIX + name for name in ("j", "q", "f", "c:", "open"))


class Door:
    """A connection that asks each thing once: a repeat by the driver would hide what became of the first."""

    def __init__(self, server: RedisServer) -> None:
        self._redis: Any = redis.Redis(
            unix_socket_path=server.socket, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0), decode_responses=True
        )
        self._submit, self._claim, self._finish, self._release = map(self._redis.register_script, (SUBMIT, CLAIM, FINISH, RELEASE))

    def submit(self, ids: Sequence[str]) -> list[str]:
        """Those that were new."""
        made: list[str] = self._submit([LIVE, QUEUE, DONE], [text for job in ids for text in (job, f"payload of {job}" * 4)])
        return made

    def work(self, count: int = CLAIM_MAX) -> dict[str, str]:
        """Claim some and finish them, each in a way of its own. job -> outcome, as accepted."""
        claim = secrets.token_hex(8)
        ids = self._claim([QUEUE, CLAIMS, OPEN], [count, claim])
        if not ids:
            return {}
        outcomes = {job: secrets.token_hex(8) for job in ids}
        accepted = self._finish([CLAIMS, OPEN, LIVE, DONE], [claim, *(text for pair in outcomes.items() for text in pair)])
        return {job: outcomes[job] for job in accepted}

    def release_all(self) -> int:
        """What claims of the dead still hold goes back."""
        count: int = self._release([OPEN, CLAIMS, QUEUE], [])
        return count

    def level(self) -> Durability:
        """From the server's real settings."""
        said = self._redis.config_get("append*")
        if said["appendonly"] != "yes":
            return Durability.PROCESS
        return {"always": Durability.DISK, "everysec": Durability.DISK_1S}.get(said["appendfsync"], Durability.PROCESS)

    def live_count(self) -> int:
        count: int = self._redis.hlen(LIVE)
        return count

    def look(self, jobs: Sequence[str]) -> dict[str, str]:
        """job -> outcome, empty while it has none; those that are not there are left out."""
        found = {}
        for at in range(0, len(jobs), LOOK_MAX):
            part = jobs[at : at + LOOK_MAX]
            outcomes, payloads = self._redis.hmget(DONE, part), self._redis.hmget(LIVE, part)
            for job, outcome, payload in zip(part, outcomes, payloads, strict=True):
                if outcome is not None or payload is not None:
                    found[job] = outcome or ""
        return found

    def close(self) -> None:
        self._redis.close()


@contextlib.contextmanager
def door(server: RedisServer) -> Iterator[Door]:
    opened = Door(server)
    try:
        yield opened
    finally:
        opened.close()
