"""`python -m zjp.api`: the HTTP API, the dashboard and /metrics, as a process of its own and a client of its node.

Two ways to start it. The node starts it with `--from-node` and says by standard input whom to speak to and with which token (start.py); it
ends when that pipe does. By itself it is a gateway in front of any nodes: CLIENT_ADDRESS, and with CURVE CLIENT_KEY_FILE (a key of role
gateway) and CLIENT_SERVER_KEY. Every setting is a flag, as for the node. Signals: TERM and INT stop it within seconds, HUP reads
certificates, the keys of tokens and the log level again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import sys
from pathlib import Path

import click

from .. import __version__
from ..config import Settings, load
from ..errors import ConfigError, WireError
from ..flags import Daemon, with_settings
from ..log import configure
from .house import Source, live
from .start import read_start, settings_of

FILES_WANTED = 8192
"""A connection is a file."""
GC_THRESHOLDS = (20_000, 20, 50)

log = logging.getLogger(__name__)


@click.command(cls=Daemon, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="zjp", help="Show the version.")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Settings in TOML.")
@click.option(
    "--from-node", is_flag=True, hidden=True, help="Read what to do from standard input, as the node tells it."
)
def main(config_file: Path | None, from_node: bool, **flags: str | None) -> None:
    """Serve the HTTP API of zjp in front of the nodes at CLIENT_ADDRESS."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        source = _from_node() if from_node else _by_itself(given, config_file)
    except (ConfigError, WireError, ValueError) as fault:
        sys.stderr.write(f"{fault}\n")
        sys.exit(ConfigError.exit_code)
    if source is None:
        sys.exit(0)
    configure(source.settings.log_level, source.settings.log_format)
    os.umask(0o077)
    _raise_file_limit()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    sys.exit(_run(source))


def _by_itself(given: dict[str, str], config_file: Path | None) -> Source:
    """Raises: ConfigError."""

    def read_again() -> Settings:
        return load(given, config_file=config_file, serves=True).settings

    settings = read_again()
    return Source(settings, list(settings.client_address), read_again=read_again)


def _from_node() -> Source | None:
    """None: the node is gone already. Raises: WireError, ValueError."""
    file = sys.stdin.fileno()
    told = read_start(file)
    if told is None:
        return None
    return Source(settings_of(told.settings), [told.address], gate=told.gate, node=told.node, file=file)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(source: Source) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(live(source))
    return uvloop.run(live(source))


with_settings(main)

if __name__ == "__main__":
    main()
