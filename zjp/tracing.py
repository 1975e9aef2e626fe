"""Spans of jobs, by OpenTelemetry (the extra `otel`). The only module that imports it, and that knows the names of its conventions.

    program's span ──► "send <queue>" PRODUCER ── Options.traceparent, tracestate ──► "process <queue>" CONSUMER ──► the task's own spans

Producers use the provider that their program has set (`sender`); a worker process uses the one that the application has set, else makes
one when the SDK's own OTEL_* variables ask for it (`attempts`). Both are asked once and give None where there is nothing to do: then
OpenTelemetry is not even imported, and the callers take their usual way.

The producer's span is the parent of the attempt's: each attempt is of one job and nothing else is going on around it, where the
conventions for messaging allow a parent beside the link that they ask for. So a job is in the trace of whoever submitted it.
Source: OpenTelemetry semantic conventions, messaging spans (status: Development).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import structs

from .job import TRACE_CHARS_MAX, JobSpec, Options, StoredJob, format_id
from .log import event
from .wire.messages import Result

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

    Running: TypeAlias = tuple[Span, Token[Context]]

SYSTEM, DESTINATION, MESSAGE_ID = "messaging.system", "messaging.destination.name", "messaging.message.id"
OPERATION_NAME, OPERATION_TYPE, BATCH_COUNT = (
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.batch.message_count",
)
ERROR_TYPE, EXCEPTION = "error.type", "exception"
EXCEPTION_TYPE, EXCEPTION_TEXT, EXCEPTION_TRACE = "exception.type", "exception.message", "exception.stacktrace"
JOB_TYPE, JOB_ATTEMPT, NODE_ID, WORKER_ID = "zjp.job.type", "zjp.job.attempt", "zjp.node.id", "zjp.worker.id"

FLUSH_S = 2.0
"""What a worker process waits at its end for a collector: less than its node waits for it."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

log = logging.getLogger(__name__)


def sender() -> Sender | None:
    """For the clients of this process; None when the program has set no provider."""
    provider = _program_provider()
    return None if provider is None else Sender(provider)


def attempts(environ: Mapping[str, str], node: str, worker: str) -> Attempts | None:
    """For a worker process, when the application is loaded. None: no tracing is asked for, or it cannot be had (which is logged)."""
    provider = _program_provider()
    if provider is None and (wanted := _exporters(environ)):
        try:
            provider = _make_provider(wanted)
        except ImportError:  # without the extra the variables are for somebody else
            return None
        except Exception as fault:
            event(log, logging.WARNING, "tracing.off", error=f"{type(fault).__name__}: {fault}")
    return None if provider is None else Attempts(provider, node, worker)


def _program_provider() -> TracerProvider | None:
    trace: Any = sys.modules.get("opentelemetry.trace")  # whoever has set one has imported it
    provider = None if trace is None else trace.get_tracer_provider()
    return None if trace is None or isinstance(provider, trace.ProxyTracerProvider) else provider


