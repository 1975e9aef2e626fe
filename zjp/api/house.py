"""The life of the API process: ports first, then the client and the desk, then serving until it is told to stop.

    bind ──► client, door ──► serve API and metrics ──► TERM, INT or the end of the node's pipe ──► streams end, requests finish, exit 0

A port that cannot be had ends it before anything is served: one line, exit code 78.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..client.asyncio import AsyncClient
from ..config import Settings
from ..config.kinds import is_loopback_host
from ..errors import ConfigError, ZjpError
from ..log import configure, event
from .app import make_app
from .auth.door import TokenDoor, make_door, ring_of
from .desk import Authenticator, Desk
from .exposition import HttpCounts
from .http import Limits, Listener, is_own_machine
from .measuring import MetricsApp
from .open_door import OpenDoor
from .proxies import Proxies
from .start import Frames, StartMessage, settings_of
from .tls import reload as reload_certificate
from .tls import ssl_context

EX_OK = 0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the settings came from, and whom to speak to. `file`: the pipe of the node that started us."""

    settings: Settings
    addresses: list[str]
    gate: bytes = b""
    node: str = ""
    file: int | None = None
    read_again: Callable[[], Settings] | None = None


async def live(source: Source) -> int:
    """Until it is told to stop. Returns the exit code."""
    settings = source.settings
    try:
        listeners = _bind(settings)
        context = ssl_context(settings)
        client = make_client(source)
    except ConfigError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    try:
        return await _serve(source, client, listeners, context)
    except ZjpError as fault:
        event(log, logging.ERROR, "api.not_started", reason=str(fault))
        return fault.exit_code
    finally:
        client.close()


async def _serve(
    source: Source, client: AsyncClient, listeners: dict[str, Listener], context: ssl.SSLContext | None
) -> int:
    settings = source.settings
    door = door_of(settings, client)
    desk = Desk(settings, client, door, speaks_for_others=speaks_for_others(source), node=source.node)
    counts = HttpCounts()
    app, metrics_app = make_app(desk, counts), MetricsApp(desk, counts)
    _listen_to_operator(source, desk, context)
    api = listeners["SERVER_PORT"]
    await api.start(app, context, app.hot)
    if "METRICS_PORT" in listeners:
        await listeners["METRICS_PORT"].start(metrics_app, context)
    event(
        log, logging.INFO, "api.listening", url=f"{'https' if context else 'http'}://{_shown(api.host)}:{api.port}", port=api.port,
        metrics_port=listeners["METRICS_PORT"].port if "METRICS_PORT" in listeners else None, auth=not isinstance(door, OpenDoor),
    )  # fmt: skip
    await desk.stop.wait()
    await asyncio.gather(*(listener.stop() for listener in listeners.values()))
    event(log, logging.INFO, "api.stopped")
    return EX_OK


def _bind(settings: Settings) -> dict[str, Listener]:
    proxies = Proxies(settings.trusted_proxies)
    limits = Limits(has_no_limit=lambda address: is_own_machine(address) or proxies.trusts(address))
    listeners = {"SERVER_PORT": Listener(settings.server_host, settings.server_port, "SERVER_PORT", limits)}
    if settings.metrics_enabled:
        listeners["METRICS_PORT"] = Listener(settings.metrics_host, settings.metrics_port, "METRICS_PORT", limits)
    return listeners


def make_client(source: Source) -> AsyncClient:
    """Raises: ConfigError."""
    settings = source.settings
    own: dict[str, Any] = {"gate": source.gate} if source.gate else {}
    key_file: str | Path = settings.client_key_file or ""
    if source.file is not None:
        key_file = ""  # the node's own gate lies in the file system, which guards it
    server_key = settings.client_server_key if key_file else None
    return AsyncClient(
        *source.addresses, cluster=settings.cluster_name, key_file=key_file, server_key=server_key, **own
    )


def speaks_for_others(source: Source) -> bool:
    """Whether the nodes take our word for who asks: the node's own token, or a key of role gateway."""
    return bool(source.gate) or (source.file is None and source.settings.client_key_file is not None)


def door_of(settings: Settings, client: AsyncClient) -> Authenticator:
    """The one with tokens, where auth is on. Raises: ConfigError."""
    return make_door(settings, client) or OpenDoor(is_local=is_loopback_host(settings.server_host))


def _listen_to_operator(source: Source, desk: Desk, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, desk.stop.set)

    def reload(settings: Settings) -> None:
        """All of it, or nothing when a part cannot be had."""
        door = desk.door
        ring = ring_of(settings) if isinstance(door, TokenDoor) else None
        if context is not None:
            reload_certificate(context, settings)
        if isinstance(door, TokenDoor) and ring is not None:
            door.use(ring)
        configure(settings.log_level, settings.log_format)
        event(log, logging.INFO, "api.reloaded", log_level=settings.log_level)

    def on_frame(message: StartMessage) -> None:
        _try_reload(lambda: reload(settings_of(message.settings)))

    def on_hup() -> None:
        read_again = source.read_again or (lambda: source.settings)
        _try_reload(lambda: reload(read_again()))

    loop.add_signal_handler(signal.SIGHUP, on_hup)
    if source.file is not None:
        Frames(source.file, on_frame, desk.stop.set).start()


def _try_reload(reload: Callable[[], None]) -> None:
    try:
        reload()
    except (ConfigError, ValueError, OSError) as fault:
        event(log, logging.ERROR, "api.not_reloaded", reason=str(fault))


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
