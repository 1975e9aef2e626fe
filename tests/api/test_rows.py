"""Every row of the contract's table but jobs, against a real node: what it answers and how it looks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.system.running import RunningNode, await_that

pytestmark = [pytest.mark.system]

NOWHERE = "00000000-0000-7000-8000-000000000000"


def get(http: httpx.Client, path: str, **query: Any) -> Any:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.covers("http:queues")
def test_queue_is_paused_shown_resumed_and_purged(http: httpx.Client) -> None:
    assert http.post("/api/v1/queues/held/pause").json() == {"queue": "held", "paused": True}
    http.post("/api/v1/jobs/batch", json={"jobs": [{"type": "noop", "queue": "held"}] * 5}).raise_for_status()
    (shown,) = [one for one in get(http, "/api/v1/queues")["items"] if one["queue"] == "held"]
    assert (shown["pending"], shown["paused"]) == (5, True)
    assert shown["oldest_seconds"] >= 0
    assert http.delete("/api/v1/queues/held/jobs").json() == {"count": 5}
    assert http.post("/api/v1/queues/held/resume").json() == {"queue": "held", "paused": False}


@pytest.mark.covers("http:schedules")
def test_schedule_is_made_changed_run_and_removed(http: httpx.Client) -> None:
    wanted = {
        "name": "night-ly",
        "type": "noop",
        "cron": "30 2 * * *",
        "zone": "Europe/Berlin",
        "tags": ["t"],
    }
    made = http.post("/api/v1/schedules", json=wanted)
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/schedules/night-ly")
    assert made.json()["next_at"] is not None
    assert http.post("/api/v1/schedules", json={**wanted, "cron": "0 0 * * *"}).status_code == 409
    changed = http.patch("/api/v1/schedules/night-ly", json={"paused": True, "every": "5m"}).json()
    assert (changed["paused"], changed["every"], changed["cron"], changed["next_at"]) == (True, "5m", None, None)
    tags = [http.patch("/api/v1/schedules/night-ly", json={"tags": given}).json()["tags"] for given in (None, [])]
    assert tags == [["t"], []]
    limits = [
        http.patch("/api/v1/schedules/night-ly", json=given).json()["timeout"] for given in ({"timeout": "9s"}, {"without": ["timeout"]})
    ]
    assert limits == ["9s", None]
    for given in ({"without": ["queue"]}, {"timeout": "9s", "without": ["timeout"]}):
        assert http.patch("/api/v1/schedules/night-ly", json=given).status_code == 422
    run = http.post("/api/v1/schedules/night-ly/run")
    assert (run.status_code, run.json()["type"]) == (201, "noop")
    assert "night-ly" in [one["name"] for one in get(http, "/api/v1/schedules")["items"]]
    assert http.delete("/api/v1/schedules/night-ly").status_code == 204
    assert http.get("/api/v1/schedules/night-ly").status_code == 404


@pytest.mark.covers("http:failures")
def test_failed_jobs_are_grouped_by_type_and_error(http: httpx.Client) -> None:
    ids = [http.post("/api/v1/jobs", json={"type": "fail", "queue": "default"}).json()["id"] for _ in range(3)]
    for job_id in ids:
        assert http.get(f"/api/v1/jobs/{job_id}/result", params={"wait": 20}).json()["error"]["type"] == "ValueError"


    def told() -> list[dict[str, Any]]:
        """Failures are read from the records, where a finished job comes a little later."""
        return [group for group in get(http, "/api/v1/failures", type="fail")["items"] if group["count"] >= 3]

    await_that(lambda: bool(told()))
    (group,) = told()
    assert (group["type"], group["error"]) == ("fail", "ValueError")
    assert set(group["jobs"]) & set(ids)


@pytest.mark.covers("http:stats")
def test_stats_tell_of_queues_workers_and_throughput(http: httpx.Client, node: RunningNode) -> None:
    job = http.post("/api/v1/jobs", json={"type": "noop"}).json()
    http.get(f"/api/v1/jobs/{job['id']}/result", params={"wait": 20})
    told = get(http, "/api/v1/stats")
    assert told["workers"]["slots"] == 4
    assert set(told["throughput"]) == set(told["failures"]) == {"1m", "5m", "15m"}
    assert told["nodes"] == {"alive": 1, "total": 1}
    await_that(lambda: get(http, "/api/v1/stats")["throughput"]["1m"] > 0)


@pytest.mark.covers("http:nodes")
def test_workers_nodes_leader_election_and_cluster_are_shown(http: httpx.Client) -> None:
    await_that(lambda: get(http, "/api/v1/leader")["is_in_office"])
    workers, (one,) = get(http, "/api/v1/workers")["items"], get(http, "/api/v1/nodes")["items"]
    assert [worker["state"] for worker in workers] == ["ready", "ready"]
    assert (one["is_leader"], one["status"], one["slots"], one["is_draining"]) == (True, "alive", 4, False)
    election, cluster = get(http, "/api/v1/election"), get(http, "/api/v1/cluster")
    assert election["leader"] == cluster["leader"] == one["id"]
    assert election["term"] == get(http, "/api/v1/leader")["epoch"]
    for name in ("bully", "raft", "gossip"):
        told = get(http, f"/api/v1/election/algorithms/{name}")
        assert (told["name"], told["is_in_use"], bool(told["steps"])) == (name, name == cluster["algorithm"], True)
    assert http.get("/api/v1/election/algorithms/paxos").status_code == 404


@pytest.mark.covers("http:nodes")
def test_running_job_is_shown_with_its_worker(http: httpx.Client, tmp_path: Any) -> None:
    job_id = http.post("/api/v1/jobs", json={"type": "hold", "payload": {"path": str(tmp_path / "go")}}).json()["id"]

    def current() -> list[str]:
        return [one for worker in get(http, "/api/v1/workers")["items"] for one in worker["current"]]

    await_that(lambda: job_id in current())
    (tmp_path / "go").touch()
    assert http.get(f"/api/v1/jobs/{job_id}/result", params={"wait": 20}).status_code == 200


@pytest.mark.covers("http:nodes")
def test_node_is_drained_and_goes_on(http: httpx.Client) -> None:
    node_id = get(http, "/api/v1/cluster")["node"]
    assert http.post(f"/api/v1/nodes/{node_id}/drain").json()["is_draining"] is True
    refused = http.post("/api/v1/jobs", json={"type": "noop", "timeout": 1})
    ready = http.get("/readyz")
    assert http.post(f"/api/v1/nodes/{node_id}/resume").json() == {"node": node_id, "is_draining": False, "held": 0}
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["the node is draining"])
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "draining", "1")
    assert http.post("/api/v1/nodes/nobody/drain").status_code == 404
    await_that(lambda: http.get("/readyz").status_code == 200)


@pytest.mark.covers("http:nodes")
def test_lone_leader_cannot_hand_its_office_to_nobody(http: httpx.Client) -> None:
    await_that(lambda: get(http, "/api/v1/leader")["is_in_office"])
    answer = http.post("/api/v1/leader/step-down", json={})
    assert answer.status_code in (202, 409), answer.text


@pytest.mark.covers("http:health")
def test_health_is_open_and_tells_what_is_wrong(http: httpx.Client) -> None:
    await_that(lambda: get(http, "/health")["status"] == "ok")
    assert get(http, "/healthz") == {"status": "ok"}
    await_that(lambda: get(http, "/readyz") == {"status": "ready", "reasons": []})
