"""A table of nft rules for one node's connections; it exists as long as the `with` block. Root.

Between nodes, what a node says travels on the connections that it made itself, to the doors of the others (transport/mesh.py). So

    what it hears    is what comes in at its own door's port
    what it says     are its own connections to its peers' doors, known by their ports at this end

On one machine a peer's connections to the same door look alike but for that port. So those of the node are looked up (`follow`), again and
again: after a cut ZeroMQ makes new ones. While it is cut off, the first packet of every new connection to a peer's door is held until
somebody has looked whose it is; the kernel sends that packet again after a second, so other clients come a second late.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from types import TracebackType

from .ports import Address, Target, connections, inodes

COMMAND_LIMIT_S = 10.0


class CannotRule(Exception):
    """No nft, no rights, or a rule that this kernel does not know."""


class Table:
    """`with Table(...)`: the rules hold. `verdict`: what happens to a packet that matches, in words of nft."""

    def __init__(
        self, target: Target, peers: Sequence[Address], verdict: str, *, hears: bool = True, says: bool = True, holds_new: bool = False
    ) -> None:
        """`hears`, `says`: in which directions. `holds_new`: no new connection before it was looked up; for cuts."""
        self.name = f"zjp_live_{os.getpid()}"
        self._target, self._peers, self._verdict = target, peers, verdict
        self._hears, self._says, self._holds_new = hears, says, holds_new
        self._known: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())

    @property
    def undo(self) -> str:
        """For the case that this process is killed."""
        return f"nft delete table inet {self.name}"

    def __enter__(self) -> Table:
        nft("; ".join(self._lines()))
        try:
            self.follow()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        nft(f"delete table inet {self.name}")

    def follow(self) -> None:
        """Look again whose connections are whose."""
        if not self._says:
            return
        held = inodes(self._target.pid)
        out = [one for one in connections() if one.remote in self._peers and not one.is_listening]
        mine = frozenset(one.local.port for one in out if one.inode in held)
        # A closing connection belongs to nobody; only one that somebody else holds is known to be another's.
        others = frozenset(one.local.port for one in out if one.inode not in held and one.inode != "0") - mine
        if (mine, others) != self._known:
            self._known = (mine, others)
            nft("; ".join([*self._fill("mine", mine), *self._fill("others", others)]))

    def _lines(self) -> Iterable[str]:
        table, port = f"inet {self.name}", self._target.door.port
        yield f"add table {table}"
        for name in ("mine", "others"):
            yield f"add set {table} {name} {{ type inet_service; }}"
        for hook in ("input", "output"):
            yield f"add chain {table} {hook} {{ type filter hook {hook} priority 0; }}"
        if self._hears:
            yield f"add rule {table} input tcp dport {port} {self._verdict}"
            yield f"add rule {table} output tcp sport {port} {self._verdict}"
        for peer in self._peers if self._says else ():
            there = f"ip daddr {peer.host} tcp dport {peer.port}"
            yield f"add rule {table} output {there} tcp sport @mine {self._verdict}"
            yield f"add rule {table} input ip saddr {peer.host} tcp sport {peer.port} tcp dport @mine {self._verdict}"
            if self._holds_new:
                yield f"add rule {table} output {there} tcp flags & (syn | ack) == syn tcp sport != @others drop"

    def _fill(self, name: str, ports: frozenset[int]) -> Iterable[str]:
        yield f"flush set inet {self.name} {name}"
        if ports:
            yield f"add element inet {self.name} {name} {{ {', '.join(map(str, sorted(ports)))} }}"


def nft(rules: str) -> None:
    """All of them or none. Raises: CannotRule."""
    if shutil.which("nft") is None:
        raise CannotRule("nft is not installed; on Debian: apt-get install nftables")
    if os.geteuid() != 0:
        raise CannotRule("rules for packets take root")
    done = subprocess.run(["nft", rules], capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
    if done.returncode:
        raise CannotRule(f"nft: {done.stderr.strip()}")
