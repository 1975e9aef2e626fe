"""`zjp cluster`: who is in it, who leads and led, and what an operator does about it.

Everything told is the view of the one node that answers. What only the leader, or only the node itself, can do is asked there: its address
is looked up through the node that can be reached. The HTTP API finds the right node by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..errors import NotFound, Unavailable
from ..job_json import time_json, unpacked
from ..wire.messages import LeaderReply
from ..wire.seen import HISTORY_MAX, Change, ClusterNode, ClusterReply
from . import show
from .options import REQUEST_LIMIT_S, Caller, caller, client_of, connecting, duration, is_http, reading

if TYPE_CHECKING:
    from ..client.blocking import Client

WATCH_S, WATCH_S_LEAST = 0.5, 0.1
LOOK_S = 0.1
TRANSFER_S = 10.0
SENTENCE_CHARS_MAX = 1000
NAMING = ("bully", "raft")
"""Algorithms whose voters have names."""
HEALTH_COLOURS = {"suspect": "yellow", "dead": "red", "left": "yellow"}
NODE_COLUMNS = ("node", "role", "health", "since", "boot", "priority", "up", "address")
CHANGE_COLUMNS = ("ago", "what", "node", "epoch", "why", "took", "leaderless")


@click.group("cluster", short_help="Show the nodes and the leader, hand over, drain.")
def command() -> None:
    """Look at the cluster as one node sees it, hand the leadership over, drain a node. One node alone is a cluster of one."""


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@command.command("nodes")
@reading
@connecting
@caller
def nodes(asked: Caller) -> None:
    """List the nodes with role and health, as the node that answers sees them."""
    with asked.client() as client:
        reply = client.cluster()
    if asked.as_json:
        show.as_json(cluster_json(reply))
        return
    show.table(
        NODE_COLUMNS, map(node_row, reply.nodes), colour=[HEALTH_COLOURS.get(node.health) for node in reply.nodes]
    )
    say(f"as {reply.node} sees it")


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


@command.command("health")
@reading
@connecting
@caller
@click.pass_context
def health(ctx: click.Context, asked: Caller) -> None:
    """Say whether there is a leader, a majority, and nobody missing. Exit code 1 when something is wrong."""
    with asked.client() as client:
        reply = client.cluster()
    faults = faults_of(reply)
    if asked.as_json:
        show.as_json({"ok": not faults, "faults": faults, **cluster_json(reply)})
    else:
        alive = sum(node.health == "alive" for node in reply.nodes)
        show.pairs(
            [("leader", f"{reply.leader} in epoch {reply.epoch}" if reply.leader else "none"), ("alive", f"{alive} of {len(reply.nodes)}")]
        )
        for fault in faults:
            click.secho(sentence(fault), fg="red")
        if not faults:
            click.secho("all well", fg="green")
    ctx.exit(1 if faults else 0)


@command.command("history")
@click.option("--limit", type=click.IntRange(1, HISTORY_MAX), default=20, show_default=True, help="So many of the latest.")
@reading
@connecting
@caller
def history(asked: Caller, limit: int) -> None:
    """List elections and what came of them, newest first: when, whom, why, how long they took, how long no leader was heard."""
    with asked.client() as client:
        changes = client.history(limit)
    if asked.as_json:
        show.as_json([change_json(change) for change in changes])
    else:
        show.table(CHANGE_COLUMNS, map(_change_row, changes))


@command.command("watch")
@click.option("--every", type=duration, default=WATCH_S, metavar="DURATION", help=f"Look so often. [{WATCH_S:g}s]")
@reading
@connecting
@caller
def watch(asked: Caller, every: float) -> None:
    """Print a line for each change of leader, role or health, until Ctrl-C (exit code 130). With --json one object a line."""
    write: Callable[[str, str], None] = _as_json_line if asked.as_json else _as_line
    before: dict[str, str] = {}
    with asked.client() as client:
        while True:
            now = _picture(client, before)
            for subject, state in now.items():
                if before.get(subject) != state:
                    write(subject, state)
            for subject in before.keys() - now.keys():
                write(subject, "gone")
            before = now
            time.sleep(max(WATCH_S_LEAST, every))


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@command.command("transfer")
@click.argument("node", metavar="[NODE]", default="")
@connecting
@caller
@click.pass_context
def transfer(ctx: click.Context, asked: Caller, node: str) -> None:
    """Hand the leadership to NODE, or to whoever is best (with gossip always). Exit code 1 when it leads not 10 s later."""
    with asked.client() as client:
        reply = client.cluster()
    if not reply.leader:
        say(f"nobody leads as far as {reply.node} knows; there is nothing to hand over")
        ctx.exit(1)
    if node == reply.leader:
        say(f"{node} leads already")
        return
    with _client_at(asked, reply, reply.leader) as client:
        client.transfer(node)
        after = _leader_after(client, reply.leader, node)
    if after is None:
        say(f"asked {reply.leader}, but within {TRANSFER_S:g} s nobody else has come; `zjp cluster history` may say why")
        ctx.exit(1)
    say(f"{after.leader} leads in epoch {after.epoch}; before it {reply.leader} in {reply.epoch}")
    ctx.exit(0 if node in ("", after.leader) else 1)


@command.command("drain")
@click.argument("node", metavar="NODE")
@click.option("--undo", is_flag=True, help="Let it take jobs again.")
@connecting
@caller
def drain(asked: Caller, node: str, undo: bool) -> None:
    """Let NODE take and start no more jobs, finish what runs, and hand over the leadership; it stays up. Its restart ends that too."""
    with asked.client() as client:
        reply = client.cluster()
    with _client_at(asked, reply, node) as client:
        held = client.drain(node, not undo)
    if undo:
        say(f"{node} takes jobs again")
    else:
        say(f"{node} drains: {held} jobs run to their end; `zjp cluster drain {node} --undo` goes on")


def _client_at(asked: Caller, reply: ClusterReply, name: str) -> Client:
    """Raises: NotFound, Unavailable."""
    found = next((node for node in reply.nodes if node.node == name), None)
    if found is None:
        raise NotFound(sentence(f"no node {name!r} in this cluster as {reply.node} sees it; `zjp cluster nodes` lists them"))
    if name == reply.node or is_http(asked.addresses[0]):
        return asked.client()
    if not found.address:
        raise Unavailable(sentence(f"{reply.node} does not know the address of {name}; ask {name} itself with --address"))
    settings = asked.loaded.settings
    return client_of(settings, (found.address,), asked.cluster, timeout_s=asked.timeout_s or REQUEST_LIMIT_S)


def _leader_after(client: Client, before: str, wanted: str) -> ClusterReply | None:
    """Once another one leads; the wanted one, if it comes in time."""
    end, found = time.monotonic() + TRANSFER_S, None
    while time.monotonic() < end:
        reply = client.cluster()
        if reply.leader not in ("", before):
            found = reply
            if wanted in ("", reply.leader):
                break
        time.sleep(LOOK_S)
    return found


# ── how it looks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sentence(text: str) -> str:
    """Names come from nodes, and from whoever says that it is one."""
    return show.clean(text, SENTENCE_CHARS_MAX)


def say(text: str) -> None:
    show.talk(sentence(text))


def node_row(node: ClusterNode) -> tuple[object, ...]:
    up = "yes" if node.is_up else "no"
    return (
        node.node, node.role, node.health, show.ago(node.since_ms), node.boot or "-", node.priority, up, node.address or "-",
    )  # fmt: skip


def cluster_json(reply: ClusterReply) -> dict[str, Any]:
    told = msgspec.structs.asdict(reply)
    listed = [msgspec.structs.asdict(node) for node in told.pop("nodes")]
    for node in listed:
        node["since"] = time_json(node.pop("since_ms"))
    return {**told, "leader": reply.leader or None, "nodes": listed}


def change_json(change: Change) -> dict[str, Any]:
    told = msgspec.structs.asdict(change)
    return {"at": time_json(told.pop("at_ms")), **told}


def _change_row(change: Change) -> tuple[object, ...]:
    took, leaderless = (show.age(ms / 1000) if ms else "-" for ms in (change.took_ms, change.leaderless_ms))
    return show.ago(change.at_ms), change.kind, change.node or "-", change.epoch or "-", change.why or "-", took, leaderless


def faults_of(reply: ClusterReply) -> list[str]:
    """What an operator should look at, a sentence each. A node that left was stopped: no fault, until too few are there to elect."""
    faults = [f"{node.node} is {node.health}" for node in reply.nodes if node.health in ("suspect", "dead")]
    if reply.other_voters:
        faults.insert(0, _dispute_of(reply))
    elif not reply.leader:
        faults.insert(0, "nobody leads: schedules do not fire, jobs go on")
    elif not reply.has_quorum:
        faults.insert(0, f"{reply.node} hears of no majority ({reply.quorum} are needed)")
    elif reply.is_leader_idle or (reply.leader == reply.node and not reply.is_in_office):
        faults.insert(0, f"{show.clean(reply.leader)} leads, but the store does not confirm it: schedules do not fire")
    if len(voting := _voting(reply)) < reply.quorum:
        faults.append(f"{len(voting)} of the nodes that elect are alive, {reply.quorum} are needed")
    if reply.algorithm in NAMING and not reply.voters and not reply.other_voters:
        met = sum(node.is_up for node in reply.nodes)
        faults.append(
            f"the cluster is still forming: with {reply.node} there are {met} that have met, and CLUSTER_SIZE asks for more "
            "or the store is away"
        )
    if reply.is_draining:
        faults.append(f"{reply.node} is draining")
    return faults


def _dispute_of(reply: ClusterReply) -> str:
    kept, others = ", ".join(reply.kept_voters), ", ".join(reply.other_voters)
    return (
        f"two lists of voters: {reply.node} kept {kept}; the store names {others}. It has no part in elections, and nobody leads as far as "
        "it knows, until you decide (docs/cluster.md, 'Two lists of voters'); jobs go on"
    )


def _voting(reply: ClusterReply) -> list[str]:
    """Alive, and of those that elect: the voters where they are named, else all."""
    return [node.node for node in reply.nodes if node.health == "alive" and (not reply.voters or node.node in reply.voters)]


def _picture(client: Client, before: dict[str, str]) -> dict[str, str]:
    """What there is to see, by what it is about. Raises: Unavailable, TimeoutError when there is no answer at first."""
    try:
        reply = client.cluster()
    except (Unavailable, TimeoutError):
        if not before:
            raise
        return {**before, "node": "does not answer"}
    led = f"{reply.leader} in epoch {reply.epoch}" if reply.leader else "nobody"
    return {"node": f"{reply.node} answers", "leader": led, **{f"node {one.node}": f"{one.role}, {one.health}" for one in reply.nodes}}


def _as_line(subject: str, state: str) -> None:
    click.echo(show.clean(f"{datetime.now().astimezone():%H:%M:%S}  {subject}: {state}"))


def _as_json_line(subject: str, state: str) -> None:
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
    click.echo(msgspec.json.encode({"at": time_json(at_ms), "subject": subject, "state": state}).decode())


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
