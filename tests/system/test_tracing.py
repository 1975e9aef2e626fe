"""Traces from a program through nodes and workers, as a collector gets them: OTLP over HTTP, decoded."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.shown import blocks_of
from tests.system.running import ROOT, RunningNode, clean_environment, first
from zjp.tracing import attempts, sender

pytestmark = [pytest.mark.system, pytest.mark.covers("settings:OTEL")]

LIMIT_S = 60.0
TASKS = "tests.system.traced_tasks:app"


class Collector:
    """What OpenTelemetry sends its spans to. `spans`: all that came, in any order."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        taken = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def find(self, **wanted: Any) -> list[Span]:
        """`job`: the spans of attempts of this job; `span`: the one with this id; `name`."""
        found = list(self.spans)
        if "job" in wanted:
            found = [
                span
                for span in found
                if span.kind == Span.SPAN_KIND_CONSUMER and facts(span)["messaging.message.id"] == wanted["job"]
            ]
        if "span" in wanted:
            found = [span for span in found if span.span_id.hex() == wanted["span"]]
        return [span for span in found if span.name == wanted.get("name", span.name)]

    def one(self, **wanted: Any) -> Span:
        """When it has come."""
        (span,) = first(lambda: self.find(**wanted) or None, LIMIT_S, f"a span {wanted}")
        return span


