"""A real Prometheus scrapes three real nodes on one Redis: every query of every panel, and both sides of every alert, gives data."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.operations import prometheus
from tests.operations.prometheus import SHIPPED, RunningPrometheus
from tests.operations.tools import NAMES_BLAMED, names_blamed
from tests.redis import start_redis
from tests.system.running import NotInTime, RunningNode, await_that, first
from zjp import Client

pytestmark = [pytest.mark.system, pytest.mark.covers("metrics:endpoint")]

DASHBOARDS = Path(__file__).parent.parent.parent / "compose" / "grafana" / "dashboards"
GUIDE = DASHBOARDS.parent.parent.parent / "docs" / "monitoring.md"
CHOSEN = {"$job": "zjp", "$queue": ".*", "$instance": ".*", "$__rate_interval": "1m"}
"""What Grafana would put in place of its variables."""
WITHIN_S = 50.0 * (5 if os.environ.get("CI") else 1)
NAMES = ("node-1", "node-2", "node-3")


@dataclass(frozen=True, slots=True)
class Watched:
    nodes: dict[str, RunningNode]
    prometheus: RunningPrometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("scraping")
    redis = start_redis()
    nodes = {
        name: RunningNode(
            folder / name, app="tests.fakes:app", node_id=name, redis_addr=redis.url, worker_count=2, worker_processes=1,
            election_algorithm="raft", cluster_size=len(NAMES), api_enabled=True, server_port=0, metrics_port=0,
        )
        for name in NAMES
    }  # fmt: skip
    try:
        seed = nodes[NAMES[0]].start()
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda name: nodes[name].start(cluster_seeds=seed.address), NAMES[1:]))
        targets = {f"{name}:9090": f"127.0.0.1:{api_port(node, 'metrics_port')}" for name, node in nodes.items()}
        with prometheus.running(folder, targets) as server:
            yield Watched(nodes, server)
    finally:
        for node in nodes.values():
            node.kill()
        redis.stop()


def api_port(node: RunningNode, which: str) -> int:
    """Of the process that the node starts beside itself, once it listens. `which`: port or metrics_port."""
    return first(lambda: next((int(line[which]) for line in node.events("api.listening")), None), WITHIN_S)


def work(client: Client, port: int) -> None:
    """A little of everything: jobs that end well, fail for good, are tried again, wait for their time; and HTTP requests."""
    client.submit_many([*[("noop", {})] * 10, *[("fail_once_only", {})] * 2, *[("ask_discard", {})] * 2])
    client.submit_many([("ask_retry", {"delay": 60}), ("rest_ms", {"ms": 300})])
    client.submit("noop", delay=3600)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/stats", timeout=10) as answer:
        answer.read()


def panel_queries() -> dict[str, str]:
    """Where it stands -> the query, as Grafana would ask it."""
    queries = {}
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                queries[f"{path.stem}: {panel['title']} ({target['refId']})"] = filled_in(target["expr"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                queries[f"{path.stem}: ${variable['name']}"] = label_query(variable["query"]["query"])
    return queries


def filled_in(text: str) -> str:
    for name, value in CHOSEN.items():
        text = text.replace(name, value)
    assert "$" not in text, text
    return text


def label_query(text: str) -> str:
    """label_values(SERIES, LABEL): series that have the label."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", filled_in(text))
    assert found is not None, text
    named, braced, rest = found[1].partition("{")
    return f'{named}{{{found[2]}!=""' + (f",{rest}" if braced else "}")


