"""Cores that are simple enough to know what the simulator must say of them."""

from __future__ import annotations

from collections.abc import Sequence

from sims.election.invariants.watch import Watch
from zjp.election.core import Config, Effects, Event, Recv, Role, Send, StoreReply, Time, Uniform, View, Wake
from zjp.election.office import Office
from zjp.wire.peers import Beat, Stored


class Toy:
    """The first voter leads, in the epoch of its boot, once the store lets it. The others follow whom they hear."""

    def __init__(self, config: Config, uniform: Uniform) -> None:
        self.config, self.office = config, Office(config)
        self.is_first = config.me == config.voters[0]
        self.leader, self.epoch = "", 0

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        out = Effects(wake=now + self.config.interval)
        if self.is_first:
            self.leader, self.epoch = self.config.me, self.config.boot
            self.office.seek(now, self.epoch, is_elected=True, out=out)
        return out

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects(wake=now + self.config.interval)
        if isinstance(event, StoreReply):
            self.office.on_reply(now, event, out)
        elif isinstance(event, Recv) and isinstance(event.message, Beat) and event.message.epoch >= self.epoch:
            self.leader, self.epoch = event.src, event.message.epoch
        elif isinstance(event, Wake) and self.is_first:
            self.office.tick(now, out)
            out.send = [Send(name, Beat(self.epoch, 0)) for name in self.config.voters[1:]]
        return out

    def view(self) -> View:
        role = Role.LEADER if self.is_first else Role.FOLLOWER
        return View(role, self.leader, self.epoch, self.is_first and self.office.is_held, True, {})

    def durable(self) -> Sequence[Stored]:
        return ()


class Split(Toy):
    """Is in office as soon as it would like to be."""

    def view(self) -> View:
        return View(Role.LEADER, self.leader, self.epoch, self.is_first, True, {})


class Quiet(Watch):
    """What holds for every algorithm, and nothing else."""