def facts(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in span.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def told(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the program says of its deeds, at a node that traces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        patch.setenv("OTEL_SERVICE_NAME", "traced")
        node = RunningNode(
            tmp_path_factory.mktemp("traced"), app=TASKS, worker_count=2, worker_processes=1, node_id="n1", queues="default,mail",
            retry_base_delay="10ms", api_enabled=True, server_port=0, metrics_port=0, auth_enabled=False,
        )  # fmt: skip
        with node:
            url = first(lambda: node.events("api.listening") or None, LIMIT_S, "api.listening")[0]["url"]
            yield json.loads(run_program("-m", "tests.system.traced_program", node.address, url))


def run_program(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("deed", ["hand_on", "hand_on_async"])
def test_one_trace_goes_from_the_program_to_its_job_and_on_to_the_job_that_this_one_submits(
    deed: str, collector: Collector, told: dict[str, Any]
) -> None:
    program = collector.one(span=told[deed]["span"])
    outer = collector.one(job=told[deed]["jobs"][0])
    inner = collector.one(job=told[deed]["results"][0][1])
    sent = collector.one(span=outer.parent_span_id.hex())
    passed_on = collector.one(span=inner.parent_span_id.hex())
    assert [span.name for span in (sent, outer, passed_on, inner)] == ["send default", "process default"] * 2
    assert {span.kind for span in (sent, passed_on)} == {Span.SPAN_KIND_PRODUCER}
    assert (sent.parent_span_id, passed_on.parent_span_id) == (program.span_id, outer.span_id)
    assert {span.trace_id for span in (program, sent, outer, passed_on, inner)} == {program.trace_id}
    assert [link.span_id for link in inner.links] == [passed_on.span_id]


@pytest.mark.parametrize("deed", ["look", "look_async"])
def test_task_sees_the_span_of_its_attempt_as_the_current_one(
    deed: str, collector: Collector, told: dict[str, Any]
) -> None:
    (job,), (seen,) = told[deed]["jobs"], told[deed]["results"]
    assert collector.one(job=job).span_id.hex() == seen


def test_span_of_an_attempt_says_which_it_is(collector: Collector, told: dict[str, Any]) -> None:
    (job,) = told["look"]["jobs"]
    span = collector.one(job=job)
    worker = facts(span).pop("zjp.worker.id")
    assert worker
    assert facts(span) == {
        "messaging.system": "zjp", "messaging.operation.name": "process", "messaging.operation.type": "process",
        "messaging.destination.name": "default", "messaging.message.id": job, "zjp.job.type": "look", "zjp.job.attempt": 1,
        "zjp.node.id": "n1", "zjp.worker.id": worker,
    }  # fmt: skip
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert "traced" in collector.services


def test_attempts_of_a_job_that_fails_have_the_error_and_its_traceback(
    collector: Collector, told: dict[str, Any]
) -> None:
    (job,) = told["lose"]["jobs"]
    spans = first(lambda: found if len(found := collector.find(job=job)) == 2 else None, LIMIT_S, "both attempts")
    assert sorted(facts(span)["zjp.job.attempt"] for span in spans) == [1, 2]
    for span in spans:
        assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "it went wrong")
        assert facts(span)["error.type"] == "ValueError"
        (happened,) = span.events
        attributes = {one.key: one.value.string_value for one in happened.attributes}
        assert (happened.name, attributes["exception.message"]) == ("exception", "it went wrong")
        assert "traced_tasks.py" in attributes["exception.stacktrace"]


def test_jobs_submitted_together_have_one_span_of_the_request(collector: Collector, told: dict[str, Any]) -> None:
    one, other = (collector.one(job=job) for job in told["many"]["jobs"])
    sent = collector.one(span=one.parent_span_id.hex())
    assert sent.span_id == other.parent_span_id
    assert (sent.name, facts(sent)["messaging.batch.message_count"]) == ("send mail", 2)
    assert sent.parent_span_id.hex() == told["many"]["span"]


@pytest.mark.parametrize("way", ["asyncio", "http"])
def test_other_clients_hand_on_the_trace_as_well(way: str, collector: Collector, told: dict[str, Any]) -> None:
    program = collector.one(span=told[way]["span"])
    for job in told[way]["jobs"]:
        span = collector.one(job=job)
        sent = collector.one(span=span.parent_span_id.hex())
        assert (span.trace_id, sent.parent_span_id) == (program.trace_id, program.span_id)


def test_submit_outside_of_any_span_begins_a_trace(collector: Collector, told: dict[str, Any]) -> None:
    span = collector.one(job=told["alone"]["jobs"][0])
    assert collector.one(span=span.parent_span_id.hex()).parent_span_id == b""


def test_collector_that_is_away_delays_no_job_and_the_last_spans_hold_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Port 9 of this machine: nobody listens. The worker waits FLUSH_S for it, of the 5 s that its node waits for the worker."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    with RunningNode(tmp_path, app=TASKS, worker_count=2, worker_processes=1) as node:
        with node.client() as client:
            jobs = client.wait_all(client.submit_many([("look", None)] * 500), timeout=LIMIT_S)
        assert all(re.fullmatch("[0-9a-f]{16}", job.result) and int(job.result, 16) for job in jobs), (
            "no span in the task"
        )
        assert max((one.ended_at or 0.0) - (one.started_at or 0.0) for job in jobs for one in job.attempts) < 1.0
        assert node.stop() == 0
        assert not [line for line in node.events() if line["event"] == "worker.killed"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "x", "OTEL_RESOURCE_ATTRIBUTES": "a=b"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
def test_without_variables_that_ask_for_it_there_is_no_tracer(variables: dict[str, str]) -> None:
    assert attempts(variables, "n1", "w1") is None
    assert sender() is None


def test_exporter_that_is_not_installed_is_told_in_the_log_and_tracing_is_off(caplog: pytest.LogCaptureFixture) -> None:
    assert attempts({"OTEL_TRACES_EXPORTER": "carrier-pigeon"}, "n1", "w1") is None
    assert "tracing.off" in caplog.text


def test_clients_and_workers_that_do_not_trace_import_nothing_of_opentelemetry() -> None:
    run = (
        "import sys, zjp.worker.process, zjp.client.blocking\n"
        "from zjp.client.traced import way_out\n"
        "from zjp.tracing import attempts\n"
        "door = object()\n"
        "assert way_out(door) is door and attempts({}, 'n1', 'w1') is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert run_program("-c", run).strip() == "[]"


def test_without_the_extra_the_variables_are_left_alone() -> None:
    run = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from zjp.tracing import attempts\n"
        "print(attempts({'OTEL_TRACES_EXPORTER': 'otlp'}, 'n1', 'w1'))"
    )
    assert run_program("-c", run).strip() == "None"


@pytest.mark.covers("main-path:judged:2")
def test_page_on_tracing_does_what_it_shows(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {block.kind: block.text for block in blocks_of("docs/tracing.md")}
    *variables, _, _, _, _, app = shlex.split(shown[""])
    for name, _, text in (variable.partition("=") for variable in variables):
        monkeypatch.setenv(name, collector.url if name == "OTEL_EXPORTER_OTLP_ENDPOINT" else text)
    with RunningNode(tmp_path, app=app, worker_count=1, worker_processes=1) as node:
        program = tmp_path / "program.py"
        program.write_text(shown["python"].replace("tcp://127.0.0.1:5570", node.address))
        run_program(str(program))
    checkout = collector.one(name="checkout")
    (done,) = [
        span for span in collector.spans if span.kind == Span.SPAN_KIND_CONSUMER and span.trace_id == checkout.trace_id
    ]
    assert facts(done)["zjp.job.type"] == "email"
    assert "mailer" in collector.services
