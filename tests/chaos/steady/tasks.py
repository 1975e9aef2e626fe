"""The tasks of a steady run: one that does nothing but tell the history and the sink of itself, and one for the schedule's ticks."""

from __future__ import annotations

from tests.chaos.tasks import Act
from zjp import App, Context
from zjp.job import parse_id
from zjp.schedule import tick_of

app = App()


def tick_key(job_id: str) -> str:
    """What names the tick whose job this is: all jobs of one tick would share it."""
    return f"tick-{tick_of(parse_id(job_id)) // 1000}"


@app.task("step")
def step(ctx: Context, key: str, ek: str = "") -> str:
    return Act(ctx, key, "plain", ek).end()


@app.task("beat")
def beat(ctx: Context) -> str:
    return Act(ctx, tick_key(ctx.job_id), "plain", "").end()
