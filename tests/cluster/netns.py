"""A network of its own for each node: namespaces joined by a bridge, with faults by nft. Linux, root.

    root ── bridge zjpPID ──┬── veth ── namespace zjpPID-0   198.18.x.1
         198.18.x.254       ├── veth ── namespace zjpPID-1   198.18.x.2      198.18.0.0/15 is the range for tests of networks (RFC 2544)
                            └── ...

A packet is dropped where it arrives, by the address it comes from, so a cut may have a direction: who is not heard may still hear.
TCP knows no direction: without acknowledgements the other way falls silent too, once its window is full. What is meant is the cable, not
the connection. Redis is reached by its Unix socket, which belongs to no namespace, so no cut takes a node's store away.

All is named after the process that made it, and removed at the end, after a failure too; what a killed run left is removed by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PREFIX = "zjp"
RUNS = 250
COMMAND_LIMIT_S = 20.0
NAMESPACES = Path("/run/netns")
LINKS = Path("/sys/class/net")
CUT_RULES = "add table inet cut; add chain inet cut in {{ type filter hook input priority 0; }}; flush chain inet cut in; {rules}"


@contextlib.contextmanager
def steady_addresses(*, changes: bool = False) -> Iterator[None]:
    """The machine's addresses stay as they are, unless who asks `changes` them, alone.

    A browser ends its connections, those to loopback too, when one comes or goes (ERR_NETWORK_CHANGED).
    """
    with (Path(tempfile.gettempdir()) / f"{PREFIX}-addresses.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if changes else fcntl.LOCK_SH)
        yield


class CannotCut(Exception):
    """A command of ip or nft failed; the message is what it said."""


class Network:
    """`with Network(3) as network`. Nodes are 0, 1, ...; what is cut or lost adds up until `heal`."""

    def __init__(self, count: int) -> None:
        self.name = f"{PREFIX}{os.getpid()}"
        self.count = count
        self._subnet = f"198.18.{os.getpid() % RUNS + 1}"
        self._rules: dict[int, list[str]] = {}

    def __enter__(self) -> Network:
        with steady_addresses(changes=True):
            remove_left_over()
            try:
                self._make()
            except BaseException:
                remove(self.name)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def namespace(self, node: int) -> str:
        return f"{self.name}-{node}"

    def address(self, node: int) -> str:
        return f"{self._subnet}.{node + 1}"

    def command(self, node: int) -> list[str]:
        """What to put before a command that is to run there; it becomes that command, under the same pid."""
        return ["ip", "netns", "exec", self.namespace(node)]

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def isolate(self, node: int, *, mutes: bool = True, deafens: bool = True) -> None:
        """From all the other nodes; not from whoever looks from outside. Muted, it is not heard; deafened, it does not hear."""
        if deafens:
            self._add(node, [f"ip saddr {self.address(other)} drop" for other in self._others(node)])
        for other in self._others(node) if mutes else ():
            self._add(other, [f"ip saddr {self.address(node)} drop"])

    def lose(self, percent: int, nodes: Iterable[int] | None = None) -> None:
        """Of all packets that arrive from other nodes, so many in a hundred."""
        for node in range(self.count) if nodes is None else nodes:
            from_others = (f"ip saddr {self.address(other)}" for other in self._others(node))
            self._add(node, [f"{words} numgen random mod 100 < {percent} drop" for words in from_others])

    def heal(self) -> None:
        for node in list(self._rules):
            self._rules.pop(node)
            self._apply(node)

    def _others(self, node: int) -> list[int]:
        return [other for other in range(self.count) if other != node]

    def _add(self, node: int, rules: list[str]) -> None:
        """In one step: each takes some milliseconds, which count as part of the fault."""
        self._rules.setdefault(node, []).extend(rules)
        self._apply(node)

    def _apply(self, node: int) -> None:
        rules = "; ".join(f"add rule inet cut in {rule}" for rule in self._rules.get(node, []))
        run(*self.command(node), "nft", CUT_RULES.format(rules=rules))

    # ── making and removing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _make(self) -> None:
        run("ip", "link", "add", self.name, "type", "bridge")
        give_itself_no_address(self.name)
        run("ip", "addr", "add", f"{self._subnet}.254/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        for node in range(self.count):
            space, outer = self.namespace(node), f"{self.name}v{node}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            give_itself_no_address(outer)
            run("ip", "link", "set", outer, "master", self.name, "up")
            run("ip", "-n", space, "addr", "add", f"{self.address(node)}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")

    def remove(self) -> None:
        with steady_addresses(changes=True):
            remove(self.name)


def give_itself_no_address(link: str) -> None:
    """Those of IPv6 would come seconds later; a kernel without it refuses this."""
    run("ip", "link", "set", link, "addrgenmode", "none", may_fail=True)


def remove(name: str) -> None:
    """The pairs first: left to the end of their namespaces they would stay a while longer, and with them their names."""
    for link in sorted(LINKS.glob(f"{name}v*")):
        run("ip", "link", "del", link.name, may_fail=True)
    for space in sorted(NAMESPACES.glob(f"{name}-*")):
        run("ip", "netns", "del", space.name, may_fail=True)
    run("ip", "link", "del", name, may_fail=True)


def remove_left_over() -> None:
    """Of runs that were killed: their process is gone."""
    names = {path.name.partition("-")[0] for path in NAMESPACES.glob(f"{PREFIX}*-*")}
    for name in names:
        number = name.removeprefix(PREFIX)
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            remove(name)


def run(*command: str, may_fail: bool = False) -> str:
    """Raises: CannotCut."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
    if done.returncode and not may_fail:
        raise CannotCut(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@cache
def what_is_missing() -> str:
    """Why there are no networks here, for the reason of a skip; empty: there are."""
    if sys.platform != "linux":
        return "cuts between nodes need Linux (network namespaces)"
    if os.geteuid() != 0:
        return "cuts between nodes need root (network namespaces)"
    if absent := [name for name in ("ip", "nft") if shutil.which(name) is None]:
        return f"cuts between nodes need {', '.join(absent)}; on Debian: apt-get install iproute2 nftables"
    try:
        with Network(2) as network:
            network.lose(1)
            network.isolate(0)
            network.heal()
    except (OSError, subprocess.SubprocessError, CannotCut) as fault:
        return f"cuts between nodes need network namespaces and nft: {fault}"
    return ""
