"""A primary, a replica and three Sentinels that watch them, for tests: private servers on free ports, gone with their parent.

    python -m scripts.redis_sentinels [NAME VALUE ...]      prints the URL, runs until stopped

`NAME VALUE` are lines of redis.conf for primary and replica. A primary is held for down after DOWN_S, which is short, for tests.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping

from .redis_server import RedisServer

NAME = "mymaster"
SENTINELS, QUORUM = 3, 2
DOWN_S = 2.0
READY_S = 30.0
CONFIG = """\
sentinel monitor {name} 127.0.0.1 {port} {quorum}
sentinel down-after-milliseconds {name} {down_ms}
sentinel failover-timeout {name} 1500
"""
LINK = {"repl-diskless-sync-delay": "0"}


class WatchedRedis:
    """`start`, then `url`. `primary` and `replica` keep the names they began with. `stop` at the end.

    `tls`: lines of redis.conf (tls-cert-file, ...); with them no server has a port without TLS.
    """

    def __init__(self, *, options: Mapping[str, str] | None = None, tls: Mapping[str, str] | None = None) -> None:
        self._tls = tls
        chosen = LINK | dict(options or {})
        self.primary = RedisServer(options=chosen)
        self.replica = RedisServer(options=chosen | {"replicaof": f"127.0.0.1 {self.primary.port}"})
        self.sentinels: list[RedisServer] = []
        for server in (self.primary, self.replica):
            self._secure(server)

    def _secure(self, server: RedisServer) -> None:
        if self._tls is not None:
            server.options |= {"port": "0", "tls-port": str(server.port), "tls-replication": "yes", **self._tls}

    @property
    def url(self) -> str:
        return f"redis{'' if self._tls is None else 's'}+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{NAME}"

    def start(self) -> None:
        """Returns once a fail-over would succeed. Raises: NotInstalled, TimeoutError."""
        try:
            self.primary.start()
            self.replica.start()
            wait_until(lambda: replication(self.replica).get("master_link_status") == "up")
            for _ in range(SENTINELS):
                self._add_sentinel()
            wait_until(lambda: all(self._sees_all(one) for one in self.sentinels))
        except BaseException:
            self.stop()
            raise

    def _add_sentinel(self) -> None:
        folder = self.primary.folder / f"sentinel-{len(self.sentinels)}"
        folder.mkdir()
        path = folder / "sentinel.conf"
        path.write_text(CONFIG.format(name=NAME, port=self.primary.port, quorum=QUORUM, down_ms=round(DOWN_S * 1000)))
        self.sentinels.append(RedisServer(folder=folder, arguments=[str(path), "--sentinel"]))
        self._secure(self.sentinels[-1])
        self.sentinels[-1].start()

    def _sees_all(self, sentinel: RedisServer) -> bool:
        facts = _master(sentinel)
        return facts.get("num-slaves") == "1" and facts.get("num-other-sentinels") == str(SENTINELS - 1)

    def chosen_port(self) -> int:
        """Of the primary, as the first Sentinel says."""
        return int(_master(self.sentinels[0])["port"])

    def await_fail_over(self) -> None:
        """Until the Sentinels name the replica, and it is a primary. Raises: TimeoutError."""
        wait_until(lambda: self.chosen_port() == self.replica.port and replication(self.replica)["role"] == "master")

    def cut_link(self) -> None:
        """From here on the replica gets nothing from the primary: it asks with a password that the primary does not know."""
        self.replica.send(b"CONFIG", b"SET", b"masterauth", b"nonsense")
        self.primary.send(b"CLIENT", b"KILL", b"TYPE", b"replica")
        wait_until(lambda: replication(self.replica).get("master_link_status") == "down")

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.primary):
            server.stop()


def replication(server: RedisServer) -> dict[str, str]:
    """What INFO says of it."""
    told = server.send(b"INFO", b"replication").decode()
    return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)


def _master(sentinel: RedisServer) -> dict[str, str]:
    words = sentinel.send(b"SENTINEL", b"MASTER", NAME.encode()).decode().split("\r\n")[2::2]
    return dict(zip(words[::2], words[1::2], strict=False))


def wait_until(claim: Callable[[], bool], within_s: float = READY_S) -> None:
    """Raises: TimeoutError."""
    end = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s:g} s")
        os.sched_yield()


@contextlib.contextmanager
def running(*, options: Mapping[str, str] | None = None) -> Iterator[WatchedRedis]:
    watched = WatchedRedis(options=options)
    watched.start()
    try:
        yield watched
    finally:
        watched.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a private primary, replica and Sentinels until stopped")
    parser.add_argument("options", nargs="*", metavar="NAME VALUE")
    asked = parser.parse_args()
    options = dict(zip(asked.options[::2], asked.options[1::2], strict=True))
    with running(options=options) as watched, contextlib.suppress(KeyboardInterrupt):
        print(watched.url, flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()


if __name__ == "__main__":
    main()
