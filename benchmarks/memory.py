"""What a waiting job takes of Redis' memory above its envelope and payload, which are the value that stands for it in the queue.

    python -m benchmarks.memory --levels 100000 300000 1000000

`used_memory` as Redis itself counts it, so with what its allocator rounds up, and with its tables, which double now and then.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import redis

from scripts import redis_server
from zjp import Client

from .running import running_node

PAYLOAD_BYTES = 200
BATCH = 1_000


def above_payload(levels: Sequence[int], payload_bytes: int = PAYLOAD_BYTES) -> Iterator[dict[str, float]]:
    """For each number of waiting jobs: bytes a job, and of them those above envelope and payload. A server of its own."""
    with (
        redis_server.running(options=redis_server.DURABLE) as server,
        running_node(redis_addr=server.unix_url, worker_processes="1", worker_count="1") as node,
        Client(node.address) as client,
        redis.Redis.from_url(server.unix_url) as talk,
    ):
        client.pause("default")
        before, waiting, payload = talk.info("memory")["used_memory"], 0, {"data": bytes(payload_bytes)}
        for level in levels:
            while waiting < level:
                count = min(BATCH, level - waiting)
                last = client.submit_many([("noop", payload)] * count)[-1]
                waiting += count
            used = (talk.info("memory")["used_memory"] - before) / waiting
            (jobs,) = talk.scan_iter("*:j")
            value = talk.hget(jobs, last.id_bytes)
            assert isinstance(value, bytes)
            yield {"waiting": waiting, "bytes_per_job": used, "above_payload": used - len(value)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--payload", type=int, default=PAYLOAD_BYTES)
    chosen = parser.parse_args()
    for row in above_payload(chosen.levels, chosen.payload):
        print("  ".join(f"{name} {value:,.1f}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
