"""Tasks that look at the trace they are in, for test_tracing.py."""

from __future__ import annotations

from opentelemetry import trace

from zjp import App, AsyncClient, Client, Context

app = App()


def seen() -> str:
    """The span that is the current one, in the form of the test's own."""
    context = trace.get_current_span().get_span_context()
    return f"{context.span_id:016x}"


@app.task
def look() -> str:
    return seen()


@app.task
async def look_async() -> str:
    return seen()


@app.task
def hand_on(address: str) -> list[str]:
    with Client(address) as client:
        job = client.submit("look")
    return [seen(), job.id]


@app.task
async def hand_on_async(address: str) -> list[str]:
    async with AsyncClient(address) as client:
        job = await client.submit("look_async")
    return [seen(), job.id]


@app.task
def lose(ctx: Context) -> None:
    raise ValueError("it went wrong")
