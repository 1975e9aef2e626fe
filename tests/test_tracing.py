"""What is carried of a trace, and what happens when tracing itself goes wrong; whole traces are in tests/system/test_tracing.py."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from zjp.api.submitting import traced
from zjp.errors import InvalidJob
from zjp.job import TRACE_CHARS_MAX, JobSpec, Limits, Options, StoredJob, check_spec
from zjp.tracing import Attempts, Sender
from zjp.wire.messages import Result, ResultKind

pytestmark = pytest.mark.covers("settings:OTEL")

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PLAIN = JobSpec(b"i" * 16, "email", b"\x80")


def with_options(**options: Any) -> JobSpec:
    return msgspec.structs.replace(PLAIN, options=Options(**options))


def test_options_without_a_trace_are_written_as_before_and_read_from_before() -> None:
    before = msgspec.msgpack.encode([b"i" * 16, "email", b"\x80", "default", 5, {"caller_id": True}])
    spec = with_options(caller_id=True)
    assert msgspec.msgpack.encode(spec) == before
    assert msgspec.msgpack.decode(before, type=JobSpec) == spec


def test_trace_travels_with_the_job() -> None:
    spec = with_options(traceparent=PARENT, tracestate="a=b")
    check_spec(spec, Limits())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=JobSpec) == spec


@pytest.mark.parametrize("name", ["traceparent", "tracestate"])
def test_trace_beyond_its_limit_is_refused(name: str) -> None:
    with pytest.raises(InvalidJob, match=f"{name} has 513 characters, the limit is 512"):
        check_spec(with_options(**{name: "x" * (TRACE_CHARS_MAX + 1)}), Limits())


def test_http_request_hands_its_trace_to_the_job_beside_the_jobs_own_options() -> None:
    spec = traced(with_options(delay_ms=5), {"traceparent": PARENT, "tracestate": "a=b"})
    assert spec.options == Options(delay_ms=5, traceparent=PARENT, tracestate="a=b")


@pytest.mark.parametrize("parent", ["", "nonsense", PARENT.upper(), PARENT + "-more", PARENT + "\n"])
def test_http_request_with_a_malformed_trace_submits_without_one(parent: str) -> None:
    assert traced(PLAIN, {"traceparent": parent, "tracestate": "a=b"}) == PLAIN


@pytest.mark.parametrize("state", ["x" * (TRACE_CHARS_MAX + 1), "a=\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_http_request_with_a_malformed_state_keeps_its_parent(state: str) -> None:
    assert traced(PLAIN, {"traceparent": PARENT, "tracestate": state}).options == Options(traceparent=PARENT)


def test_jobs_of_one_request_carry_its_span_and_keep_their_options() -> None:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Sender(provider).sending([PLAIN, with_options(delay_ms=5)]) as (plain, delayed):
        pass
    (span,) = exporter.get_finished_spans()
    carried = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
    assert (plain.options, delayed.options) == (Options(traceparent=carried), Options(delay_ms=5, traceparent=carried))


@pytest.mark.parametrize("parent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_attempt_without_a_readable_parent_begins_a_trace_whatever_is_current(parent: str) -> None:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = Attempts(provider, "n1", "w1")
    with provider.get_tracer("before").start_as_current_span("left behind") as before:
        spans.end(
            spans.begin(StoredJob(with_options(traceparent=parent), 1)), Result(PLAIN.id, ResultKind.COMPLETED, 0, 0)
        )
        assert trace.get_current_span() is before
    (attempt, _) = exporter.get_finished_spans()
    assert (attempt.name, attempt.parent, list(attempt.links)) == ("process default", None, [])


class Broken(SpanProcessor):
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        raise RuntimeError("no span today")


def test_processor_that_fails_is_told_in_the_log_and_is_not_the_jobs_fault(caplog: pytest.LogCaptureFixture) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    spans = Attempts(provider, "n1", "w1")
    with caplog.at_level(logging.WARNING):
        running = spans.begin(StoredJob(PLAIN, 1))
    spans.end(running, Result(PLAIN.id, ResultKind.COMPLETED, 0, 0))
    assert running is None
    assert "tracing.failed" in caplog.text
