"""What befalls the servers that nodes share: Redis killed, stopped, its connections reset; Mongo away.

Each is a fault of kind `store`, which excuses nothing: a store that was away must have kept what it acknowledged, and a node that could not
renew its lease is seen to have been silent.
"""

from __future__ import annotations

import time

from tests.chaos.nemesis import Nemesis
from tests.chaos.servers import Servers

REDIS_AWAY_S = (0.0, 1.5)
RESETS = ("cut", "answer lost", "request cut")
ANSWER_BYTES, REQUEST_BYTES = (0, 60), (0, 400)
REDIS_KILL, REDIS_STOP, RESET, MONGO = "redis kill", "redis stop", "reset", "mongo away"
"""First words of the fault lines."""


class Outages:
    """Deeds of the nemesis. `begun`: how many of each, by the names above."""

    def __init__(self, nemesis: Nemesis, servers: Servers) -> None:
        self._nemesis, self._servers = nemesis, servers
        self._draw, self._counts = nemesis.draw, nemesis.toll.others

    def kill_redis(self) -> None:
        """kill -9, and a new one on the same files a moment later."""
        since = time.monotonic_ns()
        self._servers.redis.kill()
        self._nemesis.rest(self._draw.uniform(*REDIS_AWAY_S))
        self._servers.redis.start()
        self._say(REDIS_KILL, since)

    def stop_redis(self, seconds: float) -> None:
        """SIGSTOP: connections stand, and nobody answers."""
        since = time.monotonic_ns()
        self._servers.redis.pause()
        self._nemesis.rest(seconds)
        self._servers.redis.go_on()
        self._say(REDIS_STOP, since, f"{seconds:g} s")

    def reset_connections(self) -> None:
        """Of all nodes: now, or in the middle of the next answers, whose requests are carried out, or of the next requests."""
        how = self._draw.choice(RESETS)
        since = time.monotonic_ns()
        proxy = self._servers.proxy
        assert proxy is not None
        if how == "cut":
            proxy.say("cut")
        elif how == "answer lost":
            proxy.say("limit_data", direction="down", more_bytes=self._draw.randint(*ANSWER_BYTES))
        else:
            proxy.say("limit_data", direction="up", more_bytes=self._draw.randint(*REQUEST_BYTES))
        self._say(RESET, since, how)

    def take_mongo_away(self, seconds: float) -> None:
        """Cut off. Nothing else is done meanwhile, so that what jobs do then is Mongo's doing."""
        proxy = self._servers.mongo_proxy
        assert proxy is not None, "this run has no Mongo"
        self._nemesis.until_standing(len(self._nemesis.stage.nodes))
        since = time.monotonic_ns()
        proxy.say("refuse")
        proxy.say("cut")
        self._nemesis.rest(seconds)
        proxy.say("heal")
        self._say(MONGO, since, f"{seconds:g} s")

    def _say(self, what: str, since: int, how: str = "") -> None:
        self._nemesis.say_fault("store", since, f"{what} {how}".rstrip())
        self._counts[what] += 1
