"""Who leads and how that came: leader, election, algorithms, step-down."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ...client.deeds import expect
from ...config import TABLE
from ...config.table import DERIVED
from ...errors import NotFound, WrongState
from ...job_json import time_json
from ...wire import messages as m
from ...wire.messages import Role
from ...wire.seen import Change, Transfer
from ..algorithms import ALGORITHMS, SETTINGS, algorithm_json
from ..desk import Desk
from ..shapes import Time
from ..table import Answer, Call, NoQuery, Route

HISTORY_SHOWN = 100


class LeaderShape(msgspec.Struct):
    """`node` null: nobody leads, as far as the answering node knows. `is_in_office`: the store has the epoch."""

    node: str | None
    epoch: int
    fencing_token: int
    algorithm: str
    has_quorum: bool
    is_in_office: bool


class ChangeShape(msgspec.Struct):
    at: Time
    kind: str
    node: str
    epoch: int
    why: str
    took_ms: int
    leaderless_ms: int


class ElectionShape(msgspec.Struct):
    """As the answering node sees it. `history`: newest first."""

    algorithm: str
    role: str
    term: int
    leader: str | None
    fencing_token: int
    quorum: int
    voters: list[str]
    timeout_seconds: float
    interval_seconds: float
    history: list[ChangeShape]


class SettingShape(msgspec.Struct):
    name: str
    default: str
    value: str | None
    meaning: str


class AlgorithmShape(msgspec.Struct):
    name: str
    title: str
    summary: str
    steps: list[str]
    promises: list[str]
    settings: list[SettingShape]
    is_in_use: bool


class StepDown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`to`: who is to lead; empty: whoever is best."""

    to: Annotated[str, msgspec.Meta(max_length=64)] = ""


class StepDownShape(msgspec.Struct):
    """It has begun. `from_node`: who led."""

    from_node: str
    to: str | None


async def leader(call: Call[None, NoQuery]) -> Answer:
    reply = await call.desk.voice(call.caller).leader()
    told = {
        "node": reply.node or None,
        "epoch": reply.epoch,
        "fencing_token": reply.epoch,
        "algorithm": reply.algorithm,
        "has_quorum": reply.has_quorum,
        "is_in_office": reply.is_in_office,
    }
    return Answer(told)


async def election(call: Call[None, NoQuery]) -> Answer:
    client = call.desk.voice(call.caller)
    known, reply, changes = await client.leader(), await call.desk.cluster.reply(), await client.history(HISTORY_SHOWN)
    timeout_s, interval_s = call.desk.settings.election_times_s
    told = {
        "algorithm": known.algorithm,
        "role": known.role,
        "term": known.epoch,
        "leader": known.node or None,
        "fencing_token": known.epoch,
        "quorum": reply.quorum,
        "voters": reply.voters,
        "timeout_seconds": timeout_s,
        "interval_seconds": interval_s,
        "history": [change_json(change) for change in changes],
    }
    return Answer(told)


def change_json(change: Change) -> dict[str, Any]:
    return {
        "at": time_json(change.at_ms),
        "kind": change.kind,
        "node": change.node,
        "epoch": change.epoch,
        "why": change.why,
        "took_ms": change.took_ms,
        "leaderless_ms": change.leaderless_ms,
    }


async def algorithm(call: Call[None, NoQuery]) -> Answer:
    name = call.path["algorithm"]
    if name not in ALGORITHMS:
        raise NotFound(f"no algorithm {name!r}; there are {', '.join(ALGORITHMS)}")
    reply = await call.desk.cluster.reply()
    return Answer(algorithm_json(name, reply.algorithm, _values(call.desk)))


def _values(desk: Desk) -> dict[str, str]:
    """The settings of this process, which are its node's."""
    values = {}
    for name in SETTINGS:
        row = TABLE[name]
        value = getattr(desk.settings, row.field)
        values[name] = row.show(DERIVED[name](desk.settings) if value is None and name in DERIVED else value)
    return values


async def step_down(call: Call[StepDown, NoQuery]) -> Answer:
    client, to = call.desk.voice(call.caller), call.body.to
    known = await client.leader()
    if not known.node:
        raise WrongState("nobody leads just now, so nobody can step down; ask again in a moment")
    if known.is_here:
        await client.transfer(to)
    else:
        expect(m.Done, await client.ask_node(known.node, Transfer(to)))
    return Answer(StepDownShape(known.node, to or None), 202)


GROUP = "Cluster"
ROUTES = (
    Route(
        "GET", "/api/v1/leader", Role.WORKER, "Who leads, as far as the answering node knows.", leader, None, NoQuery, LeaderShape,
        group=GROUP,
    ),
    Route(
        "POST", "/api/v1/leader/step-down", Role.ADMIN, "Hand the leadership to a node, or to whoever is best.", step_down, StepDown,
        NoQuery, StepDownShape, 202, {409: "Nobody leads, or it cannot be handed over now."}, GROUP,
    ),
    Route(
        "GET", "/api/v1/election", Role.WORKER, "Term, voters, times and history of elections.", election, None, NoQuery, ElectionShape,
        group=GROUP,
    ),
    Route(
        "GET", "/api/v1/election/algorithms/{algorithm}", Role.WORKER, "How an algorithm works, and its settings.", algorithm, None,
        NoQuery, AlgorithmShape, statuses={404: "No such algorithm."}, group=GROUP,
    ),
)  # fmt: skip
