"""`python -m zjp.node [--app module:app] [--setting value ...]`: the daemon. `zjp node` runs this.

Every setting is a flag (`--worker-count 4`). Signals: TERM or INT drain, a second one hands back and stops now; QUIT stops at once and
leaves the hand-back to the next start; HUP reads the log level (for the workers too) and the authorized keys again, and has the API read
its certificates and token keys; USR1 writes tasks and state to the log, whatever its level, and what the election was fed lately to
DATA_DIR/election-ring.msgpack.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from itertools import islice
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..config import Loaded, Settings, load
from ..errors import ConfigError, ZjpError
from ..flags import Daemon, with_settings
from ..log import ITEMS_MAX, answer, configure, event
from ..streams import stand_in_for_closed
from .node import Node
from .notify import Supervisor

SWITCH_S = 0.0002
"""How long one thread may keep the interpreter while another waits. At the default of 5 ms a busy loop starves the stores' writer threads:
they were seen to write nothing for seconds, then everything at once."""
GC_THRESHOLDS = (50_000, 20, 50)
"""Jobs make no reference cycles, and a window of waiting ones is long-lived: collecting as often as Python does by default cost a tenth
of the node's time."""
DUMP_TASKS_MAX, DUMP_CHARS_MAX = ITEMS_MAX, 500
"""Of tasks in the log on USR1, and of each of them."""
EX_OK, EX_SOFTWARE, EX_TEMPFAIL = 0, 70, 75

log = logging.getLogger(__name__)


@click.command(cls=Daemon, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="zjp", help="Show the version.")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Settings in TOML.")
def main(config_file: Path | None, **flags: str | None) -> None:
    """Run a zjp node. Without any setting: an embedded queue in ./zjp-data, listening on tcp://127.0.0.1:5570."""
    stand_in_for_closed()
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        loaded = load(given, config_file=config_file, serves=True)
    except ConfigError as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(fault.exit_code)
    configure(loaded.settings.log_level, loaded.settings.log_format)
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.exit(_run(loaded, given, config_file))


def _run(loaded: Loaded, given: dict[str, str], config_file: Path | None) -> int:
    def read_again() -> Settings:
        return load(given, config_file=config_file, serves=True).settings

    try:
        import uvloop
    except ImportError:
        return asyncio.run(_live(loaded.settings, read_again))
    return uvloop.run(_live(loaded.settings, read_again))


async def _live(settings: Settings, read_again: Callable[[], Settings]) -> int:
    node = Node(settings)
    signals = Signals(node, read_again)
    signals.install()
    try:
        await signals.unless_stopped(node.start())
    except ZjpError as fault:
        event(log, logging.ERROR, "node.not_started", reason=str(fault))
        return fault.exit_code
    except _StoppedEarly:
        return EX_OK
    except Exception:
        log.exception("node.not_started")
        return EX_SOFTWARE
    signals.supervisor.ready()
    await signals.wait()
    signals.supervisor.stopping()
    if node.displaced.done():
        event(log, logging.ERROR, "node.displaced", reason=node.displaced.result())
        await node.stop(0.0)  # what runs here has lost its claim already
        return ConfigError.exit_code
    return EX_OK if await signals.drain() else EX_TEMPFAIL


class _StoppedEarly(Exception):
    """A signal came before the node was up."""


class Signals:
    """What the operating system says to the node."""

    def __init__(self, node: Node, read_again: Callable[[], Settings]) -> None:
        self._node, self._read_again = node, read_again
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reloading: asyncio.Future[None] | None = None
        self.supervisor = Supervisor.of_this_process()

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGQUIT, self._on_quit)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        loop.add_signal_handler(signal.SIGUSR1, self._on_dump)

    async def unless_stopped(self, starting: Coroutine[Any, Any, None]) -> None:
        """Raises: _StoppedEarly when a signal comes first; whatever `starting` raises."""
        task = asyncio.ensure_future(starting)
        asked = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            raise _StoppedEarly
        task.result()

    async def wait(self) -> None:
        """Until TERM or INT, or until the node must not go on."""
        asked = asyncio.ensure_future(self._asked.wait())
        waits: set[asyncio.Future[Any]] = {asked, self._node.displaced}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()

    async def drain(self) -> bool:
        """The grace time ends early when a second signal comes."""
        stopping = asyncio.ensure_future(self._node.stop(self._node.settings.shutdown_grace_s))
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            event(log, logging.WARNING, "node.stopping_now", reason="second signal: running jobs are handed back")
            self._node.hand_back_now()
        hurry.cancel()
        return await stopping

    def _on_stop(self) -> None:
        if self._asked.is_set():
            self._hurry.set()
        self._asked.set()

    def _on_quit(self) -> None:
        event(log, logging.WARNING, "node.quit", reason="SIGQUIT: stopping at once; the next start takes the jobs back")
        logging.shutdown()
        self._node.kill_workers()
        os._exit(EX_TEMPFAIL)

    def _on_reload(self) -> None:
        self.supervisor.reloading()
        try:
            settings = self._read_again()
        except ConfigError as fault:
            event(log, logging.ERROR, "node.not_reloaded", reason=str(fault))
            self.supervisor.reloaded()
            return
        configure(settings.log_level, settings.log_format)
        self._node.log_as(settings.log_level, settings.log_format)
        self._node.reload_api(settings)
        self._reloading = asyncio.ensure_future(self._node.reload_keys())
        self._reloading.add_done_callback(lambda _: self.supervisor.reloaded())
        event(log, logging.INFO, "node.reloaded", log_level=settings.log_level)

    def _on_dump(self) -> None:
        tasks = asyncio.all_tasks()
        shown = [repr(task)[:DUMP_CHARS_MAX] for task in islice(tasks, DUMP_TASKS_MAX)]
        answer(log, "dump.state", **self._node.state(), tasks_count=len(tasks), tasks=shown)
        self._node.dump_election()
        faulthandler.dump_traceback(all_threads=True)


with_settings(main)

if __name__ == "__main__":
    main()