def alert_queries() -> dict[str, str]:
    """What each alert compares, without its limits: in a healthy cluster it has data, and is not beyond them. Only failed requests are
    not there, so others are looked for in their place."""
    document = yaml.safe_load((SHIPPED / "rules.yml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    return {
        f"{rule['alert']} ({number})": re.sub(
            r" (==|>|<) [\d.]+", "", side.replace("absent(", "(").replace('"5.."', '"2.."')
        )
        for rule in rules
        for number, side in enumerate(re.split(r"\s(?:and|unless on \([\w, ]+\))\s", rule["expr"]))
    }


def guide_queries() -> dict[str, str]:
    """What docs/monitoring.md says to scale by, and the configurations it shows are what they are said to be."""
    text = GUIDE.read_text()
    shown = [block for _, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    scraping, query, keda = shown
    assert set(yaml.safe_load(scraping)) <= set(yaml.safe_load((SHIPPED / "prometheus.yml").read_text()))
    (trigger,) = yaml.safe_load(keda)["triggers"]
    assert trigger["metadata"]["query"] == query.strip()
    (age,) = re.findall(r"use `(max\(.*?\))`", text)
    return {"docs/monitoring.md: depth": query, "docs/monitoring.md: age": age}


@pytest.mark.covers("metrics:dashboards", "metrics:alerts")
def test_every_query_of_dashboards_and_alerts_gives_data(watched: Watched) -> None:
    left = panel_queries() | alert_queries() | guide_queries()
    assert len(left) > 90

    looked_at: list[object] = []

    def all_give_data() -> bool:
        """Once per scrape at most."""
        scraped = watched.prometheus.query("max(timestamp(up))")
        if looked_at == scraped:
            return False
        looked_at[:] = scraped
        work(client, port)
        for name, query in list(left.items()):
            if watched.prometheus.query(query):
                del left[name]
        return not left

    port = api_port(watched.nodes["node-2"], "port")
    with watched.nodes["node-2"].client() as client:
        try:
            await_that(all_give_data, WITHIN_S)
        except NotInTime:
            raise NotInTime(f"no data within {WITHIN_S:.0f} s: {json.dumps(left, indent=1)}") from None


def test_a_real_node_is_told_in_either_format_and_promtool_finds_no_fault(watched: Watched) -> None:
    url = f"http://127.0.0.1:{api_port(watched.nodes['node-1'], 'metrics_port')}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert names_blamed(answer.read()) == NAMES_BLAMED
    asked = urllib.request.Request(url, headers={"accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert answer.read().endswith(b"# EOF\n")


@pytest.mark.covers("metrics:election")
def test_leader_epoch_and_members_are_told_by_every_node(watched: Watched) -> None:
    ask = watched.prometheus.query
    await_that(
        lambda: ask("sum(zjp_is_leader)") == [({}, 1.0)] and ask('min(zjp_members{status="alive"})') == [({}, 3.0)],
        WITHIN_S,
    )
    await_that(lambda: len(ask("zjp_election_term > 0")) == len(NAMES), WITHIN_S)
    changes = ask('election_leader_changes_total{algorithm="raft"}')
    assert {labels["instance"] for labels, _ in changes} == {f"{name}:9090" for name in NAMES}


@pytest.mark.covers("metrics:alerts")
def test_prometheus_takes_all_rules_and_none_fires_in_a_healthy_cluster(watched: Watched) -> None:
    await_that(lambda: watched.prometheus.query("sum(up)") == [({}, 3.0)], WITHIN_S)

    def evaluated() -> list[dict[str, str]] | None:
        rules = [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]
        return None if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = first(evaluated, WITHIN_S)
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    assert len(rules) == len({name.split()[0] for name in alert_queries()})
    assert watched.prometheus.query('ALERTS{alertstate="firing"}') == []


@pytest.mark.covers("metrics:alerts")
def test_a_node_that_is_killed_is_missed_by_prometheus_and_by_the_others(watched: Watched) -> None:
    ask, node = watched.prometheus.query, watched.nodes["node-3"]
    port = api_port(node, "metrics_port")
    await_that(lambda: ask("sum(zjp_up)") == [({}, 3.0)], WITHIN_S)
    node.kill()
    await_that(lambda: ask('up{instance="node-3:9090"} == 0'), WITHIN_S)
    await_that(lambda: ask('max(sum by (instance) (zjp_members{status=~"suspect|dead"}))') == [({}, 1.0)], WITHIN_S)
    node.start(metrics_port=port)
    await_that(
        lambda: ask("sum(zjp_up)") == [({}, 3.0)] and ask('min(zjp_members{status="alive"})') == [({}, 3.0)], WITHIN_S
    )
