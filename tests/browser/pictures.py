"""Makes the pictures of the documentation: `python -m tests.browser.pictures docs/pictures`.

Three nodes on one Redis elect by Raft, lose their leader once and work off a steady load of jobs, some of which fail. Then every page is
pictured, and the steps of the walk to a failed job.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from scripts.redis_server import RedisServer
from tests.api.running import RunningApi
from tests.browser.browsing import NARROW, PATHS, Visitor, chromium
from tests.browser.jobs import listed
from tests.browser.walk import walk
from tests.system.running import RunningNode, first

NAMES = ("birch", "cedar", "maple")
TURNS, TURN_MS = 150, 700
"""How long the load goes on, with the overview open."""
FORM_S = 30.0


def load(turn: int, hold: Path) -> list[dict[str, Any]]:
    """A wave of mails, now and then a card without money, a shop that does not answer, a long report."""
    mails = [{"type": "email", "payload": {"recipient": f"user{turn}@example.com"}, "queue": "mails"}] * (
        12 + 25 * (turn % 7 in (3, 4))
    )
    cards = [
        {
            "type": "charge_card",
            "payload": {"customer": 4711 if turn % 5 == 0 else 12},
            "queue": "payments",
            "priority": 8,
            "tags": ["tenant:7"],
        }
    ]
    shops = [{"type": "sync_stock", "payload": {"shop": f"shop-{turn}"}}] * (turn % 9 == 0)
    late = [{"type": "email", "payload": {"recipient": "later@example.com"}, "delay": "40m", "queue": "mails"}] * (
        turn % 6 == 0
    )
    reports = [{"type": "report", "payload": {"path": str(hold)}, "tags": ["tenant:7", "monthly"]}] * (
        turn in (142, 144, 146)
    )
    return [*mails, *cards, *shops, *late, *reports]


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, RunningNode]]:
    redis = RedisServer()
    redis.start()
    nodes: dict[str, RunningNode] = {}
    try:
        for name in NAMES:
            seeds = ",".join(node.address for node in nodes.values())
            node = RunningNode(
                folder / name, app="tests.browser.tasks:app", node_id=name, redis_addr=redis.url, worker_count=6, worker_processes=2,
                election_algorithm="raft", cluster_size=3, queues="payments:6,mails:3,default:1", election_timeout="3s",
                **({"cluster_seeds": seeds} if seeds else {}),
            )  # fmt: skip
            nodes[name] = node.start()
        yield nodes
    finally:
        for node in nodes.values():
            node.kill()
        redis.stop()


def leader_as_seen(node: RunningNode) -> str | None:
    with node.client() as client:
        told = client.leader()
    return told.node or None


def lose_a_leader(nodes: dict[str, RunningNode]) -> RunningNode:
    """The leader is killed and comes back. Returns one that was there all the time."""
    lost = first(lambda: leader_as_seen(nodes[NAMES[0]]), FORM_S)
    stayed = next(node for name, node in nodes.items() if name != lost)
    nodes[lost].kill()
    first(lambda: leader_as_seen(stayed) not in (None, lost) or None, FORM_S)
    nodes[lost].start()
    return stayed


def work(visitor: Visitor, http: httpx.Client, hold: Path) -> None:
    for turn in range(TURNS):
        http.post("/api/v1/jobs/batch", json={"jobs": load(turn, hold)}).raise_for_status()
        visitor.page.wait_for_timeout(TURN_MS)


def show(visitor: Visitor, http: httpx.Client) -> None:
    running = listed(http, status="running", type="report")[0]["id"]
    for theme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=theme)
        for name, place in [("overview", ""), ("cluster", "cluster"), ("jobs", "jobs"), ("running", f"jobs/{running}")]:
            visitor.open(place)
            visitor.picture(f"{name}-{theme}")
    visitor.page.emulate_media(color_scheme="light")
    for place in ("scheduled", "queues", "workers"):
        visitor.open(place)
        visitor.picture(place)


def main(folder: str) -> None:
    pictures = Path(folder)
    with ExitStack() as stack:
        at = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = stack.enter_context(cluster(at))
        (at / "api").mkdir()
        api = stack.enter_context(RunningApi(at / "api", lose_a_leader(nodes).address))
        http = stack.enter_context(api.client())
        for schedule in (
            {"name": "nightly-report", "type": "report", "cron": "0 3 * * *", "zone": "Europe/Berlin"},
            {"name": "sync", "type": "sync_stock", "every": "15m"},
        ):
            http.post("/api/v1/schedules", json=schedule).raise_for_status()
        browser = stack.enter_context(chromium())
        wide = stack.enter_context(Visitor(browser, api.url, pictures=pictures))
        wide.hide({**PATHS, str(at): "/srv/reports"})
        wide.open()
        work(wide, http, at / "go-on")
        show(wide, http)
        walk(wide)
        narrow = stack.enter_context(Visitor(browser, api.url, width=NARROW, theme="dark", pictures=pictures))
        for name, place in (("overview", ""), ("jobs", "jobs"), ("cluster", "cluster")):
            narrow.open(place)
            narrow.page.wait_for_timeout(TURN_MS)
            narrow.picture(f"{name}-narrow")
        (at / "go-on").touch()


if __name__ == "__main__":
    main(sys.argv[1])
