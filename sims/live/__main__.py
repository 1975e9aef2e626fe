"""`python -m sims.live kill | cut | one-way | delay | loss NODE`: pull the plug of a node of a cluster that runs on this machine.

NODE is its process id or the address of its door. Each fault lasts until Ctrl-C, or as long as `--for` says, and is undone on exit. All but
`kill` need root and nft, and touch only the ports of that node and its connections to its peers.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from .delay import delay
from .ports import Address, NotFound, Target, find, read_address
from .revive import Again, kill, life_of, start_again
from .rules import CannotRule, Table

FOLLOW_S = 0.02
PEERS_HELP = "Addresses of the other nodes' doors, with commas."


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Faults for one node of a cluster that runs on this machine, each undone on exit (Ctrl-C, or --for).

    NODE: its process id, or the address of its door (127.0.0.1:5570).
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))  # not by the default, which undoes nothing


def of_a_node(command: Callable[..., None]) -> Callable[..., None]:
    argument = click.argument("node", metavar="NODE")
    duration = click.option("--for", "for_s", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Until Ctrl-C without it.")
    return argument(duration(command))


def with_peers(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--peers", required=True, metavar="HOST:PORT,...", help=PEERS_HELP)(command)


@main.command("kill")
@of_a_node
def kill_command(node: str, for_s: float | None) -> None:
    """SIGKILL. On exit it is started again as it was, unless something else has done so. Exit code 1: it did not live."""
    target = found(node)
    life = life_of(target.pid)
    with told_to_end() as told:
        kill(target)
        try:
            click.echo(f"process {target.pid} at {target.door} is dead; it is started again on exit")
            wait(told, for_s)
        finally:
            tell(start_again(life, target), target)


def tell(again: Again | None, target: Target) -> None:
    if again is None:
        click.echo("something else has started it again")
    elif again.code is not None:
        said = f"; the last it said:\n{again.said}" if again.said else ""
        raise click.ClickException(f"started again as process {again.pid}, which ended with exit code {again.code}{said}")
    else:
        click.echo(f"{'' if again.is_listening else f'nobody listens on {target.door} yet; '}started again as process {again.pid}")


@main.command("cut")
@of_a_node
@with_peers
def cut_command(node: str, for_s: float | None, peers: str) -> None:
    """Off from its peers and from clients that come to its door. It keeps the store."""
    rule(node, peers, "drop", "cut off", for_s, holds_new=True)


@main.command("one-way")
@of_a_node
@with_peers
@click.option("--deaf", "direction", flag_value="deaf", default=True, help="It is heard and hears nothing. [default]")
@click.option("--mute", "direction", flag_value="mute", help="It hears and is not heard by its peers.")
def one_way_command(node: str, for_s: float | None, peers: str, direction: str) -> None:
    """Cut one direction between it and its peers."""
    is_deaf = direction == "deaf"
    rule(node, peers, "drop", direction, for_s, hears=is_deaf, says=not is_deaf, holds_new=True)


@main.command("loss")
@of_a_node
@with_peers
@click.option("--percent", type=click.IntRange(1, 99), default=10, show_default=True)
def loss_command(node: str, for_s: float | None, peers: str, percent: int) -> None:
    """Lose packets of its connections. TCP repeats them: what one sees is silences."""
    rule(node, peers, f"numgen random mod 100 < {percent} drop", f"losing {percent} % of its packets", for_s)


@main.command("delay")
@of_a_node
@click.option("--ms", type=click.FloatRange(0, 60_000), default=100.0, show_default=True)
@click.option("--jitter-ms", type=click.FloatRange(0, 60_000), default=20.0, show_default=True, help="Up to so much more.")
def delay_command(node: str, for_s: float | None, ms: float, jitter_ms: float) -> None:
    """Delay what reaches its door. Its connections are reset at the beginning and at the end."""
    target = found(node)
    told = f"{target.door} hears everything {ms:g} ms late, up to {ms + jitter_ms:g} ms"
    refusing(lambda: asyncio.run(delay(target, ms / 1000, jitter_ms / 1000, for_s, lambda: click.echo(told))))
    click.echo("undone")


def rule(node: str, peers: str, verdict: str, what: str, for_s: float | None, **directions: Any) -> None:
    target = found(node)
    table = Table(target, addresses(peers), verdict, **directions)

    def hold() -> None:
        with told_to_end() as told, table:
            click.echo(f"process {target.pid} at {target.door} is {what}; should this command be killed: {table.undo}")
            wait(told, for_s, table.follow)

    refusing(hold)
    click.echo("undone")


def found(node: str) -> Target:
    try:
        return find(node)
    except NotFound as fault:
        raise click.ClickException(str(fault)) from None


def addresses(peers: str) -> list[Address]:
    try:
        return [read_address(part) for part in peers.split(",") if part]
    except NotFound as fault:
        raise click.ClickException(str(fault)) from None


def refusing(deed: Callable[[], None]) -> None:
    try:
        deed()
    except CannotRule as fault:
        raise click.ClickException(str(fault)) from None


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """Set by a signal to end. From before the fault on: one that comes while it begins undoes it like any other."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait(told: threading.Event, for_s: float | None, look: Callable[[], None] | None = None) -> None:
    """Until it is told, or so many seconds. `look` is called again and again."""
    left = float("inf") if for_s is None else for_s
    while left > 0 and not told.wait(min(left, FOLLOW_S)):
        left -= FOLLOW_S
        if look is not None:
            look()


if __name__ == "__main__":
    main(prog_name="python -m sims.live")
