"""The daemon as its users meet it: what it answers, how it stops, what it says when it cannot start."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from tests.loopback import IPV6, needs_ipv6
from tests.system.running import ROOT, DidNotStart, RunningNode, run_zjp
from zjp import AsyncClient, Client
from zjp.errors import Draining, JobFailed, JobRejected, PayloadTooLarge, ZjpError
from zjp.job import JobSpec, JobState, Options, make_id, parse_id
from zjp.wire.codec import decode_reply, encode
from zjp.wire.messages import PROTOCOL_VERSION, Envelope, Jobs, Ping, Pong, Submit, Wait

pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:8", "main-path:judged:6")]

APP = "tests.fakes:app"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with RunningNode(tmp_path, app=APP, worker_count=2, worker_processes=2) as running:
        yield running


@pytest.fixture
def client(node: RunningNode) -> Iterator[Client]:
    with node.client() as opened:
        yield opened


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("client:submit", "client:wait")
def test_job_runs_and_its_record_tells_how(client: Client) -> None:
    job = client.submit("add", {"a": 1, "b": 2}, tags=["x"]).wait(timeout=20)
    assert job.result == 3
    assert (job.status, len(job.attempts)) == (JobState.COMPLETED, 1)


@pytest.mark.covers("client:submit_many")
def test_batch_is_durable_and_every_job_of_it_runs(client: Client) -> None:
    jobs = client.submit_many([("add", {"a": number}) for number in range(1500)])
    assert {job.result for job in client.wait_all(jobs, timeout=60)} == set(range(1, 1501))


def test_failing_job_is_retried_then_fails_with_its_traceback(client: Client) -> None:
    job = client.submit("fail", {"text": "no luck"}, max_retries=0).wait(timeout=20)
    with pytest.raises(JobFailed, match="no luck") as told:
        job.result  # noqa: B018
    assert "Traceback" in told.value.traceback


def test_higher_priority_runs_first(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=1) as node, node.client() as client:
        client.pause("default")
        low = client.submit_many([("noop", {})] * 5, priority=1)
        high = client.submit_many([("noop", {})] * 5, priority=10)
        client.resume("default")
        done = client.wait_all([*low, *high], timeout=20)
        started = {job.id: job.attempts[0].started_at for job in done}
        assert max(started[job.id] for job in high) <= min(started[job.id] for job in low)


def test_cancelled_job_never_starts(client: Client) -> None:
    job = client.submit("noop", {}, delay="1h")
    assert job.cancel() == "cancelled"
    assert job.refresh().status is JobState.CANCELLED


@pytest.mark.covers("settings:CANCEL_GRACE")
def test_running_job_that_is_cancelled_is_killed_after_the_grace_time(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=1, cancel_grace="200ms") as node, node.client() as client:
        job = client.submit("hold_until", {"path": str(tmp_path / "never")})
        await_file(tmp_path / "never.started")
        assert job.cancel() == "cancelling"
        assert job.wait(timeout=20).status is JobState.CANCELLED
        (attempt,) = job.attempts
        assert (attempt.outcome, attempt.error.type) == ("cancelled", "Cancelled")
        assert job.started_at is not None
        assert client.submit("add", {"a": 1}).wait(timeout=20).result == 2


def test_finished_job_runs_again_under_its_id(client: Client) -> None:
    job = client.submit("add", {"a": 1}).wait(timeout=20)
    job.retry()
    again = job.wait(timeout=20)
    assert (again.id, again.result, len(again.attempts)) == (job.id, 2, 2)


def test_paused_queue_starts_nothing_until_it_is_resumed(client: Client) -> None:
    client.pause("default")
    job = client.submit("add", {"a": 1})
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.5)
    client.resume("default")
    assert job.wait(timeout=20).result == 2


@pytest.mark.covers("settings:QUEUES")
def test_node_serves_only_its_queues(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, queues="fast:3,slow:1") as node, node.client() as client:
        served = client.submit("add", {"a": 1}, queue="slow").wait(timeout=20)
        assert served.result == 2
        other = client.submit("add", {"a": 1}, queue="elsewhere")
        with pytest.raises(TimeoutError):
            other.wait(timeout=0.5)


def test_unknown_task_is_handed_back_unspent_and_kills_no_worker(client: Client, node: RunningNode) -> None:
    await_workers(node, 2)
    pids = node.worker_pids()
    job = client.submit("nobody_serves_this", {})
    assert client.submit("add", {"a": 1}).wait(timeout=20).result == 2
    await_log(node, "task.unknown")
    seen = job.refresh()
    assert (seen.status.is_final, seen.attempts) == (False, [])
    assert node.worker_pids() == pids


@pytest.mark.slow
def test_job_that_nobody_serves_fails_after_a_minute_naming_the_known_tasks(client: Client) -> None:
    job = client.submit("nobody_serves_this", {}).wait(timeout=100)
    with pytest.raises(JobFailed, match=r"UnknownTask: no node serves task 'nobody_serves_this' in queue 'default'; known tasks: .*add"):
        job.result  # noqa: B018


@pytest.mark.covers("settings:MAX_PAYLOAD")
def test_too_large_a_payload_is_refused_with_what_to_do(client: Client) -> None:
    with pytest.raises(PayloadTooLarge, match=r"payload is \d+ bytes, the limit is 1048576"):
        client.submit("echo", {"value": "x" * (1 << 20)})


def test_result_that_cannot_be_packed_fails_the_job_by_name(client: Client) -> None:
    job = client.submit("return_object", {}).wait(timeout=20)
    with pytest.raises(JobFailed, match="ResultNotSerialisable"):
        job.result  # noqa: B018


def test_priority_out_of_range_is_refused(client: Client) -> None:
    with pytest.raises((JobRejected, ValueError), match="priority is 11"):
        client.submit("noop", {}, priority=11)


# ── life and death ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_survive_a_killed_node_and_run_in_its_next_life(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=2) as node:
        with node.client() as client:
            held = client.submit("hold_until", {"path": str(tmp_path / "go")})
            await_file(tmp_path / "go.started")
            waiting = client.submit_many([("add", {"a": number}) for number in range(100)])
        node.kill()
        (tmp_path / "go").touch()
        node.restart()
        with node.client() as client:
            assert {job.result for job in client.wait_all(waiting, timeout=30)} == set(range(1, 101))
            again = client.wait(held.id, timeout=30)
            assert again.status is JobState.COMPLETED
            assert [attempt.outcome for attempt in again.attempts] == ["lost", "completed"]


@pytest.mark.covers("settings:SHUTDOWN_GRACE")
def test_sigterm_lets_running_jobs_finish_and_exits_0(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=1) as node, node.client() as client:
        client.submit("hold_until", {"path": str(tmp_path / "go")})
        await_file(tmp_path / "go.started")
        os.kill(node.pid, signal.SIGTERM)
        await_log(node, "node.draining")
        with pytest.raises(Draining):
            client.submit("noop", {}, deadline="1s")
        (tmp_path / "go").touch()
        assert node.wait() == 0


def test_second_signal_hands_back_at_once_and_exits_75_with_no_attempt_spent(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=1) as node:
        with node.client() as client:
            job = client.submit("hold_until", {"path": str(tmp_path / "go")})
            await_file(tmp_path / "go.started")
        os.kill(node.pid, signal.SIGTERM)
        await_log(node, "node.draining")
        os.kill(node.pid, signal.SIGTERM)
        assert node.wait() == 75
        (tmp_path / "go").touch()
        node.restart()
        with node.client() as client:
            done = client.wait(job.id, timeout=30)
            assert [attempt.outcome for attempt in done.attempts] == ["completed"]


def test_sigquit_stops_at_once_and_the_next_life_takes_the_jobs_back(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=1) as node:
        with node.client() as client:
            job = client.submit("hold_until", {"path": str(tmp_path / "go")})
            await_file(tmp_path / "go.started")
        os.kill(node.pid, signal.SIGQUIT)
        assert node.wait() == 75
        (tmp_path / "go").touch()
        node.restart()
        with node.client() as client:
            assert client.wait(job.id, timeout=30).status is JobState.COMPLETED


@pytest.mark.covers("settings:SHUTDOWN_GRACE")
def test_what_is_still_running_after_the_grace_time_is_handed_back_unspent_and_the_node_exits_75(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=1, shutdown_grace="200ms") as node:
        with node.client() as client:
            job = client.submit("hold_until", {"path": str(tmp_path / "go")})
            await_file(tmp_path / "go.started")
        os.kill(node.pid, signal.SIGTERM)
        assert node.wait() == 75
        assert node.events("node.stopped")[0]["all_finished"] is False
        (tmp_path / "go").touch()
        node.restart()
        with node.client() as client:
            done = client.wait(job.id, timeout=30)
            assert [attempt.outcome for attempt in done.attempts] == ["completed"]


@pytest.mark.covers("cli:signals")
def test_tasks_state_and_stacks_are_written_on_usr1_each_time_and_whatever_the_level(tmp_path: Path) -> None:
    job = JobSpec(make_id(1_700_000_000_000, 1, 1), "noop", b"\x80", options=Options(delay_ms=3_600_000))
    with RunningNode(tmp_path, app=APP, worker_count=1) as node:
        address = node.address
        node.stop()
        node.launch(log_level="error")  # it tells not even that it has started
        with zmq.Context() as context, context.socket(zmq.DEALER) as waiter:
            waiter.linger = 0
            waiter.connect(address)
            seqs = itertools.count()
            for requests in ([Submit([job])], [*[Wait([job.id], 60_000)] * 40, Ping()]):
                for request in requests:
                    waiter.send_multipart(encode(Envelope(PROTOCOL_VERSION, "zjp", "a-session", 0, next(seqs)), request))
                assert waiter.poll(20_000)
                waiter.recv_multipart()  # submitted; then the pong, when the others are under way
            for count in (1, 2):
                os.kill(node.pid, signal.SIGUSR1)
                _await(lambda count=count: len(node.events("dump.state")) == count, 20.0, "no dump")
        dump = node.events("dump.state")[-1]
        assert any("_claim_loop" in task for task in dump["tasks"])
        assert (len(dump["tasks"]), dump["is_claiming"], dump["requests_under_way"]) == (dump["tasks_count"], True, 40)
        assert dump["tasks_count"] > 40
        _await(lambda: node.log_text().count("most recent call first") >= 2, 20.0, "no stacks")
        assert "zjp/node/__main__.py" in node.log_text()


@pytest.mark.covers("settings:LOG_LEVEL", "cli:signals")
def test_log_level_is_read_again_on_hup_by_the_node_and_its_workers(tmp_path: Path) -> None:
    config = tmp_path / "zjp.toml"
    config.write_text('log_level = "info"\n')
    with RunningNode(tmp_path, app=APP, config=config, worker_count=1) as node, node.client() as client:
        client.submit("log_at", {"level": "debug", "text": "too soon"}).wait(timeout=20)
        config.write_text('log_level = "debug"\n')
        os.kill(node.pid, signal.SIGHUP)
        await_log(node, "node.reloaded")
        client.submit("log_at", {"level": "debug", "text": "in time"}).wait(timeout=20)
        await_log(node, "in time")
        os.kill(node.worker_pids()[0], signal.SIGKILL)
        await_log(node, "worker.started")  # a line of level debug
        client.submit("log_at", {"level": "debug", "text": "of a new process"}).wait(timeout=20)
        await_log(node, "of a new process")
        assert [line["level"] for line in node.events("in time")] == ["debug"]
        assert node.events("too soon") == []
        config.write_text('log_level = "no such"\n')
        os.kill(node.pid, signal.SIGHUP)
        await_log(node, "node.not_reloaded")


@pytest.mark.covers("settings:CRASH_LIMIT", "settings:JOB_TIMEOUT")
def test_every_way_to_end_is_counted(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, worker_count=2, crash_limit=1, retry_base_delay="10ms") as node, node.client() as client:
        jobs = [
            client.submit("add", {"a": 1}),
            client.submit("segfault", {}),
            client.submit("hold_until", {"path": str(tmp_path / "late")}, timeout="300ms", max_retries=1),
        ]
        client.wait_all(jobs, timeout=40)
        running = client.submit("stop_when_told", {"path": str(tmp_path / "told")})
        await_file(tmp_path / "told.started")
        running.cancel()
        assert running.wait(timeout=20).status is JobState.CANCELLED
        metrics = node.stats()["metrics"]
        finished = {tuple(series["labels"]): series["value"] for series in metrics["zjp_jobs_finished_total"]["series"]}
        assert finished == {
            ("add", "default", "completed"): 1,
            ("segfault", "default", "failed"): 1,
            ("hold_until", "default", "failed"): 1,
            ("stop_when_told", "default", "cancelled"): 1,
        }
        assert [series["value"] for series in metrics["zjp_retries_total"]["series"]] == [1]


@pytest.mark.covers("settings:WORKER_COUNT", "settings:WORKER_PROCESSES")
def test_stats_tell_queues_workers_and_every_metric(node: RunningNode, client: Client) -> None:
    await_workers(node, 2)
    client.submit("add", {"a": 1}).wait(timeout=20)
    stats = node.stats()
    assert [(worker["state"], worker["slots"]) for worker in stats["workers"]] == [("ready", 1), ("ready", 1)]
    finished = stats["metrics"]["zjp_jobs_finished_total"]["series"]
    assert [series["labels"] for series in finished] == [["add", "default", "completed"]]
    assert stats["metrics"]["queue_depth_gauge"]["series"]


# ── IPv6 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@needs_ipv6
@pytest.mark.covers("settings:ZMQ_BIND", "settings:CLIENT_ADDRESS")
async def test_node_on_an_ipv6_address_serves_every_kind_of_client(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app=APP, zmq_bind=IPV6, worker_count=1) as node, node.client() as client:
        assert node.address.startswith("tcp://[::1]:")
        job = client.submit("add", {"a": 1, "b": 2}).wait(timeout=20)
        assert job.result == 3
        async with AsyncClient(node.address) as waiting:
            assert (await (await waiting.submit("add", {"a": 2, "b": 2})).wait(timeout=20)).result == 4
        assert job.id in run_zjp("jobs", "list", "--address", node.address, "--json").out


# ── starts that are refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("settings:DATA_DIR")
def test_second_node_on_the_same_folder_is_refused_with_the_holders_pid(node: RunningNode, tmp_path: Path) -> None:
    second = RunningNode(tmp_path / "second", app=APP, data_dir=node.data_dir)
    with pytest.raises(DidNotStart, match=rf"pid {node.pid}") as told:
        second.start()
    assert told.value.exit_code == 78


@pytest.mark.covers("settings:ZMQ_BIND")
def test_taken_port_is_named_with_what_to_do(node: RunningNode, tmp_path: Path) -> None:
    second = RunningNode(tmp_path / "second", app=APP, zmq_bind=node.address)
    with pytest.raises(DidNotStart, match="another node or program listens there") as told:
        second.start()
    assert told.value.exit_code == 69


@pytest.mark.covers("settings:APP")
def test_application_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match="no_such_module") as told:
        RunningNode(tmp_path, app="no_such_module:app").start()
    assert told.value.exit_code == 78


@pytest.mark.covers("settings:REQUIRE_DURABILITY")
def test_durability_that_the_store_cannot_promise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match="promises disk") as told:
        RunningNode(tmp_path, require_durability="replica").start()
    assert told.value.exit_code == 78


def test_node_without_an_application_takes_jobs_and_says_that_it_claims_none(tmp_path: Path) -> None:
    with RunningNode(tmp_path) as node, node.client() as client:
        await_log(node, "node.claims_nothing")
        job = client.submit("add", {"a": 1})
        assert job.refresh().status is JobState.PENDING


@pytest.mark.covers("settings:CLUSTER_NAME")
def test_client_of_another_cluster_is_refused_by_name(node: RunningNode) -> None:
    with Client(node.address, cluster="other", timeout="5s") as stranger, pytest.raises(ZjpError, match="CLUSTER_NAME"):
        stranger.ping()


def test_request_repeated_under_way_is_carried_out_once_and_answered_where_it_came_from_last(node: RunningNode, client: Client) -> None:
    job = client.submit("noop", {}, delay="1h")
    frames = encode(Envelope(PROTOCOL_VERSION, "zjp", "a-session", 0, 7), Wait([parse_id(job.id)], 20_000))
    with zmq.Context() as context, context.socket(zmq.DEALER) as first, context.socket(zmq.DEALER) as second:
        for socket in (first, second):
            socket.linger = 0
            socket.connect(node.address)
        first.send_multipart(frames)
        first.send_multipart(encode(Envelope(PROTOCOL_VERSION, "zjp", "a-session", 0, 8), Ping()))
        assert first.poll(20_000)
        first.recv_multipart()  # requests of one link are taken in order: the wait is under way
        second.send_multipart(frames)
        second.send_multipart(encode(Envelope(PROTOCOL_VERSION, "zjp", "a-session", 0, 9), Ping()))
        assert second.poll(20_000)
        second.recv_multipart()
        job.cancel()
        assert second.poll(20_000)
        reply = decode_reply(second.recv_multipart()[1])
        assert isinstance(reply, Jobs)
        assert [found.status for found in reply.jobs if found is not None] == [JobState.CANCELLED]
        first.send_multipart(encode(Envelope(PROTOCOL_VERSION, "zjp", "a-session", 0, 10), Ping()))
        assert first.poll(20_000)
        assert isinstance(decode_reply(first.recv_multipart()[1]), Pong)  # and nothing came before it


def await_file(path: Path, within_s: float = 20.0) -> None:
    _await(path.exists, within_s, f"{path} did not appear")


def await_log(node: RunningNode, event: str, within_s: float = 20.0) -> None:
    _await(lambda: f'"{event}"' in node.log_text(), within_s, f"{event} was not logged")


def await_workers(node: RunningNode, count: int, within_s: float = 20.0) -> None:
    """`node.started` means that one is ready; the others follow."""
    _await(lambda: len(node.worker_pids()) == count, within_s, f"there are not {count} workers")


def _await(claim: object, within_s: float, otherwise: str) -> None:
    tick = threading.Event()
    for _ in range(int(within_s / 0.02)):
        if claim():  # type: ignore[operator]
            return
        tick.wait(0.02)
    raise AssertionError(otherwise)


def test_node_whose_standard_streams_were_closed_runs_jobs(tmp_path: Path) -> None:
    """As some that start daemons do. Fails where the log asks Python's None whether it is a terminal."""
    with tempfile.TemporaryDirectory() as short:
        address = f"ipc://{short}/node"
        flags = ["--app", APP, "--data-dir", str(tmp_path / "data"), "--zmq-bind", address, "--api-enabled", "false"]
        started = subprocess.Popen(
            ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", sys.executable, "-m", "zjp.node", *flags], cwd=ROOT
        )
        try:
            with Client(address, timeout="30s") as client:
                assert client.submit("add", {"a": 1, "b": 2}).wait(timeout=20).result == 3
            opened = [os.readlink(f"/proc/{started.pid}/fd/{number}") for number in range(3)] if Path("/proc/self/fd").exists() else []
            assert set(opened) <= {os.devnull}
            started.terminate()
            assert started.wait(40) == 0
        finally:
            started.kill()
            started.wait()
