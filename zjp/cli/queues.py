"""`zjp queues`: how full they are; pause, resume and empty them."""

from __future__ import annotations

import click
import msgspec

from ..job import QUEUE_CHARS_MAX
from . import show
from .options import Caller, caller, connecting, name_of, reading
from .stats import queue_table


@click.group("queues", short_help="List, pause, resume or purge queues.")
def command() -> None:
    """Look at queues and act on them."""


QUEUE = click.argument("queue", type=name_of("queue", QUEUE_CHARS_MAX), metavar="QUEUE")


@command.command("list")
@reading
@connecting
@caller
def list_queues(asked: Caller) -> None:
    """List all known queues: sizes, and how long the oldest ready job has waited."""
    with asked.client() as client:
        queues = [msgspec.structs.asdict(count) for count in client.queues()]
    if asked.as_json:
        show.as_json(queues)
    else:
        queue_table(queues)


@command.command("pause")
@QUEUE
@connecting
@caller
def pause(asked: Caller, queue: str) -> None:
    """Stop starting jobs of a queue (within 1 s); they can still be submitted."""
    with asked.client() as client:
        client.pause(queue)
    show.talk(f"{queue} is paused: no new starts after 1 s; `zjp queues resume {queue}` goes on")


@command.command("resume")
@QUEUE
@connecting
@caller
def resume(asked: Caller, queue: str) -> None:
    """Start jobs of a paused queue again."""
    with asked.client() as client:
        client.resume(queue)
    show.talk(f"{queue} runs again")


@command.command("purge")
@QUEUE
@reading
@connecting
@caller
@click.pass_context
def purge(ctx: click.Context, asked: Caller, queue: str) -> None:
    """Cancel every job that waits in a queue, ready or delayed. What runs goes on. Asks first; --yes does not."""
    if not asked.confirm(f"Cancel every job that waits in {queue}?"):
        show.talk("nothing was done")
        ctx.exit(1)
    with asked.client() as client:
        client.queues()  # whether anybody answers is known as soon as for any other verb
        count = client.purge(queue, **({} if asked.timeout_s is None else {"timeout": asked.timeout_s}))
    if asked.as_json:
        show.as_json({"queue": queue, "cancelled": count})
    else:
        click.echo(f"{count} jobs cancelled")
