"""A program that traces and submits, as a process of its own: the provider of a program is one for all of it.

    python -m tests.system.traced_program ADDRESS HTTP_ADDRESS

Prints {deed: {"span": id, "jobs": [id, ...], "results": [...]}}, when all jobs are finished.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from zjp import AsyncClient, Client
from zjp.client.blocking import Job
from zjp.errors import JobFailed

WAIT_S = 60.0


def told(span: trace.Span, client: Client, jobs: Iterable[Job]) -> dict[str, Any]:
    results: list[Any] = []
    ids = [job.id for job in jobs]
    for job in client.wait_all(ids, WAIT_S):
        try:
            results.append(job.result)
        except JobFailed:
            results.append(None)
    return {"span": f"{span.get_span_context().span_id:016x}", "jobs": ids, "results": results}


async def submit_later(address: str) -> str:
    async with AsyncClient(address) as client:
        return (await client.submit("look")).id


def main(address: str, http_address: str) -> None:
    early = Client(address)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("program")
    found: dict[str, Any] = {}
    with early as client, Client(http_address, token="", ca_file="") as over_http:
        for deed in ("look", "look_async"):
            with tracer.start_as_current_span(deed) as span:
                found[deed] = told(span, client, [client.submit(deed)])
        for deed in ("hand_on", "hand_on_async"):
            with tracer.start_as_current_span(deed) as span:
                found[deed] = told(span, client, [client.submit(deed, {"address": address})])
        with tracer.start_as_current_span("lose") as span:
            found["lose"] = told(span, client, [client.submit("lose", max_retries=1, tags=["kept"])])
        with tracer.start_as_current_span("many") as span:
            found["many"] = told(span, client, client.submit_many([("look", None), ("look_async", None)], queue="mail"))
        with tracer.start_as_current_span("asyncio") as span:
            found["asyncio"] = told(span, client, [client.get(asyncio.run(submit_later(address)))])
        with tracer.start_as_current_span("http") as span:
            found["http"] = told(span, client, [over_http.submit("look"), *over_http.submit_many([("look", None)] * 2)])
        found["alone"] = told(trace.INVALID_SPAN, client, [client.submit("look")])
    provider.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
