"""How often a primary that stops at any moment has acknowledged a submit that its replica will never have.

    python -m tests.chaos.lost_tail [--stops 400] [--level replica]

Two nodes on a primary with one replica, their link up, a producer with one request under way. The primary is stopped (SIGSTOP), what its
replica has then is compared with what the producer was told, and it goes on: what a fail-over in that moment would have lost. Half of the
stops follow an acknowledgement at once, the others some milliseconds later.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
from pathlib import Path

from scripts.redis_sentinels import LINK, replication, wait_until
from scripts.redis_server import RedisServer
from tests.system.running import RunningNode
from zjp import Client
from zjp.job import parse_id

BATCH = 20
LATER_S = 0.01
STILL_S = 0.05
"""For so long nothing more arrives at the replica, nor at the producer."""
LOOKED_AT = 6
"""Requests acknowledged last."""


class Producing:
    def __init__(self, address: str) -> None:
        self.acknowledged: list[list[str]] = []
        self.changed = threading.Condition()
        self.is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(address,), daemon=True)
        self._thread.start()

    def _run(self, address: str) -> None:
        with Client(address) as client:
            while not self.is_over.is_set():
                jobs = client.submit_many([("noop", {})] * BATCH, deadline="20s")
                with self.changed:
                    self.acknowledged.append([job.id for job in jobs])
                    self.changed.notify_all()

    def until_next(self) -> None:
        with self.changed:
            count = len(self.acknowledged)
            self.changed.wait_for(lambda: len(self.acknowledged) > count, 20.0)

    def stop(self) -> None:
        self.is_over.set()
        self._thread.join(30.0)


def await_stillness(producing: Producing, replica: RedisServer) -> None:
    last = None
    while (now := (len(producing.acknowledged), replication(replica)["slave_repl_offset"])) != last:
        last = now
        producing.is_over.wait(STILL_S)


def is_missing(replica: RedisServer, ids: list[str]) -> bool:
    """A request is there whole or not at all, so its first job tells; finished, it is among the records."""
    first = parse_id(ids[0])
    places = [(b"HEXISTS", b"{zjp:zjp}:j"), (b"HEXISTS", b"{zjp:zjp}:records:r")]
    return not any(replica.send(command, key, first) == b":1\r\n" for command, key in places)


def measure(stops: int, settings: dict[str, str]) -> int:
    """In how many of the stops something acknowledged was missing."""
    options = LINK | {"appendonly": "yes", "appendfsync": "everysec"}
    primary = RedisServer(options=options)
    primary.start()
    replica = RedisServer(options=options | {"replicaof": f"127.0.0.1 {primary.port}"})
    replica.start()
    wait_until(lambda: replication(replica).get("master_link_status") == "up")
    draw, found = random.Random(7), 0
    with tempfile.TemporaryDirectory() as folder:
        nodes = [
            RunningNode(
                Path(folder) / name, app="tests.fakes:app", node_id=name, worker_count=2, worker_processes=1, redis_addr=primary.url,
                lease_duration="30s", **settings,
            ).start()
            for name in ("one", "two")
        ]  # fmt: skip
        producing = Producing(nodes[0].address)
        for number in range(stops):
            producing.until_next()
            if number % 2:
                producing.is_over.wait(draw.uniform(0.0, LATER_S))
            primary.pause()
            await_stillness(producing, replica)
            found += any(is_missing(replica, ids) for ids in producing.acknowledged[-LOOKED_AT:])
            primary.go_on()
        producing.stop()
        for node in nodes:
            node.kill()
    replica.stop()
    primary.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="What a fail-over at any moment would lose of what was acknowledged")
    parser.add_argument("--stops", type=int, default=400)
    parser.add_argument("--level", choices=["disk-1s", "replica"], default="disk-1s")
    asked = parser.parse_args()
    found = measure(asked.stops, {"require_durability": asked.level})
    print(f"level {asked.level}: of {asked.stops} stops, {found} with an acknowledged submit that the replica does not have")


if __name__ == "__main__":
    main()