def _exporters(environ: Mapping[str, str]) -> list[str]:
    """Names of entry points, as the SDK's variables ask for them."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    asked = environ.get("OTEL_TRACES_EXPORTER", "") or ("otlp" if any(environ.get(name) for name in _ENDPOINTS) else "")
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    otlp = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    names = [name.strip() for name in asked.split(",")]
    return [otlp if name == "otlp" else name for name in names if name not in ("", "none")]


def _make_provider(exporters: Sequence[str]) -> TracerProvider:
    from importlib.metadata import entry_points

    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(
        shutdown_on_exit=False
    )  # `flush` ends sooner than its shutdown when the collector is away
    for name in exporters:
        found = entry_points(group="opentelemetry_traces_exporter", name=name)
        if not found:
            raise ValueError(f"no exporter {name!r} is installed; OTEL_TRACES_EXPORTER may be otlp, console or none")
        provider.add_span_processor(BatchSpanProcessor(next(iter(found)).load()()))
    trace.set_tracer_provider(provider)
    return provider


class _Spans:
    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._context, self._trace, self._provider = context, trace, provider
        self._tracer, self._w3c = provider.get_tracer("zjp"), TraceContextTextMapPropagator()


class Sender(_Spans):
    """A span around each request that submits; its jobs carry it."""

    @contextmanager
    def sending(self, specs: Sequence[JobSpec]) -> Iterator[list[JobSpec]]:
        """The same jobs, to be sent inside."""
        queues, first = {spec.queue for spec in specs}, specs[0]
        told: dict[str, Any] = {SYSTEM: "zjp", OPERATION_NAME: "send", OPERATION_TYPE: "send"}
        if len(queues) == 1:
            told[DESTINATION] = first.queue
        told |= (
            {MESSAGE_ID: format_id(first.id), JOB_TYPE: first.type} if len(specs) == 1 else {BATCH_COUNT: len(specs)}
        )
        name = f"send {told.get(DESTINATION, '')}".rstrip()
        with self._tracer.start_as_current_span(name, kind=self._trace.SpanKind.PRODUCER, attributes=told):
            carried: dict[str, str] = {}
            self._w3c.inject(carried)
            carried = {key: text for key, text in carried.items() if len(text) <= TRACE_CHARS_MAX}
            plain = Options(**carried)  # type: ignore[arg-type]  # traceparent and tracestate
            yield [
                structs.replace(spec, options=structs.replace(spec.options, **carried) if spec.options else plain)
                for spec in specs
            ]


class Attempts(_Spans):
    """A span for each attempt of a worker process. What goes wrong in here is logged, and is not the job's fault."""

    def __init__(self, provider: TracerProvider, node: str, worker: str) -> None:
        super().__init__(provider)
        self._fixed = {
            SYSTEM: "zjp",
            OPERATION_NAME: "process",
            OPERATION_TYPE: "process",
            NODE_ID: node,
            WORKER_ID: worker,
        }

    def begin(self, job: StoredJob) -> Running | None:
        """The span is the current one until `end`, which is to be called in the same thread or coroutine."""
        try:
            return self._begin(job)
        except Exception as fault:
            event(log, logging.WARNING, "tracing.failed", error=f"{type(fault).__name__}: {fault}")
            return None

    def _begin(self, job: StoredJob) -> Running:
        spec, options, trace = job.spec, job.spec.options, self._trace
        # A context of its own: what an earlier task left behind is no parent.
        parent = self._context.Context()
        if options is not None and options.traceparent:
            carried = {"traceparent": options.traceparent, "tracestate": options.tracestate}
            parent = self._w3c.extract(carried, parent)
        made = trace.get_current_span(parent).get_span_context()
        span = self._tracer.start_span(
            f"process {spec.queue}",
            parent,
            trace.SpanKind.CONSUMER,
            self._fixed
            | {
                DESTINATION: spec.queue,
                MESSAGE_ID: format_id(spec.id),
                JOB_TYPE: spec.type,
                JOB_ATTEMPT: job.retries + 1,
            },
            [trace.Link(made)] if made.is_valid else None,
        )
        return span, self._context.attach(trace.set_span_in_context(span, parent))

    def end(self, running: Running | None, result: Result) -> None:
        if running is None:
            return
        span, token = running
        try:
            self._context.detach(token)
            if (error := result.error) is not None:
                span.add_event(
                    EXCEPTION,
                    {EXCEPTION_TYPE: error.type, EXCEPTION_TEXT: error.message, EXCEPTION_TRACE: error.traceback},
                )
                span.set_attribute(ERROR_TYPE, error.type)
                span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, error.message))
            span.end()
        except Exception as fault:
            event(log, logging.WARNING, "tracing.failed", error=f"{type(fault).__name__}: {fault}")

    def flush(self) -> None:
        """At the end of the process, when all results are sent. In a thread: the SDK's flush takes as long as its exporter does."""
        flushing = getattr(self._provider, "force_flush", None)
        if flushing is not None:
            thread = threading.Thread(target=flushing, name="tracing-flush", daemon=True)
            thread.start()
            thread.join(FLUSH_S)
