"""`zjp cluster`: who leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from ..job_json import time_json, unpacked
from ..wire.messages import LeaderReply
from . import show
from .options import Caller, caller, connecting, reading


@click.group("cluster", short_help="Show who leads.")
def command() -> None:
    """Look at the cluster. One node alone is a cluster of one."""


@command.command("leader")
@reading
@connecting
@caller
@click.pass_context
def leader(ctx: click.Context, asked: Caller) -> None:
    """Show the leader and its epoch, as far as the node that answers knows. Exit code 1 when there is none."""
    with asked.client() as client:
        reply = client.leader()
    if asked.as_json:
        show.as_json(leader_json(reply))
    else:
        show.pairs(_facts(reply))
    ctx.exit(0 if reply.node else 1)


def leader_json(reply: LeaderReply) -> dict[str, Any]:
    told = msgspec.structs.asdict(reply)
    figures = unpacked(told.pop("figures"))
    if figures is not None:
        figures["at"] = time_json(figures.pop("at_ms", 0))
    return {"leader": told.pop("node") or None, **told, "figures": figures}


def _facts(reply: LeaderReply) -> Iterator[tuple[str, object]]:
    here = ", this node" if reply.is_here else ""
    yield "leader", f"{reply.node}{here}" if reply.node else "none"
    yield "epoch", reply.epoch
    yield "algorithm", reply.algorithm
    yield "role here", reply.role
    if reply.is_here:
        yield "duties", "done here" if reply.is_in_office else "not yet: the store has not confirmed the epoch"
