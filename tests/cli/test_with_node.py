"""The command line against a real node: what a user types, sees and gets as exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.running import ROOT, Ended, RunningNode, await_that, clean_environment, run_zjp

pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:10", "main-path:judged:2")]

Zjp = Callable[..., Ended]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with RunningNode(
        tmp_path_factory.mktemp("node"), app="tests.cli.node_tasks:app", worker_count=4, worker_processes=2, shutdown_grace="2s"
    ) as running:
        yield running


@pytest.fixture
def zjp(node: RunningNode) -> Zjp:
    def run(*arguments: str, stdin: str = "") -> Ended:
        return run_zjp("--address", node.address, *arguments, stdin=stdin)

    return run


@pytest.fixture
def held(zjp: Zjp, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A job that runs until its named pipe is opened: (id, pipe)."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    job_id = zjp("submit", "hold", f"fifo={fifo}").out.strip()
    yield job_id, fifo
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass  # nobody reads any more


# ── submit, wait, show ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:submit")
def test_submit_prints_an_id_that_wait_and_show_take(zjp: Zjp) -> None:
    told = zjp("submit", "echo", "to=a@example.com", "copies=2", "--priority", "10", "--tag", "red")
    job_id = told.out.strip()
    assert told.code == 0, told
    assert uuid.UUID(job_id).version == 7
    assert zjp("jobs", "wait", job_id).code == 0
    job = zjp("jobs", "show", job_id, "--json").json()
    assert job["result"] == {"to": "a@example.com", "copies": 2}
    assert (job["status"], job["priority"], job["tags"]) == ("completed", 10, ["red"])
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["completed"]


@pytest.mark.covers("cli:submit")
def test_submit_and_wait_prints_the_result_as_json(zjp: Zjp) -> None:
    told = zjp("submit", "echo", "--payload", '{"deep": [1, {"a": null}]}', "--wait")
    assert (told.code, told.json()) == (0, {"deep": [1, {"a": None}]})


@pytest.mark.covers("cli:submit")
def test_a_payload_may_come_from_standard_input(zjp: Zjp) -> None:
    told = zjp("submit", "echo", "--payload-file", "-", "--wait", stdin='{"from": "a pipe"}')
    assert told.json() == {"from": "a pipe"}


@pytest.mark.covers("cli:submit")
def test_a_repeated_submit_with_the_same_id_makes_one_job_and_says_so(zjp: Zjp) -> None:
    job_id = str(uuid.uuid4())
    first = zjp("submit", "echo", "n=1", "--id", job_id)
    second = zjp("submit", "echo", "n=1", "--id", job_id)
    assert first.out.strip() == second.out.strip() == job_id
    assert "existed already" not in first.err
    assert "existed already" in second.err


@pytest.mark.covers("cli:submit", "main-path:judged:6")
def test_the_same_id_with_other_content_is_refused(zjp: Zjp) -> None:
    job_id = str(uuid.uuid4())
    zjp("submit", "echo", "n=1", "--id", job_id)
    told = zjp("submit", "echo", "n=2", "--id", job_id)
    assert told.code == 1
    assert job_id in told.err


@pytest.mark.covers("cli:exit-codes", "cli:jobs-wait")
def test_waiting_for_a_job_that_fails_exits_with_1_and_tells_its_error(zjp: Zjp) -> None:
    told = zjp("submit", "fail", "--wait")
    assert told.code == 1
    assert "ValueError: it fails" in told.err
    assert not {"\x1b", "\x07"} & set(told.err), "a terminal would obey"
    job_id = told.err.split()[0]
    waited = zjp("jobs", "wait", job_id)
    assert waited.code == 1
    assert "failed" in waited.out


@pytest.mark.covers("cli:jobs-show")
def test_show_tells_error_traceback_and_attempts_to_a_person(zjp: Zjp) -> None:
    job_id = zjp("submit", "fail").out.strip()
    zjp("jobs", "wait", job_id)
    shown = zjp("jobs", "show", job_id).out
    assert "ValueError" in shown
    assert "node_tasks.py" in shown
    assert "\x1b" not in shown


@pytest.mark.covers("cli:jobs-wait")
def test_a_wait_has_its_own_deadline(zjp: Zjp, held: tuple[str, Path]) -> None:
    told = zjp("jobs", "wait", held[0], "--timeout", "300ms")
    assert told.code == 69
    assert held[0] in told.err


@pytest.mark.covers("cli:exit-codes", "cli:submit")
def test_interrupted_wait_says_that_the_job_goes_on(zjp: Zjp, node: RunningNode) -> None:
    command = [sys.executable, "-m", "zjp", "--address", node.address, "submit", "echo", "--delay", "1h", "--wait"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()) as waiting:
        assert waiting.stderr is not None
        job_id = waiting.stderr.readline().strip()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(30) == 130
        assert waiting.stderr.read() == "\nzjp: interrupted; what was submitted goes on\n"
    assert zjp("jobs", "show", job_id, "--json").json()["status"] == "scheduled"


@pytest.mark.covers("cli:submit")
def test_a_wait_of_no_time_looks_once(zjp: Zjp) -> None:
    told = zjp("submit", "echo", "--delay", "1h", "--timeout-wait", "0")
    assert (told.code, "not finished after 0 s" in told.err) == (69, True), told


@pytest.mark.covers("cli:jobs-show", "main-path:judged:6")
def test_an_unknown_job_is_told_by_its_id(zjp: Zjp) -> None:
    job_id = str(uuid.uuid4())
    told = zjp("jobs", "show", job_id)
    assert told.code == 1
    assert job_id in told.err
    wrong = zjp("jobs", "show", "not-an-id")
    assert (wrong.code, "job id 'not-an-id' is not a UUID" in wrong.err) == (2, True)


# ── list ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:jobs-list")
def test_list_filters_by_status_type_queue_and_tag(zjp: Zjp) -> None:
    delayed = zjp("submit", "echo", "--delay", "1h", "--queue", "later", "--tag", "blue").out.strip()
    for filters in (["--status", "scheduled"], ["--queue", "later"], ["--tag", "blue"], ["--type", "echo"]):
        ids = [job["id"] for job in zjp("jobs", "list", "--json", *filters).json()]
        assert delayed in ids, filters
    assert delayed not in [job["id"] for job in zjp("jobs", "list", "--json", "--status", "completed").json()]
    assert delayed in zjp("jobs", "list", "--status", "scheduled").out


@pytest.mark.covers("cli:jobs-list")
def test_list_stops_at_its_limit_and_says_so(zjp: Zjp) -> None:
    for _ in range(3):
        zjp("submit", "echo", "--delay", "1h", "--queue", "long")
    told = zjp("jobs", "list", "--queue", "long", "--limit", "2")
    assert len(told.out.splitlines()) == 3
    assert "--limit" in told.err


def test_a_reader_that_leaves_early_is_met_with_silence(node: RunningNode, zjp: Zjp) -> None:
    zjp("submit", "echo")
    command = f"{sys.executable} -m zjp --address {node.address} jobs list --json | head -c 1 >&2"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.stderr == "["


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:jobs-cancel")
def test_a_cancelled_job_never_starts(zjp: Zjp) -> None:
    job_id = zjp("submit", "echo", "--delay", "1h").out.strip()
    told = zjp("jobs", "cancel", job_id)
    assert (told.code, told.out) == (0, f"{job_id}  cancelled\n")
    assert zjp("jobs", "show", job_id, "--json").json()["status"] == "cancelled"
    assert zjp("jobs", "wait", job_id).code == 1


@pytest.mark.covers("cli:jobs-cancel")
def test_cancelling_an_unknown_job_exits_with_1(zjp: Zjp) -> None:
    assert zjp("jobs", "cancel", str(uuid.uuid4())).code == 1


@pytest.mark.covers("cli:jobs-retry")
def test_a_finished_job_runs_again_under_the_same_id(zjp: Zjp) -> None:
    job_id = zjp("submit", "fail").out.strip()
    zjp("jobs", "wait", job_id)
    assert zjp("jobs", "retry", job_id).code == 0
    zjp("jobs", "wait", job_id)
    assert len(zjp("jobs", "show", job_id, "--json").json()["attempts"]) == 2


def test_a_delayed_job_can_be_run_now(zjp: Zjp) -> None:
    job_id = zjp("submit", "echo", "--delay", "1h").out.strip()
    assert zjp("jobs", "promote", job_id).code == 0
    assert zjp("jobs", "wait", job_id, "--timeout", "20s").code == 0


@pytest.mark.covers("cli:queues-list", "cli:queues-pause", "cli:queues-resume")
def test_a_paused_queue_keeps_its_jobs_until_it_is_resumed(zjp: Zjp) -> None:
    assert zjp("queues", "pause", "default").code == 0
    job_id = zjp("submit", "echo").out.strip()
    row = next(queue for queue in zjp("queues", "list", "--json").json() if queue["queue"] == "default")
    assert (row["paused"], row["pending"]) == (True, 1)
    assert "default" in zjp("queues", "list").out
    assert zjp("queues", "resume", "default").code == 0
    assert zjp("jobs", "wait", job_id, "--timeout", "20s").code == 0


@pytest.mark.covers("cli:queues-pause", "cli:queues-resume", "cli:queues-purge")
@pytest.mark.parametrize("name", ["*", "a,b", "x:5"])
def test_name_that_no_queue_can_have_is_refused_by_whatever_acts_on_a_queue(zjp: Zjp, name: str) -> None:
    """`*` is all queues elsewhere: who pauses it must not be told that all are."""
    for arguments in (("pause", name), ("resume", name), ("purge", name, "--yes")):
        told = zjp("queues", *arguments)
        assert told.code != 0
        assert f"queue '{name}' cannot be named in QUEUES" in " ".join(told.err.split())
    assert name not in [queue["queue"] for queue in zjp("queues", "list", "--json").json()]


@pytest.mark.covers("cli:queues-purge", "cli:yes")
def test_purge_cancels_what_waits_and_tells_how_many(zjp: Zjp) -> None:
    for _ in range(2):
        zjp("submit", "echo", "--delay", "1h", "--queue", "rubbish")
    assert zjp("queues", "purge", "rubbish").code == 2
    assert zjp("queues", "purge", "rubbish", "--yes").out == "2 jobs cancelled\n"


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:stats", "cli:json")
def test_stats_are_a_table_for_people_and_everything_for_machines(zjp: Zjp) -> None:
    zjp("submit", "echo", "--wait")
    told = zjp("stats")
    assert told.code == 0, told
    assert all(word in told.out for word in ("QUEUE", "PENDING", "PID", "SLOTS", "echo", "completed"))
    metrics = zjp("stats", "--json").json()["metrics"]
    assert sum(series["value"] for series in metrics["zjp_jobs_finished_total"]["series"]) >= 1


@pytest.mark.covers("cli:stats", "cli:json")
def test_stats_name_the_jobs_that_run(zjp: Zjp, held: tuple[str, Path]) -> None:
    def current() -> list[str]:
        told = zjp("stats", "--json")
        assert told.code == 0, told
        return [job_id for worker in told.json()["workers"] for job_id in worker["current"]]

    await_that(lambda: current() == [held[0]])


@pytest.mark.covers("cli:bench")
def test_bench_measures_a_running_node(zjp: Zjp) -> None:
    figures = zjp("bench", "--jobs", "500", "--json").json()
    assert figures["jobs"] == 500
    assert figures["jobs_per_s"] > 0
    assert 0 < figures["single_p50_ms"] <= figures["single_p99_ms"]


@pytest.mark.covers("cli:bench", "main-path:judged:6")
def test_bench_refuses_a_task_that_nobody_serves_and_names_those_that_are(zjp: Zjp) -> None:
    told = zjp("bench", "--type", "nope")
    assert told.code == 1
    assert "'nope'" in told.err
    assert "echo" in told.err


@pytest.mark.covers("cli:doctor")
def test_the_doctor_finds_the_running_node(zjp: Zjp) -> None:
    told = zjp("doctor")
    assert told.code == 0, told
    assert "answers" in told.out


# ── errors a user can cause ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("main-path:judged:6")
def test_a_payload_over_the_limit_is_refused_with_its_size_and_the_limit(zjp: Zjp) -> None:
    told = zjp("submit", "echo", "--payload-file", "-", stdin='{"text": "' + "x" * 1_100_000 + '"}')
    assert told.code == 1
    assert "payload is 11000" in told.err
    assert "1048576" in told.err


@pytest.mark.covers("main-path:judged:6")
def test_a_result_that_cannot_be_packed_fails_the_job_and_names_its_type(zjp: Zjp) -> None:
    told = zjp("submit", "unpackable", "--max-retries", "0", "--wait")
    assert told.code == 1
    assert "object" in told.err


@pytest.mark.covers("main-path:judged:6")
def test_a_node_of_another_cluster_is_told_by_name(zjp: Zjp) -> None:
    told = zjp("--cluster", "other", "stats")
    assert told.code in (1, 69)
    assert "other" in told.err


@pytest.mark.covers("main-path:judged:6", "cli:exit-codes")
def test_a_port_that_is_taken_stops_the_node_with_69(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        node = RunningNode(tmp_path, zmq_bind=address)
        node.launch()
        assert node.wait() == 69
    assert address in node.log_text()
    assert "--zmq-bind" in node.log_text()


@pytest.mark.covers("main-path:judged:6", "cli:exit-codes")
def test_a_data_folder_that_cannot_be_made_stops_the_node_with_78_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    node = RunningNode(tmp_path, data_dir=tmp_path / "file" / "data")
    node.launch()
    assert node.wait() in (69, 78)
    assert str(tmp_path / "file") in node.log_text()


@pytest.mark.covers("main-path:judged:6")
def test_a_second_node_on_the_same_folder_is_told_who_holds_it(node: RunningNode, tmp_path: Path) -> None:
    second = RunningNode(tmp_path, data_dir=node.data_dir)
    second.launch()
    assert second.wait() in (69, 78)
    assert str(node.pid) in second.log_text()


@pytest.mark.covers("cli:node", "cli:exit-codes")
def test_zjp_node_becomes_the_daemon_and_ends_with_its_exit_code(tmp_path: Path) -> None:
    told = run_zjp("node", "--worker-count", "many", "--data-dir", str(tmp_path))
    assert told.code == 78
    assert "WORKER_COUNT=many" in told.err
    assert "--worker-count" in run_zjp("node", "--help").out


@pytest.mark.covers("cli:node", "cli:signals")
def test_a_terminated_node_drains_and_exits_with_0(tmp_path: Path) -> None:
    with RunningNode(tmp_path, app="tests.cli.node_tasks:app", worker_count=1) as node:
        assert run_zjp("--address", node.address, "submit", "echo", "--wait").code == 0
        assert node.stop(signal.SIGTERM) == 0
