"""`zjp top`: the cluster live in the terminal, until q.

A look is taken every so often and drawn on the terminal's second screen, so that what was there before comes back afterwards. When no node
answers, the last picture stays with a notice, and looking goes on. Without a terminal each look is a line.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from ..errors import ZjpError
from . import show
from .keyboard import keys
from .look import LOOK_LIMIT_S, Lookout, Picture
from .options import Caller, caller, connecting, duration, reading

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY_S = 2.0
EVERY_S_LEAST = 0.2
REDRAW_S = 0.5
"""A changed size of the terminal is seen within this."""


@click.command("top", short_help="Watch the cluster live in the terminal.")
@click.option("--every", type=duration, default=EVERY_S, metavar="DURATION", help=f"Look so often. [{EVERY_S:g}s]")
@click.option("--once", is_flag=True, help="One look as plain tables, then end.")
@reading
@connecting
@caller
def command(asked: Caller, every: float, once: bool) -> None:
    """Watch queues, nodes, workers and the latest failures live.

    Keys: q ends, p pauses. Without a terminal each look is one line, until Ctrl-C. --json gives one look as JSON.
    """
    every = max(EVERY_S_LEAST, every)
    with asked.client(asked.timeout_s or LOOK_LIMIT_S) as client:
        lookout = Lookout(client)
        if asked.as_json:
            show.as_json(lookout.look().as_json())
        elif once:
            _once(lookout)
        elif sys.stdout.isatty() and sys.stdin.isatty():
            _live(lookout, every)
        else:
            _lines(lookout, every)


def _once(lookout: Lookout) -> None:
    from .screen import plain

    for text in plain(lookout.look()):
        click.echo(text)


def _lines(lookout: Lookout, every_s: float) -> None:
    from .screen import clock, line

    with keys() as wait:
        while True:
            picture, notice = _try(lookout)
            told = line(picture) if picture is not None else f"{clock(time.time_ns() // 1_000_000)}  {notice}"
            click.echo(show.clean(told, 1000))
            sys.stdout.flush()
            wait(every_s)


def _live(lookout: Lookout, every_s: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    view = View(every_s)
    with keys() as wait, Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while not view.is_over:
                if view.is_due(time.monotonic()):
                    view.take(*_try(lookout), time.monotonic())
                live.update(view.drawn(console), refresh=True)
                view.press(wait(min(REDRAW_S, view.left_s(time.monotonic()))))
        except KeyboardInterrupt:
            pass  # as good as q: nothing is lost by it


class View:
    """What is on the screen, and when the next look is due. Times are monotonic seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._picture: Picture | None = None
        self._notice = "looking for a node"
        self._lost_at: float | None = None
        self._due_at = 0.0
        self.is_paused = self.is_over = False

    def is_due(self, now: float) -> bool:
        return not self.is_paused and now >= self._due_at

    def left_s(self, now: float) -> float:
        return REDRAW_S if self.is_paused else max(0.0, self._due_at - now)

    def take(self, picture: Picture | None, notice: str, now: float) -> None:
        """A look, or why there was none: the last picture stays."""
        self._due_at = now + self._every_s
        if picture is not None:
            self._picture, self._notice, self._lost_at = picture, "", None
            return
        self._lost_at = now if self._lost_at is None else self._lost_at
        gone_s = now - self._lost_at
        self._notice = f"no answer{f' for {show.age(gone_s)}' if gone_s >= 1 else ''}: {notice}"

    def press(self, key: str) -> None:
        if key in ("q", "Q", "\x03"):
            self.is_over = True
        elif key in ("p", "P", " "):
            self.is_paused = not self.is_paused
            self._due_at = 0.0

    def drawn(self, console: Console) -> RenderableType:
        from .screen import screen

        return screen(self._picture, self._notice, console, every_s=self._every_s, is_paused=self.is_paused)


def _try(lookout: Lookout) -> tuple[Picture | None, str]:
    """(the picture, nothing) or (None, why there is none)"""
    try:
        return lookout.look(), ""
    except (ZjpError, TimeoutError) as fault:
        return None, str(fault)
